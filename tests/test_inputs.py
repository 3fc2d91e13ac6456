"""Wrong and odd inputs: all of them, and a check of who judges them."""

from functools import partial

import pytest
import torch
from faults import inputs

from minivae import VAE, validate


@pytest.mark.slow
def test_every_input_has_a_documented_result_or_a_clear_error():
    tried, unclear = inputs.inputs()
    assert unclear == []
    assert tried > 1800


def weights(model):
    with torch.no_grad():
        next(model.parameters()).add_(1)
    validate.whole("n", 0, 1, 5)


def drawn():
    torch.rand(1)
    validate.whole("n", 0, 1, 5)


def written(file):
    file.touch()
    validate.whole("n", 0, 1, 5)


def fail(text):
    raise ValueError(text)


@pytest.mark.parametrize(
    "word, call, expect",
    [
        ("accepted", lambda: 5, "n:"),
        ("gave", lambda: 5, lambda found: found == 4),
        ("RuntimeError", partial(torch.eye, -1), "n:"),
        ("RuntimeError", partial(torch.eye, -1), lambda found: True),
        ("ValueError from", partial(fail, "n: 5; give another"), "n:"),
        ("start", partial(validate.whole, "m", 0, 1, 5), "n:"),
        ("long", partial(validate.whole, "n" * 400, 0, 1, 5), "n"),
        ("long", partial(validate.whole, "n\n", 0, 1, 5), "n"),
        ("weights", partial(weights, VAE(2, (4,))), "n:"),
        ("random", drawn, "n:"),
    ],
)
def test_an_unclear_refusal_is_found_out(word, call, expect, tmp_path):
    assert word in inputs.judge(("case", call, expect), tmp_path)


def test_a_refusal_that_writes_is_found_out_and_a_clear_one_is_not(tmp_path):
    wrote = partial(written, tmp_path / "a")
    assert "a file" in inputs.judge(("case", wrote, "n:"), tmp_path)
    clear = partial(validate.whole, "n", 0, 1, 5)
    assert inputs.judge(("case", clear, "n:"), tmp_path) == ""


def test_a_refusal_without_a_way_out_is_found_out(monkeypatch, tmp_path):
    monkeypatch.setattr(inputs, "VERBS", "paint")
    clear = partial(validate.whole, "n", 0, 1, 5)
    assert "way out" in inputs.judge(("case", clear, "n:"), tmp_path)


@pytest.mark.parametrize(
    "printed",
    [
        (1, "", "error: n: give 5\n"),
        (2, "a result\n", "error: n: give 5\n"),
        (2, "", "Traceback\n"),
        (2, "", "error: n: give 5\nmore\n"),
        (2, "", "error: give 5\n"),
        (2, "", f"error: n: {'5' * 500}\n"),
    ],
    ids=str,
)
def test_a_command_that_is_unclear_is_found_out(printed):
    assert inputs.unclear(inputs.RefusedError(*printed), "--n:") != ""
    fine = inputs.RefusedError(2, "", "error: n: give 5\n")
    assert inputs.unclear(fine, "--n:") == ""
