"""No check can crash: whatever an answer is, it ends in a verdict that says in a sentence what is wrong."""

import numpy as np
import pytest
import torch

from autograder import exercises
from autograder.exercise import LONGEST, RUNS, Exercise, Part, Variant, diagnose, numbers, require
from autograder.verdict import grade
from autograder.work import Work
from docs.studies.results import read
from tests import fuzz
from tests.odd_answers import DEEP
from tests.test_catalogue import LONG

ALL = list(exercises.EXERCISES.values())
SAMPLE = 40
each = pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.id)


def faults(exercise, count):
    return [f"seed {seed}: {fault}" for seed in range(count) for fault in fuzz.judged(exercise, seed)[1]]


@pytest.mark.long
@each
def test_odd_answers_end_in_a_verdict_with_a_sentence(exercise, monkeypatch):
    if exercise.id in LONG:  # a right answer takes minutes to make: none is bent here
        monkeypatch.setattr(fuzz, "right_names", lambda id: {})
        monkeypatch.setattr(fuzz, "with_odd_parts", lambda exercise, names: exercise)
    assert not faults(exercise, SAMPLE)


@pytest.mark.slow
@each
def test_two_thousand_odd_answers_end_in_a_verdict_with_a_sentence(exercise):
    assert not faults(exercise, fuzz.MANY)


def raising(error):
    def f(x):
        raise error

    return f


class Unsayable(ValueError):
    def __str__(self):
        raise RuntimeError


SPARSE = dict.fromkeys(("input_ids", "attention_mask", "labels"), torch.eye(2).to_sparse())
NO_ROW = [range(10**12), {1, "a"}, torch.eye(2).to_sparse(), float("nan"), DEEP]


@pytest.mark.parametrize(
    ("id", "odd"),
    [
        *(("1.1", odd) for odd in ([DEEP, "split"], ["x"] * 10**6, [object()])),
        *(("9.6", dict.fromkeys("abcd", odd)) for odd in (DEEP, "\ud800", "b" * 10**6, print)),
        *(("8.4", dict.fromkeys("abcd", odd)) for odd in (DEEP, 10**400)),
        *(("9.3", lambda *_, odd=odd: odd) for odd in NO_ROW),
        *(("9.5", lambda *_, odd=odd: dict.fromkeys(("right", "random", "all"), odd)) for odd in NO_ROW),
        *(
            ("3.2", lambda *_, odd=odd: odd)
            for odd in (10**400, range(10**12), ["x"], torch.eye(2).to_sparse())
        ),
        ("4.2", lambda *_: SPARSE),
        ("4.1", raising(Unsayable())),
        ("8.3", {"team": DEEP, "strategy": DEEP}),
    ],
)
def test_what_once_crashed_a_check_gets_a_sentence(id, odd):
    exercise = exercises.find(id)
    names = {name: odd for name in exercise.names}
    assert not [fault for o in fuzz.verdict_on(exercise, names, 0).outcomes for fault in fuzz.faults_of(o)]


# What a check says of one ---------------------------------------------------------------------------------


def outcome(answer, ask=lambda work: work.function("f")(3), expected=6):
    def marked(work, rng):
        diagnose("doubles", ask(work), expected, otherwise="That is not the double.")

    exercise = Exercise("9.1", "Toy", 1, 1, ("f",), (Part("f", 1.0, marked),))
    return grade(exercise, Work({"f": answer}, Variant()), 0).outcomes[0]


@pytest.mark.parametrize("error", [SystemExit(1), GeneratorExit(), Unsayable(), ValueError(object())])
def test_whatever_a_function_raises_is_told_in_a_sentence(error):
    told = outcome(raising(error))
    assert told.check == RUNS and f"stopped with {type(error).__name__}" in told.message
    assert "0x" not in told.message


def test_an_async_function_is_told_what_it_is_and_nothing_is_written_on_standard_error(capfd, recwarn):
    async def f(x):
        return 2 * x

    assert "async def" in outcome(f).message
    assert capfd.readouterr().err == "" and not recwarn


@pytest.mark.parametrize("odd", ["x" * 10**6, "\ud800", object(), np, lambda: 1, [print] * 1000])
def test_what_is_shown_of_an_answer_is_short_without_addresses_and_can_be_sent(odd):
    for told in (outcome(lambda x: odd), outcome(raising(ValueError(odd)))):
        for text in (told.message, told.case, told.got):
            assert len(text.encode()) <= 3 * LONGEST and "0x" not in text and "site-packages" not in text


def test_what_a_check_says_is_cut_wherever_it_comes_from():
    def marked(work, rng):
        require(False, "is short", "It is long: " + "x" * 10**6, got="\ud800")

    exercise = Exercise("9.1", "Toy", 1, 1, ("f",), (Part("f", 1.0, marked),))
    told = grade(exercise, Work({}, Variant()), 0).outcomes[0]
    assert len(told.message) <= LONGEST and told.got.encode() == b"?"


def test_what_a_check_computes_of_an_odd_answer_warns_nobody(recwarn):
    assert outcome(lambda x: np.array([1e308]), lambda work: work.function("f")(3) * 10).message
    assert not recwarn


@pytest.mark.parametrize(
    "value",
    [torch.eye(2).to_sparse(), torch.zeros(2, device="meta"), torch.tensor([1j]), [10**400], "1", [[1], []]],
)
def test_what_is_no_number_is_none(value):
    assert numbers(value) is None


# The record -----------------------------------------------------------------------------------------------


def test_the_record_counts_no_fault_and_what_became_of_every_answer():
    for id, row in read("odd_answers").items():
        exercises.find(id)
        assert not row["faults"] and sum(row["outcomes"].values()) == row["answers"] > 0, id
