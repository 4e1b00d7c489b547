"""The mathematics of `rslib.rl` against a world whose every response is listed: gradients are exact there.

Expectations are sums, not samples, in two ways. *Weights*: each outcome, or tuple of outcomes, counts with
its probability. *Population*: where all probabilities are multiples of 1 / N, a batch that holds each outcome
as often as that has the distribution of the policy, and a method's own objective on it is its expectation.
The one statistical test fixes its seed and states the false-alarm rate that it would have with a random one.
"""

import dataclasses
import functools
import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fake_tables import scored

from rslib.errors import ConfigError
from rslib.rl import GRPO, PPO, RLOO, OnlineRFT, Reinforce, losses, unified
from rslib.rl.advantages import gae, group_normalised, kl_estimate, leave_one_out, token_rewards, whiten
from rslib.rl.rollouts import Rollouts
from rslib.selection import select
from rslib.theory import best_of_n_probs, kl_divergence
from tests import micro_world as micro

BETA = 0.3
CLIP = 0.2
CLOSE = {"rtol": 1e-9, "atol": 1e-12}


# A world, and a learner whose model is a table of logits


def random_world(letters, longest, seed=0):
    """Outcomes, a policy, a reference and rewards: nothing special about any of them."""
    rng = np.random.default_rng(seed)
    world = micro.enumerate_outcomes(letters, longest)
    logits, reference = rng.normal(size=(2, *world.shape))
    return SimpleNamespace(
        world=world, logits=logits, reference=reference, rewards=rng.normal(2.0, 1.0, len(world))
    )


def population_world(seed=0):
    """Seven outcomes of one and two tokens whose probabilities are multiples of 1/16."""
    case = random_world(2, 2, seed)
    case.logits = np.log(np.array([[1, 1, 2], [1, 2, 1], [2, 1, 1]]) / 4)
    case.population = np.repeat(
        np.arange(7), np.round(16 * micro.outcome_probs(case.world, case.logits)).astype(int)
    )
    assert len(case.population) == 16
    return case


def at_the_tilted_optimum(case, beta=BETA):
    """The same policy and reference, with the rewards that make this policy the best there is."""
    gap = micro.outcome_logprobs(case.world, case.logits) - micro.outcome_logprobs(case.world, case.reference)
    optimal = SimpleNamespace(**vars(case))
    optimal.rewards = 7.0 + beta * gap
    best = micro.tilted_logits(case.world, case.reference, optimal.rewards, beta)
    np.testing.assert_allclose(
        micro.outcome_probs(case.world, best), micro.outcome_probs(case.world, case.logits)
    )
    return optimal


def token_logprobs(world, logits, picks):
    """(B, T) logprobs of outcomes `picks`, with gradient to the logits."""
    table = torch.log_softmax(logits, dim=1)
    return table[world.prefixes[picks], world.tokens[picks]] * torch.tensor(world.mask[picks])


def tensor(array):
    return torch.tensor(np.asarray(array), dtype=torch.float64)


class TabularLearner:
    """What a method asks of `rslib.rl.rollouts.Learner`, of tables; `draw.rows` are numbers of outcomes."""

    def __init__(self, case, values=None):
        self.world = case.world
        self.logits = tensor(case.logits).requires_grad_()
        self.table = tensor(np.zeros(case.world.shape[0]) if values is None else values).requires_grad_()

    def logprobs(self, draw, rows):
        return token_logprobs(self.world, self.logits, np.asarray(draw.rows)[rows])

    def values(self, draw, rows):
        picks = np.asarray(draw.rows)[rows]
        return self.table[self.world.prefixes[picks]] * torch.tensor(self.world.mask[picks])

    def all_values(self, draw):
        return self.values(draw, list(range(len(draw.rows)))).detach()

    def ascent(self, method, draw, kl_coefficient=BETA):
        """Minus the gradient of the method's loss on its own rows of the draw, (P, V)."""
        rows = method.rows(draw)
        objective = method.objective(self, draw, kl_coefficient)
        loss = objective.loss_sum(rows) / objective.weight(rows)
        return -torch.autograd.grad(loss, self.logits)[0].numpy()


def draw_of(case, picks, n=1):
    """The draw that a loop would make of these outcomes: `picks` (M, n) or (B,)."""
    picks = np.asarray(picks).ravel()
    logprobs, reference = (
        token_logprobs(case.world, tensor(logits), picks) for logits in (case.logits, case.reference)
    )
    mask = torch.tensor(case.world.mask[picks])
    return Rollouts(None, n, picks.tolist(), mask, tensor(case.rewards[picks]), logprobs, reference)


def mean_loss(per_token, mask, mean):
    """One number for a batch, as the loop makes it of a method's losses."""
    return losses.total(per_token, mask, mean) / losses.weight(mask, mean)


def tuples(items, n):
    """All n-tuples of items, (len(items) ** n, n)."""
    return np.array(list(itertools.product(items, repeat=n)))


def exact_gradient(case, beta=BETA):
    return micro.regularised_gradient(case.world, case.logits, case.rewards, case.reference, beta)


def weighted_ascent(case, picks, weights, per_token):
    """Minus the gradient of sum over rows of weight * sum over tokens of `per_token(logprobs, draw)`."""
    logits, draw = tensor(case.logits).requires_grad_(), draw_of(case, picks)
    per_row = per_token(token_logprobs(case.world, logits, draw.rows), draw)
    weighed = per_row * tensor(weights)[:, None] * len(weights)  # `mean_loss` divides by the rows
    return -torch.autograd.grad(mean_loss(weighed, draw.mask, "rows"), logits)[0].numpy()


def rewards_to_go(case, beta=BETA):
    """(K, T): the reward, minus beta times the log-ratio of each token, from this token to the last."""
    ratios = micro.token_logprobs(case.world, case.logits)
    ratios = ratios - micro.token_logprobs(case.world, case.reference)
    later = np.cumsum(ratios[:, ::-1], axis=1)[:, ::-1]
    return np.where(case.world.mask, case.rewards[:, None] - beta * later, 0.0)


def exact_values(case, beta=BETA):
    """(P,): the mean reward to go behind each prefix, what a perfect value model would say."""
    world, probs = case.world, micro.outcome_probs(case.world, case.logits)
    at, mass = world.prefixes[world.mask], np.broadcast_to(probs[:, None], world.mask.shape)[world.mask]
    to_go = rewards_to_go(case, beta)[world.mask]
    return np.bincount(at, mass * to_go, world.shape[0]) / np.bincount(at, mass, world.shape[0])


def generalised(case, draw, values, smoothing, beta=BETA):
    """PPO's advantages before they are whitened, (B, T), by the code under test."""
    kl = kl_estimate(draw.logprobs, draw.reference, "k1")
    rewards = token_rewards(draw.rewards, kl, draw.mask, beta)
    seen = tensor(np.where(case.world.mask, values[case.world.prefixes], 0.0))[draw.rows]
    return gae(rewards, seen, draw.mask, 1.0, smoothing)[0]


def arbitrary_values(case):
    return np.random.default_rng(9).normal(size=case.world.shape[0])


# a) Gradients in expectation


@pytest.mark.parametrize("beta", [0.0, BETA])
@pytest.mark.parametrize("letters, longest", [(4, 4), (2, 3), (3, 1), (1, 5)])
def test_reinforce_with_one_response_has_the_enumerated_gradient(letters, longest, beta):
    case = random_world(letters, longest)
    probs = micro.outcome_probs(case.world, case.logits)

    def loss(now, draw):
        shaped = draw.rewards - beta * draw.kl
        return losses.policy_gradient(now, leave_one_out(shaped[:, None]))

    found = weighted_ascent(case, np.arange(len(case.world)), probs, loss)
    np.testing.assert_allclose(found, exact_gradient(case, beta), **CLOSE)


@pytest.mark.parametrize("letters, longest, n", [(4, 4, 2), (2, 3, 2), (2, 3, 3), (3, 1, 3)])
def test_rloo_over_all_tuples_has_the_enumerated_gradient(letters, longest, n):
    case = random_world(letters, longest)
    probs = micro.outcome_probs(case.world, case.logits)
    groups = tuples(np.arange(len(case.world)), n)
    weights = np.repeat(probs[groups].prod(axis=1) / n, n)
    advantages = RLOO().advantages(draw_of(case, groups, n), BETA)[:, None]
    found = weighted_ascent(
        case, groups.ravel(), weights, lambda now, _: losses.policy_gradient(now, advantages)
    )
    np.testing.assert_allclose(found, exact_gradient(case), **CLOSE)


@pytest.mark.parametrize("n", [2, 3])
def test_the_objective_of_rloo_has_the_enumerated_gradient(n):
    case = population_world()
    draw = draw_of(case, tuples(case.population, n), n)
    np.testing.assert_allclose(TabularLearner(case).ascent(RLOO(), draw), exact_gradient(case), **CLOSE)


@pytest.mark.parametrize("batch, n", [(1, 1), (2, 1), (2, 2)])
def test_the_objective_of_reinforce_has_the_enumerated_gradient_for_every_batch_size(batch, n):
    case = population_world()
    learner = TabularLearner(case)
    found = [learner.ascent(Reinforce(), draw_of(case, rows, n)) for rows in tuples(case.population, batch)]
    np.testing.assert_allclose(np.mean(found, axis=0), exact_gradient(case), **CLOSE)


@pytest.mark.parametrize("smoothing", [0.0, 0.5, 0.95, 1.0])
def test_ppo_with_perfect_values_has_the_enumerated_gradient_for_every_smoothing(smoothing):
    case = random_world(4, 4)
    draw = draw_of(case, np.arange(len(case.world)))
    advantages = generalised(case, draw, exact_values(case), smoothing)
    found = weighted_ascent(
        case,
        np.arange(len(case.world)),
        micro.outcome_probs(case.world, case.logits),
        lambda now, draw: losses.clipped_policy(now, draw.logprobs, advantages, CLIP),
    )
    np.testing.assert_allclose(found, exact_gradient(case), **CLOSE)


def test_ppo_with_wrong_values_is_unbiased_at_smoothing_one_and_biased_below():
    case = random_world(2, 3)
    draw = draw_of(case, np.arange(len(case.world)))
    found = {}
    for smoothing in (1.0, 0.5):
        advantages = generalised(case, draw, arbitrary_values(case), smoothing)
        found[smoothing] = weighted_ascent(
            case,
            np.arange(len(case.world)),
            micro.outcome_probs(case.world, case.logits),
            lambda now, draw, a=advantages: losses.clipped_policy(now, draw.logprobs, a, CLIP),
        )
    np.testing.assert_allclose(found[1.0], exact_gradient(case), **CLOSE)
    assert np.abs(found[0.5] - exact_gradient(case)).max() > 0.01


def test_the_objective_of_ppo_has_the_enumerated_gradient_but_for_a_known_factor():
    # Whitening divides by the spread of the advantages, the mean over tokens by the mean length. Taking off
    # the mean advantage changes nothing: it is a baseline.
    case = population_world()
    world, population = case.world, case.population
    values = arbitrary_values(case)
    found = TabularLearner(case, values).ascent(PPO(smoothing=1.0), draw_of(case, population))
    advantages = (rewards_to_go(case) - values[world.prefixes])[population][world.mask[population]]
    factor = 1 / (math.sqrt(advantages.var() + 1e-8) * world.mask[population].sum(axis=1).mean())
    np.testing.assert_allclose(found, factor * exact_gradient(case), **CLOSE)


def gradients_of_log_probability(case):
    """(K, T, P, V): of each token of each outcome with respect to the logits, by hand."""
    world = case.world
    chance = np.exp(case.logits) / np.exp(case.logits).sum(axis=1, keepdims=True)
    found = np.zeros((*world.mask.shape, *world.shape))
    for k, t in zip(*np.nonzero(world.mask), strict=True):
        prefix = world.prefixes[k, t]
        found[k, t, prefix] -= chance[prefix]
        found[k, t, prefix, world.tokens[k, t]] += 1
    return found


def expected_grpo_gradient(case, n, epsilon, kl_coefficient):
    """Shao et al. 2024, eq. 21, summed over all n-tuples of outcomes by their probabilities."""
    world, probs = case.world, micro.outcome_probs(case.world, case.logits)
    gradients = gradients_of_log_probability(case)
    gap = micro.token_logprobs(world, case.reference) - micro.token_logprobs(world, case.logits)
    pull = np.exp(gap) - 1
    lengths = world.mask.sum(axis=1)
    total = np.zeros(world.shape)
    for group in itertools.product(range(len(world)), repeat=n):
        group = list(group)
        rewards = case.rewards[group]
        advantages = (rewards - rewards.mean()) / (rewards.std(ddof=1) + epsilon)
        coefficient = (advantages[:, None] + kl_coefficient * pull[group]) / lengths[group][:, None]
        total += probs[group].prod() * np.einsum("nt,ntpv->pv", coefficient, gradients[group]) / n
    return total


@pytest.mark.parametrize("n", [2, 3])
def test_the_objective_of_grpo_has_its_own_enumerated_gradient(n):
    case = population_world()
    draw = draw_of(case, tuples(case.population, n), n)
    found = TabularLearner(case).ascent(GRPO(epsilon=1e-4), draw)
    expected = expected_grpo_gradient(case, n, 1e-4, BETA)
    np.testing.assert_allclose(found, expected, **CLOSE)
    # It is another direction than that of E[reward] - beta KL: spread, length and k3 see to that.
    exact = exact_gradient(case)
    cosine = (found * exact).sum() / np.linalg.norm(found) / np.linalg.norm(exact)
    assert 0 < cosine < 0.999


def test_grpo_is_the_policy_gradient_where_its_deviations_vanish():
    # One token, two rewards and n = 2: every group whose rewards differ has the same spread, so the division
    # by it is one factor. Without KL what remains is the gradient of E[reward].
    case = random_world(3, 1)
    case.rewards = np.array([0.0, 1.0, 1.0, 0.0])
    found = expected_grpo_gradient(case, 2, 0.0001, 0.0)
    spread = math.sqrt(0.5) + 0.0001
    # A pair's advantages are +-1/2 over the spread; leave-one-out would give +-1.
    np.testing.assert_allclose(found, exact_gradient(case, 0.0) / (2 * spread), **CLOSE)
    groups = tuples(np.arange(4), 2)
    weights = np.repeat(micro.outcome_probs(case.world, case.logits)[groups].prod(axis=1) / 2, 2)
    advantages = GRPO().advantages(draw_of(case, groups, 2))[:, None]
    code = weighted_ascent(
        case,
        groups.ravel(),
        weights,
        lambda now, draw: losses.grpo(now, draw.logprobs, draw.reference, advantages, CLIP, 0.0),
    )
    np.testing.assert_allclose(code, found, **CLOSE)


@pytest.mark.parametrize("n", [2, 3])
def test_online_rft_climbs_towards_the_distribution_of_best_of_n(n):
    case = population_world()
    case.rewards = np.array([0.0, 1.0, 1.0, 3.0, 2.0, 3.0, -1.0])  # ties included
    draw = draw_of(case, tuples(case.population, n), n)
    found = TabularLearner(case).ascent(OnlineRFT(), draw, 0.0)
    best = best_of_n_probs(micro.outcome_probs(case.world, case.logits), case.rewards, n)
    expected = np.einsum("k,ktpv->pv", best, gradients_of_log_probability(case))
    np.testing.assert_allclose(found, expected / (best @ case.world.mask.sum(axis=1)), **CLOSE)


def test_sampled_gradients_agree_with_the_enumerated_one():
    # 3 methods x 12 directions, 40 000 draws of n = 4 in a world of 341 responses, bounds of 5.6 measured
    # standard errors: false-alarm rate 36 * 2.1e-8 < 1e-6. The standard errors themselves are held below
    # 1 % of the gradient's length, so that the bounds mean something.
    case, n, draws = random_world(4, 4), 4, 40_000
    rng = np.random.default_rng(1)
    picks = micro.draw_outcomes(micro.outcome_probs(case.world, case.logits), (draws, n), rng)
    draw, exact = draw_of(case, picks, n), exact_gradient(case)
    ppo = generalised(case, draw, exact_values(case), 0.95)
    shaped = draw.rewards - BETA * draw.kl
    per_token = {
        "reinforce": lambda now: losses.policy_gradient(now, (shaped - shaped.mean())[:, None]),
        "rloo": lambda now: losses.policy_gradient(now, RLOO().advantages(draw, BETA)[:, None]),
        "ppo": lambda now: losses.clipped_policy(now, draw.logprobs, ppo, CLIP),
    }
    directions = [exact, *rng.normal(size=(11, *exact.shape))]
    chance = torch.softmax(tensor(case.logits), dim=1).numpy()
    for name, loss in per_token.items():
        coefficient = coefficient_by_autograd(loss, draw.logprobs).numpy() * draw.mask.numpy()
        for direction in directions:
            unit = direction / np.linalg.norm(direction)
            # How fast each token's logprob rises along the direction: its own logit against the mean one.
            speed = unit - (chance * unit).sum(axis=1, keepdims=True)
            along = speed[case.world.prefixes, case.world.tokens][draw.rows]
            slopes = (coefficient * along).sum(axis=1).reshape(draws, n).mean(axis=1)
            error = slopes.std(ddof=1) / math.sqrt(draws)
            assert error < 0.01 * np.linalg.norm(exact), name
            assert abs(slopes.mean() - (exact * unit).sum()) < 5.6 * error, name


# b) At the tilted optimum nothing moves


def test_every_unbiased_method_stands_still_at_the_tilted_optimum():
    case = at_the_tilted_optimum(population_world())
    pairs = draw_of(case, tuples(case.population, 2), 2)
    learner = TabularLearner(case)
    for method in (Reinforce(), RLOO()):
        assert np.abs(learner.ascent(method, pairs)).max() < 1e-12
    # Perfect values leave no advantage at all; with other values it is the mean that vanishes.
    all_rows = draw_of(case, case.population)
    for values in (exact_values(case), np.zeros(case.world.shape[0]), arbitrary_values(case)):
        moved = TabularLearner(case, values).ascent(PPO(smoothing=1.0), all_rows)
        assert np.abs(moved).max() < 1e-10


@pytest.mark.parametrize("beta", [0.05, 0.3, 3.0])
def test_ppo_does_not_move_at_the_tilted_optimum_of_a_large_world(beta):
    case = random_world(4, 4)
    case.logits = micro.tilted_logits(case.world, case.reference, case.rewards, beta)
    draw = draw_of(case, np.arange(len(case.world)))
    for values, smoothing in ((exact_values(case, beta), 0.95), (arbitrary_values(case), 1.0)):
        advantages = generalised(case, draw, values, smoothing, beta)
        moved = weighted_ascent(
            case,
            np.arange(len(case.world)),
            micro.outcome_probs(case.world, case.logits),
            lambda now, draw, a=advantages: losses.clipped_policy(now, draw.logprobs, a, CLIP),
        )
        assert np.abs(moved).max() < 1e-12 * (1 + beta)


def test_another_kl_coefficient_moves_ppo_away_from_the_optimum():
    case = at_the_tilted_optimum(population_world())
    draw = draw_of(case, case.population)
    for coefficient in (0.0, 2 * BETA):
        assert np.abs(TabularLearner(case).ascent(PPO(smoothing=1.0), draw, coefficient)).max() > 0.01


def test_dpo_on_preferences_of_the_reward_stands_still_at_the_tilted_optimum():
    # Labels follow Bradley and Terry: a is chosen over b with chance sigmoid(reward a - reward b).
    case = random_world(2, 3)
    case.logits = micro.tilted_logits(case.world, case.reference, case.rewards, BETA)
    left, right = tuples(np.arange(len(case.world)), 2).T
    wins = 1 / (1 + np.exp(case.rewards[right] - case.rewards[left]))
    probs = micro.outcome_probs(case.world, case.reference)  # any distribution of pairs will do
    weights = tensor(probs[left] * probs[right] * wins)
    logits = tensor(case.logits).requires_grad_()

    def expected_loss(beta):
        now = token_logprobs(case.world, logits, np.arange(len(case.world))).sum(1)
        before = tensor(micro.outcome_logprobs(case.world, case.reference))
        return (weights * losses.dpo(now[left], now[right], before[left], before[right], beta)).sum()

    assert torch.autograd.grad(expected_loss(BETA), logits)[0].abs().max() < 1e-12
    assert torch.autograd.grad(expected_loss(2 * BETA), logits)[0].abs().max() > 1e-3


def test_k1_and_k3_are_unbiased_estimates_of_the_enumerated_kl_and_k2_is_not():
    case = random_world(4, 4)
    draw, probs = draw_of(case, np.arange(341)), micro.outcome_probs(case.world, case.logits)
    exact = kl_divergence(probs, micro.outcome_probs(case.world, case.reference))
    found = {
        kind: float(tensor(probs) @ kl_estimate(draw.logprobs, draw.reference, kind).sum(1))
        for kind in ("k1", "k2", "k3")
    }
    assert found["k1"] == pytest.approx(exact, abs=1e-12)
    assert found["k3"] == pytest.approx(exact, abs=1e-12)
    assert abs(found["k2"] - exact) > 0.05


# c) Finite differences


LOG_RATIOS = tensor([-0.7, -0.1, 0.05, 0.6])  # clipped below, inside, inside, clipped above at clip 0.2
SIGNS = [tensor([1.5, 1.5, 1.5, 1.5]), tensor([-0.8, -0.8, -0.8, -0.8])]
OLD = tensor([-1.0, -2.0, -0.3, -1.2])
REFERENCE = tensor([-1.3, -0.4, -2.0, -1.0])


def holds(function, *inputs):
    """Central differences agree with autograd, in float64, for inputs away from kinks."""
    leaves = [value.clone().requires_grad_() for value in inputs]
    return torch.autograd.gradcheck(function, leaves, eps=1e-6, atol=1e-8, rtol=1e-6)


@pytest.mark.parametrize("advantages", SIGNS, ids=["good", "bad"])
def test_losses_of_the_policy_pass_a_finite_difference_check(advantages):
    now = OLD + LOG_RATIOS
    assert holds(lambda x: losses.policy_gradient(x, advantages), now)
    assert holds(lambda x: losses.clipped_policy(x, OLD, advantages, CLIP), now)
    for coefficient in (0.0, 0.1, 2.0):
        assert holds(lambda x, c=coefficient: losses.grpo(x, OLD, REFERENCE, advantages, CLIP, c), now)


def test_the_loss_of_values_passes_a_finite_difference_check():
    old, returns = tensor([0.0, 0.0, 0.0, 0.0]), tensor([2.0, 2.0, -2.0, 0.1])
    assert holds(lambda x: losses.clipped_value(x, old, returns, 0.5), tensor([1.0, 0.3, 1.0, -0.9]))


@pytest.mark.parametrize("beta", [0.01, 0.1, 5.0])
def test_dpo_passes_a_finite_difference_check(beta):
    assert holds(lambda a, b: losses.dpo(a, b, OLD, REFERENCE, beta), OLD + LOG_RATIOS, REFERENCE - 0.5)


@pytest.mark.parametrize("kind", ["k1", "k2", "k3"])
def test_estimates_of_kl_pass_a_finite_difference_check(kind):
    assert holds(lambda x: kl_estimate(x, REFERENCE, kind), OLD + LOG_RATIOS)


@pytest.mark.parametrize("mean", losses._MEANS)
def test_the_means_over_a_batch_pass_a_finite_difference_check(mean):
    mask = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    assert holds(lambda x: mean_loss(x, mask, mean), tensor(np.random.default_rng(0).normal(size=(3, 3))))


def slope(function, at):
    leaf = at.clone().requires_grad_()
    return torch.autograd.grad(function(leaf).sum(), leaf)[0].tolist()


def test_the_gradient_is_zero_beyond_the_clip_on_the_side_that_the_advantage_asks_for():
    def clipped(advantages):
        return slope(lambda x: losses.clipped_policy(x, OLD, advantages, CLIP), OLD + LOG_RATIOS)

    good, bad = clipped(SIGNS[0]), clipped(SIGNS[1])
    assert good[3] == 0 and all(value < 0 for value in good[:3])
    assert bad[0] == 0 and all(value > 0 for value in bad[1:])
    # At the sampling policy the ratio is 1 and the gradient that of -A log pi.
    assert slope(lambda x: losses.clipped_policy(x, OLD, SIGNS[0], CLIP), OLD) == pytest.approx([-1.5] * 4)


def test_the_value_stops_once_it_has_moved_beyond_its_clip_towards_the_return():
    old = tensor([0.0, 0.0, 0.0])
    returns = tensor([2.0, 2.0, 2.0])
    beyond, inside, away = slope(
        lambda x: losses.clipped_value(x, old, returns, 0.5), tensor([1.0, 0.25, -1.0])
    )
    assert beyond == 0 and inside == pytest.approx(-1.75) and away == pytest.approx(-3.0)


# d) Degenerate batches

METHODS = (Reinforce(), RLOO(), GRPO(), PPO(), OnlineRFT())


@pytest.mark.parametrize("level", [0.0, 0.1, 1000.1, -1e5 / 3])
@pytest.mark.parametrize("n", [1, 2, 3, 7])
def test_a_group_of_equal_rewards_has_no_advantage_in_single_precision_too(n, level):
    rewards = torch.full((2, n), level, dtype=torch.float32)
    assert (group_normalised(rewards) == 0).all()
    assert (leave_one_out(rewards) == (rewards if n == 1 else 0)).all()


def test_methods_stand_still_on_groups_of_equal_rewards():
    case = population_world()
    case.rewards = np.full(7, 0.1)
    draw = draw_of(case, tuples(case.population, 3)[:50], 3)
    learner = TabularLearner(case)
    for method in (Reinforce(), RLOO(), GRPO()):
        assert np.abs(learner.ascent(method, draw, 0.0)).max() < 1e-12
    # PPO cannot know: without values equal rewards look like equal advantages, which whitening takes out.
    assert np.abs(learner.ascent(PPO(smoothing=1.0), draw, 0.0)).max() < 1e-6


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_one_response_to_one_prompt_gives_finite_gradients_of_known_value(method):
    case = population_world()
    draw = draw_of(case, [3])  # two letters
    found = TabularLearner(case).ascent(method, draw, 0.0)
    first, second = gradients_of_log_probability(case)[3]
    towards = first + second
    # No baseline for REINFORCE and RLOO, no spread for GRPO; PPO whitens two advantages to -1 and 1.
    expected = {"Reinforce": case.rewards[3] * towards, "RLOO": case.rewards[3] * towards}
    expected |= {"GRPO": 0 * towards, "OnlineRFT": towards / 2}
    expected |= {"PPO": np.sign(case.rewards[3]) * (second - first) / 2}
    np.testing.assert_allclose(found, expected[type(method).__name__], atol=1e-4)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_responses_of_a_single_token_give_finite_gradients(method):
    case = population_world()
    found = TabularLearner(case).ascent(method, draw_of(case, [0, 0, 0, 0], 2))
    assert np.isfinite(found).all()
    one_token = random_world(3, 1)
    found = TabularLearner(one_token).ascent(method, draw_of(one_token, [0, 1, 2, 3], 2))
    assert np.isfinite(found).all() and np.abs(found).max() > 0


def test_rows_without_tokens_change_nothing_and_stay_finite():
    mask = torch.tensor([[True, True, False], [False, False, False]])
    values, rewards = tensor([[1.0, 2.0, 5.0], [7.0, 8.0, 9.0]]), tensor([3.0, 4.0])
    shaped = token_rewards(rewards, values, mask, 0.5)
    assert shaped.tolist() == [[-0.5, 2.0, 0.0], [0.0, 0.0, 0.0]]  # the second row loses its score
    advantages, returns = gae(shaped, values, mask, 1.0, 0.95)
    assert advantages[1].tolist() == returns[1].tolist() == [0.0, 0.0, 0.0]
    alone = gae(shaped[:1], values[:1], mask[:1], 1.0, 0.95)
    assert advantages[0].tolist() == alone[0][0].tolist() and returns[0].tolist() == alone[1][0].tolist()
    assert whiten(values, mask)[0].tolist() == whiten(values[:1], mask[:1])[0].tolist()
    assert whiten(values, mask)[1].tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_methods_give_rows_without_tokens_no_gradient(method):
    case = population_world()
    draw = draw_of(case, [1, 3, 4, 6], 2)
    for without in (1, 4):
        mask = draw.mask.clone()
        mask[:without] = False
        empty = dataclasses.replace(draw, mask=mask)
        learner = TabularLearner(case)
        objective = method.objective(learner, empty, BETA)
        for rows in ([0], [0, 1, 2, 3]):
            loss = objective.loss_sum(rows) / objective.weight(rows)
            found = torch.autograd.grad(loss, learner.logits)[0]
            assert torch.isfinite(found).all()
            assert bool((found == 0).all()) == (len(rows) <= without)


@pytest.mark.parametrize("mean", losses._MEANS)
def test_a_batch_without_tokens_has_loss_and_gradient_zero(mean):
    leaf = tensor([[-1.0, -2.0]]).requires_grad_()
    mask = torch.zeros(1, 2, dtype=torch.bool)
    loss = mean_loss(losses.policy_gradient(leaf, tensor([[1.0, 1.0]])), mask, mean)
    loss.backward()
    assert float(loss.detach()) == 0 and leaf.grad.tolist() == [[0.0, 0.0]]
    assert whiten(leaf.detach(), mask).tolist() == [[0.0, 0.0]]


def test_whitening_one_place_or_equal_places_stays_finite():
    for values in (tensor([[4.0]]), tensor([[4.0, 4.0], [4.0, 4.0]])):
        mask = torch.ones_like(values, dtype=torch.bool)
        assert whiten(values, mask).unique().tolist() == [0.0]


def test_what_lies_off_the_mask_is_never_seen():
    mask = torch.tensor([[True, True, False, False], [True, False, False, False]])
    clean = tensor(np.where(mask, np.random.default_rng(0).normal(size=(2, 4)), 0.0))
    dirty = torch.where(mask, clean, tensor(1e3))
    scores = tensor([1.0, 2.0])
    assert torch.equal(token_rewards(scores, dirty, mask, 0.3), token_rewards(scores, clean, mask, 0.3))
    assert torch.equal(whiten(dirty, mask), whiten(clean, mask))
    for dirty_part, clean_part in zip(
        gae(dirty, dirty, mask, 0.9, 0.8), gae(clean, clean, mask, 0.9, 0.8), strict=True
    ):
        assert torch.equal(dirty_part, clean_part)
    for mean in losses._MEANS:
        assert float(mean_loss(dirty, mask, mean)) == float(mean_loss(clean, mask, mean))


# e) Monotone transforms of the reward


TRANSFORMS = {
    "affine": lambda r: 3 * r + 1,
    "exponential": lambda r: np.exp(r / 2),
    "cube": lambda r: r**3,
    "squashed": lambda r: np.tanh(r / 4),
}


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_monotone_transforms_leave_best_of_n_as_it_was(name):
    table = scored(prompts=40, n=8)
    rewards = np.array(table["reward"][:])
    other = table.remove_columns("reward").add_column("reward", TRANSFORMS[name](rewards))
    kept, again = (select(t, "best_of_n", seed=0) for t in (table, other))
    assert [kept[c][:] for c in ("prompt_id", "sample_id")] == [
        again[c][:] for c in ("prompt_id", "sample_id")
    ]


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_monotone_transforms_change_the_advantages_of_ppo_and_online_rft_keeps_the_same_rows(name):
    case, other = population_world(), population_world()
    other.rewards = TRANSFORMS[name](case.rewards)
    groups = tuples(case.population, 2)[:60]
    before, after = draw_of(case, groups, 2), draw_of(other, groups, 2)
    assert OnlineRFT().rows(before) == OnlineRFT().rows(after)
    values = tensor(np.zeros(before.mask.shape))
    ppo = PPO(smoothing=1.0)

    def change(kl_coefficient):
        found = [ppo.advantages(draw, values, kl_coefficient)[0] for draw in (before, after)]
        return float((found[0] - found[1]).abs().max())

    assert change(BETA) > 0.01
    # Whitening alone would undo an affine transform; the KL, which is not transformed, gives it away.
    assert (change(0.0) < 1e-6) == (name == "affine")


# f) One coefficient per token


def coefficient_by_autograd(loss, at):
    return -tensor(slope(loss, at))


@functools.cache
def batch():
    """Log-probabilities on all sides of the clip with advantages of both signs and 0, (3, 8)."""
    rng = np.random.default_rng(3)
    old, reference = tensor(-rng.gamma(2.0, 1.0, (2, 3, 8)))
    ratios = tensor(rng.uniform(-0.6, 0.6, (3, 8)))
    advantages = tensor(rng.normal(size=(3, 8)))
    advantages[0, :2] = 0.0
    return old + ratios, old, reference, advantages


def test_the_coefficients_of_next_token_losses_are_those_of_autograd():
    now, _, _, _ = batch()
    kept = torch.tensor([True, False, True])
    assert torch.equal(unified.sft(now), coefficient_by_autograd(lambda x: -x, now))
    expected = coefficient_by_autograd(lambda x: -x[kept], now)
    assert torch.equal(unified.rejection_sampling(now, kept), expected)


def test_the_coefficient_of_the_policy_gradient_is_that_of_autograd():
    now, _, _, advantages = batch()
    expected = coefficient_by_autograd(lambda x: losses.policy_gradient(x, advantages), now)
    torch.testing.assert_close(unified.policy_gradient(now, advantages), expected)
    per_row = advantages[:, :1]
    expected = coefficient_by_autograd(lambda x: losses.policy_gradient(x, per_row), now)
    torch.testing.assert_close(unified.policy_gradient(now, per_row), expected)


def test_the_coefficients_of_ppo_and_grpo_are_those_of_autograd_on_all_sides_of_the_clip():
    now, old, reference, advantages = batch()
    expected = coefficient_by_autograd(lambda x: losses.clipped_policy(x, old, advantages, CLIP), now)
    found = unified.ppo(now, old, advantages, CLIP)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)
    assert 0 < int((found == 0).sum()) < found.numel() - 2
    for coefficient in (0.0, 0.04, 1.0):
        expected = coefficient_by_autograd(
            lambda x, c=coefficient: losses.grpo(x, old, reference, advantages, CLIP, c), now
        )
        found = unified.grpo(now, old, reference, advantages, CLIP, coefficient)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_the_coefficient_of_dpo_is_that_of_autograd_with_a_sign_for_either_side():
    chosen, rejected, before, other = (part[:, 0] for part in batch())
    found = unified.dpo(chosen, rejected, before, other, 0.7)
    up = coefficient_by_autograd(lambda x: losses.dpo(x, rejected, before, other, 0.7), chosen)
    down = coefficient_by_autograd(lambda x: losses.dpo(chosen, x, before, other, 0.7), rejected)
    torch.testing.assert_close(found, up)
    torch.testing.assert_close(-found, down)
    assert (found > 0).all()


def test_a_coefficient_of_booleans_trains_as_its_numbers_do():
    now = torch.tensor([[-1.0, -2.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(unified.surrogate(now, torch.tensor([[True, False]])).sum(), now)
    assert gradient.tolist() == [[-1.0, 0.0]]


def test_the_surrogate_has_its_coefficient_for_a_gradient_even_when_that_depends_on_the_policy():
    now, old, _, advantages = batch()
    expected = unified.ppo(now, old, advantages, CLIP)
    found = coefficient_by_autograd(
        lambda x: unified.surrogate(x, unified.ppo(x, old, advantages, CLIP)), now
    )
    torch.testing.assert_close(found, expected)


UNIFIED = {
    "rloo": (
        RLOO(),
        "rows",
        lambda draw, rows, now, kl: unified.policy_gradient(now, RLOO().advantages(draw, kl)[rows][:, None]),
    ),
    "grpo": (
        GRPO(),
        "sequences",
        lambda draw, rows, now, kl: unified.grpo(
            now, draw.logprobs[rows], draw.reference[rows], GRPO().advantages(draw)[rows][:, None], CLIP, kl
        ),
    ),
    "ppo": (
        PPO(),
        "tokens",
        lambda draw, rows, now, kl: unified.ppo(
            now,
            draw.logprobs[rows],
            PPO().advantages(draw, torch.zeros_like(draw.logprobs), kl)[0][rows],
            CLIP,
        ),
    ),
}


@pytest.mark.parametrize("name", sorted(UNIFIED))
def test_a_method_and_its_coefficient_take_the_same_step_away_from_the_sampling_policy_too(name):
    method, mean, coefficient = UNIFIED[name]
    case = population_world()
    draw = draw_of(case, tuples(case.population, 2)[::7][:30], 2)
    for shift in (0.0, 0.4):
        learner = TabularLearner(case)
        learner.logits = (learner.logits + shift * tensor(case.reference)).detach().requires_grad_()
        found = learner.ascent(unified.Unified(coefficient, mean), draw)
        np.testing.assert_allclose(found, learner.ascent(method, draw), rtol=1e-9, atol=1e-13)
        assert np.abs(found).max() > 1e-3


# Names


def test_an_unknown_mean_and_an_unknown_estimate_are_refused_by_name():
    with pytest.raises(ConfigError, match="k4"):
        kl_estimate(OLD, OLD, "k4")
    with pytest.raises(ConfigError, match="token"):
        mean_loss(OLD[None], torch.ones(1, 4, dtype=torch.bool), "token")
