"""Objects of the instructor's own classes: they cross by content, the class by its name.

The cell that defines such a class runs in both processes. So a linked list, a card or a queue arrives as an
object of the class that is known there, made without its `__init__`, and its attributes are set one by one.
Beside the tests the class is the instructor's, whatever a learner made of the name: so are its methods, and
an attribute of a learner's that would hide one is left out. An object that was sent is that object again
when it comes back, and its attributes are then what the learner's function made of them.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from autograder.grading.inside.frames import WireError

TESTS = "tests"
"""The module of what the instructor's cells define beside the tests."""
CONTENT: dict[type, Callable[[Any], Any]] = {
    list: list.copy,
    dict: lambda value: dict(dict.items(value)),  # `dict.copy` would ask a class that has its own `__iter__`
    set: set.copy,
    tuple: lambda value: tuple.__getitem__(value, slice(None)),
    frozenset: frozenset.copy,
    str: str.__str__,
    bytes: lambda value: bytes.__getitem__(value, slice(None)),
    int: int.__int__,
    float: float.__float__,
}
"""How a value of a class that derives from one of these becomes plain, whatever the class defines."""
PLAIN = {base.__name__: base for base in CONTENT}
"""These classes by their names."""
FILLED = (list, dict, set)
"""Those of them whose content can change, and so be put in later."""
VALUES = tuple(base for base in CONTENT if base not in FILLED)
"""Those whose content is there from the start."""
MISSING = object()


def base_of(kind: type) -> type:
    """The builtin class that an object's content is of; `object` where it has attributes alone.

    >>> base_of(type("Pair", (tuple,), {})), base_of(type("Node", (), {}))
    (<class 'tuple'>, <class 'object'>)
    """
    return next((base for base in kind.__mro__ if PLAIN.get(base.__name__) is base), object)


def bare(kind: type, content: Any = None) -> Any:
    """A new object of a class without attributes; `content` for one of VALUES. No code of the class runs."""
    base = base_of(kind)
    return base.__new__(kind, content) if base in VALUES else base.__new__(kind)


def content_of(value: Any) -> Any:
    """What a builtin class's own part of an object holds; None where it has attributes alone.

    >>> content_of(type("Odd", (dict,), {"__iter__": None})(a=1))
    {'a': 1}
    """
    base = base_of(type(value))
    return None if base is object else CONTENT[base](value)


@functools.lru_cache(maxsize=1000)
def _slots(kind: type) -> dict[str, Any]:
    """The descriptors of a class's slots by the names of their attributes."""
    classes = [base for base in reversed(kind.__mro__) if "__slots__" in vars(base)]
    return {
        name: slot
        for base in classes
        for name, slot in vars(base).items()
        if isinstance(slot, types.MemberDescriptorType)
    }


def state_of(value: Any) -> dict[str, Any]:
    """The attributes of an object itself, those in slots too, but for names that Python keeps for itself."""
    state = dict(getattr(value, "__dict__", {}))
    for name, slot in _slots(type(value)).items():
        with contextlib.suppress(AttributeError):
            state[name] = slot.__get__(value)
    return {name: part for name, part in state.items() if not is_special(name)}


def is_special(name: Any) -> bool:
    """Whether a name is none that a cell gives to an attribute.

    >>> is_special("__class__"), is_special("_Node__next")
    (True, False)
    """
    return not isinstance(name, str) or (name.startswith("__") and name.endswith("__"))


def fill(value: Any, content: Any) -> None:
    """Have an object of one of FILLED hold this and nothing else."""
    base = base_of(type(value))
    if base is list:
        list.__setitem__(value, slice(None), content)
    elif base in FILLED:
        base.clear(value)
        base.update(value, content)


def set_state(value: Any, state: Mapping[str, Any]) -> None:
    """Give an object these attributes and no others; no code of its class runs."""
    slots, attributes = _slots(type(value)), getattr(value, "__dict__", None)
    for name in state_of(value).keys() - state.keys():
        if name in slots:
            slots[name].__delete__(value)
        else:
            del attributes[name]
    for name, part in state.items():
        if name in slots:
            slots[name].__set__(value, part)
        else:
            attributes[name] = part


def member_name(value: enum.Enum) -> Any:
    """What a member of an Enum is found by: its name, or the number of a combination of flags."""
    return value._value_ if isinstance(value, enum.Flag) else value._name_


def member(kind: type, name: Any) -> Any:
    """The member of an Enum that `member_name` tells. Raises WireError where there is none."""
    if not issubclass(kind, enum.Enum):
        raise WireError("a member of no known kind")
    if issubclass(kind, enum.Flag) and type(name) is int and name.bit_length() <= 64:
        return kind(name)
    if type(name) is not str or name not in kind.__members__:
        raise WireError("a member of no known name")
    return kind.__members__[name]


def crosses(kind: type) -> bool:
    """Whether objects of a class can cross by content; those of exceptions and of what C made cannot."""
    if issubclass(kind, enum.Enum):
        return True
    with contextlib.suppress(Exception):  # Python refuses to make what has parts that it cannot see
        return not issubclass(kind, BaseException | type) and bare(kind, base_of(kind)()) is not None
    return False


def nested(name: str, kind: type, depth: int = 0) -> Iterator[tuple[str, type]]:
    """A class and those that its body defines, with their qualified names."""
    yield name, kind
    for inner, value in vars(kind).items() if depth < 5 else ():
        if isinstance(value, type) and value.__qualname__ == f"{name}.{inner}":
            yield from nested(value.__qualname__, value, depth + 1)


class Shared:
    """The objects of the course's classes that both processes have, as they were when they last crossed.

    Each has a number: from 0 on what the grader sent first, below 0 what the learner's process did.
    """

    def __init__(self, step: int = 1) -> None:
        self.step, self.latest = step, min(step, 0)  # -1 is the first below 0
        self.objects: dict[int, Any] = {}
        self.numbers: dict[int, int] = {}
        self.states: dict[int, dict[str, Any]] = {}

    def number(self, value: Any) -> int:
        """The number of an object that crosses; it is kept, so that nothing else takes its place."""
        if id(value) not in self.numbers:
            self.keep(self.latest, value)
            self.latest += self.step
        return self.numbers[id(value)]

    def keep(self, number: int, value: Any) -> Any:
        """Have an object known under a number of the other side's."""
        self.objects[number] = value
        self.numbers[id(value)] = number
        return value

    def note(self, value: Any) -> None:
        """An object crossed as it now is."""
        self.states[self.number(value)] = {name: _copied(part) for name, part in _all_parts(value).items()}

    def before(self, value: Any) -> dict[str, Any]:
        """The attributes of an object as they were when it last crossed."""
        state = self.states.get(self.numbers.get(id(value), MISSING), {})
        return {name: part for name, (part, _) in state.items()}

    def unused(self) -> list[int]:
        """The numbers of the objects that nothing but this holds any more; they are forgotten."""
        numbers = []
        for number in list(self.objects):
            if sys.getrefcount(self.objects[number]) <= 2:
                self.forget([number])  # so what it held may be unused too
                numbers.append(number)
        return numbers

    def forget(self, numbers: Iterable[int]) -> None:
        """Hold these objects no longer: they get new numbers if they cross again."""
        for number in numbers:
            self.states.pop(number, None)
            value = self.objects.pop(number, MISSING)
            self.numbers.pop(id(value), None)

    def changed(self) -> list[Any]:
        """The objects that are not what they were when they last crossed."""
        return [value for number, value in self.objects.items() if self._differs(number, value)]

    def _differs(self, number: int, value: Any) -> bool:
        before, parts = self.states.get(number, {}), _all_parts(value)
        return before.keys() != parts.keys() or any(_moved(before[name], parts[name]) for name in parts)


def _all_parts(value: Any) -> dict[str, Any]:
    base = base_of(type(value))
    return state_of(value) | ({"": content_of(value)} if base in FILLED else {})


def _copied(part: Any) -> tuple[Any, Any]:
    """A part, and what it holds if it can change: its items, or nothing if these can change too."""
    if type(part) in (list, set, dict):
        items = [*part, *part.values()] if type(part) is dict else list(part)
        return part, None if any(isinstance(item, list | dict | set) for item in items) else items
    return part, ()


def _moved(before: tuple[Any, Any], part: Any) -> bool:
    old, items = before
    if items is None or type(old) is not type(part):
        return True
    if type(part) not in (list, set, dict):
        return part is not old
    now = _copied(part)[1]
    if now is None or len(now) != len(items):
        return True
    return any(item is not other for item, other in zip(now, items, strict=True))


class Known(Shared):
    """The instructor's classes beside the tests, and the objects of them that crossed."""

    def __init__(self, *stands_in: type) -> None:
        """stands_in: the classes of what stands for a learner's object."""
        super().__init__()
        self.stands_in = stands_in
        self.classes: dict[str, type] = {}

    def learn(self, space: Mapping[str, Any]) -> list[str]:
        """Know the classes that the instructor's statements defined in `space`; their qualified names."""
        for value in list(space.values()):
            if isinstance(value, type) and value.__module__ == TESTS and "." not in value.__qualname__:
                classes = dict(nested(value.__qualname__, value))
                self.classes |= {n: k for n, k in classes.items() if crosses(k)}
        return list(self.classes)

    def is_own(self, value: Any) -> bool:
        """Whether a value is an object of one of these classes itself, of none that derives from it."""
        return self.classes.get(type(value).__qualname__) is type(value)

    def kind(self, name: Any) -> type:
        """The class of a name. Raises WireError where the instructor defines none."""
        if type(name) is not str or name not in self.classes:
            raise WireError("an object of no known class")
        return self.classes[name]

    def again(self, number: Any, kind: type, content: Any) -> Any:
        """The object of a number; a new one for one of the learner's process that is not known yet.

        Raises WireError for one that was never sent, or is of another class.
        """
        if type(number) is not int or (number >= 0 and number not in self.objects):
            raise WireError("an object that was never sent")
        if number not in self.objects:
            return self.keep(number, bare(kind, content))
        if type(self.objects[number]) is not kind:
            raise WireError("an object of another class")
        return self.objects[number]


def received(value: Any, attributes: Sequence[tuple[Any, Any, Any]], stands_in: type) -> None:
    """Give an object the attributes that a learner's process tells of: (name, value, whether it is the old).

    What was changed in place is so here; what came back as a stand-in stays what it was. Raises WireError
    for a name that no cell gives to an attribute.
    """
    before, state = state_of(value), {}
    for name, part, same in attributes:
        if is_special(name):
            raise WireError("an attribute of no ordinary name")
        if same is True and name in before:
            stays = callable(part) or isinstance(part, stands_in)
            state[name] = before[name] if stays else _changed(before[name], part)
        elif not hides_method(type(value), name):
            state[name] = part
    set_state(value, state)


def _changed(before: Any, part: Any) -> Any:
    """An attribute that still is the object that was sent: changed in place where that is how it changes."""
    if type(before) in (list, dict, np.ndarray) and type(before) is type(part):
        write_back(before, part)
        return before
    return part


def hides_method(kind: type, name: str) -> bool:
    """Whether an attribute of an object would stand before a method of its class, or a cached property."""
    descriptor = type(next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None))
    return hasattr(descriptor, "__get__") and not hasattr(descriptor, "__set__")


# What a function did to its arguments -----------------------------------------------------------------------


def write_back(ours: Any, theirs: Any) -> None:
    """Make our lists, dicts, arrays and tensors what the learner's function made of its copies.

    >>> mine = [3, 1]; write_back([mine], [[1, 3]]); mine
    [1, 3]
    """
    if isinstance(ours, list) and isinstance(theirs, list):
        if len(ours) != len(theirs):
            ours[:] = theirs
        for index, other in enumerate(theirs):
            _write_item(ours, index, other)
    elif isinstance(ours, dict) and isinstance(theirs, dict):
        for key in [key for key in ours if key not in theirs]:
            del ours[key]
        for key, other in theirs.items():
            _write_item(ours, key, other)
    elif hasattr(ours, "shape") and getattr(theirs, "shape", None) == ours.shape:
        with contextlib.suppress(TypeError, ValueError, RuntimeError):
            (ours.data if hasattr(ours, "detach") else ours)[...] = theirs


def _write_item(ours: Any, key: Any, other: Any) -> None:
    """Change what stands under a key in place if it can be, else put plain data there."""
    current = ours[key] if isinstance(ours, list) or key in ours else None
    if _by_content(current) and type(current) is type(other):
        write_back(current, other)
    elif not _by_content(current) and is_simple(other):
        ours[key] = other


def _by_content(value: Any) -> bool:
    return isinstance(value, list | dict | np.ndarray) or hasattr(value, "detach")


def is_simple(value: Any) -> bool:
    """Whether a value is plain data, or an object of a class of the instructor's."""
    plain = bool | int | float | str | tuple | list | dict
    return value is None or isinstance(value, plain) or type(value).__module__ == TESTS
