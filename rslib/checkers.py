"""Reward functions for responses whose result can be read off: 1 where it is the reference's, else 0.

`number` is for GSM8K and its kind, `choice` for questions with lettered options such as MMLU's. What a
response says in another form counts as wrong, never as an error: what form a policy writes is part of what it
learns. A result that is said without its form can be believed by mistake; `formatted=True` asks for the form.
"""

from __future__ import annotations

import re

from rslib.errors import DataError
from rslib.messages import Prompt

_NUMBER = r"(?:(?<![\w)])-)?(?:\\?\$)?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
_MARKED = re.compile(rf"(?:####|\\boxed\{{|answer is:?)\s*\**({_NUMBER})", flags=re.IGNORECASE)
_LETTER = re.compile(r"(?i:answer is:?|answer:|\\boxed\{(?:\\text\{)?)\s*\**(?:\(([A-Za-z])\)|([A-Z])\b)")


def number_in(text: str, *, formatted: bool = False) -> float | None:
    r"""The number that a text ends in: the last behind "####", "answer is" or in "\boxed{}", else the last.

    Thousands may be set off by commas, a dollar sign or stars (bold) may stand before. Of a fraction and of
    1e3 the last number is read, not the value. None where there is none; with `formatted` where none is
    marked.

    >>> number_in("6 x 7 = 42, so she pays $1,042.50."), number_in(r"It is \boxed{-3}, not 4"), number_in("?")
    (1042.5, -3.0, None)
    """
    numbers = _MARKED.findall(text) or ([] if formatted else re.findall(_NUMBER, text))
    return float(re.sub(r"[\\$,]", "", numbers[-1])) if numbers else None


def choice_in(text: str, *, formatted: bool = False) -> str | None:
    r"""The letter of the option that a text chooses, as a capital; None where there is none.

    It is the last one behind "answer is", "answer:" or in "\boxed{}"; unless `formatted` also a letter that
    is all the text, but for brackets and a full stop.

    >>> choice_in("A or B? The answer is (b)."), choice_in("C."), choice_in("The answer is a bird.")
    ('B', 'C', None)
    """
    marked = ["".join(groups) for groups in _LETTER.findall(text)]
    letters = marked or ([] if formatted else re.findall(r"^\W*([A-Za-z])\W*$", text))
    return letters[-1].upper() if letters else None


def number(prompt: Prompt, response: str, reference: str | float) -> float:
    r"""1.0 where the response ends in the number that the reference ends in. Raises DataError without one.

    >>> number("How many?", "48 / 2 = 24. #### 24", "She sold 24 clips.\n#### 24")
    1.0
    """
    return float(number_in(response) == _wanted(number_in(str(reference or "")), reference))


def choice(prompt: Prompt, response: str, reference: str) -> float:
    """1.0 where the response chooses the option of the reference, a letter. Raises DataError without one.

    >>> choice("Which?", "The correct answer is B.", "B"), choice("Which?", "Both A and B.", "B")
    (1.0, 0.0)
    """
    return float(choice_in(response) == _wanted(choice_in(str(reference or "")), reference))


def _wanted(value: float | str | None, reference: object) -> float | str:
    if value is None:
        what = f"the reference {str(reference)[:60]!r} says no result"
        fix = "Give every prompt a column `reference` with its number or letter."
        raise DataError(what, where="reference", fix=fix)
    return value
