"""Objects of the instructor's own classes as arguments and results: marks are those of nbgrader."""

from pathlib import Path

import pytest

from autograder.grading.sandbox import Sandbox
from tests import grading, kinds
from tests.kinds import POINTS

pytestmark = grading.needs_walls
AS_STOCK = kinds.read(Path(__file__).with_name("objects.txt"))
RIGHT = ("solved", "other", "recursive")


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """The record of an answer to a kind."""
    root = tmp_path_factory.mktemp("objects")
    plan = kinds.write(root, AS_STOCK)
    with Sandbox(kinds.MODULES) as sandbox, kinds.grader(root, sandbox) as grader:
        yield lambda kind, style: kinds.graded(grader, root, plan, kind, style)


@pytest.fixture(scope="module")
def stock():
    return kinds.stock(AS_STOCK)


def marks(record):
    assert not record["problem"]
    return [cell["points"] for cell in record["cells"].values()]


STYLES = [(kind, style) for kind in AS_STOCK for style in ("solved", *kind.answers)]


@pytest.mark.parametrize(("kind", "style"), STYLES, ids=lambda v: v if isinstance(v, str) else v.name)
def test_marks_with_objects_of_the_courses_classes_are_those_of_nbgrader(graded, stock, kind, style):
    record = graded(kind, style)
    assert marks(record) == stock[kind.name, style], [cell["why"] for cell in record["cells"].values()]
    if style in RIGHT:
        assert marks(record) == [POINTS] * len(kind.tests())
