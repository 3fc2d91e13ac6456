"""Digits on disk -> tensors -> batches.

A whole data set is one uint8 tensor. A batch is one gather from it, on the
device where it lies: no loader, no workers.
"""

import contextlib
import gzip
import hashlib
import http.client
import math
import os
import secrets
import sys
import threading
import time
import urllib.request
import zlib
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import ClassVar, Self

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
    "mnist": (
        "MNIST",
        [
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ],
    ),
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
LARGEST = 1 << 26  # bytes; more than any of the archives
TEST_SEED = 0  # the binarised test set is one and the same everywhere


class DatasetError(RuntimeError):
    """The files of a data set are missing, altered or unreachable.

    Example:
        >>> raise DatasetError("train-images-idx3-ubyte: not found")
        Traceback (most recent call last):
            ...
        minivae.data.DatasetError: train-images-idx3-ubyte: not found
    """


class Rows:
    """What training and evaluation need of data: rows x with conditions y.

    Its two kinds are `Digits`, images with labels, and `Table`, rows of any
    numbers. Both are frozen dataclasses of tensors with N rows each, and
    the first field is always there.

    Example:
        >>> rows = Table(torch.eye(3))
        >>> isinstance(rows, Rows), len(rows), len(rows[rows.values[:, 0] > 0])
        (True, 3, 1)
    """

    source: str
    split: str
    __dataclass_fields__: ClassVar[dict]

    @property
    def width(self) -> int:
        """D, numbers in a row of x."""
        raise NotImplementedError

    @property
    def y(self) -> Tensor | None:
        """Labels (N,) or conditions (N, C), where there are any."""
        raise NotImplementedError

    def x(self, rows: Tensor, draw: torch.Generator | None = None) -> Tensor:
        """These rows, float32 (B, D): as they are, or drawn as 0 or 1."""
        raise NotImplementedError

    def binarized(self, seed: int = TEST_SEED) -> Self:
        """Each value drawn once as nothing or all, all with probability x."""
        raise NotImplementedError

    def _tensors(self) -> dict[str, Tensor]:
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v for k, v in found.items() if isinstance(v, Tensor)}

    def __len__(self) -> int:
        first = next(iter(self.__dataclass_fields__))
        return len(getattr(self, first))

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """The data in these rows (a slice, a mask or indices)."""
        return replace(
            self, **{k: v[rows] for k, v in self._tensors().items()}
        )

    @property
    def device(self) -> torch.device:
        """Where the data lie."""
        return next(iter(self._tensors().values())).device

    def to(self, device: torch.device | str) -> Self:
        """The same data on another device."""
        if self.device == torch.device(device):
            return self
        return replace(
            self, **{k: v.to(device) for k, v in self._tensors().items()}
        )

    def digest(self) -> str:
        """A hash of the content, to tell data sets of equal size apart."""
        found = hashlib.blake2b(digest_size=12)
        for name, value in self._tensors().items():
            found.update(f"{name} {tuple(value.shape)}".encode())
            found.update(value.cpu().contiguous().numpy().data)
        return found.hexdigest()


def _check_conditions(conditions: Tensor | None, n: int) -> None:
    if conditions is None:
        return
    if not isinstance(conditions, Tensor):
        raise TypeError(
            "conditions: expected a torch tensor, got "
            f"{type(conditions).__name__}; convert it with torch.tensor"
        )
    if (
        conditions.dtype != torch.float32
        or conditions.ndim != 2
        or len(conditions) != n
    ):
        raise ValueError(
            f"conditions: expected float32 ({n}, C), a row for each of x and "
            f"NaN where not known, got {conditions.dtype} "
            f"{tuple(conditions.shape)}; stack the columns with torch.stack"
        )


@dataclass(frozen=True)
class Digits(Rows):
    """Images with their labels.

    Attributes:
        images: uint8, (N, 28, 28); 0 is paper, 255 is ink.
        labels: int64, (N,), 0 to 9.
        source: where they come from, such as "mnist" or "builtin".
        split: "train" or "test".
        conditions: what a CVAE with several conditions is told, float32
            (N, C), NaN where not known; None tells it the labels.

    Raises:
        TypeError, ValueError: images, labels or conditions of another type,
            shape or range.

    Example:
        >>> images = torch.zeros(2, 28, 28, dtype=torch.uint8)
        >>> digits = Digits(images, torch.tensor([3, 5]), "blank", "train")
        >>> digits[digits.labels == 5], digits.x(torch.tensor([0, 1])).shape
        (Digits(blank, train, 1 images), torch.Size([2, 784]))
    """

    images: Tensor
    labels: Tensor
    source: str
    split: str
    conditions: Tensor | None = None

    def __post_init__(self) -> None:
        images, labels = self.images, self.labels
        for name, value in (("images", images), ("labels", labels)):
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"{name}: expected a torch tensor, got "
                    f"{type(value).__name__}; convert it with torch.tensor"
                )
        if (
            images.dtype != torch.uint8
            or images.ndim != 3
            or 0 in images.shape
        ):
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
        _check_conditions(self.conditions, len(images))

    def __repr__(self) -> str:
        return f"Digits({self.source}, {self.split}, {len(self):,} images)"

    @property
    def width(self) -> int:
        """D, numbers in a row of x."""
        return self.images[0].numel()

    @property
    def y(self) -> Tensor:
        """The conditions (N, C) if there are any, else the labels (N,)."""
        return self.labels if self.conditions is None else self.conditions

    def x(self, rows: Tensor, draw: torch.Generator | None = None) -> Tensor:
        """Pixels of these images, float32 (B, D): grey, or drawn as 0 or 1."""
        x = self.images.flatten(1).index_select(0, rows)
        return x.float() / 255 if draw is None else _draw_ink(x, draw).float()

    def binarized(self, seed: int = TEST_SEED) -> Self:
        """Each pixel drawn once as 0 or 255, ink with probability x.

        Salakhutdinov & Murray 2008. The draw is made on the CPU, so that
        all machines evaluate on the same binary images.
        """
        validate.whole("seed", seed, 0, 0)
        draw = seeded("cpu", "binarized", self.source, self.split, seed)
        ink = _draw_ink(self.images.cpu(), draw)
        return replace(self, images=ink.mul_(255).to(self.device, torch.uint8))


@dataclass(frozen=True)
class Table(Rows):
    """Rows of any numbers: measurements, sounds, points, colour pictures.

    Attributes:
        values: float32, (N, D). For a Bernoulli likelihood they must lie in
            [0, 1] and are the probabilities of a 1, as grey pixels are.
        conditions: what a CVAE is told, float32 (N, C), NaN where not known;
            or labels, int64 (N,); or None.
        source: a name for the data.
        split: "train" or "test".

    Raises:
        TypeError, ValueError: values or conditions of another type or shape,
            or values that are not finite.

    Example:
        >>> Table(torch.zeros(5, 2), source="points")
        Table(points, train, 5 x 2)
    """

    values: Tensor
    conditions: Tensor | None = None
    source: str = "table"
    split: str = "train"

    def __post_init__(self) -> None:
        shape = tuple(getattr(self.values, "shape", (0,)))
        validate.rows("values", self.values, shape[-1] if shape else 0)
        if len(shape) != 2 or 0 in shape:
            raise ValueError(
                f"values: expected at least one row as float32 (N, D), got "
                f"{shape}; use flatten(1) on images"
            )
        y, n = self.conditions, shape[0]
        if not (isinstance(y, Tensor) and y.shape == (n,)):
            _check_conditions(y, n)
        elif y.dtype != torch.int64:
            raise ValueError(
                f"conditions: expected labels as int64 ({n},), got {y.dtype}; "
                "convert with .long(), or give real numbers as (N, 1)"
            )

    def __repr__(self) -> str:
        size = " x ".join(f"{n:,}" for n in self.values.shape)
        return f"Table({self.source}, {self.split}, {size})"

    @property
    def width(self) -> int:
        """D, numbers in a row of x."""
        return self.values.shape[1]

    @property
    def y(self) -> Tensor | None:
        """The conditions."""
        return self.conditions

    def x(self, rows: Tensor, draw: torch.Generator | None = None) -> Tensor:
        """These rows, float32 (B, D): as they are, or drawn as 0 or 1."""
        x = self.values[rows]
        return x if draw is None else _draw_ones(x, draw)

    def binarized(self, seed: int = TEST_SEED) -> Self:
        """Each value drawn once as 0 or 1, 1 with probability x."""
        validate.whole("seed", seed, 0, 0)
        validate.rows("values", self.values, self.width, unit=True)
        draw = seeded("cpu", "binarized", self.source, self.split, seed)
        values = _draw_ones(self.values.cpu(), draw)
        return replace(self, values=values.to(self.device))


def seeded(device: torch.device | str, *key: str | int) -> torch.Generator:
    """A generator whose stream is a function of the key alone.

    Args:
        device: where it draws.
        key: what the stream is for, such as ("order", seed, epoch).

    Returns:
        A generator on that device.

    Example:
        >>> a, b, c = (seeded("cpu", "order", i) for i in (7, 7, 8))
        >>> a.initial_seed() == b.initial_seed()
        True
        >>> a.initial_seed() == c.initial_seed()
        False
    """
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "big") >> 1  # 63 bits: a signed int64
    return torch.Generator(device).manual_seed(seed)


def _draw_ink(images: Tensor, generator: torch.Generator) -> Tensor:
    # 16 random bits a pixel, four pixels from one draw of 64. Ink where
    # r < 257 X: with probability X / 255 to within 1 / 65,536
    n = images.numel()
    bits = torch.empty(-(-n // 4), dtype=torch.int64, device=images.device)
    bits.random_(-(2**63), None, generator=generator)
    r = bits.view(torch.int16)[:n].view(images.shape)
    r.clamp_(max=2**15 - 2)  # so that 255 is always ink
    # in place: no pass over new memory, and a result of the same type is
    # compared many at once
    return images.to(torch.int16).mul_(257).sub_(2**15).gt_(r)


def _draw_ones(values: Tensor, generator: torch.Generator) -> Tensor:
    chance = torch.rand(
        values.shape, device=values.device, generator=generator
    )
    return (chance < values).float()


def batches(
    digits: Rows,
    size: int,
    seed: int = 0,
    epoch: int = 0,
    device: torch.device | str = "cpu",
    binarize: bool = True,
    shuffle: bool = True,
    withhold: float = 0.0,
    start: int = 0,
    share: tuple[int, int] = (0, 1),
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Go once through the digits; the last batch may be smaller.

    Order, pixels and what is withheld are functions of (seed, epoch) and
    nothing else.

    Args:
        digits: the data; moved to the device if it is not there yet.
        size: digits in a batch, at least 1.
        seed, epoch: select order, binarisation and what is withheld.
        device: where the batches are made.
        binarize: draw each pixel as 0 or 1, ink with probability x, anew
            in each epoch; otherwise grey pixels.
        shuffle: False keeps the order of the digits.
        withhold: probability, in [0, 1], that a condition of a digit is
            replaced by NaN, anew in each epoch, each one on its own.
        start: number of the first batch; those before it are left out.
        share: (i, n): of each batch only every n-th row, from row i on,
            for one of n processes.

    Yields:
        x: float32 (B, 784), in {0, 1} or [0, 1]; y: int64 (B,), or float32
        (B, C) where the data have several conditions.

    Raises:
        TypeError, ValueError: an option is out of range, or the data are not
            of the kind that it asks for.

    Example:
        >>> data = Table(torch.zeros(5, 3))
        >>> [tuple(x.shape) for x, y in batches(data, size=2)]
        [(2, 3), (2, 3), (1, 3)]
    """
    validate.kind("digits", digits, Digits, Table)
    validate.whole("size", size, 1, 128)
    validate.whole("seed", seed, 0, 0)
    validate.whole("epoch", epoch, 0, 0)
    digits = digits.to(validate.device(device))
    y = digits.y
    if binarize and isinstance(digits, Table):
        validate.rows("values", digits.values, digits.width, unit=True)
    _check_withhold(withhold, y)
    order = torch.arange(len(digits))
    if shuffle:
        order = torch.randperm(
            len(digits), generator=seeded("cpu", "order", seed, epoch)
        )
    whole = order.to(device).split(size)
    first, n = share
    for i, rows in enumerate(whole[start:], start):
        key = (seed, epoch, i, *(share if n > 1 else ()))
        rows = rows[first::n]
        draw = seeded(device, "pixels", *key) if binarize else None
        told = None if y is None else y[rows]
        if withhold and told is not None:
            hide = seeded(device, "withhold", *key)
            chance = torch.rand(told.shape, device=device, generator=hide)
            told = told.masked_fill(chance < withhold, torch.nan)
        yield digits.x(rows, draw), told


def _check_withhold(share: float, y: Tensor | None) -> None:
    validate.share("withhold", share)
    if share and (y is None or not y.is_floating_point()):
        raise ValueError(
            f"withhold: expected data with conditions, float32 (N, C), got "
            f"{'none' if y is None else y.dtype}; set their conditions, or "
            "leave it out"
        )


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

    Returns:
        Images (N, 28, 28) with labels (N,), as `Digits`.

    Raises:
        ValueError: unknown name or split.
        DatasetError: a set asked for by name is altered or unreachable.

    Example:
        >>> load_digits("builtin", "test")
        Digits(builtin, test, 359 images)
    """
    if name == "auto":
        name = os.environ.get("MINIVAE_DIGITS") or "auto"
    validate.choice("name", name, NAMES)
    validate.choice("split", split, SPLITS)
    if root is not None:
        validate.path("root", root, "data, or leave it out")
    if name == "builtin":
        return _builtin(split)
    if name != "auto":
        return _torchvision(name, split, root, seconds=60)
    try:
        return _torchvision("mnist", split, root, seconds=10)
    except DatasetError as error:
        print(f"Using the built-in digits: {error}")
        return _builtin(split)


def _root(root: str | Path | None) -> Path:
    return Path(root or os.environ.get("MINIVAE_DATA") or cache_folder())


def cache_folder() -> Path:
    """The user's folder for what can be fetched or computed again.

    Raises:
        DatasetError: the user has no home.

    Example:
        >>> cache_folder().name
        'minivae'
    """
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "minivae"
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(cache).expanduser() / "minivae"
    except RuntimeError as error:
        raise DatasetError(
            "HOME: expected a folder to keep files in, got none; set "
            "MINIVAE_DATA (for data) and MINIVAE_CACHE (for models) to one"
        ) from error


def _torchvision(
    name: str, split: str, root: str | Path | None, seconds: float
) -> Digits:
    class_name, mirrors = TORCHVISION[name]
    folder = _root(root) / class_name / "raw"
    prefix = "train" if split == "train" else "t10k"
    deadline = time.monotonic() + seconds
    _sweep(folder)
    parts = []
    for kind in ("images-idx3", "labels-idx1"):
        file = folder / f"{prefix}-{kind}-ubyte"
        if wrong := _fault(name, file):
            # here, since to load torchvision takes a second
            from torchvision import datasets

            archive = f"{file.name}.gz"
            md5 = dict(getattr(datasets, class_name).resources)[archive]
            fault = _fetch([m + archive for m in mirrors], md5, file, deadline)
            # another process may have put the file there meanwhile
            if fault and _fault(name, file):
                raise DatasetError(
                    f"{wrong}; fetching it failed ({fault:.60}); put it "
                    "there, or set MINIVAE_DATA to the folder that has "
                    f"{class_name}/raw in it"
                )
        parts.append(file)
    try:
        images, labels = map(_read_idx, parts)
        return Digits(images, labels.long(), name, split)
    except (OSError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{folder}: {prefix}-* is unreadable as {name} ({error!s:.150}); "
            "delete these files and run again to fetch them anew"
        ) from error


def _read_idx(file: Path) -> Tensor:
    """The array in an IDX file of bytes (LeCun et al. 1998), uint8."""
    content = bytearray(file.read_bytes())
    if content[:3] != b"\x00\x00\x08" or len(content) < 4:
        raise ValueError("it is not an IDX file of bytes")
    start = 4 + 4 * content[3]  # its number of dimensions
    sizes = [
        int.from_bytes(content[i : i + 4], "big") for i in range(4, start, 4)
    ]
    if len(content) != start + math.prod(sizes):
        raise ValueError("another size than its header says")
    return torch.frombuffer(content, dtype=torch.uint8)[start:].view(sizes)


def _fault(name: str, file: Path) -> str:
    """What is wrong with a file on disk; empty if nothing is."""
    try:
        if not file.is_file():
            return f"{file}: not found"
        if name != "mnist":
            return ""
        with open(file, "rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return f"{file}: {error.strerror}"
    if found == MNIST_SHA256[file.name]:
        return ""
    return f"{file}: sha256 {found} instead of {MNIST_SHA256[file.name]}"


def _fetch(urls: list[str], md5: str, file: Path, deadline: float) -> str:
    """Put a file in its place, whole or not at all; else say why not."""
    reason = ""
    for i, url in enumerate(urls):
        left = deadline - time.monotonic()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            if not os.access(file.parent, os.W_OK):  # look before the work
                raise OSError("its folder is read-only")
            # no mirror may use up the time of those after it
            archive = _download(url, left / (len(urls) - i))
            if hashlib.md5(archive, usedforsecurity=False).hexdigest() != md5:
                raise OSError("the archive has another md5 than expected")
            _place(gzip.decompress(archive), file)
            return ""
        except (
            OSError,
            EOFError,
            ValueError,
            zlib.error,
            http.client.HTTPException,
        ) as error:
            text = getattr(error, "strerror", None) or str(error)
            reason = " ".join(text.split()) or "too slow"
    return reason


def _place(content: bytes, file: Path) -> None:
    # each process writes its own file; the last one to finish wins
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(content)
        os.replace(part, file)
    finally:
        part.unlink(missing_ok=True)


def _sweep(folder: Path) -> None:
    """Remove what downloads that were killed have left, after an hour."""
    with contextlib.suppress(OSError):
        for part in folder.glob(".*.part"):
            if time.time() - part.stat().st_mtime > 3600:
                part.unlink()


def _download(url: str, seconds: float) -> bytes:
    """What lies at an address, or an OSError when the time is over."""
    deadline = time.monotonic() + seconds
    result: Future[bytes] = Future()

    def read() -> None:
        content = bytearray()
        try:
            with _open(url, timeout=4) as response:
                while chunk := response.read1(1 << 16):
                    content += chunk
                    if time.monotonic() > deadline:
                        raise OSError("too slow")
                    if len(content) > LARGEST:
                        raise OSError("too long for an archive of digits")
            result.set_result(bytes(content))
        except BaseException as error:
            result.set_exception(error)

    # in a thread: the timeout above is for one answer of the network, and
    # there is none for finding a host or for headers that drip
    threading.Thread(target=read, daemon=True).start()
    return result.result(seconds)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, req, fp, code, msg, headers, newurl):
        if not newurl.startswith("https://"):
            raise OSError(f"redirected to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open(url: str, timeout: float):
    # the addresses above are all https
    opener = urllib.request.build_opener(_HttpsOnly)
    return opener.open(url, timeout=timeout)


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
