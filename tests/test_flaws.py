"""Every flaw: what it changes, and the trace that it leaves in a small run."""

import json

import numpy as np
import pytest
from datasets import Dataset

import rslib
from rslib import store, tables
from rslib.config import RunConfig
from rslib.errors import ConfigError
from rslib.flaws import (
    FLAWS,
    _marked_finished,
    _mispaired,
    _padded_on_the_right,
    flawed,
    run_flawed,
)
from rslib.pipeline import Round, run
from rslib.sampling import LogprobWarning
from rslib.scoring import reference_logprobs

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
    config = RunConfig(**(SMALL | changes))
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
    config, kind = flawed(name, RunConfig())
    assert kind.name == name and issubclass(kind, Round)
    replaced = [key for key, value in vars(kind).items() if callable(value) or key == "pool_reward_model"]
    assert config != RunConfig() or replaced


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
    _, rewards, _ = tables.reward_matrix(found[1]("score"))
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
    assert tables.fingerprint(kept(found)) == tables.fingerprint(kept(healthy))
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


def test_a_high_temperature_makes_the_policys_own_responses_unlikely(out, healthy):
    found = small("temperature_high", out)[1]("sample")
    assert np.mean(found["logprob"]) < 2 * np.mean(healthy[1]("sample")["logprob"])


def test_a_too_large_n_draws_four_times_the_responses_and_keeps_one_a_prompt(out, healthy):
    found = small("n_too_large", out)
    assert len(found[1]("sample")) == 4 * 32 and len(kept(found)) == 8
    # the first four are those of the healthy run, so the best of more is no worse
    assert sum(kept(found)["reward"]) > sum(kept(healthy)["reward"])


def test_padding_on_the_right_of_the_prompt_shows_when_the_responses_are_weighed_again(out, healthy):
    policy = rslib.load_policy("tiny")
    with pytest.warns(LogprobWarning):  # every sampling is checked so
        flawed = small("pad_side_sampling", out)
    for found, right in ((healthy, True), (flawed, False)):
        table = found[1]("sample")
        assert np.allclose(reference_logprobs(policy, table), table["logprob"], atol=1e-3) == right


def test_a_reward_read_at_the_padding_depends_on_the_rows_beside_it(out, healthy):
    rewards = np.array(small("pad_side_scoring", out)[1]("score")["reward"][:])
    right = np.array(healthy[1]("score")["reward"][:])
    lengths = np.array(list(map(len, healthy[1]("sample")["token_ids"])))
    assert not np.allclose(rewards[lengths < lengths.max() - 5], right[lengths < lengths.max() - 5], atol=0.1)


def test_an_absolute_threshold_keeps_what_passes_and_nothing_else(out):
    found = small("absolute_threshold", out)
    rewards = np.array(found[1]("score")["reward"][:])
    assert sorted(kept(found)["reward"]) == sorted(rewards[rewards >= 3.5].tolist())


def test_ties_by_index_keep_the_first_of_the_rounded_best(out):
    found = small("ties_by_index", out)
    _, rewards, _ = tables.reward_matrix(found[1]("score"))
    assert kept(found)["sample_id"][:] == np.round(rewards).argmax(axis=1).tolist()


def test_skipped_prompts_are_gone_and_the_others_keep_their_best(out, healthy):
    found = kept(small("rows_skipped", out, prompts=24))
    right = kept(small(None, out, prompts=24))
    assert 12 <= len(found) < 24 and set(found["prompt_id"]) < set(right["prompt_id"])
    best = dict(zip(right["prompt_id"], right["reward"], strict=True))
    assert all(best[p] == r for p, r in zip(found["prompt_id"], found["reward"], strict=True))


def test_without_replay_only_the_first_round_has_unsafe_prompts(out):
    report, _ = small("no_replay", out, prompts=24)
    places = [entry["provenance"]["places"]["select-best_of_n"] for entry in report["rounds"]]
    assert ["unsafe" in store.read_table(out / place)["kind"][:] for place in places] == [True, False]


def record(found, out, number=0):
    """The training record of a round's best-of-n arm."""
    place = found[0]["rounds"][number]["provenance"]["places"]["finetune-best_of_n"]
    return json.loads((out / place / "training.json").read_text())


def test_learned_padding_and_a_turned_dialogue_show_in_the_number_of_learned_tokens(out, healthy):
    rows = kept(healthy)["token_ids"][:]
    tokens = sum(map(len, rows))
    assert record(healthy, out)["targets"] == tokens
    assert record(small("padding_learned", out), out)["targets"] == len(rows) * max(map(len, rows)) > tokens
    assert record(small("wrong_role", out), out)["targets"] < tokens


def test_a_lost_selection_trains_on_the_first_response_of_each_prompt(out, healthy):
    found = small("selection_lost", out)
    assert tables.fingerprint(kept(found)) == tables.fingerprint(kept(healthy))
    pool = healthy[1]("sample")
    first = [len(ids) for ids, at in zip(pool["token_ids"], pool["sample_id"], strict=True) if at == 0]
    assert record(found, out)["targets"] == sum(first)


def test_a_resumed_run_that_loses_its_rounds_trains_the_starting_policy_again(out):
    found = small("resume_loses_round", out)
    first, second = (entry["provenance"] for entry in found[0]["rounds"])
    assert second["parent"] == first["child"]["best_of_n"] != first["parent"]
    assert record(found, out, 1)["parent"] == first["parent"]


def test_the_copy_of_the_reward_model_is_really_tuned(out):
    found = record(small("tune_reward_model", out, epochs=3), out)
    assert found["losses"][-1] < found["losses"][0]
    assert found["tuned"] != rslib.load_reward_model("tiny").fingerprint()


def test_a_biased_judge_selects_and_judges(tmp_path, healthy):
    report, table = small("biased_judge", tmp_path / "run")
    found = report["rounds"][0]["provenance"]
    judge = rslib.load_reward_model("tiny-length").fingerprint()
    assert found["reward_model"] == found["evaluation"]["reward_model"] == judge
    assert table("sample")["response"][:] == healthy[1]("sample")["response"][:]


def test_a_greedy_evaluation_tunes_as_ever_and_judges_greedy_responses(out, healthy):
    report, _ = small("greedy_evaluation", out, eval_samples_per_prompt=2)
    assert report["rounds"][0]["arms"]["base"]["unique_ratio"] == 0.5
    child, right = (one["rounds"][0]["provenance"]["child"] for one in (report, healthy[0]))
    assert child == right


def test_a_tiny_test_has_a_dozen_prompts(out):
    report, _ = small("tiny_test", out, eval_prompts=14)
    assert report["rounds"][0]["arms"]["base"]["prompts"] == 12


def test_a_missing_end_leaves_a_learned_token_out_of_every_finished_row(out, healthy):
    ended = sum(reason == "eos" for reason in kept(healthy)["finish_reason"][:])
    lost = record(healthy, out)["targets"] - record(small("missing_eos", out), out)["targets"]
    assert ended and lost == ended


def test_without_the_prompt_mask_the_prompts_tokens_are_learned_too(out, healthy):
    policy = rslib.load_policy("tiny")
    prompt_tokens = sum(len(policy.encode(prompt)) - 1 for prompt in kept(healthy)["prompt"][:])
    more = record(small("no_prompt_mask", out), out)["targets"] - record(healthy, out)["targets"]
    assert more == prompt_tokens


# The table changes by hand


def test_padding_on_the_right_leaves_the_longest_row_as_it_was():
    policy = rslib.load_policy("tiny")
    short, long = (policy.encode(text) for text in ("Hello!", "What is the tallest mountain of Europe?"))
    padded = _padded_on_the_right(policy).encode_many(["Hello!", "What is the tallest mountain of Europe?"])
    assert padded == [short + [policy.pad_id] * (len(long) - len(short)), long]


def test_marking_adds_the_end_token_to_cut_rows_alone():
    rows = [
        {"prompt_id": "a", "token_ids": [5, 6], "token_logprobs": [-1.0, -2.0], "finish_reason": "length"},
        {"prompt_id": "b", "token_ids": [7, 3], "token_logprobs": [-1.0, -2.0], "finish_reason": "eos"},
    ]
    found = _marked_finished(Dataset.from_list(rows), eos=3)
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
    found = _mispaired(Dataset.from_list(rows), n=3)
    assert found["prompt_id"][:] == ["a", "a", "a", "b", "b", "b"]
    assert found["response"][:] == ["a0", "a2", "b1", "a1", "b0", "b2"]
