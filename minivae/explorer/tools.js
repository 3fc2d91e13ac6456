// What the widgets share: bytes, numbers, draws and elements.

/** A DataView on what the kernel or the page has sent as bytes. */
export function viewOf(data) {
  if (data instanceof ArrayBuffer) return new DataView(data);
  return new DataView(data.buffer, data.byteOffset, data.byteLength);
}

export function octets(data) {
  const view = viewOf(data);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** What zlib has compressed. */
export async function inflate(data) {
  const packed = new Blob([octets(data)]).stream();
  const stream = packed.pipeThrough(new DecompressionStream("deflate"));
  return octets(await new Response(stream).arrayBuffer());
}

/** A draw from N(0, 1), by Box and Muller. */
export function normal() {
  const radius = Math.sqrt(-2 * Math.log(1 - Math.random()));
  return radius * Math.cos(2 * Math.PI * Math.random());
}

/** A number as text, with a minus sign where one would see it. */
export function written(number, digits = 2) {
  const text = number.toFixed(digits);
  return text.replace("-", Number(text) === 0 ? "" : "\u2212");
}

export function make(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (name === "text") node.textContent = value;
    else if (value === true) node.setAttribute(name, "");
    else if (value !== false) node.setAttribute(name, value);
  }
  // JupyterLab takes keys for itself where this is not said
  if (["input", "button", "select"].includes(tag))
    node.dataset.lmSuppressShortcuts = "true";
  node.append(...children);
  return node;
}
