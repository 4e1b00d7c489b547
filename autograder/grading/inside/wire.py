"""Values on the pipe between a learner's process and the grader's, as JSON and raw bytes.

The grader may send anything that it can pickle: it is trusted. A learner's process answers in JSON and raw
bytes alone, and `Decoder` builds exact values of known libraries from them. Nothing of the learner's runs on
this side: no class, no `==`, no `__reduce__`. What is too large, too deep or of no known form is a WireError.
A value comes back with its type and its content, or does not come at all.
"""

from __future__ import annotations

import base64
import enum
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from autograder.grading.inside import arrays, kinds, objects
from autograder.grading.inside.frames import (
    MAX_BLOBS,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_HEADER,
    MAX_NODES,
    WireError,
)

PACKED = 32
"""So long is a list of numbers that crosses as bytes."""
INLINE = 600
"""Bytes that cross within the JSON: a frame has few parts."""
LONG = 4000
"""So long is a text that crosses as bytes."""
CHAIN = MAX_DEPTH // 2
"""So deep may an object of a course's class lie in others; one that lies deeper follows behind the values."""


# From a value to JSON and bytes -----------------------------------------------------------------------------


class Encoder:
    """Turns values into JSON nodes and blobs; `keep` gives a node to what can only be referred to.

    plain: an object of a learner's class that derives from a plain type crosses as one of that type.
    classes: the qualified names of the course's classes. shared: their objects that both processes have.
    """

    def __init__(
        self,
        keep: Callable[[Any], Any],
        classes: Collection[str] = (),
        shared: objects.Shared | None = None,
        plain: bool = False,
    ) -> None:
        self.classes, self.shared = classes, shared or objects.Shared()
        self.plain = plain
        self.places: dict[int, int] = {}
        self.objects: list[Any] = []
        self.later: list[int] = []
        self.keep, self.blobs, self.nodes, self.size, self.raw = keep, [], 0, 0, 0
        self.seen: dict[int, int] = {}
        self.alive: list[Any] = []  # else the id of a list that is gone could be another's
        kinds.of_loaded()

    def node(self, value: Any, depth: int = 0) -> Any:
        """The JSON node of a value. Raises WireError where it is too deep, too large, or stays."""
        self.count(1)
        if depth > MAX_DEPTH:
            raise WireError("the value is nested too deeply")
        if value is None or type(value) is bool:
            return value
        if self.classes and type(value).__module__ == "__main__" and type(value).__qualname__ in self.classes:
            return self._object(value, depth)
        if hasattr(type(value), "__dataclass_fields__"):  # whatever it derives from, its fields are asked for
            return self.keep(value)
        if not self.plain and (base := kinds.base_of(type(value))):
            return self._kept_with_content(value, base, depth + 1)
        for base in type(value).__mro__:
            if base in _ENCODERS:
                return _ENCODERS[base](self, value, depth + 1)
            if base in kinds.BY_TYPE:
                return self._kind(kinds.BY_TYPE[base], value, depth + 1)
            if base.__name__ == "Tensor" and base.__module__ in ("torch", "torch._tensor"):
                return arrays.tensor_node(self, value)
        return self.keep(value)

    def _kept_with_content(self, value: Any, base: str, depth: int) -> Any:
        """A reference to an object of a class that derives from a plain type, and what it holds for good."""
        fixed = objects.PLAIN[base] in objects.VALUES
        held = self.node(objects.content_of(value), depth) if fixed else None
        return self.keep(value) | {"base": base, "v": held}

    def _object(self, value: Any, depth: int) -> Any:
        """An object of a course's class: its place in the frame, its class, its number for both processes."""
        name = type(value).__qualname__
        if isinstance(value, enum.Enum):
            return {"member": [name, objects.member_name(value)]}
        if id(value) in self.places:
            return {"obj": [self.places[id(value)]]}
        index = self.places[id(value)] = len(self.objects)
        self.objects.append(value)
        number = self.shared.number(value)
        if depth <= CHAIN or objects.base_of(type(value)) in objects.VALUES:
            return {"obj": [index, name, number, *self._parts(value, depth + 1)]}
        self.later.append(index)
        return {"obj": [index, name, number]}

    def _parts(self, value: Any, depth: int) -> list[Any]:
        """The nodes of an object's content and attributes, each with whether it is what crossed before."""
        before = self.shared.before(value)
        content = self.node(objects.content_of(value), depth)
        state = objects.state_of(value)
        same = {name for name, part in state.items() if name in before and before[name] is part}
        nodes = [[name, self.node(part, depth), name in same] for name, part in state.items()]
        self.shared.note(value)
        return [content, nodes]

    def rest(self) -> dict[str, Any]:
        """What follows behind the values of a frame: objects that changed, and those too deep in others."""
        changed = self.node_or(
            [value for value in self.shared.changed() if id(value) not in self.places], _nothing
        )
        rows = []
        while self.later:
            index = self.later.pop()
            rows.append([index, *self._parts(self.objects[index], 0)])
        return {"changed": changed, "rest": rows}

    def _kind(self, kind: kinds.Kind, value: Any, depth: int) -> Any:
        other = kind.exact and type(value) is not kind.type
        packed = kinds.LEAVE if other else kind.pack(value)
        if packed is kinds.LEAVE:
            return self.keep(value)
        self.count(kind.cost)
        return {"y": kind.name, "v": self.node(packed, depth)}

    def count(self, nodes: int, size: int = 0) -> None:
        """Note parts and characters of JSON. Raises WireError where one frame cannot hold them."""
        self.nodes += nodes
        self.size += size
        if self.nodes > MAX_NODES or self.size > MAX_HEADER // 2:
            raise WireError("the value is too large, or has too many parts")

    def again(self, value: Any) -> Any:
        """The node of a list or dict that was there before, None for a new one, which is noted."""
        if id(value) in self.seen:  # one list in two places is one list on the other side too
            return {"=": self.seen[id(value)]}
        self.seen[id(value)] = len(self.alive)
        self.alive.append(value)
        return None

    def blob(self, content: bytes) -> int | str:
        """The place of a new raw part; a short one itself."""
        if len(content) <= INLINE:
            self.count(0, 4 * len(content) // 3)
            return base64.b64encode(content).decode()
        self.raw += len(content)
        if self.raw > MAX_BYTES or len(self.blobs) >= MAX_BLOBS:
            raise WireError("the value is too large, or has too many parts")
        self.blobs.append(content)
        return len(self.blobs) - 1

    def node_or(self, value: Any, other: Callable[[Any], Any]) -> Any:
        """The node of a value, or what `other` gives for one that is too large, stays, or cannot be read."""
        counts, blobs, alive = (self.nodes, self.size, self.raw), len(self.blobs), len(self.alive)
        known = len(self.objects)
        try:
            return self.node(value)
        except Exception:  # a learner's own class may raise anything while it is read
            self.nodes, self.size, self.raw = counts
            del self.blobs[blobs:]
            for item in self.alive[alive:]:
                del self.seen[id(item)]
            del self.alive[alive:]
            for item in self.objects[known:]:
                del self.places[id(item)]
            del self.objects[known:]
            self.later = [index for index in self.later if index < known]
            return other(value)


def _nothing(value: Any) -> None:
    """What stands for a value that is left out."""


def _text_node(to: Encoder, value: str, depth: int) -> Any:
    text = str.__str__(value)
    if len(text) > LONG:
        return {"u": to.blob(text.encode("utf-8", "surrogatepass"))}
    to.count(0, len(text) if text.isascii() else 6 * len(text))
    return text


def _whole_node(to: Encoder, value: int, depth: int) -> Any:
    number = kinds.whole(int(value))
    to.count(0, number.bit_length() // 3)
    return number


def _float_node(to: Encoder, value: float, depth: int) -> Any:
    number = float(value)
    return number if math.isfinite(number) else {"F": kinds.bits_of(number)}


def _complex_node(to: Encoder, value: complex, depth: int) -> Any:
    number = complex(value)
    return {"c": [_float_node(to, part, 0) for part in (number.real, number.imag)]}


def _items(tag: str) -> Callable[[Encoder, Any, int], Any]:
    def encode(to: Encoder, value: Any, depth: int) -> Any:
        return {tag: [to.node(item, depth) for item in value]}

    return encode


def _list_node(to: Encoder, value: list[Any], depth: int) -> Any:
    """A list; a long one of numbers, or of lists of numbers, as bytes."""
    known = to.again(value)
    if known is not None:
        return known
    if len(value) >= PACKED:
        packed = _packed_node(to, value)
        if packed is not None:
            return packed
    return [to.node(item, depth) for item in value]


def _packed_node(to: Encoder, value: list[Any]) -> Any:
    kind = _one_kind(value)
    if kind is not None:
        return {"l": to.blob(np.array(value, kind).tobytes()), "dt": kind}
    if not all(type(item) is list for item in value):
        return None
    flat = [number for item in value for number in item]
    kind = _one_kind(flat)
    if kind is None:
        return None
    lengths = np.array([len(item) for item in value], "<i8")
    raw = np.array(flat, kind).tobytes()
    return {"R": to.blob(raw), "n": to.blob(lengths.tobytes()), "dt": kind}


def _one_kind(value: list[Any]) -> str | None:
    """The kind of number that a list holds alone, or None."""
    if all(type(item) is float for item in value):
        return "<f8" if value else None
    small = all(type(item) is int and -(2**63) <= item < 2**63 for item in value)
    return "<i8" if small else None


def _dict_node(to: Encoder, value: dict[Any, Any], depth: int) -> Any:
    known = to.again(value)
    if known is not None:
        return known
    return {"d": [[to.node(k, depth), to.node(v, depth)] for k, v in dict.items(value)]}


def _tuple_node(to: Encoder, value: tuple, depth: int) -> Any:
    """A tuple; one with named fields keeps their names, as do those of C, like `time.localtime()`."""
    node = {"t": [to.node(item, depth) for item in value]}
    fields = getattr(type(value), "_fields", None)
    if hasattr(type(value), "n_unnamed_fields") and not type(value).n_unnamed_fields:
        fields = type(value).__match_args__
    return node | {"f": list(fields), "name": type(value).__name__} if fields else node


_ENCODERS: dict[type, Callable[[Encoder, Any, int], Any]] = {
    np.generic: arrays.array_node,
    np.str_: arrays.array_node,
    np.bytes_: arrays.array_node,
    np.ndarray: arrays.array_node,
    str: _text_node,
    int: _whole_node,
    float: _float_node,
    complex: _complex_node,
    bytes: lambda to, value, depth: {"b": to.blob(bytes(value))},
    list: _list_node,
    tuple: _tuple_node,
    set: _items("s"),
    frozenset: _items("f"),
    dict: _dict_node,
}
"""The plain values; all others become one of these first."""


# And back ---------------------------------------------------------------------------------------------------


class Decoder:
    """Builds exact values from the nodes of one frame; `refer` makes what stands for a reference.

    arrived: is told of every value that is more than a number or a text.

    What a submission wrote may break any library that builds a value: whatever that raises is a WireError.
    """

    def __init__(
        self,
        blobs: Sequence[bytes],
        refer: Callable[[dict[str, Any], Decoder], Any],
        known: objects.Known | None = None,
        arrived: Callable[[Any], None] = lambda value: None,
    ) -> None:
        self.known = known or objects.Known()
        self.objects: dict[int, Any] = {}
        self.blobs, self.refer, self.nodes, self.classes = blobs, refer, 0, 0
        self.arrived = arrived
        self.made: list[tuple[Any, int]] = []

    def value(self, node: Any, depth: int = 0) -> Any:
        """The value of a node. Raises WireError for one that no encoder makes."""
        self.count(1)
        if depth > 2 * MAX_DEPTH:
            raise WireError("a value that is nested too deeply")
        if node is None or isinstance(node, bool | float | str):
            return node
        if isinstance(node, int):
            return kinds.whole(node)
        try:
            container = isinstance(node, list) or not node.keys().isdisjoint("dlR")
            made = self._container(node, depth + 1) if container else self._tagged(node, depth + 1)
            self.arrived(made)
            return made
        except WireError:
            raise
        except Exception as error:
            raise WireError("a value that nobody encoded") from error

    def count(self, nodes: int) -> None:
        """Note parts. Raises WireError where there are too many."""
        self.nodes += nodes
        if self.nodes > 2 * MAX_NODES:
            raise WireError("a value of too many parts")

    def _container(self, node: Any, depth: int) -> Any:
        """A list or dict, noted so that it can stand in a second place, with what it costs there."""
        index, before = len(self.made), self.nodes
        self.made.append((None, 0))
        if isinstance(node, list):
            made: Any = [self.value(item, depth) for item in node]
        elif "d" not in node:
            made = self._packed(node)
        else:
            made = {self.value(key, depth): self.value(value, depth) for key, value in node["d"]}
        self.made[index] = made, self.nodes - before + 1
        return made

    def _packed(self, node: dict[str, Any]) -> list[Any]:
        """A list of numbers, or of lists of numbers, from bytes."""
        if node["dt"] not in ("<f8", "<i8"):
            raise WireError("a list of an unknown kind")
        flat = np.frombuffer(self.blob(node["l" if "l" in node else "R"]), node["dt"])
        self.count(len(flat) // 8)
        if "l" in node:
            return flat.tolist()
        lengths = np.frombuffer(self.blob(node["n"]), "<i8")
        if (lengths < 0).any() or lengths.sum() != len(flat) or len(lengths) > MAX_NODES:
            raise WireError("a list of lists that do not fit")
        self.count(len(lengths))
        return [part.tolist() for part in np.split(flat, np.cumsum(lengths)[:-1])]

    def again(self, index: Any) -> Any:
        """A container that was there before. One that holds itself, or unfolds without end, is refused."""
        if type(index) is not int or not 0 <= index < len(self.made) or not self.made[index][1]:
            raise WireError("a list or dict that holds itself")
        made, cost = self.made[index]
        self.count(cost)
        return made

    def _tagged(self, node: dict[str, Any], depth: int) -> Any:
        for tag, decode in _DECODERS.items():
            if tag in node:
                return decode(self, node, depth)
        return self.refer(node, self)

    def member(self, node: dict[str, Any], depth: int) -> Any:
        """A member of an Enum of the course's."""
        kind, name = kinds.only(node["member"], list)
        return objects.member(self.known.kind(kind), name)

    def object(self, node: dict[str, Any], depth: int) -> Any:
        """An object of a class of the course's: one that was there before, that was sent, or a new one."""
        index, *more = kinds.only(node["obj"], list)
        if not more:
            return self.objects[kinds.only(index, int)]
        name, number, *parts = more
        kind, content = self.known.kind(name), None
        self.count(3)
        if kinds.only(index, int) in self.objects:
            raise WireError("two objects of one number")
        if objects.base_of(kind) in objects.VALUES:
            content = kinds.only(self.value(parts[0], depth), objects.base_of(kind))
            parts[0] = None
        self.objects[index] = self.known.again(number, kind, content)
        if parts:
            self._receive(self.objects[index], parts, depth)
        return self.objects[index]

    def _receive(self, made: Any, parts: list[Any], depth: int) -> None:
        """Fill an object with content and attributes."""
        node, state = parts
        base, content = objects.base_of(type(made)), self.value(node, depth)
        if base in objects.FILLED:
            objects.fill(made, kinds.only(content, base))
        rows = [(name, self.value(part, depth), same) for name, part, same in kinds.only(state, list)]
        objects.received(made, rows, self.known.stands_in)
        self.known.note(made)

    def rest(self, frame: Mapping[str, Any]) -> None:
        """Read what follows behind the values of a frame: `Encoder.rest`."""
        if frame.get("changed"):  # an empty list here is no value of anybody's
            self.value(frame["changed"])
        try:
            for index, *parts in frame.get("rest") or ():
                self._receive(self.objects[index], parts, 0)
        except WireError:
            raise
        except Exception as error:
            raise WireError("an object that nobody encoded") from error

    def kind(self, node: dict[str, Any], depth: int) -> Any:
        """A value of one of the `kinds`."""
        kind = kinds.named(node["y"])
        self.count(kind.cost)
        return kind.unpack(self.value(node["v"], depth))

    def blob(self, index: Any) -> bytes:
        """A raw part of the frame."""
        if type(index) is str:
            return base64.b64decode(index, validate=True)
        if type(index) is not int or not 0 <= index < len(self.blobs):
            raise WireError("a part that is not there")
        return self.blobs[index]

    def items(self, nodes: Any, depth: int) -> list[Any]:
        """Each of the nodes as a value."""
        return [self.value(item, depth) for item in kinds.only(nodes, list)]


def _decode_complex(of: Decoder, node: dict[str, Any], depth: int) -> complex:
    real, imaginary = of.items(node["c"], depth)
    return complex(kinds.only(real, float), kinds.only(imaginary, float))


def _decode_tuple(of: Decoder, node: dict[str, Any], depth: int) -> tuple:
    items = tuple(of.items(node["t"], depth))
    if not node.get("f"):
        return items
    of.count(200)  # making its class takes some time
    return kinds.named_tuple(node["name"], node["f"], items)


_DECODERS: dict[str, Callable[[Decoder, dict[str, Any], int], Any]] = {
    "obj": Decoder.object,
    "member": Decoder.member,
    "y": Decoder.kind,
    "=": lambda of, node, depth: of.again(node["="]),
    "N": arrays.decode_number,
    "a": arrays.decode_array,
    "A": arrays.decode_objects,
    "T": arrays.decode_tensor,
    "t": _decode_tuple,
    "s": lambda of, node, depth: set(of.items(node["s"], depth)),
    "f": lambda of, node, depth: frozenset(of.items(node["f"], depth)),
    "F": lambda of, node, depth: kinds.of_bits(node["F"]),
    "c": _decode_complex,
    "b": lambda of, node, depth: of.blob(node["b"]),
    "u": lambda of, node, depth: of.blob(node["u"]).decode("utf-8", "surrogatepass"),
}
