"""Every grader against its catalogue: right answers in any style pass, wrong ones fail where they should.

The names of the exercises are read from the package, so an exercise without a catalogue fails here.
"""

import tempfile
from functools import cache
from pathlib import Path

import pytest

from autograder import exercises
from autograder.build import catalogue
from autograder.build.catalogue import Answer
from autograder.exercise import ANSWERED, Variant
from autograder.verdict import Verdict, grade
from autograder.work import Work

ALL = list(exercises.EXERCISES.values())
LONG = {"2.3", "3.3", "3.4", "4.3", "4.5", "6.4", "7.1", "7.2", "9.5"}
"""Exercises whose answers train and measure policies: minutes a catalogue, so `make test-all` tries them."""
each = pytest.mark.parametrize(
    "exercise", [pytest.param(e, id=e.id, marks=[pytest.mark.long] * (e.id in LONG)) for e in ALL]
)
every = pytest.mark.parametrize("exercise", ALL, ids=lambda e: e.id)
CONSTANTS = {"0": 0, "1": 1, "NaN": float("nan"), "None": None, "dots": ..., "empty": []}


@cache
def answers(exercise_id: str) -> tuple[Answer, ...]:
    return tuple(catalogue.answers(exercise_id))


def verdict_of(exercise, names, tmp_path, seed=20261123) -> Verdict:
    return grade(exercise, Work(names, Variant("", "", exercise.id), tmp_path), seed)


@cache
def verdict_on(exercise_id: str, answer: Answer) -> Verdict:
    """The verdict on an answer of the catalogue, which several tests read."""
    with tempfile.TemporaryDirectory() as folder:
        return verdict_of(exercises.EXERCISES[exercise_id], answer.names(), Path(folder))


@each
def test_the_reference_and_every_other_right_answer_get_all_points(exercise):
    for answer in (catalogue.reference(exercise), *(a for a in answers(exercise.id) if a.correct)):
        found = verdict_on(exercise.id, answer)
        assert found.passed, f"{answer.name}\n{found.text()}"


@each
def test_every_wrong_answer_fails_first_at_the_check_that_names_its_idea(exercise):
    for answer in (a for a in answers(exercise.id) if not a.correct):
        found = verdict_on(exercise.id, answer)
        failed = [o for o in found.outcomes if not o.passed]
        assert failed, f"{answer.name} passes"
        assert (failed[0].check, failed[0].idea) == (answer.fails_at, answer.idea), (
            f"{answer.name}\n{found.text()}"
        )
        assert found.points == answer.points, f"{answer.name} earns {found.points}\n{found.text()}"
        assert failed[0].message


@every
def test_the_stub_and_constants_earn_nothing(exercise, tmp_path):
    for label, value in CONSTANTS.items():
        as_value = verdict_of(exercise, dict.fromkeys(exercise.names, value), tmp_path)
        as_function = verdict_of(exercise, {n: lambda *a, v=value, **k: v for n in exercise.names}, tmp_path)
        assert as_value.points == as_function.points == 0, label
    assert all(o.check == ANSWERED for o in verdict_of(exercise, {}, tmp_path).outcomes)


@every
def test_the_catalogue_is_rich_enough(exercise):
    found = answers(exercise.id)
    assert sum(a.correct for a in found) >= 2, "two correct answers, written differently"
    wrong = [a for a in found if not a.correct]
    assert sum(bool(a.idea) for a in wrong) >= 5, "five wrong answers that name an idea"
    assert len({a.name for a in found}) == len(found), "names of answers are unique"


@each
def test_nbgrader_gives_the_points_of_the_self_check(exercise):
    """nbgrader's own rule, on the outputs that the check cell has."""
    nbutils = pytest.importorskip("nbgrader.utils")
    from nbformat.v4 import new_code_cell, new_output

    for answer in (catalogue.reference(exercise), *answers(exercise.id)):
        verdict = verdict_on(exercise.id, answer)
        cell = new_code_cell(f'check("{exercise.id}")')
        cell.metadata.nbgrader = {"grade": True, "solution": False, "locked": True, "points": exercise.points}
        cell.outputs = [new_output("execute_result", data=verdict._repr_mimebundle_())]
        assert nbutils.determine_grade(cell) == (verdict.points, exercise.points), answer.name
