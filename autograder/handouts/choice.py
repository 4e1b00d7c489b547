"""Choice questions as a learner sees them, in two tiers: an answer and the reason for it.

`questions.json` holds the texts, each tier by the alphabet: which option is right, and what is wrong with the
others, lies in `autograder/keys/`. What a learner sees is drawn from their variant. An answer is a letter and
a digit, "B2"; a question without reasons takes the letter alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from autograder.exercise import Exercise, Part, Variant, inline
from autograder.handouts.locked import locked
from rslib.errors import ConfigError

LETTERS = "ABCDEFGH"
FILE = Path(__file__).with_name("questions.json")


@dataclass(frozen=True)
class Asked:
    """A question and the texts of its options, by the alphabet.

    fixed: the answers stand in alphabetical order for everybody (depends, false, true). shared: all questions
    of the exercise have these options, and one order of them.
    """

    id: str
    text: str
    answers: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    fixed: bool = False
    shared: bool = False

    def order(self, variant: Variant) -> tuple[list[int], list[int]]:
        """For each tier, the options in the order in which this learner sees them."""
        answers = range(len(self.answers)) if self.fixed else self._drawn(variant, "answers")
        return list(answers), self._drawn(variant, "reasons")

    def _drawn(self, variant: Variant, tier: str) -> list[int]:
        purpose = tier if self.shared else f"{self.id} {tier}"
        return [int(k) for k in variant.rng(purpose).permutation(len(getattr(self, tier)))]

    def label(self, variant: Variant, answer: str, reason: str = "") -> str:
        """What this learner writes for the options that begin with these words.

        Raises ConfigError where no option, or more than one, begins so.
        """
        answers, reasons = self.order(variant)
        letter = LETTERS[answers.index(_beginning(answer, self.answers))]
        return letter + (str(reasons.index(_beginning(reason, self.reasons)) + 1) if self.reasons else "")


def _beginning(words: str, options: Sequence[str]) -> int:
    """The place of the option that begins with these words, or that is them."""
    places = [k for k, text in enumerate(options) if text == words]
    places = places or [k for k, text in enumerate(options) if text.startswith(words)]
    if len(places) != 1:
        raise ConfigError(
            f"{len(places)} options begin with {words!r}", fix="Give the first words of one option."
        )
    return places[0]


@cache
def content() -> dict[str, Any]:
    """The file's content: exercise -> its questions, and for 1.2 which of them are drawn together."""
    return json.loads(FILE.read_text(encoding="utf-8"))


@cache
def asked(exercise: str) -> tuple[Asked, ...]:
    """The questions of an exercise."""
    tiers = ("answers", "reasons")
    return tuple(
        Asked(**{name: tuple(value) if name in tiers else value for name, value in question.items()})
        for question in content()[exercise]["questions"]
    )


def sheet(exercise: str, variant: Variant) -> Sheet:
    """What an exercise hands out."""
    return Sheet(exercise, asked(exercise), variant)


@dataclass(frozen=True)
class Sheet:
    """The questions of an exercise as this learner sees them."""

    exercise: str
    questions: tuple[Asked, ...]
    variant: Variant

    def labels(self, chosen: Mapping[str, Sequence[str]]) -> dict[str, str]:
        """What this learner writes: {"a": ("first words of an answer", "of a reason")} as {"a": "B2"}.

        Raises ConfigError where no option, or more than one, begins so.
        """
        return {q.id: q.label(self.variant, *chosen[q.id]) for q in self.questions if q.id in chosen}

    def tiers(self, question: Asked) -> list[tuple[str, list[tuple[str, str]]]]:
        """(heading, [(label, text), ...]) of the answers, and of the reasons if there are any."""
        answers, reasons = question.order(self.variant)
        shown = [("Answer", [(LETTERS[k], question.answers[i]) for k, i in enumerate(answers)])]
        if reasons:
            shown.append(("because", [(str(k + 1), question.reasons[i]) for k, i in enumerate(reasons)]))
        return shown

    def __repr__(self) -> str:
        lines = []
        for question in self.questions:
            lines.append(f"({question.id}) {question.text}")
            for heading, options in self.tiers(question):
                lines += [f"  {heading}", *(f"    {label}. {text}" for label, text in options)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return "".join(self._question_html(q) for q in self.questions)

    def _question_html(self, question: Asked) -> str:
        tiers = "".join(
            f"<p style='margin:0.3em 0'>{heading}</p><ul style='list-style:none;margin:0'>"
            + "".join(f"<li><strong>{label}</strong>. {inline(text)}</li>" for label, text in options)
            + "</ul>"
            for heading, options in self.tiers(question)
        )
        text = f"<p><strong>({question.id})</strong> {inline(question.text)}</p>"
        return f"<div style='max-width:50em;margin-bottom:1.5em'>{text}{tiers}</div>"


def parts(exercise: str, name: str, points: float) -> tuple[Part, ...]:
    """One part for each question of an exercise, answered in the dict `name` ({"a": "B2"})."""
    return tuple(
        Part(
            question.text if question.shared else f"question {question.id}",
            points,
            locked(name, "questions", "grade", exercise, question.id, name),
        )
        for question in asked(exercise)
    )


def exercise(
    id: str, title: str, *, name: str, difficulty: int, minutes: int, points: float = 1.0
) -> Exercise:
    """A choice exercise: one part a question, `points` each, answered in the dict `name`."""
    return Exercise(
        id, title, difficulty, minutes, (name,), parts(id, name, points), given=lambda v: sheet(id, v)
    )
