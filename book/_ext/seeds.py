"""Run chapters with other seeds and keep which of their claims still hold.

    python book/_ext/seeds.py                       # what is out of date
    python book/_ext/seeds.py 05_a_map_of_digits    # one or several

Without it nobody would know whether a claim of the book is a fact or the luck
of one seed. Each chapter runs with three seeds on MNIST and on the built-in
digits: torch's generators are seeded anew, its claims are noted instead of
being enforced. The appendix of claims is made from the table; a claim that
does not hold everywhere has to say that it speaks of one run.
"""

import json
import os
import sys
from pathlib import Path

import nbformat

sys.path.append(str(Path(__file__).resolve().parent))
import appendices
import refresh

SEEDS = (0, 1, 2)  # 0 is the chapter as it is
DIGITS = ("mnist", "builtin")
# before the first cell of a chapter: its seeds and its claims
BEFORE = """
import torch
import minivae.notebook

if shift := {shift}:
    class Shifted(torch.Generator):
        def manual_seed(self, seed):
            return super().manual_seed(seed + shift)

    def seed_anew(seed, old=torch.manual_seed):
        return old(seed + shift)

    torch.Generator, torch.manual_seed = Shifted, seed_anew

def claim(sentence, holds, **measured):
    values = dict()
    for name, value in measured.items():
        values[name] = minivae.notebook.brief(value)
    minivae.notebook.measurements.append(
        dict(sentence=sentence, holds=bool(holds), measured=values)
    )

minivae.notebook.claim = claim
"""


def run(path: Path, digits: str, seed: int) -> list[dict]:
    """Each claim of a chapter in one run: sentence, holds, measured."""
    from minivae.data import cache_folder

    notebook = nbformat.read(path, as_version=4)
    first = BEFORE.replace("{shift}", str(1000 * seed))
    notebook.cells.insert(0, nbformat.v4.new_code_cell(first))
    before = dict(os.environ)
    os.environ["MINIVAE_DIGITS"] = digits
    if seed:  # fit_once does not know that the seed is another
        os.environ["MINIVAE_CACHE"] = str(cache_folder() / f"seed-{seed}")
    try:
        return refresh.execute(notebook, path.parent)["claims"]
    finally:
        os.environ.clear()
        os.environ.update(before)


def measure(path: Path) -> dict:
    """The table of a chapter: sentence -> digits -> one entry per seed."""
    found: dict = {}
    for digits in DIGITS:
        for seed in SEEDS:
            print(f"{path.stem}, {digits}, seed {seed}", flush=True)
            for one in run(path, digits, seed):
                place = found.setdefault(one["sentence"], {})
                place.setdefault(digits, []).append(
                    {"holds": one["holds"], **one["measured"]}
                )
    return found


def out_of_date() -> list[str]:
    """Chapters that compute something else than when the table was made."""
    table = appendices.seeds_table()
    return [
        path.stem
        for path in appendices.chapters()
        if table.get(path.stem, {}).get("computing") != computing(path)
    ]


def computing(path: Path) -> str:
    """Hash of what a chapter computes."""
    return appendices.computing(nbformat.read(path, as_version=4))


def main(names: list[str]) -> None:
    """Measure the named chapters, or those that are out of date."""
    known = {path.stem: path for path in appendices.chapters()}
    for name in names or out_of_date():
        stem = Path(name).stem
        if stem not in known:
            sys.exit(f"no chapter {name}; there are {', '.join(known)}")
        found = measure(known[stem])
        entry = {"computing": computing(known[stem]), "claims": found}
        table = {**appendices.seeds_table(), stem: entry}
        text = json.dumps(table, indent=1, sort_keys=True) + "\n"
        appendices.SEEDS.write_text(text, encoding="utf-8", newline="\n")
        for sentence, runs in found.items():
            for digits, entries in runs.items():
                if not all(e["holds"] for e in entries):
                    print(f"not in each run on {digits}: {sentence} {entries}")
    appendices.main()


if __name__ == "__main__":
    main(sys.argv[1:])
