"""Right answers in other dress: the same values as paths, numpy's numbers, tuples, tables, wrapped functions.

Each dress is code that goes behind an answer's own, wherever that runs: in the self-check or in the sandbox.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from autograder.build.catalogue import Answer

HEAD = """
def _inside(act, value):
    if type(value) is list:
        return [_dressed(act, item) for item in value]
    if type(value) is tuple:
        return tuple(_dressed(act, item) for item in value)
    if type(value) is dict:
        return {key: _dressed(act, item) for key, item in value.items()}
    return value


def _dressed(act, value):
    return act(_inside(act, value))


def _everywhere(act):
    def dress(value):
        if not callable(value) or isinstance(value, type):
            return _dressed(act, value)
        return lambda *args, **options: _dressed(act, value(*args, **options))
    return dress
"""
NUMBERS = """
import numpy as np
_kinds = {float: np.float64, int: np.int64, bool: np.bool_, str: np.str_}
_dress = _everywhere(lambda value: _kinds.get(type(value), lambda same: same)(value))
"""
PATHS = """
import pathlib
_dress = _everywhere(lambda value: pathlib.Path(value) if type(value) is str and "/" in value else value)
"""
TUPLES = """
_dress = _everywhere(lambda value: tuple(value) if type(value) is list else value)
"""
SUBCLASSES = """
class _Text(str): pass
class _Whole(int): pass
class _Number(float): pass
class _Table(dict): pass
class _Row(list): pass
_kinds = {str: _Text, int: _Whole, float: _Number, dict: _Table, list: _Row}
_dress = _everywhere(lambda value: _kinds.get(type(value), lambda same: same)(value))
"""
ORDERED = """
from collections import OrderedDict
_dress = _everywhere(lambda value: OrderedDict(value) if type(value) is dict else value)
"""
ARRAYS = """
import numpy as np
def _array(value):
    plain = type(value) is list and value and all(type(item) in (int, float, bool) for item in value)
    return np.array(value) if plain else value
_dress = _everywhere(_array)
"""
TABLES = """
import datasets
def _table(value):
    columns = type(value) is dict and value and all(type(item) is list for item in value.values())
    return datasets.Dataset.from_dict(value) if columns else value
_dress = _everywhere(_table)
"""
WRAPPED = """
import functools
class _Callable:
    def __init__(self, function): self.function = function
    def __call__(self, *args, **options): return self.function(*args, **options)
_wraps = [functools.partial, _Callable, lambda f: (lambda *args, **options: f(*args, **options))]
def _dress(value):
    return _wraps[len(getattr(value, "__name__", "")) % 3](value) if callable(value) else value
"""
LAST = """
for _name in {names}:
    if _name in globals():
        globals()[_name] = _dress(globals()[_name])
"""
DRESSES = {
    "numpy's numbers": NUMBERS,
    "paths": PATHS,
    "tuples": TUPLES,
    "subclasses": SUBCLASSES,
    "ordered": ORDERED,
    "arrays": ARRAYS,
    "tables": TABLES,
    "wrapped": WRAPPED,
}


def dressed(answer: Answer, dress: str, names: Iterable[str]) -> Answer:
    """An answer in another dress."""
    more = HEAD + DRESSES[dress] + LAST.format(names=list(names))
    return replace(answer, name=f"{answer.name}, {dress}", code=f"{answer.code}\n{more}")
