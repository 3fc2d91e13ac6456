"""Checkpoints that are damaged, and other files in their place."""

import gzip
import os
import random
import re
import zipfile
from unittest.mock import patch

import torch
from conftest import same

from faults.children import noise
from faults.runs import Tried, folder
from minivae import VAE, CheckpointError, TrainConfig, checkpoint, fit

BLOCK = 512


def load_unchecked(path):
    """Without a look at the checksums, as torch does it."""
    with patch.object(zipfile.ZipFile, "testzip", return_value=None):
        return checkpoint.load(path)


# --- ways to damage a file: (content, of an older file, draw) -> bytes ------


def cut(old, older, draw):
    return old[: draw.randrange(len(old))]


def flip(old, older, draw):
    at, bit = draw.randrange(len(old)), 1 << draw.randrange(8)
    return old[:at] + bytes([old[at] ^ bit]) + old[at + 1 :]


def flip_in_names(old, older, draw):
    """One bit of the list of records, with their places and checksums."""
    start = old.index(b"PK\1\2")
    return old[:start] + flip(old[start:], older, draw)


def blank(old, older, draw):
    at = draw.randrange(len(old)) // 4096 * 4096
    return old[:at] + bytes(len(old[at : at + 4096])) + old[at + 4096 :]


def append(old, older, draw):
    return old + draw.randbytes(draw.randrange(1, 100_000))


def prepend(old, older, draw):
    return draw.randbytes(draw.randrange(1, 10_000)) + old


def swap(old, older, draw):
    blocks = [old[i : i + BLOCK] for i in range(0, len(old), BLOCK)]
    a, b = draw.sample(range(len(blocks) - 1), 2)
    blocks[a], blocks[b] = blocks[b], blocks[a]
    return b"".join(blocks)


def insert(old, older, draw):
    at = draw.randrange(len(old))
    return old[:at] + draw.randbytes(1) + old[at:]


def remove(old, older, draw):
    at = draw.randrange(len(old))
    return old[:at] + old[at + 1 :]


def mix(old, older, draw):
    """What a save in place leaves if it is stopped."""
    at = draw.randrange(1, len(older))
    return old[:at] + older[at:]


def repeat(old, older, draw):
    """A damaged copy with a whole one behind it."""
    return flip(old, older, draw) + old


DAMAGES = [flip] * 8 + [flip_in_names] * 3
DAMAGES += [cut, cut, blank, append, prepend, swap, insert, remove, mix]
DAMAGES += [repeat]


def checkpoints(home):
    """The bytes of a checkpoint, and of an older one of the same run."""
    found, path = [], home / "run.pt"
    for epochs in (1, 2):
        config = TrainConfig(epochs=epochs, batch_size=64, device="cpu")
        fit(VAE(2, (8,)), noise(), config, path, progress=False)
        found.append(path.read_bytes())
    return found[::-1]


def corruptions(n, load=checkpoint.load) -> tuple[int, list, list]:
    """Damage a checkpoint n times.

    Returns:
        How many, those that loaded as another state, and those that were
        refused without a clear error.
    """
    silent, unclear, draw = [], [], random.Random(n)
    with folder() as home:
        old, older = checkpoints(home)
        path = home / "a.pt"
        states = []
        for content in (old, older):
            path.write_bytes(content)
            states.append(checkpoint.load(path))
        for i in range(n):
            damage = DAMAGES[i % len(DAMAGES)]
            path.write_bytes(damage(old, older, draw))
            name = f"{i}: {damage.__name__}"
            try:
                # a bit between the records, or in a date, changes nothing,
                # and a mix may be all of the older file but for such bits
                found = load(path)
                if not any(same(found, one, "no exception") for one in states):
                    silent.append(name)
            except Exception as error:
                unclear += [name] * (not clear(error, path))
    return n, silent, unclear


def clear(error, path):
    """Whether it is one CheckpointError that gives path and size."""
    text = str(error)
    return (
        isinstance(error, CheckpointError)
        and text.startswith(f"{path} ({path.stat().st_size} bytes)")
        and len(text) <= 400
        and "weights" not in text.lower()  # nor how to load it nevertheless
    )


# --- other files: (path, content of a checkpoint, folder to be made) --------


class Code:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def archive(path, old, ran):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "a letter")


def empty_archive(path, old, ran):
    zipfile.ZipFile(path, "w").close()


def raw_code(path, old, ran):
    path.write_bytes(b"cos\nmkdir\n(V%s\ntR." % bytes(ran))


def code(path, old, ran):
    torch.save({"format": 1, "model": Code(ran)}, path)


def old_code(path, old, ran):
    state = {"format": 1, "model": Code(ran)}
    torch.save(state, path, _use_new_zipfile_serialization=False)


OTHERS = {
    "empty": lambda path, *_: path.touch(),
    "text": lambda path, *_: path.write_text("a letter\n" * 99),
    "picture": lambda path, *_: path.write_bytes(b"\x89PNG\r\n" + bytes(99)),
    "array": lambda path, *_: path.write_bytes(b"\x93NUMPY\1\0" + bytes(99)),
    "gzip": lambda path, old, _: path.write_bytes(gzip.compress(old)),
    "folder": lambda path, *_: path.mkdir(),
    "pipe": lambda path, *_: os.mkfifo(path),
    "device": lambda path, *_: path.symlink_to("/dev/zero"),
    "tensors": lambda path, *_: torch.save({"w": torch.zeros(9)}, path),
    "tensor": lambda path, *_: torch.save(torch.zeros(9), path),
    "bool": lambda path, *_: torch.save({"format": True}, path),
    **{f.__name__: f for f in (archive, empty_archive)},
    **{f.__name__: f for f in (raw_code, code, old_code)},
}


def foreign(load=checkpoint.load) -> Tried:
    """Put other kinds of files in the place of a checkpoint."""
    wrong = []
    with folder() as home:
        old, ran = checkpoints(home)[0], home / "ran"
        for name, make in OTHERS.items():
            path = home / name
            make(path, old, ran)
            try:
                load(path)
                wrong.append(f"{name}: loaded")
            except Exception as error:
                if not clear(error, path):
                    wrong.append(f"{name}: {error!r}")
            if ran.exists():
                wrong.append(f"{name}: its code ran")
                ran.rmdir()
        newer = home / "newer"
        torch.save({"format": checkpoint.FORMAT + 1}, newer)
        try:
            load(newer)
            wrong.append("newer: loaded")
        except Exception as error:
            if not re.fullmatch(rf"{newer}: format .*upgrade.*", str(error)):
                wrong.append(f"newer: {error!r}")
    return len(OTHERS) + 1, wrong
