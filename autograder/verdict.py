"""The result of a check: points per part, and for each part that failed, which wrong idea explains it.

A verdict is shown as a panel (HTML) or as text. Its `repr` is the number of points and nothing else: nbgrader
reads the text of a test cell's last expression as partial credit, so the learner's panel and the instructor's
mark are the same output of the same cell.
"""

from __future__ import annotations

import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

import autograder
import rslib
from autograder.exercise import NOTED, RUNS, CheckFailed, Exercise, Part, inline
from autograder.work import Work

MIME = "application/vnd.autograder.verdict+json"
OURS = "a fault of the check"
"""The check of a part that stopped with an error which no check foresaw."""


@dataclass(frozen=True)
class Outcome:
    """One part's points and, where it failed, the `CheckFailed` as plain text (empty where it passed)."""

    title: str
    points: float
    out_of: float
    check: str = ""
    idea: str = ""
    message: str = ""
    case: str = ""
    expected: str = ""
    got: str = ""

    @property
    def passed(self) -> bool:
        """Whether the part got all its points."""
        return self.check == ""

    def same_reason(self, other: Outcome) -> bool:
        """Whether another part failed at the same check with the same words."""
        return not self.passed and (self.check, self.message) == (other.check, other.message)

    def lines(self, repeated: bool = False) -> list[str]:
        """The part as lines of text; `repeated`: the part before has failed for the same reason."""
        mark = "passed" if self.passed else "noted" if self.check == NOTED else "NOT YET"
        tail = ", for the same reason" if repeated else ""
        head = f"  [{mark}] {self.title}: {self.points:g} of {self.out_of:g}{tail}"
        if self.passed or repeated:
            return [head]
        idea = f" ({self.idea})" if self.idea else ""
        details = [f"      {name}: {text}" for name, text in self.details()]
        return [head, f"      check: {self.check}{idea}", f"      {self.message}", *details]

    def details(self) -> list[tuple[str, str]]:
        """The failing case, what was expected and what came, where there is something to show."""
        return [(n, t) for n, t in (("case", self.case), ("expected", self.expected), ("got", self.got)) if t]


@dataclass(frozen=True)
class Verdict:
    """The outcomes of an exercise's parts, with the seed that draws the same checks again."""

    exercise: str
    title: str
    outcomes: tuple[Outcome, ...]
    seed: int
    seconds: float

    @property
    def points(self) -> float:
        """Points reached."""
        return float(sum(o.points for o in self.outcomes))

    @property
    def out_of(self) -> float:
        """Points that could be had."""
        return float(sum(o.out_of for o in self.outcomes))

    @property
    def passed(self) -> bool:
        """Whether every part passed."""
        return all(o.passed for o in self.outcomes)

    def text(self) -> str:
        """The panel as plain text."""
        head = f"{self.exercise} {self.title}: {self.points:g} of {self.out_of:g} points"
        return "\n".join([head, *(line for o, repeated in self._repeated() for line in o.lines(repeated))])

    def _repeated(self) -> list[tuple[Outcome, bool]]:
        """Each part, and whether the part before it failed for the same reason."""
        before = (None, *self.outcomes)
        pairs = zip(self.outcomes, before, strict=False)
        return [(o, b is not None and o.same_reason(b)) for o, b in pairs]

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as a JSON output of the cell."""
        return asdict(self) | {"points": self.points, "out_of": self.out_of}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Verdict:
        """The inverse of `to_dict`."""
        outcomes = tuple(Outcome(**o) for o in content["outcomes"])
        return cls(content["exercise"], content["title"], outcomes, content["seed"], content["seconds"])

    def __repr__(self) -> str:
        return f"{self.points:g}"

    def _repr_html_(self) -> str:
        head = f"{escape(self.exercise)} {escape(self.title)}: {self.points:g} of {self.out_of:g} points"
        body = "".join(_row(o, repeated) for o, repeated in self._repeated())
        return (
            f'<div role="status" style="border-left:4px solid currentColor;padding:0.2em 1em;max-width:50em">'
            f"<p><strong>{head}</strong></p><ul>{body}</ul></div>"
        )

    def _repr_mimebundle_(self, **_: Any) -> dict[str, Any]:
        return {"text/plain": repr(self), "text/html": self._repr_html_(), MIME: self.to_dict()}


def _row(outcome: Outcome, repeated: bool) -> str:
    """One part as a list item: a word says whether it passed, so colour carries nothing."""
    mark = "✓ passed" if outcome.passed else "· noted" if outcome.check == NOTED else "✗ not yet"
    head = f"<strong>{mark}</strong> · {inline(outcome.title)} · {outcome.points:g} of {outcome.out_of:g}"
    if outcome.passed or repeated:
        return f"<li>{head}{', for the same reason' if repeated else ''}</li>"
    idea = f" ({escape(outcome.idea)})" if outcome.idea else ""
    details = "".join(
        f"<br>{name}: <code style='white-space:pre-wrap'>{escape(text)}</code>"
        for name, text in outcome.details()
    )
    return f"<li>{head}<br>check: {inline(outcome.check)}{idea}<br>{inline(outcome.message)}{details}</li>"


def grade(
    exercise: Exercise, work: Work, seed: int, after_part: Callable[[], None] = lambda: None
) -> Verdict:
    """Grade each part of the exercise with inputs drawn from `seed`; `after_part` is called after each."""
    start, outcomes = time.perf_counter(), []
    for k, part in enumerate(exercise.parts):
        outcomes.append(_outcome(part, work, seed, k))
        after_part()
    return Verdict(exercise.id, exercise.title, tuple(outcomes), seed, round(time.perf_counter() - start, 3))


_KNOWN = (str(Path(sys.prefix).resolve()), str(Path(sys.base_prefix).resolve()), "<frozen", "<__array")
"""How names of files begin that hold no code of a learner's, beside this package and the engine."""


def _stopped(error: Exception) -> tuple[str, str]:
    """Check and message for an error that no check foresaw: raised by an object of the answer, or ours."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    known = (*_KNOWN, *(str(Path(module.__file__).resolve().parent) for module in (autograder, rslib)))
    if not where.filename.startswith(known):
        return RUNS, f"An object of your answer raised {type(error).__name__} where the check read it."
    what = f"{type(error).__name__} in {Path(where.filename).name}, line {where.lineno}"
    return OURS, (
        f"This check stopped with a fault of its own ({what}). That is ours to mend, and it says nothing of "
        "your answer. Please report it with the cell of your answer."
    )


def _outcome(part: Part, work: Work, seed: int, k: int) -> Outcome:
    try:
        with warnings.catch_warnings():  # what a check computes of an odd answer is no warning to its author
            warnings.simplefilter("ignore")
            part.grade(work, np.random.default_rng([seed, k]))
    except CheckFailed as failed:
        reason = (failed.check, failed.idea, failed.message, failed.case, failed.expected, failed.got)
        return Outcome(part.title, 0.0, part.points, *reason)
    except ImportError as missing:
        message = f"This part needs a package that is not here ({missing}). It is marked after you hand in."
        return Outcome(part.title, 0.0, part.points, NOTED, "", message)
    except Exception as error:  # of a kind that no check foresaw: the learner gets a sentence, no traceback
        check, message = _stopped(error)
        return Outcome(part.title, 0.0, part.points, check, "", message)
    return Outcome(part.title, part.points, part.points)
