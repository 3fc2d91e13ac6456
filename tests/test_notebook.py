"""Claims, computed text and shown code."""

import inspect

import pytest
import torch

from minivae import notebook
from minivae.objective import gaussian_kl


@pytest.fixture
def shown(monkeypatch):
    bundles = []
    monkeypatch.setattr(
        notebook, "display", lambda bundle, raw: bundles.append(bundle)
    )
    return bundles


def test_a_claim_that_holds_prints_its_sentence_and_no_number(capsys):
    notebook.claim("The sky is up.", 3 > 2, height=3)
    assert capsys.readouterr().out == "✔ The sky is up.\n"


def test_a_claim_that_does_not_hold_fails_with_what_was_measured(capsys):
    with pytest.raises(AssertionError, match=r"The sky.*height = 1\.5"):
        notebook.claim("The sky is up.", 1.5 > 2, height=1.5)
    assert not capsys.readouterr().out


def test_text_shows_numbers_and_its_plain_form_does_not(shown):
    notebook.say("The ELBO\n    is {elbo:.1f} nats.", elbo=-99.64)
    assert shown[0]["text/markdown"] == "The ELBO\n    is -99.6 nats."
    assert shown[0]["text/plain"] == "The ELBO is {elbo:.1f} nats."


def test_code_is_shown_as_it_stands_in_the_package(shown):
    notebook.show(gaussian_kl)
    source = inspect.getsource(gaussian_kl).rstrip()
    assert shown[0]["text/plain"] == source
    assert shown[0]["text/markdown"] == f"```python\n{source}\n```"


def test_set_up_makes_random_numbers_repeat():
    notebook.setup(3)
    first = torch.rand(4)
    notebook.setup(3)
    assert torch.equal(torch.rand(4), first)
    notebook.setup(4)
    assert not torch.equal(torch.rand(4), first)
