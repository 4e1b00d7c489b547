"""What a function computes with, as facts that can be hashed: its compiled code, and what that code names.

Followed are captured variables, defaults, attributes of an object that is called, and globals by name: data
by content, functions and classes of one's own by their code, modules of one's own by their file. What comes
with Python or an installed package counts by name and version. Not seen: modules imported while the function
runs, files that it reads, services that it asks.
"""

from __future__ import annotations

import dis
import hashlib
import re
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from types import CellType, CodeType, FunctionType, GetSetDescriptorType, MemberDescriptorType, ModuleType
from typing import Any

from rslib.cache import key_of
from rslib.errors import ConfigError

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), PurePath, re.Pattern)
"""What `repr` says in full."""
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib")})
_NO_CODE = re.compile(
    r"__(dict|weakref|module|doc|qualname|annot\w*|dataclass\w*|abstract\w*|\w+attr\w*)__|_abc_\w*"
)
"""Entries of a class that say nothing about what it does."""


def facts_of(function: Any) -> Any:
    """Lists, texts and numbers: equal ones for equal code and equal content of all that it names.

    Raises ConfigError, naming it, for an object whose content cannot be told, such as a client or a lock.

    >>> facts_of(lambda x: x + 1) == facts_of(lambda x: x + 1), facts_of(abs) == facts_of(len)
    (True, False)
    """
    return _Walk().facts(function, getattr(function, "__name__", type(function).__name__))


def code_of(function: Any) -> Any:
    """The facts of a function's own code alone, of an object that is called those of its class's."""
    code = getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)
    return _code(code) if code is not None else type(function).__qualname__


class _Walk:
    """One walk: what was met before is not entered again, so that a function may call itself."""

    def __init__(self) -> None:
        self._met: dict[int, tuple[int, Any]] = {}  # with the objects: a freed one's id would be another's

    def facts(self, value: Any, name: str) -> Any:
        """The facts of a value that the code calls `name`."""
        if isinstance(value, _PLAIN):
            return [type(value).__name__, repr(value)]
        if isinstance(value, set | frozenset):
            return ["set", *sorted(key_of(self.facts(item, name)) for item in value)]
        if isinstance(value, CodeType):
            return _code(value)
        if id(value) in self._met:
            return ["met", self._met[id(value)][0]]
        self._met[id(value)] = len(self._met), value
        if isinstance(value, tuple | list):
            return [type(value).__name__, *self._all(value, name)]
        if isinstance(value, dict):
            return ["dict", *([self.facts(k, name), self.facts(v, str(k))] for k, v in value.items())]
        if isinstance(value, FunctionType | type | ModuleType):
            return self._named(value)
        if hasattr(value, "__wrapped__"):  # functools.cache and its kind
            return [type(value).__name__, self.facts(value.__wrapped__, name)]
        return self._reduced(value, name)

    def _all(self, values: Iterable[Any], name: str) -> list[Any]:
        return [self.facts(value, name) for value in values]

    def _named(self, value: FunctionType | type | ModuleType) -> list[Any]:
        """A function, class or module: its name and version, of somebody's own what it is made of."""
        module = value.__name__ if isinstance(value, ModuleType) else value.__module__
        name, version = getattr(value, "__qualname__", module), _version(module)
        if version is not None and "<" not in name:  # what is made by a call is not known by its name
            return [module, name, version]
        if isinstance(value, ModuleType):
            path = getattr(value, "__file__", None)
            return [name, path and hashlib.sha256(Path(path).read_bytes()).hexdigest()]
        return [name, *(self._members(value) if isinstance(value, type) else self._parts(value))]

    def _parts(self, function: FunctionType) -> Iterator[Any]:
        """Code, defaults, captured variables and globals of a function."""
        yield _code(function.__code__)
        yield self._all((function.__defaults__, function.__kwdefaults__), "a default")
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            yield [name, self.facts(cell.cell_contents, name) if cell != CellType() else "not filled yet"]
        for name in sorted(_globals(function.__code__) & function.__globals__.keys()):
            yield [name, self.facts(function.__globals__[name], name)]

    def _members(self, kind: type) -> Iterator[Any]:
        yield self._all(kind.__bases__, "a base")
        for name, member in sorted(vars(kind).items()):
            if _NO_CODE.fullmatch(name) or isinstance(member, MemberDescriptorType | GetSetDescriptorType):
                continue
            wrapped = (getattr(member, part, None) for part in ("__func__", "fget", "func"))
            yield [name, self.facts(next(filter(None, wrapped), member), name)]

    def _reduced(self, value: Any, name: str) -> Any:
        """What pickle would write of it."""
        try:
            parts = value.__reduce_ex__(4)
        except Exception as err:  # an object refuses in its own way
            what = (
                f"the reward function uses `{name}`, a {type(value).__name__}, whose content cannot be hashed"
            )
            fix = "Give a version that you change when its rewards change: fn.version = '1'."
            raise ConfigError(what, where="reward function", fix=fix) from err
        if isinstance(parts, str):
            return [type(value).__qualname__, getattr(value, "__module__", None), parts]
        return self._all((list(p) if isinstance(p, Iterator) else p for p in parts[:5]), name)


def _code(code: CodeType) -> list[Any]:
    """The compiled code without its place in the file; comments and blank lines do not count."""
    names = [code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars]
    counts = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
    return ["code", code.co_code.hex(), [_Walk().facts(c, "") for c in code.co_consts], names, counts]


def _globals(code: CodeType) -> set[str]:
    """Names that the code, or code within it, looks up among the globals."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(_globals(c) for c in code.co_consts if isinstance(c, CodeType)))


def _version(module: str | None) -> str | None:
    """The version of the package that a module is of; "" of Python's own and rslib's; None: somebody's own.

    Versions of Python and rslib stand in every key.
    """
    root = (module or "__main__").partition(".")[0]
    if root == "__main__":
        return None
    if root in sys.stdlib_module_names or root == "rslib":
        return ""
    path = getattr(sys.modules.get(root), "__file__", None) or ""
    return str(getattr(sys.modules[root], "__version__", "")) if path.startswith(_INSTALLED) else None
