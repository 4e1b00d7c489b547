"""What a test cell does to the learner's names, done in the learner's process too, and undone with it.

Tests delete a name, put a mock in its place, replace `input` or `sys.stdin`, set a seed. Before each request
the examining process compares its namespace with what it knows of the learner's. Only names that a function
of the instructor's own solution reads get a new value there: everything else could hand expected values over.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import io
import pickle
import random
import re
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any
from unittest import mock

import numpy as np

from autograder.grading.inside.objects import write_back
from autograder.grading.needed import without_magics
from autograder.grading.remote import Remote, RemoteObject

MISSING = object()
BUILTINS = ("input", "print", "open")
"""Builtins that a test may replace for the learner's functions."""
SEEDS = re.compile(r"\bseed\(|manual_seed\(|seed_everything\(")
PLAIN = (type(None), bool, int, float, complex, str, bytes, tuple, list, dict, set, frozenset, np.ndarray)


class Mirror:
    """The learner's namespace as the examining process last left it. Call `push` before every request."""

    def __init__(
        self, remote: Remote, space: dict[str, Any], read: frozenset[str], written: frozenset[str]
    ) -> None:
        self.remote, self.space, self.read, self.written = remote, space, read, written
        self.known: dict[str, Any] = {}
        self.builtins = {name: getattr(builtins, name) for name in BUILTINS}
        self.replaced: dict[str, Any] = {}
        self.stdin, self.typed = sys.stdin, 0
        self.changes: frozenset[str] = frozenset()
        self.sent: dict[str, bytes] = {}
        self.handed: dict[str, Any] = {}  # what acts and was handed out under a name
        remote.left = self.handed
        self.seeded, self.states, self.busy = False, b"", False
        self.watched: dict[tuple[str, str], Any] = {}  # attributes of modules, as they were before a test
        self.patched: dict[tuple[str, str], Any] = {}  # and what the learner's process has in their place
        self._watch_patches()

    def begin(self, lent: Mapping[str, Any], source: str, changes: frozenset[str]) -> None:
        """A test cell starts: what is lent to it, its text, and the names whose objects it changes."""
        given = {name: self.space[name] for name in self.read if name in self.space}
        self.known = given | dict(lent)
        self._hand_anew()
        self.changes, self.seeded = changes & self.read, bool(SEEDS.search(source))
        self.sent = {name: _content(lent[name]) for name in self.changes if name in lent}
        self.states = _states() if self.seeded else b""
        for module, name in _assigned_attributes(source):
            value = self.space.get(module, sys.modules.get(module))
            if isinstance(value, types.ModuleType):
                self.watch(value, name)

    def _hand_anew(self) -> None:
        """What acts and was handed out by a former test cell is handed out again: it answers no more."""
        acts = [name for name, value in self.handed.items() if self.known.get(name) is value]
        self.known.update({name: object() for name in acts})
        for handed in (self.replaced, self.patched):
            handed.update({key: object() for key, value in handed.items() if callable(value)})

    def watch(self, module: types.ModuleType, name: str, before: Any = MISSING) -> None:
        """Have an attribute of a module compared before each request; `before`: what it was."""
        known = sys.modules.get(module.__name__) is module  # the notebook's own names are no such module
        if known and module.__name__ not in ("__main__", "builtins", "sys"):
            value = getattr(module, name, MISSING) if before is MISSING else before
            self.watched.setdefault((module.__name__, name), value)

    def _watch_patches(self) -> None:
        """Watch what `mock.patch` puts into a module, while the examining process lives."""
        patch = type(mock.patch.object(self, "known"))
        enter = patch.__enter__

        def watched(self_: Any) -> Any:
            replacement = enter(self_)
            if isinstance(self_.target, types.ModuleType):
                self.watch(self_.target, self_.attribute, self_.temp_original)
            return replacement

        patch.__enter__ = watched

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Requests of this block find the learner's names as the test left them, and so does what follows."""
        self.remote.before, self.remote.after = self.push, self.pull
        try:
            yield
        finally:
            self.remote.before = self.remote.after = None
            if not self.remote.lost:
                with contextlib.suppress(Exception):
                    self.push()

    def push(self) -> None:
        """Do in the learner's process what the test did since the last request."""
        if self.busy:
            return
        self.busy = True
        try:
            self._names()
            self._replaced()
            self._modules()
            self._stdin()
            if self.seeded and (states := _states()) != self.states:
                self.remote.ask({"do": "seed"}, pickle.loads(states))
                self.states = states
        finally:
            self.busy = False

    def _names(self) -> None:
        names, values, gone = [], [], []
        for name in {*self.known, *self.read}:
            value, known = self.space.get(name, MISSING), self.known.get(name, MISSING)
            if value is known and not (name in self.changes and self._changed(name, value)):
                continue
            if value is MISSING:
                gone.append(name)
            elif _is_theirs(value) or (name in self.read and (callable(value) or isinstance(value, PLAIN))):
                names.append(name)
                values.append(value)
            else:
                continue
            self.known[name] = value
            if callable(value) and not _is_theirs(value):
                self.handed[name] = value
        if names or gone:
            self.remote.ask({"do": "put", "names": names, "gone": gone}, values)

    def _changed(self, name: str, value: Any) -> bool:
        if value is MISSING or not isinstance(value, PLAIN):
            return False
        before, self.sent[name] = self.sent.get(name), _content(value)
        return self.sent[name] != before

    def _replaced(self) -> None:
        """Builtins that the test replaced, as call-backs, until it puts them back."""
        current = {name: getattr(builtins, name) for name in BUILTINS}
        mocks = {name: value for name, value in current.items() if value is not self.builtins[name]}
        if mocks.keys() != self.replaced.keys() or any(mocks[k] is not self.replaced[k] for k in mocks):
            self.replaced = mocks
            self.remote.ask({"do": "builtins", "names": list(mocks)}, list(mocks.values()))

    def _modules(self) -> None:
        """Attributes of modules that the test replaced, until it puts them back."""
        for key, before in self.watched.items():
            module, name = key
            value = getattr(sys.modules[module], name, MISSING)
            if value is before and key in self.patched:
                del self.patched[key]
                self.remote.ask({"do": "module", "module": module, "name": name}, [])
            elif value is not before and value is not self.patched.get(key, MISSING):
                if callable(value) or isinstance(value, PLAIN):
                    self.patched[key] = value
                    self.remote.ask({"do": "module", "module": module, "name": name}, [value])

    def _stdin(self) -> None:
        """What is left to read of a text in the place of the keyboard."""
        if sys.stdin is self.stdin or not isinstance(sys.stdin, io.StringIO):
            self.remote.stdin = None
            return
        self.remote.stdin = sys.stdin.getvalue()[sys.stdin.tell() :]

    def pull(self, reply: Mapping[str, Any]) -> None:
        """Note what a call read from the keyboard's text and made of the learner's own data."""
        if self.remote.stdin is not None and type(reply.get("typed")) is int:
            sys.stdin.seek(sys.stdin.tell() + min(max(reply["typed"], 0), len(self.remote.stdin)))
        names = [n for n in self.written & self.known.keys() if self.space.get(n, MISSING) is self.known[n]]
        names = [name for name in names if isinstance(self.known[name], PLAIN)]
        if names and not self.busy:
            self.busy = True
            try:
                for name, value in self.remote.names(names).items():
                    self._updated(name, value)
            finally:
                self.busy = False

    def _updated(self, name: str, value: Any) -> None:
        old = self.known[name]
        if type(old) is type(value) and isinstance(old, list | dict):
            write_back(old, value)
        else:
            self.space[name] = self.known[name] = value


def _assigned_attributes(source: str) -> set[tuple[str, str]]:
    """Pairs of names in which a text assigns an attribute: `random.choice = first`."""
    nodes = ast.walk(ast.parse(without_magics(source)))
    stores = [n for n in nodes if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    return {(node.value.id, node.attr) for node in stores if isinstance(node.value, ast.Name)}


def _is_theirs(value: Any) -> bool:
    """Whether a value stands for one of the learner's."""
    stands = isinstance(value, types.FunctionType | type) and (
        hasattr(value, "_reference") or hasattr(value, "_reference_of_class")
    )
    return stands or isinstance(value, RemoteObject)


def _content(value: Any) -> bytes:
    with contextlib.suppress(Exception):
        return pickle.dumps(value)
    return b""


def _states() -> bytes:
    """Where the global generators of numbers stand."""
    torch = sys.modules.get("torch")
    state = torch.get_rng_state().numpy() if torch else None
    return pickle.dumps((random.getstate(), np.random.get_state(), state))
