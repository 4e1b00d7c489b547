"""The arena: runs fit their budgets, trials are equal for all, claims follow from the intervals."""

import dataclasses
import json
import os
from pathlib import Path

import numpy as np
import pytest

from docs.studies.arena import claims, figures, measuring, page, summary
from docs.studies.arena.__main__ import main, publish
from docs.studies.arena.measuring import BUDGETS, QUICK, Plan
from docs.studies.arena.trial import Trial, per_prompt, run_trial
from docs.studies.results import text_by_record
from rslib import intervals, plots
from rslib.arena import ARMS, LEAST, LengthCorrected, N
from rslib.errors import BudgetError, ConfigError, DataError, ModelError
from rslib.prompts import load_prompts

DOCS = Path(__file__).parents[1] / "docs"
SMALL = Plan(seeds=(0, 1, 2), validation_prompts=40, test_prompts=60, samples=2)
FEW = dataclasses.replace(SMALL, arms=("base", "rs1", "ppo"))
TRUE_GOLD = {name: 1.0 + 0.4 * number for number, name in enumerate(ARMS)}


def fake(trial):
    """A result with made-up numbers: gold by arm, a little chance, costs of the budget's own size."""
    rng = np.random.default_rng([trial.seed, *trial.name.encode()])
    settings = list(trial.setting.values())
    shift = (
        0.2 * ARMS[trial.arm].trials().index(trial.setting) if settings and trial.stage == "trial" else 0.0
    )
    hard = np.random.default_rng(0).normal(0, 1, trial.prompts)
    gold = TRUE_GOLD[trial.arm] + shift + hard + rng.normal(0, 0.2, trial.prompts) + rng.normal(0, 0.02)
    spent = {"responses": 1536, "flops": 2.8e11, "cpu_seconds": 8.0} | (
        {trial.unit: trial.limit} if trial.unit else {}
    )
    ledger = spent | {
        "sampled_tokens": 40000,
        "trained_tokens": 20000,
        "models": 2 + 2 * (trial.arm == "ppo"),
    }
    names = ("proxy", "kl", "length", "truncation_rate")
    return {
        "trial": dataclasses.asdict(trial),
        "ledger": ledger | {"unit": trial.unit, "seconds": 9.0 + rng.random()},
        "memory": {"libraries": 400.0, "peak": 600.0 + rng.random()},
        "device": "cpu float32",
        "notes": {"tuning_seconds": 3.0, "length_slope": 0.07},
        "means": {"gold": float(gold.mean()), "unsafe_compliance": None}
        | {name: 1.0 + rng.random() for name in names},
        "gold": gold.round(4).tolist(),
        "proxy": (gold * 2).round(4).tolist(),
    }


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    results = measuring.measure(SMALL, tmp_path_factory.mktemp("arena"), workers=0, run=fake)
    made = summary.content_of(results, SMALL, "python -m docs.studies.arena")
    return json.loads(text_by_record(made | {"claims": claims.judged(made)}))


# Trials and finals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("arm", [name for name in ARMS if ARMS[name].run is not None])
def test_every_method_has_six_trials_with_rates_a_factor_of_three_apart(arm):
    trials = ARMS[arm].trials()
    rates = sorted({one["learning_rate"] for one in trials})
    assert len(trials) == 6 == len({tuple(one.values()) for one in trials})
    assert np.diff(np.log(rates)) == pytest.approx(np.log(3), rel=0.05)
    assert ARMS[arm].hyper_parameters() >= 2


def test_the_finals_give_every_arm_every_budget_and_every_seed(content):
    for arm in ARMS:
        for unit in BUDGETS:
            assert [run["seed"] for run in summary.runs_of(content, arm, unit)] == list(SMALL.seeds)
    seeds = {run["seed"] for run in content["finals"]}
    assert content["plan"]["tuning_seed"] not in seeds
    assert {run["seed"] for run in content["trials"]} == {SMALL.tuning_seed}


def test_the_trials_are_judged_on_validation_prompts_and_the_finals_on_test_prompts():
    budget = {"limit": 5.0}
    assert {trial.split for trial in SMALL.tried("flops", budget)} == {"validation"}
    assert {trial.split for trial in SMALL.finals("flops", budget, {})} == {"test"}
    splits = [set(load_prompts("tiny", split)["prompt"][:]) for split in ("train", "validation", "test")]
    assert not (splits[0] & splits[2] or splits[1] & splits[2] or splits[0] & splits[1])


def test_the_setting_with_the_highest_gold_is_chosen_and_one_that_failed_never(tmp_path):
    found = measuring.measure(FEW, tmp_path, workers=0, run=fake)["trials"]
    best = measuring.chosen(found)["flops"]["ppo"]
    own = [t for t in found if (t["trial"]["arm"], t["trial"]["unit"]) == ("ppo", "flops")]
    assert best == max(own, key=lambda t: t["means"]["gold"])["trial"]["setting"]
    failed = [
        {"trial": t["trial"], "error": "the loss is nan"} if t["trial"]["setting"] == best else t for t in own
    ]
    assert measuring.chosen(failed)["flops"]["ppo"] != best


def test_a_trial_that_fails_is_a_result_and_any_other_run_that_fails_ends_the_arena(tmp_path):
    def explodes(trial):
        if trial.arm == "ppo" and trial.setting["learning_rate"] > 5e-4:
            raise ModelError("the loss is nan", where="step 3", fix="Lower the learning rate.")
        return fake(trial)

    trials = measuring.measure(FEW, tmp_path, workers=0, run=explodes)["trials"]
    assert [t["error"] for t in trials if "error" in t] == ["the loss is nan"] * 3
    with pytest.raises(ModelError):
        measuring.guarded(
            lambda trial: explodes(dataclasses.replace(trial, setting={"learning_rate": 1.0})), final()
        )


def final():
    return Trial(
        "final", "ppo", "flops", 1.0, 0, "test", 4, 1, {"learning_rate": 1e-4, "kl_coefficient": 0.1}
    )


def killed(trial):
    os._exit(9)


@pytest.mark.long
def test_a_run_that_is_killed_from_outside_is_told_and_nothing_else_is_lost(tmp_path):
    with pytest.raises(BudgetError, match="ended from outside"):
        measuring.measure(FEW, tmp_path, workers=1, run=killed)


def test_finished_runs_are_kept_and_those_of_another_plan_are_not_taken_for_them(tmp_path):
    ran = []

    def counting(trial):
        ran.append(trial.name)
        return fake(trial)

    for plan, new in ((FEW, True), (FEW, False), (dataclasses.replace(FEW, test_prompts=50), True)):
        ran.clear()
        measuring.measure(plan, tmp_path, workers=0, run=counting)
        assert bool(ran) == new
    assert {name.split("_")[0] for name in ran} == {"final"}


def test_a_plan_with_an_unknown_arm_or_a_final_seed_that_tunes_is_refused():
    with pytest.raises(ConfigError, match="unknown arm"):
        Plan(arms=("base", "pro"))
    with pytest.raises(ConfigError, match="tried at equal FLOPs"):
        Plan(budgets=("cpu_seconds",))
    with pytest.raises(ConfigError, match="workers is -1"):
        measuring.measure(FEW, "unused", workers=-1)
    with pytest.raises(ConfigError, match="seed 3 tunes"):
        Plan(tuning_seed=3)


# Runs within a budget -------------------------------------------------------------------------------------


@pytest.mark.long
def test_distillation_pays_for_its_ranks_from_the_same_budget():
    setting = ARMS["vbon"].trials()[0]
    spent = run_trial(Trial("trial", "vbon", "responses", 768, 100, "validation", 4, 1, setting))
    assert spent["ledger"]["responses"] == 768 and spent["notes"]["draws"] == 8


@pytest.mark.long
@pytest.mark.parametrize(
    ("arm", "unit", "limit"), [("rs1", "flops", 6e10), ("rs3", "responses", 1536), ("dpo", "flops", 6e10)]
)
def test_a_run_that_draws_a_pool_ends_just_below_its_budget(arm, unit, limit):
    limit = limit if unit == "flops" else 3 * 8 * N
    found = run_trial(Trial("trial", arm, unit, limit, 100, "validation", 4, 1, ARMS[arm].trials()[0]))
    share = LEAST / (found["ledger"]["responses"] / N)
    assert 1 - 1.5 * share <= found["ledger"][unit] / limit <= 1.02
    assert found["ledger"]["trained_tokens"] > 0 and found["memory"]["peak"] >= found["memory"]["libraries"]


def test_best_of_n_serving_pays_n_responses_for_each_one_that_it_serves_and_serves_the_best():
    judged = {"split": "validation", "prompts": 6, "samples": 2}
    best, base = (run_trial(Trial("final", arm, None, None, 0, **judged)) for arm in ("best_of_n", "base"))
    assert best["ledger"]["responses"] == 6 * 2 * N and base["ledger"]["responses"] == 0
    assert best["means"]["proxy"] > base["means"]["proxy"]


def test_values_of_a_prompt_are_means_over_its_responses():
    from datasets import Dataset

    columns = {
        "gold": [1.0, 3.0],
        "reward": [0.0, 1.0],
        "logprob": [-2.0, -2.0],
        "reference_logprob": [-3.0, -2.0],
    }
    text = {"complied": [None, None], "token_ids": [[1], [1, 2]], "finish_reason": ["stop", "length"]}
    found = per_prompt(Dataset.from_dict(columns | text), 2)
    assert {name: values.tolist() for name, values in found.items() if name != "unsafe_compliance"} == {
        "gold": [2.0],
        "proxy": [0.5],
        "kl": [0.5],
        "length": [1.5],
        "truncation_rate": [0.5],
    }
    assert np.isnan(found["unsafe_compliance"]).all()


# Intervals and claims -------------------------------------------------------------------------------------


def test_an_interval_over_both_covers_a_true_mean_that_seeds_and_prompts_hide():
    """2000 draws of 5 seeds x 40 prompts at level 0.95: coverage below 0.93 has a chance under 1e-4."""
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(2000):
        table = rng.normal(0, 1, (5, 1)) + rng.normal(0, 3, (1, 40)) + rng.normal(0, 2, (5, 40))
        error = table.mean(0).std(ddof=1) / np.sqrt(40)
        found = intervals.over_both(table.mean(1), error, 40)
        covered += found["low"] <= 0 <= found["high"]
    assert 0.93 <= covered / 2000 <= 0.995


def test_no_spread_gives_no_width_and_one_seed_leaves_the_prompts():
    assert intervals.over_seeds([2.0, 2.0]) == {"mean": 2.0, "low": 2.0, "high": 2.0}
    one = intervals.over_both([1.0], 0.5, 1000)
    assert one["high"] - 1 == pytest.approx(1.96 * 0.5, rel=0.01)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.2, "supported"),
        (-0.2, -0.1, "contradicted"),
        (-0.1, 0.2, "not separable"),
        (0.0, 0.2, "not separable"),
        (0.0, 0.0, "not separable"),
        (2.0, 2.0, "supported"),
    ],
)
def test_a_verdict_follows_from_the_interval_alone(low, high, verdict):
    assert intervals.verdict_of({"low": low, "high": high}) == verdict


def test_claims_get_the_verdict_that_the_made_up_truth_asks_for(content):
    found = {one["claim"]: one for one in content["claims"]}
    assert found["PPO has more gold than RS-1 at equal FLOPs"]["verdict"] == "supported"
    assert (
        found["RS-1 has more gold than best-of-16 serving, trained at equal responses"]["verdict"]
        == "contradicted"
    )
    assert found["PPO holds more models than RS-1"]["mean"] == 2
    assert found["PPO needs more memory than RS-1"]["verdict"] == "not separable"


def test_the_more_claims_the_wider_each_interval(content):
    one = summary.difference(content, "ppo", "rs1", "flops", "gold")
    all_of_them = next(
        c for c in content["claims"] if c["claim"] == "PPO has more gold than RS-1 at equal FLOPs"
    )
    assert all_of_them["low"] < one["low"] < one["high"] < all_of_them["high"]


def test_a_plan_without_an_arm_makes_no_claim_about_it(content):
    fewer = content | {"plan": content["plan"] | {"arms": ["base", "rs1", "ppo"]}}
    said = " ".join(one["claim"] for one in claims.judged(fewer))
    assert "PPO" in said and "DPO" not in said and "control" not in said
    one_budget = content | {"plan": content["plan"] | {"budgets": ["flops"]}}
    assert all("equal FLOPs" in one["claim"] for one in claims.judged(one_budget))


RELATIVES = ("raft_pp", "clip_higher", "dr_grpo", "gspo", "vbon")


def test_a_family_of_claims_that_came_later_leaves_the_intervals_of_the_others_as_they_were(content):
    added = {name for name in ARMS if ARMS[name].corrected} | set(RELATIVES)
    plain = [name for name in ARMS if name not in added]
    before = claims.judged(content | {"plan": content["plan"] | {"arms": plain}})
    assert before == [claim for claim in content["claims"] if "family" not in claim]
    corrected, relatives = (
        [claim["claim"] for claim in content["claims"] if claim.get("family") == family]
        for family in (claims.CORRECTED, claims.RELATIVES)
    )
    assert corrected and all("corrected" in text for text in corrected)
    assert {text.split(" has ")[0] for text in relatives} == {ARMS[name].label for name in RELATIVES}


# The corrected reward --------------------------------------------------------------------------------------


def test_a_corrected_reward_is_the_reward_less_so_much_for_every_token_of_the_response():
    from rslib import load_policy, load_prompts, load_reward_model, sample, score

    reward_model = load_reward_model("tiny")
    rows = sample(
        load_policy("tiny"), load_prompts("tiny", "validation", 6), n=3, seed=0, show_progress=False
    )
    corrected = LengthCorrected.of(reward_model, 0.5)
    plain, less = (
        score(judge, rows, show_progress=False)["reward"][:] for judge in (reward_model, corrected)
    )
    tokens = [
        len(ids) for ids in reward_model.tokenizer(rows["response"][:], add_special_tokens=False).input_ids
    ]
    assert np.subtract(plain, less) == pytest.approx(0.5 * np.array(tokens), abs=1e-4)
    assert corrected.identity() != reward_model.identity()


def test_the_correction_that_validation_chose_is_given_to_every_corrected_arm_and_to_no_other(tmp_path):
    def liking_one(trial):
        made = fake(trial)
        made["means"]["gold"] += 9 * (trial.stage == "correction" and trial.setting["strength"] == 1.5)
        return made

    plan = dataclasses.replace(SMALL, arms=("base", "rs1", "rs1_length", "ppo_length"), budgets=("flops",))
    found = measuring.measure(plan, tmp_path, workers=0, run=liking_one)
    assert {run["trial"]["split"] for run in found["corrections"]} == {"validation"}
    chosen = measuring.chosen_correction(found["corrections"])
    assert chosen == pytest.approx(1.5 * 0.07)
    for run in found["trials"] + found["finals"]:
        assert run["trial"]["per_token"] == (chosen if ARMS[run["trial"]["arm"]].corrected else 0.0)


def test_arms_that_are_measured_later_join_what_is_there_and_change_nothing_of_it(tmp_path, content):
    few = dataclasses.replace(SMALL, arms=("rs1_length", "ppo_length"), budgets=("responses", "flops"))
    made = summary.content_of(measuring.measure(few, tmp_path, workers=0, run=fake), few, "later")
    whole = summary.joined(content, made)
    assert whole["plan"]["arms"] == content["plan"]["arms"]
    assert [entry["arms"] for entry in whole["later"]] == [few.arms]
    old = [run for run in content["finals"] if not ARMS[run["arm"]].corrected]
    assert [run for run in whole["finals"] if not ARMS[run["arm"]].corrected] == old
    assert "rs1_length" in summary.measured_arms(whole, "flops")
    assert "rs1_length" not in summary.measured_arms(whole, "cpu_seconds")
    other = made | {"plan": made["plan"] | {"arms": ["gspo"]}, "correction": {"per_token": 0.0, "tried": []}}
    again = summary.joined(whole, other)
    assert [entry["arms"] for entry in again["later"]] == [few.arms, ["gspo"]]
    assert again["correction"] == whole["correction"] and summary.added_later(again) == ["gspo", *few.arms]
    with pytest.raises(DataError, match="a budget of"):
        summary.joined(content, made | {"budgets": made["budgets"] | {"flops": 1.0}})


# Page and figures -----------------------------------------------------------------------------------------


def test_the_page_has_a_table_for_each_budget_and_a_row_for_each_arm(content):
    text = page.page(content | {"summaries": {}})
    for title in page.TITLES.values():
        part = text.split(f"## {title}\n")[1].split("\n## ")[0]
        assert all(f"| {ARMS[arm].label} |" in part for arm in ARMS)
    assert all(one["claim"] in text for one in content["claims"])


@pytest.mark.parametrize("draw", [figures.gold_against_kl, figures.cost_quality, figures.sensitivity])
def test_every_figure_asks_a_question_and_says_what_it_shows(content, draw):
    axes = draw(content)
    title = axes[0].figure.get_suptitle() or axes[0].get_title(loc="left")
    assert title.endswith("?") and plots.summary_of(axes).endswith(".")
    assert b"<svg" in plots.rendered(axes, "svg")


# The committed measurement --------------------------------------------------------------------------------


def measured():
    return json.loads((DOCS / "results" / "arena.json").read_text(encoding="utf-8"))


def test_the_committed_file_is_written_as_it_would_be_again():
    assert text_by_record(measured()) == (DOCS / "results" / "arena.json").read_text(encoding="utf-8")


def test_the_committed_page_is_made_from_the_committed_measurement():
    assert page.page(measured()) == (DOCS / "arena.md").read_text(encoding="utf-8")


def test_the_committed_claims_follow_from_the_committed_runs():
    found = measured()
    assert claims.judged(found) == found["claims"]


def test_the_committed_measurement_is_whole():
    found = measured()
    trained = [arm for arm in ARMS if ARMS[arm].run is not None]
    assert len(found["plan"]["seeds"]) >= 5 and set(found["plan"]["arms"]) == set(ARMS)
    for arm in ARMS:
        for unit in BUDGETS:
            seeds = [run["seed"] for run in summary.runs_of(found, arm, unit)]
            missing = unit != "flops" and arm in summary.added_later(found) and not seeds
            assert missing or seeds == found["plan"]["seeds"]
    for unit, many in (("flops", 6), ("responses", 3)):
        arms = [arm for arm in trained if summary.runs_of(found, arm, unit)]
        assert {len(summary.trials_of(found, arm, unit)) for arm in arms} == {many}


def test_the_small_plan_makes_a_page_and_no_claim_about_rates_that_it_did_not_try(tmp_path):
    results = measuring.measure(QUICK, tmp_path, workers=0, run=fake)
    found = summary.content_of(results, QUICK, "python -m docs.studies.arena --quick")
    said = claims.judged(found)
    assert said and not [claim for claim in said if "learning rate" in claim["claim"]]
    publish(found | {"claims": said}, tmp_path)
    assert "--quick" in (tmp_path / "arena.md").read_text(encoding="utf-8")


# From the command line --------------------------------------------------------------------------------------


def test_an_unknown_arm_is_refused_with_the_names_of_those_that_there_are(capsys):
    with pytest.raises(SystemExit):
        main(["--arms", "raft"])
    assert "raft_pp" in capsys.readouterr().err


@pytest.mark.slow
def test_the_quick_arena_runs_from_the_command_line(tmp_path):
    assert main(["--quick", "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "results" / "arena.json").read_text(encoding="utf-8"))
    assert len(content["finals"]) == len(QUICK.seeds) * (3 * 3 + 2) and (tmp_path / "arena.md").exists()
