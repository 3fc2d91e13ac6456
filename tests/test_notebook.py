"""Claims, computed text and shown code."""

import inspect
import textwrap

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


def test_a_claim_that_holds_shows_what_was_measured_and_asked(monkeypatch):
    shown = []
    monkeypatch.setattr(
        notebook, "display", lambda data, raw: shown.append(data)
    )
    height, least = 3.14159, 2
    notebook.claim(
        "The sky is up.",
        all(height > one for one in (least, 1)),
        height=height,
        x=[1, 2],
    )
    (data,) = shown
    # the plain text is the same on every machine: nbval compares it
    assert data["text/plain"] == "✔ The sky is up."
    assert data["text/markdown"] == (
        "✔ The sky is up.<br><small>Measured: `height = 3.14`, `x = [1, 2]`. "
        "Asked: `all(height > one for one in (least, 1))`.</small>"
    )


def test_a_claim_that_does_not_hold_fails_with_what_was_measured(capsys):
    with pytest.raises(AssertionError, match=r"The sky.*height = 1\.5"):
        notebook.claim("The sky is up.", 1.5 > 2, height=1.5)
    assert not capsys.readouterr().out


def test_what_a_claim_measured_is_kept_until_the_next_set_up(capsys):
    notebook.setup()
    notebook.claim("The sky is up.", 3 > 2, height=3.14159, x=torch.ones(2))
    with pytest.raises(AssertionError):
        notebook.claim("It is down.", 3 < 2, height=3)
    assert notebook.measurements == [
        {
            "sentence": "The sky is up.",
            "measured": {"height": "3.14", "x": "[1.00, 1.00]"},
        }
    ]
    notebook.setup()
    assert notebook.measurements == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (7, "7"),
        (12345, "12,345"),
        (True, "True"),
        (0.0, "0"),
        (-99.64, "-99.6"),
        (1234.5, "1,234"),
        (0.0012345, "0.00123"),
        (1.2345e-8, "1.23e-08"),
        (float("nan"), "nan"),
        (torch.tensor(2.5), "2.50"),
        (torch.tensor([True, False]).numpy(), "[True, False]"),
        (torch.eye(2), "[[1.00, 0], [0, 1.00]]"),
        (torch.arange(300.0).view(100, 3), "100 x 3 values from 0 to 299"),
        ({(2, "test"): {"kl": 6.0}}, "{2, test: {kl: 6.00}}"),
        ("text", "text"),
    ],
    ids=str,
)
def test_a_value_is_shown_with_three_digits(value, expected):
    assert notebook.brief(value) == expected


@pytest.mark.parametrize(
    "value",
    [
        [1 / 3] * 100,
        {f"name {i}": i / 7 for i in range(50)},
        {"a": {"b": {"c": list(range(99))}}},
        "long " * 100,
    ],
)
def test_a_long_value_is_cut_short(value):
    text = notebook.brief(value)
    assert len(text) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" in text


def test_text_shows_numbers_and_its_plain_form_does_not(shown):
    notebook.say("The ELBO\n    is {elbo:.1f} nats.", elbo=-99.64)
    assert shown[0]["text/markdown"] == "The ELBO\n    is -99.6 nats."
    assert shown[0]["text/plain"] == "The ELBO is {elbo:.1f} nats."


def test_code_is_shown_as_it_stands_in_the_package(shown):
    notebook.show(gaussian_kl)
    source = inspect.getsource(gaussian_kl).rstrip()
    start = source.index("\n\n    Example:\n        >>> gaussian_kl(")
    end = source.index('\n    """\n    return', start)
    code = source[:start] + source[end:]
    assert shown[0]["text/plain"] == code
    assert shown[0]["text/markdown"] == f"```python\n{code}\n```"


class Twice:
    """Two for one.

    Example:
        >>> Twice()(3)
        6
    """

    text = """A text.

    Example:
        that is no docstring
    """

    @property
    def half(self):
        """One
        half.

        Example:
            >>> Twice().half

            0.5
        """
        return 0.5

    def __call__(self, x):
        """No example: it is short."""
        return 2 * x


HALF = '''@property
def half(self):
    """One
    half.
    """
    return 0.5'''
TWICE = f'''class Twice:
    """Two for one."""

    text = """A text.

    Example:
        that is no docstring
    """

{textwrap.indent(HALF, "    ")}

    def __call__(self, x):
        """No example: it is short."""
        return 2 * x'''


@pytest.mark.parametrize(
    ("value", "code"),
    [(Twice, TWICE), (Twice.half.fget, HALF)],
    ids=["class", "method"],
)
def test_examples_of_docstrings_are_not_shown(shown, value, code):
    notebook.show(value)
    assert shown[0]["text/plain"] == code


def test_several_objects_are_shown_one_after_the_other(shown):
    notebook.show(Twice.half.fget, Twice)
    assert shown[0]["text/plain"] == f"{HALF}\n\n\n{TWICE}"


def test_set_up_makes_random_numbers_repeat():
    notebook.setup(3)
    first = torch.rand(4)
    notebook.setup(3)
    assert torch.equal(torch.rand(4), first)
    notebook.setup(4)
    assert not torch.equal(torch.rand(4), first)
