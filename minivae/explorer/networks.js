// Decoders and encoders of linear layers, from the bytes of packing.py.

import { inflate, viewOf } from "./tools.js";

export function floats(data) {
  const view = viewOf(data);
  return Float32Array.from({ length: view.byteLength / 4 }, (_, i) =>
    view.getFloat32(4 * i, true),
  );
}

/** The number that 16 bits stand for (IEEE 754). */
function half(bits) {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (!exponent) return sign * fraction * 2 ** -24;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

// how the weights of a layer are stored -> bytes of each, and weight i of n
const READ = {
  f2: [2, (view, at, i) => half(view.getUint16(at + 2 * i, true))],
  i1: [1, (view, at, i) => view.getInt8(at + i)],
  // all lower bytes, then all upper ones, which zlib likes better
  i2: [2, (view, at, i, n) => view.getUint8(at + i) + 256 * view.getInt8(at + n + i)],
};

/**
 * A network as a function of its input; every call returns the same array,
 * filled anew. Each of `sizes` is [inputs, outputs, how weights are stored].
 */
async function network(weights, sizes) {
  const view = viewOf(await inflate(weights));
  let at = 0;
  const layers = sizes.map(([nIn, nOut, kind]) => {
    const scale = new Float32Array(nOut);
    const bias = new Float32Array(nOut);
    for (let o = 0; o < nOut; o++, at += 2)
      scale[o] = half(view.getUint16(at, true));
    for (let o = 0; o < nOut; o++, at += 4) bias[o] = view.getFloat32(at, true);
    // by column, so that a unit that is silent costs nothing
    const weight = new Float32Array(nIn * nOut);
    const [bytes, read] = READ[kind];
    const n = nIn * nOut;
    for (let o = 0; o < nOut; o++)
      for (let i = 0; i < nIn; i++)
        weight[i * nOut + o] = scale[o] * read(view, at, o * nIn + i, n);
    at += bytes * n;
    return { nOut, bias, weight, out: new Float32Array(nOut) };
  });

  return function run(input) {
    let h = input;
    layers.forEach(({ nOut, bias, weight, out }, depth) => {
      out.set(bias);
      for (let i = 0; i < h.length; i++) {
        const a = h[i];
        if (a === 0) continue;
        const column = i * nOut;
        for (let o = 0; o < nOut; o++) out[o] += a * weight[column + o];
      }
      if (depth < layers.length - 1)
        for (let o = 0; o < nOut; o++) if (out[o] < 0) out[o] = 0;
      h = out;
    });
    return h;
  };
}

/** Numbers, and the label as ones and zeros where a model is told it. */
function told(panel, n) {
  const input = new Float32Array(n + panel.n_classes);
  return (values, digit) => {
    input.fill(0);
    input.set(values);
    if (panel.n_classes) input[n + digit] = 1;
    return input;
  };
}

/**
 * The decoder of a panel as a function of (z, digit) -> 784 pixels in [0, 1],
 * an array that the next call fills anew.
 */
export async function decoder(panel) {
  const run = await network(panel.weights, panel.layers);
  const input = told(panel, panel.n_latent);
  const sigmoid = panel.squash === "sigmoid";

  return function decode(z, digit = 0) {
    const h = run(input(z, digit));
    for (let o = 0; o < h.length; o++)
      h[o] = sigmoid
        ? 1 / (1 + Math.exp(-h[o]))
        : Math.min(1, Math.max(0, h[o]));
    return h;
  };
}

/**
 * The encoder of a panel as a function of (784 pixels, digit) -> {mu, sigma},
 * sigma only where the model has one; null where no encoder came along.
 */
export async function encoder(panel) {
  if (!panel.encoder?.byteLength) return null;
  const run = await network(panel.encoder, panel.encoder_layers);
  const input = told(panel, panel.encoder_layers[0][0] - panel.n_classes);
  const n = panel.n_latent;

  return function encode(pixels, digit = 0) {
    // a model of pixels that are 0 or 1 has seen no others
    const seen = panel.binary ? pixels.map((v) => +(v > 0.5)) : pixels;
    const [...out] = run(input(seen, digit));
    const q = { mu: out.slice(0, n) };
    if (out.length > n) q.sigma = out.slice(n).map((v) => Math.exp(v / 2));
    return q;
  };
}
