"""A mark is the self-check's verdict: the catalogue of every exercise, here and behind the walls.

A sample of each catalogue in every run; `-m slow` compares all answers.
"""

import contextlib
import io
import re

import pytest

from autograder import exercises
from autograder.build import catalogue
from autograder.exercise import Variant
from autograder.grading import visible
from autograder.grading.examine import hello
from autograder.grading.inside.isolate import Limits
from autograder.grading.remote import Remote, RemoteWork
from autograder.grading.sandbox import Sandbox
from autograder.verdict import grade
from autograder.work import Work
from tests import grading
from tests.dress import DRESSES, dressed

pytestmark = grading.needs_walls
MODULES = ("numpy", "torch", "transformers", "datasets", "rslib", "autograder", "matplotlib.pyplot")
MEASURED = {"2.3", "3.3", "3.4", "4.3", "4.5", "6.4", "7.1", "9.5"}
"""Exercises whose answers take an experiment: the solved notebooks are graded whole, in another test."""
SAMPLE = 2


@pytest.fixture(scope="module")
def sandbox():
    """A sandbox that sees the whole package: answers of the catalogue look their keys up."""
    everything = ("handouts", "grading/inside", "keys", "exercises", "experiments")
    top = [path.name for path in visible.PACKAGE.glob("*.*")]
    with pytest.MonkeyPatch.context() as patch, Sandbox(MODULES) as found:
        patch.setattr(visible, "FOLDERS", everything)
        patch.setattr(visible, "FRONT", (*visible.FRONT, *top))
        found.stop()
        found.start()
        yield found


def facts(verdict):
    return [(o.title, o.points, o.check, o.idea) for o in verdict.outcomes]


def behind_walls(sandbox, exercise, answer, folder):
    """The verdict on an answer whose code runs in a process of its own."""
    child = sandbox.spawn(Limits(), 1)
    try:
        remote = Remote(child.channel())
        remote.pid = hello(child.wire)
        remote.run(f"__name__ = 'answer'\n{answer.code}", 900)
        return grade(exercise, RemoteWork(remote, exercise.names, Variant("ada", "", exercise.id), folder), 7)
    finally:
        child.end()


def here(exercise, answer, folder):
    """The verdict of the self-check."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return grade(exercise, Work(answer.names(), Variant("ada", "", exercise.id), folder), 7)


def compare(sandbox, id, answers, folder):
    exercise = exercises.find(id)
    for answer in answers:
        ours, theirs = here(exercise, answer, folder), behind_walls(sandbox, exercise, answer, folder)
        assert facts(ours) == facts(theirs), (answer.name, [o.message for o in theirs.outcomes])


def everything(id):
    return [catalogue.reference(exercises.find(id)), *catalogue.answers(id)]


@pytest.mark.parametrize(
    "id",
    [
        pytest.param(id, marks=[pytest.mark.long] * (id in {"2.4", "4.1", "7.2"}))
        for id in sorted(set(exercises.EXERCISES) - MEASURED)
    ],
)
def test_the_mark_is_the_self_checks_verdict(sandbox, tmp_path, id):
    answers = everything(id)
    step = max(1, len(answers) // SAMPLE)
    compare(sandbox, id, answers[::step][: SAMPLE + 1], tmp_path)


def without_keys():
    """Code exercises whose reference needs no module that marks."""
    code = {id: catalogue.reference(e).code for id, e in exercises.EXERCISES.items() if id not in MEASURED}
    return sorted(id for id, text in code.items() if not re.search(r"autograder\.(keys|exercises)", text))


@pytest.fixture(scope="module")
def strict():
    """A sandbox as submissions have it: it sees nothing that marks."""
    with Sandbox(MODULES) as found:
        yield found


@pytest.mark.parametrize("id", without_keys())
def test_the_reference_is_right_where_nothing_that_marks_is_seen(strict, tmp_path, id):
    verdict = behind_walls(strict, exercises.find(id), catalogue.reference(exercises.find(id)), tmp_path)
    assert verdict.passed, verdict.text()


@pytest.mark.slow
@pytest.mark.parametrize("id", sorted(exercises.EXERCISES))
def test_every_answer_of_the_catalogue(sandbox, tmp_path, id):
    compare(sandbox, id, everything(id), tmp_path)


def compare_dressed(sandbox, id, dress, folder):
    """The reference in a dress: the self-check accepts or refuses it, and marking does the same."""
    exercise = exercises.find(id)
    answer = dressed(catalogue.reference(exercise), dress, exercise.names)
    ours, theirs = here(exercise, answer, folder), behind_walls(sandbox, exercise, answer, folder)
    assert facts(ours) == facts(theirs), (dress, [o.message for o in theirs.outcomes])


ROTATED = list(zip(sorted(set(exercises.EXERCISES) - MEASURED), list(DRESSES) * 5, strict=False))


@pytest.mark.parametrize(("id", "dress"), ROTATED)
def test_a_right_answer_in_another_dress_gets_the_self_checks_verdict(sandbox, tmp_path, id, dress):
    compare_dressed(sandbox, id, dress, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("id", sorted(exercises.EXERCISES))
def test_every_exercise_in_every_dress_gets_the_self_checks_verdict(sandbox, tmp_path, id, dress):
    compare_dressed(sandbox, id, dress, tmp_path)


# Stand-ins --------------------------------------------------------------------------------------------------


@pytest.fixture
def remote(sandbox):
    child = sandbox.spawn(Limits(), 1)
    found = Remote(child.channel())
    found.pid = hello(child.wire)
    yield found
    child.end()


def given(remote, source, *names):
    outputs, raised = remote.run(source, 20)
    assert not raised, outputs
    found = remote.names(names)
    return [found[name] for name in names]


def test_functions_classes_and_objects_work_as_they_do_in_the_notebook(remote):
    source = """
import numpy as np
class Stack:
    '''A stack.'''
    def __init__(self): self.items = []
    def push(self, x): self.items.append(x)
    def __len__(self): return len(self.items)
    def __getitem__(self, k): return self.items[k]
    def __eq__(self, other): return True
def area(width, height=2): return width * height
def fill(values): values.append(1); values[0] = 9
def twice(f, x): return f(f(x))
def draw(rng): return rng.normal()
"""
    Stack, area, fill, twice, draw = given(remote, source, "Stack", "area", "fill", "twice", "draw")
    stack = Stack()
    stack.push(5)
    assert (
        isinstance(stack, Stack) and len(stack) == 1 and stack[0] == 5 and stack.items == [5] and 5 in stack
    )
    assert stack != 5 and 5 != stack and stack != [5] and 6 not in stack
    assert area(3) == 6 and area.__name__ == "area" and str(area.__signature__) == "(width, height=2)"
    values = [0]
    fill(values)
    assert values == [9, 1]
    assert twice(lambda x: x + 1, 1) == 3
    import numpy as np

    one, other = np.random.default_rng(3), np.random.default_rng(3)
    assert [draw(one), draw(one)] == [other.normal(), other.normal()]


def test_a_stand_in_never_shows_what_it_is_compared_with(remote):
    source = """
seen = []
class Yes:
    def __getattr__(self, name): raise AttributeError(name)
    def __eq__(self, other): seen.append(other); return True
    __lt__ = __gt__ = __sub__ = __rsub__ = __contains__ = __add__ = __eq__
    def __abs__(self): return 0
def forged(): return Yes()
"""
    (forged,) = given(remote, source, "forged")
    value = forged()
    assert value != 41 and 41 not in [value]
    for act in (
        lambda: value < 42,
        lambda: value - 43,
        lambda: 44 - value,
        lambda: abs(value - 45),
        lambda: 46 in value,
    ):
        with pytest.raises(Exception):  # noqa: B017  (whichever: no answer comes back)
            act()
    assert remote.names(["seen"]) == {"seen": []}


def test_a_value_that_comes_and_goes_is_the_same_there_and_here(remote):
    source = """
import collections, fractions, pathlib
import datasets, numpy as np, pandas as pd, torch
Point = collections.namedtuple("Point", "x y")
values = [
    fractions.Fraction(1, 3), pathlib.Path("runs") / "a", Point(1, 2), {"a": 1}.keys(),
    collections.deque([1], 3),
    pd.DataFrame({"a": [1, 2], "b": ["x", None]}), datasets.Dataset.from_dict({"a": [1, 2]}),
    torch.nn.Parameter(torch.ones(2)), np.str_("a"), np.ma.MaskedArray([1, 2], [True, False]),
]
def again(value): return value
def shown(value): return type(value).__name__ + repr(value)
"""
    values, again, shown = given(remote, source, "values", "again", "shown")
    for value in values:
        assert shown(value) == shown(again(value)) == type(value).__name__ + repr(value)


def test_what_cannot_come_stays_and_costs_nothing_else(remote):
    source = "x = 1\ny = range(10**18)\ndef f(): return y\ndef g(value): return len(str(value))"
    x, y, f, g = given(remote, source, "x", "y", "f", "g")
    assert x == 1 and not isinstance(y, range) and g(range(10**18)) == len("range(0, 1000000000000000000)")
    with pytest.raises(Exception, match="a range of more than"):
        f()


def test_gradients_flow_through_a_learners_function(remote):
    import torch

    (square,) = given(remote, "def square(x):\n    x = x * 1\n    return (x ** 2).sum()", "square")
    leaf = torch.tensor([1.0, -2.0], requires_grad=True)
    square(leaf * 3).backward()
    assert torch.allclose(leaf.grad, 18 * leaf.detach())


@pytest.mark.parametrize("kind", ["ValueError", "KeyError", "RecursionError", "ZeroDivisionError"])
def test_exceptions_keep_their_kind(remote, kind):
    (fail,) = given(remote, f"class Mine({kind}): pass\ndef fail():\n    raise Mine('no')", "fail")
    with pytest.raises(getattr(__builtins__, kind, None) or __builtins__[kind]):
        fail()


def test_seeds_are_the_submissions_own_and_no_state_is_left(sandbox):
    def drawn(seed):
        child = sandbox.spawn(Limits(), seed)
        remote = Remote(child.channel())
        remote.pid = hello(child.wire)
        found = given(
            remote,
            "import random, numpy, torch\nx = [random.random(), numpy.random.rand(), float(torch.rand(1))]",
            "x",
        )
        child.end()
        return found

    assert drawn(1) == drawn(1) != drawn(2)


def test_processor_seconds_are_those_of_the_learners_process(remote):
    before = remote.processor_seconds()
    remote.run("import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass", 20)
    assert 0.25 <= remote.processor_seconds() - before <= 1.5
