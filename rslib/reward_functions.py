"""A program in the place of a reward model: fn(prompt, response, reference) -> float.

It is asked about one response at a time, so no reward can depend on its neighbours, and never twice about the
same: what it has said is kept in memory, and of a run on the disk. At first it is asked about a few responses
once more, and refused where the replies differ. With a time limit or several workers it is asked in processes
of its own, which are ended where they hang.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import importlib
import inspect
import math
import numbers
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib.cache import key_of, os_errors
from rslib.config import closest, require
from rslib.errors import ConfigError, RewardError
from rslib.messages import Prompt
from rslib.progress import Progress
from rslib.tables import rows_of

if TYPE_CHECKING:
    from datasets import Dataset

_SIGNATURE = "fn(prompt, response, reference) -> float, or without the reference"
_ARGUMENTS = ("prompt", "response", "reference")
_LISTS = {"prompts", "completions", "responses", "queries"}
_ASKED_TWICE = 3
_LONGEST = 500
"""Characters of an exception's text that an error shows."""

_Asked = Mapping[str, Sequence[Any]]
"""What a function is called with, by key."""
_Outcomes = Iterator[tuple[str, float | str]]
"""Key and reward, or in words what the function did instead; in any order."""

_rewards: dict[str, float] = {}
"""What functions have said in this process, by function, prompt, response and reference."""
_repeatable: set[str] = set()
"""Fingerprints of functions that said the same twice."""


class RewardFunction:
    """A function that scores as a reward model does; `name` is its "module:function".

    function: takes (prompt, response, reference), or (prompt, response), and returns a finite number or a
    bool. The prompt is a text or messages; the reference is the prompt's column of that name, None where
    there is none. version: a text to change when rewards change for a reason that Python cannot see (None:
    function.version). timeout: seconds that one call may take. workers: processes that are asked side by
    side. deterministic: False for what may say something else when asked again, as a service does.

    Raises ConfigError for what cannot be called so, and for settings out of range.
    """

    parameters = 0
    """What a ledger counts: no model is read."""

    def __init__(
        self,
        function: Callable[..., float],
        *,
        version: str | None = None,
        timeout: float | None = None,
        workers: int = 1,
        deterministic: bool = True,
    ) -> None:
        self._size = _arguments(function)
        timed = timeout is None or 0 < timeout < threading.TIMEOUT_MAX
        require(timed, f"timeout is {timeout}", "RewardFunction", "Use seconds > 0, or None.")
        require(workers >= 1, f"workers is {workers}", "RewardFunction", "Use a number >= 1.")
        self.function, self.timeout, self.workers = function, timeout, workers
        version = getattr(function, "version", None) if version is None else version
        self.version = (
            version if isinstance(version, str | int | float) else None
        )  # else something of its own
        self.deterministic, self.name = deterministic, _name_of(function)
        self._file: Path | None = None

    @classmethod
    def of(cls, function: RewardFunction | Callable[..., float]) -> RewardFunction:
        """The function as a RewardFunction, which it may be."""
        return function if isinstance(function, cls) else cls(function)

    def __call__(self, prompt: Prompt, response: str, reference: Any = None) -> float:
        """What the function itself returns."""
        return self.function(*(prompt, response, reference)[: self._size])

    def fingerprint(self) -> str:
        """The sha256 (hex) of its name, version and code; without a version also of all that the code names.

        Raises ConfigError where that cannot be hashed (see `rslib.code_facts`).
        """
        from rslib.code_facts import code_of, facts_of  # a reward model needs none of it

        facts = facts_of(self.function) if self.version is None else code_of(self.function)
        return key_of({"name": _name_of(self.function), "version": self.version, "code": facts})

    identity = fingerprint

    def remember(self, folder: str | Path) -> None:
        """From now on keep rewards in a file of this folder, and use those that it holds already."""
        self._file = Path(folder) / f"rewards-{self.fingerprint()[:12]}.txt"
        with os_errors(self._file):
            lines = self._file.read_text().splitlines() if self._file.is_file() else []
        parts = [line.split() for line in lines]  # a line that was cut or edited is not believed
        _rewards.update({p[0]: float(p[1]) for p in parts if len(p) == 3 and p[2] == key_of(p[:2])[:12]})

    def rewards(self, responses: Dataset, *, show: bool = False) -> list[float]:
        """One finite float for each row of a responses table, whatever the other rows are.

        Raises RewardError naming a row for which the function raised, took longer than `timeout`, returned no
        finite number or says something else when asked again. What was scored until then is kept.
        """
        known = "reference" in responses.column_names
        references = responses["reference"][:] if known else [None] * len(responses)
        rows = list(zip(responses["prompt"][:], responses["response"][:], references, strict=True))
        fingerprint, names = self.fingerprint(), rows_of(responses)
        keys = [key_of([fingerprint, row[: self._size]]) for row in rows]
        first = {key: row for row, key in reversed(list(enumerate(keys)))}
        new = {key: rows[first[key]][: self._size] for key in keys if key not in _rewards}

        def where(key: str) -> str:
            prompt, response = rows[first[key]][:2]
            row = f"{names.row_name(first[key])}, prompt {str(prompt)[:60]!r}, response {response[:60]!r}"
            return f"{self.name}, {row}"

        with Progress(len(rows), "score", show=show) as progress:
            if new and self.deterministic and fingerprint not in _repeatable:
                with self._asking(1) as ask:  # the one process that saw what was asked before
                    self._ask_twice(new, ask, where)
                _repeatable.add(fingerprint)
            left = {key: values for key, values in new.items() if key not in _rewards}
            progress.advance(len(rows) - len(left), cached=True)
            with self._asking(len(left)) as ask:
                for key, outcome in ask(left):
                    self._keep(key, self._reward(outcome, where(key)))
                    progress.advance()
        return [_rewards[key] for key in keys]

    def _ask_twice(
        self, new: _Asked, ask: Callable[[_Asked], _Outcomes], where: Callable[[str], str]
    ) -> None:
        """Ask about a few responses, then again in reverse. Raises RewardError if the replies differ."""
        keys = list(new)
        some = dict.fromkeys(keys[len(keys) * part // _ASKED_TWICE] for part in range(_ASKED_TWICE))
        before, again = (
            {key: self._reward(outcome, where(key)) for key, outcome in ask({key: new[key] for key in order})}
            for order in (some, reversed(some))
        )
        for key, reward in before.items():
            what = f"the reward function gave {reward:g} and, asked again, {again[key]:g}"
            fix = (
                "A reward depends on prompt, response and reference, on nothing that was asked before. For a "
            )
            fix += "service that varies use RewardFunction(fn, deterministic=False)."
            if not math.isclose(reward, again[key], rel_tol=1e-6, abs_tol=1e-9):
                raise RewardError(what, where=where(key), fix=fix)
        for key, reward in before.items():
            self._keep(key, reward)

    def _reward(self, outcome: float | str, where: str) -> float:
        """The reward. Raises RewardError where there is none."""
        if isinstance(outcome, float):
            return outcome
        fix = "Let it return a finite number for every response, one at a time (float(x) of a tensor, "
        fix += "asyncio.run(x) of a coroutine), or leave out prompts that it cannot judge."
        raise RewardError(f"the reward function {outcome}", where=where, fix=fix)

    def _keep(self, key: str, reward: float) -> None:
        _rewards[key] = reward
        if self._file is not None:
            line = [key, repr(reward)]
            with (
                os_errors(self._file),
                open(self._file, "a") as file,
            ):  # behind a line that a kill may have cut
                file.write(f"\n{' '.join(line)} {key_of(line)[:12]}")

    @contextlib.contextmanager
    def _asking(self, count: int) -> Iterator[Callable[[_Asked], _Outcomes]]:
        """What asks: this process; for a time limit or several workers others, which end with the block."""
        if not count or (self.timeout is None and self.workers == 1):
            yield lambda asked: ((key, _outcome(self.function, values)) for key, values in asked.items())
            return
        packed, processes, own = self._packed(), [], threading.local()
        threads, ended = ThreadPoolExecutor(min(self.workers, count)), threading.Event()

        def ask(key: str, values: Sequence[Any]) -> tuple[str, float | str]:
            if not hasattr(own, "process"):
                own.process = _Process(packed, self.timeout)
                processes.append(own.process)
                if ended.is_set():  # while it was starting
                    own.process.end()
            return key, own.process.outcome(values)

        def side_by_side(asked: _Asked) -> _Outcomes:
            for future in as_completed([threads.submit(ask, *item) for item in asked.items()]):
                yield future.result()

        try:
            yield side_by_side
        finally:  # nobody waits for what is still being asked
            ended.set()
            threads.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.end()

    def _packed(self) -> bytes:
        """The function for another process: by name where it can be imported, else by its code."""
        import dill

        try:
            return dill.dumps(self.function, recurse=True)
        except Exception as err:  # whatever it holds may refuse
            what = f"the reward function {self.name} cannot be sent to a process: {type(err).__name__}: {err}"
            fix = "Open what it holds (a client, a file) within the function, or write it in a module."
            raise ConfigError(what, where="RewardFunction(timeout=, workers=)", fix=fix) from err


def load_reward_function(name: str) -> RewardFunction:
    """The function, or RewardFunction, that "module:name" names; modules of the working folder are found too.

    Raises ConfigError where there is none.

    >>> load_reward_function("math:dist").name
    'math:dist'
    """
    module_name, _, path = name.partition(":")
    sys.path += [] if os.getcwd() in sys.path else [os.getcwd()]
    try:
        function = functools.reduce(getattr, path.split("."), importlib.import_module(module_name))
    except Exception as err:  # what a module does when it is imported may fail in any way
        near = closest(path, vars(sys.modules.get(module_name, object)))
        what = f"there is no reward function {name}: {type(err).__name__}: {err}"
        fix = "Write module:function, such as checks:exact for `exact` in checks.py of the working folder."
        raise ConfigError(what, where=name, fix=f"Did you mean '{near}'? {fix}" if near else fix) from err
    loaded = copy.copy(RewardFunction.of(function))
    loaded.name = name
    return loaded


def names_function(name: str) -> bool:
    """Whether the name of a reward model is that of a function instead.

    >>> names_function("checks:exact"), names_function("org/model"), names_function("C:/models/rm")
    (True, False, False)
    """
    return re.fullmatch(r"[^\W\d][\w.]*:[^\W\d][\w.]*", name) is not None and not Path(name).exists()


def _name_of(function: Any) -> str:
    """module:function; of an object that is called, its class."""
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__ or '__main__'}:{named.__qualname__}"


def _arguments(function: Any) -> int:
    """How many of prompt, response and reference the function takes: 3, or 2.

    A third argument that has a default and another name than `reference` is a setting, and left alone.
    """
    fix = f"Give a RewardModel (load_reward_model), or {_SIGNATURE}."
    require(callable(function), f"a {type(function).__name__} can score nothing", "score", fix)
    unwrapped = function.func if isinstance(function, functools.partial) else function
    later = any(map(inspect.iscoroutinefunction, (unwrapped, type(unwrapped).__call__)))
    wait = "Wrap it: lambda prompt, response, reference: asyncio.run(fn(prompt, response, reference))."
    require(not later, f"{_name_of(unwrapped)} is asynchronous: it returns no number", "score", wait)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as err:
        what = f"{_name_of(function)} does not say how it is called"
        raise ConfigError(what, where="score", fix="Wrap it: lambda prompt, response: ...") from err
    names = [p.name for p in signature.parameters.values() if p.kind <= p.POSITIONAL_OR_KEYWORD]
    wrap = "Wrap it: lambda prompt, response, reference: fn("
    lists = not _LISTS & set(signature.parameters)
    require(lists, f"it takes lists: {signature}", "score", f"{wrap}[prompt], [response])[0].")
    order = all(name == (*_ARGUMENTS, name)[min(n, 3)] for n, name in enumerate(names) if name in _ARGUMENTS)
    what = f"the reward function takes its arguments in another order: {signature}"
    require(order, what, "score", f"It is called as {_SIGNATURE}. {wrap}response, reference).")
    third = [*signature.parameters.values()][2:3]
    setting = any(p.default is not p.empty and p.name != "reference" for p in third)
    for size in (2,) if setting else (3, 2):
        with contextlib.suppress(TypeError):
            signature.bind(*[None] * size)
            return size
    what = f"the reward function cannot be called with a prompt and a response: {signature}"
    raise ConfigError(what, where="score", fix=fix)


def _outcome(function: Callable[..., float], values: Sequence[Any]) -> float | str:
    """The reward, or in words what the function did instead.

    It is given copies of messages and references, so that what it writes into them changes no other call.
    """
    process = os.getpid()
    try:
        with _kept_state():
            reward = function(*copy.deepcopy(values))
        if inspect.iscoroutine(reward):
            reward.close()  # or Python warns that nobody awaited it
        real = isinstance(reward, numbers.Real | np.bool_) and math.isfinite(reward)
        outcome = float(reward) if real else f"returned {_shown(reward)}"
    except KeyboardInterrupt:
        raise
    except BaseException as err:  # sys.exit, and a cancelled task, are no Exceptions
        frames = traceback.extract_tb(err.__traceback__)[1:]
        place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
        outcome = f"raised {type(err).__name__}: {_message_of(err)}{place}"
    if os.getpid() != process:  # a child that the function forked came back: it must not go on as the run
        os._exit(0)
    return outcome


@contextlib.contextmanager
def _kept_state() -> Iterator[None]:
    """Afterwards working folder and torch's modes are what they were: a function may change them for all."""
    folder, torch = os.getcwd(), sys.modules.get("torch")  # a process that needs none starts faster
    dtype = torch.get_default_dtype() if torch else None
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()) if torch else contextlib.nullcontext():
            yield
    finally:
        os.chdir(folder)
        if torch:
            torch.set_default_dtype(dtype)


def _shown(reward: Any) -> str:
    """What a function returned, as an error names it."""
    shown = repr(reward) if isinstance(reward, numbers.Real | str | None) else type(reward).__name__
    return shown[:80]


def _message_of(err: BaseException) -> str:
    """The exception's text, cut where it is long."""
    try:
        text = str(err)
    except Exception:  # its own __str__ may fail in any way
        return "(its text cannot be read)"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


# Processes that are asked -----------------------------------------------------------------------------


class _Process:
    """A process that replies for a function; it is killed where one call takes longer than `timeout`."""

    def __init__(self, packed: bytes, timeout: float | None) -> None:
        # Not by multiprocessing, which would run the user's main module once more.
        code = f"import sys; sys.path[:] = {sys.path!r}; from rslib.reward_functions import _serve; _serve()"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self._process, self.timeout = subprocess.Popen([sys.executable, "-c", code], **pipes), timeout
        self._trouble = self._exchange((packed, timeout))  # the limit counts from when it is loaded

    def _exchange(self, message: Any) -> Any:
        try:
            pickle.dump(message, self._process.stdin)
            self._process.stdin.flush()
            return pickle.load(self._process.stdout)
        except (EOFError, OSError, pickle.UnpicklingError):
            return f"ended its process (exit code {self._process.wait()})"

    def outcome(self, values: Sequence[Any]) -> float | str:
        """As `_outcome`."""
        began, timer = time.monotonic(), threading.Timer(self.timeout or 0, self._process.kill)
        if self.timeout is not None:
            timer.start()
        outcome = self._trouble or self._exchange(values)
        timer.cancel()
        late = self.timeout is not None and time.monotonic() - began >= self.timeout
        return f"took longer than {self.timeout:g} s" if late else outcome

    def end(self) -> None:
        """End it, whatever it does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):  # what it was not sent any more
                pipe.close()


def _serve() -> None:
    """In a process: load the function, then reply until no more is asked. Prints go to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # interrupts are the parent's matter
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        packed, timeout = pickle.load(requests)
        try:
            function, outcome = __import__("dill").loads(packed), None
        except Exception as err:  # what it imports may fail in any way
            function, outcome = None, f"cannot be loaded in a process: {type(err).__name__}: {err}"
        while True:
            pickle.dump(outcome, replies)
            replies.flush()
            values = pickle.load(requests)
            if timeout and hasattr(signal, "setitimer"):  # what hangs ends also where the parent was killed
                signal.setitimer(signal.ITIMER_REAL, timeout + 1)
            outcome = _outcome(function, values)
