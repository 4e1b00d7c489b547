"""The loop of reinforcement learning: what it draws, when it stops, how it resumes, what it writes."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from rslib import rl, tables
from rslib.errors import ConfigError, DataError, StoreError
from rslib.export import best_and_worst
from rslib.finetuning import training_rows
from rslib.ledger import Ledger
from rslib.models import load_policy, load_reward_model
from rslib.prompts import load_prompts
from rslib.rl import unified
from rslib.rl.loop import _Run, _state_path, _write_state, shaped
from rslib.rl.rollouts import ValueModel, response_logprobs, response_mask
from rslib.sampling import sample
from rslib.scoring import reference_logprobs, score
from rslib.stages import with_gold

METHODS = (rl.PPO(), rl.GRPO(), rl.RLOO(), rl.Reinforce(), rl.OnlineRFT())
each_method = pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
SMALL = rl.Loop(steps=3, prompts_per_step=4, n=2, epochs=2, minibatch=4, warmup_steps=0)
PROMPTS = [f"Say the number {word}." for word in "one two three four five six seven eight nine".split()]


@pytest.fixture(scope="module")
def world(model_folder):
    """A policy and a reward model with random weights, and a few prompts: quick, and nothing to learn."""
    policy, judge = model_folder("llama", max_new_tokens=8), model_folder("llama", "reward")
    return load_policy(str(policy)), load_reward_model(str(judge)), load_prompts(PROMPTS[:8])


@pytest.fixture(scope="module")
def embedded():
    """The embedded policy and reward model, and a few training prompts."""
    return load_policy("tiny"), load_reward_model("tiny"), load_prompts("tiny", "train", 12)


def train(world, method, out, loop=SMALL, **options):
    return rl.train(*world, method, loop, out=out, show_progress=False, **options)


def record(out):
    return json.loads((out / "training.json").read_text(encoding="utf-8"))


@each_method
def test_a_run_writes_a_policy_that_loads_and_says_how_it_came_to_be(world, method, tmp_path):
    tuned = train(world, method, tmp_path / "x")
    said = record(tmp_path / "x")
    assert load_policy(str(tmp_path / "x")).fingerprint() == tuned.fingerprint() != world[0].fingerprint()
    assert said["method"] == type(method).__name__ and said["settings"] == dataclasses.asdict(method)
    assert len(said["history"]) == 3 and said["history"][0]["kl"] == pytest.approx(0, abs=1e-3)
    assert said["ledger"]["responses"] == 3 * 4 * 2
    assert not list(tmp_path.glob(".*.state"))


@each_method
def test_the_same_call_gives_the_same_weights_and_another_seed_others(world, method, tmp_path):
    prints = [train(world, method, tmp_path / name).fingerprint() for name in ("a", "b")]
    other = train(world, method, tmp_path / "c", dataclasses.replace(SMALL, seed=1)).fingerprint()
    assert prints[0] == prints[1] != other


@each_method
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(world, method, tmp_path, monkeypatch):
    whole = train(world, method, tmp_path / "whole")
    advance = _Run.advance

    def stopped(run):
        if run.step == 2:
            raise KeyboardInterrupt
        advance(run)

    with monkeypatch.context() as patch:
        patch.setattr(_Run, "advance", stopped)
        with pytest.raises(KeyboardInterrupt):
            train(world, method, tmp_path / "part")
    assert _state_path(tmp_path / "part").exists()
    assert train(world, method, tmp_path / "part").fingerprint() == whole.fingerprint()
    histories = [record(tmp_path / name)["history"] for name in ("whole", "part")]
    assert histories[0] == histories[1]


def test_the_state_of_another_run_is_refused_and_a_damaged_one_named(world, tmp_path):
    state = _state_path(tmp_path / "x")
    _write_state(state, {"other": 1}, {"step": 0})
    with pytest.raises(StoreError, match="other settings"):
        train(world, rl.RLOO(), tmp_path / "x")
    state.write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(StoreError, match="cannot be read"):
        train(world, rl.RLOO(), tmp_path / "x")


@pytest.mark.parametrize(("budget", "spent"), [(17, 16), (21, 24), (24, 24), (1, 8)])
def test_a_budget_stops_the_run_at_the_step_that_ends_nearest_to_it(world, tmp_path, budget, spent):
    loop = dataclasses.replace(SMALL, steps=50, budget=budget, budget_unit="responses")
    train(world, rl.RLOO(), tmp_path / "x", loop)
    said = record(tmp_path / "x")
    assert said["ledger"]["responses"] == spent and "budget of responses" in said["why"]


def test_a_kl_above_the_limit_stops_the_run(world, tmp_path):
    loop = dataclasses.replace(SMALL, steps=50, learning_rate=3e-3, kl_coefficient=0.0, max_kl=0.5)
    train(world, rl.RLOO(), tmp_path / "x", loop)
    said = record(tmp_path / "x")
    assert said["history"][-1]["kl"] > 0.5 >= max(row["kl"] for row in said["history"][:-1])
    assert "KL" in said["why"] and len(said["history"]) < 50


def test_a_fall_on_held_out_prompts_stops_the_run_and_the_best_weights_are_kept(embedded, tmp_path):
    loop = dataclasses.replace(SMALL, steps=40, learning_rate=2e-2, kl_coefficient=0.0, check_every=1)
    heldout = load_prompts("tiny", "validation", 16)
    tuned = train(embedded, rl.RLOO(), tmp_path / "x", loop, heldout=heldout)
    said = record(tmp_path / "x")
    assert "held-out gold fell" in said["why"] and len(said["looks"]) < 40
    again = score(embedded[1], sample(tuned, heldout, n=2, seed=2_000_003, show_progress=False))
    assert np.mean(with_gold(again)["gold"][:]) == pytest.approx(max(said["looks"]), abs=1e-9)


def test_every_step_has_prompts_of_its_own_until_all_were_seen(world):
    run = _Run(*world, rl.RLOO(), SMALL, None, _state_path("unused"))
    seen = []
    for run.batches in range(4):
        seen.append(list(run.next_prompts()["prompt_id"]))
    assert sorted(sum(seen[:2], [])) == sorted(world[2]["prompt_id"][:])
    assert sorted(sum(seen[2:], [])) == sorted(world[2]["prompt_id"][:]) and seen[:2] != seen[2:]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": 0}, "steps is 0"),
        ({"kl_coefficient": -1.0}, "kl_coefficient is -1.0"),
        ({"kl_coefficient": float("nan")}, "kl_coefficient is nan"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"budget": -2.0}, "budget is -2.0"),
    ],
)
def test_settings_out_of_range_are_refused_at_birth(change, words):
    with pytest.raises(ConfigError, match=words):
        rl.Loop(**change)


def test_a_draw_larger_than_the_prompts_and_looks_at_nothing_are_refused(world, tmp_path):
    for change in ({"prompts_per_step": 9}, {"check_every": 1}):
        with pytest.raises(ConfigError):
            train(world, rl.RLOO(), tmp_path / "x", dataclasses.replace(SMALL, **change))


def test_rewards_are_normalised_and_a_cut_response_pays():
    raw, cut = np.array([1.0, 3.0, 5.0]), np.array([False, True, False])
    assert shaped(raw, cut, (3.0, 2.0), rl.Loop(missing_eos_penalty=0.25)).tolist() == [-1.0, -0.25, 1.0]


def test_log_probabilities_of_the_training_pass_are_those_of_the_scorer(world):
    policy, _, prompts = world
    drawn = sample(policy, prompts, n=2, seed=3, show_progress=False)
    rows = training_rows(policy, drawn)
    mask = response_mask(rows, policy.device.name)
    with torch.no_grad():
        found = response_logprobs(policy.model, rows, mask, policy.pad_id)
    assert found.shape == mask.shape and bool((found[~mask] == 0).all())
    np.testing.assert_allclose(found.sum(1).cpu().numpy(), reference_logprobs(policy, drawn), atol=1e-3)
    np.testing.assert_allclose(found.sum(1).cpu().numpy(), drawn["logprob"][:], atol=1e-3)


def test_a_new_value_model_says_0_everywhere(world):
    policy = world[0]
    rows = training_rows(policy, sample(policy, world[2], n=1, seed=3, show_progress=False))
    mask = response_mask(rows, policy.device.name)
    assert bool((ValueModel(policy.model)(rows, mask, policy.pad_id) == 0).all())


def test_a_unified_coefficient_trains_as_its_textbook_loss_does(world, tmp_path):
    """RLOO as a loss and as a coefficient: the same steps, so the same weights up to rounding."""

    def coefficient(draw, rows, logprobs, kl_coefficient):
        advantages = rl.RLOO().advantages(draw, kl_coefficient)[:, None]
        return unified.policy_gradient(logprobs, advantages[rows])

    one = train(world, rl.RLOO(), tmp_path / "loss")
    other = train(world, unified.Unified(coefficient), tmp_path / "coefficient")
    for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_dpo_takes_the_best_against_the_worst_and_learns_the_preference(embedded, tmp_path):
    policy, reward_model, prompts = embedded
    pool = score(reward_model, sample(policy, prompts, n=6, seed=5, show_progress=False), show_progress=False)
    chosen, rejected = best_and_worst(pool)
    assert list(chosen["prompt_id"]) == list(rejected["prompt_id"])
    assert min(np.array(chosen["reward"][:]) - np.array(rejected["reward"][:])) > 0
    ledger = Ledger()
    tuned = rl.finetune_dpo(policy, pool, tmp_path / "x", ledger=ledger, show_progress=False)

    def margin(model):
        return np.mean(reference_logprobs(model, chosen) - reference_logprobs(model, rejected))

    assert margin(tuned) > margin(policy) + 1
    assert record(tmp_path / "x")["losses"][0] == pytest.approx(np.log(2), abs=1e-3)
    assert ledger.trained_tokens > 0 and ledger.models == 2


def test_dpo_without_a_preference_says_so(world, tmp_path):
    policy, _, prompts = world
    pool = sample(policy, prompts, n=2, seed=5, show_progress=False)
    flat = tables.with_column(pool, "reward", [1.0] * len(pool))
    with pytest.raises(DataError, match="no prompt's rewards differ"):
        rl.finetune_dpo(policy, flat, tmp_path / "x", show_progress=False)
    with pytest.raises(ConfigError, match="beta"):
        rl.finetune_dpo(policy, flat, tmp_path / "x", beta=0.0, show_progress=False)


def test_a_ledger_counts_in_its_unit_and_only_inside_of_its_blocks():
    now = iter(range(100))
    ledger = Ledger("seconds", 5, clock=lambda: next(now))
    with ledger:
        pass
    assert ledger.spent == 1 and ledger.left == 4
    with pytest.raises(ConfigError, match="budget"):
        Ledger("tokens", 5)
    ledger = Ledger("flops", 1000)
    ledger.sampled(10, responses=1, tokens=20, prompt_tokens=10)
    ledger.trained(10, 10)
    assert ledger.spent == 2 * 10 * 30 + 6 * 10 * 10 and ledger.left == 0
