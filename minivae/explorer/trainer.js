// The page that learns: three models train before the reader's eyes.
//
// learning.js trains; this file shows it. A browser draws a frame, then some
// steps are taken for as long as a frame has room, and then it draws again,
// so the page never freezes. There is no worker: a page that is a file may
// not start one.

import { KINDS, Lesson, accuracy } from "./learning.js";
import { inflate, make, octets, written } from "./tools.js";

const SIDE = 8; // pixels of a digit
const COLUMNS = 10; // decoded digits in a row of a sheet
const ROWS = 5;
const CELL = SIDE + 1; // with some paper between them
const REACH = 2.25; // how far from the origin a sheet of a VAE goes
const N_EACH = 1; // digits of each class whose q(z|x) is drawn
const PRIOR = Math.sqrt(-2 * Math.log(0.05)); // 95 % of N(0, I) lie within
const FRAME = 45; // milliseconds that a frame should take, all in all
const TRAINING = [2, 30]; // least and most of them that steps may take
const ENCODING = 240; // digits whose codes are renewed in a frame
const MEASURED = 400; // milliseconds between two looks at the neighbours
const WRITTEN = 250; // milliseconds between two looks at the numbers
const SPOKEN = 15000; // milliseconds between two sentences that are spoken
const MEMORY = 0.97; // of the means that curves and table show
const MOST = 600; // points of a curve

// what the sliders go through; the first beta leaves the KL out
const BETAS = [
  0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3,
  4, 5, 7, 10, 15, 20,
];
const RATES = [0.0005, 0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.02];

const MODELS = {
  autoencoder: { title: "Autoencoder", about: "lowers the squared error" },
  vae: { title: "VAE", about: "lowers reconstruction + \u03b2 KL" },
  cvae: {
    title: "CVAE",
    about: "the same, and is told the label",
    untold: "the same; its label is withheld",
  },
};

// ---- small tools -----------------------------------------------------------

/** Digits one after the other, from pixels of all, sorted by label. */
function unpacked(pixels, labels) {
  const n = labels.length;
  const nValues = pixels.length / n;
  const images = new Float32Array(pixels.length);
  const order = Array.from(labels.keys()).sort((a, b) => labels[a] - labels[b]);
  order.forEach((row, place) => {
    for (let i = 0; i < nValues; i++)
      images[row * nValues + i] = pixels[i * n + place] / 16;
  });
  return images;
}

function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The value of a list that is nearest to a number, by its place. */
function nearest(values, number) {
  const far = values.map((value) => Math.abs(value - number));
  return far.indexOf(Math.min(...far));
}

/** A round number at or above this one: 1, 2 or 5 and zeros. */
function round(number) {
  const ten = 10 ** Math.floor(Math.log10(number));
  return [1, 2, 5, 10].map((m) => m * ten).find((v) => v >= number * 0.999);
}

/** A canvas as sharp as the screen, cleared to white, and its context. */
function sharpened(canvas, width, height) {
  const sharp = Math.min(2, window.devicePixelRatio || 1);
  const size = [Math.round(width * sharp), Math.round(height * sharp)];
  if (canvas.width !== size[0] || canvas.height !== size[1])
    [canvas.width, canvas.height] = size;
  const context = canvas.getContext("2d");
  context.setTransform(sharp, 0, 0, sharp, 0, 0);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  return context;
}

function picture(label) {
  return make("canvas", { role: "img", "aria-label": label });
}

// ---- the map of the codes --------------------------------------------------

class CodeMap {
  constructor(kind, labels, colours) {
    Object.assign(this, { labels, colours });
    this.hasPrior = kind !== "autoencoder";
    this.canvas = picture(
      `Map of the ${MODELS[kind].title}: the codes of all digits, a colour ` +
        "for each digit, z1 to the right and z2 upwards",
    );
    this.codes = new Float32Array(2 * labels.length); // where they are
    this.shown = new Float32Array(2 * labels.length); // on their way there
    this.byDigit = colours.map((_, digit) =>
      Array.from(labels.keys()).filter((row) => labels[row] === digit),
    );
    // held ones, which no model has seen
    this.sample = this.byDigit.flatMap((rows) =>
      rows.filter((row) => row % 5 === 4).slice(0, N_EACH),
    );
    this.sigmas = new Map(); // row -> [sigma 1, sigma 2]
    this.half = this.hasPrior ? 3.4 : 1; // from the middle to the edge
  }

  /** Take what an encoder emits of some rows. */
  take(out, nCode, from, to) {
    for (let row = from; row < to; row++) {
      const at = (row - from) * nCode;
      this.codes[2 * row] = out[at];
      this.codes[2 * row + 1] = out[at + 1];
    }
    if (!this.hasPrior) return;
    for (const row of this.sample) {
      if (row < from || row >= to) continue;
      const at = (row - from) * nCode + 2;
      this.sigmas.set(row, [0, 1].map((i) => Math.exp(0.5 * out[at + i])));
    }
  }

  /** Go a share of the way to where the codes are. */
  follow(share) {
    const { codes, shown } = this;
    for (let i = 0; i < codes.length; i++)
      shown[i] += share * (codes[i] - shown[i]);
    const sizes = codes.map(Math.abs).sort();
    const far = 1.15 * sizes[Math.floor(0.997 * sizes.length)];
    const least = this.hasPrior ? 3.4 : 0.2;
    const half = Math.max(least, far) || least;
    this.half += share * (half - this.half);
  }

  draw() {
    const side = this.canvas.clientWidth;
    if (!side) return;
    const context = sharpened(this.canvas, side, side);
    const scale = side / 2 / this.half;
    const place = (z1, z2) => [side / 2 + scale * z1, side / 2 - scale * z2];
    this.drawAxes(context, side, place);
    if (this.hasPrior) this.drawPrior(context, scale, place);
    this.drawCodes(context, place);
    if (this.hasPrior) this.drawClouds(context, scale, place);
    this.drawDigits(context, place);
  }

  drawAxes(context, side, place) {
    const step = round(this.half / 3.5);
    const digits = step < 0.1 ? 2 : step < 1 ? 1 : 0;
    context.font = "11px system-ui, sans-serif";
    context.lineWidth = 1;
    for (let i = -Math.floor(this.half / step); i * step < this.half; i++) {
      const [x, y] = place(i * step, i * step);
      context.strokeStyle = i ? "#0000000d" : "#00000040";
      context.beginPath();
      context.moveTo(x, 0);
      context.lineTo(x, side);
      context.moveTo(0, y);
      context.lineTo(side, y);
      context.stroke();
      context.fillStyle = "#555";
      context.textAlign = "center";
      const text = written(i * step, digits);
      if (x > 24 && x < side - 28) context.fillText(text, x, side - 4);
      context.textAlign = "left";
      if (y > 24 && y < side - 20) context.fillText(text, 3, y + 4);
    }
    context.fillStyle = "#333";
    context.font = "italic 12px system-ui, sans-serif";
    context.textAlign = "right";
    context.fillText("z\u2081", side - 4, side - 4);
    context.textAlign = "left";
    context.fillText("z\u2082", 3, 12);
  }

  drawPrior(context, scale, place) {
    context.setLineDash([4, 4]);
    context.strokeStyle = "#000a";
    context.lineWidth = 1.25;
    context.beginPath();
    context.arc(...place(0, 0), PRIOR * scale, 0, 2 * Math.PI);
    context.stroke();
    context.setLineDash([]);
  }

  drawCodes(context, place) {
    const { shown, byDigit, colours } = this;
    context.globalAlpha = 0.75;
    byDigit.forEach((rows, digit) => {
      context.fillStyle = colours[digit];
      context.beginPath();
      for (const row of rows) {
        const [x, y] = place(shown[2 * row], shown[2 * row + 1]);
        context.moveTo(x + 1.8, y);
        context.arc(x, y, 1.8, 0, 2 * Math.PI);
      }
      context.fill();
    });
    context.globalAlpha = 1;
  }

  /** q(z|x) of a sample: ellipses of one standard deviation. */
  drawClouds(context, scale, place) {
    for (const [row, sigma] of this.sigmas) {
      const [x, y] = place(this.shown[2 * row], this.shown[2 * row + 1]);
      const radii = sigma.map((s) => s * scale);
      context.beginPath();
      context.ellipse(x, y, ...radii, 0, 0, 2 * Math.PI);
      context.strokeStyle = "#fff";
      context.lineWidth = 3;
      context.stroke();
      context.strokeStyle = this.colours[this.labels[row]];
      context.lineWidth = 1.5;
      context.stroke();
    }
  }

  /** Each digit where the middle of its codes is. */
  drawDigits(context, place) {
    const middle = (values) => values.sort()[values.length >> 1];
    const { shown } = this;
    const spots = this.byDigit.map((rows) => {
      const [z1, z2] = [0, 1].map((i) =>
        middle(Float32Array.from(rows, (row) => shown[2 * row + i])),
      );
      return place(z1, z2);
    });
    for (const { x, y, digits } of together(spots)) {
      context.textAlign = "center";
      if (digits.length === 1) this.drawDigit(context, x, y, digits[0]);
      else this.drawSeveral(context, x, y, digits);
    }
  }

  drawDigit(context, x, y, digit) {
    context.beginPath();
    context.arc(x, y, 8, 0, 2 * Math.PI);
    context.fillStyle = "#fff";
    context.fill();
    context.strokeStyle = this.colours[digit];
    context.lineWidth = 2;
    context.stroke();
    context.font = "bold 12px system-ui, sans-serif";
    context.fillStyle = "#222";
    context.fillText(digit, x, y + 4.5);
  }

  drawSeveral(context, x, y, digits) {
    const text = named(digits);
    context.font = "bold 14px system-ui, sans-serif";
    context.lineJoin = "round";
    context.lineWidth = 4;
    context.strokeStyle = "#fff";
    context.strokeText(text, x, y + 5);
    context.fillStyle = "#222";
    context.fillText(text, x, y + 5);
  }
}

/** What is written where the middles of several digits are. */
function named(digits) {
  if (digits.length === 10) return "all ten";
  return digits.length > 3 ? "mixed" : digits.join(" ");
}

/** Places of the digits; those that would lie on each other become one. */
function together(spots) {
  const groups = spots.map(([x, y], digit) => ({ x, y, digits: [digit] }));
  const half = ({ digits }) => 4 + 4 * named(digits).length;
  const meet = (a, b) =>
    Math.abs(a.x - b.x) < half(a) + half(b) && Math.abs(a.y - b.y) < 15;
  for (let i = 0; i < groups.length; i++) {
    const j = groups.findIndex((other, k) => k > i && meet(groups[i], other));
    if (j < 0) continue;
    const [other] = groups.splice(j, 1);
    const { x, y, digits } = groups[i];
    const [n, m] = [digits.length, other.digits.length];
    groups[i] = {
      x: (n * x + m * other.x) / (n + m),
      y: (n * y + m * other.y) / (n + m),
      digits: [...digits, ...other.digits].sort(),
    };
    i = -1; // it is larger now, and may meet others
  }
  return groups;
}

// ---- a sheet of decoded digits ---------------------------------------------

class Sheet {
  constructor(kind) {
    this.canvas = picture(`What the ${MODELS[kind].title} draws`);
    this.small = document.createElement("canvas");
    this.small.width = COLUMNS * CELL;
    this.small.height = ROWS * CELL;
    this.image = new ImageData(COLUMNS * CELL, ROWS * CELL);
    this.dots = new Uint32Array(this.image.data.buffer).fill(0xffffffff);
    this.asked = Uint8Array.from(
      { length: COLUMNS * ROWS },
      (_, i) => i % COLUMNS,
    );
    this.z = new Float32Array(2 * COLUMNS * ROWS);
  }

  /** Codes all over a plane of this half width, or the same in each row. */
  codes(half, byLabel) {
    for (let i = 0; i < COLUMNS * ROWS; i++) {
      const across = ((i % COLUMNS) + 0.5) / COLUMNS;
      const down = (Math.floor(i / COLUMNS) + 0.5) / ROWS;
      this.z[2 * i] = byLabel ? 0 : half * (2 * across - 1);
      this.z[2 * i + 1] = half * (1 - 2 * down);
    }
    return this.z;
  }

  draw(pixels) {
    pixels.forEach((ink, i) => {
      const cell = Math.floor(i / SIDE ** 2);
      const [x, y] = [i % SIDE, Math.floor(i / SIDE) % SIDE];
      const row = Math.floor(cell / COLUMNS) * CELL + y;
      const at = row * COLUMNS * CELL + (cell % COLUMNS) * CELL + x;
      this.dots[at] = 0xff000000 + 0x010101 * Math.round(255 * (1 - ink));
    });
    this.small.getContext("2d").putImageData(this.image, 0, 0);
    const width = this.canvas.clientWidth;
    if (!width) return;
    const context = sharpened(this.canvas, width, width / 2);
    context.drawImage(this.small, 0, 0, width, width / 2);
  }
}

// ---- the two terms of the loss as curves -----------------------------------

class Curves {
  constructor(kind) {
    this.kind = kind;
    this.canvas = picture(
      kind === "autoencoder"
        ? "Curve of the squared error over the steps"
        : `Curves of the ${MODELS[kind].title} over the steps: ` +
            "reconstruction above, KL below, in nats per digit",
    );
    this.clear();
  }

  clear() {
    this.points = []; // [step, reconstruction, KL]
    this.every = 1;
    this.marks = []; // what was changed, and when
  }

  add(step, { reconstruction, kl }) {
    if (step % this.every) return;
    this.points.push([step, reconstruction, kl]);
    if (this.points.length < MOST) return;
    this.every *= 2; // half of the points do as well
    this.points = this.points.filter(([s]) => s % this.every === 0);
  }

  /** Note a change; of several of one kind in a row the last is kept. */
  mark(step, name, text) {
    const { marks } = this;
    const last = marks.at(-1);
    if (last?.name === name && step - last.step < 60) marks.pop();
    marks.push({ step, name, text });
  }

  draw(now) {
    const { canvas, points } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    const context = sharpened(canvas, width, height);
    const last = Math.max(100, points.at(-1)?.[0] ?? 0);
    const split = this.kind === "autoencoder" ? height - 16 : height * 0.58;
    // the first steps fall from so high that the rest would look flat
    const later = points.filter(([step]) => step >= Math.min(60, last / 3));
    const values = later.map((point) => point[1]);
    const [low, high] = values.length
      ? [Math.min(...values), Math.max(...values)]
      : [0, this.kind === "autoencoder" ? 10 : 45];
    const room = 0.1 * (high - low) + 0.2;
    this.panel(context, {
      top: 16, bottom: split - 4, width, last, column: 1,
      low: Math.max(0, low - room), high: high + room, colour: "#332288",
      name: this.kind === "autoencoder" ? "squared error" : "reconstruction",
      value: now?.reconstruction,
    });
    if (this.kind !== "autoencoder") {
      const most = Math.max(1, ...points.map((point) => point[2]));
      this.panel(context, {
        top: split + 12, bottom: height - 16, width, last, column: 2,
        low: 0, high: 1.1 * most, colour: "#882255", name: "KL",
        value: now?.kl,
      });
    }
    this.steps(context, width, height, last);
    context.textAlign = "left";
    const isVae = this.kind !== "autoencoder";
    context.fillText(isVae ? "nats per digit" : "per digit", 4, 12);
  }

  panel(context, { top, bottom, width, last, column, low, high, colour, name,
    value }) {
    const left = 30;
    const across = (step) => left + ((width - left - 6) * step) / last;
    const up = (v) => bottom - ((bottom - top) * (v - low)) / (high - low);
    context.font = "11px system-ui, sans-serif";
    context.lineWidth = 1;
    const step = round((high - low) / 3);
    for (let v = Math.ceil(low / step) * step; v <= high; v += step) {
      context.strokeStyle = "#0000001a";
      context.beginPath();
      context.moveTo(left, up(v));
      context.lineTo(width, up(v));
      context.stroke();
      context.fillStyle = "#555";
      context.textAlign = "right";
      context.fillText(written(v, step < 1 ? 1 : 0), left - 4, up(v) + 4);
    }
    context.save();
    context.beginPath();
    context.rect(left, top - 2, width - left, bottom - top + 3);
    context.clip();
    context.strokeStyle = "#0006";
    context.setLineDash([2, 3]);
    for (const { step: at } of this.marks) {
      context.beginPath();
      context.moveTo(across(at), top);
      context.lineTo(across(at), bottom);
      context.stroke();
    }
    context.setLineDash([]);
    context.strokeStyle = colour;
    context.lineWidth = 1.75;
    context.beginPath();
    for (const point of this.points)
      context.lineTo(across(point[0]), up(point[column]));
    context.stroke();
    context.restore();
    if (column === 1) this.drawMarks(context, across, bottom, width);
    const words = value === undefined ? name : `${name} ${written(value, 1)}`;
    context.font = "600 12px system-ui, sans-serif";
    context.textAlign = "right";
    context.lineWidth = 3;
    context.strokeStyle = "#fff";
    context.strokeText(words, width - 4, top - 3);
    context.fillStyle = colour;
    context.fillText(words, width - 4, top - 3);
  }

  /** What was changed, below the upper curve. */
  drawMarks(context, across, bottom, width) {
    const y = this.kind === "autoencoder" ? bottom - 3 : bottom + 12;
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "left";
    context.fillStyle = "#333";
    this.marks.forEach(({ step, text }, i) => {
      const x = across(step);
      const size = context.measureText(text).width;
      const next = this.marks[i + 1];
      if (next && across(next.step) - x < size + 6) return;
      // the right end of the line belongs to the name of the lower curve
      const fits = x + size + 3 < width - 50;
      context.fillText(text, fits ? x + 2 : x - size - 2, y);
    });
  }

  steps(context, width, height, last) {
    context.font = "11px system-ui, sans-serif";
    context.fillStyle = "#555";
    context.textAlign = "left";
    context.fillText("step 0", 30, height - 4);
    context.textAlign = "right";
    context.fillText(last.toLocaleString("en"), width - 4, height - 4);
  }
}

// ---- one model -------------------------------------------------------------

class Panel {
  constructor(i, labels, colours) {
    this.i = i;
    this.kind = KINDS[i];
    const { title, about } = MODELS[this.kind];
    this.map = new CodeMap(this.kind, labels, colours);
    this.sheet = new Sheet(this.kind);
    this.curves = new Curves(this.kind);
    this.rule = make("span", { text: about });
    this.about = make("p", { class: "about", "aria-hidden": "true" });
    const order = make("p", { class: "order", "aria-hidden": "true" });
    for (let digit = 0; digit < COLUMNS; digit++)
      order.append(make("span", { text: digit }));
    this.order = order;
    this.root = make(
      "div",
      { class: `learner ${this.kind}`, role: "group", "aria-label": title },
      make("p", { class: "title" }, make("strong", { text: title }), this.rule),
      make("div", { class: "plane" }, this.map.canvas),
      this.about,
      order,
      make("div", { class: "sheet" }, this.sheet.canvas),
      make("div", { class: "curves" }, this.curves.canvas),
    );
    this.clear();
  }

  clear() {
    this.curves.clear();
    this.sums = { reconstruction: 0, kl: 0, loss: 0 };
    this.weight = 0; // of all steps so far in the means
    this.agree = undefined; // share of digits that their neighbours name
  }

  /** Add the terms of a step to the means. */
  add(step, terms) {
    for (const name of Object.keys(this.sums))
      this.sums[name] = MEMORY * this.sums[name] + (1 - MEMORY) * terms[name];
    this.weight = MEMORY * this.weight + (1 - MEMORY);
    this.curves.add(step, this.means());
  }

  /** Means over the last steps, or undefined before the first. */
  means() {
    if (!this.weight) return undefined;
    const entries = Object.entries(this.sums);
    return Object.fromEntries(entries.map(([k, v]) => [k, v / this.weight]));
  }

  /** Renew the codes of some rows. */
  encode(lesson, from, to, told) {
    const { nCode } = lesson.models[this.i].model;
    this.map.take(lesson.encode(this.i, from, to, told), nCode, from, to);
  }

  measure(labels) {
    this.agree = accuracy(this.map.codes, labels);
  }

  draw(lesson, told) {
    const { map, sheet } = this;
    const byLabel = this.kind === "cvae" && told;
    const half = map.hasPrior ? REACH : 0.8 * map.half;
    map.draw();
    const z = sheet.codes(half, byLabel);
    sheet.draw(lesson.decode(this.i, z, told ? sheet.asked : null));
    this.curves.draw(this.means());
    this.order.classList.toggle("off", !byLabel);
    const { about, untold = about } = MODELS[this.kind];
    say(this.rule, told ? about : untold);
    const places = byLabel ? "of five codes as each digit" : "all over the map";
    say(this.about, `What is drawn ${places}`);
  }
}

// ---- the whole -------------------------------------------------------------

class Trainer {
  constructor(model, el, digits) {
    this.model = model;
    this.digits = digits;
    this.options = model.get("options");
    const colours = model.get("colours");
    this.panels = KINDS.map((_, i) => new Panel(i, digits.labels, colours));
    this.calm = window.matchMedia("(prefers-reduced-motion: reduce)");
    this.words = make("p", { class: "words" });
    this.status = make("p", { class: "status", role: "status" });
    this.root = make(
      "div",
      {
        class: "minivae-trainer",
        role: "group",
        "aria-label": "Three models that learn",
      },
      this.makeControls(),
      this.words,
      this.status,
      this.makeChoice(),
      make("div", { class: "learners" }, ...this.panels.map((p) => p.root)),
      this.makeTable(),
    );
    el.append(this.root);
    this.listen();
    this.reset();
  }

  // -- what it is made of

  makeControls() {
    const button = (text, call, options = {}) => {
      const node = make("button", { type: "button", text, ...options });
      node.addEventListener("click", call);
      return node;
    };
    this.start = button("Start", () => this.toggle(), { class: "start" });
    this.once = button("Step", () => this.stepOnce());
    this.again = button("Reset", () => this.reset());
    this.seed = make("input", {
      type: "number",
      min: 0,
      max: 999,
      step: 1,
      class: "seed",
    });
    this.seed.addEventListener("change", () => {
      const seed = Math.round(this.seed.valueAsNumber);
      if (seed >= 0 && seed <= 999) this.set({ seed });
      this.reset();
    });
    this.count = make("span", { class: "count" });
    this.beta = this.makeSlider("beta", BETAS, "\u03b2, weight of the KL");
    this.rate = this.makeSlider("lr", RATES, "step size of Adam");
    const check = (text, name, title) => {
      const input = make("input", { type: "checkbox" });
      input.addEventListener("change", () => {
        this.set({ [name]: !input.checked });
        const changed = text.replace(/off|withheld/, "on");
        this.mark(name, input.checked ? text : changed);
      });
      const label = make("label", { title }, input, ` ${text}`);
      return { input, label };
    };
    this.silent = check(
      "noise off", "noise", "z is mu, as in an autoencoder",
    );
    this.untold = check(
      "label withheld", "told", "the CVAE gets zeros instead of the label",
    );
    return make(
      "div",
      { class: "controls" },
      make(
        "div",
        { class: "buttons" },
        this.start,
        this.once,
        this.again,
        make("label", {}, "seed ", this.seed),
        this.count,
      ),
      this.beta.label,
      this.rate.label,
      make("div", { class: "checks" }, this.silent.label, this.untold.label),
    );
  }

  makeSlider(name, values, text) {
    const input = make("input", {
      type: "range",
      min: 0,
      max: values.length - 1,
      step: 1,
    });
    const value = make("output", { class: "value", "aria-live": "off" });
    input.addEventListener("input", () => {
      this.set({ [name]: values[input.valueAsNumber] });
      this.showSettings();
    });
    input.addEventListener("change", () => {
      const letter = name === "beta" ? "\u03b2" : "lr";
      this.mark(name, `${letter} ${values[input.valueAsNumber]}`);
    });
    const label = make(
      "label",
      { class: `slider ${name}` },
      make("span", { text }),
      input,
      value,
    );
    return { input, value, label, values };
  }

  /** Where a screen has room for one map: which. */
  makeChoice() {
    this.choices = KINDS.map((kind) => {
      const { title } = MODELS[kind];
      const button = make("button", { type: "button", text: title });
      button.addEventListener("click", () => this.choose(kind));
      return button;
    });
    return make(
      "div",
      { class: "choice", role: "group", "aria-label": "Model that is shown" },
      ...this.choices,
    );
  }

  makeTable() {
    const head = ["model", "loss", "reconstruction", "KL", "k-NN"];
    this.cells = KINDS.map(() => head.slice(1).map(() => make("td")));
    const rows = KINDS.map((kind, i) =>
      make(
        "tr",
        {},
        make("th", { scope: "row", text: MODELS[kind].title }),
        ...this.cells[i],
      ),
    );
    const columns = head.map((text) => make("th", { scope: "col", text }));
    return make(
      "table",
      {},
      make("caption", {
        text:
          "Means over the last steps: nats per digit, for the autoencoder " +
          "its squared error. k-NN: the share of 359 digits that are held " +
          "back whose 15 nearest codes mostly have their label.",
      }),
      make("thead", {}, make("tr", {}, ...columns)),
      make("tbody", {}, ...rows),
    );
  }

  // -- settings

  listen() {
    const { model } = this;
    this.onChange = () => this.showSettings();
    this.onSeed = () => {
      if (!this.writing) this.reset();
    };
    this.names = ["beta", "lr", "noise", "told"];
    for (const name of this.names) model.on(`change:${name}`, this.onChange);
    model.on("change:seed", this.onSeed);
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.root);
    // out of sight it rests, and goes on where it was
    this.sight = new IntersectionObserver(([entry]) => {
      this.seen = entry.isIntersecting;
      this.go();
    });
    this.seen = true;
    this.sight.observe(this.root);
    this.choose("vae");
  }

  close() {
    const { model } = this;
    this.running = false;
    cancelAnimationFrame(this.frame);
    for (const name of this.names) model.off(`change:${name}`, this.onChange);
    model.off("change:seed", this.onSeed);
    this.sizes.disconnect();
    this.sight.disconnect();
    this.root.remove();
  }

  set(values) {
    this.writing = true;
    for (const [name, value] of Object.entries(values))
      this.model.set(name, value);
    this.writing = false;
    this.model.save_changes();
  }

  get settings() {
    const { model } = this;
    return {
      beta: model.get("beta"),
      lr: model.get("lr"),
      noisy: model.get("noise"),
      told: model.get("told"),
    };
  }

  showSettings() {
    const { beta, lr, noisy, told } = this.settings;
    for (const [slider, value] of [[this.beta, beta], [this.rate, lr]]) {
      slider.input.value = nearest(slider.values, value);
      slider.input.setAttribute("aria-valuetext", value);
      say(slider.value, String(value));
    }
    this.silent.input.checked = !noisy;
    this.untold.input.checked = !told;
    this.seed.value = this.model.get("seed");
    if (told !== this.toldBefore && !this.running && this.lesson) this.settle();
    this.toldBefore = told;
  }

  /** Note what has been changed on the curves of those who feel it. */
  mark(name, text) {
    if (!this.lesson.steps) return;
    const first = { lr: 0, beta: 1, noise: 1, told: 2 }[name];
    for (const { curves } of this.panels.slice(first))
      curves.mark(this.lesson.steps, name, text);
  }

  choose(kind) {
    this.root.dataset.shown = kind;
    this.choices.forEach((button, i) =>
      button.setAttribute("aria-pressed", KINDS[i] === kind),
    );
    this.draw();
  }

  // -- training

  reset() {
    this.pause();
    const seed = this.model.get("seed");
    this.lesson = new Lesson(this.digits, { ...this.options, seed });
    for (const panel of this.panels) panel.clear();
    this.cursor = 0; // the digit whose code is renewed next
    this.looked = this.measured = this.spoken = 0;
    this.room = TRAINING[0];
    this.showSettings();
    this.settle();
  }

  toggle() {
    if (this.running) {
      this.pause();
      this.settle();
      return;
    }
    this.running = true;
    say(this.start, "Pause");
    this.go();
  }

  pause() {
    this.running = false;
    say(this.start, "Start");
    cancelAnimationFrame(this.frame);
    this.frame = this.before = 0;
  }

  stepOnce() {
    this.pause();
    this.train();
    this.settle();
  }

  /** Ask for the next frame, if it runs and somebody can see it. */
  go() {
    if (!this.seen) this.before = 0;
    if (!this.running || !this.seen || this.frame) return;
    this.frame = requestAnimationFrame((now) => {
      this.frame = 0;
      // as many steps as leave time for all that a browser has to do
      const late = this.before && now - this.before > FRAME;
      const room = this.room * (late ? 0.8 : 1.1);
      this.room = Math.min(Math.max(room, TRAINING[0]), TRAINING[1]);
      this.before = now;
      const end = performance.now() + this.room;
      do this.train();
      while (performance.now() < end);
      this.look(now);
      this.go();
    });
  }

  train() {
    const terms = this.lesson.step(this.settings);
    this.panels.forEach((panel, i) => panel.add(this.lesson.steps, terms[i]));
  }

  /** What a frame shows: some new codes, and all on their way to them. */
  look(now) {
    const { lesson, panels } = this;
    const { told } = this.settings;
    if (this.calm.matches) {
      // still pictures, one a second
      if (now - this.looked < 1000) return;
      this.looked = now;
      this.settle();
      return;
    }
    const n = this.digits.labels.length;
    const to = Math.min(n, this.cursor + ENCODING);
    for (const panel of panels) {
      panel.encode(lesson, this.cursor, to, told);
      panel.map.follow(0.3);
    }
    this.cursor = to % n;
    if (now - this.measured > MEASURED) {
      this.measured = now;
      this.turn = ((this.turn ?? 0) + 1) % 3; // one in a frame
      panels[this.turn].measure(this.digits.labels);
    }
    this.draw();
    if (now - this.looked < WRITTEN) return;
    this.looked = now;
    this.showNumbers(now);
  }

  /** All codes where they belong, all numbers up to date. */
  settle() {
    const { told } = this.settings;
    for (const panel of this.panels) {
      panel.encode(this.lesson, 0, this.digits.labels.length, told);
      panel.map.follow(1);
      panel.measure(this.digits.labels);
    }
    this.draw();
    this.showNumbers(performance.now());
    this.set({ report: this.report() });
  }

  draw() {
    if (!this.lesson) return;
    const { told } = this.settings;
    for (const panel of this.panels) {
      if (panel.root.offsetParent) panel.draw(this.lesson, told);
    }
  }

  // -- numbers

  report() {
    const models = this.panels.map((panel) => ({
      model: panel.kind,
      ...panel.means(),
      accuracy: panel.agree,
    }));
    return { step: this.lesson.steps, models };
  }

  showNumbers(now) {
    const { steps } = this.lesson;
    this.root.dataset.step = steps;
    say(this.count, `step ${steps.toLocaleString("en")}`);
    const text = (value) => (value === undefined ? "" : written(value, 2));
    this.panels.forEach((panel, i) => {
      const means = panel.means();
      const isVae = panel.kind !== "autoencoder";
      const [loss, reconstruction, kl, share] = this.cells[i];
      say(loss, text(means?.loss));
      say(reconstruction, isVae ? text(means?.reconstruction) : "none");
      say(kl, isVae ? text(means?.kl) : "none");
      say(share, `${Math.round(100 * panel.agree)} %`);
    });
    const { kind, text: words } = this.sentence();
    say(this.words, words);
    // spoken where it tells something new, and else now and then
    const news = kind !== this.kind || !this.running;
    if (!news && now - this.spoken < SPOKEN) return;
    Object.assign(this, { kind, spoken: now });
    say(this.status, words);
  }

  /** What one sees, in a sentence: for those who do not, and to be sure. */
  sentence() {
    const { steps } = this.lesson;
    if (!steps)
      return {
        kind: "start",
        text:
          "Three models with random weights. Press Start: they learn from " +
          "1,438 digits, and the maps show where each of them puts all 1,797.",
      };
    const { beta, noisy, told } = this.settings;
    const [, vae] = this.panels.map((panel) => panel.means());
    const shares = this.panels.map(({ agree }) => Math.round(100 * agree));
    const at = `Step ${steps.toLocaleString("en")}.`;
    if (noisy && vae.kl < 0.1 && beta > 1)
      return {
        kind: "collapse",
        text:
          `${at} Collapse: the KL of the VAE is ${written(vae.kl, 2)} nats. ` +
          "Each cloud q(z|x) has become the prior, all codes lie in the " +
          "middle, and whatever the code, the decoder draws the same.",
      };
    if (!noisy)
      return {
        kind: "silent",
        text:
          `${at} Without noise a code may be as fine as it likes: the KL of ` +
          `the VAE is ${written(vae.kl, 2)} nats, and yet the neighbours of ` +
          `a code name ${shares[1]} % of its digits.`,
      };
    return {
      kind: told ? "told" : "untold",
      text:
        `${at} The neighbours of a code name its digit: on the map of the ` +
        `autoencoder for ${shares[0]} % of the digits, on that of the VAE ` +
        `for ${shares[1]} %, and on that of the CVAE, which ` +
        `${told ? "is" : "is no longer"} told the label, for ${shares[2]} %.`,
    };
  }
}

async function render({ model, el }) {
  const packed = model.get("digits");
  const labels = octets(packed.labels);
  const images = unpacked(await inflate(packed.images), labels);
  const digits = { images, labels };
  const trainer = new Trainer(model, el, digits);
  return () => trainer.close();
}

export default { render };
