"""No exception of a learner's ends a loop of a test without a word."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from autograder.grading import standins

BUILTINS = [["builtins", "Exception"], ["builtins", "BaseException"], ["builtins", "object"]]


@pytest.mark.parametrize("stop", ["StopIteration", "StopAsyncIteration"])
def test_a_class_of_the_learners_that_derives_from_a_stop_is_no_stop_beside_the_tests(stop: str) -> None:
    remote = SimpleNamespace(asked=frozenset(), given_class=lambda name: None)
    family = [["__main__", "Mine"], ["builtins", stop], *BUILTINS]
    theirs = standins.new_class(remote, 0, {"name": "Mine", "family": family})
    raised = standins.rebuilt(remote, {"error": family, "text": "over"}, (), theirs)

    def ends(case: object) -> bool:
        raise raised

    with pytest.raises(Exception, match="over") as caught:
        all(map(ends, [1, 2]))
    assert not isinstance(caught.value, StopIteration | StopAsyncIteration)


def test_a_stop_that_the_learner_raises_as_it_is_stays_an_error_with_its_words() -> None:
    remote = SimpleNamespace(asked=frozenset(), given_class=lambda name: None, exits=False)
    reply = {"error": [["builtins", "StopIteration"], *BUILTINS], "text": "x"}
    raised = standins.rebuilt(remote, reply, (), None)
    assert isinstance(raised, RuntimeError | standins.RemoteError)
    assert "x" in str(raised)
