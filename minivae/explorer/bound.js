// Move the bound: evidence, ELBO and gap of a toy whose decoder is known.
//
// A code z runs along a circle of radius 2, x is its place there plus noise
// of width theta. The ELBO is in closed form, evidence and gap are sums over
// grids of codes; so that they fit together is no matter of arithmetic.

import { Axes, Slider, Traits, Words, button, exact, ticks } from "./axes.js";
import { make, written } from "./tools.js";

const LOG_2_PI = Math.log(2 * Math.PI);
const LIMIT = 6; // codes beyond have a billionth of the prior
const CELL = 0.01;
const SPREAD = 8; // standard deviations of q that its grid goes to
const LEAST = { theta: 0.1, sigma: 0.02 };
const MOST = { theta: 2.5, sigma: 2, mu: 3 };
const THETAS = Array.from({ length: 71 }, (_, i) => 0.1 * 25 ** (i / 70));
const START = [0, 1]; // every q begins as the prior
const GHOSTS = 3; // earlier bounds that stay on the picture

// ---- the toy ---------------------------------------------------------------

/** log p(x, z) of a point x and a code z. */
function logJoint([x1, x2], z, theta) {
  const far =
    (x1 - 2 * Math.sin(1.5 * z)) ** 2 + (x2 + 2 * Math.cos(1.5 * z)) ** 2;
  const likelihood = -LOG_2_PI - 2 * Math.log(theta) - far / (2 * theta ** 2);
  return likelihood - 0.5 * (LOG_2_PI + z * z);
}

/** log p(x), summed over a grid of codes. */
export function evidence(x, theta) {
  let sum = 0;
  // no code makes a point likelier than this
  const top = -LOG_2_PI - 2 * Math.log(theta) - 0.5 * LOG_2_PI;
  const nearest = (Math.hypot(...x) - 2) ** 2 / (2 * theta ** 2);
  for (let z = -LIMIT + CELL / 2; z < LIMIT; z += CELL)
    sum += Math.exp(logJoint(x, z, theta) - top + nearest);
  return Math.log(sum * CELL) + top - nearest;
}

/** The mean squared distance of x to what codes of q decode to. */
export function distance([x1, x2], [mu, sigma]) {
  const shrunk = 2 * Math.exp(-1.125 * sigma ** 2); // E[sin], E[cos] shrink
  const along = x1 * Math.sin(1.5 * mu) - x2 * Math.cos(1.5 * mu);
  return 4 + x1 * x1 + x2 * x2 - 2 * shrunk * along;
}

/** KL from q to the prior. */
export function price([mu, sigma]) {
  return 0.5 * (mu * mu + sigma * sigma - 1) - Math.log(sigma);
}

/** The ELBO from a squared distance and a KL, or from means of both. */
export function bound(far, kl, theta) {
  return -LOG_2_PI - 2 * Math.log(theta) - far / (2 * theta ** 2) - kl;
}

function elbo(x, q, theta) {
  return bound(distance(x, q), price(q), theta);
}

/** KL from q to the posterior, summed over a grid that q needs. */
export function gap(x, [mu, sigma], theta, logPx) {
  const step = 0.02;
  let sum = 0;
  for (let u = -SPREAD; u <= SPREAD; u += step) {
    const logQ = -0.5 * (LOG_2_PI + u * u) - Math.log(sigma);
    const posterior = logJoint(x, mu + sigma * u, theta) - logPx;
    sum += Math.exp(logQ) * (logQ - posterior);
  }
  return sum * step * sigma;
}

/** The normal q with the highest ELBO: a scan, then ever smaller steps. */
export function best(x, theta) {
  let [q, value] = [START, -Infinity];
  const take = (mu, sigma) => {
    if (sigma < LEAST.sigma || sigma > MOST.sigma) return false;
    const found = elbo(x, [mu, sigma], theta);
    if (found <= value) return false;
    [q, value] = [[mu, sigma], found];
    return true;
  };
  for (let i = 60; i >= -60; i--)
    for (let j = 0; j <= 20; j++) take(i / 20, 0.02 * 100 ** (j / 20));
  for (let step = 0.05; step > 1e-8; step /= 2) {
    const moves = () => {
      const [mu, sigma] = q;
      return take(mu + step, sigma) || take(mu - step, sigma) ||
        take(mu, sigma * (1 + step)) || take(mu, sigma / (1 + step));
    };
    while (moves());
  }
  return q;
}

function mean(values) {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

// ---- the figure ------------------------------------------------------------

let count = 0; // of figures on the page, for names that differ

class Bound {
  constructor(model, el) {
    this.id = `minivae-bound-${count++}`;
    this.points = model.get("points");
    this.turns = []; // [theta, evidence, distance, KL] after each best q
    this.traits = new Traits(model, ["theta", "point", "q"], () => this.draw());
    this.codes = new Axes(
      "Densities over the code z: the posterior of the chosen point, the " +
        "normal q and the prior",
      250,
    );
    this.bars = new Axes(
      "Three bars in nats: log p(x), and ELBO and gap, which add up to it",
      132,
    );
    this.curves = new Axes(
      "Mean log evidence of all points against theta, and under it the " +
        "bound for the present q of each",
      382,
    );
    this.words = new Words();
    this.mean = curveOf(this.points);
    this.root = make(
      "div",
      { class: "minivae-axes minivae-bound", role: "group",
        "aria-label": "Move the bound" },
      this.makeControls(),
      make("div", { class: "panels" },
        make("div", {}, this.makeTitle("One point"), this.codes.root,
          this.bars.root),
        make("div", {}, make("p", { class: "title" },
          make("strong", { text: "All points" }),
          ` means over ${this.points.length}`), this.curves.root)),
      this.words.seen,
      this.words.heard,
    );
    el.append(this.root);
    this.sizes = new ResizeObserver(() => this.draw());
    this.sizes.observe(this.root);
    this.draw();
  }

  makeTitle(text) {
    this.choice = make("select");
    this.points.forEach(([x1, x2], i) => {
      const place = `(${written(x1, 1)}, ${written(x2, 1)})`;
      const name = ["right, ", "top, "][i] ?? "";
      this.choice.append(make("option", { value: i, text: name + place }));
    });
    this.choice.addEventListener("change", () => {
      this.traits.set({ point: Number(this.choice.value) });
      this.words.speak();
    });
    return make("p", { class: "title" }, make("strong", { text }),
      make("label", {}, " x = ", this.choice));
  }

  makeControls() {
    const limits = (name) => ({
      low: LEAST[name], high: MOST[name], step: 0.01, log: true,
    });
    const move = (i) => (value) => {
      const q = this.q.map((one) => [...one]);
      q[this.point][i] = value;
      this.traits.set({ q });
    };
    this.mu = new Slider("mean of q",
      { low: -MOST.mu, high: MOST.mu, step: 0.01 }, move(0));
    this.sigma = new Slider("width of q",
      { ...limits("sigma"), digits: 3 }, move(1));
    this.width = new Slider("\u03b8, width of the noise",
      { ...limits("theta"), digits: 3 },
      (theta) => this.traits.set({ theta }));
    const sliders = [this.mu, this.sigma, this.width];
    for (const { input } of sliders)
      input.addEventListener("change", () => this.words.speak());
    return make("div", { class: "controls" },
      ...sliders.map(({ root }) => root),
      make("div", { class: "buttons" },
        button("Best q", () => this.bestQ()),
        button("One step of \u03b8", () => this.stepTheta()),
        button("Reset", () => this.reset())));
  }

  get q() {
    return this.traits.get("q");
  }

  get point() {
    return this.traits.get("point");
  }

  get theta() {
    return this.traits.get("theta");
  }

  /** The best normal q of every point: one half of a turn of EM. */
  bestQ() {
    const q = this.points.map((x) => best(x, this.theta));
    this.traits.set({ q });
    const { far, kl } = this.means();
    this.turns.push([this.theta, this.evidenceOfAll(), far, kl]);
    this.draw();
    this.words.speak();
  }

  /** The theta where the bound of the present q has its top. */
  stepTheta() {
    const theta = Math.sqrt(this.means().far / 2);
    this.traits.set({
      theta: Math.min(Math.max(theta, LEAST.theta), MOST.theta),
    });
    this.words.speak();
  }

  reset() {
    this.turns = [];
    this.traits.set({ q: this.points.map(() => START), theta: 1 });
    this.draw();
    this.words.speak();
  }

  /** Means over all points; they alone decide the bound for every theta. */
  means() {
    const { points, q } = this;
    return {
      far: mean(points.map((x, i) => distance(x, q[i]))),
      kl: mean(q.map(price)),
    };
  }

  /** The mean log evidence, which no q changes. */
  evidenceOfAll() {
    if (this.known?.theta !== this.theta) {
      const value = mean(this.points.map((x) => evidence(x, this.theta)));
      this.known = { theta: this.theta, value };
    }
    return this.known.value;
  }

  close() {
    this.traits.close();
    this.sizes.disconnect();
    this.root.remove();
  }

  draw() {
    const { theta, point } = this;
    const [x, q] = [this.points[point], this.q[point]];
    this.mu.show(q[0]);
    this.sigma.show(q[1]);
    this.width.show(theta);
    this.choice.value = point;
    const logPx = evidence(x, theta);
    const parts = [logPx, elbo(x, q, theta), gap(x, q, theta, logPx)];
    if (this.codes.clear()) this.drawCodes(x, q, theta, logPx);
    if (this.bars.clear()) this.drawBars(...parts);
    const { far, kl } = this.means();
    const all = this.evidenceOfAll();
    const lower = bound(far, kl, theta);
    if (this.curves.clear()) this.drawCurves(theta, all, far, kl);
    this.words.show(
      "This point: log p(x) = ", exact(parts[0], "evidence"),
      " is the ELBO, ", exact(parts[1], "elbo"),
      ", plus the gap, ", exact(parts[2], "gap"), " nats. All points at ",
      `\u03b8 = ${written(theta, 3)}: the mean log evidence is `,
      exact(all, "all"), ", the bound ", exact(lower, "lower"), ".",
    );
  }

  drawCodes(x, [mu, sigma], theta, logPx) {
    const { codes } = this;
    const places = Array.from({ length: 641 }, (_, i) => -3.2 + i / 100);
    const normal = (z, m, s) =>
      Math.exp(-0.5 * (LOG_2_PI + ((z - m) / s) ** 2)) / s;
    // a fine line would miss the top of a narrow curve
    const around = (m, s) =>
      Array.from({ length: 161 }, (_, i) => m + s * (i / 20 - 4));
    const q = [...places, ...around(mu, sigma)]
      .filter((z) => Math.abs(z) <= 3.2)
      .sort((a, b) => a - b)
      .map((z) => [z, normal(z, mu, sigma)]);
    const posterior = places.map((z) => [
      z, Math.exp(logJoint(x, z, theta) - logPx),
    ]);
    const top = Math.max(...posterior.map(([, p]) => p));
    const peak = normal(mu, mu, sigma);
    // a needle goes through the ceiling, rather than flatten the posterior
    const high = 1.18 * Math.max(0.45, top, Math.min(peak, 2.2 * top));
    codes.scale([-3.2, 3.2], [0, high]);
    codes.across([-3, -2, -1, 0, 1, 2, 3], "code z");
    codes.up(ticks(0, high, 4), "density", (v) => written(v, high < 2 ? 1 : 0));
    const filled = [[-3.2, 0], ...posterior, [3.2, 0]];
    codes.line(filled, "posterior area");
    codes.line(places.map((z) => [z, normal(z, 0, 1)]), "prior");
    codes.line(posterior, "posterior");
    codes.clipped(codes.line(q, "q"), `${this.id}-codes`);
    const { right } = codes.area;
    codes.key("p(z|x)", right - 204, 13, "posterior");
    codes.key("q(z)", right - 122, 13, "q");
    codes.key("prior", right - 50, 13, "prior");
  }

  drawBars(logPx, lower, lost) {
    const { bars } = this;
    const ends = [0, logPx, lower];
    const [low, high] = [Math.min(-4, ...ends), Math.max(0.4, ...ends)];
    const narrow = bars.width < 420;
    const area = { left: 64, right: bars.width - 76, top: 4, bottom: 98 };
    bars.scale([1.04 * low, 1.04 * high], [0, 1], area);
    const marks = ticks(1.04 * low, 1.04 * high, narrow ? 3 : 5);
    const far = Math.max(...marks.map(Math.abs)) >= 1000;
    const thousands = (v) => (v ? `${written(v / 1000, 1)}k` : "0");
    const fine = marks[1] - marks[0] < 1 ? 1 : 0;
    bars.across(marks, "nats", far ? thousands : (v) => written(v, fine));
    const rows = [
      ["log p(x)", 0, logPx, "evidence", written(logPx, 3)],
      ["= ELBO", 0, lower, "elbo", written(lower, 3)],
      ["+ gap", lower, lower + lost, "gap", written(lost, 3)],
    ];
    rows.forEach(([name, from, to, kind, value], i) => {
      const y = 8 + 30 * i;
      const [a, b] = [bars.x(Math.min(from, to)), bars.x(Math.max(from, to))];
      bars.put("rect", { x: a, y, width: Math.max(b - a, 1), height: 22,
        class: `bar ${kind}` });
      bars.text(name, 2, y + 16, "row");
      bars.text(value, bars.width - 2, y + 16, "row end");
    });
    const zero = bars.x(0);
    bars.segment([zero, 4], [zero, 98], "zero");
    // where one bar ends another one begins, or ends too
    for (const [v, from, to] of [[logPx, 30, 68], [lower, 60, 68]])
      bars.segment([bars.x(v), from], [bars.x(v), to], "joint");
    bars.segment([bars.x(logPx), 8], [bars.x(logPx), 90], "joint");
  }

  drawCurves(theta, all, far, kl) {
    const { curves } = this;
    const high = Math.ceil(Math.max(...this.mean));
    const low = high - 6;
    const log = Math.log10;
    curves.scale([log(0.1), log(2.5)], [low, high], { top: 40 });
    curves.across([0.1, 0.2, 0.3, 0.5, 1, 2].map(log),
      "\u03b8, the width of the noise", (v) => String(+(10 ** v).toFixed(1)));
    curves.up(ticks(low, high, 6), "nats per point");
    const clip = (node) => curves.clipped(node, `${this.id}-curves`);
    const under = (f, k) => THETAS.map((t) => [log(t), bound(f, k, t)]);
    const [now, ...before] = this.turns.toReversed();
    const same = now && now[2] === far && now[3] === kl;
    for (const [, , f, k] of (same || !now ? before : [now, ...before])
      .slice(0, GHOSTS))
      clip(curves.line(under(f, k), "ghost"));
    clip(curves.line(THETAS.map((t, i) => [log(t), this.mean[i]]), "evidence"));
    clip(curves.line(under(far, kl), "elbo"));
    const { top, bottom, right } = curves.area;
    const x = curves.x(log(theta));
    curves.segment([x, top], [x, bottom], "here");
    for (const [t, value] of this.turns)
      clip(curves.dot(log(t), value, "touched", 4));
    const value = bound(far, kl, theta);
    const inside = Math.min(Math.max(curves.y(value), top), bottom);
    clip(curves.segment([x, curves.y(all)], [x, inside], "lost"));
    clip(curves.dot(log(theta), all, "evidence"));
    clip(curves.dot(log(theta), value, "elbo"));
    if (value < low)
      curves.text(`\u2193 bound ${written(value, 1)}`, x + (x > right - 110 ? -8 : 8),
        bottom - 8, x > right - 110 ? "key end" : "key");
    curves.key("log evidence", right - 130, 14, "evidence");
    curves.key("bound, present q", right - 130, 31, "elbo");
  }
}

function curveOf(points) {
  return THETAS.map((t) => mean(points.map((x) => evidence(x, t))));
}

function render({ model, el }) {
  const figure = new Bound(model, el);
  return () => figure.close();
}

export default { render, evidence, distance, price, bound, gap, best };
