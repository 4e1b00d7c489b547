"""The keys of choice questions, and how an answer is marked.

    python -m autograder.keys.questions     writes autograder/handouts/questions.json, which holds no key

The questions of exercise 3.2 stand in `3_2.txt` beside this file, those of COMPUTED in a module. The right
option comes first and every other one names its misconception. A wrong reason earns nothing: right by luck is
not right. A text looks like this; what is indented by four blanks or more continues the line above it:

    Some words about the exercise.                  a line "answers: alphabetical" means Question.fixed

    ## a. The question's text.
    = the right answer
    - a wrong answer
      F39: its misconception, and what a learner is told who chooses it
    because                                         a question may have no reasons
    = the right reason
    - a wrong reason
      log n: its idea, and what is told
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from autograder.exercise import CheckFailed, Variant, short
from autograder.handouts.choice import FILE, LETTERS, Asked
from autograder.handouts.locked import entry
from autograder.work import Work
from rslib.cache import atomic_write
from rslib.errors import ConfigError


@dataclass(frozen=True)
class Option:
    """An answer or a reason. A wrong one has an idea (F-id or short name) and a feedback that says why."""

    text: str
    idea: str = ""
    feedback: str = ""


@dataclass(frozen=True)
class Question:
    """A question; the first option of each tier is the key. fixed, shared: as in `choice.Asked`."""

    id: str
    text: str
    answers: tuple[Option, ...]
    reasons: tuple[Option, ...] = ()
    fixed: bool = False
    shared: bool = False

    def __post_init__(self) -> None:
        for tier in (self.answers, self.reasons):
            if len(tier) == 1 or any(not (o.idea and o.feedback) for o in tier[1:]):
                raise ConfigError(
                    f"question {self.id}: every wrong option needs an idea and a feedback, and company"
                )

    def asked(self) -> Asked:
        """The question without its key, as learners have it."""
        answers, reasons = (
            tuple(sorted(option.text for option in tier)) for tier in (self.answers, self.reasons)
        )
        return Asked(self.id, self.text, answers, reasons, self.fixed, self.shared)

    def order(self, variant: Variant) -> tuple[list[int], list[int]]:
        """For each tier, the options of this source in the order in which this learner sees them."""
        asked = self.asked()
        answers, reasons = asked.order(variant)
        return (
            _places([asked.answers[k] for k in answers], self.answers),
            _places([asked.reasons[k] for k in reasons], self.reasons),
        )

    def label(self, variant: Variant, answer: int = 0, reason: int = 0) -> str:
        """What this learner writes for these options (indices of the source); by default the key."""
        answers, reasons = self.order(variant)
        return LETTERS[answers.index(answer)] + (str(reasons.index(reason) + 1) if self.reasons else "")


def _places(texts: Sequence[str], options: Sequence[Option]) -> list[int]:
    index = {option.text: k for k, option in enumerate(options)}
    return [index[text] for text in texts]


# Where the questions come from -----------------------------------------------------------------------------

FOLDER = Path(__file__).parent
COMPUTED = {"1.2": "nb01_2", "1.4": "nb01_4"}
"""Exercise -> the module here that makes its QUESTIONS."""
EXERCISES = tuple(sorted({*COMPUTED, *(path.stem.replace("_", ".") for path in FOLDER.glob("?_?.txt"))}))
"""Every exercise with choice questions."""
_BETWEEN = r"\W*(?:(?:because|reason|of|as|for|with)\W*)*"
LABEL = re.compile(rf"\W*([A-H])(?:{_BETWEEN}([1-8]))?(\b.*|\W*)", re.IGNORECASE | re.DOTALL)
SECOND = re.compile(r"\b[A-H]\W*[1-8]\b", re.IGNORECASE)
OPTION = re.compile(r"(=|-) (.+)(?:\n  (\S[^:]*): (.+))?\n")


@cache
def pool(exercise: str) -> tuple[Question, ...]:
    """All questions of an exercise with their keys. Raises ConfigError where its text cannot be read."""
    module = _module(exercise)
    if module:
        return module.QUESTIONS
    path = FOLDER / f"{exercise.replace('.', '_')}.txt"
    return parse(path.read_text(encoding="utf-8"))


def _module(exercise: str) -> ModuleType | None:
    return import_module(f"autograder.keys.{COMPUTED[exercise]}") if exercise in COMPUTED else None


def parse(text: str) -> tuple[Question, ...]:
    r"""The questions of a text in the format above. Raises ConfigError for a line that does not belong there.

    >>> [question] = parse("## a. Is it?\n= Yes,\n    it is\n- No\n  F01: Look again.\n")
    >>> question.answers
    (Option(text='Yes, it is', idea='', feedback=''), Option(text='No', idea='F01', feedback='Look again.'))
    """
    head, *blocks = re.split(r"^## ", text, flags=re.MULTILINE)
    fixed = "answers: alphabetical" in head.splitlines()
    return tuple(_question(block, fixed) for block in blocks)


def _question(block: str, fixed: bool) -> Question:
    title, _, options = re.sub(r"\n {4,}", " ", block.strip() + "\n").partition("\n")
    id, dot, text = title.partition(". ")
    if not dot:
        raise ConfigError(f"a question begins with {title!r}", fix="Begin it with its letter: '## a. Why?'.")
    answers, *reasons = re.split(r"^because\n", options, flags=re.MULTILINE)
    return Question(id, text, _options(id, answers), _options(id, "".join(reasons)), fixed)


def _options(id: str, tier: str) -> tuple[Option, ...]:
    rows = list(OPTION.finditer(tier))
    unread, marks = OPTION.sub("", tier), "".join(row[1] for row in rows)
    if unread or not re.fullmatch("(=-+)?", marks):
        raise ConfigError(
            f"question {id}: its options cannot be read" + (f" near {unread.strip()!r}" if unread else ""),
            fix="Write the right one first ('= text'), then each wrong one ('- text') with '  idea: why'.",
        )
    return tuple(Option(row[2], row[3] or "", row[4] or "") for row in rows)


@dataclass(frozen=True)
class KeySheet:
    """A learner's questions with their keys."""

    questions: tuple[Question, ...]
    variant: Variant


def sheet(exercise: str, variant: Variant | None = None) -> KeySheet:
    """The questions of an exercise with their keys; by default in the common variant."""
    variant = variant or Variant("", "", exercise)
    module = _module(exercise)
    drawn = module.drawn(variant) if hasattr(module, "drawn") else pool(exercise)
    return KeySheet(tuple(drawn), variant)


def given(exercise: str) -> Any:
    """What an exercise hands out in the common variant, whoever the session is of."""
    from autograder import exercises

    return exercises.find(exercise).given(Variant("", "", exercise))


def grade(exercise: str, id: str, name: str, work: Work, rng: np.random.Generator) -> None:
    """Raise CheckFailed unless the learner's label for a question of the exercise is the key."""
    [question] = [q for q in sheet(exercise, work.variant).questions if q.id == id]
    grade_question(question, name, work, rng)


def grade_question(question: Question, name: str, work: Work, rng: np.random.Generator) -> None:
    """Raise CheckFailed unless the learner's label is the key; name the idea of the option chosen."""
    label = entry(work, name, question.id, f"answer to question {question.id}")
    answer, reason = _read(question, label, work.variant)
    for tier, options, chosen in (("answer", question.answers, answer), ("reason", question.reasons, reason)):
        if chosen:
            option = options[chosen]
            plain = option.text.replace("`", "")
            raise CheckFailed(f"question {question.id}: {tier}", option.feedback, idea=option.idea, got=plain)


def label_in(label: object) -> tuple[str, str]:
    """The letter and the digit that a label begins with, or a sentence holds; "" for what is not there.

    A pair is a label as well, and words of the learner's own may follow, if they hold no other label.

    >>> label_in("b-2"), label_in(("B", 2)), label_in("B2: it runs to the end"), label_in("B")
    (('B', '2'), ('B', '2'), ('B', '2'), ('B', ''))
    >>> label_in("B2 or C3"), label_in("A reward model"), label_in(2)
    (('', ''), ('', ''), ('', ''))
    >>> label_in("I choose B because of 2."), label_in("A, reason: 2"), label_in("It is not B, because of 2.")
    (('B', '2'), ('A', '2'), ('', ''))
    """
    if isinstance(label, list | tuple) and len(label) == 2:
        label = " ".join(map(str, label))
    if not isinstance(label, str):
        return "", ""
    if match := LABEL.fullmatch(label.strip()):
        letter, digit, rest = match[1].upper(), match[2] or "", match[3].strip()
        words = any(character.isalnum() for character in rest)
        if not words or (not SECOND.search(rest) and (digit or rest[0] in ":;,.(-")):
            return letter, digit
    return _spoken(label)


def _spoken(sentence: str) -> tuple[str, str]:
    """The one capital and the one number of a sentence such as "I choose B because of 2", or twice ""."""
    letters, digits = re.findall(r"\b[A-H]\b", sentence), re.findall(r"\d+", sentence)
    article = re.search(r"\bA (?!because|and|with|for|reason|as )[a-z]", sentence)
    single = len(letters) == 1 and len(digits) == 1 and digits[0] in "12345678"
    if not single or article or re.search(r"\bnot\b|n't\b|\bor\b", sentence):
        return "", ""
    return letters[0], digits[0]


def _read(question: Question, label: object, variant: Variant) -> tuple[int, int]:
    """Indices, in the source's order, of the answer and the reason that a label means."""
    answers, reasons = question.order(variant)
    form = "a letter and a digit, such as 'B2'" if reasons else "one letter, such as 'B'"
    written, number = label_in(label)
    letter = LETTERS.index(written) if written else len(answers)
    digit = int(number) - 1 if number else (-1 if reasons else 0)
    known = letter < len(answers) and 0 <= digit < max(len(reasons), 1)
    if not known or (number and not reasons):
        message = f"The answer to question {question.id} is {form}."
        raise CheckFailed(f"question {question.id}: form", message, got=short(label))
    return answers[letter], reasons[digit] if reasons else 0


def content() -> dict[str, Any]:
    """What questions.json holds: the questions without their keys, and which of 1.2 are drawn together."""
    result: dict[str, Any] = {}
    for exercise in EXERCISES:
        result[exercise] = {"questions": [asdict(q.asked()) for q in pool(exercise)]}
        module = _module(exercise)
        if hasattr(module, "DECKS"):
            result[exercise] = {"questions": by_text(module.QUESTIONS), "decks": module.DECKS}
    return json.loads(json.dumps(result))


def by_text(pool: Sequence[Question]) -> list[dict[str, Any]]:
    """A pool as the learners' file holds it: by the alphabet, so that no place tells a kind."""
    return [asdict(replace(q.asked(), id="")) for q in sorted(pool, key=lambda q: q.text)]


def main() -> None:
    """Write the learners' file anew."""
    atomic_write(FILE, json.dumps(content(), indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
