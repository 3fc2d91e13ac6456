"""Make every fault happen, as often as it takes, and print what was lost."""

import importlib
import os
import sys

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is imported

ALL = ["SIGKILL"] * 12
SOFT = ["SIGINT", "SIGTERM"] * 4
# what is tried, in which module, how often, and what may not happen
FAULTS = [
    ("kills in the middle of a save", "runs.kills_in_saves", [120], "lost"),
    ("kills of a run", "runs.kills", [68], "lost"),
    ("kills of the command line", "runs.commands", [ALL], "lost"),
    ("workers killed under torchrun", "runs.workers", [], "lost"),
    ("processes started again", "runs.started_again", [], "lost"),
    ("interrupts of a run", "runs.interrupts", [70], "torn"),
    ("two interrupts in one step", "runs.second_interrupt", [], "torn"),
    ("signals to the command line", "runs.commands", [SOFT], "torn"),
    ("full disks", "runs.full_disks", [60], "lost"),
    ("read-only folders", "runs.read_only_folders", [], "lost"),
    ("corrupted checkpoints", "files.corruptions", [1250], "silent"),
    ("other files as checkpoints", "files.foreign", [], "unclear"),
    ("downloads raced", "downloads.races", [24], "failed"),
    ("bad mirrors, files, folders", "downloads.visits", [], "failed"),
    ("bad inputs", "inputs.inputs", [], "unclear"),
]


def main() -> int:
    """Print one line for each kind; the status is 1 if any was not 0."""
    total = 0
    for name, function, args, word in FAULTS:
        module, function = function.split(".")
        call = getattr(importlib.import_module(f"faults.{module}"), function)
        tried, *bad = call(*args)
        found = bad if isinstance(bad[0], int) else list(map(len, bad))
        text = f"{found[0]} {word}"
        if len(found) > 1:  # refused, but not clearly
            text += f", {found[1]} unclear"
        print(f"{name:32}{tried:6} tried, {text}", flush=True)
        for line in [x for one in bad if isinstance(one, list) for x in one]:
            print(f"    {line}")
        total += sum(found)
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main())
