"""Digits on disk -> tensors -> batches.

A whole data set is one uint8 tensor. A batch is one gather from it, on the
device where it lies: no loader, no workers.
"""

import gzip
import hashlib
import http.client
import os
import sys
import tempfile
import time
import urllib.request
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from minivae import validate

# sha256 of the four extracted MNIST files (LeCun et al. 1998)
MNIST_SHA256 = {
    "train-images-idx3-ubyte": (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": (
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
    ),
    "t10k-images-idx3-ubyte": (
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": (
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
    ),
}
# name -> torchvision class and https mirrors, tried in order
TORCHVISION = {
    "mnist": ("MNIST", ["https://ossci-datasets.s3.amazonaws.com/mnist/"]),
    "fashion-mnist": (
        "FashionMNIST",
        [
            "https://github.com/zalandoresearch/fashion-mnist/raw/master/"
            "data/fashion/"
        ],
    ),
    "kmnist": ("KMNIST", ["https://codh.rois.ac.jp/kmnist/dataset/kmnist/"]),
}
NAMES = ("auto", "mnist", "fashion-mnist", "kmnist", "builtin")
SPLITS = ("train", "test")
TEST_SEED = 0  # the binarised test set is one and the same everywhere


class DatasetError(RuntimeError):
    """The files of a data set are missing, altered or unreachable."""


@dataclass(frozen=True)
class Digits:
    """Images with their labels.

    Attributes:
        images: uint8, (N, 28, 28); 0 is paper, 255 is ink.
        labels: int64, (N,), 0 to 9.
        source: where they come from, such as "mnist" or "builtin".
        split: "train" or "test".
    """

    images: Tensor
    labels: Tensor
    source: str
    split: str

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        for name, value in (("images", images), ("labels", labels)):
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"{name}: expected a torch tensor, got "
                    f"{type(value).__name__}; convert it with torch.tensor"
                )
        if images.dtype != torch.uint8 or images.ndim != 3 or not len(images):
            raise ValueError(
                "images: expected at least one image as uint8 (N, 28, 28) in "
                f"0 to 255, got {images.dtype} {tuple(images.shape)}; scale "
                "and convert with (255 * x).round().to(torch.uint8)"
            )
        if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
            raise ValueError(
                f"labels: expected int64 ({len(images)},), one for each "
                f"image, got {labels.dtype} {tuple(labels.shape)}; "
                "convert with .long() and give one label an image"
            )
        low, high = labels.min().item(), labels.max().item()
        if low < 0 or high > 9:
            raise ValueError(
                f"labels: expected 0 to 9, got {low} to {high}; remove or "
                "renumber the others"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        return f"Digits({self.source}, {self.split}, {len(self):,} images)"

    def __getitem__(self, rows: Tensor | slice) -> "Digits":
        """The digits in these rows (a slice, a mask or indices)."""
        return replace(
            self, images=self.images[rows], labels=self.labels[rows]
        )

    def to(self, device: torch.device | str) -> "Digits":
        """The same digits on another device."""
        if self.images.device == torch.device(device):
            return self
        return replace(
            self, images=self.images.to(device), labels=self.labels.to(device)
        )

    def binarized(self, seed: int = TEST_SEED) -> "Digits":
        """Each pixel drawn once as 0 or 255, ink with probability x.

        Salakhutdinov & Murray 2008. The draw is made on the CPU, so that
        all machines evaluate on the same binary images.
        """
        validate.whole("seed", seed, 0, 0)
        draw = seeded("cpu", "binarized", self.source, self.split, seed)
        ink = _draw_pixels(self.images.cpu(), draw)
        return replace(self, images=(255 * ink).to(self.images.device))


def seeded(device: torch.device | str, *key: str | int) -> torch.Generator:
    """A generator whose stream is a function of the key alone.

    Args:
        device: where it draws.
        key: what the stream is for, such as ("order", seed, epoch).
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "big") >> 1  # 63 bits: a signed int64
    return torch.Generator(device).manual_seed(seed)


def _draw_pixels(images: Tensor, generator: torch.Generator) -> Tensor:
    # r is one of 0 .. 254, so that r < X has probability exactly X / 255
    r = torch.randint(
        255,
        images.shape,
        dtype=torch.uint8,
        device=images.device,
        generator=generator,
    )
    return (images > r).to(torch.uint8)


def batches(
    digits: Digits,
    size: int,
    seed: int = 0,
    epoch: int = 0,
    device: torch.device | str = "cpu",
    binarize: bool = True,
    shuffle: bool = True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Go once through the digits; the last batch may be smaller.

    Order and pixels are functions of (seed, epoch) and nothing else.

    Args:
        digits: the data; moved to the device if it is not there yet.
        size: digits in a batch, at least 1.
        seed, epoch: select order and binarisation.
        device: where the batches are made.
        binarize: draw each pixel as 0 or 1, ink with probability x, anew
            in each epoch; otherwise grey pixels.
        shuffle: False keeps the order of the digits.

    Yields:
        x: float32 (B, 784), in {0, 1} or [0, 1]; y: int64 (B,).
    """
    validate.kind("digits", digits, Digits)
    validate.whole("size", size, 1, 128)
    validate.whole("seed", seed, 0, 0)
    validate.whole("epoch", epoch, 0, 0)
    digits = digits.to(device)
    images, labels = digits.images.flatten(1), digits.labels
    order = torch.arange(len(digits))
    if shuffle:
        order = torch.randperm(
            len(digits), generator=seeded("cpu", "order", seed, epoch)
        )
    for i, rows in enumerate(order.to(device).split(size)):
        x = images[rows]
        if binarize:
            draw = seeded(device, "pixels", seed, epoch, i)
            x = _draw_pixels(x, draw).float()
        else:
            x = x.float() / 255
        yield x, labels[rows]


def load_digits(
    name: str = "auto", split: str = "train", root: str | Path | None = None
) -> Digits:
    """Load a data set, and fetch it first if it is not there.

    Args:
        name: "mnist", "fashion-mnist", "kmnist", "builtin" (1,797 digits
            that come with scikit-learn, made to look like MNIST) or "auto":
            $MINIVAE_DIGITS if it is set, else MNIST if it is there or can
            be fetched in a few seconds, else the built-in digits with one
            line that says so.
        split: "train" or "test".
        root: folder with MNIST/raw/... in it; else $MINIVAE_DATA, else the
            user's cache folder.

    Raises:
        ValueError: unknown name or split.
        DatasetError: a set asked for by name is altered or unreachable.
    """
    if name == "auto":
        name = os.environ.get("MINIVAE_DIGITS") or "auto"
    validate.choice("name", name, NAMES)
    validate.choice("split", split, SPLITS)
    if name == "builtin":
        return _builtin(split)
    folder = _root(root)
    if name != "auto":
        return _torchvision(name, split, folder, seconds=60)
    try:
        return _torchvision("mnist", split, folder, seconds=10)
    except DatasetError as error:
        print(f"Using the built-in digits: {error}")
        return _builtin(split)


def _root(root: str | Path | None) -> Path:
    if root is not None:
        if not str(root):
            raise ValueError(
                "root: expected a folder, got an empty path; leave it out "
                "to use $MINIVAE_DATA or the cache folder"
            )
        return Path(root)
    if os.environ.get("MINIVAE_DATA"):
        return Path(os.environ["MINIVAE_DATA"])
    return cache_folder()


def cache_folder() -> Path:
    """The user's folder for what can be fetched or computed again."""
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "minivae"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "minivae"


def _torchvision(name: str, split: str, root: Path, seconds: float) -> Digits:
    from torchvision import datasets

    class_name, mirrors = TORCHVISION[name]
    folder = root / class_name / "raw"
    prefix = "train" if split == "train" else "t10k"
    deadline = time.monotonic() + seconds
    for archive, md5 in getattr(datasets, class_name).resources:
        file = folder / archive.removesuffix(".gz")
        if file.name.startswith(prefix) and (wrong := _fault(name, file)):
            _fetch([m + archive for m in mirrors], md5, file, wrong, deadline)
    try:
        return Digits(
            datasets.mnist.read_image_file(
                folder / f"{prefix}-images-idx3-ubyte"
            ),
            datasets.mnist.read_label_file(
                folder / f"{prefix}-labels-idx1-ubyte"
            ),
            name,
            split,
        )
    except Exception as error:  # the many ways of not being an IDX file
        raise DatasetError(
            f"{folder}: {prefix}-* is not readable as {name} ({error}); "
            "delete these files and run again to fetch them anew"
        ) from error


def _fault(name: str, file: Path) -> str:
    """What is wrong with a file on disk; empty if nothing is."""
    if not file.is_file():
        return f"{file}: not found"
    if name != "mnist":
        return ""
    with open(file, "rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found == MNIST_SHA256[file.name]:
        return ""
    return f"{file}: sha256 {found} instead of {MNIST_SHA256[file.name]}"


def _fetch(
    urls: list[str], md5: str, file: Path, wrong: str, deadline: float
) -> None:
    """Put a file of a data set in its place, whole or not at all."""
    reason = ""
    for url in urls:
        try:
            archive = _download(url, deadline)
            if hashlib.md5(archive, usedforsecurity=False).hexdigest() != md5:
                raise OSError("the archive has another md5 than expected")
            content = gzip.decompress(archive)
            file.parent.mkdir(parents=True, exist_ok=True)
            # each process writes its own file; the last one to finish wins
            with tempfile.TemporaryDirectory(dir=file.parent) as folder:
                part = Path(folder) / file.name
                part.write_bytes(content)
                os.replace(part, file)
            return
        except (
            OSError,
            EOFError,
            zlib.error,
            http.client.HTTPException,
        ) as error:
            reason = str(error)[:80]
    raise DatasetError(
        f"{wrong}, and fetching it failed ({reason}); put the file there, or "
        "set MINIVAE_DATA to the folder that has MNIST/raw in it"
    )


def _download(url: str, deadline: float) -> bytes:
    content = bytearray()
    # the addresses above are all https
    with urllib.request.urlopen(url, timeout=4) as response:  # noqa: S310
        while chunk := response.read1(1 << 16):
            content += chunk
            if time.monotonic() > deadline:
                raise OSError("too slow")
    return bytes(content)


def _builtin(split: str) -> Digits:
    """Scikit-learn's 8x8 digits, drawn as MNIST draws its own.

    LeCun et al. 1998: 20x20 pixels, centred by mass in 28x28.
    """
    from sklearn.datasets import load_digits as load_small

    small = load_small()
    rows = torch.arange(len(small.target)) % 5 == 4  # a fifth is for testing
    if split == "train":
        rows = ~rows
    images = torch.from_numpy(small.images)[rows, None].float() / 16
    # a margin of one pixel on each side becomes 2.5, so 8 x 8 fills 20 x 20
    images = pad(images, (1, 1, 1, 1))
    images = interpolate(images, size=(25, 25), mode="bicubic")[:, 0]
    images = ((images - 0.35) / 0.4).clamp(0, 1)  # as crisp as MNIST
    wide = pad(images, (16, 16, 16, 16))  # (N, 57, 57)
    place = torch.arange(57.0)
    mass = wide.sum((1, 2))
    top = ((wide.sum(2) @ place) / mass - 13.5).round().long().tolist()
    left = ((wide.sum(1) @ place) / mass - 13.5).round().long().tolist()
    centred = torch.stack(
        [w[t : t + 28, f : f + 28] for w, t, f in zip(wide, top, left)]
    )
    return Digits(
        (255 * centred).round().to(torch.uint8),
        torch.from_numpy(small.target)[rows].long(),
        "builtin",
        split,
    )
