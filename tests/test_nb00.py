"""Notebook 00: the practice panel, which counts nowhere."""

import pytest

from autograder import exercises
from autograder.handouts.nb00 import TIES, practise

WRONG = {
    "the lowest": (lambda r: r.index(min(r)), "F03", 0),
    "the reward itself": (max, "value", 0),
    "counts from one": (lambda r: r.index(max(r)) + 1, "off by one", 0),
    "always the first": (lambda r: 0, "F04", 0),
    "the last of equals": (lambda r: max(range(len(r)), key=lambda k: (r[k], k)), "ties", 1),
}


def test_the_notebook_is_not_graded():
    assert not exercises.of_notebook("00")


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_function_is_told_its_idea(name):
    function, idea, points = WRONG[name]
    for seed in range(100):
        found = practise(function, seed)
        assert next(o.idea for o in found.outcomes if not o.passed) == idea
        assert found.points == points


def test_a_right_function_gets_both_parts():
    assert practise(lambda r: r.index(max(r))).points == 2


def test_ties_have_a_check_of_their_own():
    assert practise(WRONG["the last of equals"][0]).outcomes[1].check == TIES
