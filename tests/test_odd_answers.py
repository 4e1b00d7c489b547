"""No check can crash: whatever an answer is, it ends in a verdict that says in a sentence what is wrong."""

import contextlib
import io
import tempfile
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from autograder import exercises
from autograder.build import catalogue
from autograder.exercise import Exercise, Variant
from autograder.verdict import OURS, Verdict, grade
from autograder.work import Work
from tests.odd_answers import drawn
from tests.test_catalogue import LONG

ALL = list(exercises.EXERCISES.values())
SAMPLE, MANY, SEED = 60, 2000, 20261127


@cache
def right_names(exercise_id):
    """The names of a right answer; none where making one takes minutes."""
    if exercise_id in LONG:
        return None
    answer = next(answer for answer in catalogue.answers(exercise_id) if answer.correct)
    space = answer.names()
    return {name: space[name] for name in exercises.EXERCISES[exercise_id].names if name in space}


def verdict_of(exercise: Exercise, seed: int) -> Verdict:
    names = drawn(exercise.names, np.random.default_rng([SEED, seed]), right_names(exercise.id))
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(io.StringIO()):
            verdict = grade(exercise, Work(names, Variant("", "", exercise.id), Path(folder)), seed)
    assert verdict.text() and verdict._repr_html_() and verdict.to_dict()
    return verdict


def faults(exercise, count):
    for seed in range(count):
        for outcome in verdict_of(exercise, seed).outcomes:
            if outcome.check == OURS or not (outcome.passed or outcome.message.strip()):
                yield f"seed {seed}, {outcome.title}: {outcome.check}: {outcome.message} {outcome.got}"


@pytest.mark.long
@pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.id)
def test_odd_answers_end_in_a_verdict_with_a_sentence(exercise):
    assert not list(faults(exercise, SAMPLE))


@pytest.mark.slow
@pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.id)
def test_two_thousand_odd_answers_end_in_a_verdict_with_a_sentence(exercise):
    assert not list(faults(exercise, MANY))
