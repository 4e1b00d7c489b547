"""What a running notebook remembers: who works on which notebook, predictions, and verdicts so far.

There is one session a kernel, made by `begin`. It is the only state of this package, and nothing in it is
ever graded: a check looks at the learner's names alone.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from symtable import symtable
from typing import Any

from autograder import blanks, exercises, handouts
from autograder.exercise import Exercise, Variant, table
from autograder.handouts.locked import SENTENCE
from autograder.verdict import Verdict, grade
from autograder.work import Work
from rslib.errors import ConfigError
from rslib.progress import Progress, duration

RUNS = "AUTOGRADER_RUNS"
"""Environment variable: where notebooks keep what they compute (default: `runs` beside the notebook)."""
_DRIVE = "/content/drive"
"""Where Colab mounts the reader's Drive."""


@dataclass
class Session:
    """One notebook in one kernel."""

    notebook: str = ""
    student: str = ""
    course: str = ""
    predictions: dict[str, Any] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)

    def variant(self, exercise: str) -> Variant:
        """The variant of an exercise for this learner."""
        return Variant(self.student, self.course, exercise)

    def folder(self) -> Path:
        """The work folder of the notebook, made where it is missing."""
        folder = Path(os.environ.get(RUNS) or "runs") / (self.notebook or "other")
        folder.mkdir(parents=True, exist_ok=True)
        return folder


_CURRENT = Session()


def begin(notebook: str, student: str = "", course: str = "", drive: bool = False) -> Path:
    """Start (or start again) the session of a notebook and return its work folder.

    student: any id that stays the same; it draws your variant of the exercises. course: the course's salt.
    drive: in Colab, keep the work folder on your Google Drive, where it outlives the runtime.
    """
    if not isinstance(student, str) or not isinstance(course, str):
        raise ConfigError('begin(): student and course are texts, such as begin("01", student="ada")')
    predictions = _CURRENT.predictions if _CURRENT.notebook == notebook else {}
    _CURRENT.__init__(notebook, student, course, predictions)
    whose = f"variant of {student!r}" if student.strip() else 'common variant (put your id into student="")'
    points = sum(e.points for e in exercises.of_notebook(notebook))
    total = f"{points:g} points, " if exercises.can_mark() else ""
    print(f"Notebook {notebook}: {total}{whose}.")
    if "google.colab" in sys.modules:
        _outlive_runtime(drive)
    if not _has_torch():
        _skip_what_needs_torch(notebook)
    if (shell := _shell()) is not None:
        asked = exercises.of_notebook(notebook)
        blanks.watch(shell, {name: exercise.id for exercise in asked for name in exercise.names})
    return _CURRENT.folder()


def _outlive_runtime(drive: bool) -> None:
    """In Colab: put the runs onto the Drive, or say that the runtime's own folder is forgotten with it."""
    if RUNS in os.environ:
        return
    if not drive:
        print("Colab forgets `runs` with the runtime. To keep it on your Drive: begin(..., drive=True).")
        return
    try:
        from google.colab import drive as google_drive

        google_drive.mount(_DRIVE)
    except Exception as error:  # the reader refused, nobody clicked in time, no network
        print(f"Your Drive could not be reached ({error}): `runs` stays in this runtime.")
        return
    os.environ[RUNS] = f"{_DRIVE}/MyDrive/rslib-runs"


_NEEDED = {"torch", "transformers", "datasets", "pyarrow", "safetensors", "tokenizers"}
"""Packages that the engine's stages import, and a browser lacks."""


def _has_torch() -> bool:
    """Whether the engine's stages can run here; in a browser they cannot."""
    try:
        return None not in map(find_spec, ("torch", "transformers", "datasets"))
    except ImportError:
        return False


def _skip_what_needs_torch(notebook: str) -> None:
    """Say what cannot be done here; from now on a cell that needs it says so in a line, without traceback."""
    ids = [e.id for e in exercises.of_notebook(notebook) if e.needs_torch]
    which = f"exercises {', '.join(ids)} and all cells that use a model" if ids else "cells that use a model"
    print(f"There is no torch here, so {which} are skipped. The rest works, and the file can be handed in.")
    shell = _shell()
    if shell is not None:
        shell.set_custom_exc((ImportError, NameError), _Skipped())


class _Skipped:
    """What IPython calls for an ImportError or a NameError: one line for cells that need what is not here.

    Those are cells that import it, and cells that use a name which such a cell would have given.
    """

    def __init__(self) -> None:
        self.names: set[str] = set()

    def __call__(self, shell: Any, kind: type, error: Exception, trace: Any, tb_offset: Any = None) -> None:
        """Print the line; for every other error its traceback."""
        missing = _NEEDED & set(re.findall(r"\w+", str(error))) if isinstance(error, ImportError) else set()
        if not missing and not {error.name} & self.names:
            shell.showtraceback((kind, error, trace), tb_offset=tb_offset)
            return
        known = symtable(shell.user_ns["In"][-1], "cell", "exec").get_symbols()
        self.names |= {name.get_name() for name in known if name.is_assigned() or name.is_imported()}
        print(f"Skipped, as there is no torch here: {error}.")


def whose() -> str:
    """The id that the notebook gave to `begin`, or ""."""
    return _CURRENT.student


def given(exercise: str) -> Any:
    """What an exercise hands out: its questions, cards or models, in this learner's variant."""
    handout = handouts.handout(_CURRENT.variant(exercise))
    if handout is None:
        exercises.find(exercise)
        raise ConfigError(
            f"exercise {exercise} hands nothing out; run its cells and then check({exercise!r})"
        )
    return handout


def check(exercise: str, *, seed: int | None = None, names: Mapping[str, Any] | None = None) -> Verdict:
    """Grade an exercise on fresh inputs and show which parts pass.

    seed: to draw the same inputs again (a verdict carries its seed). names: where to look for the answers;
    by default the notebook's variables.
    """
    if not exercises.can_mark():
        print(f"{exercise}: {SENTENCE}")
        return Verdict(exercise, "", (), 0, 0.0)
    seed = int.from_bytes(os.urandom(4), "little") if seed is None else seed
    names = _notebook_names() if names is None else names
    asked, work = exercises.find(exercise), Work(names, _CURRENT.variant(exercise), _CURRENT.folder())
    long = asked.seconds > 0 and not any(blanks.is_empty(names.get(name)) for name in asked.names)
    label = f"check {exercise}, about {duration(asked.seconds)}"
    with Progress(len(asked.parts), label, "parts", show=long) as shown:
        verdict = grade(asked, work, seed, shown.advance)
    _CURRENT.verdicts[exercise] = verdict
    return verdict


def _shell() -> Any:
    """IPython's shell, or None outside of a notebook."""
    main = sys.modules.get("IPython")
    return main.get_ipython() if main is not None else None


def _notebook_names() -> Mapping[str, Any]:
    """The variables of the notebook, or of the script that called `check`."""
    shell = _shell()
    return shell.user_ns if shell is not None else sys._getframe(2).f_globals


def predict(name: str, value: Any = ...) -> None:
    """Note a prediction before the experiment runs; `...` means that none was made yet."""
    if value is ...:
        print(f"No prediction for {name!r} yet: replace the dots, run this cell again, then go on.")
        return
    _CURRENT.predictions[name] = value
    print(f"Noted: {name} = {value}")


def compare(name: str, measured: Any) -> None:
    """Print what was measured, or found by hand, beside the prediction."""
    shown = f"{measured:.3g}" if isinstance(measured, float) else measured
    prediction = _CURRENT.predictions.get(name)
    remark = "no prediction was made" if prediction is None else f"you predicted {prediction}"
    print(f"{name}: {shown} ({remark})")


@dataclass(frozen=True)
class Score:
    """The points of a notebook so far: a table in a notebook, text elsewhere."""

    rows: tuple[tuple[str, str, float | None, float], ...]

    def __repr__(self) -> str:
        lines = [
            f"  {i:4} {t}: {'not checked yet' if p is None else f'{p:g}'} of {o:g}"
            for i, t, p, o in self.rows
        ]
        return "\n".join([self.total(), *lines])

    def total(self) -> str:
        """The sum as a sentence."""
        return (
            f"{sum(p or 0 for _, _, p, _ in self.rows):g} of {sum(o for *_, o in self.rows):g} points so far"
        )

    def _repr_html_(self) -> str:
        rows = [(i, t, "not checked yet" if p is None else f"{p:g}", f"{o:g}") for i, t, p, o in self.rows]
        return table(self.total(), rows, ("exercise", "title", "points", "of"))


def progress() -> Score:
    """The points so far in this notebook, in this kernel."""
    return Score(tuple(_row(e) for e in exercises.of_notebook(_CURRENT.notebook)))


def _row(exercise: Exercise) -> tuple[str, str, float | None, float]:
    verdict = _CURRENT.verdicts.get(exercise.id)
    return exercise.id, exercise.title, None if verdict is None else verdict.points, exercise.points
