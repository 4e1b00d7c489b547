"""Notebook 04: what its catalogue cannot say."""

import numpy as np
import pytest
import torch

from autograder import exercises
from autograder.build.catalogue import answers
from autograder.exercise import CheckFailed, Variant
from autograder.exercises import artefacts, nb04_1, nb04_2, nb04_5
from autograder.exercises.artefacts import memoize
from autograder.verdict import grade
from autograder.work import Work


@pytest.mark.parametrize("seed", range(20))
def test_on_every_draw_some_panel_tells_each_wrong_rule_from_the_right_one(seed):
    panels = nb04_5.panels(np.random.default_rng(seed))
    readings = [nb04_5.slips(panel) for panel in panels]
    for name in readings[0]:
        assert any(row[name] != nb04_5.rule(panel) for row, panel in zip(readings, panels, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_no_mistake_in_selection_gives_the_right_rows_by_luck(seed):
    rng = np.random.default_rng(seed)
    for k in (1, 2, 3):
        rewards = nb04_1.some_rewards(rng, 7, 4)
        reasons = nb04_1.finished(7, 4)
        right = nb04_1.ranked(rewards, reasons, k)
        wrong = nb04_1.slips(rewards, reasons, k)
        assert all(wrong[name] != right for name in wrong.keys() - {"cut", "too few"})


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("id", ["4.1", "4.2"])
def test_every_draw_catches_every_wrong_answer_and_passes_every_right_one(id, seed, tmp_path):
    exercise = exercises.find(id)
    for answer in answers(id):
        verdict = grade(exercise, Work(answer.names(), Variant("", "", id), tmp_path), seed)
        assert verdict.passed == answer.correct, f"{answer.name}\n{verdict.text()}"


@pytest.mark.parametrize(
    ("text", "singled_out"),
    [
        ("prompt 11 has a reward that is not finite", True),
        ("('not finite', 11)", True),
        ("[11  0]", True),
        ("row 11 of 14: [-3.2 nan 1.5 2. ].", True),
        ("prompt 12 of 14", False),
        ("[[-11.0764, 3.1, nan, 0.11]]", False),
        ("one of 0 1 2 3 4 5 6 7 8 9 10 11 12 13", False),
    ],
)
def test_an_error_has_to_single_out_its_prompt(text, singled_out):
    assert nb04_1._names(text, 11) is singled_out


def test_the_loss_of_every_usual_mistake_differs_from_the_right_one():
    rng = np.random.default_rng(0)
    for _ in range(200):
        labels = nb04_2.some_labels(rng, 3, 9, 30)
        logits = torch.tensor(rng.normal(0, 2, (*labels.shape, 30)))
        right = nb04_2.right_loss(logits, labels)
        wrong = nb04_2.loss_slips(logits, labels).values()
        assert all(abs(value - right) > 1e-3 * right for value in wrong)


def test_the_rule_stops_for_good_and_takes_nan_for_no_rise():
    healthy = {"entropy": 0.5, "unique_ratio": 0.9, "gold_error": 0.1}
    panel = [{"round": k, "gold": gold} | healthy for k, gold in enumerate([1.0, 2.0, float("nan"), 9.0])]
    assert nb04_5.rule(panel) == 1


def test_equal_contents_are_computed_once():
    calls = []
    function = memoize(lambda value, seed=0: calls.append(value) or len(calls))
    assert [function(1), function(1), function(2, seed=1), function(2, seed=1)] == [1, 1, 2, 2]


@pytest.mark.parametrize("path", ["a" * 300, "null\0character", "no/such/folder", ""])
def test_a_folder_that_cannot_even_be_looked_for_is_told_in_a_sentence(path, tmp_path):
    with pytest.raises(CheckFailed, match="`tuned` does not hold a policy"):
        artefacts.loaded(Work({}, Variant("", "", "4.3"), tmp_path), path, "tuned")
