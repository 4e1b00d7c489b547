"""Kinds of the standard library's values that cross the pipe unchanged, each as a plainer value.

`pack` makes a plainer value of one of its type, `unpack` makes it anew on the other side, from what a
submission may have written: it checks every part, and bounds what using the value costs. A class of a
learner's own that derives from a known type crosses as that type. `tables` adds the kinds of pandas and
datasets, `arrays` those of numpy and torch, where these are loaded.
"""

from __future__ import annotations

import builtins
import contextlib
import datetime
import functools
import importlib
import math
import pathlib
import re
import struct
import sys
import types
import zoneinfo
from collections import (
    ChainMap,
    Counter,
    OrderedDict,
    UserDict,
    UserList,
    UserString,
    defaultdict,
    deque,
    namedtuple,
)
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from autograder.grading.inside import objects
from autograder.grading.inside.frames import MAX_NODES, WireError

MAX_BITS = 8192
"""Bits of a whole number."""
MAX_EXPONENT = 2500
"""Largest exponent of a Decimal: as a whole number it has no more than MAX_BITS bits, or little more."""
ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]{0,30}(/[A-Za-z0-9_+-]{1,30}){0,2}")
LEAVE = object()
"""What `pack` gives for a value that only a reference can stand for."""


@dataclass(frozen=True)
class Kind:
    """One kind: its type, how it becomes plainer and comes back, and how many plain parts one costs.

    exact: a class that derives from the type is another kind, which stays: what it adds would be lost.
    """

    name: str
    type: type
    pack: Callable[[Any], Any]
    unpack: Callable[[Any], Any]
    cost: int = 1
    exact: bool = False


LIKE: dict[str, type] = {
    kind.__name__: kind
    for kind in (types.GeneratorType, types.AsyncGeneratorType, types.CoroutineType, property)
    + (functools.cached_property, map, filter, zip, enumerate, reversed)
}
"""Classes of objects that stay where they are, and of which a test may ask whether one is of them."""


def base_of(kind: type) -> str:
    """The plain type that a notebook's own class derives from and adds to, or ""."""
    if kind.__module__ != "__main__" or _only_fields(kind):
        return ""
    base = objects.base_of(kind)
    return "" if base is object else base.__name__


def _only_fields(kind: type) -> bool:
    """Whether a class is a tuple with named fields and nothing besides."""
    plain = vars(namedtuple("Plain", "")).keys() | {
        "__annotations__",
        "__orig_bases__",
        "__static_attributes__",
    }
    fields = getattr(kind, "_fields", None)
    return kind.__bases__ == (tuple,) and isinstance(fields, tuple) and vars(kind).keys() <= plain | {*fields}


BY_NAME: dict[str, Kind] = {}
BY_TYPE: dict[type, Kind] = {}
LIBRARIES = {
    "numpy": "autograder.grading.inside.arrays",
    "torch": "autograder.grading.inside.arrays",
    "pandas": "autograder.grading.inside.tables",
    "datasets": "autograder.grading.inside.tables",
}
"""Where the kinds of a library are described."""
_loaded: set[str] = set()


def add(*new: Kind) -> None:
    """Have kinds known."""
    for kind in new:
        BY_NAME[kind.name] = kind
        BY_TYPE[kind.type] = kind


def of_loaded() -> None:
    """Have the kinds of those libraries known that this process has imported."""
    for library in (LIBRARIES.keys() - _loaded) & sys.modules.keys():
        with contextlib.suppress(Exception):  # a course may have a module of its own that is called so
            load(library)


def load(library: str) -> None:
    """Have the kinds of a library known; it is imported."""
    _loaded.add(library)
    importlib.import_module(library)
    getattr(importlib.import_module(LIBRARIES[library]), f"add_{library}")()


def named(name: Any) -> Kind:
    """The kind of a name. Raises WireError where there is none."""
    library = name.partition(".")[0] if isinstance(name, str) else ""
    if library in LIBRARIES.keys() - _loaded:
        load(library)
    if not isinstance(name, str) or name not in BY_NAME:
        raise WireError("a value of no known kind")
    return BY_NAME[name]


def again(name: str, packed: Any) -> Any:
    """A value of the kind of this name, made anew."""
    return named(name).unpack(packed)


def only(value: Any, *kinds: type) -> Any:
    """The value, if its type is exactly one of these. Raises WireError."""
    if type(value) not in kinds:
        raise WireError("a value whose parts are of another kind")
    return value


def parts(value: Any, *kinds: type | tuple[type, ...]) -> tuple[Any, ...]:
    """The items of a tuple that has one of each of these types. Raises WireError.

    >>> parts((1, "a"), int, str)
    (1, 'a')
    """
    if type(value) is not tuple or len(value) != len(kinds):
        raise WireError("a value whose parts are of another kind")
    for item, kind in zip(value, kinds, strict=True):
        only(item, *(kind if isinstance(kind, tuple) else (kind,)))
    return value


# Numbers and dates ------------------------------------------------------------------------------------------


def whole(number: int) -> int:
    """A whole number of at most MAX_BITS bits. Raises WireError."""
    if number.bit_length() > MAX_BITS:
        raise WireError(f"a whole number of more than {MAX_BITS:,} bits")
    return number


def bits_of(number: float) -> str:
    """A number's bytes in hexadecimal, for those that JSON does not know."""
    return struct.pack(">d", number).hex()


def of_bits(text: str) -> float:
    """The number with these bytes.

    >>> of_bits(bits_of(float("-inf")))
    -inf
    """
    return struct.unpack(">d", bytes.fromhex(only(text, str)))[0]


def _fraction(value: Any) -> Fraction:
    above, below = parts(value, int, int)
    return Fraction(above, below)


def _decimal_text(value: Decimal) -> str:
    """A Decimal's text, if its digits and its exponent are within bounds."""
    _, digits, exponent = Decimal(value).as_tuple()
    if len(digits) > MAX_EXPONENT or (isinstance(exponent, int) and abs(exponent) > MAX_EXPONENT):
        raise WireError(f"a Decimal of more than {MAX_EXPONENT:,} digits")
    return str(value)


def _decimal(text: Any) -> Decimal:
    if len(only(text, str)) > 2 * MAX_EXPONENT:
        raise WireError(f"a Decimal of more than {MAX_EXPONENT:,} digits")
    number = Decimal(text)
    _decimal_text(number)
    return number


def _range_parts(value: range) -> tuple[int, int, int]:
    try:
        length = len(value)
    except OverflowError:
        length = MAX_NODES + 1
    if length > MAX_NODES:
        raise WireError(f"a range of more than {MAX_NODES:,} numbers")
    return value.start, value.stop, value.step


def _range(value: Any) -> range:
    numbers = range(*parts(value, int, int, int))
    _range_parts(numbers)
    return numbers


def _datetime_parts(value: datetime.datetime) -> tuple[Any, ...]:
    day = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    return *day, value.fold, _zone(value.tzinfo)


def _zone(zone: Any) -> Any:
    if zone is not None and type(zone) not in (datetime.timezone, zoneinfo.ZoneInfo):
        raise WireError("a time with a time zone that Python's own library does not know")
    return zone


ZONES = (type(None), datetime.timezone, zoneinfo.ZoneInfo)


def _datetime(value: Any) -> datetime.datetime:
    *day, fold, zone = parts(value, *[int] * 8, ZONES)
    return datetime.datetime(*day, fold=fold, tzinfo=zone)


def _time(value: Any) -> datetime.time:
    *clock, fold, zone = parts(value, *[int] * 5, ZONES)
    return datetime.time(*clock, fold=fold, tzinfo=zone)


def _timezone(value: Any) -> datetime.timezone:
    kinds = (datetime.timedelta, str)
    return datetime.timezone(*parts(value, *kinds[: len(only(value, tuple))]))


def _zoneinfo_key(value: zoneinfo.ZoneInfo) -> str:
    if value.key is None or not ZONE.fullmatch(value.key):
        raise WireError("a time zone without a name")
    return value.key


def _zoneinfo(key: Any) -> zoneinfo.ZoneInfo:
    if not ZONE.fullmatch(only(key, str)):
        raise WireError("a time zone of no known name")
    return zoneinfo.ZoneInfo(key)


add(
    Kind("Fraction", Fraction, lambda v: (whole(v.numerator), whole(v.denominator)), _fraction),
    Kind("Decimal", Decimal, _decimal_text, _decimal),
    Kind("range", range, _range_parts, _range),
    Kind("slice", slice, lambda v: (v.start, v.stop, v.step), lambda v: slice(*only(v, tuple)[:3])),
    Kind("datetime", datetime.datetime, _datetime_parts, _datetime),
    Kind(
        "date",
        datetime.date,
        lambda v: (v.year, v.month, v.day),
        lambda v: datetime.date(*parts(v, int, int, int)),
    ),
    Kind(
        "time",
        datetime.time,
        lambda v: (v.hour, v.minute, v.second, v.microsecond, v.fold, _zone(v.tzinfo)),
        _time,
    ),
    Kind(
        "timedelta",
        datetime.timedelta,
        lambda v: (v.days, v.seconds, v.microseconds),
        lambda v: datetime.timedelta(*parts(v, int, int, int)),
    ),
    Kind("timezone", datetime.timezone, lambda v: v.__getinitargs__(), _timezone),
    Kind("ZoneInfo", zoneinfo.ZoneInfo, _zoneinfo_key, _zoneinfo),
)


# Containers, bytes, constants, builtin classes --------------------------------------------------------------


def _defaultdict(value: Any) -> defaultdict:
    factory, content = value
    if factory is not None and not callable(factory):
        raise WireError("a defaultdict that makes nothing")
    return defaultdict(factory, only(content, dict))


def _deque(value: Any) -> deque:
    items, most = parts(value, list, (int, type(None)))
    return deque(items, most)


def _chain(value: Any) -> ChainMap:
    maps = only(value, list)
    if not maps or len(maps) > 100 or not all(isinstance(mapping, Mapping) for mapping in maps):
        raise WireError("a ChainMap of no maps")
    return ChainMap(*maps)


def _memory(value: memoryview) -> bytes:
    if value.format != "B" or value.ndim != 1:
        raise WireError("a memoryview of more than bytes")
    return bytes(value)


VIEWS = {name: type(getattr({}, name)()) for name in ("keys", "values", "items")}
TYPES: dict[str, type] = {
    kind.__name__: kind
    for kind in vars(builtins).values()
    if isinstance(kind, type) and (issubclass(kind, BaseException) or kind.__module__ == "builtins")
}
"""Classes that cross by name: using one makes plain values only."""
TYPES["NoneType"] = type(None)


def _type_name(value: type) -> Any:
    return value.__name__ if TYPES.get(value.__name__) is value else LEAVE


def _type(name: Any) -> type:
    if only(name, str) not in TYPES:
        raise WireError("a class of no known name")
    return TYPES[name]


add(
    Kind("OrderedDict", OrderedDict, dict, lambda v: OrderedDict(only(v, dict))),
    Kind("Counter", Counter, dict, lambda v: Counter(only(v, dict))),
    Kind("defaultdict", defaultdict, lambda v: (v.default_factory, dict(v)), _defaultdict),
    Kind("UserDict", UserDict, lambda v: dict(v.data), lambda v: UserDict(only(v, dict)), exact=True),
    Kind("UserList", UserList, lambda v: list(v.data), lambda v: UserList(only(v, list)), exact=True),
    Kind("UserString", UserString, lambda v: str(v.data), lambda v: UserString(only(v, str)), exact=True),
    Kind("deque", deque, lambda v: (list(v), v.maxlen), _deque),
    Kind("ChainMap", ChainMap, lambda v: list(v.maps), _chain),
    Kind("keys", VIEWS["keys"], dict.fromkeys, lambda v: only(v, dict).keys()),
    Kind("values", VIEWS["values"], list, lambda v: dict(enumerate(only(v, list))).values()),
    Kind("items", VIEWS["items"], dict, lambda v: only(v, dict).items()),
    Kind("bytearray", bytearray, bytes, lambda v: bytearray(only(v, bytes))),
    Kind("memoryview", memoryview, _memory, lambda v: memoryview(only(v, bytes))),
    Kind("...", type(...), lambda v: None, lambda v: ...),
    Kind("NotImplemented", type(NotImplemented), lambda v: None, lambda v: NotImplemented),
    Kind("mappingproxy", types.MappingProxyType, dict, lambda v: types.MappingProxyType(only(v, dict))),
    Kind("class", type, _type_name, _type),
)
UNPICKLED = (memoryview, types.MappingProxyType, *VIEWS.values())
"""Types that Python cannot pickle."""
BY_TYPE[Mapping] = BY_NAME["mappingproxy"]
"""A mapping of no known class: it is no dict, here as there."""


@functools.lru_cache(maxsize=200)
def _tuple_class(name: str, fields: tuple[str, ...]) -> type:
    return namedtuple(name, fields, module="__main__")


def named_tuple(name: Any, fields: Any, items: tuple) -> tuple:
    """A tuple with named fields."""
    fields = tuple(only(field, str)[:100] for field in only(fields, list, tuple))
    if len(fields) != len(items) or len(fields) > 100:
        raise WireError("a tuple whose fields do not fit")
    return _tuple_class(only(name, str)[:100], fields)(*items)


# Paths ------------------------------------------------------------------------------------------------------


class NoFile(WireError):
    """A path of a learner's was to be opened where the tests run."""


def _blocked(name: str) -> Callable[..., Any]:
    def refuse(self: Any, *args: Any, **options: Any) -> Any:
        raise NoFile(f"`{name}` of a learner's path: what lies there is in the learner's process alone")

    return refuse


class _Path(pathlib.PosixPath):
    """A path of a learner's: equal to any other of its text, but nothing of this machine is reached by it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pathlib.PosixPath, tuple(self.parts)


for _name in vars(pathlib.Path).keys() - vars(pathlib.PurePath).keys() - {"cwd", "home"}:
    if callable(getattr(pathlib.Path, _name)) and not _name.startswith("_"):
        setattr(_Path, _name, _blocked(_name))
_Path.__name__ = _Path.__qualname__ = "PosixPath"

add(
    Kind("PosixPath", pathlib.PosixPath, str, lambda v: _Path(only(v, str))),
    Kind("PurePosixPath", pathlib.PurePosixPath, str, lambda v: pathlib.PurePosixPath(only(v, str))),
    Kind("PureWindowsPath", pathlib.PureWindowsPath, str, lambda v: pathlib.PureWindowsPath(only(v, str))),
)


def bounded_shape(shape: Any, itemsize: int, most: int) -> tuple[int, ...]:
    """A shape of at most eight whole numbers, none of which makes a loop over it long. Raises WireError.

    >>> bounded_shape([2, 3], 8, 100)
    (2, 3)
    """
    if type(shape) not in (list, tuple) or len(shape) > 8 or any(type(n) is not int or n < 0 for n in shape):
        raise WireError("an array of no shape")
    used = math.prod(n for n in shape if n)
    if used * itemsize > most or (0 in shape and used > MAX_NODES):
        raise WireError("an array that is too large")
    return tuple(shape)
