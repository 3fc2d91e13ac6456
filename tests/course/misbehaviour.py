"""Answers to the exercise gaussian_kl that no check should fall for."""

import os
import sys

import torch


def kl(mu, logvar):
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1)


def loops(mu, logvar):
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def prints(mu, logvar):
    while True:
        print("x" * 1000)


def leaves(mu, logvar):
    os._exit(0)


def exits(mu, logvar):
    sys.exit()


def kills(mu, logvar):
    os.kill(os.getpid(), 9)


def fills(mu, logvar):
    held = []
    while True:
        held.append(torch.ones(2**27))


def raises(mu, logvar):
    return mu / nothing  # noqa: F821


class SilentError(Exception):
    def __str__(self):
        raise RuntimeError("no")


def raises_oddly(mu, logvar):
    raise SilentError


def damages(mu, logvar):
    result = kl(mu, logvar)
    mu.zero_()
    return result


def patches(mu, logvar):
    import minivae_course
    import minivae_course.check as module

    torch.allclose = lambda *a, **k: True
    torch.Tensor.max = lambda *a, **k: torch.tensor(0.0)
    module.equal = lambda *a, **k: None
    module.Check.judge = lambda *a, **k: True
    minivae_course.check_gaussian_kl = lambda *a: True
    return mu.sum(-1)


class Liar(torch.Tensor):
    def __eq__(self, other):
        return True

    def __sub__(self, other):
        return torch.zeros(())

    __rsub__ = __sub__

    def abs(self):
        return torch.zeros(())


BAD = {
    loops: "still running after 1 seconds",
    prints: "still running after 1 seconds",
    leaves: "ended the Python process",
    kills: "ended the Python process",
    exits: "raises SystemExit",
    fills: "raises RuntimeError",
    raises: "raises NameError in line",
    raises_oddly: "raises SilentError",
    damages: "changes its input in place",
    patches: "uses the checks",
    lambda mu, logvar: None: "found None; does your code end in return",
    lambda mu, logvar: "KL": "found a str",
    lambda mu, logvar: [kl(mu, logvar)]: "expected one tensor",
    lambda mu, logvar: kl: "expected a tensor",
    lambda mu, logvar: kl(mu, logvar)[:, None]: "shape",
    lambda mu, logvar: kl(mu, logvar) * float("nan"): "NaN",
    lambda mu, logvar: kl(mu, logvar) / 0: "infinite",
    lambda mu, logvar: mu.sum(-1).as_subclass(Liar): "found",
    lambda mu: mu: "raises TypeError",
    None: "is None",
    3: "expected a function",
    kl(torch.zeros(1, 2), torch.zeros(1, 2)): "expected a function",
}
