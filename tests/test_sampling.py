"""Sample: the table, independence of the batch, settings as documented, and errors that name the prompt."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

import rslib.sampling
from rslib.config import SampleConfig
from rslib.decoding import next_token_probs
from rslib.errors import ConfigError, DataError
from rslib.models import load_policy
from rslib.prompts import load_prompts
from rslib.sampling import response_seed, sample
from rslib.tables import check_responses
from tests.small_models import full_logits
from tests.test_decoding import PROMPTS, Z_LIMIT, full_logprobs, z_scores


@pytest.fixture(scope="module")
def policy(model_folder):
    return load_policy(str(model_folder("llama")))


@pytest.fixture(scope="module")
def tiny():
    return load_policy("tiny")


def draw(policy, prompts=PROMPTS, **settings):
    return sample(policy, prompts, show_progress=False, **settings)


def test_the_table_is_prompt_major_complete_and_passes_its_checks(policy):
    prompts = load_prompts([{"prompt": text, "kind": text[:1], "rank": i} for i, text in enumerate(PROMPTS)])
    table = draw(policy, prompts, n=3, max_new_tokens=10)
    check_responses(table)
    assert list(zip(table["prompt_id"], table["sample_id"], strict=True)) == list(
        itertools.product(prompts["prompt_id"], range(3))
    )
    assert table["kind"] == [text[:1] for text in PROMPTS for _ in range(3)]
    assert table.column_names[:4] == ["prompt_id", "prompt", "kind", "rank"]
    for row in table:
        assert row["response"] == policy.decode(row["token_ids"])
        assert len(row["token_ids"]) == len(row["token_logprobs"]) <= 10
        assert row["logprob"] == pytest.approx(sum(row["token_logprobs"]), abs=1e-9)
        assert row["seed"] == response_seed(0, row["prompt_id"], row["sample_id"])
        assert (row["finish_reason"] == "eos") == (row["token_ids"][-1] in policy.eos_ids)


def test_the_batch_size_changes_no_text_of_the_tiny_policy(tiny):
    prompts = load_prompts("tiny", limit=16)
    whole = draw(tiny, prompts, n=4)
    for batch_size, count in ((1, 1), (7, 3), (64, 16)):
        part = draw(tiny, prompts.select(range(count)), n=4, batch_size=batch_size)
        assert part["response"] == whole["response"][: 4 * count]
        np.testing.assert_allclose(part["logprob"], whole["logprob"][: 4 * count], atol=1e-3)


def test_shards_orders_and_smaller_n_give_the_same_responses(policy):
    prompts = load_prompts(PROMPTS)
    whole = {
        (r["prompt_id"], r["sample_id"]): r["response"] for r in draw(policy, prompts, n=4, max_new_tokens=12)
    }
    backwards = prompts.select(range(len(prompts) - 1, -1, -1))
    for part in (prompts.select([1, 3]), backwards):
        for row in draw(policy, part, n=2, max_new_tokens=12):
            assert whole[row["prompt_id"], row["sample_id"]] == row["response"]


def test_the_run_seed_changes_the_responses(policy):
    assert draw(policy, n=2, seed=0)["response"] != draw(policy, n=2, seed=1)["response"]


def test_equal_prompts_under_two_ids_get_responses_of_their_own(policy):
    table = draw(policy, [{"prompt_id": i, "prompt": "Hi"} for i in "ab"], n=2)
    assert len(set(table["response"])) == 4


def test_greedy_responses_are_all_equal(policy):
    table = draw(policy, n=3, temperature=0.0)
    assert len({(r["prompt_id"], r["response"]) for r in table}) == len(PROMPTS)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"temperature": 0.5},
        {"temperature": 2.0},
        {"top_k": 6},
        {"top_p": 0.7},
        {"top_k": 20, "top_p": 0.9},
    ],
    ids=str,
)
def test_first_tokens_follow_the_documented_distribution(policy, settings):
    # False alarm below 1e-6: fewer than 330 tokens, |z| < 6 each (P = 2e-9), see tests/test_decoding.py.
    table = draw(
        policy, ["What is the capital of France?"], n=4000, max_new_tokens=1, batch_size=4000, **settings
    )
    with torch.no_grad():
        logits = full_logits(policy.model, policy.encode(table["prompt"][0]))[-1:]
    arguments = {"temperature": 1.0} | settings
    probs = next_token_probs(logits, **arguments)[0].double().numpy()
    counts = np.bincount([ids[0] for ids in table["token_ids"]], minlength=len(probs))
    assert np.abs(z_scores(counts, probs / probs.sum())).max() < Z_LIMIT


def test_second_tokens_follow_the_distribution_given_the_first(policy):
    # Two tokens of a top-3 distribution are nine events, |z| < 6 each: false alarm 2e-8.
    table = draw(policy, ["Hi"], n=4000, max_new_tokens=2, min_new_tokens=2, top_k=3, batch_size=4000)
    prompt = policy.encode("Hi")
    counts: dict = {}
    for first, second in table["token_ids"]:
        counts[first, second] = counts.get((first, second), 0) + 1

    @torch.no_grad()
    def distribution(ids):
        logits = full_logits(policy.model, ids)[-1:]
        logits[:, list(policy.eos_ids)] = -torch.inf
        return next_token_probs(logits, 1.0, top_k=3)[0].double()

    first = distribution(prompt)
    pairs = {
        (a, b): float(first[a] * distribution([*prompt, a])[b])
        for a in first.nonzero().flatten().tolist()
        for b in distribution([*prompt, a]).nonzero().flatten().tolist()
    }
    assert set(counts) <= set(pairs)
    observed = np.array([counts.get(pair, 0) for pair in pairs])
    assert np.abs(z_scores(observed, np.array(list(pairs.values())))).max() < Z_LIMIT


def test_logprobs_are_those_of_the_policy_itself_whatever_shaped_the_draw(policy):
    loose = dataclasses.replace(policy, eos_ids=tuple(range(20, 60)))
    table = draw(loose, n=4, temperature=0.6, top_k=5, min_new_tokens=6, max_new_tokens=12)
    for row in table:
        expected = full_logprobs(policy, policy.encode(row["prompt"]), row["token_ids"])
        torch.testing.assert_close(torch.tensor(row["token_logprobs"]), expected, atol=1e-4, rtol=0)


def test_no_end_of_sequence_before_min_new_tokens_and_its_usual_share_after(policy):
    ends = tuple(range(20, 80))
    loose = dataclasses.replace(policy, eos_ids=ends)
    table = draw(loose, n=40, min_new_tokens=5, max_new_tokens=8)
    lengths = [len(ids) for ids in table["token_ids"]]
    assert min(lengths) > 5 and all(not set(ids[:5]) & set(ends) for ids in table["token_ids"])
    early = [len(ids) for ids in draw(loose, n=40, max_new_tokens=8)["token_ids"]]
    assert min(early) == 1
    assert {"eos", "length"} == set(table["finish_reason"])


def test_the_share_of_responses_that_end_at_once_is_the_probability_of_its_end_tokens(policy):
    # One event, |z| < 6: false alarm 2e-9.
    ends = list(range(20, 80))
    table = draw(dataclasses.replace(policy, eos_ids=tuple(ends)), ["Hi"], n=4000, max_new_tokens=2)
    with torch.no_grad():
        chance = float(full_logits(policy.model, policy.encode("Hi"))[-1].softmax(-1)[ends].sum())
    ended = sum(len(ids) == 1 for ids in table["token_ids"])
    assert abs(ended - 4000 * chance) < Z_LIMIT * np.sqrt(4000 * chance * (1 - chance))


def test_a_response_that_meets_the_context_is_cut_there(policy):
    prompt = "a" * (policy.context - 8)
    room = policy.context - len(policy.encode(prompt))
    assert 0 < room < 20
    table = draw(dataclasses.replace(policy, eos_ids=()), [prompt, "Hi"], n=2, max_new_tokens=30)
    assert [len(ids) for ids in table["token_ids"]] == [room, room, 30, 30]
    assert set(table["finish_reason"]) == {"length"}


@pytest.mark.parametrize("over", [0, 5])
def test_a_prompt_that_leaves_no_room_is_named_with_its_length_and_the_limit(policy, over):
    text = "a" * (2 * policy.context)
    while len(policy.encode(text)) > policy.context + over:
        text = text[:-1]
    with pytest.raises(DataError) as caught:
        draw(policy, [{"prompt_id": "short", "prompt": "Hi"}, {"prompt_id": "long one", "prompt": text}])
    assert "'long one'" in str(caught.value)
    assert f"{policy.context + over} tokens" in str(caught.value) and f"context is {policy.context}" in str(
        caught.value
    )


@pytest.mark.parametrize(
    "settings",
    [{"n": 0}, {"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"max_new_tokens": 0}, {"batch_size": 0}],
)
def test_settings_out_of_range_are_refused_by_name(policy, settings):
    with pytest.raises(ConfigError, match=next(iter(settings))):
        draw(policy, **settings)


def test_a_misspelt_setting_is_refused_with_the_closest_name(policy):
    with pytest.raises(ConfigError, match="temperature"):
        draw(policy, temperatur=1.0)


def test_no_prompts_are_refused(policy):
    with pytest.raises(DataError, match="no prompts"):
        draw(policy, [])


def test_out_of_memory_halves_the_batch_and_changes_no_response(policy, monkeypatch, capsys):
    whole = draw(policy, n=4, max_new_tokens=8)
    decoder_for = rslib.sampling.decoder_for

    def small_machine(*args, **settings):
        decoder = decoder_for(*args, **settings)

        def draw(prompts, owner, **rows):
            if len(owner) > 6:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
            return decoder(prompts, owner, **rows)

        return draw

    monkeypatch.setattr(rslib.sampling, "decoder_for", small_machine)
    assert draw(policy, n=4, max_new_tokens=8)["response"] == whole["response"]
    assert "out of memory: going on with" in capsys.readouterr().out


def test_progress_goes_to_standard_output_and_a_table_of_a_shard_is_silent(policy, capfd):
    draw(policy, n=2, max_new_tokens=4)
    sample(policy, load_prompts(["Hi"]), config=SampleConfig(n=2, max_new_tokens=4), show_progress=False)
    assert capfd.readouterr() == ("", "")
    sample(policy, PROMPTS, n=2, max_new_tokens=4)
    printed = capfd.readouterr()
    assert printed.err == "" and f"sample: {2 * len(PROMPTS)}/{2 * len(PROMPTS)} responses" in printed.out
