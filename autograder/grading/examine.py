"""The trusted side of one submission: sends the cells, runs the tests here, notes what came of both.

    python -P -s -m autograder.grading.examine CONTROL MODULE,MODULE

A template process imports what the instructor's tests need and forks once for every submission, so nothing
of one submission is left for the next. A test cell runs here with the names that it reads: what the
instructor's own cells import and define comes from the instructor's text, what the learner defines is data
or a stand-in.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import io
import os
import re
import shutil
import signal
import socket
import struct
import sys
import tempfile
import time
import types
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from autograder.exercise import Variant
from autograder.grading import bounds, engine, reading
from autograder.grading.both_sides import Files, Modules
from autograder.grading.confined import confine
from autograder.grading.inside import isolate
from autograder.grading.inside.frames import HELLO, Channel, WireError
from autograder.grading.inside.outputs import clean, kept, size
from autograder.grading.inside.server import load
from autograder.grading.mirror import Mirror
from autograder.grading.needed import binds, tree_of, without_magics
from autograder.grading.reach import Reach, shown
from autograder.grading.remote import TESTS, Lost, Remote, RemoteObject, RemoteWork
from autograder.grading.testcell import (
    ASKED,
    COMPARED,
    SAME,
    Sources,
    capture,
    compiled,
    is_the_same,
    name_it,
    value_of,
)
from autograder.grading.troubles import NoRoom, is_full

SO_PASSCRED, SCM_CREDENTIALS = 16, 2
ROOM = 200 << 20
"""Bytes that must be free for the files of one exercise: a model and what else a learner hands in."""
OFFERED = {
    "numpy",
    "torch",
    "math",
    "random",
    "json",
    "re",
    "itertools",
    "functools",
    "collections",
    "statistics",
}
"""Modules that a test may read from the learner's names: they are the ones here."""
NOT_SHOWN = "A test that is not shown did not pass."
"""All that is told of a test cell that failed once the learner's process has met a hidden test."""
FIGURES = re.compile(r"\b(gcf|gca|get_fignums|fignum_exists)\b")
PATCHED = re.compile(r"__main__\.(\w+)")
"""A name of the notebook in the text of `mock.patch`."""
OUTPUTS_NOT_SHOWN = "(Outputs after a hidden test are not shown.)"


class Examiner:
    """The namespace in which an instructor's test cells run, and the points that they gave."""

    def __init__(self, job: Mapping[str, Any], remote: Remote, folder: Path, reach: Reach) -> None:
        self.job, self.remote, self.folder, self.reach = job, remote, folder, reach
        sys.modules["__main__"] = module = types.ModuleType("__main__")  # where tests patch names
        self.space: dict[str, Any] = module.__dict__
        self.space |= {"__name__": TESTS, "__builtins__": builtins, "open": builtins.open}  # as in IPython
        remote.space = self.space
        self.mirror = Mirror(remote, self.space, frozenset(job["read"]), frozenset(job["written"]))
        self.sources = Sources()
        self.space |= {ASKED: self.sources.of_function, SAME: is_the_same, "_captured": capture}
        self.space[COMPARED] = remote.uses.compared
        remote.uses.watch()
        self.kept: dict[str, Any] = {}  # what tests made of the learner's names
        self.verdicts: list[dict[str, Any]] = []
        self.secrets = False  # whether the learner's process has met inputs of a hidden test
        self.whose = ""
        for text in job["trusted"]:
            self._define(text)
        remote.learn()

    def _define(self, text: str) -> None:
        """Run a statement of the instructor's here, if all that it reads is known here."""
        with contextlib.suppress(Exception), _silent(), self._home(text):
            exec(compile(text, "<course>", "exec", dont_inherit=True), self.space)
        if getattr(self.space.get("check"), "__module__", "") == "autograder.session":
            self.space["check"] = self.check

    def _home(self, text: str) -> contextlib.AbstractContextManager[Any]:
        """Have the namespace be a module while a class is defined: dataclasses look their words up there."""
        if not text.startswith(("@", "class ")):
            return contextlib.nullcontext()
        return mock.patch.dict(sys.modules, {TESTS: sys.modules["__main__"]})

    def check(self, exercise: str, *, seed: int | None = None, names: Any = None) -> Any:
        """`autograder.check` of a course notebook, on the learner's process."""
        from autograder import exercises
        from autograder.verdict import grade

        definition = exercises.find(exercise)
        variant = Variant(self.whose, self.job["course"], exercise)
        if shutil.disk_usage(self.folder).free < ROOM:  # else what a learner hands in might not arrive whole
            raise NoRoom("no disk space left", where=str(self.folder))
        with tempfile.TemporaryDirectory(dir=self.folder) as folder:
            work = RemoteWork(
                self.remote, definition.names, variant, Path(folder), self.job.get("class_seed")
            )
            self.remote.exits = False  # a check tells of an exit as of any other failure
            with self.reach.lending():
                verdict = grade(definition, work, self._seed(exercise) if seed is None else seed)
            self.remote.exits = True
        self.verdicts.append(verdict.to_dict())
        return verdict

    def _seed(self, exercise: str) -> int:
        return int.from_bytes(bytes.fromhex(self.job["seed"])[:4], "little") ^ zlib.crc32(exercise.encode())

    def run(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """One test cell: outputs in nbformat's form, what went wrong in words that give nothing away, points.

        "gave" is None for all points, a number of points, or False for what is no number of points.
        """
        before, self._told_before = self.secrets, len(self.verdicts)
        self.secrets |= cell["hidden"]
        try:
            with self.remote.serving():
                result, printed = self._execute(cell)
        except Lost as lost:
            return self._fails("Lost", f"The notebook's process could not be asked: {lost}.")
        except bounds.Overrun as over:
            self.remote.lost = str(over)  # the pipe is out of step, and enough time was spent
            return self._fails("Stopped", f"The cell was stopped: {over}.")
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a test may end in SystemExit too
            if is_full(error):
                raise
            self.secrets = before or (cell["hidden"] and reached(error, cell))
            return self._fails(type(error).__name__, _told_of(error, cell, self.job["explain"]))
        gave = given(result, cell, self.verdicts[self._told_before :])
        if self.job["explain"] and _unread(result):  # the instructor is told before anybody's marks differ
            gave = False
        outputs = _number(gave)
        if self.secrets:
            return {"outputs": outputs, "why": "", "gave": gave}
        verdicts = [_stream(_told(verdict)) for verdict in self.verdicts[self._told_before :]]
        outputs = ([_stream(printed)] if printed else []) + verdicts + outputs
        return {"outputs": outputs, "why": self._why(), "gave": gave}

    def run_inside(self, cell: Mapping[str, Any], limits: isolate.Limits, room: list[int]) -> dict[str, Any]:
        """One test cell in the learner's process, as nbgrader would: weaker, as that can be taken over."""
        self.secrets |= cell["hidden"]
        try:
            outputs, raised, value = self.remote.run_test(cell["source"], limits.cell_seconds)
        except (Lost, WireError) as lost:
            return self._fails("Lost", f"The notebook's process could not be asked: {lost}.")
        self.forget(cell["source"])
        if raised:
            names = [clean(o.get("ename"), 80) for o in outputs if isinstance(o, dict) and o.get("ename")]
            name = names[0] if names else "an exception"
            return self._fails(name, f"The test, run in the sandbox, stopped with {name}.")
        gave = None if type(value) is str or _unread(value) else given(value, cell)
        shown = [] if self.secrets else _kept(outputs, limits, room)
        printed = [output for output in shown if output["output_type"] == "stream"]
        return {"outputs": printed + _number(gave), "why": "", "gave": gave}

    def _fails(self, name: str, reason: str) -> dict[str, Any]:
        """A test cell that failed; after a hidden test neither which line nor how."""
        return _failure("Failed", NOT_SHOWN) if self.secrets else _failure(name, reason)

    def _lent(self, cell: Mapping[str, Any]) -> dict[str, Any]:
        """The learner's values of the names that a test cell, or the instructor's code beside it, reads."""
        read = [name for text in (cell["source"], *self.job["trusted"]) for name in reads(text)]
        read += PATCHED.findall(cell["source"])
        wanted = [name for name in dict.fromkeys(read) if self._theirs(name)]
        values = {name: _usable(value) for name, value in self.remote.names(wanted).items()}
        for name, value in values.items():
            name_it(value, name)
        values |= {name: value for name, value in self.kept.items() if name in wanted}
        return {name: value for name, value in values.items() if value is not ...}

    def _execute(self, cell: Mapping[str, Any]) -> tuple[Any, str]:
        """Run a cell with names lent to it; the value of its last expression, and what it printed."""
        code, kept_back = compiled(cell["source"]), dict(self.space)
        with bounds.patience(bounds.TEST):  # the instructor's `__eq__` may meet a learner's objects
            lent = self._lent(cell)
        self.space.update(lent)
        self.mirror.begin(lent, cell["source"], frozenset(binds(cell["source"])))
        printed, result = io.StringIO(), None
        try:
            silent = contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO())
            self.remote.exits = True
            with (
                bounds.patience(bounds.TEST),
                silent[0],
                silent[1],
                self._figures(cell["source"]),
                self.mirror.at_work(),
            ):
                value_of(code[0], self.space)
                result = value_of(code[1], self.space) if len(code) > 1 else None
            self.remote.uses.end()
        finally:
            self._take_back(lent, kept_back)
        return result, printed.getvalue()

    @contextlib.contextmanager
    def _figures(self, source: str) -> Iterator[None]:
        """A test that looks at the current figure sees the learner's; it is closed with the cell."""
        if not FIGURES.search(source):
            yield
            return
        pyplot = importlib.import_module("matplotlib.pyplot")
        theirs = self.remote.value({"do": "pyplot"})
        ours = {name: getattr(pyplot, name) for name in theirs}
        vars(pyplot).update(theirs)
        try:
            yield
        finally:
            vars(pyplot).update(ours)
            if not self.remote.lost:
                self.remote.value({"do": "close"})

    def _take_back(self, lent: Mapping[str, Any], before: Mapping[str, Any]) -> None:
        """End a loan. What the test put in the place of a learner's name is there for the next test too."""
        for name, value in lent.items():
            left = self.space.pop(name, None)
            if left is not None and left is not self.mirror.known.get(name, value):
                self.kept[name] = left
            if name in before:
                self.space[name] = before[name]

    def ran(self, source: str) -> None:
        """A cell of the learner's ran."""
        self.sources.texts.append(source)
        self.forget(source)

    def forget(self, source: str) -> None:
        """The names that a text binds are those of the learner's process again."""
        for name in binds(source) if self.kept else ():
            self.kept.pop(name, None)

    def _theirs(self, name: str) -> bool:
        """Whether a name is the learner's to define: what the course imports or defines is not."""
        if name in self.job["answers"]:
            return True
        return name not in self.job["own"] and name not in self.space and not hasattr(builtins, name)

    def _why(self) -> str:
        """The first reason of the verdicts of this cell that lost points, in one sentence."""
        for verdict in self.verdicts[self._told_before :]:
            for outcome in verdict["outcomes"]:
                if outcome["check"]:
                    return clean(f"{outcome['title']}: {safe_message(outcome)}", 400)
        return ""


def reads(source: str) -> list[str]:
    """The names that a cell reads or calls, by the alphabet; none where it is no Python.

    >>> reads("assert double(2) == four")
    ['double', 'four']
    """
    return sorted({node.id for node in ast.walk(tree_of(source)) if isinstance(node, ast.Name)})


def _usable(value: Any) -> Any:
    """A learner's value as a test may read it: a module is ours of that name, or `...` for none."""
    kind, name = getattr(value, "_kind", ("", "")) if isinstance(value, RemoteObject) else ("", "")
    if kind != "module":
        return value
    return importlib.import_module(name) if name in OFFERED else ...


def _lines(error: BaseException) -> list[int]:
    """The numbers of the lines of the test cell that an exception passed, the outermost first."""
    trace, numbers = error.__traceback__, []
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<test>":
            numbers.append(trace.tb_lineno)
        trace = trace.tb_next
    return numbers


def reached(error: BaseException, cell: Mapping[str, Any]) -> bool:
    """Whether anything of a cell that the release does not show may have run before it failed."""
    if isinstance(error, SyntaxError) or not (passed := _lines(error)):
        return True
    pairs = zip(cell["source"].splitlines(), cell["visible"], strict=False)
    first = next((k for k, (line, other) in enumerate(pairs, 1) if line != other), len(cell["visible"]) + 1)
    tree = ast.parse(without_magics(cell["source"]))
    return any(node.lineno <= passed[0] <= node.end_lineno >= first for node in tree.body)


def _told_of(error: BaseException, cell: Mapping[str, Any], explain: bool = False) -> str:
    """What is told of an exception: its kind, and its words only where the release shows them already.

    explain: all is told, to the instructor of his own solution.
    """
    name, lines, passed = type(error).__name__, cell["source"].splitlines(), _lines(error)
    line = lines[passed[-1] - 1] if passed and passed[-1] <= len(lines) else None
    if line is None or line not in cell["visible"]:
        return NOT_SHOWN
    text = str(error) if explain or isinstance(error, AssertionError) else ""
    words = f": {clean(text, 300)}" if text and (explain or text in "\n".join(cell["visible"])) else "."
    return f"`{line.strip()[:200]}` stopped with {name}{words}"


def _failure(name: str, reason: str) -> dict[str, Any]:
    error = {"output_type": "error", "ename": clean(name, 80), "evalue": reason, "traceback": [reason]}
    return {"outputs": [error], "why": reason}


def _stream(text: str) -> dict[str, Any]:
    return {"output_type": "stream", "name": "stdout", "text": clean(text, 20_000)}


def given(
    value: Any, cell: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]] = ()
) -> float | bool | None:
    """The points that a test cell gave: None for all of them, a number, or False for no number of points.

    value: of its last expression. Where the cell checked exercises, their verdicts count. What is neither
    nothing, a number of ours from 0 to all points, nor a constant of the instructor's text gives no points.

    >>> cell = {"source": "points", "most": 2.0}
    >>> given(None, cell), given(2, cell), given(3, cell), given([1], cell), given("2", cell)
    (None, 2.0, False, False, False)
    >>> given("ok", cell | {"source": "'ok'"})
    """
    kind, most = type(value), cell["most"]
    if kind in (int, float) or (issubclass(kind, np.integer | np.floating) and kind.__module__ == "numpy"):
        return float(value) if 0 <= value <= most else False
    points = min(sum(verdict["points"] for verdict in verdicts), most) if verdicts else None
    if value is None or kind.__module__ == "autograder.verdict" or _constant(cell["source"]):
        return points
    return points if kind in (bool, np.bool_) and value else False


def _constant(source: str) -> bool:
    """Whether a cell ends in a text or another constant, which says nothing about points."""
    last = ast.parse(without_magics(source)).body[-1:]
    return bool(last) and isinstance(last[0], ast.Expr) and isinstance(last[0].value, ast.Constant)


def _unread(value: Any) -> bool:
    """Whether nbgrader, which reads the text that is shown of a value, takes a NumPy number for all points.

    >>> _unread(2.0), _unread(np.float64(2.0)) == (repr(np.float64(2.0)) != "2.0")
    (False, True)
    """
    return isinstance(value, np.generic) and repr(value).startswith("np.")


def _number(gave: float | bool | None) -> list[dict[str, Any]]:
    """Points as nbgrader reads partial credit."""
    if gave is None or gave is False:
        return []
    data = {"text/plain": f"{gave:g}"}
    return [{"output_type": "execute_result", "data": data, "metadata": {}, "execution_count": None}]


def _told(verdict: Mapping[str, Any]) -> str:
    """A verdict as text, without the cases: they hold inputs that the next submission might meet."""
    from autograder.verdict import Verdict

    plain = {k: v for k, v in verdict.items() if k not in ("points", "out_of")}
    plain["outcomes"] = [
        o | {"case": "", "expected": "", "got": "", "message": safe_message(o)} for o in plain["outcomes"]
    ]
    return Verdict.from_dict(plain).text() + "\n"


def safe_message(outcome: Mapping[str, Any]) -> str:
    """The message of an outcome. What a learner's own exception says is left out: it can hold an input."""
    message = outcome["message"]
    if outcome["check"] in ("runs", "can be graded") and " stopped with " in message:
        head, _, tail = message.partition(" stopped with ")
        return f"{head} stopped with {tail.split(':')[0]}."
    return message


@contextlib.contextmanager
def _silent() -> Any:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield


# One submission ---------------------------------------------------------------------------------------------


def examine(
    job: Mapping[str, Any], extras: Sequence[bytes], wire: socket.socket, folder: Path
) -> dict[str, Any]:
    """Run the cells of a job in their order: {"cells": {place: {...}}, "verdicts", "whose", "lost"}."""
    limits = isolate.Limits(**job["limits"])
    remote = Remote(Channel(wire.fileno(), wire.fileno()), job["call_seconds"])
    outcome: dict[str, Any] = {"cells": {}, "lost": ""}
    try:
        found_pid = hello(wire)
        remote.pid = found_pid if job["local"] else 0  # of a container only its front end is seen
    except (OSError, WireError) as error:
        remote.lost = f"its process did not start: {error}"
    remote.asked = frozenset(job["answers"])
    engine.begin(job, remote)
    work, texts = _files(job, extras, remote, folder), [*job["trusted"]]
    texts += [cell["source"] for cell in job["cells"] if cell["role"] == "test"]
    reach = Reach(folder, engine.folders(job), remote.pid)
    confine(texts, work, remote, reach)
    tests = Examiner(job, remote, folder, reach)
    room = [bounds.TEXT, bounds.PICTURES]
    for cell in job["cells"]:
        if cell["role"] == "test" and cell["inside"]:
            made = tests.run_inside(cell, limits, room)
        elif cell["role"] == "test":
            made = _test(cell, tests, remote)
        else:
            tests.secrets |= cell["hidden"]
            made = _send(cell, remote, limits, room)
            tests.ran(cell["source"])
            if tests.secrets:  # it may tell the hidden test's inputs, by raising or by being silent too
                made = {"outputs": [_stream(f"{OUTPUTS_NOT_SHOWN}\n")], "why": ""}
        outcome["cells"][str(cell["place"])] = made
    outcome |= {"verdicts": tests.verdicts, "whose": tests.whose, "secrets": tests.secrets}
    with reach.lending():
        engine.end(job, remote)
    return outcome | {"lost": remote.lost, "processor": _processor(remote)}


def _processor(remote: Remote) -> dict[str, float]:
    """Processor seconds of the learner's process, where the system tells them, and of this one."""
    seconds = {"notebook": remote.processor_seconds()} if remote.pid and not remote.lost else {}
    return {name: round(value, 3) for name, value in (seconds | {"tests": time.process_time()}).items()}


def _files(job: Mapping[str, Any], extras: Sequence[bytes], remote: Remote, folder: Path) -> Path:
    """Put the course's files into a new folder for the tests, and these and the learner's where they work.

    The folder becomes this process's own. A learner's copy counts only where the course leaves it to them.
    """
    work = folder / "work"
    work.mkdir()
    content = {name: Path(path).read_bytes() for name, path in job["files"].items()}
    ours = {name: text for name, text in content.items() if name not in job["left"]}
    for name, text in ours.items():
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_bytes(text)
    os.chdir(work)
    sys.path.insert(0, str(work))
    theirs = dict(zip(job["extras"], extras, strict=True))
    files = {name: (0o644, text) for name, text in theirs.items() if name not in ours}
    files |= {name: (0o444, text) for name, text in ours.items()}
    if files and not remote.lost:
        request = {"do": "write", "files": [(name, mode) for name, (mode, _) in files.items()]}
        with contextlib.suppress(Lost):
            remote.send(request, [text for _, text in files.values()])
    sys.meta_path.insert(0, Modules(remote, job["left"]))
    remote.files = Files(remote, work, job["texts"])
    return work


def hello(wire: socket.socket) -> int:
    """The process that is at the other end, as the system names it to us."""
    wire.settimeout(60)
    wire.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 1)
    greeting, extra, *_ = wire.recvmsg(1, socket.CMSG_SPACE(12))
    wire.setsockopt(socket.SOL_SOCKET, SO_PASSCRED, 0)
    wire.settimeout(None)
    if greeting != HELLO:
        raise WireError("no process answered")
    return struct.unpack("iII", extra[0][2])[0] if extra and extra[0][1] == SCM_CREDENTIALS else 0


def _send(cell: Mapping[str, Any], remote: Remote, limits: isolate.Limits, room: list[int]) -> dict[str, Any]:
    """Have a cell of the learner's run where it lives; `room`: what may still be kept of this notebook."""
    if remote.lost:
        return {"outputs": [], "why": ""}
    try:
        outputs, _ = remote.run(cell["source"], limits.cell_seconds)
    except Lost as lost:
        reason = f"The notebook was stopped in this cell: {lost}."
        return _failure("Stopped", reason)
    except Exception as error:
        return _failure(type(error).__name__, "The cell could not be run.")
    return {"outputs": _kept(outputs, limits, room), "why": ""}


def _kept(outputs: Sequence[Any], limits: isolate.Limits, room: list[int]) -> list[dict[str, Any]]:
    """What is kept of a cell's outputs; the room for those of the notebook shrinks by it."""
    shown = kept(outputs, min(limits.outputs, room[0]), min(limits.images, room[1]))
    room[:] = [left - used for left, used in zip(room, size(shown), strict=True)]
    return shown


def _test(cell: Mapping[str, Any], tests: Examiner, remote: Remote) -> dict[str, Any]:
    if not remote.lost and not tests.secrets:  # after a hidden test it could say what it has seen
        with contextlib.suppress(Exception):
            tests.whose = clean(remote.value({"do": "session"}), 200)
    remote.uses.begin(cell["uses"])
    try:
        made = tests.run(cell)
        return made | {"uses": sorted(remote.uses.seen)}
    finally:
        remote.uses.begin(None)


# The template -----------------------------------------------------------------------------------------------


def main(argv: Sequence[str]) -> None:
    """Import, then fork for every job that comes; the fork answers on the socket that came with it."""
    control = socket.socket(fileno=int(argv[0]))
    isolate.prctl(isolate.PDEATHSIG, signal.SIGKILL)
    load(argv[1].split(","), "autograder.grading.examine", list(argv))
    shown()  # found out once, before the forks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):  # nobody waits any more
        control.send(b"ready")
    while True:
        content, descriptors, *_ = socket.recv_fds(control, 65536, 2)
        if not content:
            return
        if os.fork() == 0:
            _job(*(socket.socket(fileno=number) for number in descriptors))
        for number in descriptors:
            os.close(number)


def _job(answer: socket.socket, wire: socket.socket | None = None) -> None:
    """Read a job, do it, answer: take a notebook apart, or examine the learner's process behind `wire`.

    Whatever goes wrong here is told as an error of the grader.
    """
    isolate.prctl(isolate.PDEATHSIG, signal.SIGKILL)
    channel = Channel(answer.fileno(), answer.fileno(), limited=False)
    try:
        channel.send({"pid": os.getpid()})
        job, parts = channel.receive(60)
        bounds.limit(job["processor"])
        if wire is None:
            outcome = reading.read(job["outline"], parts[0])
        else:
            outcome = examine(job, parts, wire, Path(job["folder"]))
    except BaseException as error:  # what it says may hold inputs of a hidden test: it is not for learners
        print(f"{type(error).__name__}: {clean(str(error), 500)}", file=sys.stderr, flush=True)
        outcome = {"failed": "The grader stumbled over this notebook; look at it by hand."}
        outcome |= {"full": True} if is_full(error) else {}  # no fault of this notebook's
    with contextlib.suppress(WireError):
        channel.send(outcome)
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
