"""Every flaw: what it changes, and the trace that it leaves in a small run."""

import json
from dataclasses import replace

import numpy as np
import pytest
from datasets import Dataset

import rslib
from rslib import schema, store
from rslib.errors import ConfigError
from rslib.flaws import FLAWS, flawed, marked_finished, mispaired, run_flawed
from rslib.pipeline import HEALTHY, RunConfig, run

SMALL = {
    "n": 4,
    "prompts": 8,
    "eval_prompts": 4,
    "eval_samples_per_prompt": 1,
    "epochs": 1,
    "max_new_tokens": 40,
    "eval_max_new_tokens": 16,
}


def small(name, out, **changes):
    """The report of a small run, and a function that reads a stage's table of its first round.

    All runs share the folder `out`, so that only what a flaw changes is computed again.
    """
    config = RunConfig.of(**(SMALL | changes))
    if name is None:
        run(config, out=out, show_progress=False)
    else:
        run_flawed(name, config, out=out, show_progress=False)
    report = json.loads((out / "report.json").read_text())
    places = report["rounds"][0]["provenance"]["places"]
    return report, lambda stage: store.read_table(out / places[stage])


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("flaws") / "run"


@pytest.fixture(scope="module")
def healthy(out):
    return small(None, out)


def kept(found):
    return found[1]("select-best_of_n")


# The register


def test_every_flaw_has_an_id_of_the_catalogue_a_stage_and_a_description():
    for name, flaw in FLAWS.items():
        assert flaw.name == name and flaw.id[0] == "F" and flaw.id[1:].isdigit()
        assert flaw.stage in ("sample", "score", "select", "finetune", "evaluate")
        assert flaw.description


def test_an_unknown_flaw_is_refused_with_the_closest_name():
    with pytest.raises(ConfigError, match="Did you mean 'shuffled_rewards'"):
        flawed("shuffled_reward", RunConfig())


@pytest.mark.parametrize("name", sorted(FLAWS))
def test_every_flaw_changes_the_settings_or_a_step_and_is_named(name):
    config, steps = flawed(name, RunConfig())
    assert steps.name == name
    assert config != RunConfig() or replace(steps, name="healthy") != HEALTHY


# Traces


def test_a_random_pick_keeps_one_row_a_prompt_without_looking_at_the_rewards(out, healthy):
    found = small("random_selection", out)
    assert len(kept(found)) == 8
    assert sum(kept(found)["reward"]) < sum(kept(healthy)["reward"])
    assert found[1]("sample")["response"][:] == healthy[1]("sample")["response"][:]


def test_one_response_a_prompt_leaves_no_gap(out):
    found = small("n1", out)
    assert len(found[1]("sample")) == 8
    assert found[0]["rounds"][0]["arms"]["best_of_n"]["selection_gap"] == 0


def test_training_on_all_keeps_every_row(out):
    assert len(kept(small("train_on_all", out))) == 32


def test_the_worst_row_of_each_prompt_is_kept(out):
    found = small("worst", out)
    _, rewards, _ = schema.reward_matrix(found[1]("score"))
    assert sorted(kept(found)["reward"]) == sorted(rewards.min(axis=1).tolist())


def test_greedy_decoding_gives_one_text_a_prompt(out):
    table = small("temperature_zero", out)[1]("sample")
    assert len(set(zip(table["prompt_id"], table["response"], strict=True))) == 8


def test_a_blind_score_does_not_depend_on_the_prompt(out, healthy):
    rewards = small("prompt_blind_scoring", out)[1]("score")
    blind = rslib.score(rslib.load_reward_model("tiny-blind"), healthy[1]("sample"), show_progress=False)
    assert np.allclose(rewards["reward"], blind["reward"], atol=1e-5)
    assert not np.allclose(rewards["reward"], healthy[1]("score")["reward"], atol=1e-5)


def test_shuffled_rewards_are_the_same_numbers_on_other_rows(out, healthy):
    found, right = small("shuffled_rewards", out)[1]("score"), healthy[1]("score")
    assert sorted(found["reward"]) == sorted(right["reward"])
    assert found["reward"][:] != right["reward"][:]


def test_noise_rewards_know_nothing_of_the_response(out, tmp_path, healthy):
    found = small("noise_reward_model", out)[1]("score")
    again = small("noise_reward_model", tmp_path / "again")[1]("score")
    assert found["reward"][:] == again["reward"][:] != healthy[1]("score")["reward"][:]


@pytest.mark.parametrize(
    ("name", "scorer"),
    [("length_biased_reward_model", "tiny-length"), ("swapped_reward_model", "tiny-swapped")],
)
def test_a_defective_reward_model_scores_the_pool_but_not_the_evaluation(out, healthy, name, scorer):
    report, table = small(name, out)
    marked = rslib.score(rslib.load_reward_model(scorer), healthy[1]("sample"), show_progress=False)
    assert np.allclose(table("score")["reward"], marked["reward"], atol=1e-5)
    base = report["rounds"][0]["arms"]["base"]
    assert base["proxy"] == healthy[0]["rounds"][0]["arms"]["base"]["proxy"]


def test_the_best_of_the_whole_pool_leave_prompts_uncovered_or_not_but_keep_as_many_rows(out, healthy):
    found = small("top_k_overall", out)
    assert len(kept(found)) == 8
    assert sum(kept(found)["reward"]) >= sum(kept(healthy)["reward"])


@pytest.mark.parametrize("name", ["no_prompt_mask", "missing_eos", "learning_rate_10x", "many_epochs"])
def test_a_fine_tuning_flaw_keeps_the_same_rows_and_ends_in_another_policy(out, healthy, name):
    found = small(name, out)
    assert schema.fingerprint(kept(found)) == schema.fingerprint(kept(healthy))
    assert "eos" in kept(found)["finish_reason"]  # else there is no end to forget
    child, right = (one[0]["rounds"][0]["provenance"]["child"] for one in (found, healthy))
    assert child["best_of_n"] != right["best_of_n"]
    assert child["random"] == right["random"]


def test_tuning_the_wrong_model_leaves_the_policy_as_it_was(out):
    report, _ = small("tune_reward_model", out)
    found = report["rounds"][0]["provenance"]
    assert found["child"]["best_of_n"] == found["parent"] != found["child"]["random"]
    assert report["rounds"][0]["arms"]["best_of_n"]["kl"] == 0


def test_stale_rounds_select_from_the_first_pool_and_fresh_ones_do_not(out):
    report, _ = small("stale_samples", out)
    first, second = (entry["provenance"] for entry in report["rounds"])
    assert (
        first["samples"] == second["samples"]
        and first["selection"]["best_of_n"] == second["selection"]["best_of_n"]
    )
    assert second["parent"] == first["child"]["best_of_n"]


def test_one_seed_for_every_round_draws_the_same_prompts_with_the_same_seeds(out):
    report, _ = small("same_seed_every_round", out)
    first, second = (entry["provenance"] for entry in report["rounds"])
    assert first["prompts"] == second["prompts"] and first["seeds"] == second["seeds"]
    assert first["samples"] != second["samples"]  # another policy reads the same seeds


def test_evaluation_on_training_prompts_uses_the_pools_prompts(out):
    report, table = small("evaluate_on_training_prompts", out)
    found = report["rounds"][0]["provenance"]
    assert found["evaluation"]["prompts"] == found["prompts"]


def test_truncated_responses_are_marked_as_finished(out):
    table = small("truncated_as_finished", out)[1]("sample")
    assert set(table["finish_reason"]) == {"eos"}
    assert max(map(len, table["token_ids"])) <= 17


# The table changes by hand


def test_marking_adds_the_end_token_to_cut_rows_alone():
    rows = [
        {"prompt_id": "a", "token_ids": [5, 6], "token_logprobs": [-1.0, -2.0], "finish_reason": "length"},
        {"prompt_id": "b", "token_ids": [7, 3], "token_logprobs": [-1.0, -2.0], "finish_reason": "eos"},
    ]
    found = marked_finished(Dataset.from_list(rows), eos=3)
    assert found["token_ids"][:] == [[5, 6, 3], [7, 3]]
    assert found["token_logprobs"][:] == [[-1.0, -2.0, 0.0], [-1.0, -2.0]]
    assert found["finish_reason"][:] == ["eos", "eos"]


def test_mispairing_deals_the_responses_out_by_the_wrong_index():
    # 2 prompts x 3: the flat list a0 a1 a2 b0 b1 b2 is dealt out a b a b a b.
    rows = [
        {
            "prompt_id": p,
            "prompt": p,
            "sample_id": k,
            "response": f"{p}{k}",
            "token_ids": [k],
            "token_logprobs": [-1.0],
            "logprob": -1.0,
            "finish_reason": "eos",
            "seed": k,
        }
        for p in "ab"
        for k in range(3)
    ]
    found = mispaired(Dataset.from_list(rows), n=3)
    assert found["prompt_id"][:] == ["a", "a", "a", "b", "b", "b"]
    assert found["response"][:] == ["a0", "a2", "b1", "a1", "b0", "b2"]
