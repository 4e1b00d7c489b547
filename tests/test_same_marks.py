"""Stock nbgrader and `grade` give the same marks: the record of the catalogue, and a sample of it anew."""

import pytest

from autograder import exercises
from autograder.build import catalogue
from docs.studies import same_marks
from docs.studies.results import read
from tests import grading

RECORD = read("same_marks")
SAMPLED = ("1.2", "9.1", "9.3")


def test_the_record_holds_no_answer_that_stock_nbgrader_and_grade_mark_differently():
    for id, row in RECORD.items():
        exercises.find(id)
        assert row["answers"] > 0 and not row["stock and grade differ"], id


@grading.needs_walls
@pytest.mark.long
def test_stock_nbgrader_and_grade_give_a_sample_the_marks_of_the_catalogue():
    some = {id: catalogue.answers(id)[::6] for id in SAMPLED}
    for id, marks in same_marks.compared(some).items():
        points = exercises.find(id).points
        expected = [points if answer.correct else answer.points for answer in some[id]]
        assert marks == [(mark, mark) for mark in expected], id
