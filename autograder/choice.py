"""Choice questions in two tiers: an answer and the reason for it, shuffled for each learner.

In the source the right option stands first and every other one names its misconception; what a learner sees
is drawn from their variant. An answer is a letter and a digit, "B2"; a question without reasons takes the
letter alone. A wrong reason earns nothing: right by luck is not right.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from autograder.exercise import ANSWERED, Exercise, Part, Variant, Wrong, inline
from autograder.work import Work
from rslib.errors import ConfigError

LETTERS = "ABCDEFGH"


@dataclass(frozen=True)
class Option:
    """An answer or a reason. A wrong one has an idea (F-id or short name) and a feedback that says why."""

    text: str
    idea: str = ""
    feedback: str = ""


@dataclass(frozen=True)
class Question:
    """A question; the first option of each tier is the key.

    fixed: the answers stand in alphabetical order for everybody (depends, false, true).
    """

    id: str
    text: str
    answers: tuple[Option, ...]
    reasons: tuple[Option, ...] = ()
    fixed: bool = False

    def __post_init__(self) -> None:
        for tier in (self.answers, self.reasons):
            if len(tier) == 1 or any(not (o.idea and o.feedback) for o in tier[1:]):
                raise ConfigError(
                    f"question {self.id}: every wrong option needs an idea and a feedback, and company"
                )

    def order(self, variant: Variant) -> tuple[list[int], list[int]]:
        """For each tier, the options in the order in which this learner sees them."""
        answers = [int(k) for k in variant.rng(f"{self.id} answers").permutation(len(self.answers))]
        if self.fixed:
            answers = sorted(range(len(self.answers)), key=lambda k: self.answers[k].text)
        return answers, [int(k) for k in variant.rng(f"{self.id} reasons").permutation(len(self.reasons))]

    def label(self, variant: Variant, answer: int = 0, reason: int = 0) -> str:
        """What this learner writes for these options (indices of the source); by default the key."""
        answers, reasons = self.order(variant)
        return LETTERS[answers.index(answer)] + (str(reasons.index(reason) + 1) if self.reasons else "")


def exercise(
    id: str,
    title: str,
    questions: Sequence[Question],
    *,
    name: str,
    difficulty: int,
    minutes: int,
    points: float = 1.0,
) -> Exercise:
    """A choice exercise: one part a question, `points` each, answered in the dict `name` ({"a": "B2"})."""
    parts = tuple(Part(f"question {q.id}", points, partial(grade_question, q, name)) for q in questions)

    def sheet(variant: Variant) -> Sheet:
        return Sheet(id, tuple(questions), variant)

    return Exercise(id, title, difficulty, minutes, (name,), parts, given=sheet)


def grade_question(question: Question, name: str, work: Work, rng: np.random.Generator) -> None:
    """Raise Wrong unless the learner's label is the key; name the idea of the option that was chosen."""
    said = work.value(name, dict).get(question.id)
    if said is None or said == "" or said is ...:
        raise Wrong(ANSWERED, f"`{name}` has no answer to question {question.id} yet.")
    answer, reason = _read(question, said, work.variant)
    for tier, options, chosen in (("answer", question.answers, answer), ("reason", question.reasons, reason)):
        if chosen:
            option = options[chosen]
            plain = option.text.replace("`", "")
            raise Wrong(f"question {question.id}: {tier}", option.feedback, idea=option.idea, got=plain)


def _read(question: Question, said: object, variant: Variant) -> tuple[int, int]:
    """Indices, in the source's order, of the answer and the reason that a label means."""
    answers, reasons = question.order(variant)
    form = "a letter and a digit, such as 'B2'" if reasons else "one letter, such as 'B'"
    match = re.fullmatch(r"\s*([A-Ha-h])\s*([1-8]?)\s*", said) if isinstance(said, str) else None
    letter = LETTERS.index(match[1].upper()) if match else len(answers)
    digit = int(match[2]) - 1 if match and match[2] else (-1 if reasons else 0)
    if (
        letter >= len(answers)
        or not 0 <= digit < max(len(reasons), 1)
        or (match and match[2] and not reasons)
    ):
        raise Wrong(
            f"question {question.id}: form",
            f"The answer to question {question.id} is {form}.",
            got=repr(said),
        )
    return answers[letter], reasons[digit] if reasons else 0


@dataclass(frozen=True)
class Sheet:
    """The questions of an exercise as this learner sees them."""

    exercise: str
    questions: tuple[Question, ...]
    variant: Variant

    def tiers(self, question: Question) -> list[tuple[str, list[tuple[str, str]]]]:
        """(heading, [(label, text), ...]) of the answers, and of the reasons if there are any."""
        answers, reasons = question.order(self.variant)
        found = [("Answer", [(LETTERS[k], question.answers[i].text) for k, i in enumerate(answers)])]
        if reasons:
            found.append(("because", [(str(k + 1), question.reasons[i].text) for k, i in enumerate(reasons)]))
        return found

    def __repr__(self) -> str:
        lines = []
        for question in self.questions:
            lines.append(f"({question.id}) {question.text}")
            for heading, options in self.tiers(question):
                lines += [f"  {heading}", *(f"    {label}. {text}" for label, text in options)]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        return "".join(self._question_html(q) for q in self.questions)

    def _question_html(self, question: Question) -> str:
        tiers = "".join(
            f"<p style='margin:0.3em 0'>{heading}</p><ul style='list-style:none;margin:0'>"
            + "".join(f"<li><strong>{label}</strong>. {inline(text)}</li>" for label, text in options)
            + "</ul>"
            for heading, options in self.tiers(question)
        )
        text = f"<p><strong>({question.id})</strong> {inline(question.text)}</p>"
        return f"<div style='max-width:50em;margin-bottom:1.5em'>{text}{tiers}</div>"


def lint(questions: Sequence[Question], learners: int = 200) -> list[str]:
    """What gives the key away: standing first, or being the longest, more often than chance + 10 %.

    Position is counted over the variants of many learners, length over the questions of the source (an option
    counts as longest only if no other is as long). Empty if there is nothing to complain about.
    """
    found = []
    for tier in ("answers", "reasons"):
        counted = [q for q in questions if getattr(q, tier) and not (tier == "answers" and q.fixed)]
        if counted:
            found += _lint_tier(tier, counted, learners)
    return found


def _lint_tier(tier: str, questions: Sequence[Question], learners: int) -> list[str]:
    chance = float(np.mean([1 / len(getattr(q, tier)) for q in questions]))
    longest = float(np.mean([_key_is_longest(getattr(q, tier)) for q in questions]))
    first = float(
        np.mean(
            [
                q.order(Variant(f"learner {k}", "lint", "lint"))[tier == "reasons"][0] == 0
                for q in questions
                for k in range(learners)
            ]
        )
    )
    words = (("longest", longest), ("first", first))
    return [
        f"{tier}: the key is {word} in {share:.0%} of cases, chance is {chance:.0%}"
        for word, share in words
        if share > chance + 0.10
    ]


def _key_is_longest(options: Sequence[Option]) -> bool:
    return all(len(options[0].text) > len(o.text) for o in options[1:])
