"""Each flaw of reinforcement learning breaks the part that it names; the committed traces are complete."""

import dataclasses
import math

import pytest
import torch
from datasets import Dataset

from docs.studies import results, rl_flaws
from rslib import rl
from rslib.errors import ConfigError
from rslib.finetuning import TokenRow
from rslib.rl import flaws
from rslib.rl.rollouts import Rollouts

CONTENT = results.read("rl_flaws")
KL, CLIP = 0.2, 0.2


def rollouts():
    """Four responses of 2 to 5 tokens, the last of them cut; policy and reference differ."""
    generator = torch.Generator().manual_seed(3)
    lengths = torch.tensor([5, 3, 2, 4])
    mask = torch.arange(5)[None] < lengths[:, None]
    logprobs, reference = (torch.where(mask, -torch.rand(4, 5, generator=generator), 0.0) for _ in range(2))
    rows = [TokenRow(list(range(2 + n)), first_target=2) for n in lengths.tolist()]
    table = Dataset.from_dict({"finish_reason": ["eos", "eos", "eos", "length"]})
    return Rollouts(table, 2, rows, mask, torch.tensor([1.0, 2.0, -1.0, 0.5]), logprobs, reference)


def parts(method, drawn):
    """What each part of PPO gives on these rollouts."""
    values = torch.where(drawn.mask, 0.1, 0.0)
    old, gains = drawn.logprobs, torch.where(drawn.mask, 1.0, 0.0)
    now = (old + 0.5).requires_grad_(True)
    loss = method.policy_loss(now, old, gains)
    return {
        "rewards": method.rewards(drawn, KL),
        "advantages": method.advantages(drawn, values, KL)[0],
        "loss": loss.detach(),
        "gradient": torch.tensor(float(loss.requires_grad)),
    }


CHANGED = {
    "score_every_token": {"rewards", "advantages"},
    "cut_rewarded": {"rewards", "advantages"},
    "kl_sign": {"rewards", "advantages"},
    "kl_reversed": {"rewards", "advantages"},
    "no_penalty": {"rewards", "advantages"},
    "not_centred": {"advantages"},
    "short_sighted": {"advantages"},
    "rows_mixed": {"advantages"},
    "detached": {"gradient"},
    "clip_wrong_side": {"loss"},
    # what these break lies before or behind the four parts
    "no_chat_template": set(),
    "stale_logprobs": set(),
    "end_masked": set(),
    "no_end_penalty": set(),
    "value_on_padding": set(),
}


@pytest.mark.parametrize("name", CHANGED)
def test_a_flaw_changes_the_parts_that_it_names_and_no_other(name):
    drawn = rollouts()
    right, wrong = parts(rl.PPO(), drawn), parts(flaws.FLAWS[name](), drawn)
    assert {part for part in right if not torch.allclose(right[part], wrong[part])} == CHANGED[name]


def test_every_flaw_has_its_row_here_but_that_of_groups():
    assert {*CHANGED, "groups_mixed"} == set(flaws.FLAWS) and len(flaws.FLAWS) >= 10


def test_mixed_groups_are_those_of_every_mth_row():
    drawn = dataclasses.replace(rollouts(), rewards=torch.tensor([0.0, 5.0, 1.0, 5.0]))
    right, wrong = (method.advantages(drawn) for method in (rl.GRPO(), flaws.FLAWS["groups_mixed"]()))
    assert torch.allclose(right.view(2, 2).mean(1), torch.zeros(2), atol=1e-5)
    assert wrong[1] == wrong[3] == 0  # the second and the fourth row are one group to it


def test_a_masked_end_leaves_each_response_its_other_tokens():
    shorter = flaws._without_end(rollouts())
    assert shorter.mask.sum(1).tolist() == [4, 2, 1, 3]
    assert [len(row.ids) for row in shorter.rows] == [6, 4, 3, 5]
    assert (shorter.logprobs[~shorter.mask] == 0).all()


def test_settings_and_start_come_with_the_flaw_and_unknown_names_are_refused():
    loop = rl.Loop(missing_eos_penalty=1.0)
    assert flaws.flawed("no_end_penalty", loop, None)[1].missing_eos_penalty == 0
    assert flaws.flawed("kl_sign", loop, None)[1] == loop
    with pytest.raises(ConfigError, match="kl_sign"):
        flaws.flawed("kl_sine", loop, None)


# The committed traces ---------------------------------------------------------------------------------------


def test_every_flaw_and_the_healthy_runs_have_rows_of_three_seeds_with_the_same_columns():
    rows = CONTENT["rows"]
    assert set(rows) == set(rl_flaws.names())
    assert all({"0", "1", "2"} <= set(by_seed) for by_seed in rows.values())
    every = [row for by_seed in rows.values() for row in by_seed.values()]
    assert {frozenset(row) for row in every} == {frozenset(rl_flaws.COLUMNS)}
    assert all(value is None or math.isfinite(value) for row in every for value in row.values())


@pytest.mark.long
def test_a_row_measured_again_is_the_stored_one(tmp_path):
    """Seeds fix every draw; on another processor a token may turn, so only the probes are held."""
    again, stored = rl_flaws.signature("stale_logprobs", 0, tmp_path), CONTENT["rows"]["stale_logprobs"]["0"]
    for probe in ("template_tokens", "learned_tokens", "score_counts", "cut_costs", "kl_price"):
        assert again[probe] == pytest.approx(stored[probe], rel=0.05)
    assert again["first_ratio"] > 0.05
