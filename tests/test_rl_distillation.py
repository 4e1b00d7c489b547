"""Best-of-n distillation: its optimum is that of best-of-n, exactly, where all responses are listed.

The one statistical test fixes its seed and states the false-alarm rate that it would have with a random one.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch
from datasets import Dataset

import rslib
from rslib import rl
from rslib.errors import ConfigError, DataError
from rslib.prompts import load_prompts
from rslib.rl import RLOO, VariationalBestOfN
from rslib.rl.rollouts import Rollouts
from rslib.theory import best_of_n_log_ratio, best_of_n_probs, kl_divergence, tilted_optimum
from tests import micro_world as micro

SIZES = (1, 2, 3, 16, 256)


def distributions(seed=0):
    """Distributions with rewards that tie and that do not, and one with a response that is never written."""
    rng = np.random.default_rng(seed)
    for outcomes in (2, 5, 12):
        distribution = rng.dirichlet(np.ones(outcomes))
        yield distribution, rng.normal(size=outcomes)
        yield distribution, rng.integers(0, 3, outcomes).astype(float)


def chances(distribution, rewards):
    """The chance of a reward at most as high as each, and of one just as high."""
    return (rewards[None] <= rewards[:, None]) @ distribution, (
        rewards[None] == rewards[:, None]
    ) @ distribution


@pytest.mark.parametrize("n", SIZES)
def test_the_log_ratio_turns_a_distribution_into_that_of_best_of_n(n):
    for distribution, rewards in distributions():
        ratio = best_of_n_log_ratio(*chances(distribution, rewards), n)
        best = best_of_n_probs(distribution, rewards, n)
        np.testing.assert_allclose(distribution * np.exp(ratio), best, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("n", SIZES[1:])
def test_without_ties_the_log_ratio_is_the_published_reward_of_bond(n):
    """Sessa et al., equation 8: log p + log(sum of (p_below / p)^i, i < n) / (n - 1), beta 1 / (n - 1)."""
    for distribution, rewards in distributions():
        if len(set(rewards)) < len(rewards):
            continue
        up_to, level = chances(distribution, rewards)
        powers = ((up_to - level) / up_to)[:, None] ** np.arange(n)
        bond = np.log(up_to) + np.log(powers.sum(1)) / (n - 1)
        np.testing.assert_allclose(
            best_of_n_log_ratio(up_to, level, n), (n - 1) * bond, rtol=1e-9, atol=1e-12
        )


@pytest.mark.parametrize("n", SIZES)
def test_as_a_reward_with_the_kl_at_weight_1_its_optimum_is_best_of_n(n):
    for distribution, rewards in distributions(1):
        optimum = tilted_optimum(distribution, best_of_n_log_ratio(*chances(distribution, rewards), n), 1.0)
        np.testing.assert_allclose(optimum, best_of_n_probs(distribution, rewards, n), rtol=1e-12, atol=1e-12)


def world():
    """Seven outcomes, a reference, rewards of which two tie."""
    outcomes = micro.enumerate_outcomes(2, 2)
    reference = np.random.default_rng(2).normal(size=outcomes.shape)
    return outcomes, reference, np.array([0.0, 1.0, 1.0, 2.0, -1.0, 3.0, 0.5])


def test_its_gradient_is_nothing_at_best_of_n_and_something_at_the_reference():
    outcomes, reference, rewards = world()
    distribution = micro.outcome_probs(outcomes, reference)
    ratio = best_of_n_log_ratio(*chances(distribution, rewards), 4)
    best = micro.logits_of(outcomes, best_of_n_probs(distribution, rewards, 4))

    def gradient(logits):
        return micro.regularised_gradient(outcomes, logits, ratio, reference, 1.0)

    assert abs(gradient(best)).max() < 1e-12
    assert abs(gradient(reference)).max() > 1e-2


def test_climbing_it_from_the_reference_arrives_at_best_of_n():
    outcomes, logits, rewards = world()
    reference, distribution = logits, micro.outcome_probs(outcomes, logits)
    ratio, best = (
        best_of_n_log_ratio(*chances(distribution, rewards), 4),
        best_of_n_probs(distribution, rewards, 4),
    )
    distance = [kl_divergence(micro.outcome_probs(outcomes, logits), best)]
    for _ in range(3000):
        logits = logits + micro.regularised_gradient(outcomes, logits, ratio, reference, 1.0)
        distance.append(kl_divergence(micro.outcome_probs(outcomes, logits), best))
    assert distance[0] > 0.3 and distance[-1] < 1e-9
    assert (np.diff(distance) <= 1e-12).all()  # it never strays


def test_no_scale_of_the_rewards_matters():
    method = VariationalBestOfN(4, {"a": (0.0, 1.0, 2.0)})
    cubed = VariationalBestOfN(4, {"a": (-8.0, -1.0, 8.0)})
    assert [method.log_ratio("a", r) for r in (0.0, 1.0, 2.0)] == [
        cubed.log_ratio("a", r) for r in (-8.0, -1.0, 8.0)
    ]


def test_a_pool_estimates_the_ratio():
    """Of 4,000 draws; off by more than 6 standard errors of a share in one level of 2 in 10 million runs."""
    distribution, rewards = np.array([0.5, 0.3, 0.2]), np.array([0.0, 1.0, 2.0])
    drawn = rewards[np.random.default_rng(3).choice(3, 4000, p=distribution)]
    method, exact = (
        VariationalBestOfN(3, {"a": tuple(drawn)}),
        best_of_n_log_ratio(*chances(distribution, rewards), 3),
    )
    error = (
        6 * np.sqrt(distribution * (1 - distribution) / 4000) / distribution * 3
    )  # the ratio's slope in a share is at most n / share
    for reward, value, allowed in zip(rewards, exact, error, strict=True):
        assert abs(method.log_ratio("a", reward) - value) < allowed


def rollouts(rewards, kl):
    """Rollouts of one prompt whose loop has shaped the rewards beyond recognition."""
    table = Dataset.from_list([{"prompt_id": "a", "reward": reward} for reward in rewards])
    logprobs = torch.tensor(kl, dtype=torch.float64)[:, None]
    shaped = torch.full((len(rewards),), 77.0, dtype=torch.float64)
    mask = torch.ones(len(rewards), 1, dtype=torch.bool)
    return Rollouts(table, len(rewards), [None] * len(rewards), mask, shaped, logprobs, 0 * logprobs)


def test_its_advantages_are_rloos_on_the_log_ratios_with_kl_at_weight_1_whatever_the_loop_says():
    method, drawn = VariationalBestOfN(2, {"a": (0.0, 1.0, 2.0)}), rollouts([1.0, 3.0], [0.25, -0.5])
    ratios = torch.tensor([method.log_ratio("a", reward) for reward in (1.0, 3.0)], dtype=torch.float64)
    assert ratios.tolist() == pytest.approx([np.log((9 - 1) / 16 * 4 / 2), np.log((1 - (3 / 4) ** 2) * 4)])
    expected = RLOO().advantages(dataclasses.replace(drawn, rewards=ratios), 1.0)
    assert torch.equal(method.advantages(drawn, 0.3), expected)


def test_a_prompt_that_the_pool_has_not_seen_and_an_n_that_is_none_are_refused():
    with pytest.raises(DataError, match="no response to this prompt"):
        VariationalBestOfN(2, {}).log_ratio("a", 1.0)
    with pytest.raises(ConfigError, match="n is 0"):
        VariationalBestOfN(0, {})
    for chance in ([0.5], [0.6]), ([1.2], [0.5]), ([0.5], [0.0]):
        with pytest.raises(DataError, match="no chances"):
            best_of_n_log_ratio(*chance, 2)


def words(prompt, response):
    """More words are better."""
    return float(len(response.split()))


def test_it_runs_in_the_loop_from_a_scored_pool(tmp_path):
    policy, prompts = rslib.load_policy("tiny"), load_prompts([f"Say {n}." for n in range(4)])
    drawn = rslib.sample(policy, prompts, n=6, max_new_tokens=8, show_progress=False)
    method = VariationalBestOfN.of(rslib.score(words, drawn, show_progress=False), 4)
    assert {len(rewards) for rewards in method.pool.values()} == {6}
    loop = rl.Loop(steps=2, prompts_per_step=4, n=2)
    tuned = rl.train(policy, words, prompts, method, loop, out=tmp_path / "run", show_progress=False)
    assert tuned.fingerprint() != policy.fingerprint()
    assert len(json.loads((tmp_path / "run" / "training.json").read_text())["history"]) == 2
