"""Files and modules that are seen from both sides: by a test here and by the learner's process.

A file that a test makes is sent where a call names it, or the folder that it lies in, or where the
instructor's own answer names it; nothing else of a test's files leaves this process. What the call then
makes of it comes back as bytes. A learner's program text never comes: a test could run it by importing it.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
import types
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from autograder.grading.remote import Remote, RemoteObject

MOST = 200
"""Files and folders that one call takes along, or brings back."""
BYTES = 8 << 20
"""Bytes of all of them."""
CODE = (".py", ".pyc", ".pyd", ".so", ".pth", ".zip", ".egg", ".whl")
"""Endings of what Python could import."""


class Files:
    """The files that tests and the learner's functions share.

    work: where the tests work; it stands for the learner's own working folder. named: texts of the
    instructor's answers, some of which name files.
    """

    def __init__(self, remote: Remote, work: Path, named: Sequence[str]) -> None:
        self.remote, self.work, self.named = remote, str(work), list(named)
        self.temporary: list[str] = []
        self.sent = dict(self._tree(self.work))
        self.course = frozenset(path for path, fact in self.sent.items() if fact)
        self.passed: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, args: tuple[Any, ...]) -> None:
        """A test makes a temporary folder or file; those of the grader lie beside the working folder."""
        if event in ("tempfile.mkdtemp", "tempfile.mkstemp"):
            path = os.path.abspath(args[0])
            if os.path.dirname(path) != os.path.dirname(self.work):
                self.temporary.append(path)

    def push(self, args: Any) -> None:
        """Before a call: send what it may read."""
        self.passed = list(dict.fromkeys(path for text in _texts(args) if (path := self._shared(text))))
        wanted = [path for text in self.named if (path := self._shared(text)) and os.path.isfile(path)]
        parents = {os.path.dirname(path) for path in self.passed}
        now: dict[str, Any] = {path: None for path in parents if os.path.isdir(path)}
        now |= {path: fact for top in (*self.passed, *wanted) for path, fact in self._tree(top)}
        new = {path: fact for path, fact in now.items() if self.sent.get(path, ...) != fact}
        gone = [
            path for path in self.sent if path not in now and any(_below(path, top) for top in self.passed)
        ]
        if not new and not gone:
            return
        folders = [self._theirs(path) for path, fact in new.items() if fact is None]
        files = [path for path, fact in new.items() if fact is not None]
        request = {"do": "files", "work": self.work, "folders": folders}
        request |= {"gone": [self._theirs(p) for p in gone], "files": [self._theirs(p) for p in files]}
        self.remote.send(request, [Path(path).read_bytes() for path in files])
        self.sent = {path: fact for path, fact in self.sent.items() if path not in gone} | new

    def pull(self) -> None:
        """After a call: make our files what it made of those that it was given."""
        for top in self.passed:
            tree = self.remote.value({"do": "tree", "path": self._theirs(top)})
            if isinstance(tree, dict) and len(tree) <= MOST:
                self._take(top, tree)

    def _take(self, top: str, tree: Mapping[Any, Any]) -> None:
        """What lies under a path of theirs: bytes by relative path, None for a folder or a large file."""
        contents = {}
        for name, content in tree.items():
            if isinstance(name, str) and _plain(name) and isinstance(content, bytes | types.NoneType):
                contents[os.path.join(top, name) if name else top] = content
        contents = {path: content for path, content in contents.items() if path not in self.course}
        for path in [p for p in self.sent if _below(p, top) and p not in contents and p not in self.course]:
            del self.sent[path]
            if os.path.isfile(path):
                os.remove(path)
        for path, content in sorted(contents.items()):
            if path.endswith("/"):
                os.makedirs(path, exist_ok=True)
            elif content is not None and not path.endswith(CODE):
                Path(path).write_bytes(content)
        self.sent |= dict(self._tree(top))

    def _shared(self, text: str) -> str | None:
        """The whole path that a text names, where that is of a test's making; None else."""
        if not text or len(text) > 500 or not text.isprintable():
            return None
        path = os.path.abspath(text)
        if any(_below(path, top) for top in self.temporary):
            return path
        return path if _below(path, self.work) and os.path.lexists(path) else None

    def _theirs(self, path: str) -> str:
        """The path as the learner's process knows it."""
        return os.path.relpath(path, self.work) if _below(path, self.work) else path

    def _tree(self, top: str) -> Iterator[tuple[str, Any]]:
        """Files under a path with when and how large, folders with None; no more than may be sent."""
        left, room = MOST, BYTES
        paths = [Path(top), *(sorted(Path(top).rglob("*")) if os.path.isdir(top) else [])]
        for path in paths:
            if not path.exists():
                continue
            facts = path.stat()
            size = facts.st_size if path.is_file() else 0
            left, room = left - 1, room - size
            if left < 0 or room < 0:
                return
            yield str(path), (facts.st_mtime_ns, size) if path.is_file() else None


def _texts(value: Any, depth: int = 3) -> Iterator[str]:
    """Texts and paths among arguments."""
    if isinstance(value, RemoteObject) or not depth:
        return
    if isinstance(value, str | PurePath):
        yield os.fspath(value)
    elif isinstance(value, list | tuple | set | dict) and len(value) <= 50:
        for item in [*value, *(value.values() if isinstance(value, dict) else ())]:
            yield from _texts(item, depth - 1)


def _below(path: str, top: str) -> bool:
    return path == top or path.startswith(top + os.sep)


def _plain(name: str) -> bool:
    """Whether a relative path leads nowhere else."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and "\0" not in name and len(name) <= 500


# A learner's modules ----------------------------------------------------------------------------------------


class TheirModule(types.ModuleType):
    """A module that the course leaves to the learner: what it defines is asked for."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.__dict__["_theirs"], name)


class Modules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules that a course leaves to the learner in the learner's process alone."""

    def __init__(self, remote: Remote, left: Sequence[str]) -> None:
        self.remote = remote
        self.names = {name.removesuffix(".py") for name in left if name.endswith(".py") and "/" not in name}

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """How to make the module, or None for any other."""
        return importlib.machinery.ModuleSpec(name, self) if name in self.names else None

    def create_module(self, spec: Any) -> TheirModule:
        """A stand-in; what importing raises in the learner's process is raised here."""
        theirs, names = self.remote.value({"do": "import", "name": spec.name})
        made = TheirModule(spec.name)
        made.__dict__.update(_theirs=theirs, __all__=[name for name in names if isinstance(name, str)])
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        """Nothing: it ran where it lives."""
