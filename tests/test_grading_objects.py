"""Objects of the instructor's own classes as arguments and results: marks are those of nbgrader."""

from pathlib import Path

import pytest

from autograder.grading.inside import objects
from autograder.grading.inside.frames import WireError
from autograder.grading.inside.wire import Decoder
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


# What a learner's process may write of such objects ---------------------------------------------------------

CLASSES = """
import enum, functools
class Node:
    made = 0
    def __init__(self):
        raise RuntimeError("nobody makes one here")
    def total(self):
        return 1
    @functools.cached_property
    def cached(self):
        return 2
class Slotted:
    __slots__ = ("value",)
class Suit(enum.Enum):
    CLUBS = 1
class Loud(dict):
    def __setitem__(self, key, value):
        raise RuntimeError("no code of the class runs")
"""


@pytest.fixture
def known():
    space = {"__name__": objects.TESTS}
    exec(CLASSES, space)
    found = objects.Known()
    assert found.learn(space) == ["Node", "Slotted", "Suit", "Loud"]
    return found


def decoded(known, node, rest=()):
    decoder = Decoder([], lambda node, decoder: None, known)
    found = decoder.value(node)
    decoder.rest({"rest": list(rest)})
    return found


def test_an_object_is_made_of_the_instructors_class_and_none_of_its_code_runs(known):
    made = decoded(known, {"obj": [0, "Node", -1, None, [["val", 3, False], ["next", {"obj": [0]}, False]]]})
    assert type(made) is known.classes["Node"] and made.val == 3 and made.next is made
    loud = decoded(known, {"obj": [0, "Loud", -2, {"d": [["a", 1]]}, []]})
    assert loud == {"a": 1} and type(loud) is known.classes["Loud"]
    assert decoded(known, {"member": ["Suit", "CLUBS"]}) is known.classes["Suit"].CLUBS


def test_an_attribute_of_a_learners_never_hides_what_the_instructors_class_defines(known):
    state = [["total", 5, False], ["cached", 5, False], ["made", 5, False]]
    made = decoded(known, {"obj": [0, "Node", -1, None, state]})
    assert made.total() == 1 and made.cached == 2 and made.made == 5


FORGED = {
    "a class of no instructor's": {"obj": [0, "Student", -1, None, []]},
    "a builtin class": {"obj": [0, "dict", -1, None, []]},
    "an object that was never sent": {"obj": [0, "Node", 0, None, []]},
    "no number": {"obj": [0, "Node", None, None, []]},
    "a name that Python keeps": {"obj": [0, "Node", -1, None, [["__class__", 1, False]]]},
    "a name that is none": {"obj": [0, "Node", -1, None, [[3, 1, False]]]},
    "an attribute without room": {"obj": [0, "Slotted", -1, None, [["other", 1, False]]]},
    "content of another kind": {"obj": [0, "Loud", -1, [1], []]},
    "a place that is not there": {"obj": [7]},
    "two objects of one place": [{"obj": [0, "Node", -1, None, []]}, {"obj": [0, "Node", -2, None, []]}],
    "two classes of one number": [{"obj": [0, "Node", -1, None, []]}, {"obj": [1, "Slotted", -1, None, []]}],
    "no member": {"member": ["Suit", "__class__"]},
    "a member of no Enum": {"member": ["Node", "made"]},
}


@pytest.mark.parametrize("node", FORGED.values(), ids=FORGED)
def test_a_forged_object_is_refused(known, node):
    with pytest.raises(WireError):
        decoded(known, node)


def test_parts_of_an_object_that_is_not_there_are_refused(known):
    with pytest.raises(WireError):
        decoded(known, None, [[4, None, []]])


def test_objects_that_nobody_holds_are_forgotten_on_both_sides(known):
    made = decoded(known, [{"obj": [0, "Node", -1, None, []]}, {"obj": [1, "Node", -2, None, []]}])
    assert known.unused() == []
    del made[0]
    assert known.unused() == [-1]
    made[0].val = [1]
    assert known.changed() == made
