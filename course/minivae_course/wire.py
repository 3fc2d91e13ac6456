"""Values as bytes between a check and the process that runs student code.

Only plain values travel: numbers, text, lists, tensors, arrays, generators,
data sets and models. Nothing that arrives is ever run, and a tensor arrives
as its numbers, whatever class the student gave it.
"""

import base64
import hashlib
import importlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minivae import toys
from minivae.completion import PixelCVAE
from minivae.data import Images, Table
from minivae.models import CVAE, VAE, Autoencoder

KINDS = (Autoencoder, VAE, CVAE, PixelCVAE, toys.Arc)
MODELS = {one.__name__: one for one in KINDS}
TABLES = {one.__name__: one for one in (Images, Table)}
PLAIN = (bool, int, float, str, type(None))
MOST_BYTES = 2**27
DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        torch.bool,
        torch.uint8,
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.float32,
        torch.float64,
    )
}


@dataclass(frozen=True)
class Other:
    """A value that does not travel, such as a function; how it looked.

    Attributes:
        kind: name of its class.
        text: how it looked, at most 80 characters.

    Example:
        >>> unpack(pack(range(3)))
        Other(kind='range', text='range(0, 3)')
    """

    kind: str
    text: str


class WireError(ValueError):
    """Bytes that are not a message.

    Example:
        >>> unpack(b"{}")
        Traceback (most recent call last):
            ...
        minivae_course.wire.WireError: 'kind'
    """


def pack(value: object) -> bytes:
    """The bytes of a value; what does not travel becomes an `Other`.

    Example:
        >>> pack([1, 2.5, "a"])
        b'[1, 2.5, "a"]'
    """
    return json.dumps(_packed(value)).encode()


def unpack(message: bytes, trusted: bool = False) -> Any:
    """The value of such bytes.

    Args:
        message: of `pack`.
        trusted: from the check itself, which may name functions of ours.

    Returns:
        The value; a tensor on the CPU.

    Raises:
        WireError: anything else.

    Example:
        >>> unpack(pack({"z": torch.zeros(2)}))
        {'z': tensor([0., 0.])}
    """
    try:
        return _unpacked(json.loads(message), trusted)
    except (ArithmeticError, LookupError, RecursionError) as error:
        raise WireError(str(error)) from None
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise WireError(str(error)) from None


def digest(value: object) -> str:
    """A fingerprint: the same value has the same, on both sides.

    Example:
        >>> digest(torch.zeros(2)) == digest(torch.zeros(2))
        True
        >>> digest(torch.zeros(2)) == digest(torch.zeros(2).double())
        False
    """
    return hashlib.sha256(pack(value)).hexdigest()


def _packed(value: object) -> object:
    if type(value) in PLAIN:
        return value
    if isinstance(value, list):
        return [_packed(one) for one in value]
    kind, content = _described(value)
    return {"kind": kind, "of": content}


def _described(value: Any) -> tuple[str, object]:
    """Name and content of what JSON does not have."""
    name = type(value).__name__
    if isinstance(value, tuple):
        return "tuple", [_packed(one) for one in value]
    if isinstance(value, dict):
        return "dict", [[_packed(k), _packed(v)] for k, v in value.items()]
    if isinstance(value, Tensor) and not value.is_complex():
        return "tensor", _numbers(value)
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind in "biuf":
            return "array", _numbers(torch.as_tensor(np.array(value)))
    elif isinstance(value, torch.Generator):
        return "generator", _numbers(value.get_state())
    elif name in TABLES and type(value) is TABLES[name]:
        return name, _packed(
            {field: getattr(value, field) for field in _fields(value)}
        )
    elif type(value) is MODELS.get(name) and _is_plain(value.options):
        options: Any = value.options
        if name == "Arc":  # all else about it is known
            options = {"sigma": options["sigma"]}
        return name, _packed(
            [options, dict(value.state_dict()), value.training]
        )
    elif (
        callable(value)
        and hasattr(value, "__qualname__")  # an object has none
        and str(value.__module__).startswith(("minivae.", "minivae_course."))
    ):
        return "function", f"{value.__module__}:{value.__qualname__}"
    elif isinstance(value, bool | int | float | str):
        return "plain", next(
            one(value) for one in (int, float, str) if isinstance(value, one)
        )
    return "other", [name, _look(value)]


def _is_plain(options: dict) -> bool:
    """Whether a model can be built again: it has no parts of its own."""
    return all(type(one) in (*PLAIN, tuple) for one in options.values())


def _fields(table: Images | Table) -> list[str]:
    return list(table.__dataclass_fields__)


def _look(value: object) -> str:
    try:
        return repr(value)[:80]
    except Exception:
        return "?"


def _numbers(value: Tensor) -> list:
    # a subclass of Tensor may lie; its numbers do not
    plain = value.detach().as_subclass(Tensor).cpu().contiguous()
    if plain.dtype not in DTYPES.values():
        plain = plain.to(torch.float32)
    content = plain.numpy().tobytes()
    return [
        str(plain.dtype).removeprefix("torch."),
        list(plain.shape),
        base64.b64encode(content).decode(),
        bool(value.requires_grad),
    ]


def _tensor(content: list) -> Tensor:
    dtype, shape, text, wanted = content
    raw = bytearray(base64.b64decode(text, validate=True))
    flat = (
        torch.frombuffer(raw, dtype=DTYPES[dtype])
        if raw
        else torch.empty(0, dtype=DTYPES[dtype])
    )
    tensor = flat.reshape(shape)
    return tensor.requires_grad_(wanted) if wanted else tensor


def _unpacked(packed: object, trusted: bool) -> Any:
    if not isinstance(packed, dict):
        if isinstance(packed, list):
            return [_unpacked(one, trusted) for one in packed]
        return packed
    kind, content = packed["kind"], packed["of"]
    if kind == "plain":
        return content
    if kind == "tuple":
        return tuple(_unpacked(one, trusted) for one in content)
    if kind == "dict":
        pairs = [_unpacked(pair, trusted) for pair in content]
        return dict(pairs)
    if kind == "tensor":
        return _tensor(content)
    if kind == "array":
        return _tensor(content).numpy()
    if kind == "generator":
        generator = torch.Generator()
        generator.set_state(_tensor(content))
        return generator
    if kind in TABLES:
        return TABLES[kind](**_unpacked(content, trusted))
    if kind in MODELS:
        options, state, training = _unpacked(content, trusted)
        model = MODELS[kind](**options)
        model.load_state_dict(state)
        return model.train(training)
    if kind == "function" and trusted:
        module, name = content.split(":")
        return getattr(importlib.import_module(module), name)
    name, text = content if kind == "other" else (kind, str(content))
    return Other(name, text)
