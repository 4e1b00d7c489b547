"""Notebook 04: what its catalogue cannot say."""

import json
import types
from functools import partial
from pathlib import Path

import datasets
import numpy as np
import pytest

from autograder import exercises
from autograder.build import catalogue, release
from autograder.build.catalogue import answers
from autograder.checks import drawn_apart
from autograder.exercise import CheckFailed, Variant
from autograder.exercises import artefacts, nb04_1, nb04_2, nb04_5
from autograder.exercises.artefacts import memoize
from autograder.verdict import grade
from autograder.work import Work
from rslib import evaluation


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


@pytest.mark.parametrize(
    ("draw", "slips"),
    [
        (partial(nb04_2.toy_model, rows=3), nb04_2.loss_slips),
        (nb04_2.with_zeros, nb04_2.zero_slips),
    ],
)
def test_the_loss_of_every_usual_mistake_differs_from_the_right_one_where_it_is_checked(draw, slips):
    rng = np.random.default_rng(0)
    for _ in range(50):
        args = drawn_apart(draw, nb04_2.right_loss, lambda *a: nb04_2.IDEAS.of(slips(*a)), rng, 0.002)
        right = nb04_2.right_loss(*args)
        assert all(abs(value - right) > 1e-3 * right for value in slips(*args).values())


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


def test_a_wrong_row_is_shown_whole_beside_the_one_that_was_expected(tmp_path):
    wrong = [a for a in answers("4.2") if not a.correct and a.fails_at in (nb04_2.PROMPT, nb04_2.PAD)]
    assert len(wrong) >= 5
    for answer in wrong:
        verdict = grade(exercises.find("4.2"), Work(answer.names(), Variant("", "", "4.2"), tmp_path), 1)
        told = next(o for o in verdict.outcomes if not o.passed)
        got, expected = json.loads(told.got), json.loads(told.expected)
        assert got != expected and expected[0] == -100, answer.name
        assert told.case.startswith("row ") and "..." not in told.case


# Comparisons ------------------------------------------------------------------------------------------------


def judged_table(gold, reward):
    rows = {"prompt_id": [f"p{k}" for k in range(len(gold))], "gold": gold, "reward": reward}
    return datasets.Dataset.from_dict(rows)


@pytest.fixture
def arms():
    rng = np.random.default_rng(0)
    means = {"base": (1, 0), "random": (2, 1), "best": (4, 3), "all": (1.5, 0.4)}
    return {
        arm: judged_table((rng.normal(size=80) + gold).tolist(), (rng.normal(size=80) + reward).tolist())
        for arm, (gold, reward) in means.items()
    }


def told(arms, handed):
    """The idea that a comparison of best with random hears; "" where it passes."""
    try:
        artefacts.check_compared("best against random", handed, arms, "best", "random")
    except CheckFailed as failed:
        return failed.idea
    return ""


def test_a_comparison_is_recomputed_from_the_tables_and_a_wrong_one_hears_what_it_is(arms):
    right = evaluation.compare(arms["best"], arms["random"])
    rounded = {name: round(right[name], 2) for name in ("difference", "low", "high")}
    assert told(arms, right) == told(arms, rounded) == ""
    assert told(arms, {name: np.float32(value) for name, value in rounded.items()}) == ""
    assert told(arms, evaluation.compare(arms["random"], arms["best"])) == "sign"
    assert told(arms, evaluation.compare(arms["best"], arms["random"], "reward")) == "F16"
    assert told(arms, evaluation.compare(arms["best"], arms["all"])) == "F49"
    assert told(arms, rounded | {"difference": 7.0}) == "F50"
    assert told(arms, {"difference": rounded["difference"]}) == "F34"


@pytest.mark.parametrize(
    "odd",
    [None, 3, "2.1", [], {}, {"difference": 10**400, "low": 0, "high": 1}, {"difference": "1", "low": None}],
    ids=repr,
)
def test_an_odd_comparison_is_told_in_a_sentence(arms, odd):
    with pytest.raises(CheckFailed) as failed:
        artefacts.check_compared("best against random", odd, arms, "best", "random")
    assert failed.value.message


@pytest.mark.parametrize("claim", [None, 3, np.array([1, 2]), "supported", "lower"], ids=repr)
def test_an_odd_claim_is_no_claim(claim):
    with pytest.raises(CheckFailed):
        artefacts.check_claim("gold", claim, {"low": 0.2, "high": 1.0})
    artefacts.check_claim("gold", " Higher ", {"low": 0.2, "high": 1.0})


# What the learner writes is what runs -----------------------------------------------------------------------


CELLS = ("def sft_batch(", "def sft_loss(", "def batch_of(", "def tune(")


def written() -> str:
    """The solution's cells of batch, loss and tuning."""
    path = next(path for path in release.scripts() if path.stem.startswith("04"))
    codes = [code for _, code in catalogue.cells(path.read_text(encoding="utf-8"))]
    return "\n".join(code for code in codes if any(start in code for start in CELLS))


def losses(policy) -> list[float]:
    return json.loads((Path(policy.path) / "training.json").read_text(encoding="utf-8"))["losses"]


@pytest.fixture(scope="module")
def notebook():
    """The names of the notebook after its cells of batch, loss and tuning, with a few rows of a pool."""
    import rslib

    policy, prompts = rslib.load_policy("tiny"), rslib.load_prompts("tiny", "train", 24)
    names = {"policy": policy, "rslib": rslib}
    names["few"] = rslib.sample(policy, prompts, n=1, seed=0, show_progress=False)
    exec(written(), names)
    return names


def test_the_learners_batch_and_loss_take_the_engines_steps(notebook, tmp_path):
    policy, rows = notebook["policy"], notebook["few"]
    mine = notebook["tune"](policy, rows, tmp_path / "mine", epochs=2)
    settings = notebook["SETTINGS"] | {"epochs": 2, "seed": 0}
    engine = notebook["rslib"].finetune(policy, rows, tmp_path / "engine", show_progress=False, **settings)
    assert len(losses(mine)) >= 2
    np.testing.assert_allclose(losses(mine), losses(engine), rtol=1e-5)


def test_another_loss_of_the_learners_is_what_trains(notebook, tmp_path):
    tune, right = notebook["tune"], notebook["sft_loss"]
    plain = tune(notebook["policy"], notebook["few"], tmp_path / "plain", epochs=1)
    doubled = notebook | {"sft_loss": lambda logits, labels: 2 * right(logits, labels)}
    other = types.FunctionType(tune.__code__, doubled, "tune", tune.__defaults__)
    twice = other(notebook["policy"], notebook["few"], tmp_path / "twice", epochs=1)
    assert losses(twice)[0] == pytest.approx(2 * losses(plain)[0], rel=1e-5)
