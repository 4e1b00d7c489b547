"""Exercise 9.1: a checker of answers that formatting cannot fool."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from autograder.checks import Agrees, Corner, Ideas, Rng, graded
from autograder.exercise import Exercise, Part

IDEAS = Ideas("""
plain: A plain right answer is not accepted. Take the text behind the marker, find the number, compare.
other marker: One of the three markers is not known to your checker, or only in one spelling. Small and
    capital letters are the same here.
blank lines: Blank lines follow the last line. The last line that is not empty is the one that counts.
unit: There is exactly one number behind the marker; the words around it do not matter.
words before (unit): The marker need not begin its line: words may stand before it.
sum before (unit): A sum stands before the marker. What is behind the marker alone is the answer.
text: Compare values, not texts: 14, 14.0 and 1,400 for 1400 are ways to write a number.
grouped (text): 1,400 and 1400 are one number: its comma groups the thousands and ends nothing.
decimals (text): A number may have a part behind its point: 14.0 is one number, and is 14.
sign: A minus belongs to its number.
accepts another: Another number than the reference is accepted.
substring (accepts another): 114 holds the digits 14 and is another number. Compare whole numbers.
fraction (accepts another): 14.5 is another number than 14, and so is 14.001. Where does your number end?
near (accepts another): 13.6 is another number than 14. A number is rounded here, or what lies near the
    reference is accepted: values are equal or they are not.
mentioned: The reference is mentioned on the way, or in an answer that was taken back. Only the last line
    that is not empty counts.
several: The last line names several numbers, and one of them fits. Who names them all is always right: a
    policy finds that out.
twice (several): The last line names one number twice. Two numbers are no answer, equal ones neither.
earlier line (no marker): The marker stands in an earlier line. The last line that is not empty has none, so
    it gives no answer.
no marker: Without one of the markers there is no answer, whatever numbers stand there.
raises: A response may be anything: empty, blank, without numbers. That is no answer, so it is False.
""")
NAME = "check_answer"
MARKERS = ("The answer is {}.", "Answer: {}", "#### {}", "the answer is {}", "ANSWER: {}", "####{}")
FORMS, VALUES = "accepts every form", "compares values"
REFUSED, SEVERAL, ODD = "refuses other answers", "refuses several numbers", "answers on any text"
Case = tuple[str, str]


def truth(result: Any, *_: Any) -> Any:
    """True or False in any of its types as a bool; all else as it came."""
    number = isinstance(result, bool | int | float | np.bool_ | np.number)
    return bool(result) if number or getattr(result, "shape", None) == () else result


def _number(rng: Rng) -> int:
    return int(rng.integers(12, 90))


def _worked(rng: Rng, last: Callable[[int], str], reference: Callable[[int], str] = str) -> Case:
    """A response of two equations and a last line, and its reference; both of the number that comes out."""
    first, second = _number(rng), int(rng.integers(2, 10))
    total = first + second
    return f"{first} + {second} = {total}\n{last(total)}", reference(total)


def plain(rng: Rng) -> Case:
    """The first form."""
    return _worked(rng, MARKERS[0].format)


def with_form(form: str, rng: Rng) -> Case:
    """A last line of this form."""
    return _worked(rng, form.format)


def with_blank_lines(rng: Rng) -> Case:
    """Blank lines follow the last one."""
    return _worked(rng, lambda total: MARKERS[0].format(total) + ("\n", "\n\n", "\n  \n")[rng.integers(3)])


WORDS = {
    "The answer is {} eggs.": "unit",
    "The answer is ${}.": "unit",
    "So the answer is {}.": "words before",
    "7 + 5 = 12. The answer is {}.": "sum before",
}
"""Words, a currency, or a sum before the marker, each with the idea of who refuses it."""
SPELLINGS = (("{:,}", "{}"), ("{}", "{:,}"), ("{}.0", "{}"), ("{}", "{}.00"))
"""The same value in another spelling, in the response or in the reference."""


def written_otherwise(spelling: tuple[str, str], rng: Rng) -> Case:
    """A large number in these two spellings."""
    big = int(rng.integers(1001, 9999))
    got, reference = (form.format(big) for form in spelling)
    return f"The answer is {got}.", reference


def negative(rng: Rng) -> Case:
    """A right answer below zero."""
    number = -_number(rng)
    return f"3 - {3 - number} = {number}\nThe answer is {number}.", str(number)


def sign_lost(rng: Rng) -> Case:
    """The reference is the answer without its minus."""
    number = _number(rng)
    return f"Answer: -{number}", str(number)


def another(rng: Rng) -> Case:
    """Another number than the reference."""
    return _worked(rng, MARKERS[0].format, lambda total: str(total + int(rng.integers(1, 9))))


LONGER = ("The answer is 1{}.", "The answer is {}0.", "The answer is {}1.")
"""Numbers that hold the reference's digits."""


def near(rng: Rng) -> Case:
    """A number that is rounded to the reference."""
    return _worked(rng, lambda total: f"The answer is {total - 1}.6")


FRACTIONS = ("The answer is {}.5", "The answer is {}.05", "The answer is {}.001")
"""Numbers with the reference before their points."""


def taken_back(rng: Rng) -> Case:
    """The right number comes first, the last line has another."""
    return _worked(rng, lambda total: f"The answer is {total}.\nNo: the answer is {total + 1}.")


def on_the_way(rng: Rng) -> Case:
    """The right number stands in an equation alone."""
    return _worked(rng, lambda total: f"The answer is {total - 1}.")


PLACES = ((2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 0), (4, 3))
"""How many numbers stand behind the marker, and the place of the reference among them."""


def hedged(place: tuple[int, int], rng: Rng) -> Case:
    """Several numbers behind the marker, the reference among them."""

    def last(total: int) -> str:
        numbers = rng.permutation([total + 1, total - 1, total + 10])[: place[0] - 1].tolist()
        numbers.insert(place[1], total)
        return f"The answer is {' or '.join(map(str, numbers))}."

    return _worked(rng, last)


TWICE = ("The answer is {0} or {0}.", "#### {0}, {0}")
"""The right number, two times."""
EARLIER = (
    "The answer is {}.\nI hope that this helps.",
    "#### {}\nThat is all.",
    "Answer: {}\nPlease check it!",
)
"""The last line has neither a marker nor a number."""
CORRECTED = ("The answer is {0}. No, {1}.", "The answer is {1}. No, it is {0}.", "Answer: {0} ({1})")
"""The right number and another in two sentences of the last line."""


def corrected(form: str, rng: Rng) -> Case:
    """A last line of this form."""
    return _worked(rng, lambda total: form.format(total, total + 2))


UNMARKED = ("{0} + 0 = {0}", "{}", "It is {}.", "So we have {} eggs.", "My answer {}.", "# {}")
"""No marker: an equation, a bare number, a sentence with it or half a marker ends the response."""


says = partial(Agrees, of=truth, reveal=False)


def accepts(check: str, draw: Callable[[Rng], Case], idea: str, count: int = 3) -> Agrees:
    """True on drawn cases."""
    return says(check, draw, lambda *_: True, idea, count=count)


def rejects(check: str, draw: Callable[[Rng], Case], idea: str, count: int = 3) -> Agrees:
    """False on drawn cases."""
    return says(check, draw, lambda *_: False, idea, count=count)


def of_each(
    says_so: Callable[..., Agrees], check: str, draw: Callable[..., Case], forms: Iterable[Any], idea: str
) -> list[Agrees]:
    """The check on two cases of each form: none is left to chance."""
    return [says_so(check, partial(draw, form), idea, 2) for form in forms]


AT_LEAST = (accepts(FORMS, plain, "plain"), rejects(REFUSED, another, "accepts another"))
"""What comes first in both parts: a checker that says the same of all has no points."""
EXERCISE = Exercise(
    "9.1",
    "A checker that formatting cannot fool",
    2,
    12,
    (NAME,),
    (
        Part(
            "what is accepted",
            1.0,
            graded(
                NAME,
                IDEAS,
                *AT_LEAST,
                *of_each(accepts, FORMS, with_form, MARKERS[1:], "other marker"),
                accepts(FORMS, with_blank_lines, "blank lines"),
                *(accepts(FORMS, partial(with_form, form), idea, 2) for form, idea in WORDS.items()),
                *of_each(accepts, VALUES, written_otherwise, SPELLINGS[:2], "grouped"),
                *of_each(accepts, VALUES, written_otherwise, SPELLINGS[2:], "decimals"),
                accepts(VALUES, negative, "sign", 2),
            ),
        ),
        Part(
            "what is refused",
            1.0,
            graded(
                NAME,
                IDEAS,
                *AT_LEAST,
                *of_each(rejects, REFUSED, with_form, LONGER, "substring"),
                rejects(REFUSED, near, "near"),
                *of_each(rejects, REFUSED, with_form, FRACTIONS, "fraction"),
                rejects(REFUSED, sign_lost, "sign", 2),
                rejects(REFUSED, on_the_way, "mentioned"),
                rejects(REFUSED, taken_back, "mentioned"),
                *of_each(rejects, SEVERAL, hedged, PLACES, "several"),
                *of_each(rejects, SEVERAL, corrected, CORRECTED, "several"),
                *of_each(rejects, SEVERAL, with_form, TWICE, "twice"),
                *of_each(rejects, REFUSED, with_form, UNMARKED, "no marker"),
                *of_each(rejects, REFUSED, with_form, EARLIER, "earlier line"),
                *(
                    Corner(ODD, (text, "14"), False, "raises", of=truth)
                    for text in ("", " \n\n", "The answer is", "Answer: none.", "####")
                ),
            ),
        ),
    ),
)
