"""The micro-world against brute force: distributions, best-of-n, the tilted optimum and the gradient.

The statistical test fixes its seed and states the false-alarm rate that it would have with a random one.
"""

import itertools
import math

import numpy as np
import pytest

from rslib import theory
from rslib.errors import ConfigError, DataError, RewardError
from tests import micro_world as micro

SHAPES = [(4, 4), (2, 3), (1, 5), (3, 1), (0, 2)]


def world_of(letters=2, longest=3, seed=0):
    """Outcomes, the logits of a policy and of a reference, and rewards without ties."""
    rng = np.random.default_rng(seed)
    world = micro.enumerate_outcomes(letters, longest)
    policy, reference = rng.normal(size=(2, *world.shape))
    return world, policy, reference, rng.normal(size=len(world))


def probs_by_walking(world, logits):
    """Probability of each text, by multiplying softmax rows along a dictionary of prefixes."""
    chance = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    letters, longest = world.shape[1] - 1, world.tokens.shape[1]
    texts = [t for size in range(longest) for t in itertools.product(range(letters), repeat=size)]
    row = dict(zip(texts, chance, strict=True))
    found = {}

    def walk(text, mass):
        if len(text) == longest:
            found[text] = mass
            return
        found[text] = mass * row[text][letters]
        for letter in range(letters):
            walk((*text, letter), mass * row[text][letter])

    walk((), 1.0)
    return found


def text_of(world, place):
    ids = world.tokens[place][world.mask[place]].tolist()
    return tuple(i for i in ids if i != world.shape[1] - 1)


def differences(function, at, step=1e-5):
    """Central differences of a scalar function of an array."""
    found = np.zeros_like(at)
    for place in np.ndindex(at.shape):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        found[place] = (function(up) - function(down)) / (2 * step)
    return found


# The outcomes and their distribution


def test_four_letters_and_four_tokens_make_341_outcomes_over_85_prefixes():
    world = micro.enumerate_outcomes(4, 4)
    assert len(world) == 341 and world.shape == (85, 5)
    assert len({text_of(world, i) for i in range(341)}) == 341
    ended = ((world.tokens == 4) & world.mask).sum(axis=1)
    assert ended.max() == 1 and ended.sum() == 85  # the other 4^4 meet the limit first


@pytest.mark.parametrize("letters, longest", SHAPES)
def test_the_distribution_multiplies_next_token_chances_and_sums_to_one(letters, longest):
    world, logits, _, _ = world_of(letters, longest)
    walked = probs_by_walking(world, logits)
    found = micro.outcome_probs(world, logits)
    assert len(walked) == len(world) and found.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(found, [walked[text_of(world, i)] for i in range(len(world))], rtol=1e-12)


def test_logits_may_be_shifted_and_huge():
    world, logits, _, _ = world_of()
    moved = logits + 1e4 * np.arange(len(logits))[:, None]
    np.testing.assert_allclose(
        micro.outcome_probs(world, moved), micro.outcome_probs(world, logits), rtol=1e-9
    )
    one_way = micro.outcome_probs(world, 1e6 * logits)
    assert one_way.max() == 1 and one_way.sum() == 1


@pytest.mark.parametrize("letters, longest", SHAPES)
def test_every_distribution_of_outcomes_is_a_policy(letters, longest):
    world, _, _, rewards = world_of(letters, longest)
    wished = np.exp(rewards) / np.exp(rewards).sum()
    np.testing.assert_allclose(micro.outcome_probs(world, micro.logits_of(world, wished)), wished, rtol=1e-12)


def test_a_distribution_with_impossible_outcomes_is_a_policy_too():
    world = micro.enumerate_outcomes(2, 3)
    wished = np.zeros(len(world))
    wished[[1, 8]] = 0.25, 0.75
    logits = micro.logits_of(world, wished)
    np.testing.assert_allclose(micro.outcome_probs(world, logits), wished, rtol=1e-14)
    assert not np.isnan(micro.outcome_logprobs(world, logits)).any()


# Best-of-n


def test_the_win_rate_of_best_of_n_is_enumerated_with_ties_as_half():
    world, logits, _, rewards = world_of(1, 3)
    rewards = np.round(rewards)
    probs = micro.outcome_probs(world, logits)
    assert len(set(rewards)) < len(rewards)
    for n in (1, 2, 3):
        wins = 0.0
        for draws in itertools.product(range(len(world)), repeat=n + 1):
            best = max(rewards[i] for i in draws[:n])
            wins += math.prod(probs[list(draws)]) * (
                0.5 * (best == rewards[draws[n]]) + (best > rewards[draws[n]])
            )
        assert micro.best_of_n_win_rate(probs, rewards, n) == pytest.approx(wins, abs=1e-12)


def test_the_closed_forms_of_theory_bound_best_of_n_from_above():
    world, logits, _, rewards = world_of(4, 4)
    probs = micro.outcome_probs(world, logits)
    for n in (1, 2, 4, 16, 64):
        best = theory.best_of_n_probs(probs, rewards, n)
        kl, wins = theory.kl_divergence(best, probs), micro.best_of_n_win_rate(probs, rewards, n)
        assert 0 <= kl <= theory.kl_of_best_of_n(n) + 1e-12
        assert 0.5 - 1e-12 <= wins <= n / (n + 1) + 1e-12  # Beirami et al., arXiv 2401.01879


def test_equal_rewards_leave_best_of_n_and_the_tilted_optimum_where_they_were():
    world, logits, _, _ = world_of()
    probs, flat = micro.outcome_probs(world, logits), np.full(len(world), 7.0)
    assert micro.best_of_n_win_rate(probs, flat, 16) == pytest.approx(0.5)
    np.testing.assert_allclose(
        micro.outcome_probs(world, micro.tilted_logits(world, logits, flat, 0.1)), probs
    )
    np.testing.assert_allclose(
        micro.regularised_gradient(world, logits, flat, logits, 0.1), np.zeros(world.shape), atol=1e-15
    )


# The tilted optimum and the gradient


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0, 30.0])
@pytest.mark.parametrize("letters, longest", SHAPES)
def test_the_gradient_is_that_of_the_regularised_reward(letters, longest, beta):
    world, logits, reference, rewards = world_of(letters, longest)
    exact = micro.regularised_gradient(world, logits, rewards, reference, beta)

    def reward(at):
        return micro.regularised_reward(world, at, rewards, reference, beta)

    np.testing.assert_allclose(exact, differences(reward, logits), rtol=1e-5, atol=1e-8 * (1 + beta))
    np.testing.assert_allclose(exact.sum(axis=1), 0, atol=1e-14 * (1 + beta))


@pytest.mark.parametrize("beta", [0.05, 0.5, 5.0, 1e6])
def test_the_tilted_optimum_cannot_be_improved(beta):
    world, _, reference, rewards = world_of(4, 4)
    best = micro.tilted_logits(world, reference, rewards, beta)
    reached = micro.regularised_reward(world, best, rewards, reference, beta)
    np.testing.assert_allclose(
        micro.regularised_gradient(world, best, rewards, reference, beta), 0, atol=1e-14 * (1 + beta)
    )
    # Its value is beta log E[exp(reward / beta)], and no policy beside it has more.
    probs = micro.outcome_probs(world, reference)
    assert reached == pytest.approx(beta * math.log(probs @ np.exp(rewards / beta)), abs=1e-9 * (1 + beta))
    for seed in range(20):
        other = best + 0.1 * np.random.default_rng(seed).normal(size=best.shape)
        assert micro.regularised_reward(world, other, rewards, reference, beta) < reached


def test_a_huge_beta_gives_the_reference_and_a_tiny_one_the_best_outcome():
    world, _, reference, rewards = world_of()
    probs = micro.outcome_probs(world, reference)
    near = micro.outcome_probs(world, micro.tilted_logits(world, reference, rewards, 1e12))
    np.testing.assert_allclose(near, probs, rtol=1e-9)
    far = micro.outcome_probs(world, micro.tilted_logits(world, reference, rewards, 1e-6))
    assert far[np.argmax(rewards)] == 1 and far.sum() == 1


def test_with_one_outcome_nothing_can_be_learned():
    world, logits, reference, rewards = world_of(0, 2)
    assert len(world) == 1 and micro.outcome_probs(world, logits).tolist() == [1.0]
    assert micro.regularised_gradient(world, logits, rewards, reference, 0.3).tolist() == [[0.0]]
    assert micro.best_of_n_win_rate([1.0], rewards, 8) == 0.5


def test_an_impossible_outcome_takes_no_part_in_the_gradient():
    world, logits, reference, rewards = world_of()
    logits[0, 0] = -np.inf
    found = micro.regularised_gradient(world, logits, rewards, reference, 0.5)
    assert np.isfinite(found).all() and found[0, 0] == 0
    assert micro.regularised_reward(world, reference, rewards, logits, 0.5) == -math.inf
    with pytest.raises(DataError, match="KL is infinite"):
        micro.regularised_gradient(world, reference, rewards, logits, 0.5)
    assert np.isfinite(micro.regularised_gradient(world, reference, rewards, logits, 0.0)).all()


# Draws


def test_draws_follow_the_distribution():
    # A chi-square statistic with 340 degrees of freedom lies within 6 of its standard deviations; the chance
    # of a false alarm is below 1e-7 (Wilson and Hilferty's cube root: z = 5.3).
    world, logits, _, _ = world_of(4, 4)
    probs, size = micro.outcome_probs(world, logits), 2_000_000
    drawn = micro.draw_outcomes(probs, size, np.random.default_rng(0))
    counts = np.bincount(drawn, minlength=len(world))
    statistic = float(((counts - size * probs) ** 2 / (size * probs)).sum())
    degrees = len(world) - 1
    assert abs(statistic - degrees) < 6 * math.sqrt(2 * degrees)


def test_the_same_generator_gives_the_same_draws_and_the_global_one_is_left_alone():
    before = np.random.get_state()[1].tolist()
    first, second = (micro.draw_outcomes([0.3, 0.7], (3, 4), np.random.default_rng(5)).tolist() for _ in "ab")
    assert first == second and np.shape(first) == (3, 4)
    assert np.random.get_state()[1].tolist() == before


# Bad input


def test_what_is_no_world_no_policy_and_no_row_is_refused():
    world, logits, _, rewards = world_of()
    for letters, longest in ((-1, 2), (2, 0), (30, 30)):
        with pytest.raises(ConfigError):
            micro.enumerate_outcomes(letters, longest)
    for bad in (logits[:2], np.where(logits > 1, np.nan, logits), np.full(world.shape, -np.inf)):
        with pytest.raises(DataError):
            micro.outcome_probs(world, bad)
    with pytest.raises(DataError):
        micro.regularised_gradient(world, logits, rewards[:-1], logits, 0.1)
    with pytest.raises(DataError):
        micro.logits_of(world, -micro.outcome_probs(world, logits))
    with pytest.raises(DataError):
        micro.win_rate([0.0, np.nan], [0.5, 0.5], [0.5, 0.5])
    with pytest.raises(RewardError):
        micro.best_of_n_win_rate([0.5, 0.5], [0.0, np.nan], 2)
    with pytest.raises(ConfigError):
        micro.tilted_logits(world, logits, rewards, 0.0)
