"""The world of arithmetic: problems whose answers are known, two checkers, and a corpus with known slips."""

import numpy as np
import pytest

import rslib
from rslib.cache import read_json
from rslib.errors import ConfigError
from rslib.models import ASSETS
from rslib.tables import reward_matrix
from rslib.theory import pass_at_k
from rslib.world import arithmetic
from rslib.world.arithmetic import (
    Problem,
    Step,
    conclusion,
    correct,
    equations,
    load_problems,
    mentioned,
    sound,
)

RIGHT = "a) 12 - 5 = 7\nb) 7 + 7 = 14\nThe answer is 14."
SUM = Problem(12, (Step("-", 5), Step("*", 2)), 1)


def test_a_problem_tells_its_steps_and_knows_its_answer():
    assert SUM.reference == 14
    assert SUM.text == "Start with 12. a) Subtract 5. b) Double it. What comes out?"


def test_no_two_problems_of_all_splits_have_the_same_numbers_and_prompts_differ():
    tables = [load_problems(split) for split in ("train", "validation", "test")]
    prompts = [prompt for table in tables for prompt in table["prompt"]]
    assert len(set(prompts)) == len(prompts) == 2800
    assert len({(p.start, p.steps) for p in arithmetic._problems().values()}) == 2800


def test_what_is_held_out_stands_in_no_document():
    held_out = {*load_problems("validation")["prompt"], *load_problems("test")["prompt"]}
    assert not held_out & {document.prompt for document in arithmetic.draw_documents(3000, 0)}


def test_references_stay_small_and_are_never_negative():
    assert {0 <= int(reference) <= 60 for reference in load_problems("train")["reference"]} == {True}


@pytest.mark.parametrize(("split", "limit"), [("dev", None), ("test", 0), ("test", 401)])
def test_an_unknown_split_or_size_is_refused(split, limit):
    with pytest.raises(ConfigError):
        load_problems(split, limit)


@pytest.mark.parametrize(
    "last", ["The answer is 14.", "the answer is 14", "Answer: 14", "#### 14", " ####14 \n"]
)
def test_one_answer_in_any_of_the_forms_is_read(last):
    assert conclusion(f"12 + 2 = 14\n{last}") == 14 and correct("", last, "14") == 1.0


@pytest.mark.parametrize(
    "text",
    ["", "12 + 2 = 14", "The answer is 13 or 14.", "The answer is 14. No, 15.", "The answer is 14.5.", "14",
     "The answer is 14.\nThe answer is 15.", "The answer is 114.", "The answer is -14."],
)  # fmt: skip
def test_no_several_and_other_answers_are_not_correct(text):
    assert correct("", text, "14") == 0.0


def test_the_checker_that_can_be_fooled_takes_any_mention_in_the_last_line():
    assert mentioned("", "The answer is 12 or 13 or 14.", "14") == 1.0
    assert mentioned("", "12 + 2 = 14\nThe answer is 13.", "14") == 0.0
    assert mentioned("", "The answer is 114.", "14") == 0.0


def test_a_path_is_its_equations_whatever_the_last_line_says():
    assert equations(RIGHT) == equations(RIGHT.replace("The answer is 14.", "#### 14"))
    assert equations(RIGHT) != equations("7 + 7 = 14")


def test_a_right_answer_by_a_wrong_way_is_correct_and_not_sound():
    lucky = "a) 12 - 5 = 8\nb) 7 + 7 = 14\nThe answer is 14."
    assert correct("", lucky, "14") == 1.0 and not sound(lucky) and sound(RIGHT)


def test_who_never_slips_is_sound_and_right(monkeypatch):
    monkeypatch.setattr(arithmetic, "_SLIPS", {True: (0, 0), False: (0, 0)})
    rng = np.random.default_rng(0)
    for problem in list(arithmetic._problems().values())[:300]:
        text = arithmetic._draw_response(rng, problem)
        assert sound(text) and mentioned("", text, str(problem.reference))


def test_hard_steps_are_those_that_cross_a_ten():
    assert Step("+", 5).hard(17) and not Step("+", 2).hard(17)
    assert Step("-", 8).hard(17) and not Step("-", 7).hard(17)
    assert Step("*", 2).hard(15) and not Step("*", 2).hard(14)


# The policy


@pytest.fixture(scope="module")
def rewards():
    """Rewards (60, 16) of the embedded policy's responses to validation problems."""
    policy = rslib.load_policy("tiny-arithmetic")
    responses = rslib.sample(policy, load_problems("validation", 60), n=16, seed=7)
    return reward_matrix(rslib.score(correct, responses))[1]


def test_the_policy_is_right_in_about_a_third_and_in_most_prompts_once_in_sixteen(rewards):
    """Bounds are five standard errors and more of the 60 prompts: false alarms below 1e-6."""
    assert 0.15 < pass_at_k(rewards, 1).mean() < 0.5
    assert pass_at_k(rewards, 16).mean() > 0.65


def test_the_manifest_has_the_measured_figures():
    figures = read_json(ASSETS / "manifest.json")["assets"]["tiny-arithmetic"]["metrics"]
    assert 0.25 < figures["pass_at_1"] < 0.4 and figures["pass_at_16"] > 0.85
    assert figures["mentioned"] > figures["pass_at_1"]
