"""What stands for a learner's functions, classes, objects and exceptions beside the tests.

Using a stand-in asks the learner's process. What a test compares it with stays here: plain data is only sent
where it is an argument, or the operand of an object that the test itself made of a class that was asked for.
"""

from __future__ import annotations

import abc
import builtins
import contextlib
import dataclasses
import inspect
import operator
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder import work as work_module
from autograder.grading.inside import kinds, objects
from autograder.grading.inside.frames import WireError
from autograder.grading.inside.outputs import clean
from rslib import errors

if TYPE_CHECKING:
    from autograder.grading.remote import Remote

COMPARISONS = ("lt", "le", "gt", "ge")
ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "matmul", "and_", "or_", "xor")
PASSED_ON = ("neg", "pos", "abs", "invert", "getitem", "setitem", "delitem", "enter")
"""Operators that give what the learner's class makes of them."""
PLAIN = (int, float, complex, str, list, tuple, dict, set)
STOPS = (StopIteration, StopAsyncIteration)
"""Exceptions that end a loop without a word: a function that raises one could end a test early."""
SHUT = ("autograder.grading", "unittest", "_pytest", "pytest")
"""Modules whose exceptions mean something to the grader or to a runner of tests."""


class RemoteError(Exception):
    """An exception of the learner's that has no counterpart here."""


# Functions --------------------------------------------------------------------------------------------------


def function(remote: Remote, reference: int, node: Mapping[str, Any]) -> Callable[..., Any]:
    """A function that calls the learner's; what that does to lists and arrays happens to ours."""

    def stand_in(*args: Any, **options: Any) -> Any:
        return remote.call(reference, args, options, back=True)

    async def stand_in_later(*args: Any, **options: Any) -> Any:
        return remote.call(reference, args, options, back=True, awaited=True)

    chosen = stand_in_later if node.get("awaited") is True else stand_in
    chosen._reference, chosen._remote = reference, remote
    chosen.__name__ = chosen.__qualname__ = clean(node.get("name", "function"), 100)
    chosen.__doc__ = clean(node["doc"], 2000) if node.get("doc") else None
    with contextlib.suppress(Exception):
        chosen.__signature__ = _signature(node["params"])
    return chosen


def _signature(parameters: Any) -> inspect.Signature:
    made = []
    for name, kind, default, *plain in parameters:
        value = inspect.Parameter.empty
        if default:
            known = plain and isinstance(plain[0], bool | int | float | str | type(None))
            value = plain[0] if known else ...
        made.append(inspect.Parameter(str(name), inspect._ParameterKind(kind), default=value))
    return inspect.Signature(made)


# Objects and classes ----------------------------------------------------------------------------------------


def attribute(remote: Remote, reference: int, name: str) -> Any:
    """What the learner's object has under a name. Raises UnlikeSolution for a method that no task wants."""
    return remote.uses.attribute(name, remote.value({"do": "attribute", "o": reference, "name": name}))


class RemoteClass(abc.ABCMeta):
    """The class of stand-ins for classes: their attributes are the learner's."""

    def __getattr__(cls, name: str) -> Any:
        hidden = name.startswith("_") and name not in ("_fields", "_make", "_field_defaults")
        if hidden or "_reference_of_class" not in cls.__dict__:
            raise AttributeError(name)
        return attribute(cls._remote_of_class, cls._reference_of_class, name)

    def __setattr__(cls, name: str, value: Any) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            cls._remote_of_class.assign(cls._reference_of_class, name, [value])

    def __delattr__(cls, name: str) -> None:
        if name.startswith("_"):
            super().__delattr__(name)
        else:
            cls._remote_of_class.assign(cls._reference_of_class, name, [])


class RemoteObject(metaclass=RemoteClass):
    """An object of the learner's. Reading it asks; comparing it with plain data does not, and is false."""

    _was_made = False
    """Whether a test made it, by calling a class of the learner's."""

    def __new__(cls, *args: Any, **options: Any) -> Any:
        """Make one where the learner's class lives."""
        if not hasattr(cls, "_reference_of_class"):
            raise TypeError("only a class of the learner's can be called")
        remote = cls._remote_of_class
        made = remote.call(cls._reference_of_class, args, options, back=True)
        if isinstance(made, RemoteObject):
            made.__dict__["_was_made"] = True  # of this stand-in alone: what a function returns was not made
        return made

    def __init__(self, *args: Any, **options: Any) -> None:
        """Nothing: it was made where it lives."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return attribute(self._remote, self._reference, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._remote.assign(self._reference, name, [value])

    def __delattr__(self, name: str) -> None:
        self._remote.assign(self._reference, name, [])

    def _operate(self, name: str, *others: Any) -> Any:
        request = {"do": "operate", "o": self._reference, "name": name}
        return self._remote.value(request, tuple(others))

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Its items, asked for once; one that has none would equal whatever it is compared with."""
        try:
            array = np.array(list(self), dtype)
        except Exception:  # it has no items, or these are of many kinds
            array = np.empty((), object)
            array[()] = self
        self._remote.uses.arrived(array)
        return array

    def __len__(self) -> int:
        return operator_index(self._operate("len"))

    def __iter__(self) -> Iterator[Any]:
        return iter(self._operate("iter"))

    def __reversed__(self) -> Iterator[Any]:
        return iter(self._operate("reversed"))

    def __contains__(self, item: Any) -> bool:
        if self._was_made or isinstance(item, RemoteObject):
            return self._operate("contains", item) is True
        return any(item == mine for mine in self)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        return self._operate("exit", kind if kind in vars(builtins).values() else None) is True

    def __str__(self) -> str:
        return str(self._operate("str"))

    def __repr__(self) -> str:
        return str(self._operate("repr"))

    def __format__(self, how: str) -> str:
        return str(self._operate("format", how))

    def __bool__(self) -> bool:
        return self._operate("bool") is True

    def __float__(self) -> float:
        return float(_number(self._operate("float")))

    def __int__(self) -> int:
        return operator_index(self._operate("int"))

    def __hash__(self) -> int:
        return operator_index(self._operate("hash"))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteObject) and self._operate("eq", other) is True


class RemoteIterator(RemoteObject):
    """A generator of the learner's, or another iterator: each value is asked for when a test wants it."""

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return self._operate("next")


class CallableObject(RemoteObject):
    """An object of the learner's that can be called."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Call it where it lives."""
        return self._remote.call(self._reference, args, options, back=True)

    __name__ = property(lambda self: self._kind[1])


class Derived(RemoteObject):
    """An object whose class comes from another that is known here: what that defines is asked for too."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("__") or name in HERE:
            return object.__getattribute__(self, name)
        return type(self).__getattr__(self, name)


BY_CONTENT: dict[str, Callable[..., Any]] = {
    "len": len,
    "iter": list,
    "reversed": lambda values: list(reversed(values)),
    "getitem": operator.getitem,
    "contains": operator.contains,
    "bool": bool,
    "float": float,
    "int": int,
}
"""What is never asked of an object that a function returned: a false length gains nothing."""


class Contained(RemoteObject):
    """An object whose class derives from a plain type: it is compared with plain data by what it holds.

    Operators that its class defines are the learner's, as those of any other object; all others are the plain
    type's. `_own`: names of these operators.
    """

    _own: frozenset[str] = frozenset()

    def _plain(self) -> Any:
        return self._remote.value({"do": "content", "o": self._reference})

    def _operate(self, name: str, *others: Any) -> Any:
        """As any other object; one that no test made has the length and the items of what it holds."""
        if name in BY_CONTENT and not self._was_made:
            return BY_CONTENT[name](self._plain(), *others)
        return RemoteObject._operate(self, name, *others)

    def __getattr__(self, name: str) -> Any:
        """As of any other object; a method of the plain type that no task wants is that of what it holds."""
        plain = hasattr(type(self)._base, name) and not self._was_made
        if plain and not name.startswith("_") and self._remote.uses.unwanted(name):
            return getattr(self._plain(), name)
        return RemoteObject.__getattr__(self, name)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __eq__(self, other: object) -> bool:
        if isinstance(other, RemoteObject):
            return RemoteObject.__eq__(self, other)
        return self._plain() == other

    def __hash__(self) -> int:
        if self._own & {"eq", "hash"}:
            return RemoteObject.__hash__(self)
        return hash(self._plain())


class Container(Contained):
    """One that holds what may change: it is asked for each time."""


class Value(Derived, Contained):
    """One that holds what cannot change: it is such a value here too."""

    def _plain(self) -> Any:
        return objects.content_of(self)


def _contained(name: str, node: Mapping[str, Any], marks: dict[str, Any]) -> type:
    """The class of stand-ins for objects of a class that derives from a plain type."""
    base, defined = objects.PLAIN[node["base"]], node.get("own")
    marks |= {"_base": base, "_own": frozenset(defined if isinstance(defined, list) else [])}
    if base in objects.FILLED:
        marks["__class__"] = property(lambda self: base)
        return RemoteClass(name, (Container,), marks)
    return RemoteClass(name, (Value, base), marks)


def _with_content(kind: type, content: Any) -> Any:
    """A new stand-in that holds this. Raises WireError where it does not fit."""
    if issubclass(kind, Container):
        return object.__new__(kind)
    if type(content) is not kind._base:
        raise WireError("an object that does not hold what its class says")
    return kind._base.__new__(kind, content)


def _as_dataclass(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What makes a class one of data: the names of its fields, and whether its objects can be changed."""
    names = [name for name in fields.get("names") or [] if isinstance(name, str) and name.isidentifier()]
    with contextlib.suppress(TypeError):
        made = dataclasses.make_dataclass("Fields", names[:100], frozen=fields.get("frozen") is True)
        return {name: vars(made)[name] for name in ("__dataclass_fields__", "__dataclass_params__")}
    return {}


HERE = {"_remote", "_reference", "_kind", "_operate", "_was_made", "_reference_of_class", "_remote_of_class"}
HERE |= {"_plain", "_own", "_base"}


def operator_index(value: Any) -> int:
    """A whole number, or TypeError."""
    if type(value) is not int:
        raise TypeError("a whole number was asked for")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float):
        raise TypeError("a number was asked for")
    return value


def _binary(name: str) -> Callable[[RemoteObject, Any], Any]:
    """An operator: with another of the learner's objects; with plain data if the test made the object."""

    def operate(self: RemoteObject, other: Any) -> Any:
        if isinstance(self, Contained) and name not in self._own:
            return _by_content(name, self, other)
        if isinstance(other, RemoteObject) or (self._was_made and type(other) in PLAIN):
            return self._operate(name, other)
        return NotImplemented

    return operate


def _by_content(name: str, value: Contained, other: Any) -> Any:
    """An operator that the learner's class does not define, on what its object holds."""
    plain = value._plain()
    method = getattr(plain, f"__{name.strip('_')}__", None)
    other = other._plain() if isinstance(other, Contained) else other
    if name == "iadd" and isinstance(value, Container) and value._was_made:
        return value._operate(name, other)
    return NotImplemented if method is None else method(other)


def _comparison(name: str) -> Callable[[RemoteObject, Any], Any]:
    def compare(self: RemoteObject, other: Any) -> Any:
        if isinstance(self, Contained) and not isinstance(other, RemoteObject):
            return getattr(self._plain(), f"__{name}__")(other)
        return self._operate(name, other) is True if isinstance(other, RemoteObject) else NotImplemented

    return compare


def _operators() -> None:
    for name in PASSED_ON:
        setattr(RemoteObject, f"__{name}__", lambda self, *args, name=name: self._operate(name, *args))
    for name in COMPARISONS:
        setattr(RemoteObject, f"__{name}__", _comparison(name))
    for name in ARITHMETIC:
        word = name.strip("_")
        setattr(RemoteObject, f"__{word}__", _binary(name))
        setattr(RemoteObject, f"__r{word}__", _binary(f"r{word}"))
        setattr(RemoteObject, f"__i{word}__", _binary(f"i{word}"))


_operators()


def new_class(remote: Remote, reference: int, node: Mapping[str, Any]) -> type:
    """A class that stands for one of the learner's, so that isinstance and except work."""
    given = clean(node.get("name", ""), 100)
    name = given if given in remote.asked else "object"  # else a name could tell what it likes
    marks = {"_reference_of_class": reference, "_remote_of_class": remote}
    marks["__doc__"] = clean(node["doc"], 2000) if node.get("doc") else None
    family = node.get("family")
    if isinstance(family, list):
        return type(name, (RemoteFault, known_error(remote, family[1:])), marks)
    bases = [remote.given_class(base) for base in node.get("bases") or [] if isinstance(base, str)]
    bases = [base for base in bases if base is not None]
    if isinstance(fields := node.get("fields"), dict):
        marks |= _as_dataclass(fields)
    made: Any = RemoteObject
    if node.get("base") in objects.PLAIN:
        bases, made = [], _contained(name, node, marks)
    if bases:
        with contextlib.suppress(TypeError):  # a metaclass of its own
            made = RemoteClass(name, (Derived, *bases[:1]), marks)
    made = made if made is not RemoteObject else RemoteClass(name, (RemoteObject,), marks)
    type.__setattr__(made, "__abstractmethods__", frozenset())
    with contextlib.suppress(Exception):
        type.__setattr__(made, "__signature__", _signature(node["params"]))
    return made


def new_object(
    remote: Remote, reference: int, node: Mapping[str, Any], kind: type, content: Any = None
) -> Any:
    """An object of a class that stands for the learner's, or of none that is known here.

    content: what it holds for good, where its class derives from a plain type that cannot change.
    """
    extra = CallableObject if node.get("calls") else None
    if node.get("next"):
        extra = RemoteIterator
    if kind is RemoteObject and (real := kinds.LIKE.get(str(node.get("like"))) or _drawn(node.get("type"))):
        extra = RemoteClass("object", (extra or RemoteObject,), {"__class__": property(lambda self: real)})
    if extra is not None:
        kind = extra if kind is RemoteObject else RemoteClass(kind.__name__, (extra, kind), {})
    made = _with_content(kind, content) if issubclass(kind, Contained) else object.__new__(kind)
    facts = clean(node.get("k", ""), 20), clean(node.get("name", ""), 200)
    made.__dict__.update(_remote=remote, _reference=reference, _kind=facts)
    return made


def _drawn(name: Any) -> type | None:
    """The class of a stand-in for a part of a figure, so that a test may ask what it is."""
    if not (isinstance(name, list) and len(name) == 2 and all(isinstance(part, str) for part in name)):
        return None
    real = vars(sys.modules[name[0]]).get(name[1]) if name[0] in sys.modules else None
    if not name[0].startswith("matplotlib.") or not isinstance(real, type):
        return None
    return real


# Exceptions -------------------------------------------------------------------------------------------------


class RemoteFault:
    """An exception whose class is the learner's: it says what the learner's says."""

    def __str__(self) -> str:
        text = self.__dict__.get("_text")
        return super().__str__() if text is None else text

    def __getattr__(self, name: str) -> Any:
        reference = self.__dict__.get("_reference")
        if reference is None or name.startswith("__"):
            raise AttributeError(name)
        return attribute(self._remote_of_class, reference, name)


def known_error(remote: Remote, family: Any) -> type[Exception]:
    """The first class of a learner's exception's family that is known here; it is one of exceptions."""
    for pair in family if isinstance(family, list) else []:
        if isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair):
            kind = remote.given_class(pair[1]) if pair[0] == "__main__" else _imported(*pair)
            if isinstance(kind, type) and issubclass(kind, Exception) and not issubclass(kind, STOPS):
                return kind
    return Exception


def _imported(module: str, name: str) -> Any:
    """A class of a module that this process knows already."""
    if module in (errors.__name__, work_module.__name__, "builtins"):
        return vars(sys.modules[module]).get(name)
    if module.startswith(SHUT) or module not in sys.modules:
        return None
    kind = vars(sys.modules[module]).get(name)
    return kind if isinstance(kind, type) else None


def rebuilt(remote: Remote, reply: Mapping[str, Any], args: Sequence[Any], theirs: type | None) -> Exception:
    """The learner's exception, of the nearest class that is known here, with its arguments and words.

    theirs: what stands for its class where that is the learner's own.
    """
    family, text = reply["error"], clean(reply.get("text", ""), 4000)
    kind = known_error(remote, family)
    if isinstance(family, list) and family[:1] == [["builtins", "SystemExit"]] and remote.exits:
        raise SystemExit(args[0] if args and type(args[0]) in (int, str) else None)
    if theirs is not None and issubclass(theirs, RemoteFault) and family[:1] != [["__main__", kind.__name__]]:
        error = theirs.__new__(theirs)
        error.__dict__.update(_text=text, _reference=reply.get("o"))
        error.args = tuple(args)
        return error
    if kind is Exception:
        first = family[0] if isinstance(family, list) and family else ""
        name = first[-1] if isinstance(first, list) and first else "an exception"
        return RemoteError(f"{clean(name, 80)}: {text}")
    return _made(kind, args, text)


def _made(kind: type[Exception], args: Sequence[Any], text: str) -> Exception:
    """An exception with these arguments; one that says something else says the text alone."""
    if kind.__module__ in ("builtins", errors.__name__, work_module.__name__):
        for some in (args, (text,)):
            with contextlib.suppress(Exception):
                error = kind(*some)
                if str(error) == text or some == (text,):
                    return error
    error = kind.__new__(kind)
    error.args = tuple(args) or (text,)
    return error
