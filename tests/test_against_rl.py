"""What the committed measurement of reinforcement learning shows, seed by seed (docs/results/rl.json)."""

import json
from pathlib import Path

import pytest

from docs.studies import rl

DOCS = Path(__file__).resolve().parents[1] / "docs"
CELLS = json.loads((DOCS / "results" / "rl.json").read_text(encoding="utf-8"))["results"]
each_seed = pytest.mark.parametrize("seed", sorted(CELLS))


def test_five_seeds_were_measured_with_every_method():
    assert len(CELLS) >= 5
    assert {frozenset(cell) for cell in CELLS.values()} == {
        frozenset({"base", "rs", "dpo", "rloo", "grpo", "ppo", "ppo_without_kl"})
    }


@each_seed
def test_ppo_reaches_the_gold_of_one_round_within_four_minutes_of_one_core(seed):
    cell = CELLS[seed]
    assert cell["ppo"]["gold"] >= cell["rs"]["gold"]
    assert cell["ppo"]["cpu_seconds"] <= 240


@each_seed
def test_without_its_penalty_ppo_raises_the_reward_and_sinks_gold_below_base(seed):
    free = CELLS[seed]["ppo_without_kl"]
    assert free["reward_over_base"]["low"] > 0
    assert free["reward"] > CELLS[seed]["ppo"]["reward"]
    assert free["gold"] < CELLS[seed]["base"]["gold"]


def test_without_its_penalty_gold_lies_below_base_beyond_the_interval_in_most_seeds():
    """In the others the fall is no larger than the interval of 400 prompts."""
    below = [cell["ppo_without_kl"]["gold_over_base"]["high"] < 0 for cell in CELLS.values()]
    assert sum(below) > len(below) / 2


@each_seed
@pytest.mark.parametrize("method", ["dpo", "rloo", "grpo"])
def test_every_other_method_beats_base_beyond_its_interval(method, seed):
    assert CELLS[seed][method]["gold_over_base"]["low"] > 0


@pytest.mark.long
def test_an_arm_measured_again_is_the_stored_one():
    """The base policy, seed 0, at full size. Seeds fix every draw: only other rounding may move a number."""
    again, stored = rl.measure("0", "base"), CELLS["0"]["base"]
    assert again.keys() == stored.keys()
    for name in ("gold", "reward", "kl"):
        assert again[name] == pytest.approx(stored[name], abs=0.05)


def test_every_method_tunes_on_a_few_prompts_as_on_many(tmp_path):
    """One round on 8 prompts: the policy moves, and its record is beside it."""
    policy = rl.tune("rs", 0, tmp_path, prompts=8)
    assert policy.fingerprint() != rl.tune("base", 0, tmp_path).fingerprint()


def test_the_committed_settings_are_of_the_methods_that_are_measured():
    assert set(rl.CANDIDATES) == set(CELLS["0"])
