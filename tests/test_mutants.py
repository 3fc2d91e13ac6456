"""Mutants are made in one place each, and what is listed is still there."""

import ast

import pytest
from conftest import ROOT
from mutants import equivalent, mutants, sources

TOY = '''"""A - b."""


class Toy:
    def middle(self, low: int | None, *, size: int = 2) -> float:
        """Half - way."""
        if not low:
            raise ValueError(f"é: {size - 1}")
        self.check("ü", low)
        mean = (
            low  # - 1
            - 0.5
        )
        return min(mean, low - 1, key=abs)
'''


@pytest.fixture(scope="module")
def toy():
    return {m.name: m for m in mutants("toy", TOY.encode())}


def test_what_a_module_consists_of_is_changed_and_no_text():
    names = [m.name for m in mutants("toy", TOY.encode())]
    assert names == [
        f"toy.Toy.middle: {what}"
        for what in (
            "2 to 3 (1)",
            "if True (1)",
            "if False (1)",
            "drop not (1)",
            "drop self.check() (1)",
            "- to + (1)",
            "0.5 to 1.5 (1)",
            "return None (1)",
            "min to max (1)",
            "- to + (2)",
            "1 to 2 (1)",
            "drop key= (1)",
        )
    ]


@pytest.mark.parametrize(
    ("what", "old", "new"),
    [
        ("drop not (1)", "not low", " low"),
        ("drop self.check() (1)", 'self.check("ü", low)', "pass"),
        ("- to + (1)", "- 0.5", "+ 0.5"),
        ("- to + (2)", "low - 1, ", "low + 1, "),
        ("if True (1)", "not low", "True"),
        ("return None (1)", "min(mean, low - 1, key=abs)", "None"),
        ("drop key= (1)", ", key=abs", ""),
    ],
)
def test_a_mutant_differs_in_one_place(toy, what, old, new):
    assert TOY.count(old) == 1
    changed = toy[f"toy.Toy.middle: {what}"].apply(TOY.encode())
    assert changed.decode() == TOY.replace(old, new)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("a = b <= c != d", ["<= to <", "!= to =="]),
        ("a = b is not (c)", ["is not to is"]),
        ("a = (b) and c not in d", ["and to or", "not in to in"]),
        ("a -= 2 * -b", ["drop a =", "-= to +=", "2 to 3", "* to /"]),
        ("a = [b for c in d if c]", ["if True", "if False"]),
        ("a: int = True", ["True to False"]),
        ("f(1, b=2, *c, **d)", ["drop f()", "1 to 2", "drop b=", "2 to 3"]),
        ("validate.whole('n', n, 1, 9)", ["drop validate.whole()", "1 to 2"]),
        ("@f(2)\ndef g(a: 1 = 0) -> 2: pass", ["drop @f(2)", "0 to 1"]),
    ],
)
def test_the_changes_of_a_line(line, found):
    names = [m.name.rpartition(" (")[0] for m in mutants("m", line.encode())]
    names = [n.partition(": ")[2] for n in names]
    assert [n for n in names if n not in ("drop -", "drop **=")] == found


def test_what_is_listed_as_equivalent_exists_and_has_a_proof():
    modules = {name.split(":")[0] for name in equivalent()}
    known = {
        mutant.name
        for module, path in sources().items()
        if any(m == module or m.startswith(f"{module}.") for m in modules)
        for mutant in mutants(module, path.read_bytes())
    }
    assert set(equivalent()) <= known
    text = (ROOT / "tests/equivalent.txt").read_text()
    assert all(f"{name}\n    " in text for name in equivalent())
    assert len(set(equivalent())) == len(equivalent())


def test_all_mutants_of_a_module_are_python():
    for module in ("objective", "models"):
        source = sources()[module].read_bytes()
        for mutant in mutants(module, source):
            ast.parse(mutant.apply(source))
