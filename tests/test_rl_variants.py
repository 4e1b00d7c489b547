"""From RAFT to MaxRL as published, in plain loops; and dynamic sampling.

Each coefficient is compared with the gradient of its paper's objective, written out here token by token.
"""

import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import rslib
from rslib import rl
from rslib.errors import ConfigError, RewardError
from rslib.prompts import load_prompts
from rslib.reward_functions import RewardFunction
from rslib.rl import losses
from rslib.rl.advantages import group_normalised, mixed_groups
from rslib.rl.loop import _Run
from rslib.rl.unified import VARIANTS, best_of_group, surrogate

M, N, T = 4, 3, 5
REWARDS = torch.tensor([[1.0, 0, 1], [0, 0, 0], [1, 1, 1], [0, 0, 1]])
LENGTHS = [5, 1, 3, 2, 4, 5, 3, 3, 1, 2, 5, 4]


def drawn(seed=0):
    """Rollouts of four prompts: mixed, all wrong, all right, mixed; ratios on both sides of every clip."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(T) < torch.tensor(LENGTHS)[:, None]
    old = -torch.rand(M * N, T, generator=generator, dtype=torch.float64) * mask
    ratio = (0.5 * torch.randn(M * N, T, generator=generator, dtype=torch.float64)) * mask
    rollouts = SimpleNamespace(
        mask=mask,
        logprobs=old,
        reference=old,
        rewards=REWARDS.flatten().double(),
        grouped=REWARDS.double(),
        n=N,
    )
    return rollouts, (old + ratio).requires_grad_()


def found(name, rollouts, now):
    """The gradient of the variant's loss, all rows together."""
    variant, rows = VARIANTS[name], list(range(M * N))
    coefficient = variant.coefficient(rollouts, rows, now.detach(), 0.0)
    loss = losses.total(surrogate(now, coefficient), rollouts.mask, variant.mean)
    return -torch.autograd.grad(loss / losses.weight(rollouts.mask, variant.mean), now)[0]


def published(objective, rollouts, now):
    """The gradient of an objective(i, ratios, logprobs of row i, rewards of its group, its place there)."""
    terms = []
    for i, length in enumerate(LENGTHS):
        logprobs = now[i, :length]
        ratios = torch.exp(logprobs - rollouts.logprobs[i, :length])
        terms.append(objective(ratios, logprobs, REWARDS[i // N].tolist(), i % N))
    return torch.autograd.grad(sum(terms) / (M * N), now)[0]


def clipped(ratio, advantage, low=0.2, high=0.2):
    return torch.minimum(ratio * advantage, ratio.clamp(1 - low, 1 + high) * advantage)


def is_best(rewards, i):
    return float(rewards[i] == max(rewards) and max(rewards) > 0)


def standardised(rewards, i):
    return (rewards[i] - np.mean(rewards)) / (np.std(rewards, ddof=1) + 1e-4)


TOKENS = sum(LENGTHS)
OBJECTIVES = {
    # Keep the best of each prompt and maximise the mean log-probability of its tokens.
    "raft": lambda s, lp, r, i: is_best(r, i) * lp.mean(),
    # The same with importance ratios of tokens, clipped: only kept responses, whose advantage is 1.
    "raft_pp": lambda s, lp, r, i: is_best(r, i) * clipped(s, 1.0).mean(),
    # The reward for an advantage, and no prompt whose responses are all right or all wrong.
    "reinforce_rej": lambda s, lp, r, i: (0 < sum(r) < N) * clipped(s, r[i]).mean(),
    # Mean over all tokens of the batch, and another clip above.
    "clip_higher": lambda s, lp, r, i: clipped(s, standardised(r, i), 0.2, 0.28).sum() * M * N / TOKENS,
    # No division by the standard deviation, none by the length.
    "dr_grpo": lambda s, lp, r, i: clipped(s, r[i] - np.mean(r)).sum(),
    # One ratio a response, the geometric mean.
    "gspo": lambda s, lp, r, i: clipped(s.log().mean().exp(), standardised(r, i), 3e-4, 4e-4),
    # The reward over the prompt's mean, less 1; fresh samples.
    "maxrl": lambda s, lp, r, i: (r[i] / (np.mean(r) + 1e-4) - np.mean(r) / (np.mean(r) + 1e-4)) * lp.sum(),
}


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_a_variant_has_the_gradient_of_its_papers_objective(name):
    rollouts, now = drawn()
    ours, theirs = found(name, rollouts, now), published(OBJECTIVES[name], rollouts, now)
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    assert float(theirs.abs().max()) > 1e-3
    if name not in ("raft", "maxrl"):  # the clip did something
        fresh = SimpleNamespace(**vars(rollouts) | {"logprobs": now.detach()})
        assert not torch.allclose(found(name, fresh, now), ours)


def test_prompts_that_are_all_right_or_all_wrong_teach_as_each_variant_says():
    rollouts, now = drawn()
    teaches = {name: found(name, rollouts, now).view(M, -1).abs().amax(1) > 0 for name in VARIANTS}
    all_right_too = [name for name, groups in teaches.items() if groups[2]]
    assert sorted(all_right_too) == ["raft", "raft_pp"]
    assert not any(groups[1] for groups in teaches.values())  # all wrong
    assert all(groups[0] and groups[3] for groups in teaches.values())


def test_the_best_of_a_group_and_the_mixed_groups():
    rollouts, _ = drawn()
    assert best_of_group(rollouts.grouped).tolist() == [[1, 0, 1], [0, 0, 0], [1, 1, 1], [0, 0, 1]]
    assert mixed_groups(REWARDS).tolist() == [True, False, False, True]
    assert best_of_group(torch.tensor([[-1.0, -2.0], [-3.0, -3.0]])).tolist() == [[1, 0], [0, 0]]


def test_maxrl_climbs_the_log_of_the_chance_of_a_right_response_up_to_its_order():
    """Over all n-tuples: the gradient of minus the sum over k < n of (1 - p)^k / k, which tends to log p."""
    logits = torch.tensor([0.3, -0.5, 1.0, 0.1], dtype=torch.float64).requires_grad_()
    right = torch.tensor([1.0, 0, 0, 1.0], dtype=torch.float64)
    for n in (2, 3, 5):
        distribution = torch.softmax(logits, 0)
        expected = 0.0
        for picks in itertools.product(range(4), repeat=n):
            advantages = group_normalised(right[list(picks)][None], 1e-300, "mean")[0]
            score = torch.log_softmax(logits, 0)[list(picks)]
            expected = expected + distribution[list(picks)].prod().detach() * (advantages * score).mean()
        wrong = 1 - distribution @ right
        order = -sum(wrong**k / k for k in range(1, n))
        ours, exact = (
            torch.autograd.grad(value, logits, retain_graph=True)[0] for value in (expected, order)
        )
        torch.testing.assert_close(ours, exact, rtol=1e-9, atol=1e-12)


def test_normalising_by_the_mean_refuses_rewards_below_zero_and_unknown_ways():
    with pytest.raises(ConfigError, match="below 0"):
        group_normalised(-REWARDS, by="mean")
    with pytest.raises(ConfigError, match="normalise 'max'"):
        group_normalised(REWARDS, by="max")
    assert group_normalised(REWARDS, by="none")[1].tolist() == [0.0, 0.0, 0.0]


def test_entropy_and_masked_mean():
    assert float(losses.entropy(torch.zeros(8))) == pytest.approx(np.log(8))
    assert losses.entropy(torch.full((2, 3, 5), 1e4)).shape == (2, 3)
    values, mask = torch.tensor([[1.0, torch.nan]]), torch.tensor([[True, False]])
    assert float(losses.masked_mean(values, mask)) == 1.0 == float(losses.masked_mean(values, mask, 0)[0])
    assert losses.masked_mean(values, mask, 0).tolist() == [1.0, 0.0]


# In the loop


def even(prompt, response):
    """A checker: 1 for about half of the responses."""
    return len(response) % 2


def train(out, name, checker=even, **settings):
    loop = rl.Loop(
        steps=2,
        prompts_per_step=3,
        n=3,
        minibatch=9,
        normalise_rewards=False,
        missing_eos_penalty=0,
        **settings,
    )
    policy, prompts = rslib.load_policy("tiny"), load_prompts([f"Say {n}." for n in range(12)])
    tuned = rl.train(policy, checker, prompts, VARIANTS[name], loop, out=out, show_progress=False)
    return tuned.fingerprint() != policy.fingerprint(), json.loads((out / "training.json").read_text())


def test_the_state_of_a_run_belongs_to_its_variant_whatever_process_reads_it(model_folder):
    policy, prompts = rslib.load_policy(str(model_folder("llama"))), load_prompts(["Say it."])
    keys = {
        name: json.dumps(_Run(policy, RewardFunction(even), prompts, method, rl.Loop(), None, None).key())
        for name, method in VARIANTS.items()
    }
    assert len(set(keys.values())) == len(VARIANTS)
    assert not any("0x" in key for key in keys.values())  # no address


@pytest.mark.long
@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_variant_runs_by_a_checker(name, tmp_path):
    moved, record = train(tmp_path / name, name)
    assert moved and len(record["history"]) == 2


def test_dynamic_sampling_fills_every_step_with_prompts_of_unequal_rewards_and_counts_what_it_left_out(
    tmp_path,
):
    _, record = train(tmp_path / "x", "clip_higher", mixed_groups=True)
    drawn_for = record["ledger"]["responses"]
    assert drawn_for % 9 == 0 and drawn_for >= 18
    assert all(0 < row["reward"] < 1 for row in record["history"])


@pytest.mark.long
def test_dynamic_sampling_stops_where_no_prompt_has_unequal_rewards(tmp_path):
    with pytest.raises(RewardError, match="only 0 prompts have unequal rewards in 20 batches"):
        train(tmp_path / "x", "clip_higher", checker=lambda prompt, response: 1.0, mixed_groups=True)
