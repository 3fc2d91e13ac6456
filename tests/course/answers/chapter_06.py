"""Answers to the exercises of chapter 6."""

import copy
import math

import numpy as np
import torch
from scipy import ndimage
from torch.distributions import Normal
from torch.nn import functional

from answers import right, wrong
from minivae.evaluate import code_grid, log_joint

LOG_2_PI = math.log(2 * math.pi)


def kl_of(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1)


# --- importance_bound --------------------------------------------------------


def parts_of(model, x, noise):
    mu, logvar = model.encode(x)
    z = mu + (logvar / 2).exp() * noise
    prior = -0.5 * (z.square() + LOG_2_PI)
    own = -0.5 * (noise.square() + LOG_2_PI + logvar)
    return model.log_likelihood(x, z), prior, own


def log_weights(model, x, noise):
    likelihood, prior, own = parts_of(model, x, noise)
    return likelihood + (prior - own).sum(-1)


def bound_of(logs):
    return logs.logsumexp(0) - math.log(len(logs))


def importance_bound(first=log_weights, second=bound_of):
    return {"log_weights": first, "importance_bound": second}


@right("importance_bound", "the formulas")
def several():
    return importance_bound()


@right("importance_bound", "torch.distributions, the largest taken out")
def several():
    def weigh(model, x, noise):
        mu, logvar = model.encode(x)
        q = Normal(mu, (logvar / 2).exp())
        rows = []
        for one in noise:
            z = mu + q.scale * one
            prior = Normal(0.0, 1.0).log_prob(z).sum(-1)
            rows.append(
                model.log_likelihood(x, z) + prior - q.log_prob(z).sum(-1)
            )
        return torch.stack(rows)

    def bound(logs):
        top = logs.max(0).values.detach()
        return top + (logs - top).exp().mean(0).log()

    return importance_bound(weigh, bound)


@right("importance_bound", "constants that cancel left out")
def several():
    def weigh(model, x, noise):
        likelihood, prior, own = parts_of(model, x, noise)
        prior, own = prior + LOG_2_PI / 2, own + LOG_2_PI / 2
        return likelihood + prior.sum(-1) - own.sum(-1)

    return importance_bound(weigh, lambda logs: bound_of(logs.double()))


def with_parts(made):
    return importance_bound(lambda m, x, noise: made(*parts_of(m, x, noise)))


@wrong("importance_bound", "the sign of log q", says="the sign of log q")
def several():
    return with_parts(lambda p, prior, own: p + (prior + own).sum(-1))


@wrong("importance_bound", "forgets the prior", says="prior is missing")
def several():
    return with_parts(lambda p, prior, own: p - own.sum(-1))


@wrong("importance_bound", "forgets log q", says="log q is missing")
def several():
    return with_parts(lambda p, prior, own: p + prior.sum(-1))


@wrong("importance_bound", "only log p(x|z)", says="prior and q are missing")
def several():
    return with_parts(lambda p, prior, own: p)


@wrong("importance_bound", "averages over latent dimensions", says="sum log p")
def several():
    return with_parts(lambda p, prior, own: p + (prior - own).mean(-1))


@wrong("importance_bound", "a constant in one density", says="in log p(z)")
def several():
    return with_parts(
        lambda p, prior, own: p + (prior + LOG_2_PI / 2 - own).sum(-1)
    )


@wrong("importance_bound", "the closed form of the KL", says="makes no ratio")
def several():
    def weigh(model, x, noise):
        likelihood, _, _ = parts_of(model, x, noise)
        return likelihood - kl_of(*model.encode(x))

    return importance_bound(weigh)


@wrong("importance_bound", "log q without log sigma", says="-logvar / 2 is")
def several():
    def weigh(model, x, noise):
        _, logvar = model.encode(x)
        return log_weights(model, x, noise) - logvar.sum(-1) / 2

    return importance_bound(weigh)


@wrong("importance_bound", "ignores the noise", says="found")
def several():
    return importance_bound(lambda m, x, noise: log_weights(m, x, 0 * noise))


@wrong("importance_bound", "no noise outside of training", says="found")
def several():
    return importance_bound(
        lambda m, x, noise: log_weights(m, x, noise * m.training)
    )


@wrong("importance_bound", "weights without gradients", says="no gradient")
def several():
    return importance_bound(torch.no_grad()(log_weights))


@wrong("importance_bound", "detaches the codes", says="detached?")
def several():
    def weigh(model, x, noise):
        mu, logvar = model.encode(x)
        q = Normal(mu, (logvar / 2).exp())
        z = (mu + q.scale * noise).detach()
        prior = Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)
        return model.log_likelihood(x, z) + prior.sum(-1)

    return importance_bound(weigh)


@wrong("importance_bound", "the mean of the logarithms", says="the ELBO")
def several():
    return importance_bound(second=lambda logs: logs.mean(0))


@wrong("importance_bound", "without log K", says="log K is missing")
def several():
    return importance_bound(second=lambda logs: logs.logsumexp(0))


@wrong("importance_bound", "K for log K", says="subtract log K, not K")
def several():
    return importance_bound(second=lambda logs: logs.logsumexp(0) - len(logs))


@wrong("importance_bound", "the largest weight", says="largest log weight")
def several():
    return importance_bound(second=lambda logs: logs.max(0).values)


@wrong("importance_bound", "over the digits", says="expected (8,)")
def several():
    return importance_bound(
        second=lambda logs: logs.logsumexp(1) - math.log(logs.shape[1])
    )


@wrong("importance_bound", "averages over the batch", says="one value for")
def several():
    return importance_bound(second=lambda logs: bound_of(logs).mean())


@wrong("importance_bound", "exp, mean, log", says="infinite")
def several():
    return importance_bound(second=lambda logs: logs.exp().mean(0).log())


@wrong("importance_bound", "a bound without gradients", says="no gradient")
def several():
    return importance_bound(second=lambda logs: bound_of(logs.detach()))


@wrong("importance_bound", "the largest of all digits", says="of each digit")
def several():
    def bound(logs):
        return logs.max() + (logs - logs.max()).exp().mean(0).log()

    return importance_bound(second=bound)


@wrong("importance_bound", "cuts off far weights", says="found")
def several():
    return importance_bound(second=lambda logs: bound_of(logs.clamp_min(-500)))


@wrong("importance_bound", "float64 in place of care", says="infinite")
def several():
    return importance_bound(
        second=lambda logs: logs.double().exp().mean(0).log()
    )


@wrong("importance_bound", "the decoder is pushed away", says="by decoder")
def several():
    def weigh(model, x, noise):
        mu, logvar = (p.detach() for p in model.encode(x))
        log_p = model.log_likelihood(x, mu + (logvar / 2).exp() * noise)
        return log_weights(model, x, noise) - 2 * (log_p - log_p.detach())

    return importance_bound(weigh)


@wrong("importance_bound", "q held fixed in log q", says="detached?")
def several():
    def weigh(model, x, noise):
        mu, logvar = model.encode(x)
        z = mu + (logvar / 2).exp() * noise
        q = Normal(mu.detach(), (logvar / 2).exp().detach())
        ratio = Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)
        return model.log_likelihood(x, z) + ratio.sum(-1)

    return importance_bound(weigh)


@wrong("importance_bound", "the decoder held fixed", says="reaches decoder")
def several():
    def weigh(model, x, noise):
        _, prior, own = parts_of(model, x, noise)
        with torch.no_grad():
            likelihood = parts_of(model, x, noise)[0]
        return likelihood + (prior - own).sum(-1)

    return importance_bound(weigh)


@wrong("importance_bound", "cuts off the log variance", says="log weights")
def several():
    def weigh(model, x, noise):
        mu, logvar = model.encode(x)
        logvar = logvar.clamp(-4, 4)
        z = mu + (logvar / 2).exp() * noise
        q = Normal(mu, (logvar / 2).exp())
        ratio = Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)
        return model.log_likelihood(x, z) + ratio.sum(-1)

    return importance_bound(weigh)


@wrong("importance_bound", "multiplies by beta", says="log weights")
def several():
    def weigh(model, x, noise):
        log_p, prior, own = parts_of(model, x, noise)
        return log_p + model.beta * (prior - own).sum(-1)

    return importance_bound(weigh)


@wrong("importance_bound", "changes the log weights", says="in place")
def several():
    def bound(logs):
        found = bound_of(logs)
        logs -= logs.max()
        return found

    return importance_bound(second=bound)


@right("importance_bound", "digit by digit, logaddexp")
def several():
    def weigh(model, x, noise):
        rows = [
            log_weights(model, x[i : i + 1], noise[:, i : i + 1])
            for i in range(len(x))
        ]
        return torch.cat(rows, 1)

    def bound(logs):
        total = logs[0]
        for one in logs[1:]:
            total = torch.logaddexp(total, one)
        return total - math.log(len(logs))

    return importance_bound(weigh, bound)


# --- grid_evidence -----------------------------------------------------------


def evidence(model, x, n, limit):
    z = code_grid(model.n_latent, n, limit)
    area = model.n_latent * math.log(2 * limit / n)
    return log_joint(model, x, z).double().logsumexp(0) + area


def cells_for(found, change=lambda move: move.abs().max()):
    def enough(model, x, limit):
        n = 25
        before = found(model, x, n, limit)
        while True:
            after = found(model, x, 2 * n, limit)
            if change(after - before) <= 0.01:
                return n
            n, before = 2 * n, after

    return enough


def grid_evidence(first=evidence, second=None):
    second = cells_for(evidence) if second is None else second
    return {"grid_evidence": first, "enough_cells": second}


@right("grid_evidence", "a sum in logarithms")
def several():
    return grid_evidence()


@right("grid_evidence", "code by code, with its own likelihood")
def several():
    def slow(model, x, n, limit):
        cells = (np.arange(n) + 0.5) * (2 * limit / n) - limit
        line = torch.as_tensor(cells).float()
        if model.n_latent == 1:
            z = line[:, None]
        else:
            z = torch.stack([line.repeat(n), line.repeat_interleave(n)], dim=1)
        with torch.no_grad():
            likelihood = torch.stack(
                [model.log_likelihood(one.expand(len(z), -1), z) for one in x]
            )
        logs = likelihood.double() + Normal(0.0, 1.0).log_prob(z).sum(-1)
        area = model.n_latent * math.log(2 * limit / n)
        return [float(row.logsumexp(-1)) + area for row in logs]

    def search(model, x, limit):
        sizes = [25 * 2**i for i in range(8)]
        tables = [evidence(model, x, n, limit) for n in sizes]
        for n, a, b in zip(sizes, tables, tables[1:]):
            if bool(((a - b).abs() <= 0.01).all()):
                return float(n)
        return None

    return grid_evidence(slow, search)


def with_grid(made):
    def one(model, x, n, limit):
        z = code_grid(model.n_latent, n, limit)
        return made(log_joint(model, x, z).double(), z, 2 * limit / n)

    return grid_evidence(one)


def prior_of(z):
    return Normal(0.0, 1.0).log_prob(z).sum(-1)[:, None]


@wrong("grid_evidence", "without the area", says="a cell is missing")
def several():
    return with_grid(lambda table, z, cell: table.logsumexp(0))


@wrong("grid_evidence", "a mean over the grid", says="mean over the grid")
def several():
    return with_grid(
        lambda table, z, cell: table.logsumexp(0) - math.log(len(z))
    )


@wrong("grid_evidence", "a mean of p(x|z)", says="count by the prior")
def several():
    return with_grid(
        lambda table, z, cell: (
            (table - prior_of(z)).logsumexp(0) - math.log(len(z))
        )
    )


@wrong("grid_evidence", "without the prior", says="prior p(z) is missing")
def several():
    return with_grid(
        lambda table, z, cell: (
            (table - prior_of(z)).logsumexp(0) + z.shape[1] * math.log(cell)
        )
    )


@wrong("grid_evidence", "a side for the area", says="its width squared")
def several():
    return with_grid(
        lambda table, z, cell: table.logsumexp(0) + math.log(cell)
    )


@wrong("grid_evidence", "the sign of the area", says="is subtracted")
def several():
    return with_grid(
        lambda table, z, cell: table.logsumexp(0) - z.shape[1] * math.log(cell)
    )


@wrong("grid_evidence", "half a cell", says="2 limit / n wide")
def several():
    return with_grid(
        lambda table, z, cell: (
            table.logsumexp(0) + z.shape[1] * math.log(cell / 2)
        )
    )


@wrong("grid_evidence", "the best code", says="largest log p(x, z)")
def several():
    return with_grid(lambda table, z, cell: table.max(0).values)


@wrong("grid_evidence", "the mean of the logarithms", says="of the logarithms")
def several():
    return with_grid(lambda table, z, cell: table.mean(0))


@wrong("grid_evidence", "exp without logsumexp", says="infinite")
def several():
    return with_grid(
        lambda table, z, cell: (table.exp().sum(0) * cell ** z.shape[1]).log()
    )


@wrong("grid_evidence", "one value for all", says="one value for each")
def several():
    return with_grid(
        lambda table, z, cell: (
            table.logsumexp(0) + z.shape[1] * math.log(cell)
        ).mean()
    )


@wrong("grid_evidence", "ignores n", says="n is not used")
def several():
    return grid_evidence(lambda m, x, n, limit: evidence(m, x, 800, limit))


@wrong("grid_evidence", "the mean change", says="the mean of all is")
def several():
    enough = cells_for(evidence, lambda move: move.abs().mean())
    return grid_evidence(second=enough)


@wrong("grid_evidence", "the finer of two grids", says="coarser of the two")
def several():
    enough = cells_for(evidence)
    return grid_evidence(second=lambda m, x, limit: 2 * enough(m, x, limit))


for _limit in (0.0117, 0.0105, 0.0095):

    @wrong("grid_evidence", f"{_limit} nats", says="enough_cells: found")
    def several(limit=_limit):
        change = lambda move: move.abs().max() * 0.01 / limit  # noqa: E731
        return grid_evidence(second=cells_for(evidence, change))


@wrong("grid_evidence", "always 200 cells", says="coarser of the two")
def several():
    return grid_evidence(second=lambda m, x, limit: 200)


@wrong("grid_evidence", "at most 400 cells", says="found 400, expected 800")
def several():
    enough = cells_for(evidence)
    return grid_evidence(second=lambda *given: min(400, enough(*given)))


@wrong("grid_evidence", "the finest grid", says="coarser of the two")
def several():
    return grid_evidence(second=lambda m, x, limit: 800)


@wrong("grid_evidence", "a number that is not whole", says="whole number")
def several():
    return grid_evidence(second=lambda m, x, limit: 99.5)


@wrong("grid_evidence", "the largest of all images", says="infinite")
def several():
    def far(table, z, cell):
        top = table.max()
        total = (table - top).exp().sum(0).log() + top
        return total + z.shape[1] * math.log(cell)

    return with_grid(far)


@wrong("grid_evidence", "a grid with its ends", says="found")
def several():
    def one(model, x, n, limit):
        line = torch.linspace(-limit, limit, n)
        z = line[:, None]
        if model.n_latent == 2:
            z = torch.cartesian_prod(line, line)
        area = model.n_latent * math.log(2 * limit / (n - 1))
        return log_joint(model, x, z).double().logsumexp(0) + area

    return grid_evidence(one)


def rule(text, change, start=25, then=lambda n: 2 * n, limit=None):
    """A wrong `enough_cells`: another change is compared with 0.01."""

    def several():
        def enough(model, x, given):
            n, wide = start, limit or given
            while n < 2000:
                now = evidence(model, x, n, wide)
                if change(evidence(model, x, 2 * n, wide) - now, now) <= 0.01:
                    break
                n = then(n)
            return n

        return grid_evidence(second=enough)

    wrong("grid_evidence", text, says="enough_cells: found")(several)


rule("a change of 0.02 is allowed", lambda move, now: move.abs().max() / 2)
rule("no change above 0.005", lambda move, now: 2 * move.abs().max())
rule("growth alone counts", lambda move, now: move.max())
rule("loss alone counts", lambda move, now: -move.min())
rule("the sum of all changes", lambda move, now: move.sum().abs())
rule("the median change", lambda move, now: move.abs().median())
rule("the first image alone", lambda move, now: move[0].abs())
rule("relative to log p(x)", lambda move, now: (move / now).abs().max())
rule("begins at 50", lambda move, now: move.abs().max(), start=50)
rule(
    "25 more each time",
    lambda move, now: move.abs().max(),
    then=lambda n: n + 25,
)
rule("always the limit 5", lambda move, now: move.abs().max(), limit=5.0)


@wrong("grid_evidence", "four times as many cells", says="enough_cells: found")
def several():
    def enough(model, x, limit):
        n = 25
        while True:
            now = evidence(model, x, n, limit)
            if (evidence(model, x, 4 * n, limit) - now).abs().max() <= 0.01:
                return n
            n *= 2

    return grid_evidence(second=enough)


@wrong("grid_evidence", "25 cells in a plane", says="enough_cells: found 25")
def several():
    enough = cells_for(evidence)

    def flat(model, x, limit):
        return enough(model, x, limit) if model.n_latent < 2 else 25

    return grid_evidence(second=flat)


# --- best_q ------------------------------------------------------------------


def searching(
    fresh=True,
    sign=-1,
    also=False,
    spread=0.5,
    kl=1.0,
    steps=None,
    lr=0.02,
    n=8,
    noise_of=torch.randn,
):
    def best_q(model, x, n_steps):
        q = [p.detach().clone().requires_grad_() for p in model.encode(x)]
        mu, logvar = q
        adam = torch.optim.Adam(
            [*q, *model.parameters()] if also else q, lr=lr
        )
        noise = torch.randn_like(mu)
        for _ in range(n_steps if steps is None else steps):
            if fresh:
                noise = noise_of(n, *mu.shape)
            z = mu + (spread * logvar).exp() * noise
            elbo = model.log_likelihood(x, z).mean() - kl * (
                kl_of(mu, logvar).mean()
            )
            adam.zero_grad()
            (sign * elbo).backward()
            adam.step()
        return mu.detach(), logvar.detach()

    return best_q


right("best_q", "eight codes a step")(searching())
right("best_q", "one code a step")(searching(n=1))


@wrong("best_q", "the linear case solved by hand", says="away from the enc")
def _(model, x, steps):
    w, b = model.decoder[0].weight.detach(), model.decoder[0].bias.detach()
    variance = model.likelihood.log_sigma.detach().exp() ** 2
    precision = torch.eye(2) + w.T @ w / variance
    mu = torch.linalg.solve(precision, w.T @ (x - b).T / variance).T
    return [mu, -precision.diag().log().expand(len(x), 2)]


@right("best_q", "one code a step, the mean of its last steps")
def _(model, x, steps):
    model.requires_grad_(False)
    q = [p.clone().requires_grad_() for p in model.encode(x)]
    adam = torch.optim.Adam(q, lr=0.02)
    late = []
    for step in range(steps):
        z = q[0] + (q[1] / 2).exp() * torch.randn_like(q[0])
        loss = kl_of(*q).sum() - model.log_likelihood(x, z).sum()
        q[0].grad, q[1].grad = torch.autograd.grad(loss, q)
        adam.step()
        if step >= 0.8 * steps - 1:
            late.append(torch.stack([p.detach() for p in q]))
    model.requires_grad_(True)
    return torch.stack(late).mean(0)


@wrong("best_q", "a larger step that falls", says="step size of 0.02")
def _(model, x, steps):
    model.requires_grad_(False)
    q = [p.clone().requires_grad_() for p in model.encode(x)]
    adam = torch.optim.Adam(q, lr=0.05)
    for step in range(steps):
        adam.param_groups[0]["lr"] = 0.05 * (1 - step / steps)
        z = q[0] + (q[1] / 2).exp() * torch.randn_like(q[0])
        loss = kl_of(*q).sum() - model.log_likelihood(x, z).sum()
        q[0].grad, q[1].grad = torch.autograd.grad(loss, q)
        adam.step()
    model.requires_grad_(True)
    return q[0].detach(), q[1].detach()


wrong("best_q", "one noise for all steps", says="from step to step")(
    searching(fresh=False)
)
wrong("best_q", "lowers the ELBO", says="minus the ELBO")(searching(sign=1))
wrong("best_q", "trains the model too", says="changed the weights")(
    searching(also=True)
)
wrong("best_q", "no steps", says="mu is 0 away")(searching(steps=0))
wrong("best_q", "steps of 0.2", says="moves it by 0.02")(searching(lr=0.2))
wrong("best_q", "ten steps", says="after one step")(searching(steps=10))
wrong("best_q", "without the KL", says="below the best")(searching(kl=0.0))
wrong("best_q", "exp(logvar) as sigma", says="mostly because of logvar")(
    searching(spread=1.0)
)


def spoils(what):
    def best_q(model, x, steps):
        found = searching()(model, x, steps)
        with torch.no_grad():
            what(model, x)
        return found

    return best_q


wrong("best_q", "changes the images at the end", says="argument number 2")(
    spoils(lambda model, x: x.add_(1e-3))
)
wrong("best_q", "changes the encoder at the end", says="changed the weights")(
    spoils(lambda model, x: model.encoder[0].bias.add_(1e-3))
)
wrong("best_q", "leaves the model in eval mode", says="in another mode")(
    spoils(lambda model, x: model.eval())
)
wrong("best_q", "leaves the model frozen", says="requires_grad False")(
    spoils(lambda model, x: model.requires_grad_(False))
)
wrong("best_q", "leaves the decoder frozen", says="requires_grad False")(
    spoils(lambda model, x: model.decoder.requires_grad_(False))
)


@right("best_q", "in eval mode, and back")
def _(model, x, steps):
    was = model.training
    found = searching()(model.eval(), x, steps)
    model.train(was)
    return found


wrong("best_q", "400 steps whatever is asked", says="one step")(
    searching(steps=400)
)
wrong("best_q", "twice the KL", says="below the best")(searching(kl=2.0))
wrong("best_q", "noise of 0.8", says="as wide as the best")(
    searching(noise_of=lambda *shape: 0.8 * torch.randn(shape))
)


@wrong("best_q", "half of the steps", says="mu is 0 away")
def _(model, x, steps):
    return searching()(model, x, steps // 2)


@wrong("best_q", "one width for all dimensions", says="below the best")
def _(model, x, steps):
    mu, logvar = searching()(model, x, steps)
    return mu, logvar.mean(1, keepdim=True).expand_as(logvar)


@wrong("best_q", "begins at the prior", says="away from the encoder")
def _(model, x, steps):
    plain = copy.deepcopy(model)
    for weights in plain.encoder.parameters():
        weights.data.zero_()
    return searching()(plain, x, steps)


@wrong("best_q", "the encoder's answer", says="mu is 0 away")
def _(model, x, steps):
    return tuple(p.detach() for p in model.encode(x))


@wrong("best_q", "the encoder's mu", says="mu is 0 away")
def _(model, x, steps):
    mu, _ = model.encode(x)
    return mu.detach(), searching()(model, x, steps)[1]


@wrong("best_q", "only mu", says="return mu and logvar")
def _(model, x, steps):
    return searching()(model, x, steps)[0]


@wrong("best_q", "one q for all images", says="expected (1, 2)")
def _(model, x, steps):
    return tuple(p.mean(0) for p in searching()(model, x, steps))


@wrong("best_q", "sigma in place of logvar", says="mostly because of logvar")
def _(model, x, steps):
    mu, logvar = searching()(model, x, steps)
    return mu, (logvar / 2).exp()


# --- find_peaks --------------------------------------------------------------


def pooled(log_density, share):
    near = functional.max_pool2d(log_density[None], 3, stride=1, padding=1)[0]
    low = log_density.max() + math.log(share)
    found = ((log_density >= near) & (log_density >= low)).nonzero()
    heights = log_density[found[:, 0], found[:, 1]]
    return found[heights.argsort(descending=True)]


def peaks(log_density, share, around=8, edge=True, low=None, relative=True):
    table = log_density.double().numpy()
    if low is None:
        low = math.log(share) + relative * table.max()
    steps = [
        (a, b) for a in (-1, 0, 1) for b in (-1, 0, 1) if (a, b) != (0, 0)
    ]
    if around == 4:
        steps = [(a, b) for a, b in steps if 0 in (a, b)]
    wide = np.pad(table, 1, constant_values=-np.inf if edge else np.inf)
    found = []
    for r in range(table.shape[0]):
        for c in range(table.shape[1]):
            if table[r, c] >= low and all(
                table[r, c] > wide[r + 1 + a, c + 1 + b] for a, b in steps
            ):
                found.append((r, c))
    return sorted(found, key=lambda place: -table[place])


@right("find_peaks", "all neighbours in a loop")
def _(log_density, share):
    return peaks(log_density, share)


@right("find_peaks", "a filter of scipy over the eight neighbours")
def _(log_density, share):
    table = log_density.double().numpy()
    ring = np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]])
    near = ndimage.maximum_filter(
        table, footprint=ring, mode="constant", cval=-np.inf
    )
    low = table.max() + math.log(share)
    found = np.argwhere((table > near) & (table >= low))
    return found[np.argsort(-table[tuple(found.T)])]


def rolled(log_density, share):
    peak = log_density >= log_density.max() + math.log(share)
    for step in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for sign in (1, -1):
            other = log_density.roll([sign * one for one in step], (0, 1))
            peak &= log_density > other
    places = peak.nonzero()
    heights = log_density[places[:, 0], places[:, 1]]
    return places[heights.argsort(descending=True)]


wrong("find_peaks", "wraps round at the edges", says="edge")(rolled)
wrong("find_peaks", "takes plateaus", says="as high as it will not do")(pooled)


@wrong("find_peaks", "a frame of zeros", says="expected")
def _(log_density, share):
    wide = functional.pad(log_density, (1, 1, 1, 1))
    found = peaks(wide, share)
    return [(r - 1, c - 1) for r, c in found if 0 < r <= len(log_density)]


@wrong("find_peaks", "more than share times", says="at least, not more than")
def _(log_density, share):
    low = float(log_density.double().max()) + math.log(share)
    return [p for p in peaks(log_density, share) if log_density[p] > low]


@wrong("find_peaks", "exp before the comparison", says="expected")
def _(log_density, share):
    density = log_density.exp()
    low = share * density.max()
    return [p for p in peaks(log_density, share) if density[p] >= low > 0]


@wrong("find_peaks", "at most two", says="expected")
def _(log_density, share):
    return peaks(log_density, share)[:2]


@wrong("find_peaks", "drops the edge", says="at the edge")
def _(log_density, share):
    h, w = (n - 1 for n in log_density.shape)
    found = peaks(log_density, share)
    return [(r, c) for r, c in found if 0 < r < h and 0 < c < w]


@wrong("find_peaks", "four neighbours", says="all eight neighbours")
def _(log_density, share):
    return peaks(log_density, share, around=4)


@wrong("find_peaks", "ignores the edge", says="at the edge")
def _(log_density, share):
    return peaks(log_density, share, edge=False)


@wrong("find_peaks", "ignores the share", says="at least share times")
def _(log_density, share):
    return peaks(log_density, share, low=-math.inf)


@wrong("find_peaks", "no constant subtracted", says="an unknown constant")
def _(log_density, share):
    return peaks(log_density, share, relative=False)


@wrong("find_peaks", "share of the logarithm", says="compare table")
def _(log_density, share):
    return peaks(log_density, share, low=share * float(log_density.max()))


@wrong("find_peaks", "share of the highest peak", says="that is no peak")
def _(log_density, share):
    found = peaks(log_density, share, low=-math.inf)
    low = max(log_density[p] for p in found) + math.log(share)
    return [p for p in found if log_density[p] >= low]


@wrong("find_peaks", "24 neighbours", says="only the eight cells")
def _(log_density, share):
    near = functional.max_pool2d(log_density[None], 5, 1, 2)[0]
    return [p for p in peaks(log_density, share) if log_density[p] >= near[p]]


@wrong("find_peaks", "only the highest", says="more peaks than the highest")
def _(log_density, share):
    return peaks(log_density, share)[:1]


@wrong("find_peaks", "columns first", says="row before column")
def _(log_density, share):
    return [(c, r) for r, c in peaks(log_density, share)]


@wrong("find_peaks", "the lowest first", says="the highest first")
def _(log_density, share):
    return peaks(log_density, share)[::-1]


@wrong("find_peaks", "all cells above the share", says="than all of its")
def _(log_density, share):
    return (log_density > log_density.max() + math.log(share)).nonzero()


@wrong("find_peaks", "the number of peaks", says="expected the places")
def _(log_density, share):
    return len(peaks(log_density, share))


@wrong("find_peaks", "nothing returned", says="end in return")
def _(log_density, share):
    peaks(log_density, share)


# --- excess_at_mean ----------------------------------------------------------


def excess(model, x, mu, logvar, noise):
    z = mu + (logvar / 2).exp() * noise
    with torch.no_grad():
        drawn = model.log_likelihood(x, z)
        return model.log_likelihood(x, mu) - drawn.mean(0)


def excess_at_mean(second=excess, guess=0.5):
    return {"predicted_excess": lambda: guess, "excess": second}


@right("excess_at_mean", "half a nat, and the difference")
def several():
    return excess_at_mean()


@right("excess_at_mean", "a wrong prediction and a right measurement")
def several():
    return excess_at_mean(guess=1.0)


@right("excess_at_mean", "both with their KL, code by code")
def several():
    def with_kl(model, x, mu, logvar, noise):
        kl = kl_of(mu, logvar)
        elbos = [
            model.log_likelihood(x, mu + logvar.exp().sqrt() * one) - kl
            for one in noise
        ]
        return (
            model.log_likelihood(x, mu) - kl - sum(elbos) / len(elbos)
        ).detach()

    return excess_at_mean(with_kl)


@wrong("excess_at_mean", "no prediction", says="no prediction yet")
def several():
    return excess_at_mean(guess=None)


@wrong("excess_at_mean", "a word as prediction", says="predicted excess")
def several():
    return excess_at_mean(guess="half")


@wrong("excess_at_mean", "the sign", says="shortcut minus the ELBO")
def several():
    return excess_at_mean(lambda *given: -excess(*given))


def with_values(made):
    def one(model, x, mu, logvar, noise):
        z = mu + (logvar / 2).exp() * noise
        with torch.no_grad():
            at, drawn = (model.log_likelihood(x, c) for c in (mu, z))
        return made(at, drawn, kl_of(mu, logvar))

    return excess_at_mean(one)


@wrong("excess_at_mean", "sums over the codes", says="not a sum")
def several():
    return with_values(lambda at, drawn, kl: at - drawn.sum(0))


@wrong("excess_at_mean", "the log of the mean", says="mean of the logarithms")
def several():
    return with_values(
        lambda at, drawn, kl: at - drawn.logsumexp(0) + math.log(len(drawn))
    )


@wrong("excess_at_mean", "the KL on one side", says="on one side only")
def several():
    return with_values(lambda at, drawn, kl: at - (drawn.mean(0) - kl))


@wrong("excess_at_mean", "the shortcut alone", says="the shortcut itself")
def several():
    return with_values(lambda at, drawn, kl: at - kl)


@wrong("excess_at_mean", "one code", says="not the first one")
def several():
    return with_values(lambda at, drawn, kl: at - drawn[0])


@wrong("excess_at_mean", "averages over the batch", says="one value for each")
def several():
    return with_values(lambda at, drawn, kl: (at - drawn.mean(0)).mean())


@wrong("excess_at_mean", "exp(logvar) as sigma", says="sigma is exp(logvar")
def several():
    return excess_at_mean(
        lambda model, x, mu, logvar, noise: excess(
            model, x, mu, logvar, (logvar / 2).exp() * noise
        )
    )


@wrong("excess_at_mean", "decodes the mean code", says="mean of the codes")
def several():
    return excess_at_mean(
        lambda model, x, mu, logvar, noise: excess(
            model, x, mu, logvar, noise.mean(0, keepdim=True)
        )
    )


@wrong("excess_at_mean", "the expansion, not measured", says="with the noise")
def several():
    return excess_at_mean(
        lambda model, x, mu, logvar, noise: (1 - logvar.exp()).sum(-1) / 2
    )


# --- iwae_steps --------------------------------------------------------------


def stepping(
    sign=1.0,
    bound=bound_of,
    fold=torch.mean,
    weigh=log_weights,
    only=slice(None),
    times=1.0,
    told=lambda value: value.item(),
    clear=True,
):
    def iwae_steps(model, x, noises, rate):
        bounds = []
        for noise in noises:
            value = fold(bound(weigh(model, x, noise)))
            if clear:
                model.zero_grad()
            (-sign * value).backward()
            with torch.no_grad():
                for p in list(model.parameters())[only]:
                    if p.grad is not None:
                        p -= times * rate * p.grad
            bounds.append(told(value))
        return bounds

    return iwae_steps


right("iwae_steps", "backward, then a step by hand")(stepping())


@right("iwae_steps", "SGD of torch.optim, a tensor of bounds")
def _(model, x, noises, rate):
    descent = torch.optim.SGD(model.parameters(), lr=rate)
    bounds = []
    for noise in noises:
        mu, logvar = model.encode(x)
        q, prior = Normal(mu, logvar.exp().sqrt()), Normal(0.0, 1.0)
        z = q.loc + q.scale * noise
        ratio = (prior.log_prob(z) - q.log_prob(z)).sum(-1)
        logs = model.log_likelihood(x, z) + ratio
        bound = torch.logsumexp(logs, 0) - math.log(noise.shape[0])
        descent.zero_grad()
        bound.mean().neg().backward()
        descent.step()
        bounds.append(bound.mean().detach())
    return torch.stack(bounds)


@right("iwae_steps", "autograd.grad, the weights as a fixed average")
def _(model, x, noises, rate):
    found = []
    for noise in noises:
        logs = log_weights(model, x, noise)
        # the gradient of the logarithm of a sum is a weighted mean
        share = logs.detach().softmax(0)
        total = (share * logs).sum(0).mean()
        slopes = torch.autograd.grad(total, list(model.parameters()))
        for p, slope in zip(model.parameters(), slopes):
            p.data += rate * slope
        found.append(bound_of(logs.detach()).mean())
    return tuple(found)


def with_adam(model, x, noises, rate):
    adam = torch.optim.Adam(model.parameters(), lr=rate)
    found = []
    for noise in noises:
        value = bound_of(log_weights(model, x, noise)).mean()
        adam.zero_grad()
        (-value).backward()
        adam.step()
        found.append(value.item())
    return found


def with_momentum(model, x, noises, rate):
    descent = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    found = []
    for noise in noises:
        value = bound_of(log_weights(model, x, noise)).mean()
        descent.zero_grad()
        (-value).backward()
        descent.step()
        found.append(value.item())
    return found


def on_a_copy(model, x, noises, rate):
    import copy

    return stepping()(copy.deepcopy(model), x, noises, rate)


def detached_codes(model, x, noise):
    mu, logvar = model.encode(x)
    q = Normal(mu, (logvar / 2).exp())
    z = (mu + q.scale * noise).detach()
    prior = Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)
    return model.log_likelihood(x, z) + prior.sum(-1)


def closed_kl(model, x, noise):
    mu, logvar = model.encode(x)
    z = mu + (logvar / 2).exp() * noise
    return model.log_likelihood(x, z) - kl_of(mu, logvar)


def still_q(model, x, noise):
    mu, logvar = model.encode(x)
    z = mu + (logvar / 2).exp() * noise
    q = Normal(mu.detach(), (logvar / 2).exp().detach())
    prior = Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)
    return model.log_likelihood(x, z) + prior.sum(-1)


for _text, _says, _made in (
    ("goes down", "is to rise", stepping(sign=-1.0)),
    (
        "the ELBO of K codes",
        "step on the ELBO",
        stepping(bound=lambda logs: logs.mean(0)),
    ),
    (
        "the best of K codes",
        "iwae_steps",
        stepping(bound=lambda logs: logs.max(0).values),
    ),
    ("summed over the digits", "averaged over", stepping(fold=torch.sum)),
    ("gradients are kept", "earlier steps", stepping(clear=False)),
    ("Adam", "iwae_steps", with_adam),
    ("momentum", "iwae_steps", with_momentum),
    ("a step on a copy", "has not changed", on_a_copy),
    ("no step", "has not changed", stepping(times=0.0)),
    (
        "left in eval mode",
        "leaves the model in eval mode",
        lambda model, *rest: (stepping()(model, *rest), model.eval())[0],
    ),
    ("half a step", "largest change", stepping(times=0.5)),
    ("all but the last weights", "iwae_steps", stepping(only=slice(-1))),
    ("the decoder only", "encoder", stepping(only=slice(4, None))),
    ("the encoder only", "decoder", stepping(only=slice(4))),
    ("codes detached", "inside the gradient", stepping(weigh=detached_codes)),
    ("log q detached", "inside the gradient", stepping(weigh=still_q)),
    ("the closed KL", "iwae_steps", stepping(weigh=closed_kl)),
    (
        "noise of its own",
        "iwae_steps",
        stepping(weigh=lambda m, x, e: log_weights(m, x, torch.randn_like(e))),
    ),
    (
        "the first noise always",
        "iwae_steps",
        lambda m, x, noises, rate: stepping()(
            m, x, noises[:1].expand(noises.shape), rate
        ),
    ),
    (
        "one step only",
        "iwae_steps",
        lambda m, x, noises, rate: (
            stepping()(m, x, noises[:1], rate) * len(noises)
        ),
    ),
    (
        "a rate of its own",
        "iwae_steps",
        lambda m, x, noises, rate: stepping()(m, x, noises, 0.01),
    ),
    (
        "losses returned",
        "its negative",
        stepping(told=lambda value: -value.item()),
    ),
    (
        "no log K",
        "log K is missing",
        stepping(bound=lambda logs: logs.logsumexp(0)),
    ),
    (
        "the last bound only",
        "shape",
        lambda m, x, noises, rate: torch.tensor(
            stepping()(m, x, noises, rate)[-1]
        ),
    ),
    (
        "nothing returned",
        "return",
        lambda m, x, noises, rate: stepping()(m, x, noises, rate) and None,
    ),
    (
        "leaves the model frozen",
        "requires_grad False",
        lambda m, x, noises, rate: (
            stepping()(m, x, noises, rate),
            m.requires_grad_(False),
        )[0],
    ),
):
    wrong("iwae_steps", _text, says=_says)(_made)


@wrong("excess_at_mean", "noise of its own", says="the excess")
def several():
    return excess_at_mean(
        lambda model, x, mu, logvar, noise: excess(
            model, x, mu, logvar, torch.randn_like(noise)
        )
    )


@wrong("excess_at_mean", "the encoder's q", says="the excess")
def several():
    return excess_at_mean(
        lambda model, x, mu, logvar, noise: excess(
            model, x, *(p.detach() for p in model.encode(x)), noise
        )
    )


@wrong("excess_at_mean", "the median over the codes", says="the excess")
def several():
    return with_values(lambda at, drawn, kl: at - drawn.median(0).values)


@wrong("excess_at_mean", "never negative", says="the excess")
def several():
    return with_values(lambda at, drawn, kl: (at - drawn.mean(0)).clamp_min(0))


@wrong("excess_at_mean", "cuts off the log variance", says="the excess")
def several():
    return excess_at_mean(
        lambda model, x, mu, logvar, noise: excess(
            model, x, mu, logvar.clamp(-10, 4), noise
        )
    )


@wrong("excess_at_mean", "changes mu at the end", says="in place")
def several():
    def spoiling(model, x, mu, logvar, noise):
        found = excess(model, x, mu, logvar, noise)
        mu.zero_()
        return found

    return excess_at_mean(spoiling)
