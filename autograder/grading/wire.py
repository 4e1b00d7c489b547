"""What crosses the pipe between a learner's process and the grader's: frames of plain data.

The grader may send anything that it can pickle: it is trusted. A learner's process answers in JSON and raw
bytes alone, and `decode` builds exact builtin, NumPy and torch values from them. Nothing of the learner's
runs on this side: no class, no `==`, no `__reduce__`. What is too large, too deep or of no known form is a
WireError.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import select
import struct
import sys
import time
from collections import UserList, deque, namedtuple
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from rslib.errors import RSError

HEADER = struct.Struct(">IH")
LENGTH = struct.Struct(">Q")
HELLO = b"+"
"""The first byte that a learner's process sends, before it runs anything."""
MAX_HEADER = 24 << 20
"""Bytes of JSON in one frame: a list costs the reader about thirty times what it costs the writer."""
MAX_BYTES = 96 << 20
"""Raw bytes in one frame."""
MAX_BLOBS = 512
MAX_DEPTH = 40
PACKED = 32
"""So long is a list of numbers that crosses as bytes."""
MAX_NODES = 1_000_000
KINDS = "biufc"
"""Kinds of NumPy numbers that cross as they are."""
TENSORS = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


class WireError(RSError):
    """A frame or a value that cannot cross."""


class Gone(WireError):
    """The other side closed the pipe."""


class Late(WireError):
    """No whole frame came in time."""


class Channel:
    """Frames over a pair of file descriptors: a header of JSON, then raw byte strings."""

    def __init__(self, reader: int, writer: int, *, limited: bool = True) -> None:
        self.reader, self.writer, self.limited = reader, writer, limited

    def send(self, content: Any, blobs: Sequence[bytes] = (), seconds: float | None = None) -> None:
        """Write one frame. Raises Gone if nobody reads, Late if nobody reads within `seconds`."""
        text = json.dumps(content).encode()
        lengths = b"".join(LENGTH.pack(len(blob)) for blob in blobs)
        deadline = None if seconds is None else time.monotonic() + seconds
        for part in (HEADER.pack(len(text), len(blobs)) + lengths + text, *blobs):
            self._write(memoryview(part), deadline)

    def _write(self, part: memoryview, deadline: float | None) -> None:
        while part:
            self._wait(self.writer, deadline, select.POLLOUT)
            try:
                part = part[os.write(self.writer, part[: 1 << 16]) :]
            except OSError as error:
                raise Gone(str(error)) from error

    def receive(self, seconds: float | None = None) -> tuple[Any, list[bytes]]:
        """The next frame: its JSON and its raw parts. Raises Gone, Late, or WireError for a forged one."""
        deadline = None if seconds is None else time.monotonic() + seconds
        size, count = HEADER.unpack(self._read(HEADER.size, deadline))
        if self.limited and (size > MAX_HEADER or count > MAX_BLOBS):
            raise WireError(f"a message of {size} bytes and {count} parts")
        lengths = [LENGTH.unpack(self._read(LENGTH.size, deadline))[0] for _ in range(count)]
        if self.limited and sum(lengths) > MAX_BYTES:
            raise WireError(f"a message of {sum(lengths)} bytes")
        text = self._read(size, deadline)
        blobs = [self._read(length, deadline) for length in lengths]
        return parsed(text), blobs

    def _read(self, size: int, deadline: float | None) -> bytes:
        parts = []
        while size:
            self._wait(self.reader, deadline, select.POLLIN)
            try:
                part = os.read(self.reader, min(size, 1 << 20))
            except OSError as error:
                raise Gone(str(error)) from error
            if not part:
                raise Gone("the pipe was closed")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def _wait(self, descriptor: int, deadline: float | None, event: int) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        poll = select.poll()
        poll.register(descriptor, event)
        if left is not None and (left <= 0 or not poll.poll(1000 * left)):
            raise Late("no whole message came in time")
        if left is None:
            poll.poll()

    def close(self) -> None:
        """Close both ends."""
        for descriptor in {self.reader, self.writer}:
            os.close(descriptor)


def parsed(text: bytes) -> Any:
    """JSON from a stranger, or WireError; a million nodes at the most.

    >>> parsed(b'{"a": [1]}')
    {'a': [1]}
    """
    if sum(map(text.count, (b",", b"[", b"{"))) > 2 * MAX_NODES:
        raise WireError("a message of too many parts")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WireError(f"a message that is no JSON: {type(error).__name__}") from error


# From a value to JSON and bytes -----------------------------------------------------------------------------


class Encoder:
    """Turns values into JSON nodes and blobs; `keep` gives a node to what can only be referred to."""

    def __init__(self, keep: Callable[[Any], Any]) -> None:
        self.keep, self.blobs, self.nodes = keep, [], 0
        self.seen: dict[int, int] = {}
        self.alive: list[Any] = []  # else the id of a list that is gone could be another's

    def node(self, value: Any, depth: int = 0) -> Any:
        """The JSON node of a value. Raises WireError where it is too deep or has too many parts."""
        self.nodes += 1
        if depth > MAX_DEPTH or self.nodes > MAX_NODES:
            raise WireError("the value is nested too deeply, or has too many parts")
        if value is None or type(value) is bool:
            return value
        if isinstance(value, list | dict):
            if id(value) in self.seen:  # one list in two places is one list on the other side too
                return {"=": self.seen[id(value)]}
            self.seen[id(value)] = len(self.alive)
            self.alive.append(value)
        for kind, encode in _ENCODERS:
            if isinstance(value, kind):
                return encode(self, value, depth + 1)
        return self._numeric(value, depth)

    def _numeric(self, value: Any, depth: int) -> Any:
        if isinstance(value, np.ndarray):
            return _array_node(self, value, depth)
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            return self.tensor(value)
        return self.keep(value)

    def tensor(self, value: Any) -> Any:
        """A tensor by value; one that carries a gradient also by reference, so that it can be followed."""
        if value.is_sparse or str(value.dtype).removeprefix("torch.") not in TENSORS:
            raise WireError(f"a tensor of {value.dtype}")
        raw, name, shape = bytes_of(value)
        node = {"T": self.blob(raw), "dt": name, "sh": list(shape)}
        if value.requires_grad:
            node["g"] = self.keep(value)["o"]
        return node

    def blob(self, content: bytes) -> int:
        """The place of a new raw part."""
        self.blobs.append(content)
        return len(self.blobs) - 1


def _array_node(to: Encoder, value: Any, depth: int) -> Any:
    """Numbers as bytes, texts and objects one by one; a single number as itself."""
    array = np.asarray(value)
    if isinstance(value, np.generic) and array.dtype.kind in "biuf" and array.dtype.itemsize <= 8:
        return {"N": to.node(value.item(), depth + 1), "dt": array.dtype.str}
    node = {"sh": list(array.shape), "x": isinstance(value, np.generic)}
    if array.dtype.kind in KINDS:
        return node | {"a": to.blob(array.tobytes()), "dt": array.dtype.str}
    if array.dtype.kind in "OU":
        return node | {
            "A": [to.node(item, depth + 1) for item in array.ravel().tolist()],
            "dt": array.dtype.str,
        }
    raise WireError(f"an array of {array.dtype}")


def _real(to: Encoder, value: float, depth: int) -> Any:
    number = float(value)
    return number if math.isfinite(number) else {"F": repr(number)}


def _items(tag: str) -> Callable[[Encoder, Any, int], Any]:
    def encode(to: Encoder, value: Any, depth: int) -> Any:
        return {tag: [to.node(item, depth) for item in value]}

    return encode


def _whole(to: Encoder, value: int, depth: int) -> Any:
    number = int(value)
    if number.bit_length() > 8192:
        raise WireError("a whole number of more than 8,192 bits")
    return number


def _list_node(to: Encoder, value: list[Any], depth: int) -> Any:
    """A list; a long one of numbers, or of lists of numbers, as bytes."""
    if len(value) >= PACKED:
        kind = _one_kind(value)
        if kind is not None:
            return {"l": to.blob(np.array(value, kind).tobytes()), "dt": kind}
        if all(type(item) is list for item in value):
            flat = [number for item in value for number in item]
            kind = _one_kind(flat)
            if kind is not None:
                lengths = np.array([len(item) for item in value], "<i8")
                return {
                    "R": to.blob(np.array(flat, kind).tobytes()),
                    "n": to.blob(lengths.tobytes()),
                    "dt": kind,
                }
    return [to.node(item, depth) for item in value]


def _one_kind(value: list[Any]) -> str | None:
    """The kind of number that a list holds alone, or None."""
    if all(type(item) is float for item in value):
        return "<f8" if value else None
    small = all(type(item) is int and -(2**63) <= item < 2**63 for item in value)
    return "<i8" if small else None


def _dict_node(to: Encoder, value: Mapping[Any, Any], depth: int) -> Any:
    return {"d": [[to.node(k, depth), to.node(v, depth)] for k, v in value.items()]}


def _tuple_node(to: Encoder, value: tuple, depth: int) -> Any:
    """A tuple; one with named fields keeps their names."""
    node = {"t": [to.node(item, depth) for item in value]}
    fields = getattr(type(value), "_fields", None)
    return node | {"f": list(fields), "name": type(value).__name__} if fields else node


def _worded(to: Encoder, value: Any, depth: int) -> Any:
    """A number or date whose text says all."""
    text = value.isoformat() if isinstance(value, datetime.date) else str(value)
    return {"w": text, "kind": next(k for k, (kind, _) in WORDED.items() if isinstance(value, kind))}


WORDED: dict[str, tuple[type, Callable[[str], Any]]] = {
    "fraction": (Fraction, Fraction),
    "decimal": (Decimal, Decimal),
    "datetime": (datetime.datetime, datetime.datetime.fromisoformat),
    "date": (datetime.date, datetime.date.fromisoformat),
}


_ENCODERS: tuple[tuple[Any, Callable[[Encoder, Any, int], Any]], ...] = (
    (np.generic, _array_node),
    (str, lambda to, value, depth: str.__str__(value)),
    (int, _whole),
    (float, _real),
    (complex, lambda to, value, depth: {"c": [_real(to, v, 0) for v in (value.real, value.imag)]}),
    (bytes | bytearray, lambda to, value, depth: {"b": to.blob(bytes(value))}),
    (list, _list_node),
    (tuple, _tuple_node),
    (Fraction | Decimal | datetime.date, _worded),
    (set, _items("s")),
    (frozenset, _items("f")),
    (Mapping, _dict_node),
    (deque | UserList, lambda to, value, depth: [to.node(item, depth) for item in value]),
    (range, lambda to, value, depth: {"r": [value.start, value.stop, value.step]}),
    (PurePosixPath, lambda to, value, depth: {"p": str(value)}),
    (type(...), lambda to, value, depth: {"e": True}),
)


# And back ---------------------------------------------------------------------------------------------------


BROKEN = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError)
"""What a forged node makes Python raise."""


class Decoder:
    """Builds exact values from the nodes of one frame; `refer` makes what stands for a reference."""

    def __init__(self, blobs: Sequence[bytes], refer: Callable[[dict[str, Any], Decoder], Any]) -> None:
        self.blobs, self.refer, self.nodes = blobs, refer, 0
        self.made: list[tuple[Any, int]] = []

    def value(self, node: Any, depth: int = 0) -> Any:
        """The value of a node. Raises WireError for one that no encoder makes."""
        self.nodes += 1
        if depth > 2 * MAX_DEPTH or self.nodes > 2 * MAX_NODES:
            raise WireError("a value that is nested too deeply, or has too many parts")
        if node is None or isinstance(node, bool | int | float | str):
            return node
        try:
            if isinstance(node, list) or not node.keys().isdisjoint("dlR"):
                return self._container(node, depth + 1)
            return self._tagged(node, depth + 1)
        except WireError:
            raise
        except BROKEN as error:
            raise WireError(f"a value that nobody encoded: {type(error).__name__}") from error

    def _container(self, node: Any, depth: int) -> Any:
        """A list or dict, noted so that it can stand in a second place, with what it costs there."""
        place, before = len(self.made), self.nodes
        self.made.append((None, 0))
        if isinstance(node, list):
            found: Any = [self.value(item, depth) for item in node]
        elif "d" not in node:
            found = self._packed(node)
        else:
            found = {self.value(key, depth): self.value(value, depth) for key, value in node["d"]}
        self.made[place] = found, self.nodes - before + 1
        return found

    def _packed(self, node: dict[str, Any]) -> list[Any]:
        """A list of numbers, or of lists of numbers, from bytes."""
        if node["dt"] not in ("<f8", "<i8"):
            raise WireError("a list of an unknown kind")
        flat = np.frombuffer(self.blob(node["l" if "l" in node else "R"]), node["dt"])
        self.nodes += len(flat) // 8
        if "l" in node:
            return flat.tolist()
        lengths = np.frombuffer(self.blob(node["n"]), "<i8")
        if (lengths < 0).any() or lengths.sum() != len(flat) or len(lengths) > MAX_NODES:
            raise WireError("a list of lists that do not fit")
        return [part.tolist() for part in np.split(flat, np.cumsum(lengths)[:-1])]

    def again(self, place: Any) -> Any:
        """A container that was there before. One that holds itself, or unfolds without end, is refused."""
        if type(place) is not int or not 0 <= place < len(self.made) or not self.made[place][1]:
            raise WireError("a list or dict that holds itself")
        found, cost = self.made[place]
        self.nodes += cost
        return found

    def _tagged(self, node: dict[str, Any], depth: int) -> Any:
        for tag, decode in _DECODERS.items():
            if tag in node:
                return decode(self, node, depth)
        return self.refer(node, self)

    def blob(self, place: Any) -> bytes:
        """A raw part of the frame."""
        if type(place) is not int or not 0 <= place < len(self.blobs):
            raise WireError("a part that is not there")
        return self.blobs[place]

    def items(self, nodes: Any, depth: int) -> list[Any]:
        """Each of the nodes as a value."""
        return [self.value(item, depth) for item in nodes]


def shape_of(node: dict[str, Any]) -> tuple[int, ...]:
    """The shape of an array's node: whole numbers, at most eight of them.

    >>> shape_of({"sh": [2, 3]})
    (2, 3)
    """
    shape = node["sh"]
    if not isinstance(shape, list) or len(shape) > 8 or any(type(n) is not int or n < 0 for n in shape):
        raise WireError("an array of no shape")
    return tuple(shape)


def _decode_array(of: Decoder, node: dict[str, Any], depth: int) -> Any:
    kind = np.dtype(str(node["dt"]))
    if kind.kind not in KINDS:
        raise WireError(f"an array of {kind}")
    array = np.frombuffer(of.blob(node["a"]), dtype=kind).reshape(shape_of(node)).copy()
    return array[()] if node.get("x") and not array.shape else array


def _decode_objects(of: Decoder, node: dict[str, Any], depth: int) -> Any:
    items, text = of.items(node["A"], depth), str(node["dt"])[1:2] == "U"
    if text and not all(type(item) is str for item in items):
        raise WireError("an array of texts that holds something else")
    array = np.empty(len(items), dtype=object)
    array[:] = items
    array = array.astype(str) if text else array
    array = array.reshape(shape_of(node))
    return array[()] if node.get("x") and not array.shape else array


def tensor_of(raw: bytes, name: str, shape: tuple[int, ...]) -> Any:
    """The tensor with these bytes. Raises WireError where they do not fit."""
    import torch

    if name not in TENSORS:
        raise WireError("a tensor of an unknown kind")
    kind = getattr(torch, name)
    if len(raw) != math.prod(shape) * kind.itemsize:
        raise WireError("a tensor whose bytes do not fit its shape")
    return (
        torch.frombuffer(bytearray(raw), dtype=kind).reshape(shape) if raw else torch.empty(shape, dtype=kind)
    )


def bytes_of(tensor: Any) -> tuple[bytes, str, tuple[int, ...]]:
    """What `tensor_of` makes the tensor of again; its gradient is left behind."""
    import torch

    plain = tensor.detach().cpu().contiguous()
    raw = plain.reshape(-1).view(torch.uint8).numpy().tobytes()
    return raw, str(plain.dtype).removeprefix("torch."), tuple(plain.shape)


def _decode_tensor(of: Decoder, node: dict[str, Any], depth: int) -> Any:
    found = tensor_of(of.blob(node["T"]), node["dt"], shape_of(node))
    return found if node.get("g") is None else of.refer({"tensor": found, "g": node["g"]}, of)


def _decode_complex(of: Decoder, node: dict[str, Any], depth: int) -> complex:
    real, imaginary = of.items(node["c"], depth)
    return complex(float(real), float(imaginary))


def _decode_tuple(of: Decoder, node: dict[str, Any], depth: int) -> tuple:
    items = tuple(of.items(node["t"], depth))
    fields = node.get("f")
    if not isinstance(fields, list) or not fields:
        return items
    if len(fields) != len(items) or len(fields) > 100:
        raise WireError("a tuple whose fields do not fit")
    return namedtuple(str(node["name"])[:100], fields)(*items)


def _decode_number(of: Decoder, node: dict[str, Any], depth: int) -> Any:
    kind = np.dtype(str(node["dt"]))
    if kind.kind not in "biuf":
        raise WireError(f"a number of {kind}")
    return kind.type(of.value(node["N"], depth))


_DECODERS: dict[str, Callable[[Decoder, dict[str, Any], int], Any]] = {
    "=": lambda of, node, depth: of.again(node["="]),
    "N": _decode_number,
    "t": _decode_tuple,
    "w": lambda of, node, depth: WORDED[node["kind"]][1](str(node["w"])[:1000]),
    "s": lambda of, node, depth: set(of.items(node["s"], depth)),
    "f": lambda of, node, depth: frozenset(of.items(node["f"], depth)),
    "a": _decode_array,
    "A": _decode_objects,
    "T": _decode_tensor,
    "F": lambda of, node, depth: {"inf": math.inf, "-inf": -math.inf}.get(node["F"], math.nan),
    "c": _decode_complex,
    "b": lambda of, node, depth: of.blob(node["b"]),
    "r": lambda of, node, depth: range(*(int(v) for v in node["r"])),
    "p": lambda of, node, depth: PurePosixPath(str(node["p"])),
    "e": lambda of, node, depth: ...,
}
