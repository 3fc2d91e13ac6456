// A digit of the reader's own: a pad to draw on, and the picture that a
// network of MNIST digits expects.

import { make } from "./tools.js";

export const SIDE = 28; // pixels of a digit
const BOX = 20; // pixels that the longer side of a digit of MNIST fills
const FINE = 4; // places of the pad on a side of a pixel
export const PAD = SIDE * FINE;
const PEN = 5; // radius, in places of the pad
const FAINT = 0.1; // what is fainter has no part in the bounding box
const STEP = 4; // places that an arrow key moves the pen

export function digitCanvas(label) {
  return make("canvas", {
    width: SIDE,
    height: SIDE,
    class: "digit",
    ...(label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" }),
  });
}

const papers = new Map(); // side -> what is painted with

/** Ink on white paper: pixels in [0, 1], a square of them, on a canvas. */
export function paint(context, pixels, x = 0, y = 0) {
  const side = Math.sqrt(pixels.length);
  const paper = papers.get(side) ?? new ImageData(side, side);
  papers.set(side, paper);
  const dots = new Uint32Array(paper.data.buffer); // one number for a pixel
  for (let i = 0; i < pixels.length; i++)
    dots[i] = 0xff000000 + 0x010101 * Math.round(255 * (1 - pixels[i]));
  context.putImageData(paper, x, y);
}
/** Draw a line between two points with a round pen; value 0 erases. */
export function stroke(ink, [ax, ay], [bx, by], value = 1, radius = PEN) {
  const side = Math.sqrt(ink.length);
  const [dx, dy] = [bx - ax, by - ay];
  const long = dx * dx + dy * dy;
  const rows = [Math.min(ay, by) - radius - 1, Math.max(ay, by) + radius + 1];
  const columns = [Math.min(ax, bx) - radius - 1, Math.max(ax, bx) + radius + 1];
  const [top, left] = [rows[0], columns[0]].map((v) => Math.max(0, Math.floor(v)));
  for (let y = top; y < Math.min(side, rows[1]); y++)
    for (let x = left; x < Math.min(side, columns[1]); x++) {
      const [px, py] = [x + 0.5 - ax, y + 0.5 - ay];
      const on = long ? Math.min(1, Math.max(0, (px * dx + py * dy) / long)) : 0;
      const away = Math.hypot(px - on * dx, py - on * dy);
      const covered = Math.min(1, Math.max(0, radius + 0.5 - away));
      const i = y * side + x;
      ink[i] = value
        ? Math.max(ink[i], covered)
        : Math.min(ink[i], 1 - covered);
    }
}

/** Share of each of n places that pixel X of the picture looks at. */
function shares(n, centre, scale) {
  return Array.from({ length: SIDE }, (_, X) => {
    const low = centre + (X - SIDE / 2) / scale;
    const high = low + 1 / scale;
    const found = [];
    for (let i = Math.max(0, Math.floor(low)); i < Math.min(n, high); i++)
      found.push([i, scale * (Math.min(high, i + 1) - Math.max(low, i))]);
    return found;
  });
}

/**
 * As the digits of MNIST were made (LeCun et al. 1998): scaled until the
 * longer side fills 20 pixels, with its centre of mass in the middle of 28.
 * Null where there is no ink.
 */
export function centred(ink) {
  const side = Math.sqrt(ink.length);
  let [left, top, right, bottom] = [side, side, -1, -1];
  let [mass, cx, cy] = [0, 0, 0];
  ink.forEach((v, i) => {
    const [x, y] = [i % side, Math.floor(i / side)];
    mass += v;
    cx += v * (x + 0.5);
    cy += v * (y + 0.5);
    if (v < FAINT) return;
    [left, right] = [Math.min(left, x), Math.max(right, x)];
    [top, bottom] = [Math.min(top, y), Math.max(bottom, y)];
  });
  if (right < 0) return null;
  const scale = BOX / (1 + Math.max(right - left, bottom - top));
  const across = shares(side, cx / mass, scale);
  const down = shares(side, cy / mass, scale);
  const picture = new Float32Array(SIDE * SIDE);
  down.forEach((rows, Y) =>
    across.forEach((columns, X) => {
      let sum = 0;
      for (const [y, a] of rows)
        for (const [x, b] of columns) sum += a * b * ink[y * side + x];
      picture[Y * SIDE + X] = Math.min(1, sum);
    }),
  );
  return picture;
}

export class Pad {
  /** `changed` is called after each change, with true when a line is done. */
  constructor(changed) {
    this.changed = changed;
    this.ink = new Float32Array(PAD * PAD);
    this.taken = null; // a picture that was put here and not yet changed
    this.pen = { at: [PAD / 2, PAD / 4], down: false };
    this.canvas = make("canvas", {
      width: PAD,
      height: PAD,
      tabindex: 0,
      role: "application",
      "aria-label":
        "Drawing pad. Arrow keys move the pen, the space bar sets it down " +
        "and lifts it.",
    });
    this.ring = make("span", { class: "ring", "aria-hidden": "true" });
    this.erase = make("input", { type: "checkbox" });
    this.clear = make("button", { type: "button", text: "Clear" });
    this.clear.addEventListener("click", () => {
      this.erase.checked = false;
      this.fill(null);
    });
    this.root = make("div", { class: "pad" }, this.canvas, this.ring);
    this.canvas.dataset.lmSuppressShortcuts = "true";
    this.listen();
    this.show();
  }

  get picture() {
    return this.taken ?? centred(this.ink);
  }

  /** Put a picture of 28 by 28 pixels on the pad, or nothing. */
  fill(picture, silent = false) {
    this.taken = picture;
    this.pen.down = false;
    this.ink.fill(0);
    if (picture)
      this.ink.forEach((_, i) => {
        const [x, y] = [i % PAD, Math.floor(i / PAD)];
        const row = Math.floor(y / FINE);
        this.ink[i] = picture[row * SIDE + Math.floor(x / FINE)];
      });
    this.show();
    if (!silent) this.changed(true);
  }

  draw(to) {
    this.taken = null;
    stroke(this.ink, this.pen.at, to, this.erase.checked ? 0 : 1);
    this.pen.at = to;
    this.show();
    this.changed(false);
  }

  listen() {
    const { canvas, pen } = this;
    const place = (event) => {
      const box = canvas.getBoundingClientRect();
      return [
        (PAD * (event.clientX - box.left)) / box.width,
        (PAD * (event.clientY - box.top)) / box.height,
      ];
    };
    canvas.addEventListener("pointerdown", (event) => {
      // a second finger, or a palm, draws nothing
      if (event.button || this.pointer !== undefined) return;
      event.preventDefault();
      this.pointer = event.pointerId;
      canvas.setPointerCapture(event.pointerId);
      canvas.focus({ preventScroll: true });
      pen.at = place(event);
      this.draw(pen.at);
    });
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerId !== this.pointer) return;
      // a fast hand makes more points than there are frames
      const points = event.getCoalescedEvents?.() ?? [];
      for (const point of points.length ? points : [event])
        this.draw(place(point));
    });
    for (const name of ["pointerup", "pointercancel"])
      canvas.addEventListener(name, (event) => {
        if (event.pointerId !== this.pointer) return;
        this.pointer = undefined;
        this.changed(true);
      });
    canvas.addEventListener("keydown", (event) => this.press(event));
    canvas.addEventListener("blur", () => {
      pen.down = false;
      this.show();
    });
  }

  press(event) {
    const { pen } = this;
    const way = {
      ArrowLeft: [-STEP, 0],
      ArrowRight: [STEP, 0],
      ArrowUp: [0, -STEP],
      ArrowDown: [0, STEP],
    }[event.key];
    if (!way && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    if (way) {
      const to = pen.at.map((v, i) => Math.min(PAD, Math.max(0, v + way[i])));
      if (pen.down) this.draw(to);
      else pen.at = to;
    } else {
      pen.down = !pen.down;
      if (pen.down) this.draw(pen.at);
      else this.changed(true);
    }
    this.show();
  }

  show() {
    paint(this.canvas.getContext("2d"), this.ink);
    const [x, y] = this.pen.at.map((v) => `${(100 * v) / PAD}%`);
    Object.assign(this.ring.style, { left: x, top: y });
    this.ring.classList.toggle("down", this.pen.down);
  }
}
