"""Files or your own arrays -> tensors -> batches.

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
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate, pad

from minivae import validate
from minivae.objective import binarize

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

    Its two kinds are `Images`, pictures of bytes, and `Table`, rows of any
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
    def shape(self) -> tuple[int, ...]:
        """Of one row of x."""
        raise NotImplementedError

    @property
    def y(self) -> Tensor | None:
        """Labels (N,) or conditions (N, C), where there are any."""
        raise NotImplementedError

    def x(self, rows: Tensor | None = None) -> Tensor:
        """These rows, or all, as float32 (B, *shape)."""
        raise NotImplementedError

    def prepare(self, rows: Tensor, prepare: Callable, noise: Any) -> Tensor:
        """These rows as a likelihood wants them, float32 (B, *shape)."""
        return prepare(self.x(rows), noise)

    def prepared(
        self, prepare: Callable[..., Tensor], seed: int = TEST_SEED
    ) -> "Table":
        """All rows, prepared once, as a likelihood wants them.

        The noise is drawn on the CPU and is a function of source, split and
        seed, so that all machines score the same.

        Args:
            prepare: of a likelihood: (x, generator) -> x.
            seed: selects the noise.

        Returns:
            The rows as a table with the same conditions.
        """
        seed = validate.whole("seed", seed, 0, 0)
        noise = seeded("cpu", "binarized", self.source, self.split, seed)
        values = prepare(self.x().cpu(), noise).to(self.device)
        return Table(values, self.y, self.source, self.split)

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


def _array(name: str, value: object, advice: str) -> Tensor:
    """An array of NumPy or a tensor, as a tensor without a graph."""
    if isinstance(value, np.ndarray):
        try:  # torch wants it in one piece, and writable
            whole = np.require(value, requirements=["C", "W"])
            value = torch.from_numpy(whole)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{name}: expected an array of numbers, got one of "
                f"{value.dtype}; convert it with .astype, such as "
                '.astype("float32")'
            ) from error
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}: expected a tensor or an array, got "
            f"{type(value).__name__}; {advice}"
        )
    if value.requires_grad:
        raise ValueError(
            f"{name}: expected data, got a tensor that requires a gradient; "
            "use .detach()"
        )
    return value


def _long(y: Tensor) -> Tensor:
    """Whole numbers of fewer bits as int64."""
    short = (torch.uint8, torch.int8, torch.int16, torch.int32)
    return y.long() if y.dtype in short else y


def _conditions(value: object, n: int) -> Tensor | None:
    """Labels (N,) as int64, or conditions (N, C) as float32."""
    if value is None:
        return None
    y = _array("conditions", value, "convert it with torch.tensor")
    y = _long(y) if y.ndim == 1 else y
    if y.shape == (n,) and y.dtype == torch.int64:
        validate.from_zero("conditions", y)
        return y
    if y.ndim != 2 or len(y) != n or not y.is_floating_point():
        raise ValueError(
            f"conditions: expected labels as int64 ({n},), or float32 "
            f"({n}, C), a row for each of x and NaN where not known, got "
            f"{y.dtype} {tuple(y.shape)}; convert labels with .long(), or "
            "stack columns with torch.stack"
        )
    return y.float()


@dataclass(frozen=True)
class Images(Rows):
    """Pictures of bytes, grey or in up to three colours, and their labels.

    Attributes:
        images: uint8, (N, H, W) or (N, C, H, W); 0 to 255, which is ink.
        labels: int64, (N,), from 0 on; or None.
        source: where they come from, such as "mnist" or "builtin".
        split: "train" or "test".
        conditions: what a CVAE with several conditions is told, float32
            (N, C), NaN where not known; None tells it the labels.

    Raises:
        TypeError, ValueError: images, labels or conditions of another type,
            shape or range.

    Example:
        >>> images = torch.zeros(2, 28, 28, dtype=torch.uint8)
        >>> digits = Images(images, torch.tensor([3, 5]), "blank", "train")
        >>> digits[digits.labels == 5], digits.x().shape
        (Images(blank, train, 1 images), torch.Size([2, 1, 28, 28]))
    """

    images: Tensor
    labels: Tensor = None  # type: ignore[assignment]
    source: str = "images"
    split: str = "train"
    conditions: Tensor | None = None

    def __post_init__(self) -> None:
        images = _array("images", self.images, "stack them with torch.stack")
        if (
            images.dtype != torch.uint8
            or images.ndim not in (3, 4)
            or 0 in images.shape
            or (images.ndim == 4 and images.shape[1] > 3)
        ):
            raise ValueError(
                "images: expected at least one picture as uint8 (N, H, W) or "
                f"(N, C, H, W) of one to three channels, got {images.dtype} "
                f"{tuple(images.shape)}; convert values in [0, 1] with (255 "
                "* x).round().to(torch.uint8), and use Table for others"
            )
        object.__setattr__(self, "images", images)
        if self.labels is not None:
            advice = "convert them with torch.tensor"
            labels = _long(_array("labels", self.labels, advice))
            if labels.dtype != torch.int64 or labels.shape != images.shape[:1]:
                raise ValueError(
                    f"labels: expected int64 ({len(images)},), one for each "
                    f"image, got {labels.dtype} {tuple(labels.shape)}; "
                    "convert with .long() and give one label an image"
                )
            validate.from_zero("labels", labels)
            object.__setattr__(self, "labels", labels)
        told = _conditions(self.conditions, len(images))
        object.__setattr__(self, "conditions", told)

    def __repr__(self) -> str:
        return f"Images({self.source}, {self.split}, {len(self):,} images)"

    @property
    def shape(self) -> tuple[int, ...]:
        """(C, H, W), with one channel for grey pictures."""
        size = tuple(self.images.shape[1:])
        return size if len(size) == 3 else (1, *size)

    @property
    def y(self) -> Tensor | None:
        """The conditions (N, C) if there are any, else the labels (N,)."""
        return self.labels if self.conditions is None else self.conditions

    def x(self, rows: Tensor | None = None) -> Tensor:
        """These pictures, or all, float32 in [0, 1], (B, C, H, W)."""
        x = self.images
        if rows is not None:
            x = x.index_select(0, rows)
        return x.float().div_(255).view(-1, *self.shape)

    def prepare(self, rows: Tensor, prepare: Callable, noise: Any) -> Tensor:
        """These pictures as a likelihood wants them, (B, C, H, W)."""
        if prepare is not binarize:
            return prepare(self.x(rows), noise)
        # bytes are drawn as 0 or 1 in fewer passes
        ink = binarize(self.images.index_select(0, rows), noise)
        return ink.float().view(-1, *self.shape)

    def binarized(self, seed: int = TEST_SEED) -> Self:
        """Each pixel drawn once as 0 or 255, ink with probability x.

        Salakhutdinov & Murray 2008. The draw is made on the CPU, so that
        all machines evaluate on the same binary images.
        """
        seed = validate.whole("seed", seed, 0, 0)
        draw = seeded("cpu", "binarized", self.source, self.split, seed)
        ink = binarize(self.images.cpu(), draw)
        return replace(self, images=ink.mul_(255).to(self.device))


@dataclass(frozen=True)
class Table(Rows):
    """Rows of any numbers: measurements, sounds, points, real pictures.

    Attributes:
        values: float32, (N, *shape), such as (N, D). For a likelihood of
            values from 0 to 1 they must lie there.
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
        advice = "convert it with torch.tensor"
        values = _array("values", self.values, advice)
        if (
            not values.is_floating_point()
            or values.ndim < 2
            or 0 in values.shape
        ):
            raise ValueError(
                "values: expected at least one row as float32 (N, D) or (N, "
                f"*shape), got {values.dtype} {tuple(values.shape)}; convert "
                "with .float(), and use Images for pictures of bytes"
            )
        values = values.float()
        validate.finite("values", values)
        object.__setattr__(self, "values", values)
        told = _conditions(self.conditions, len(values))
        object.__setattr__(self, "conditions", told)

    def __repr__(self) -> str:
        size = " x ".join(f"{n:,}" for n in self.values.shape)
        return f"Table({self.source}, {self.split}, {size})"

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row: (D,), or more dimensions."""
        return tuple(self.values.shape[1:])

    @property
    def y(self) -> Tensor | None:
        """The conditions."""
        return self.conditions

    def x(self, rows: Tensor | None = None) -> Tensor:
        """These rows, or all, float32 (B, *shape)."""
        return self.values if rows is None else self.values[rows]

    def binarized(self, seed: int = TEST_SEED) -> Self:
        """Each value drawn once as 0 or 1, 1 with probability x."""
        validate.finite("values", self.values, (0, 1))
        return replace(self, values=self.prepared(binarize, seed).values)


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
    # a number of NumPy is the same number
    key = tuple(k.item() if hasattr(k, "item") else k for k in key)
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    seed = int.from_bytes(digest, "big") >> 1  # 63 bits: a signed int64
    return torch.Generator(device).manual_seed(seed)


def batches(
    data: Rows,
    size: int,
    seed: int = 0,
    epoch: int = 0,
    device: torch.device | str = "cpu",
    prepare: Callable[..., Tensor] | None = None,
    shuffle: bool = True,
    condition_dropout: float = 0.0,
    start: int = 0,
    rank: int = 0,
    world_size: int = 1,
) -> Iterator[tuple[Tensor, Tensor | None]]:
    """Go once through the data; the last batch may be smaller.

    The order is a function of (seed, epoch); noise and what is withheld also
    of the number of the batch and, of several processes, of the rank.

    Args:
        data: `Images` or `Table`; moved to the device if not there yet.
        size: rows in a batch, at least 1.
        seed, epoch: select order, noise and what is withheld.
        device: where the batches are made.
        prepare: of a likelihood, (x, generator) -> x, such as to draw pixels
            as 0 or 1 anew in each epoch; None leaves x as it is.
        shuffle: False keeps the order of the data.
        condition_dropout: probability that a condition is replaced by NaN,
            anew in each epoch, each one on its own.
        start: number of the first batch; those before it are left out.
        rank, world_size: of each batch only every world_size-th row, from
            row `rank` on, for one of several processes.

    Yields:
        x: float32 (B, *shape); y: int64 (B,), or float32 (B, C), or None.

    Raises:
        TypeError, ValueError: an option is out of range, or the data are not
            of the kind that it asks for.

    Example:
        >>> data = Table(torch.zeros(5, 3))
        >>> [tuple(x.shape) for x, y in batches(data, size=2)]
        [(2, 3), (2, 3), (1, 3)]
    """
    check_rows("data", data)
    size = validate.whole("size", size, 1, 128)
    seed = validate.whole("seed", seed, 0, 0)
    epoch = validate.whole("epoch", epoch, 0, 0)
    start = validate.whole("start", start, 0, 0)
    world_size = validate.whole("world_size", world_size, 1, 1)
    rank = validate.whole("rank", rank, 0, 0)
    if rank >= world_size:
        raise ValueError(
            f"rank: expected a number below world_size, {world_size}, got "
            f"{rank}; give one from 0 on"
        )
    validate.function("prepare", prepare, "Bernoulli().prepare")
    data = data.to(validate.device(device))
    y = data.y
    dropout = validate.probability("condition_dropout", condition_dropout)
    if dropout and (y is None or not y.is_floating_point()):
        raise ValueError(
            "condition_dropout: expected data with conditions, float32 "
            f"(N, C), got {'none' if y is None else y.dtype}; set their "
            "conditions, or leave it out"
        )
    order = torch.arange(len(data))
    if shuffle:
        order = torch.randperm(
            len(data), generator=seeded("cpu", "order", seed, epoch)
        )
    whole = order.to(device).split(size)
    part = (rank, world_size) if world_size > 1 else ()
    for i, rows in enumerate(whole[start:], start):
        key = (seed, epoch, i, *part)
        rows = rows[rank::world_size]
        if prepare is None:
            x = data.x(rows)
        else:
            x = data.prepare(rows, prepare, seeded(device, "pixels", *key))
        told = None if y is None else y[rows]
        if dropout and told is not None:
            hide = seeded(device, "withhold", *key)
            chance = torch.rand(told.shape, device=device, generator=hide)
            told = told.masked_fill(chance < dropout, torch.nan)
        yield x, told


def check_rows(name: str, data: object) -> None:
    """Refuse data that are neither `Images` nor a `Table`.

    Args:
        name: of the argument, for the message.
        data: to look at.

    Raises:
        TypeError: it is something else.

    Example:
        >>> check_rows("data", torch.zeros(3, 2))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        TypeError: data: expected Images or Table, got Tensor; wrap it: ...
    """
    if not isinstance(data, Rows):
        advice = "wrap it: Images(x) for pictures as uint8, Table(x) for rows"
        if hasattr(data, "dataset"):
            advice = "give its tensors, as Images(x, y) or Table(x, y)"
        raise TypeError(
            f"{name}: expected Images or Table, got {type(data).__name__}; "
            f"{advice} of other numbers"
        )


def load_digits(
    name: str = "auto", split: str = "train", root: str | Path | None = None
) -> Images:
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
        Images (N, 28, 28) with labels (N,), as `Images`.

    Raises:
        ValueError: unknown name or split.
        DatasetError: a set asked for by name is altered or unreachable.

    Example:
        >>> load_digits("builtin", "test")
        Images(builtin, test, 359 images)
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
) -> Images:
    class_name, mirrors = TORCHVISION[name]
    root = _root(root)
    folder = root / class_name / "raw"
    prefix = "train" if split == "train" else "t10k"
    deadline = time.monotonic() + seconds
    _sweep(folder)
    parts = []
    try:
        for kind in ("images-idx3", "labels-idx1"):
            file = folder / f"{prefix}-{kind}-ubyte"
            if wrong := _fault(name, file):
                if content := _elsewhere(name, root, class_name, file.name):
                    parts.append(content)
                    continue
                # here, since to load torchvision takes a second
                from torchvision import datasets

                archive = f"{file.name}.gz"
                md5 = dict(getattr(datasets, class_name).resources)[archive]
                urls = [mirror + archive for mirror in mirrors]
                fault = _fetch(urls, md5, file, deadline)
                # another process may have put the file there meanwhile
                if fault and _fault(name, file):
                    raise DatasetError(
                        f"{wrong}; fetching it failed ({fault:.60}); put it "
                        "there, or set MINIVAE_DATA to the folder that has "
                        f"{class_name}/raw in it"
                    )
            parts.append(file.read_bytes())
        images, labels = map(_read_idx, parts)
        if (labels > 9).any():  # all these sets have ten classes
            raise ValueError(f"a label of {labels.max()}")
        return Images(images, labels.long(), name, split)
    except (OSError, TypeError, ValueError) as error:
        raise DatasetError(
            f"{folder}: {prefix}-* is unreadable as {name} ({error!s:.150}); "
            "delete these files and run again to fetch them anew"
        ) from error


def _elsewhere(
    name: str, root: Path, class_name: str, file: str
) -> bytes | None:
    """The content of a file under the other names and places it comes in.

    As an archive, with a dot for the first hyphen of its ending, and in the
    folder itself instead of one for each set.
    """
    dotted = file.replace("-idx", ".idx")
    for folder in (root / class_name / "raw", root / class_name, root):
        for known in (file, dotted, f"{file}.gz", f"{dotted}.gz"):
            try:
                content = (folder / known).read_bytes()
                if known.endswith(".gz"):
                    content = gzip.decompress(content)
            except (OSError, EOFError, zlib.error):
                continue
            # one folder says nothing of the set: only what is known for sure
            found = hashlib.sha256(content).hexdigest()
            sure = folder != root
            if name == "mnist":
                sure = found == MNIST_SHA256[file]
            if sure:
                return content
    return None


def _read_idx(file: bytes) -> Tensor:
    """The array in an IDX file of bytes (LeCun et al. 1998), uint8."""
    content = bytearray(file)
    if content[:3] != b"\x00\x00\x08" or len(content) < 4:
        raise ValueError("it is not an IDX file of bytes")
    start = 4 + 4 * content[3]  # its number of dimensions
    parts = (content[i : i + 4] for i in range(4, start, 4))
    sizes = [int.from_bytes(part, "big") for part in parts]
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


def _builtin(split: str) -> Images:
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
    labels = torch.from_numpy(small.target)[rows].long()
    centred = (255 * centred).round().to(torch.uint8)
    return Images(centred, labels, "builtin", split)
