// What the figures of chapter 4 share: axes that are drawn anew, sliders, text.

import { make, written } from "./tools.js";

const SVG = "http://www.w3.org/2000/svg";
const LEFT = 44; // room for the numbers of the vertical axis
const BELOW = 38; // and for those of the horizontal one, and its name

/** A number in a sentence: rounded for the eye, whole for a program. */
export function exact(number, name, digits = 3) {
  return make("data", {
    value: number,
    class: name,
    text: written(number, digits),
  });
}

/** Multiples of 1, 2 or 5 from low to high, about n of them. */
export function ticks(low, high, n) {
  const rough = (high - low) / n;
  const ten = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * ten).find((v) => v >= rough);
  const first = Math.ceil(low / step - 1e-9);
  const count = Math.floor(high / step + 1e-9) - first + 1;
  return Array.from({ length: count }, (_, i) => (first + i) * step);
}

/** One picture with axes, in units of the screen, on white paper. */
export class Axes {
  constructor(label, height) {
    this.height = height;
    this.root = document.createElementNS(SVG, "svg");
    this.root.setAttribute("role", "img");
    this.root.setAttribute("aria-label", label);
    this.root.style.height = `${height}px`;
  }

  /** Begin anew; false where the picture is not on the screen. */
  clear() {
    this.width = this.root.clientWidth;
    this.root.replaceChildren();
    this.root.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    return this.width > 0;
  }

  put(tag, attributes, text) {
    const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes))
      node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    this.root.append(node);
    return node;
  }

  /** From here on: places of x between left and right, of y above bottom. */
  scale([x0, x1], [y0, y1], area = {}) {
    const { left = LEFT, right = this.width - 12 } = area;
    const { top = 24, bottom = this.height - BELOW } = area;
    this.area = { left, right, top, bottom };
    this.x = (v) => left + ((right - left) * (v - x0)) / (x1 - x0);
    this.y = (v) => bottom - ((bottom - top) * (v - y0)) / (y1 - y0);
  }

  across(values, name, write = (v) => written(v, 0)) {
    const { left, right, top, bottom } = this.area;
    for (const v of values) {
      const [x1, x2] = [this.x(v), this.x(v)];
      this.put("line", { x1, x2, y1: top, y2: bottom, class: "grid" });
      this.text(write(v), x1, bottom + 15, "tick middle");
    }
    this.put("line", { x1: left, x2: right, y1: bottom, y2: bottom });
    this.text(name, right, bottom + 32, "name end");
  }

  up(values, name, write = (v) => written(v, 0)) {
    const { left, right } = this.area;
    for (const v of values) {
      const [y1, y2] = [this.y(v), this.y(v)];
      this.put("line", { x1: left, x2: right, y1, y2, class: "grid" });
      this.text(write(v), left - 6, y1 + 4, "tick end");
    }
    this.text(name, 4, 13, "name");
  }

  text(text, x, y, kind = "") {
    return this.put("text", { x, y, class: kind }, text);
  }

  line(points, kind) {
    const { top, bottom } = this.area;
    // far outside a browser may lose its way, and nobody looks
    const near = (v) => Math.min(Math.max(v, top - 999), bottom + 999);
    const path = points.map(
      ([x, y]) => `${this.x(x).toFixed(2)} ${near(this.y(y)).toFixed(2)}`,
    );
    return this.put("path", { d: `M${path.join("L")}`, class: kind });
  }

  segment([x1, y1], [x2, y2], kind) {
    return this.put("line", { x1, y1, x2, y2, class: kind });
  }

  /** What a line of this kind is, with some of it in front. */
  key(text, x, y, kind) {
    this.segment([x, y - 4], [x + 22, y - 4], kind);
    this.text(text, x + 27, y, "key");
  }

  dot(x, y, kind, r = 5) {
    return this.put("circle", { cx: this.x(x), cy: this.y(y), r, class: kind });
  }

  /** Hide what reaches out of the area: it is given the id of a mask. */
  clipped(node, id) {
    const { left, right, top, bottom } = this.area;
    if (!this.root.querySelector(`#${id}`)) {
      const mask = this.put("clipPath", { id });
      const box = document.createElementNS(SVG, "rect");
      const sides = { x: left, y: top, width: right - left, height: bottom - top };
      for (const [k, v] of Object.entries(sides)) box.setAttribute(k, v);
      mask.append(box);
    }
    node.setAttribute("clip-path", `url(#${id})`);
  }
}

/** A slider with its name and value; `call` gets what the reader chooses. */
export class Slider {
  constructor(name, { low, high, step, log = false, digits = 2 }, call) {
    const on = log ? Math.log10 : (v) => v;
    const off = log ? (v) => 10 ** v : (v) => v;
    Object.assign(this, { on, digits });
    this.input = make("input", {
      type: "range",
      min: on(low).toFixed(2),
      max: on(high).toFixed(2),
      step,
    });
    this.value = make("output", { class: "value", "aria-live": "off" });
    this.input.addEventListener("input", () => {
      const value = off(this.input.valueAsNumber);
      call(Math.min(Math.max(value, low), high));
    });
    this.root = make(
      "label",
      { class: "slider" },
      make("span", { text: name }),
      this.input,
      this.value,
    );
  }

  show(value) {
    const text = written(value, this.digits);
    this.input.value = this.on(value);
    this.input.setAttribute("aria-valuetext", text);
    this.value.textContent = text;
  }
}

export function button(text, call) {
  const node = make("button", { type: "button", text });
  node.addEventListener("click", call);
  return node;
}

/** What a figure says: for the eye at once, for the ear when it rests. */
export class Words {
  constructor() {
    this.seen = make("p", { class: "words" });
    this.heard = make("p", { class: "status", role: "status" });
  }

  show(...parts) {
    this.seen.replaceChildren(...parts);
  }

  speak() {
    this.heard.textContent = this.seen.textContent;
  }
}

/** Traits of a model that the reader and Python change. */
export class Traits {
  constructor(model, names, changed) {
    Object.assign(this, { model, names, changed });
    for (const name of names) model.on(`change:${name}`, changed);
  }

  get(name) {
    return this.model.get(name);
  }

  set(values) {
    for (const [name, value] of Object.entries(values))
      this.model.set(name, value);
    if (this.saving) return;
    this.saving = requestAnimationFrame(() => {
      this.saving = 0;
      this.model.save_changes();
    });
  }

  close() {
    cancelAnimationFrame(this.saving);
    for (const name of this.names)
      this.model.off(`change:${name}`, this.changed);
  }
}
