// The latent explorer: maps, sliders and digits over the networks of a page.
//
// JupyterLab runs this module through anywidget. On a page without a kernel
// widget-host.js does, with the state that the notebook has stored. All
// pictures are computed here, so both work alike.

import { Pad, SIDE, centred, digitCanvas, paint, stroke } from "./drawing.js";
import { decoder, encoder, floats } from "./networks.js";
import { inflate, make, normal, octets, written } from "./tools.js";

const TILES = 14; // decoded digits on a side of a map

/** Pixels in [0, 1] from bytes. */
function greys(bytes) {
  return Float32Array.from(bytes, (v) => v / 255);
}

// ---- the map of a model with two latent dimensions -------------------------

class LatentMap {
  constructor(panel, labels, colours, decode, move) {
    Object.assign(this, { panel, labels, colours, decode });
    this.codes = floats(panel.map);
    this.tiles = new Map(); // digit -> a canvas of decoded digits
    this.canvas = make("canvas", {
      role: "img",
      "aria-label":
        `Map of the ${panel.title}: codes of test digits, a colour for each ` +
        "digit, z1 to the right and z2 upwards",
    });
    this.ellipse = document.createElementNS(
      "http://www.w3.org/2000/svg",
      "svg",
    );
    this.ellipse.setAttribute("aria-hidden", "true");
    this.point = make("button", {
      type: "button",
      class: "point",
      "aria-label": `Code on the map of the ${panel.title}: arrow keys move it`,
    });
    this.root = make(
      "div",
      { class: "map" },
      this.canvas,
      this.ellipse,
      this.point,
    );
    this.background = "codes";
    this.digit = 0;
    this.listen(move);
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.root);
  }

  listen(move) {
    const { low, high } = this.panel;
    const to = (event) => {
      const box = this.root.getBoundingClientRect();
      const share = (v) => Math.min(1, Math.max(0, v));
      const right = share((event.clientX - box.left) / box.width);
      const up = 1 - share((event.clientY - box.top) / box.height);
      move([
        low[0] + right * (high[0] - low[0]),
        low[1] + up * (high[1] - low[1]),
      ]);
    };
    this.root.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      event.preventDefault();
      this.root.setPointerCapture(event.pointerId);
      this.point.focus({ preventScroll: true });
      to(event);
    });
    this.root.addEventListener("pointermove", (event) => {
      if (this.root.hasPointerCapture(event.pointerId)) to(event);
    });
    this.point.addEventListener("keydown", (event) => {
      const way = {
        ArrowLeft: [-1, 0],
        ArrowRight: [1, 0],
        ArrowDown: [0, -1],
        ArrowUp: [0, 1],
      }[event.key];
      if (!way) return;
      event.preventDefault();
      event.stopPropagation();
      const part = event.shiftKey ? 20 : 100;
      move(
        this.z.map((v, i) => {
          const to = v + (way[i] * (high[i] - low[i])) / part;
          return Math.min(high[i], Math.max(low[i], to));
        }),
      );
    });
  }

  /** Share of the width and of the height, from the lower left corner. */
  place(z) {
    const { low, high } = this.panel;
    return z.map((v, i) => (v - low[i]) / (high[i] - low[i]));
  }

  moveTo(z) {
    this.z = z;
    const [right, up] = this.place(z).map((v) => Math.min(1, Math.max(0, v)));
    this.point.style.left = `${100 * right}%`;
    this.point.style.top = `${100 * (1 - up)}%`;
  }

  /** The one-sigma and two-sigma ellipses of q(z|x), or none. */
  showPosterior(mu, sigma) {
    this.ellipse.replaceChildren();
    this.ellipse.setAttribute("viewBox", "0 0 100 100");
    if (!mu) return;
    const { low, high } = this.panel;
    const [right, up] = this.place(mu);
    for (const k of sigma ? [1, 2] : []) {
      const shape = document.createElementNS(
        "http://www.w3.org/2000/svg",
        "ellipse",
      );
      const radii = sigma.map((s, i) => (100 * k * s) / (high[i] - low[i]));
      shape.setAttribute("cx", 100 * right);
      shape.setAttribute("cy", 100 * (1 - up));
      shape.setAttribute("rx", radii[0]);
      shape.setAttribute("ry", radii[1]);
      this.ellipse.append(shape);
    }
  }

  show(background, digit) {
    if (background === this.background && digit === this.digit) return;
    Object.assign(this, { background, digit });
    this.draw();
  }

  draw() {
    const side = this.root.clientWidth;
    if (!side) return;
    const sharp = Math.min(3, window.devicePixelRatio || 1);
    this.canvas.width = this.canvas.height = Math.round(side * sharp);
    const context = this.canvas.getContext("2d");
    context.scale(sharp, sharp);
    context.fillStyle = "#fff";
    context.fillRect(0, 0, side, side);
    if (this.background === "digits") this.drawTiles(context, side);
    if (this.background === "judge") this.drawJudge(context, side);
    this.drawAxes(context, side);
    if (this.background === "codes") this.drawCodes(context, side);
  }

  drawAxes(context, side) {
    const { low, high, prior } = this.panel;
    const quiet = this.background === "digits";
    const across = (v) => (side * (v - low[0])) / (high[0] - low[0]);
    const up = (v) => side - (side * (v - low[1])) / (high[1] - low[1]);
    context.font = "11px system-ui, sans-serif";
    context.lineWidth = 1;
    const step = high[0] - low[0] > 10 ? 4 : 1;
    for (let v = Math.ceil(low[0] / step) * step; v < high[0]; v += step) {
      if (quiet) break;
      context.strokeStyle = v ? "#0000000d" : "#00000040";
      context.beginPath();
      context.moveTo(across(v), 0);
      context.lineTo(across(v), side);
      context.stroke();
      if (across(v) < 20 || across(v) > side - 24) continue;
      context.fillStyle = "#555";
      context.textAlign = "center";
      context.fillText(written(v, 0), across(v), side - 4);
    }
    for (let v = Math.ceil(low[1] / step) * step; v < high[1]; v += step) {
      if (quiet) break;
      context.strokeStyle = v ? "#0000000d" : "#00000040";
      context.beginPath();
      context.moveTo(0, up(v));
      context.lineTo(side, up(v));
      context.stroke();
      if (up(v) < 20 || up(v) > side - 18) continue;
      context.fillStyle = "#555";
      context.textAlign = "left";
      context.fillText(written(v, 0), 3, up(v) + 4);
    }
    context.fillStyle = "#333";
    context.font = "italic 12px system-ui, sans-serif";
    if (!quiet) {
      context.textAlign = "right";
      context.fillText("z\u2081", side - 4, side - 4);
      context.textAlign = "left";
      context.fillText("z\u2082", 3, 12);
    }
    if (!prior) return;
    // a circle of this radius holds 95 % of N(0, I) in the plane
    const radius = Math.sqrt(-2 * Math.log(0.05));
    context.setLineDash([4, 4]);
    context.strokeStyle = quiet ? "#c0392b" : "#0009";
    context.beginPath();
    context.ellipse(
      across(0),
      up(0),
      across(radius) - across(0),
      up(0) - up(radius),
      0,
      0,
      2 * Math.PI,
    );
    context.stroke();
    context.setLineDash([]);
  }

  drawCodes(context, side) {
    const groups = this.colours.map(() => [[], []]);
    context.globalAlpha = 0.75;
    this.labels.forEach((label, n) => {
      const code = [this.codes[2 * n], this.codes[2 * n + 1]];
      const [right, up] = this.place(code);
      groups[label][0].push(right);
      groups[label][1].push(up);
      context.fillStyle = this.colours[label];
      context.beginPath();
      context.arc(side * right, side * (1 - up), 1.8, 0, 2 * Math.PI);
      context.fill();
    });
    context.globalAlpha = 1;
    const middle = (v) => v.sort((a, b) => a - b)[v.length >> 1];
    const spots = groups.map(([x, y]) => x.length && [middle(x), middle(y)]);
    // letters that would lie on each other say nothing: the legend does
    const near = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1]) < 0.035;
    context.font = "bold 15px system-ui, sans-serif";
    context.textAlign = "center";
    context.lineWidth = 4;
    context.strokeStyle = "#fff";
    spots.forEach((spot, label) => {
      if (!spot || spots.some((s, i) => s && i !== label && near(s, spot)))
        return;
      const [x, y] = [side * spot[0], side * (1 - spot[1]) + 5];
      context.strokeText(label, x, y);
      context.fillStyle = this.colours[label];
      context.fillText(label, x, y);
    });
  }

  drawTiles(context, side) {
    const key = this.panel.n_classes ? this.digit : 0;
    let sheet = this.tiles.get(key);
    if (!sheet) {
      sheet = { canvas: document.createElement("canvas"), done: 0 };
      sheet.canvas.width = sheet.canvas.height = TILES * SIDE;
      this.tiles.set(key, sheet);
    }
    context.drawImage(sheet.canvas, 0, 0, side, side);
    if (sheet.done < TILES * TILES) this.addTiles(sheet, key);
  }

  /** Some more tiles, for as long as a frame has room; then the rest. */
  addTiles(sheet, key) {
    const start = performance.now();
    const { low, high } = this.panel;
    const context = sheet.canvas.getContext("2d");
    while (sheet.done < TILES * TILES && performance.now() - start < 8) {
      const column = sheet.done % TILES;
      const row = Math.floor(sheet.done / TILES);
      const shares = [(column + 0.5) / TILES, 1 - (row + 0.5) / TILES];
      const z = shares.map((v, i) => low[i] + v * (high[i] - low[i]));
      paint(context, this.decode(z, key), column * SIDE, row * SIDE);
      sheet.done += 1;
    }
    requestAnimationFrame(() => {
      const shown = this.panel.n_classes ? this.digit : 0;
      if (this.background === "digits" && shown === key) this.draw();
    });
  }

  drawJudge(context, side) {
    const grid = this.grid();
    if (!grid) return;
    const n = grid.side;
    const image = new ImageData(n, n);
    for (let row = 0; row < n; row++) {
      for (let column = 0; column < n; column++) {
        const [digit, sure] = grid.at(row, column);
        const colour = parseInt(this.colours[digit].slice(1), 16);
        // pale where the judge is not sure
        const strength = 0.7 * Math.max(0, (sure - 0.4) / 0.6);
        const light = [16, 8, 0].map(
          (bits) => 255 + strength * (((colour >> bits) & 255) - 255),
        );
        image.data.set([...light, 255], 4 * ((n - 1 - row) * n + column));
      }
    }
    const small = document.createElement("canvas");
    small.width = small.height = n;
    small.getContext("2d").putImageData(image, 0, 0);
    // places of the grid are the middles of its cells
    const cell = side / (n - 1);
    context.imageSmoothingEnabled = false;
    context.drawImage(small, -cell / 2, -cell / 2, n * cell, n * cell);
  }

  grid() {
    if (!this.panel.grid?.byteLength) return null;
    this.readings ??= octets(this.panel.grid);
    const kinds = Math.max(1, this.panel.n_classes);
    const n = Math.round(Math.sqrt(this.readings.length / (2 * kinds)));
    const first = (this.panel.n_classes ? this.digit : 0) * n * n;
    return {
      side: n,
      at: (row, column) => {
        const i = 2 * (first + row * n + column);
        return [this.readings[i], this.readings[i + 1] / 255];
      },
    };
  }

  /** What the judge has read at the nearest place, or null. */
  read(z) {
    const grid = this.grid();
    if (!grid) return null;
    const [column, row] = this.place(z).map((v) =>
      Math.round(Math.min(1, Math.max(0, v)) * (grid.side - 1)),
    );
    return grid.at(row, column);
  }
}

// ---- one model -------------------------------------------------------------

class Panel {
  constructor(panel, labels, colours, explorer) {
    const { decode, encode } = panel;
    Object.assign(this, { panel, decode, encode, explorer });
    this.mu = floats(panel.mu);
    this.sigma = panel.sigma && floats(panel.sigma);
    this.picture = digitCanvas(`What the ${panel.title} draws`);
    this.readout = make("output", { class: "readout", "aria-live": "off" });
    this.sliders = [];
    const body = [];
    if (panel.n_latent === 2) {
      this.map = new LatentMap(panel, labels, colours, this.decode, (z) =>
        explorer.move(this, z),
      );
      body.push(this.map.root);
    }
    const controls = make("div", { class: "sliders" }, ...this.makeSliders());
    const side = make(
      "div",
      { class: "side" },
      make("div", { class: "drawn" }, this.picture, controls),
      this.readout,
      this.makeButtons(),
    );
    if (panel.n_classes) side.append(this.makeRow());
    body.push(side);
    const size = `${panel.n_latent} dimension` +
      (panel.n_latent > 1 ? "s" : "");
    this.root = make(
      "div",
      { class: "panel", role: "group", "aria-label": panel.title },
      make(
        "p",
        { class: "title" },
        make("strong", { text: panel.title }),
        ` ${size}`,
      ),
      ...body,
    );
    if (panel.n_latent > 2) this.root.classList.add("many");
  }

  makeSliders() {
    const { low, high, order, nats } = this.panel;
    return order.map((i) => {
      const input = make("input", {
        type: "range",
        min: low[i],
        max: high[i],
        step: (high[i] - low[i]) / 200,
      });
      const value = make("span", { class: "value" });
      input.addEventListener("input", () => {
        const z = [...this.z];
        z[i] = input.valueAsNumber;
        this.explorer.move(this, z);
      });
      this.sliders[i] = { input, value };
      const name = make("span", { class: "name" }, `z${i + 1}`);
      const label = make("label", {}, name, input, value);
      if (nats.length && this.panel.n_latent > 2)
        label.title = `KL of this dimension: ${written(nats[i])} nats`;
      return label;
    });
  }

  makeButtons() {
    const { panel, explorer } = this;
    const sample = make("button", { type: "button", text: "New sample" });
    sample.addEventListener("click", () =>
      explorer.move(this, Array.from({ length: panel.n_latent }, normal)),
    );
    const row = make("div", { class: "buttons" }, sample);
    if (!panel.prior) {
      sample.disabled = true;
      row.append(
        make("span", {
          class: "note",
          text: "An autoencoder has no prior to draw from.",
        }),
      );
      return row;
    }
    sample.title = "Draw z from the prior N(0, I)";
    this.again = make("button", { type: "button", text: "Resample q(z|x)" });
    this.again.title = "Draw z from q(z|x) of the digit that is looked at";
    this.again.addEventListener("click", () => {
      const { mu, sigma } = this.q;
      explorer.move(
        this,
        mu.map((m, i) => m + sigma[i] * normal()),
      );
    });
    row.append(this.again);
    return row;
  }

  /** All ten digits at the same z; a click asks for one. */
  makeRow() {
    this.ten = Array.from({ length: this.panel.n_classes }, (_, digit) => {
      const canvas = digitCanvas();
      const button = make(
        "button",
        { type: "button", "aria-label": `Ask for a ${digit}` },
        canvas,
        make("span", { text: digit, "aria-hidden": "true" }),
      );
      button.addEventListener("click", () => this.explorer.ask(digit));
      return { button, canvas };
    });
    return make(
      "div",
      { class: "ten", role: "group", "aria-label": "The same z for each digit" },
      ...this.ten.map(({ button }) => button),
    );
  }

  partOf(values, i) {
    const n = this.panel.n_latent;
    return Array.from(values.slice(i * n, (i + 1) * n));
  }

  codeOf(i) {
    return this.partOf(this.mu, i);
  }

  /** What the encoder says of the digit that is looked at, or null. */
  showPosterior(q) {
    this.q = q;
    if (this.again) this.again.disabled = !q?.sigma;
    this.map?.showPosterior(q?.mu, q?.sigma);
  }

  draw(z, digit) {
    const same = digit === this.digit && z.every((v, i) => v === this.z?.[i]);
    if (same) return;
    Object.assign(this, { z, digit });
    paint(this.picture.getContext("2d"), this.decode(z, digit));
    this.ten?.forEach(({ canvas, button }, d) => {
      paint(canvas.getContext("2d"), this.decode(z, d));
      button.setAttribute("aria-pressed", d === digit);
    });
    this.sliders.forEach(({ input, value }, i) => {
      if (input.valueAsNumber !== z[i]) input.value = z[i];
      value.textContent = written(z[i]);
    });
    this.map?.moveTo(z);
  }

  /** The line below the digit: z, and what the judge reads there. */
  describe(reading, needsKernel) {
    const shown = this.z.map((v) => written(v)).join(", ");
    const norm = written(Math.hypot(...this.z));
    const parts = [
      this.panel.n_latent <= 4 ? `z = (${shown})` : `length of z: ${norm}`,
    ];
    const read = this.map?.read(this.z) ?? reading;
    if (read)
      parts.push(
        `the judge reads ${read[0]}, ${Math.round(100 * read[1])} % sure`,
      );
    else if (needsKernel)
      parts.push("what the judge reads needs a running kernel");
    const text = `${parts.join("; ")}.`;
    if (this.readout.textContent !== text) this.readout.textContent = text;
  }
}

// ---- the whole -------------------------------------------------------------

const STOPPED =
  "The kernel has stopped or was restarted. What you see still works, but " +
  "Python no longer hears of it: run the cell again.";
const SILENT =
  "No kernel answers: it is busy, or this cell has not been run yet. What you " +
  "see works, but Python does not hear of it.";

const NOTHING = new ArrayBuffer(0);
const EMPTY = "The pad is empty.";

class Explorer {
  constructor(model, el, panels, images) {
    this.model = model;
    this.live = model.page ? false : null; // null: not known yet
    const digits = model.get("digits");
    const labels = octets(digits.map);
    const colours = model.get("colours");
    this.labels = digits.picks;
    this.panels = panels.map((p) => new Panel(p, labels, colours, this));
    if (this.panels.length === 1) this.panels[0].root.classList.add("alone");
    this.status = make("p", { class: "status", role: "status" });
    const parts = [this.makePicks(images)];
    if (this.panels.every(({ encode }) => encode)) parts.push(this.makePad());
    if (this.panels.some(({ map }) => map))
      parts.push(this.makeLegend(colours));
    this.root = make(
      "div",
      { class: "minivae-explorer", role: "group", "aria-label": "Explorer" },
      ...parts,
      make("div", { class: "panels" }, ...this.panels.map((p) => p.root)),
      this.status,
    );
    el.append(this.root);
    this.listen();
    this.update();
    if (this.pad && model.get("drawn").byteLength) this.restore();
  }

  /** What Python, or the stored page, has put on the pad. */
  restore() {
    const bytes = octets(this.model.get("drawn"));
    const picture = bytes.length ? greys(bytes) : null;
    this.pad.fill(picture, true);
    this.look(picture);
  }

  makePicks(images) {
    this.images = this.labels.map((_, i) =>
      greys(images.slice(i * SIDE * SIDE, (i + 1) * SIDE * SIDE)),
    );
    this.picks = this.labels.map((label, i) => {
      const canvas = digitCanvas();
      paint(canvas.getContext("2d"), this.images[i]);
      const button = make(
        "button",
        { type: "button", "aria-label": `Test digit ${i + 1}, a ${label}` },
        canvas,
      );
      button.addEventListener("click", () => this.pick(i));
      return button;
    });
    const strip = make(
      "div",
      { class: "strip", role: "group", "aria-label": "Test digits" },
      ...this.picks,
    );
    this.ends = make("input", { type: "checkbox" });
    this.path = make("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 0.01,
      value: 0,
      "aria-label": "Place on the path, from 0 to 1",
    });
    this.path.addEventListener("input", () => this.walk());
    this.ends.addEventListener("change", () => {
      if (!this.ends.checked) this.set({ target: -1 });
      this.update();
    });
    this.pathBox = make("span", { class: "path" }, this.path);
    return make(
      "div",
      { class: "picks" },
      make("span", { class: "label", text: "Pick a test digit" }),
      strip,
      make(
        "span",
        { class: "ends" },
        make("label", {}, this.ends, " and another one: a path between them"),
        this.pathBox,
      ),
    );
  }

  /** A digit of the reader's own, and which one it is meant to be. */
  makePad() {
    this.pad = new Pad((done) => this.readDrawing(done));
    this.meant = make("select");
    this.readers = this.panels.filter(
      ({ map, panel }) => map?.grid() && !panel.n_classes,
    );
    const text = this.readers.length
      ? "what the judge reads"
      : "the one asked for";
    this.meant.append(make("option", { value: -1, text }));
    for (let digit = 0; digit < 10; digit++)
      this.meant.append(make("option", { value: digit, text: digit }));
    this.meant.addEventListener("change", () => this.readDrawing(true));
    this.take = make("button", { type: "button", text: "Take the picked digit" });
    this.take.addEventListener("click", () =>
      this.pad.fill(this.images[this.picked]),
    );
    this.seen = digitCanvas("Your digit as the models see it");
    this.said = make("span", { class: "said", role: "status" });
    const controls = [
      make("div", { class: "buttons" }, this.pad.clear, this.take),
      make("label", {}, this.pad.erase, " erase"),
    ];
    if (this.panels.some(({ panel }) => panel.n_classes))
      controls.push(make("label", {}, "It is a ", this.meant));
    return make(
      "div",
      { class: "own", role: "group", "aria-label": "Your own digit" },
      make(
        "div",
        {},
        make("span", { class: "label", text: "Or draw a digit of your own" }),
        this.pad.root,
      ),
      make("div", { class: "tools" }, ...controls),
      make(
        "div",
        { class: "seen" },
        this.seen,
        make("span", { class: "note", text: "what the models see" }),
      ),
      this.said,
    );
  }

  /** Let all models read the pad; the last call of a stroke tells of it. */
  readDrawing(done) {
    const picture = this.pad.picture;
    const told = ["", EMPTY].includes(this.said.textContent);
    if (!picture && told && !this.model.get("drawn").byteLength) return;
    if (!picture) this.meant.value = -1;
    const bytes = picture?.map((v) => Math.round(255 * v)) ?? [];
    const drawn = new DataView(Uint8Array.from(bytes).buffer);
    this.set({ picked: -1, target: -1, drawn });
    this.ends.checked = false;
    this.look(picture);
    if (done) this.tell(picture);
  }

  /** The digit that the judge reads with most confidence, or undefined. */
  judged(picture) {
    const read = this.readers.map(({ map, encode }) =>
      map.read(encode(picture).mu),
    );
    return read.sort((a, b) => b[1] - a[1])[0]?.[0];
  }

  /** Go to where the encoders put a picture, or forget the last one. */
  look(picture) {
    paint(this.seen.getContext("2d"), picture ?? new Float32Array(SIDE * SIDE));
    if (!picture) {
      for (const panel of this.panels) panel.showPosterior(null);
      this.refresh();
      return;
    }
    let digit = Number(this.meant.value);
    if (digit < 0) digit = this.judged(picture) ?? this.model.get("digit");
    const codes = this.panels.map((panel) => {
      const q = panel.encode(picture, digit);
      panel.showPosterior(q);
      return q.mu;
    });
    this.setCodes(codes, { digit });
  }

  /** Take a drawing away, since something else is looked at. */
  wipe() {
    if (!this.pad) return;
    this.pad.fill(null, true);
    this.said.textContent = "";
    this.meant.value = -1;
    paint(this.seen.getContext("2d"), new Float32Array(SIDE * SIDE));
  }

  /** The same for those who hear it. */
  tell(picture) {
    const said = this.panels.map(
      ({ panel, readout }) => `${panel.title}: ${readout.textContent}`,
    );
    this.said.textContent = picture ? said.join(" ") : EMPTY;
  }

  makeLegend(colours) {
    this.background = make("select");
    const judged = this.panels.some(({ map }) => map?.grid());
    for (const [value, text] of [
      ["codes", "codes of test digits"],
      ["digits", "what is drawn there"],
      ...(judged ? [["judge", "what the judge reads there"]] : []),
    ])
      this.background.append(make("option", { value, text }));
    this.background.addEventListener("change", () => {
      this.set({ background: this.background.value });
      this.update();
    });
    this.legend = make(
      "span",
      { class: "legend", "aria-label": "Colours of the digits", role: "img" },
      ...colours.map((colour, digit) => {
        const chip = make("span", { text: digit });
        chip.style.setProperty("--colour", colour);
        return chip;
      }),
    );
    return make(
      "div",
      { class: "legend-row" },
      make("label", {}, "The map shows ", this.background),
      this.legend,
    );
  }

  listen() {
    const { model } = this;
    this.onChange = () => {
      if (!this.writing) this.update();
    };
    this.onDrawn = () => {
      if (!this.writing) this.restore();
    };
    if (this.pad) model.on("change:drawn", this.onDrawn);
    this.onMessage = (content) => {
      if (content === "hello") this.hear(true);
    };
    this.onLost = () => this.hear(false, STOPPED);
    this.names = ["z", "digit", "picked", "target", "background", "reading"];
    for (const name of this.names) model.on(`change:${name}`, this.onChange);
    if (model.page) return;
    model.on("msg:custom", this.onMessage);
    model.on("comm:close", this.onLost);
    model.on("comm_live_update", this.onLost);
    model.send("hello");
    this.timer = setTimeout(() => {
      if (this.live === null) this.hear(false, SILENT);
    }, 5000);
  }

  /** Note whether a kernel hears us. */
  hear(live, message = "") {
    if (live === this.live && live) return;
    this.live = live;
    this.status.textContent = live ? "" : message;
    this.update();
  }

  close() {
    const { model } = this;
    clearTimeout(this.timer);
    cancelAnimationFrame(this.frame);
    for (const name of this.names) model.off(`change:${name}`, this.onChange);
    model.off("change:drawn", this.onDrawn);
    if (!model.page) {
      model.off("msg:custom", this.onMessage);
      model.off("comm:close", this.onLost);
      model.off("comm_live_update", this.onLost);
    }
    for (const { map } of this.panels) map?.observer.disconnect();
    this.root.remove();
  }

  /** The codes of all panels, whatever form z has. */
  codes() {
    const z = this.model.get("z");
    return this.panels.length === 1 ? [z] : z;
  }

  get picked() {
    return this.model.get("picked");
  }

  /** Set traits now, tell the kernel once in a frame. */
  set(values) {
    this.writing = true;
    for (const [name, value] of Object.entries(values))
      this.model.set(name, value);
    this.writing = false;
    if (this.saving) return;
    this.saving = true;
    requestAnimationFrame(() => {
      this.saving = false;
      this.model.save_changes();
    });
  }

  setCodes(codes, others = {}) {
    this.set({ z: this.panels.length === 1 ? codes[0] : codes, ...others });
    this.refresh();
  }

  move(panel, z) {
    const codes = this.codes().map((code, i) =>
      this.panels[i] === panel ? z : code,
    );
    this.setCodes(codes);
  }

  ask(digit) {
    this.set({ digit });
    this.refresh();
  }

  pick(i) {
    if (this.ends.checked && this.picked >= 0) {
      this.set({ target: i });
      this.path.value = 1;
      this.walk();
      return;
    }
    this.path.value = 0;
    this.wipe();
    this.setCodes(
      this.panels.map((panel) => panel.codeOf(i)),
      { picked: i, digit: this.labels[i], drawn: new DataView(NOTHING) },
    );
  }

  /** Go to a place on the straight line between the two picked codes. */
  walk() {
    const target = this.model.get("target");
    if (this.picked < 0 || target < 0) return;
    const t = this.path.valueAsNumber;
    this.setCodes(
      this.panels.map((panel) => {
        const end = panel.codeOf(target);
        return panel.codeOf(this.picked).map((v, i) => v + t * (end[i] - v));
      }),
    );
  }

  /** At once for the first event in a frame, and once for all others. */
  refresh() {
    if (this.frame) {
      this.late = true;
      return;
    }
    this.update();
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (!this.late) return;
      this.late = false;
      this.update();
    });
  }

  update() {
    const { model, picked } = this;
    const digit = model.get("digit");
    const background = model.get("background");
    const target = model.get("target");
    const readings = this.live ? model.get("reading") : [];
    const judged = model.get("reading").length > 0;
    this.codes().forEach((z, i) => {
      const panel = this.panels[i];
      panel.draw(z, digit);
      panel.map?.show(background, digit);
      panel.describe(readings[i], judged && !this.live);
    });
    if (picked !== this.shown) this.showPicked(picked);
    if (this.background) {
      this.background.value = background;
      this.legend.hidden = background === "digits";
    }
    this.picks.forEach((button, i) => {
      button.setAttribute("aria-pressed", i === picked);
      button.classList.toggle("target", i === target);
    });
    if (target >= 0) this.ends.checked = true;
    this.pathBox.hidden = picked < 0 || target < 0;
  }

  showPicked(picked) {
    this.shown = picked;
    if (this.take) this.take.disabled = picked < 0;
    if (picked < 0 && this.model.get("drawn").byteLength) return;
    for (const panel of this.panels) {
      const part = (values) => values && panel.partOf(values, picked);
      const q = { mu: part(panel.mu), sigma: part(panel.sigma) };
      panel.showPosterior(picked < 0 ? null : q);
    }
  }
}

async function render({ model, el }) {
  const panels = await Promise.all(
    model.get("panels").map(async (panel) => ({
      ...panel,
      grid: panel.grid.byteLength ? await inflate(panel.grid) : panel.grid,
      decode: await decoder(panel),
      encode: await encoder(panel),
    })),
  );
  const images = await inflate(model.get("digits").images);
  const explorer = new Explorer(model, el, panels, images);
  return () => explorer.close();
}

export default { render, decoder, encoder, centred, stroke };
