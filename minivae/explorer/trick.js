// The trick: z = mu + sigma * noise. The noise is held while mu and sigma
// move, so every code moves smoothly, and a mean over codes has a slope.

import { Axes, Slider, Traits, Words, button, exact, ticks } from "./axes.js";
import { make, normal, written } from "./tools.js";

const LOG_2_PI = Math.log(2 * Math.PI);
const POINT = [1.5, -1.4]; // of the toy: the one at the right
const THETA = 0.3;
const MOST = { mu: 2, sigma: 1 };
const PLACES = Array.from({ length: 81 }, (_, i) => (i - 40) / 20);
const REACH = 3.2; // of both axes
const [UPPER, LOWER] = [82, 192]; // where they lie

/** f(z) = log p(x|z), and its slope by z. */
function likelihood(z) {
  const [x1, x2] = POINT;
  const [sine, cosine] = [Math.sin(1.5 * z), Math.cos(1.5 * z)];
  const far = (x1 - 2 * sine) ** 2 + (x2 + 2 * cosine) ** 2;
  const slope = -6 * (x1 - 2 * sine) * cosine - 6 * (x2 + 2 * cosine) * sine;
  const scale = 2 * THETA ** 2;
  return [
    -LOG_2_PI - 2 * Math.log(THETA) - far / scale,
    -slope / scale,
  ];
}

/** The mean of f over the codes, and its slopes by mu and by sigma. */
export function estimate(noise, mu, sigma) {
  const sums = [0, 0, 0];
  for (const e of noise) {
    const [f, slope] = likelihood(mu + sigma * e);
    sums[0] += f;
    sums[1] += slope;
    sums[2] += slope * e;
  }
  return sums.map((sum) => sum / noise.length);
}

let count = 0; // of figures on the page, for names that differ

class Trick {
  constructor(model, el) {
    this.id = `minivae-trick-${count++}`;
    this.n = model.get("noise").length;
    this.traits = new Traits(model, ["mu", "sigma", "noise"], () =>
      this.draw(),
    );
    this.dots = new Axes(
      "Noise on an axis above, codes on an axis below, and a line from each " +
        "noise to its code",
      262,
    );
    this.curve = new Axes(
      "Mean of log p(x|z) over the codes against mu: a smooth line where the " +
        "noise is held, scattered dots where it is drawn anew",
      262,
    );
    this.words = new Words();
    this.scatter();
    this.root = make(
      "div",
      { class: "minivae-axes minivae-trick", role: "group",
        "aria-label": "The trick" },
      this.makeControls(),
      make("div", { class: "panels" },
        make("div", {}, make("p", { class: "title" },
          make("strong", { text: "z = \u03bc + \u03c3 \u03b5" })),
          this.dots.root),
        make("div", {}, make("p", { class: "title" },
          make("strong", { text: "Mean of log p(x|z)" }),
          ` over the ${this.n} codes`), this.curve.root)),
      this.words.seen,
      this.words.heard,
    );
    el.append(this.root);
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.root);
    this.draw();
  }

  makeControls() {
    const move = (name) => (value) => {
      if (this.fresh.checked) this.renew();
      this.traits.set({ [name]: value });
    };
    this.mu = new Slider("\u03bc, the mean",
      { low: -MOST.mu, high: MOST.mu, step: 0.01 }, move("mu"));
    this.sigma = new Slider("\u03c3, the width",
      { low: 0.02, high: MOST.sigma, step: 0.01 }, move("sigma"));
    this.fresh = make("input", { type: "checkbox" });
    const renew = button("New noise", () => {
      this.scatter();
      this.renew();
      this.words.speak();
    });
    for (const { input } of [this.mu, this.sigma])
      input.addEventListener("change", () => this.words.speak());
    this.fresh.addEventListener("change", () => {
      this.draw();
      this.words.speak();
    });
    return make("div", { class: "controls" }, this.mu.root, this.sigma.root,
      make("div", { class: "buttons" }, renew,
        make("label", { class: "check" }, this.fresh,
          " new noise at every move")));
  }

  renew() {
    const noise = Array.from({ length: this.n }, normal);
    this.traits.set({ noise });
  }

  /** Noise of its own for every place of the dots. */
  scatter() {
    this.others = PLACES.map(() => Array.from({ length: this.n }, normal));
  }

  close() {
    this.traits.close();
    this.sizes.disconnect();
    this.root.remove();
  }

  draw() {
    const [mu, sigma, noise] = ["mu", "sigma", "noise"].map((name) =>
      this.traits.get(name),
    );
    this.mu.show(mu);
    this.sigma.show(sigma);
    const [f, byMu, bySigma] = estimate(noise, mu, sigma);
    if (this.dots.clear()) this.drawDots(mu, sigma, noise);
    if (this.curve.clear()) this.drawCurve(mu, sigma, noise, f, byMu);
    const codes = noise.map((e) => written(mu + sigma * e, 2)).join(", ");
    const tail = this.fresh.checked
      ? "New noise at every move: the mean jumps, so two values say little " +
        "about the slope."
      : "The noise stays: a step of \u03bc moves every code by the same, a " +
        "step of \u03c3 moves each by its \u03b5.";
    this.words.show(
      `Codes ${codes}. Mean of log p(x|z): `, exact(f, "f"),
      "; its slope by \u03bc is ", exact(byMu, "by-mu"),
      ", by \u03c3 ", exact(bySigma, "by-sigma"), `. ${tail}`,
    );
  }

  drawDots(mu, sigma, noise) {
    const { dots } = this;
    const area = { left: 12, right: dots.width - 12, top: 16, bottom: UPPER };
    const bell = (m, s) => Array.from({ length: 161 }, (_, i) => {
      const u = i / 20 - 4;
      return [m + s * u, Math.exp(-0.5 * u * u) / s];
    });
    dots.scale([-REACH, REACH], [0, 1.1], area);
    dots.line(bell(0, 1), "area noise");
    dots.line(bell(0, 1), "noise");
    this.drawAxis(UPPER, 20);
    dots.text("noise \u03b5", 8, 15, "name");
    // that of the codes hangs down, and never out of the picture
    const tall = Math.max(1, 1 / sigma);
    dots.scale([-REACH, REACH], [tall * 1.1, 0],
      { ...area, top: LOWER, bottom: LOWER + 62 });
    for (const kind of ["area q", "q"])
      dots.clipped(dots.line(bell(mu, sigma), kind), `${this.id}-q`);
    this.drawAxis(LOWER, -10);
    dots.text("code z", 8, LOWER + 62, "name halo");
    noise.forEach((e) => {
      const [x1, x2] = [dots.x(e), dots.x(mu + sigma * e)];
      dots.segment([x1, UPPER], [x2, LOWER], "tie");
      dots.put("circle", { cx: x1, cy: UPPER, r: 5, class: "noise" });
      dots.put("rect", { x: x2 - 5, y: LOWER - 5, width: 10, height: 10,
        class: "code" });
    });
  }

  drawAxis(y, below) {
    const { dots } = this;
    const { left, right } = dots.area;
    dots.segment([left, y], [right, y], "");
    for (let v = -3; v <= 3; v++) {
      dots.segment([dots.x(v), y - 4], [dots.x(v), y + 4], "");
      dots.text(written(v, 0), dots.x(v), y + below, "tick middle halo");
    }
  }

  drawCurve(mu, sigma, noise, f, byMu) {
    const { curve } = this;
    const line = PLACES.map((m) => [m, estimate(noise, m, sigma)[0]]);
    const cloud = PLACES.map((m, i) => [
      m, estimate(this.others[i], m, sigma)[0],
    ]);
    const low = -100;
    curve.scale([-MOST.mu, MOST.mu], [low, 10]);
    curve.across([-2, -1, 0, 1, 2], "\u03bc");
    curve.up(ticks(low, 10, 6), "nats");
    for (const [m, value] of cloud) curve.dot(m, value, "fresh", 2.5);
    const held = !this.fresh.checked;
    const clip = (node) => curve.clipped(node, `${this.id}-f`);
    if (held) {
      clip(curve.line(line, "elbo"));
      // as long on the screen for every slope
      const [sx, sy] = [curve.x(1) - curve.x(0), curve.y(1) - curve.y(0)];
      const run = 46 / Math.hypot(sx, sy * byMu);
      clip(curve.line([-run, run].map((d) => [mu + d, f + d * byMu]), "slope"));
    }
    clip(curve.dot(mu, f, "elbo"));
    const { right } = curve.area;
    curve.put("circle", { cx: right - 91, cy: 10, r: 2.5, class: "fresh" });
    curve.text("other noise", right - 75, 14, "key");
    if (!held) return;
    curve.key("this noise", right - 268, 14, "elbo");
    curve.key("slope", right - 166, 14, "slope");
  }
}

function render({ model, el }) {
  const figure = new Trick(model, el);
  return () => figure.close();
}

export default { render, estimate };
