"""Objects of a test that a learner's function calls: when they answer, and whose time that costs."""

import contextlib
import io
import itertools
import math
import pickle
import signal
import sys
import time

import pytest

from autograder.grading import bounds
from autograder.grading.inside.wire import Encoder
from autograder.grading.remote import OVER, Lost, Remote
from tests import grading


class Learner:
    """A learner's process that calls objects of the test, by their places, before it replies."""

    def __init__(self, *places):
        self.left, self.sent = list(places), []

    def send(self, content, blobs=(), seconds=None):
        self.sent.append((content, list(blobs)))

    def receive(self, seconds=None):
        if not self.left:
            return {"value": None}, []
        encoder = Encoder(lambda value: {})
        node = encoder.node([[3], {}])
        return {"callback": self.left.pop(0), "args": node}, encoder.blobs

    def answers(self):
        return [last(blobs[0]) for content, blobs in self.sent if "do" not in content]


def last(content):
    """The last of the pickles that were written one after another: the answer itself."""
    stream = io.BytesIO(content)
    while stream.tell() < len(content):
        found = pickle.load(stream)
    return found


def hand_out(remote, *objects, seconds=5):
    remote.ask({"do": "put"}, list(objects), seconds=seconds)


def test_an_object_of_a_test_answers_in_the_cell_that_hands_it_out():
    learner = Learner(0)
    remote = Remote(learner)
    with remote.serving():
        hand_out(remote, lambda n: n + 1)
    assert learner.answers() == [4]


@pytest.mark.parametrize("later", ["a cell of the learner's", "another test cell"])
def test_it_is_refused_afterwards_with_a_sentence_and_other_objects_are_not_mistaken_for_it(later):
    learner = Learner(0)
    remote = Remote(learner)
    with remote.serving():
        hand_out(remote, lambda n: n + 1)
    learner.left, learner.sent = [0], []
    if later == "another test cell":
        learner.left = [0, 1]
        with remote.serving():
            hand_out(remote, lambda n: n + 2)
    else:
        remote.run("pass", 1)
    refused, *others = learner.answers()
    assert str(refused) == OVER and type(refused) is RuntimeError
    assert others == ([5] if later == "another test cell" else []) and not remote.lost


def endless(n):
    while True:
        n += 1


@pytest.mark.parametrize("slow", [endless, lambda n: time.sleep(n * 100)], ids=["works", "sleeps"])
def test_a_call_back_that_does_not_end_is_ended_with_the_time_of_the_request(slow):
    remote, begun = Remote(Learner(0)), time.monotonic()
    with remote.serving(), pytest.raises(bounds.Overrun):
        hand_out(remote, lambda n: slow(n), seconds=0.2)
    assert time.monotonic() - begun < 10
    assert signal.getitimer(signal.ITIMER_REAL) == signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def test_call_backs_without_end_are_ended_with_the_time_of_the_request():
    remote, begun = Remote(Learner(*[0] * 10**6)), time.monotonic()
    with remote.serving(), pytest.raises((Lost, bounds.Overrun), match=r"0\.3 seconds"):
        hand_out(remote, lambda n: n, seconds=0.3)
    assert time.monotonic() - begun < 10


def test_a_call_within_a_call_back_gets_no_more_time_than_is_left():
    remote, begun = Remote(Learner(*[0] * 10**6)), time.monotonic()
    with remote.serving(), pytest.raises((Lost, bounds.Overrun)):
        hand_out(remote, lambda n: remote.run("pass", 60), seconds=0.3)
    assert time.monotonic() - begun < 10


def test_a_time_within_another_does_not_lengthen_it():
    with pytest.raises(bounds.Overrun), bounds.patience(0.2):
        for _ in range(1000):
            with bounds.patience(5), bounds.wait(5, "too long"):
                sum(range(100_000))
    assert signal.getitimer(signal.ITIMER_PROF) == (0.0, 0.0)


def _ring_at(step, body):
    """Run `body` with a timer that rings at one step of the lines that enter a block or leave it."""
    steps = itertools.count()

    def trace(frame, event, arg):
        if frame.f_code.co_filename in (bounds.__file__, contextlib.__file__):
            frame.f_trace_opcodes = True
            handler = signal.getsignal(signal.SIGALRM)
            ours = getattr(handler, "__module__", "") == bounds.__name__
            if event == "opcode" and ours and next(steps) == step:
                handler(signal.SIGALRM, frame)
        return trace

    sys.settrace(trace)
    try:
        body()
    finally:
        sys.settrace(None)
    return next(steps) > step


def test_a_time_that_is_over_while_its_block_is_entered_or_left_is_put_back_all_the_same(monkeypatch):
    monkeypatch.setattr(bounds, "SHORTEST", 60)  # the test rings it, not the clock
    before = signal.getsignal(signal.SIGALRM)

    def body():
        with contextlib.suppress(bounds.Overrun), bounds.wait(60, "too long"), bounds.wait(0, "at once"):
            pass

    step = 0
    while _ring_at(step, body):
        step += 1
        assert signal.getsignal(signal.SIGALRM) == before and bounds._ends.get(signal.ITIMER_REAL) == math.inf
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert step > 100


def test_what_a_test_cell_left_in_a_name_answers_in_the_next_one_too(tmp_path):
    grading.needs_bubblewrap()
    solution = "def area(n):\n    ### BEGIN SOLUTION\n    return side(n) ** 2\n    ### END SOLUTION"
    cells = [
        grading.answer("area", solution),
        grading.check_cell("first", "def side(n):\n    return n + 1\nassert area(1) == 4"),
        grading.check_cell("second", "assert area(2) == 9"),
    ]
    grading.write_source(tmp_path, *cells)
    cells[0] = grading.answer("area", "def area(n):\n    return side(n) * side(n)")
    grading.hand_in(tmp_path, "ada", *cells)
    done = grading.grade(tmp_path, *grading.QUICK)
    record = grading.records(tmp_path)["ada"]
    assert record["points"] == 2.0, (done.stdout, done.stderr, record)
