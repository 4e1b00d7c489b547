"""A judge that never selects: its score stands beside the reward, with an interval, and moves nothing."""

import json

import pytest
from fake_tables import arms

import rslib
from rslib import reporting
from rslib.__main__ import main
from rslib.config import EvaluateConfig
from rslib.errors import ConfigError, RewardError
from rslib.pipeline import run
from rslib.prompts import load_prompts

SMALL = {"n": 4, "prompts": 6, "eval_prompts": 5, "eval_samples_per_prompt": 2, "epochs": 1}
SHORT = {"max_new_tokens": 16, "eval_max_new_tokens": 16, "show_progress": False}
JUDGE = "tiny-unbiased"


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    """The same run without a judge and with one."""
    folder = tmp_path_factory.mktemp("judge")
    named = {"without": None, "with": JUDGE}
    return {name: run(out=folder / name, judge=judge, **SMALL, **SHORT) for name, judge in named.items()}


def without_judge(value):
    """A report's content without what a judge adds, and without the evaluation's hashes, which count it."""
    if isinstance(value, dict):
        left_out = ("judge", "evaluation", "seconds", "places")
        return {k: without_judge(v) for k, v in value.items() if k not in left_out}
    return [without_judge(v) for v in value] if isinstance(value, list) else value


def test_every_arm_and_every_comparison_has_the_judges_score_with_its_interval(reports):
    entry = reports["with"].rounds[0]
    for arm in entry["arms"].values():
        interval = arm["intervals"]["judge"]
        assert interval["low"] <= interval["mean"] == arm["judge"] <= interval["high"]
    assert all(pair["judge"]["low"] <= pair["judge"]["high"] for pair in entry["comparisons"])
    assert "judge (held out)" in reports["with"].text_table()


def test_a_judge_moves_no_other_number(reports):
    plain, judged = (without_judge(reports[name].rounds) for name in ("without", "with"))
    assert plain == judged
    assert "judge" not in json.dumps(reports["without"].rounds)


def test_the_score_is_what_the_judge_gives_the_held_out_responses(reports, tmp_path):
    texts = rslib.load_prompts("tiny", "test", 3)
    responses = rslib.sample(rslib.load_policy("tiny"), texts, n=2, seed=5, max_new_tokens=16)
    policy, judge = rslib.load_policy("tiny"), rslib.load_reward_model(JUDGE)
    report = rslib.evaluate(
        policy,
        baseline=policy,
        reward_model=rslib.load_reward_model("tiny"),
        prompts=texts,
        config=EvaluateConfig(samples_per_prompt=2, max_new_tokens=16, seed=5),
        judge=judge,
        show_progress=False,
    )
    expected = sum(rslib.score(judge, responses)["reward"]) / len(responses)
    assert report.rounds[0]["arms"]["tuned"]["judge"] == pytest.approx(expected)


def judged_by(judge, prompts):
    """The report of the embedded policy against itself with this judge."""
    policy = rslib.load_policy("tiny")
    return rslib.evaluate(
        policy,
        baseline=policy,
        reward_model=rslib.load_reward_model("tiny"),
        prompts=prompts,
        config=EvaluateConfig(samples_per_prompt=2, max_new_tokens=8),
        judge=judge,
        show_progress=False,
    )


def test_a_function_can_judge_and_is_given_prompt_response_and_reference():
    asked = [
        {"prompt": "Name a bird.", "reference": "A wren."},
        {"prompt": "Name a tree.", "reference": "An oak."},
    ]
    calls = []

    def judge(prompt, response, reference):
        calls.append((prompt, reference))
        return len(reference)

    judge.version = "1"  # the calls that are noted are no part of it

    report = judged_by(judge, load_prompts(asked))
    assert report.rounds[0]["arms"]["tuned"]["judge"] == 7.0
    assert set(calls) == {("Name a bird.", "A wren."), ("Name a tree.", "An oak.")}
    assert judged_by(lambda prompt, response, reference: reference is None, ["Name a bird."])


@pytest.mark.parametrize("given", [float("nan"), float("inf"), None, "good"])
def test_a_judge_that_gives_no_number_is_an_error_that_names_the_row(given):
    with pytest.raises(RewardError, match=r"reward function returned .*\n  where: .*p00000"):
        judged_by(lambda prompt, response, reference: given, ["Name a bird."])


def test_without_gold_the_claims_are_about_the_judge_and_the_caveat_is_gone():
    def tables(*columns):
        return {name: table.remove_columns(["gold", "complied"]) for name, table in arms().items()} | {}

    plain = tables()
    judged = {name: table.add_column("judge", arms()[name]["gold"][:]) for name, table in plain.items()}
    alone, beside = (
        reporting.Report([reporting.round_entry(1, t, n=16)]).headlines() for t in (plain, judged)
    )
    assert any("flatters selection" in line for line in alone)
    assert not any("flatters selection" in line for line in beside)
    assert any("best-of-16 beats base by" in line and "by the judge" in line for line in beside)


def test_reward_that_rises_while_the_judge_falls_is_called_over_optimisation():
    tables = {name: table.remove_columns(["gold", "complied"]) for name, table in arms().items()}
    judged = {
        name: table.add_column("judge", [-value for value in table["reward"][:]])
        for name, table in tables.items()
    }
    report = reporting.Report([reporting.round_entry(1, judged, n=16)])
    assert "Over-optimisation: best-of-16 gains reward and loses by the judge." in report.headlines()


def test_the_reward_model_that_selects_is_no_judge(tmp_path):
    with pytest.raises(ConfigError, match="the judge is the reward model that selects"):
        run(out=tmp_path / "x", judge="tiny", **SMALL, **SHORT)


def test_the_command_evaluate_takes_a_judge(tmp_path, capsys):
    options = ["--prompts", "3", "--samples-per-prompt", "1", "--max-new-tokens", "8", "--judge", JUDGE]
    assert main(["evaluate", *options, "--out", str(tmp_path / "x")]) == 0
    assert "judge (held out)" in capsys.readouterr().out
