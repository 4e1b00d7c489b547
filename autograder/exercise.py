"""What an exercise is, and how a wrong answer is told.

An exercise has parts; a part has points and a `grade` function that raises `CheckFailed` at the first check
that fails. A check has a name, and the catalogue in `autograder/wrong/` holds every wrong answer to the check
that must catch it. A `CheckFailed` names the idea that leads to the answer that was given; it never gives the
answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib.errors import ConfigError

if TYPE_CHECKING:
    from autograder.work import Work

ANSWERED = "is answered"
RUNS = "runs"
NOTED = "is marked after handing in"
UNREADABLE = (TypeError, ValueError, ArithmeticError, RuntimeError, MemoryError)
"""Raised where a value is no number: a text, a huge integer or range, a sparse tensor, a list in itself."""
EXACT = int | Fraction | Decimal
LONGEST = 1500
"""Characters of a text that a learner is told."""


class CheckFailed(Exception):
    """A failed check, told to the learner.

    check: the check's name, in words that finish "your answer ..." ("keeps the highest reward").
    idea: id of the misconception in the flaw catalogue ("F03"), or "" where the mistake is only technical.
    message: what wrong idea leads here, and where to look. Never the answer.
    case, expected, got: the failing case, kept as short text; `expected` only where it gives no answer away.
    """

    def __init__(
        self, check: str, message: str, *, idea: str = "", case: Any = "", expected: Any = "", got: Any = ""
    ) -> None:
        super().__init__(message)
        self.check, self.idea = check, idea
        self.message, self.case, self.expected, self.got = (
            cut(value if isinstance(value, str) else short(value), LONGEST)
            for value in (message, case, expected, got)
        )


@dataclass(frozen=True)
class Misconception:
    """A misconception, and the value that it would produce on the case at hand."""

    id: str
    message: str
    value: Any


@dataclass(frozen=True)
class Variant:
    """What makes one learner's exercise differ from another's: student id, course salt, exercise id."""

    student: str = ""
    course: str = ""
    exercise: str = ""

    def rng(self, purpose: str = "") -> np.random.Generator:
        """The same generator for the same learner, course, exercise and purpose, on every machine.

        >>> ada = Variant("ada", "2026", "2.1")
        >>> bool(ada.rng("order").random() == ada.rng("order").random())
        True
        """
        text = "\x1f".join((self.student.strip().lower(), self.course, self.exercise, purpose))
        digest = hashlib.sha256(text.encode()).digest()
        return np.random.default_rng(list(digest))


Grade = Callable[["Work", np.random.Generator], None]


@dataclass(frozen=True)
class Part:
    """A share of an exercise's points, given whole or not at all."""

    title: str
    points: float
    grade: Grade


@dataclass(frozen=True)
class Exercise:
    """One exercise of the course.

    id: "1.3". title: a few words. difficulty: 1 to 3 stars. minutes: for a learner who is prepared.
    names: the variables or functions that the learner's cells define; all that a grader looks at.
    parts: graded one after the other, independently.
    given: what the notebook hands out (`given("2.1")`): questions, reward models, cards; by variant.
    measured: True if the grade rests on an experiment, whose thresholds are in calibration.json.
    needs_torch: True if a part is made or checked with torch, or with tables of the engine.
    seconds: about how long its check takes on two cores, where that is 5 seconds or more.
    by_hand: points that a person gives beside those of the parts, in a task cell of nbgrader's.
    """

    id: str
    title: str
    difficulty: int
    minutes: int
    names: tuple[str, ...]
    parts: tuple[Part, ...]
    given: Callable[[Variant], Any] | None = field(default=None)
    measured: bool = False
    needs_torch: bool = False
    by_hand: float = 0.0
    seconds: int = 0

    def __post_init__(self) -> None:
        if self.difficulty not in (1, 2, 3) or not self.parts or not self.names:
            raise ConfigError(f"exercise {self.id}: one to three stars, at least one part and one name")

    @property
    def notebook(self) -> str:
        """Two digits: "01" for exercise 1.3."""
        return f"{int(self.id.split('.')[0]):02d}"

    @property
    def points(self) -> float:
        """All points that the parts give."""
        return float(sum(part.points for part in self.parts))

    def card(self) -> str:
        """The heading of the task and the line below it, in markdown.

        >>> print(Exercise("1.3", "Draw", 2, 8, ("f",), (Part("shape", 1.5, lambda work, rng: None),)).card())
        ### 1.3 · Draw
        <BLANKLINE>
        ★★☆ · 1.5 points · about 8 minutes
        """
        stars = "★" * self.difficulty + "☆" * (3 - self.difficulty)
        plural = "" if self.points == 1 else "s"
        facts = f"{self.points:g} point{plural} · about {self.minutes} minutes"
        return f"### {self.id} · {self.title}\n\n{stars} · {facts}"


def inline(text: str) -> str:
    """A text as HTML: everything escaped, `words in backticks` set as code, no formula between two prices.

    >>> inline("`a<b` is > 0")
    '<code>a&lt;b</code> is &gt; 0'
    >>> inline("$3, or $5")
    '<span>$</span>3, or <span>$</span>5'
    """
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
    return marked.replace("$", "<span>$</span>")  # JupyterLab reads a text between two signs as mathematics


def table(caption: str, rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Rows of text as an HTML table, the first column as headers.

    Cells begin at the left: notebooks set them at the right, where sentences are hard to read. So does the
    caption, which would be out of sight in the middle of a table that is wider than a phone.

    >>> table("Cards", [("score", "gives a reward")]).count("text-align:left")
    3
    """
    left = "style='text-align:left'"
    wide = "style='text-align:left; min-width:8em'"  # a sentence, which a phone would set word by word
    top = "".join(f'<th scope="col" {left}>{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row" {left}>{escape(first)}</th>'
        + "".join(f"<td {wide if len(text) > 24 else left}>{inline(text)}</td>" for text in rest)
        + "</tr>"
        for first, *rest in rows
    )
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f"<table><caption {left}>{escape(caption)}</caption>{top}<tbody>{body}</tbody></table>"


ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+| from '/[^']*'")
"""Where an object lies in memory or a module on the disk, as `repr` tells it."""


def short(value: Any, limit: int = 300) -> str:
    """A value as text for a message, cut where it gets long; its class where it cannot be written.

    >>> short("a" * 10, 8), short(object()), short(ValueError("no"))
    ("'aaa ...", '<object object>', "ValueError('no')")
    """
    try:
        with np.printoptions(precision=4, threshold=24, suppress=True):
            text = (
                repr(value) if not isinstance(value, np.ndarray) else np.array2string(value, separator=", ")
            )
    except Exception:  # a class of the learner's own, or a number with too many digits
        text = f"an object of the type {type(value).__name__}"
    return cut(text, limit)


def cut(text: str, limit: int = 300) -> str:
    """A text that can be shown and sent: no addresses, no lone surrogates, cut where it gets long."""
    text = ADDRESS.sub("", text[: 4 * limit]).encode(errors="replace").decode()
    return text if len(text) <= limit else text[: limit - 4] + " ..."


def words_of(error: BaseException) -> str:
    """What an error says, cut where it gets long; "" where it says nothing or cannot be asked.

    >>> words_of(KeyError("reward")), words_of(ValueError())
    ("'reward'", '')
    """
    try:
        return cut(str(error))
    except Exception:  # an error of the learner's own
        return ""


def require(
    passed: Any,
    check: str,
    message: str | Misconception,
    *,
    idea: str = "",
    case: Any = "",
    expected: Any = "",
    got: Any = "",
) -> None:
    """Raise CheckFailed unless `passed`; a Misconception as the message brings its own `idea`.

    >>> require(2 > 1, "orders numbers", "")
    """
    if not bool(passed):
        if isinstance(message, Misconception):
            message, idea = message.message, message.id
        raise CheckFailed(check, message, idea=idea, case=case, expected=expected, got=got)


def same(got: Any, expected: Any, tolerance: float = 0.0) -> bool:
    """Whether two plain values agree: exactly, or as numbers within `tolerance` (absolute, plus relative).

    Shapes must agree and NaN agrees with NaN. Only plain containers, numbers and arrays are compared, by
    value: an object with a `==` of its own never gets to speak.

    >>> same([1, 2], (1, 2)), same([1.0, float("nan")], [1.0, float("nan")]), same([1], [1, 2])
    (True, True, False)
    """
    try:
        return _same(got, expected, tolerance)
    except RecursionError:  # a list that holds itself
        return False


def _same(got: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(expected, str):
        return isinstance(got, str) and str.__str__(got) == expected
    if isinstance(expected, dict):
        plain = dict(dict.items(got)) if isinstance(got, dict) else None
        return (
            plain is not None
            and plain.keys() == expected.keys()
            and all(_same(plain[k], expected[k], tolerance) for k in expected)
        )
    if isinstance(expected, list | tuple) and any(isinstance(v, str | list | tuple | dict) for v in expected):
        items = next((list(kind.__iter__(got)) for kind in (list, tuple) if isinstance(got, kind)), None)
        return (
            items is not None
            and len(items) == len(expected)
            and all(_same(g, e, tolerance) for g, e in zip(items, expected, strict=True))
        )
    left, right = numbers(got), numbers(expected)
    if left is None or right is None or left.shape != right.shape:
        return False
    return bool(np.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True))


def of_pandas(value: Any) -> bool:
    """Whether a value's class is one of pandas; pandas is not loaded to tell."""
    return type(value).__module__.partition(".")[0] == "pandas"


def numbers(value: Any) -> np.ndarray | None:
    """A number, list, array, tensor or pandas column as float64, or None if it is something else.

    Fractions and decimals are numbers.

    >>> numbers([1, 2]).tolist(), numbers("1") is None, float(numbers(Fraction(1, 4)))
    ([1.0, 2.0], True, 0.25)
    """
    try:
        if hasattr(value, "detach"):
            value = None if value.is_complex() else value.detach().cpu().double().numpy()
        elif of_pandas(value) and hasattr(value, "to_numpy"):
            value = value.to_numpy()
        if not isinstance(value, bool | EXACT | float | list | tuple | np.ndarray | np.number):
            return None
        array = np.asarray(value)
        exact = array.dtype.kind == "O" and all(isinstance(part, EXACT | float) for part in array.flat)
        return array.astype(np.float64) if exact or array.dtype.kind in "biuf" else None
    except UNREADABLE:
        return None


def as_dict(value: Any) -> Any:
    """A named pandas column as a dict, which it reads like; all else as it came."""
    return value.to_dict() if of_pandas(value) and hasattr(value, "to_dict") else value


def diagnose(
    check: str,
    got: Any,
    expected: Any,
    *,
    ideas: Sequence[Misconception] = (),
    otherwise: str | Misconception,
    tolerance: float = 0.0,
    case: Any = "",
    reveal: bool = True,
) -> None:
    """Raise CheckFailed unless `got` agrees with `expected`; name the idea whose value it agrees with.

    check: the check's name. otherwise: the message when no idea of the list explains the value (a
    Misconception to file it under an id; its value does not matter).
    tolerance: absolute and relative. reveal: False where the expected value is itself the answer.

    >>> worst = Misconception("F03", "the worst is kept", 0)
    >>> diagnose("keeps the best", 0, 2, ideas=[worst], otherwise="not best")
    Traceback (most recent call last):
    autograder.exercise.CheckFailed: the worst is kept
    """
    if same(got, expected, tolerance):
        return
    shown = {"case": case, "got": short(got), "expected": short(expected) if reveal else ""}
    for known in ideas:
        if same(got, known.value, tolerance) and not same(known.value, expected, tolerance):
            raise CheckFailed(check, known.message, idea=known.id, **shown)
    known = otherwise if isinstance(otherwise, Misconception) else Misconception("", otherwise, None)
    raise CheckFailed(check, known.message, idea=known.id, **shown)
