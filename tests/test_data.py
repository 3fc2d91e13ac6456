"""Digits are checked, split, shuffled, binarised and fetched as promised."""

import gzip
import hashlib
import http.client
import io
import math
import os
import struct
import urllib.error
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import missing_mnist, refused, untouched_rng
from torchvision import datasets

from minivae import (
    VAE,
    DatasetError,
    Images,
    Table,
    batches,
    data,
    evaluate,
    load_digits,
)
from minivae.likelihoods import Bernoulli

BINARY = Bernoulli().prepare  # draws each pixel as 0 or 1
IMAGES = torch.zeros(3, 28, 28, dtype=torch.uint8)
LABELS = torch.tensor([0, 4, 9])


@pytest.mark.parametrize(
    "name, images, labels",
    [
        ("images", IMAGES.tolist(), LABELS),
        ("images", IMAGES.float().numpy(), LABELS),
        ("images", np.array([["a"]]), LABELS),
        ("images", None, LABELS),
        ("images", IMAGES.float(), LABELS),
        ("images", IMAGES.long(), LABELS),
        ("images", IMAGES.flatten(1), LABELS),
        ("images", IMAGES[:0], LABELS[:0]),
        ("images", IMAGES[:, :0], LABELS),
        ("images", IMAGES[:, None].expand(3, 4, 28, 28), LABELS),
        ("images", IMAGES[:, None, None], LABELS),
        ("labels", IMAGES, LABELS.tolist()),
        ("labels", IMAGES, 5),
        ("labels", IMAGES, LABELS.bool()),
        ("labels", IMAGES, LABELS.float()),
        ("labels", IMAGES, LABELS[:2]),
        ("labels", IMAGES, LABELS[:, None]),
        ("labels", IMAGES, LABELS.float().numpy()),
        ("labels", IMAGES, LABELS - 1),
    ],
)
def test_wrong_digits_are_refused(name, images, labels):
    with refused(name + ":"):
        Images(images, labels, "made up", "train")


def test_data_are_numbers_without_a_graph():
    values = torch.zeros(3, 2, requires_grad=True)
    with refused("values:", ValueError) as caught:
        Table(values)
    assert ".detach()" in str(caught.value)
    with refused("conditions:", ValueError):
        Table(torch.zeros(3, 2), values)


@pytest.mark.parametrize("channels", [0, 1, 2, 3])  # 0: none is named
def test_pictures_may_have_any_size_and_up_to_three_colours(channels):
    size = (channels, 24, 40) if channels else (24, 40)
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (5, *size), generator=draw).byte()
    shape = (max(channels, 1), 24, 40)
    for given in (images, images.numpy()):
        pictures = Images(given)  # without labels
        assert pictures.shape == shape
        assert pictures.y is None
        assert torch.equal(pictures.images, images)
        x = pictures.x()
        assert x.shape == (5, *shape)
        assert x.dtype == torch.float32
        assert torch.equal((255 * x).byte(), images.view(5, *shape))
        rows = torch.tensor([3, 0])
        assert torch.equal(pictures.x(rows), x[rows])
        assert torch.equal(pictures[rows].x(), x[rows])
        for part, y in batches(pictures, 2, shuffle=False):
            assert part.shape[1:] == shape
            assert y is None
        once = pictures.binarized()
        assert once.shape == shape
        assert set(once.images.unique().tolist()) == {0, 255}
    assert repr(pictures) == "Images(images, train, 5 images)"


def test_labels_may_be_any_from_0_on():
    labels = np.array([0, 40, 1000])
    pictures = Images(IMAGES, labels)
    assert pictures.y.dtype == torch.int64
    assert pictures.y.tolist() == labels.tolist()
    with refused("labels:"):
        Images(IMAGES, -labels)
    for short in (labels[:2].astype(np.uint8), labels[:2].astype(np.int32)):
        assert Images(IMAGES[:2], short).y.dtype == torch.int64
        rows = Table(torch.zeros(2, 4), short)
        assert rows.y.dtype == torch.int64
        assert rows.y.tolist() == [0, 40]


@pytest.mark.parametrize(
    "change",
    [
        lambda a: np.frombuffer(a.tobytes(), a.dtype).reshape(a.shape),
        lambda a: a[::-1][::-1, :, ::-1][:, :, ::-1],
        np.asfortranarray,
    ],
    ids=["read-only", "turned", "by columns"],
)
def test_arrays_are_taken_however_they_lie_in_memory(change):
    images = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    assert torch.equal(Images(change(images)).images, torch.from_numpy(images))
    values = images.astype(np.float64)
    assert Table(change(values)).values.tolist() == values.tolist()


def test_arrays_of_another_machine_or_of_words_are_refused():
    for array in (np.zeros((3, 2), ">f4"), np.full((3, 2), "a")):
        with refused("values:", TypeError) as caught:
            Table(array)
        assert "astype" in str(caught.value)


def test_rows_can_be_selected(small):
    assert len(small) == 200
    mask = small.labels == 5
    fives = small[mask]
    assert fives.labels.unique().tolist() == [5]
    assert torch.equal(fives.images, small.images[mask])
    assert (fives.source, fives.split) == ("builtin", "train")


def numbered(n):
    """Digits that carry their number in two pixels and in their label."""
    images, rows = torch.zeros(n, 28, 28, dtype=torch.uint8), torch.arange(n)
    images[:, 0, 0], images[:, 0, 1] = rows % 256, rows // 256
    return Images(images, rows % 10, "made up", "train")


def order(n, size, *key, **options):
    """The numbers of the digits, batch by batch, with labels checked."""
    parts = []
    for x, y in batches(numbered(n), size, *key, **options):
        assert x.shape == (len(y), 1, 28, 28)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        pixels = (255 * x).round().long().flatten(1)
        parts.append((pixels[:, 0] + 256 * pixels[:, 1]).tolist())
        assert y.tolist() == [i % 10 for i in parts[-1]]
    return parts


@pytest.mark.parametrize("size", [1, 7, 100, 300, 1000])
def test_each_digit_comes_once_an_epoch(size):
    parts = order(300, size)
    assert sorted(i for part in parts for i in part) == list(range(300))
    full, rest = divmod(300, size)
    assert [len(p) for p in parts] == [size] * full + [rest] * bool(rest)


def test_order_is_a_function_of_seed_and_epoch():
    keys = [(0, 0), (0, 1), (1, 0), (1, 1)]
    orders = [order(300, 64, *key) for key in keys]
    assert orders == [order(300, 64, *key) for key in keys]
    assert len({str(o) for o in orders}) == 4
    plain = order(300, 64, shuffle=False)
    assert [i for part in plain for i in part] == list(range(300))
    assert plain not in orders


@pytest.mark.parametrize("size", [0, -1, 2.5, None])
def test_a_wrong_batch_size_is_refused(size):
    with refused("size:"):
        next(batches(numbered(9), size))


def test_a_single_digit_is_a_data_set(small):
    assert small[:1].shape == (1, 28, 28)
    ((x, y),) = batches(small[:1], 128)
    assert (x.shape, y.shape) == ((1, 1, 28, 28), (1,))


def filled(value, n=200):
    images = torch.full((n, 28, 28), value, dtype=torch.uint8)
    return Images(images, torch.zeros(n).long(), "made up", "train")


@pytest.mark.parametrize("value", [0, 1, 64, 128, 254, 255])
@pytest.mark.parametrize("how", ["batches", "binarized"])
def test_a_pixel_is_white_with_exactly_its_probability(value, how):
    if how == "batches":
        parts = batches(filled(value), 64, prepare=BINARY)
        x = torch.cat([x for x, _ in parts])
    else:
        x = filled(value).binarized().images.float() / 255
    assert set(x.unique().tolist()) <= {0, 1}
    p = value / 255
    error = (p * (1 - p) / x.numel()) ** 0.5  # 0 where it is certain
    assert abs(x.double().mean() - p) <= 3 * error


def test_binarised_digits_look_like_the_grey_ones(small):
    p = small.images.flatten(1).double() / 255
    rows = batches(small, 64, shuffle=False, prepare=BINARY)
    x = torch.cat([x for x, _ in rows]).double().flatten(1)
    score = (x - p).sum(1) / (p * (1 - p)).sum(1).sqrt()
    assert score.abs().max() < 4.5  # the largest of 200
    assert abs(score.mean()) < 3 / 200**0.5


def test_pixels_are_a_function_of_seed_and_epoch():
    def pixels(*key):
        parts = batches(filled(128), 50, *key, prepare=BINARY)
        return torch.cat([x for x, _ in parts])

    keys = [(0, 0), (0, 1), (1, 0)]
    drawn = [pixels(*key) for key in keys]
    assert all(torch.equal(x, pixels(*key)) for x, key in zip(drawn, keys))
    # no two digits, batches, epochs or seeds share their noise
    assert len(torch.cat(drawn).unique(dim=0)) == 600


def test_the_binarised_set_is_one_and_the_same(small):
    once = small.binarized()
    assert torch.equal(once.images, small.binarized().images)
    assert torch.equal(once.images, once.binarized().images)
    assert torch.equal(once.images, once.binarized(7).images)
    assert not torch.equal(once.images, small.binarized(7).images)
    assert torch.equal(once.labels, small.labels)


def test_prepared_rows_are_one_and_the_same(small):
    once = small.prepared(BINARY)
    assert isinstance(once, Table)
    assert (once.source, once.split) == ("builtin", "train")
    assert torch.equal(once.values, small.binarized().x())
    assert torch.equal(once.values, small.prepared(BINARY, 0).values)
    assert torch.equal(once.values, once.prepared(BINARY, 7).values)
    assert not torch.equal(once.values, small.prepared(BINARY, 7).values)
    assert torch.equal(once.y, small.labels)
    # another name or split has other noise
    for change in ({"source": "another"}, {"split": "test"}):
        other = replace(small, **change).prepared(BINARY)
        assert not torch.equal(once.values, other.values)
    told = replace(small, conditions=torch.ones(200, 2)).prepared(BINARY)
    assert torch.equal(told.conditions, torch.ones(200, 2))
    as_it_is = small.prepared(lambda x, generator: x)
    assert torch.equal(as_it_is.values, small.x())
    with refused("seed:"):
        small.prepared(BINARY, -1)


def test_seeds_may_be_numbers_of_numpy(small):
    seed, size, epoch = np.int64(3), np.int32(64), torch.tensor(2)
    for a, b in zip(
        batches(small, size, seed, epoch, prepare=BINARY),
        batches(small, 64, 3, 2, prepare=BINARY),
    ):
        assert torch.equal(a[0], b[0])
    assert torch.equal(small.binarized(seed).images, small.binarized(3).images)


def test_the_global_generator_is_left_alone(small):
    with untouched_rng():
        list(batches(small, 64, prepare=BINARY))
        small.prepared(BINARY)
        small.binarized()
        load_digits("builtin", "test")


def test_seeded_streams_depend_on_every_part_of_the_key():
    keys = [("a", 0, 0), ("b", 0, 0), ("a", 1, 0), ("a", 0, 1)]
    seeds = {data.seeded("cpu", *key).initial_seed() for key in keys}
    assert len(seeds) == 4


# --- tables and conditions --------------------------------------------------

VALUES = torch.arange(12.0).view(4, 3) / 12
NAN = float("nan")
TOLD = torch.tensor([[1.0, NAN], [2.0, 0.5], [NAN, NAN], [0.0, -1.5]])


def conditioned(n=4, conditions=TOLD):
    return replace(numbered(n), conditions=conditions)


def test_a_table_gives_its_rows_as_they_are():
    table = Table(VALUES, TOLD, "made up", "test")
    assert (len(table), table.shape) == (4, (3,))
    assert (table.source, table.split) == ("made up", "test")
    assert repr(table) == "Table(made up, test, 4 x 3)"
    ((x, y),) = batches(table, 9, shuffle=False)
    assert torch.equal(x, VALUES)
    torch.testing.assert_close(y, TOLD, rtol=0, atol=0, equal_nan=True)
    part = table[torch.tensor([3, 0])]
    assert torch.equal(part.values, VALUES[[3, 0]])
    assert part.conditions[0].tolist() == [0.0, -1.5]
    assert part.source == "made up"


def test_a_table_may_have_labels_or_nothing_to_tell():
    labels = torch.tensor([3, 0, 1, 2])
    parts = list(batches(Table(VALUES, labels), 3))
    x, y = (torch.cat(p) for p in zip(*parts))
    assert y.dtype == torch.int64
    assert torch.equal(x, VALUES[[labels.tolist().index(i) for i in y]])
    for x, y in batches(Table(VALUES), 3):
        assert y is None
        assert x.shape[1] == 3


def test_digits_are_told_by_label_unless_there_are_conditions():
    plain, told = numbered(4), conditioned()
    assert torch.equal(plain.y, plain.labels)
    assert told.y is told.conditions
    assert (plain.shape, len(told)) == ((1, 28, 28), 4)
    part = told[torch.tensor([1, 3])]
    assert torch.equal(part.y, TOLD[[1, 3]])
    assert part.labels.tolist() == [1, 3]
    ones = told.binarized()
    assert ones.y is told.y
    assert told.to("cpu") is told


@pytest.mark.parametrize(
    "conditions",
    [
        TOLD.tolist(),
        TOLD.nan_to_num().long(),
        TOLD[:3],
        TOLD[0],
        TOLD[..., None],
        torch.zeros(4),
        torch.tensor([0, 1, -1, 2]),
    ],
    ids=str,
)
def test_wrong_conditions_are_refused(conditions):
    with refused("conditions:") as caught:
        Table(VALUES, conditions)
    assert "got" in str(caught.value)
    with refused("conditions:"):
        conditioned(4, conditions)


@pytest.mark.parametrize(
    "values",
    [
        None,
        VALUES.tolist(),
        VALUES.byte(),
        VALUES.byte().numpy(),
        VALUES[0],
        VALUES[0, 0],
        VALUES[:0],
        VALUES[:, :0],
        VALUES.view(4, 3, 1)[:, :, :0],
        VALUES / 0,
    ],
    ids=str,
)
def test_wrong_values_are_refused(values):
    with refused("values:"):
        Table(values)


def test_arrays_and_numbers_of_other_precision_are_converted():
    for values, told in (
        (VALUES.double(), TOLD.double()),
        (VALUES.numpy(), TOLD.numpy()),
        (VALUES.double().numpy(), TOLD.double().numpy()),
    ):
        table = Table(values, told)
        assert table.values.dtype == table.y.dtype == torch.float32
        assert table.digest() == Table(VALUES, TOLD).digest()
    assert Table(VALUES.half()).values.dtype == torch.float32


@pytest.mark.parametrize("shape", [(3,), (1,), (2, 2), (3, 4, 5), (1, 2, 1)])
def test_rows_of_a_table_may_have_any_shape(shape):
    values = torch.rand(6, *shape, generator=torch.Generator().manual_seed(0))
    table = Table(values)
    assert table.shape == shape
    sizes = " x ".join(map(str, (6, *shape)))
    assert repr(table) == f"Table(table, train, {sizes})"
    assert torch.equal(table.x(), values)
    assert torch.equal(table[torch.tensor([4])].values, values[4:5])
    assert table.binarized().values.shape == values.shape
    for x, _ in batches(table, 4, prepare=BINARY):
        assert x.shape[1:] == shape
        assert set(x.unique().tolist()) <= {0, 1}


def test_a_value_is_one_with_exactly_its_probability():
    chances = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])
    table = Table(chances.expand(20_000, 5).contiguous())
    parts = batches(table, 999, prepare=BINARY)
    drawn = torch.cat([x for x, _ in parts])
    error = (chances * (1 - chances) / 20_000).sqrt()
    for x in (drawn, table.binarized().values):
        assert set(x.unique().tolist()) == {0, 1}
        assert ((x.mean(0) - chances).abs() <= 3 * error).all()
    once = table.binarized()
    assert torch.equal(once.values, table.binarized().values)
    assert torch.equal(once.values, once.binarized(7).values)
    assert not torch.equal(once.values, table.binarized(7).values)


@pytest.mark.parametrize("value", [-0.1, 1.1])
def test_only_probabilities_can_be_drawn_as_zeros_and_ones(value):
    table = Table(VALUES.clone().fill_(value))
    with refused("values:"):
        table.binarized()
    with refused("values:"):
        evaluate(VAE(2, (4,), shape=(3,)), table)
    next(batches(table, 2))


def test_a_digest_tells_data_apart_by_content_alone():
    table = Table(VALUES, TOLD)
    same = Table(VALUES.clone(), TOLD.clone(), "another name", "test")
    assert table.digest() == same.digest()
    changed = VALUES.clone()
    changed[3, 2] += 1e-6
    others = [
        Table(changed, TOLD),
        Table(VALUES, TOLD.nan_to_num()),
        Table(VALUES, TOLD[:, :1]),
        Table(VALUES),
        Table(VALUES.flip(0), TOLD),
        Table(VALUES.T.contiguous(), TOLD[:3]),
        Table(VALUES.view(3, 4)),
        numbered(4),
        conditioned(),
        numbered(5)[1:],
        Images(numbered(4).images, torch.tensor([0, 1, 2, 4]), "a", "b"),
    ]
    digests = {d.digest() for d in (table, *others)}
    assert len(digests) == 1 + len(others)
    # of the values and not of how they lie in memory
    turned = Table(VALUES.T.contiguous().T, TOLD)
    assert turned.digest() == table.digest()


def withheld(digits, size=100, *key, share=0.5, **options):
    """Which conditions are NaN, in the order of the digits, (N, C)."""
    options = {"shuffle": False} | options
    parts = batches(digits, size, *key, condition_dropout=share, **options)
    return torch.cat([y for _, y in parts]).isnan()


MANY = conditioned(4000, torch.arange(12_000.0).view(4000, 3))


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_each_condition_is_withheld_by_its_own_chance(share):
    hidden = withheld(MANY, share=share).double()
    error = (share * (1 - share) / 4000) ** 0.5
    assert ((hidden.mean(0) - share).abs() < 3.5 * error).all()
    # no two conditions share their fate, nor do neighbours
    pairs = (hidden[:, [0, 0, 1]] * hidden[:, [1, 2, 2]]).mean(0)
    rows = (hidden[1:] * hidden[:-1]).mean(0)
    error = (share**2 * (1 - share**2) / 4000) ** 0.5
    for both in (pairs, rows):
        assert ((both - share**2).abs() < 4 * error).all()


def test_what_is_not_withheld_is_told_as_it_is():
    assert not withheld(MANY, share=0.0).any()
    assert withheld(MANY, share=1.0).all()
    (part,) = batches(MANY, 5000, shuffle=False, condition_dropout=0.5)
    given = ~part[1].isnan()
    assert torch.equal(part[1][given], MANY.conditions[given])
    # a condition that is not known stays so
    unknown = withheld(conditioned(), share=1e-9)
    assert torch.equal(unknown, TOLD.isnan())
    assert not MANY.conditions.isnan().any()  # the data are as they were


def test_what_is_withheld_is_a_function_of_seed_and_epoch():
    keys = [(0, 0), (0, 1), (1, 0)]
    with untouched_rng():
        patterns = [withheld(MANY, 100, *key) for key in keys]
    torch.manual_seed(5)
    again = [withheld(MANY, 100, *key) for key in keys]
    assert all(torch.equal(a, b) for a, b in zip(patterns, again))
    for i, a in enumerate(patterns):
        for b in patterns[i + 1 :]:
            assert 0.45 < (a != b).double().mean() < 0.55
    # nor do two batches have the same pattern
    assert len(patterns[0].view(40, -1).unique(dim=0)) == 40


def test_withholding_changes_neither_order_nor_pixels():
    for hidden, plain in zip(
        batches(MANY, 64, 3, 1, prepare=BINARY, condition_dropout=0.5),
        batches(MANY, 64, 3, 1, prepare=BINARY),
    ):
        assert torch.equal(hidden[0], plain[0])
        given = ~hidden[1].isnan()
        assert torch.equal(hidden[1][given], plain[1][given])


@pytest.mark.parametrize("share", [-0.1, 1.5, NAN, None, "0.5", True])
def test_a_wrong_share_is_refused(share):
    with refused("condition_dropout:"):
        next(batches(MANY, 5, condition_dropout=share))


@pytest.mark.parametrize(
    "digits", [numbered(4), Table(VALUES)], ids=["labels", "nothing"]
)
def test_labels_cannot_be_withheld(digits):
    with refused("condition_dropout:"):
        next(batches(digits, 5, condition_dropout=0.5))


# --- the built-in digits ---------------------------------------------------


def test_builtin_splits_are_fixed_and_disjoint(digits):
    test = load_digits("builtin", "test")
    assert (len(digits), len(test)) == (1438, 359)
    for part, split in ((digits, "train"), (test, "test")):
        assert part.images.shape == (len(part), 28, 28)
        assert (part.source, part.split) == ("builtin", split)
        assert part.labels.unique().tolist() == list(range(10))
        assert torch.equal(part.images, load_digits("builtin", split).images)
    both = torch.cat([digits.images, test.images]).flatten(1)
    assert len(both.unique(dim=0)) == 1797


def test_builtin_splits_are_those_of_every_earlier_version(digits):
    from sklearn.datasets import load_digits as small

    test = load_digits("builtin", "test")
    # stored numbers and marks of exercises rest on them
    assert test.labels.tolist() == small().target[4::5].tolist()
    # as much ink as a stroke of 16 sixteenths gives
    assert abs(digits.images.float().mean() / 255 - 0.1454) < 0.001


def test_builtin_digits_are_drawn_as_mnist_draws_them(digits):
    x = digits.images.double() / 255
    border = torch.ones(28, 28, dtype=bool)
    border[1:-1, 1:-1] = False
    inked = (x[:, border] > 0).any(1).double().mean()
    assert inked < 0.005  # a few wide ones, as in MNIST
    place, mass = torch.arange(28.0).double(), x.sum((1, 2))
    for centre in ((x.sum(2) @ place) / mass, (x.sum(1) @ place) / mass):
        assert ((centre - 13.5).abs() <= 0.501).all()  # to half a pixel
    assert (x.amax((1, 2)) == 1).all()
    assert 0.1 < x.mean() < 0.2  # of MNIST: 0.13


def test_builtin_labels_belong_to_their_images(digits):
    test = load_digits("builtin", "test")
    means = [digits[digits.labels == c].images.float() for c in range(10)]
    centres = torch.stack([m.mean(0).flatten() for m in means])
    nearest = torch.cdist(test.images.float().flatten(1), centres).argmin(1)
    assert (nearest == test.labels).double().mean() > 0.8


# --- files -------------------------------------------------------------------


def idx(array):
    """Bytes of an IDX file, the format of MNIST."""
    head = struct.pack(">BBBB", 0, 0, 8, array.ndim)
    return head + struct.pack(f">{array.ndim}I", *array.shape) + bytes(array)


SET = numbered(30)
FILES = {
    "train-images-idx3-ubyte": idx(SET.images.numpy()),
    "train-labels-idx1-ubyte": idx(SET.labels.numpy().astype("uint8")),
}


def write(root, folder, **changed):
    raw = root / folder / "raw"
    raw.mkdir(parents=True)
    for name, content in FILES.items():
        raw.joinpath(name).write_bytes(changed.get(name[6:12], content))
    return raw


def serve(monkeypatch, folder, replies, mirrors=1):
    """Let the data set be found at made-up addresses; returns the calls."""
    archives = {f"{k}.gz": gzip.compress(v) for k, v in FILES.items()}
    md5 = [
        (k, hashlib.md5(v, usedforsecurity=False).hexdigest())
        for k, v in archives.items()
    ]
    monkeypatch.setattr(getattr(datasets, folder), "resources", md5)
    hosts = [f"https://host{i}.invalid/" for i in range(mirrors)]
    monkeypatch.setitem(data.TORCHVISION, folder.lower(), (folder, hosts))
    asked = []

    def urlopen(url, timeout):
        assert 0 < timeout < 10
        asked.append(url)
        host, archive = url.removeprefix("https://host").split(".invalid/")
        reply = replies[int(host)]
        if isinstance(reply, Exception):
            raise reply
        return io.BytesIO(reply(archives[archive]))

    monkeypatch.setattr("minivae.data._open", urlopen)
    return asked


OFFLINE = urllib.error.URLError("no network")


@pytest.mark.parametrize(
    "name, options",
    [
        ("name:", {"name": "mnits"}),
        ("name:", {"name": None}),
        ("split:", {"name": "builtin", "split": "valid"}),
        ("split:", {"name": "mnist", "split": None}),
        ("root:", {"name": "mnist", "root": ""}),
    ],
)
def test_unknown_names_splits_and_empty_roots_are_refused(name, options):
    with refused(name, ValueError):
        load_digits(**options)


def test_minivae_digits_says_what_auto_means(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("MINIVAE_DIGITS", "builtin")
    assert load_digits("auto", "test").source == "builtin"
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("MINIVAE_DIGITS", "nonsense")
    with refused("name:", ValueError):
        load_digits("auto")
    serve(monkeypatch, "MNIST", [OFFLINE])
    with pytest.raises(DatasetError):  # a set asked for by name stays it
        load_digits("mnist", root=tmp_path)


def test_an_altered_file_is_an_error_with_file_and_hashes(
    monkeypatch, tmp_path
):
    raw = write(tmp_path, "MNIST")
    serve(monkeypatch, "MNIST", [OFFLINE])
    name = "train-images-idx3-ubyte"
    monkeypatch.setenv("MINIVAE_DATA", str(tmp_path))
    with refused(raw / name, DatasetError) as caught:
        load_digits("mnist")
    found = hashlib.sha256(FILES[name]).hexdigest()
    for part in (found, data.MNIST_SHA256[name], "no network"):
        assert part in str(caught.value)


def test_auto_falls_back_and_says_so_in_one_line(
    monkeypatch, tmp_path, capsys
):
    write(tmp_path, "MNIST")
    serve(monkeypatch, "MNIST", [OFFLINE])
    assert load_digits("auto", root=tmp_path).source == "builtin"
    (line,) = capsys.readouterr().out.splitlines()
    assert "built-in" in line
    assert "train-images-idx3-ubyte" in line


def test_whole_files_are_read_and_altered_ones_repaired(monkeypatch, tmp_path):
    right = {k: hashlib.sha256(v).hexdigest() for k, v in FILES.items()}
    monkeypatch.setattr(data, "MNIST_SHA256", right)
    flipped = bytearray(FILES["train-images-idx3-ubyte"])
    flipped[500] ^= 1
    write(tmp_path, "MNIST", images=bytes(flipped))
    asked = serve(monkeypatch, "MNIST", [lambda archive: archive])
    for _ in range(2):
        digits = load_digits("auto", root=tmp_path)
        assert digits.source == "mnist"
        assert torch.equal(digits.images, SET.images)
        assert torch.equal(digits.labels, SET.labels)
    assert [a.split("/")[-1] for a in asked] == ["train-images-idx3-ubyte.gz"]


@pytest.mark.parametrize(
    "changed",
    [
        {"images": FILES["train-images-idx3-ubyte"][:-100]},
        {"images": b""},
        {"images": b"<html>404</html>"},
        {"images": FILES["train-labels-idx1-ubyte"]},
        {"images": idx(IMAGES.numpy())},
        {"labels": FILES["train-labels-idx1-ubyte"][:9]},
        {"labels": idx((SET.labels + 200).numpy().astype("uint8"))},
    ],
)
def test_a_truncated_or_foreign_file_is_an_error(tmp_path, changed):
    raw = write(tmp_path, "KMNIST", **changed)
    with refused(raw, DatasetError):
        load_digits("kmnist", root=tmp_path)


def test_a_fetched_set_is_put_in_place(monkeypatch, tmp_path):
    replies = [OFFLINE, lambda archive: archive]
    asked = serve(monkeypatch, "KMNIST", replies, mirrors=2)
    digits = load_digits("kmnist", root=tmp_path)
    assert torch.equal(digits.images, SET.images)
    assert torch.equal(digits.labels, SET.labels)
    raw = tmp_path / "KMNIST" / "raw"
    assert {f.name: f.read_bytes() for f in raw.iterdir()} == FILES
    assert len(asked) == 4  # both mirrors for both files
    load_digits("kmnist", root=tmp_path)
    assert len(asked) == 4  # and never again


@pytest.mark.parametrize(
    "reply",
    [
        lambda archive: archive[:-1] + b"!",
        lambda archive: b"",
        lambda archive: gzip.compress(b"another set"),
        TimeoutError("too late"),
        urllib.error.HTTPError("https://host", 503, "busy", None, None),
        http.client.BadStatusLine("?"),
    ],
)
def test_a_lying_or_broken_server_leaves_nothing(monkeypatch, tmp_path, reply):
    serve(monkeypatch, "KMNIST", [reply])
    with refused(tmp_path / "KMNIST", DatasetError):
        load_digits("kmnist", root=tmp_path)
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == []


def test_a_server_that_drips_is_given_up(monkeypatch, tmp_path):
    class Drip(io.BytesIO):
        def read1(self, size):
            return b"."

    clock = iter(range(10_000))
    now = SimpleNamespace(monotonic=lambda: next(clock))
    monkeypatch.setattr(data, "time", now)
    monkeypatch.setattr("minivae.data._open", lambda *_, **__: Drip())
    with pytest.raises(DatasetError, match="slow"):
        load_digits("kmnist", root=tmp_path)
    assert next(clock) < 100  # seconds


def test_what_cannot_be_put_in_place_leaves_no_part(monkeypatch, tmp_path):
    def full(source, target):
        assert Path(source).read_bytes() in FILES.values()
        raise OSError("no room for a new name")

    serve(monkeypatch, "KMNIST", [lambda archive: archive])
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(DatasetError, match="no room"):
        load_digits("kmnist", root=tmp_path)
    assert [f for f in tmp_path.rglob("*") if f.is_file()] == []


def test_what_another_process_has_fetched_meanwhile_is_taken(
    monkeypatch, tmp_path
):
    def late(archive):
        name = asked[-1].split("/")[-1].removesuffix(".gz")
        (tmp_path / "KMNIST/raw" / name).write_bytes(FILES[name])
        return b"too late"

    asked = serve(monkeypatch, "KMNIST", [late])
    digits = load_digits("kmnist", root=tmp_path)
    assert torch.equal(digits.images, SET.images)
    assert len(asked) == len(FILES)


def test_an_endless_archive_is_not_read_to_its_end(monkeypatch, tmp_path):
    class Endless(io.BytesIO):
        n_read = 0

        def read1(self, size):
            Endless.n_read += size
            assert Endless.n_read < 2 * data.LARGEST
            return bytes(size)

    monkeypatch.setattr("minivae.data._open", lambda *_, **__: Endless())
    with pytest.raises(DatasetError, match="too long"):
        load_digits("kmnist", root=tmp_path)


def test_an_unusable_folder_is_an_error_that_names_the_variable(
    monkeypatch, tmp_path
):
    tmp_path.joinpath("file").write_text("in the way")
    monkeypatch.setenv("MINIVAE_DATA", str(tmp_path / "file"))
    serve(monkeypatch, "MNIST", [lambda archive: archive])
    with pytest.raises(DatasetError, match="MINIVAE_DATA"):
        load_digits("mnist")


def test_addresses_are_encrypted_and_names_known():
    assert {*data.TORCHVISION, "auto", "builtin"} == set(data.NAMES)
    for folder, mirrors in data.TORCHVISION.values():
        assert hasattr(datasets, folder)
        assert all(m.startswith("https://") for m in mirrors)
        assert all(m.endswith("/") for m in mirrors)


def test_the_cache_folder_is_used_without_a_variable(monkeypatch, tmp_path):
    monkeypatch.delenv("MINIVAE_DATA", raising=False)
    monkeypatch.setattr(data.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data._root(None) == tmp_path / "minivae"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert data._root(None) == Path.home() / ".cache" / "minivae"


@pytest.mark.mnist
@pytest.mark.parametrize("split, n", [("train", 60_000), ("test", 10_000)])
def test_mnist_is_mnist(split, n):
    digits = load_digits("mnist", split)
    assert digits.images.shape == (n, 28, 28)
    assert (digits.source, digits.split) == ("mnist", split)
    first = {"train": [5, 0, 4, 1, 9], "test": [7, 2, 1, 0, 4]}
    assert digits.labels[:5].tolist() == first[split]
    mean = digits.images.double().mean().item() / 255
    assert abs(mean - 0.1307) < 0.01 * 0.1307 * (3 if split == "test" else 1)
    assert load_digits("auto", split).source == "mnist"


def test_neighbouring_pixels_are_drawn_independently():
    grey = torch.full((400, 28, 28), 128, dtype=torch.uint8)
    digits = Images(grey, torch.zeros(400).long(), "made up", "test")
    ((x, _),) = batches(digits, 400, shuffle=False, prepare=BINARY)
    x = (x - x.mean()).flatten(1)
    for step in (1, 2, 3, 4, 28):
        shared = (x[:, step:] * x[:, :-step]).mean() / x.square().mean()
        assert abs(shared) < 4 / math.sqrt(x.numel()), step
    shared = (x[1:] * x[:-1]).mean() / x.square().mean()
    assert abs(shared) < 4 / math.sqrt(x.numel())


def test_paper_stays_paper_and_full_ink_stays_ink():
    # a chance of 1 in 65,536 would show among three million pixels
    for value in (0, 255):
        images = torch.full((4000, 28, 28), value, dtype=torch.uint8)
        digits = Images(images, torch.zeros(4000).long(), "made up", "test")
        ((x, _),) = batches(digits, 4000, shuffle=False, prepare=BINARY)
        assert x.unique().tolist() == [value / 255]


def test_batches_can_start_anywhere(small):
    whole = list(batches(small, 64, 3, 2, prepare=BINARY))
    for start in range(5):
        rest = list(batches(small, 64, 3, 2, start=start, prepare=BINARY))
        assert len(rest) == 4 - start
        assert all(
            torch.equal(a, b)
            for one, two in zip(rest, whole[start:])
            for a, b in zip(one, two)
        )


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_processes_share_each_batch(small, world_size):
    for i, (x, y) in enumerate(batches(small, 64, 3, 2)):
        parts = [
            list(batches(small, 64, 3, 2, rank=r, world_size=world_size))[i]
            for r in range(world_size)
        ]
        for rank, (part, told) in enumerate(parts):
            assert torch.equal(part, x[rank::world_size])
            assert torch.equal(told, y[rank::world_size])
    # each draws its own pixels
    grey = filled(128)
    parts = [
        next(batches(grey, 200, prepare=BINARY, rank=r, world_size=2))[0]
        for r in range(2)
    ]
    assert len(torch.cat(parts).flatten(1).unique(dim=0)) == 200


@pytest.mark.parametrize(
    "rows",
    [torch.zeros(3, 2), [1, 2], None, np.zeros((3, 2))],
    ids=lambda r: type(r).__name__,
)
def test_what_is_neither_images_nor_a_table_is_refused(rows):
    with refused("data:", TypeError) as caught:
        next(batches(rows, 2))
    assert "Table(x)" in str(caught.value)


def test_a_loader_of_torch_is_refused_with_what_to_give_instead():
    rows = torch.utils.data.TensorDataset(torch.zeros(3, 2))
    with refused("data:", TypeError) as caught:
        next(batches(torch.utils.data.DataLoader(rows), 2))
    assert "its tensors" in str(caught.value)


# --- files in other places and under other names


NAMES = {
    "files": "{}",
    "archives": "{}.gz",
    "dotted": "{0[0]}.{0[1]}",
    "dotted archives": "{0[0]}.{0[1]}.gz",
}


def lay(folder, files, how):
    """Put the files of a set into a folder in one of the ways they come."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        parts = name.replace("-idx", " idx").split()
        known = NAMES[how].format(parts if "dotted" in how else name)
        if known.endswith(".gz"):
            content = gzip.compress(content, 1)
        (folder / known).write_bytes(content)


@pytest.mark.parametrize("how", NAMES)
@pytest.mark.parametrize("place", [".", "MNIST", "MNIST/raw"])
@pytest.mark.parametrize("given", ["root", "variable"])
def test_files_are_read_where_and_as_they_lie(
    monkeypatch, tmp_path, how, place, given
):
    right = {k: hashlib.sha256(v).hexdigest() for k, v in FILES.items()}
    monkeypatch.setattr(data, "MNIST_SHA256", right)
    asked = serve(monkeypatch, "MNIST", [OFFLINE])
    lay(tmp_path / place, FILES, how)
    before = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    root = tmp_path if given == "root" else None
    if given == "variable":
        monkeypatch.setenv("MINIVAE_DATA", str(tmp_path))
    for name in ("mnist", "auto"):
        digits = load_digits(name, root=root)
        assert digits.source == "mnist"
        assert torch.equal(digits.images, SET.images)
        assert torch.equal(digits.labels, SET.labels)
    assert asked == []
    after = {f: f.read_bytes() for f in tmp_path.rglob("*") if f.is_file()}
    assert after == before


@pytest.mark.parametrize("how", NAMES)
def test_altered_files_in_other_places_are_not_taken(
    monkeypatch, tmp_path, how
):
    # right in their form, but the hashes are those of the real MNIST
    serve(monkeypatch, "MNIST", [OFFLINE])
    lay(tmp_path, FILES, how)
    with refused(tmp_path, DatasetError) as caught:
        load_digits("mnist", root=tmp_path)
    assert "no network" in str(caught.value)


def test_a_damaged_archive_is_not_taken(monkeypatch, tmp_path):
    right = {k: hashlib.sha256(v).hexdigest() for k, v in FILES.items()}
    monkeypatch.setattr(data, "MNIST_SHA256", right)
    serve(monkeypatch, "MNIST", [OFFLINE])
    archives = {k: gzip.compress(v) for k, v in FILES.items()}
    for name, content in archives.items():
        for wrong in (content[:-9], content[:50] + b"!" + content[51:], b""):
            lay(tmp_path, FILES, "archives")
            (tmp_path / f"{name}.gz").write_bytes(wrong)
            with refused(tmp_path, DatasetError):
                load_digits("mnist", root=tmp_path)


def test_a_folder_for_all_sets_says_nothing_of_which_it_holds(
    monkeypatch, tmp_path
):
    serve(monkeypatch, "KMNIST", [OFFLINE])
    lay(tmp_path, FILES, "archives")  # they have the names of any set
    with refused(tmp_path, DatasetError):
        load_digits("kmnist", root=tmp_path)
    lay(tmp_path / "KMNIST", FILES, "dotted archives")
    digits = load_digits("kmnist", root=tmp_path)
    assert digits.source == "kmnist"
    assert torch.equal(digits.images, SET.images)


@pytest.fixture
def mnist_files():
    raw = data._root(None) / "MNIST" / "raw"
    return {name: (raw / name).read_bytes() for name in data.MNIST_SHA256}


@pytest.mark.mnist
@pytest.mark.parametrize("how", NAMES)
def test_mnist_is_read_from_a_folder_of_its_four_files(
    how, mnist_files, monkeypatch, tmp_path
):
    assert not missing_mnist()
    asked = serve(monkeypatch, "MNIST", [OFFLINE])
    whole = {s: load_digits("mnist", s) for s in ("train", "test")}
    lay(tmp_path, mnist_files, how)
    for split, expected in whole.items():
        found = load_digits("mnist", split, tmp_path)
        assert found.digest() == expected.digest()
    monkeypatch.setenv("MINIVAE_DATA", str(tmp_path))
    assert load_digits("auto", "test").source == "mnist"
    assert asked == []
