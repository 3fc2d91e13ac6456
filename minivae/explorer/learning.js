// An autoencoder, a VAE and a conditional VAE that learn in the browser:
// linear layers with ReLU between them, their losses, the gradients of these
// written out by hand, and Adam. What each of it is called is what it is
// called in minivae, and tests hold it against PyTorch.
//
// The weights of a model are one flat Float32Array, in the order in which
// PyTorch lists its parameters. Rows of data lie one after the other.

// ---- chance ----------------------------------------------------------------

/** Random numbers that a seed repeats (mulberry32, and Box and Muller). */
export function generator(seed) {
  let state = (seed ^ 0x9e3779b9) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  const normal = () =>
    Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}

/** The numbers of an array in a random order (Fisher and Yates). */
export function shuffled(numbers, { uniform }) {
  const order = Array.from(numbers);
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(uniform() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** Batches of the same size without an end, each epoch in a new order. */
export function* batches(rows, size, random) {
  for (;;) {
    const order = shuffled(rows, random);
    for (let i = 0; i + size <= order.length; i += size)
      yield order.slice(i, i + size);
  }
}

// ---- a model ---------------------------------------------------------------

/**
 * What a model is made of: its linear layers, and where in the weights each
 * begins. A layer has its matrix (nOut, nIn) and then its bias (nOut).
 */
export function plan(kind, { nValues, hidden, nLatent, nClasses = 10 }) {
  const nTold = kind === "cvae" ? nClasses : 0;
  const nCode = kind === "autoencoder" ? nLatent : 2 * nLatent; // mu, logvar
  let size = 0;
  const chain = (...sizes) =>
    sizes.slice(1).map((nOut, i) => {
      const layer = { nIn: sizes[i], nOut, weight: size, out: [], back: [] };
      layer.bias = size + layer.nIn * nOut;
      layer.last = i === sizes.length - 2;
      size = layer.bias + nOut;
      return layer;
    });
  const encoder = chain(nValues + nTold, ...hidden, nCode);
  const decoder = chain(nLatent + nTold, ...[...hidden].reverse(), nValues);
  return { kind, nValues, nLatent, nTold, nCode, encoder, decoder, size };
}

/** Weights to start from (He et al. 2015), as `minivae.networks.start`. */
export function startWeights({ encoder, decoder, size }, { uniform }) {
  const weights = new Float32Array(size);
  for (const { nIn, weight, bias, last } of [...encoder, ...decoder]) {
    const most = Math.sqrt((last ? 1 : 6) / nIn);
    for (let i = weight; i < bias; i++) weights[i] = most * (2 * uniform() - 1);
  }
  return weights;
}

/** An array of at least this size: the old one if it is large enough. */
function room(array, size) {
  return array?.length >= size ? array : new Float32Array(size);
}

/**
 * Add a product of matrices to a third: c (m, n) += a (m, k) b (k, n). A list
 * has a matrix, where it begins, and how far on its next row and column are.
 * Four rows by two columns at a time, so that each number is read for several
 * products: that makes this three times as fast as one sum after the other.
 */
function addProduct(m, n, k, [a, a0, ai, ak], [b, b0, bk, bj], c, c0 = 0) {
  const one = (i, j) => {
    let sum = 0;
    for (let l = 0, p = a0 + i * ai, q = b0 + j * bj; l < k; l++) {
      sum += a[p] * b[q];
      p += ak;
      q += bk;
    }
    c[c0 + i * n + j] += sum;
  };
  const rows = m - (m % 4);
  const columns = n - (n % 2);
  for (let i = 0; i < rows; i += 4) {
    for (let j = 0; j < columns; j += 2) {
      let s00 = 0, s01 = 0, s10 = 0, s11 = 0;
      let s20 = 0, s21 = 0, s30 = 0, s31 = 0;
      let p0 = a0 + i * ai;
      let p1 = p0 + ai, p2 = p1 + ai, p3 = p2 + ai;
      let q0 = b0 + j * bj;
      let q1 = q0 + bj;
      for (let l = 0; l < k; l++) {
        const a0l = a[p0], a1l = a[p1], a2l = a[p2], a3l = a[p3];
        const bl0 = b[q0], bl1 = b[q1];
        s00 += a0l * bl0;
        s01 += a0l * bl1;
        s10 += a1l * bl0;
        s11 += a1l * bl1;
        s20 += a2l * bl0;
        s21 += a2l * bl1;
        s30 += a3l * bl0;
        s31 += a3l * bl1;
        p0 += ak;
        p1 += ak;
        p2 += ak;
        p3 += ak;
        q0 += bk;
        q1 += bk;
      }
      let at = c0 + i * n + j;
      c[at] += s00;
      c[at + 1] += s01;
      c[(at += n)] += s10;
      c[at + 1] += s11;
      c[(at += n)] += s20;
      c[at + 1] += s21;
      c[(at += n)] += s30;
      c[at + 1] += s31;
    }
    for (let j = columns; j < n; j++) for (let r = 0; r < 4; r++) one(i + r, j);
  }
  for (let i = rows; i < m; i++) for (let j = 0; j < n; j++) one(i, j);
}

/** What layers make of an input (n, nIn). Each call fills the same arrays. */
function forward(layers, weights, input, n) {
  let h = input;
  for (const layer of layers) {
    const { nIn, nOut, weight, bias, last } = layer;
    const out = (layer.out = room(layer.out, n * nOut));
    layer.input = h;
    for (let row = 0; row < n; row++)
      for (let o = 0; o < nOut; o++) out[row * nOut + o] = weights[bias + o];
    const transposed = [weights, weight, 1, nIn];
    addProduct(n, nOut, nIn, [h, 0, nIn, 1], transposed, out);
    if (!last)
      for (let i = 0; i < n * nOut; i++) if (out[i] < 0) out[i] = 0; // ReLU
    h = out;
  }
  return h;
}

/**
 * The way back: from the gradient of the output (n, nOut) to those of the
 * weights, which are added to `gradient`, and of the input, (n, nIn), unless
 * the layers are the first of all.
 */
function backward(layers, weights, delta, n, gradient, first) {
  for (const layer of [...layers].reverse()) {
    const { nIn, nOut, weight, bias, input, out, last } = layer;
    if (!last)
      for (let i = 0; i < n * nOut; i++) if (out[i] <= 0) delta[i] = 0;
    for (let row = 0; row < n; row++)
      for (let o = 0; o < nOut; o++)
        gradient[bias + o] += delta[row * nOut + o];
    const transposed = [delta, 0, 1, nOut];
    addProduct(nOut, nIn, n, transposed, [input, 0, nIn, 1], gradient, weight);
    if (first && layer === layers[0]) return null;
    const back = (layer.back = room(layer.back, n * nIn).fill(0, 0, n * nIn));
    const matrix = [weights, weight, nIn, 1];
    addProduct(n, nIn, nOut, [delta, 0, nOut, 1], matrix, back);
    delta = back;
  }
  return delta;
}

/** Numbers (n, width) and beside them the label, as nTold numbers, if told. */
function beside(numbers, width, labels, nTold, n, into) {
  const all = width + nTold;
  const out = room(into, n * all).fill(0, 0, n * all);
  for (let row = 0; row < n; row++) {
    for (let i = 0; i < width; i++)
      out[row * all + i] = numbers[row * width + i];
    if (labels && nTold) out[row * all + width + labels[row]] = 1;
  }
  return out;
}

/** What the encoder emits: z, or mu and logvar side by side, (n, nCode). */
export function encode(model, weights, { x, labels, n }) {
  const { nValues, nTold } = model;
  model.seen = beside(x, nValues, labels, nTold, n, model.seen);
  return forward(model.encoder, weights, model.seen, n);
}

/** What the decoder emits of codes (n, nLatent): means, or logits. */
function decodeRaw(model, weights, z, labels, n) {
  const { nLatent, nTold } = model;
  model.asked = beside(z, nLatent, labels, nTold, n, model.asked);
  return forward(model.decoder, weights, model.asked, n);
}

const sigmoid = (logit) => 1 / (1 + Math.exp(-logit));

/** The pictures that codes stand for, (n, nValues), each pixel in [0, 1]. */
export function decode(model, weights, z, labels, n) {
  const out = decodeRaw(model, weights, z, labels, n);
  const means = new Float32Array(n * model.nValues);
  const squeezed = model.kind === "autoencoder"
    ? (v) => Math.min(1, Math.max(0, v))
    : sigmoid;
  for (let i = 0; i < means.length; i++) means[i] = squeezed(out[i]);
  return means;
}

// ---- loss and gradient -----------------------------------------------------

/** log(1 + exp(v)), which no v lets overflow. */
const softplus = (v) => Math.max(v, 0) + Math.log1p(Math.exp(-Math.abs(v)));

/**
 * The loss of a batch and its gradient, which is left in `gradient`.
 *
 * An autoencoder has the squared error. A VAE has -ELBO: the cross-entropy of
 * Bernoulli pixels at z = mu + sigma noise, and beta times KL(q(z|x) || N(0,
 * I)). All are sums over pixels and dimensions, and means over the rows.
 *
 * @param batch x (n, nValues), labels (n) or null for withheld, and n
 * @param noise standard normal, (n, nLatent); zeros switch it off
 */
export function lossAndGradient(model, weights, batch, noise, beta, gradient) {
  const { x, labels, n } = batch;
  const { nLatent, nCode, nTold, nValues } = model;
  const isVae = model.kind !== "autoencoder";
  const code = encode(model, weights, batch);
  const z = (model.z = room(model.z, n * nLatent));
  for (let row = 0; row < n; row++) {
    for (let i = 0; i < nLatent; i++) {
      const [at, to] = [row * nCode + i, row * nLatent + i];
      const sigma = isVae ? Math.exp(0.5 * code[at + nLatent]) : 0;
      z[to] = isVae ? code[at] + sigma * noise[to] : code[at];
    }
  }
  const out = decodeRaw(model, weights, z, labels, n);
  let [reconstruction, kl] = [0, 0];
  const delta = (model.delta = room(model.delta, n * nValues));
  for (let i = 0; i < n * nValues; i++) {
    if (isVae) {
      reconstruction += softplus(out[i]) - x[i] * out[i];
      delta[i] = (sigmoid(out[i]) - x[i]) / n;
    } else {
      reconstruction += (out[i] - x[i]) ** 2;
      delta[i] = (2 * (out[i] - x[i])) / n;
    }
  }
  gradient.fill(0);
  const width = nLatent + nTold;
  const dz = backward(model.decoder, weights, delta, n, gradient, false);
  const dCode = (model.dCode = room(model.dCode, n * nCode));
  for (let row = 0; row < n; row++) {
    for (let i = 0; i < nLatent; i++) {
      const at = row * nCode + i;
      const g = dz[row * width + i];
      dCode[at] = g;
      if (!isVae) continue;
      const [mu, logvar] = [code[at], code[at + nLatent]];
      const variance = Math.exp(logvar);
      kl += 0.5 * (mu * mu + variance - 1 - logvar);
      dCode[at] += (beta * mu) / n;
      dCode[at + nLatent] =
        0.5 * g * Math.sqrt(variance) * noise[row * nLatent + i] +
        (0.5 * beta * (variance - 1)) / n;
    }
  }
  backward(model.encoder, weights, dCode, n, gradient, true);
  [reconstruction, kl] = [reconstruction / n, kl / n];
  return { loss: reconstruction + beta * kl, reconstruction, kl };
}

// ---- Adam ------------------------------------------------------------------

const [BETA1, BETA2, EPSILON] = [0.9, 0.99, 1e-8]; // as minivae has them
const WARMUP = 100; // steps until the step size is reached

/** Share of the step size that the step of this number, from 0, takes. */
export const warmup = (step) => Math.min(1, (step + 1) / WARMUP);

/** Steps of Adam (Kingma & Ba 2015), which change the weights in place. */
export class Adam {
  constructor(size) {
    this.mean = new Float32Array(size);
    this.square = new Float32Array(size);
    this.steps = 0;
  }

  step(weights, gradient, lr) {
    this.steps += 1;
    const { mean, square } = this;
    const rate = lr / (1 - BETA1 ** this.steps);
    const root = Math.sqrt(1 - BETA2 ** this.steps);
    for (let i = 0; i < weights.length; i++) {
      const g = gradient[i];
      mean[i] = BETA1 * mean[i] + (1 - BETA1) * g;
      square[i] = BETA2 * square[i] + (1 - BETA2) * g * g;
      weights[i] -= (rate * mean[i]) / (Math.sqrt(square[i]) / root + EPSILON);
    }
  }
}

// ---- three models in one lesson --------------------------------------------

export const KINDS = ["autoencoder", "vae", "cvae"];
const N_NEIGHBOURS = 15;

/** Which rows are kept for testing: each fifth, as `minivae.data` has it. */
export const isHeld = (row) => row % 5 === 4;

/**
 * An autoencoder, a VAE and a CVAE that learn side by side: from the same
 * batches, and with the same noise. A seed repeats all of it.
 *
 * The autoencoder sees grey pixels. For the others each pixel is drawn as 0
 * or 1 in each epoch anew, as Bernoulli pixels have to be.
 */
export class Lesson {
  constructor(digits, { hidden, nLatent, batchSize, seed }) {
    Object.assign(this, { digits, batchSize });
    this.random = generator(seed);
    const { images, labels } = digits;
    const nValues = images.length / labels.length;
    this.models = KINDS.map((kind) => {
      const model = plan(kind, { nValues, hidden, nLatent });
      const weights = startWeights(model, generator(seed));
      const gradient = new Float32Array(model.size);
      return { model, weights, gradient, adam: new Adam(model.size) };
    });
    const rows = Array.from(labels.keys()).filter((row) => !isHeld(row));
    this.batches = batches(rows, batchSize, this.random);
    this.grey = new Float32Array(batchSize * nValues);
    this.drawn = new Float32Array(batchSize * nValues);
    this.labels = new Uint8Array(batchSize);
    this.noise = new Float32Array(batchSize * nLatent);
    this.steps = 0;
  }

  /** One step of each model; returns the terms of the loss of each. */
  step({ beta, lr, noisy, told }) {
    const { random, grey, drawn, labels, noise, digits } = this;
    const { nValues } = this.models[0].model;
    this.batches.next().value.forEach((row, n) => {
      labels[n] = digits.labels[row];
      for (let i = 0; i < nValues; i++) {
        const pixel = digits.images[row * nValues + i];
        grey[n * nValues + i] = pixel;
        drawn[n * nValues + i] = random.uniform() < pixel ? 1 : 0;
      }
    });
    // drawn in any case, so that the next batches stay what they are
    for (let i = 0; i < noise.length; i++) noise[i] = random.normal() * noisy;
    const rate = lr * warmup(this.steps);
    this.steps += 1;
    return this.models.map(({ model, weights, gradient, adam }) => {
      const batch = {
        x: model.kind === "autoencoder" ? grey : drawn,
        labels: told ? labels : null,
        n: this.batchSize,
      };
      const terms = lossAndGradient(
        model, weights, batch, noise, beta, gradient,
      );
      adam.step(weights, gradient, rate);
      return terms;
    });
  }

  /** What encoder i emits of some rows, (rows, nCode), by their grey pixels. */
  encode(i, from, to, told) {
    const { model, weights } = this.models[i];
    const { images, labels } = this.digits;
    const x = images.subarray(from * model.nValues, to * model.nValues);
    const y = told ? labels.subarray(from, to) : null;
    return encode(model, weights, { x, labels: y, n: to - from });
  }

  /** What decoder i draws of codes, with the digits asked for, if told. */
  decode(i, z, asked) {
    const { model, weights } = this.models[i];
    return decode(model, weights, z, asked, z.length / model.nLatent);
  }
}

/**
 * The share of the held digits whose nearest 15 codes of the others mostly
 * have their label: how well a map (N, 2) keeps the digits apart.
 */
export function accuracy(codes, labels) {
  const others = Array.from(labels.keys()).filter((row) => !isHeld(row));
  const near = new Float64Array(N_NEIGHBOURS);
  const votes = new Uint8Array(N_NEIGHBOURS);
  let [right, all] = [0, 0];
  for (let row = 0; row < labels.length; row++) {
    if (!isHeld(row)) continue;
    near.fill(Infinity);
    for (const other of others) {
      const across = codes[2 * other] - codes[2 * row];
      const up = codes[2 * other + 1] - codes[2 * row + 1];
      const distance = across * across + up * up;
      let place = N_NEIGHBOURS - 1;
      if (distance >= near[place]) continue;
      for (; place > 0 && near[place - 1] > distance; place--) {
        near[place] = near[place - 1];
        votes[place] = votes[place - 1];
      }
      near[place] = distance;
      votes[place] = labels[other];
    }
    const count = new Uint8Array(256);
    for (const vote of votes) count[vote] += 1;
    right += count.indexOf(Math.max(...count)) === labels[row];
    all += 1;
  }
  return right / all;
}
