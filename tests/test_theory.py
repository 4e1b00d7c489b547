"""What theory promises: probabilities against enumeration, estimates against brute force, intervals.

Statistical tests fix their seeds and state the false-alarm rate that they would have with a random seed.
"""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest

from rslib import theory
from rslib.errors import ConfigError, DataError, RewardError


def mean_of_the_best(rewards, values, n):
    """The definition: over all subsets of n, the mean value of those that tie for the highest reward."""
    found = []
    for subset in itertools.combinations(range(len(rewards)), n):
        chosen = np.array(subset)
        best = chosen[rewards[chosen] == rewards[chosen].max()]
        found.append(values[best].mean())
    return float(np.mean(found))


def probs_by_enumeration(probs, rewards, n):
    """The definition: each sequence of n draws gives its probability to the indices that tie for best."""
    distribution = np.zeros(len(probs))
    for draws in itertools.product(range(len(probs)), repeat=n):
        chosen = np.array(draws)
        best = chosen[rewards[chosen] == rewards[chosen].max()]
        np.add.at(distribution, best, math.prod(probs[chosen]) / len(best))
    return distribution


# Estimates from a pool


@pytest.mark.parametrize("n", [1, 2, 3, 6, 7])
def test_the_estimate_is_the_mean_over_all_subsets_with_and_without_ties(n):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 7))
    for rewards in (rng.normal(size=(20, 7)), rng.integers(0, 3, (20, 7)).astype(float), np.zeros((20, 7))):
        expected = [mean_of_the_best(r, v, n) for r, v in zip(rewards, values, strict=True)]
        np.testing.assert_allclose(theory.best_of_n_estimate(rewards, n, values), expected, atol=1e-12)


def test_with_one_draw_the_estimate_is_the_mean_and_with_all_it_is_the_maximum():
    rewards = np.random.default_rng(1).normal(size=(5, 9))
    np.testing.assert_allclose(theory.best_of_n_estimate(rewards, 1), rewards.mean(axis=1))
    np.testing.assert_allclose(theory.best_of_n_estimate(rewards, 9), rewards.max(axis=1))


def test_when_all_rewards_tie_the_estimate_is_the_mean_value_for_every_n():
    values = np.arange(8.0)
    for n in range(1, 9):
        assert theory.best_of_n_estimate(np.zeros(8), n, values) == pytest.approx(3.5)


@pytest.mark.parametrize("pool, n", [(256, 2), (256, 64), (256, 256), (1000, 500), (1000, 999)])
def test_rank_weights_equal_binomial_fractions_for_large_pools(pool, n):
    exact = [Fraction(math.comb(k - 1, n - 1), math.comb(pool, n)) for k in range(1, pool + 1)]
    np.testing.assert_allclose(
        theory.rank_weights(pool, n), [float(w) for w in exact], rtol=1e-10, atol=1e-300
    )


def test_rank_weights_of_a_huge_pool_still_sum_to_one():
    for n in (1, 7, 5000, 100_000):
        assert theory.rank_weights(100_000, n).sum() == pytest.approx(1.0, abs=1e-9)


def test_the_estimate_is_unbiased_where_resampling_with_replacement_is_not():
    # Rewards are uniform on (0, 1): the best of 8 has mean 8/9. 40 000 pools of 16; false-alarm rate of the
    # 5-standard-error bounds 6e-7.
    rewards = np.random.default_rng(2).random((40_000, 16))
    estimate = theory.best_of_n_estimate(rewards, 8)
    assert abs(estimate.mean() - 8 / 9) < 5 * theory.standard_error(estimate)
    ranks = np.arange(1, 17)
    with_replacement = np.sort(rewards, axis=1) @ ((ranks / 16) ** 8 - ((ranks - 1) / 16) ** 8)
    assert with_replacement.mean() - 8 / 9 < -5 * theory.standard_error(with_replacement)


def test_the_estimate_is_less_noisy_than_the_best_of_the_first_n():
    rewards = np.random.default_rng(3).normal(size=(4000, 64))
    assert theory.best_of_n_estimate(rewards, 16).std() < 0.6 * rewards[:, :16].max(axis=1).std()


def test_the_expected_reward_never_falls_with_n_but_a_value_that_rewards_miss_can():
    rewards = np.random.default_rng(4).normal(size=(50, 32))
    curve = theory.best_of_n_curve(rewards, range(1, 33)).mean(axis=1)
    assert (np.diff(curve) > 0).all()
    assert (np.diff(theory.best_of_n_curve(rewards, range(1, 33), -rewards).mean(axis=1)) < 0).all()


def test_only_the_order_of_rewards_matters_when_values_are_given():
    rng = np.random.default_rng(5)
    rewards, values = rng.normal(size=(6, 12)), rng.normal(size=(6, 12))
    before = theory.best_of_n_estimate(rewards, 4, values)
    np.testing.assert_array_equal(before, theory.best_of_n_estimate(np.exp(rewards) * 7 - 2, 4, values))


def test_permuting_the_responses_of_a_pool_changes_nothing():
    rng = np.random.default_rng(6)
    rewards, values = rng.integers(0, 4, (6, 12)).astype(float), rng.normal(size=(6, 12))
    order = rng.permutation(12)
    before = theory.best_of_n_estimate(rewards, 5, values)
    np.testing.assert_allclose(before, theory.best_of_n_estimate(rewards[:, order], 5, values[:, order]))


@pytest.mark.parametrize("n", [0, -1, 4, 1.5])
def test_an_n_that_the_pool_cannot_give_is_refused(n):
    with pytest.raises(ConfigError, match=f"n is {n}"):
        theory.best_of_n_estimate([[1.0, 2.0, 3.0]], n)


def test_nan_and_infinite_rewards_are_refused_with_their_place():
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(RewardError, match=r"1 of 4(.|\n)*rewards\[1, 0\]"):
            theory.best_of_n_estimate([[1.0, 2.0], [bad, 3.0]], 1)


@pytest.mark.parametrize("values", [[[1.0, 2.0, 3.0]], [[1.0], [2.0]]])
def test_values_of_another_shape_are_refused(values):
    with pytest.raises(DataError, match="shape"):
        theory.best_of_n_estimate([[1.0, 2.0]], 1, values)


# Exact distributions


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_distribution_of_best_of_n_equals_enumeration_of_all_draws(n):
    rng = np.random.default_rng(7)
    for rewards in ([0.0, 1.0, 1.0, 2.0], [3.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0]):
        probs = rng.dirichlet(np.ones(4))
        distribution = theory.best_of_n_probs(probs, rewards, n)
        np.testing.assert_allclose(
            distribution, probs_by_enumeration(probs, np.array(rewards), n), atol=1e-12
        )


def test_a_response_without_probability_is_never_kept():
    assert theory.best_of_n_probs([0.0, 0.5, 0.5, 0.0], [9.0, 1.0, 0.0, -9.0], 3).tolist()[::3] == [0, 0]


def test_the_distribution_keeps_its_digits_where_a_response_is_very_rare():
    distribution = theory.best_of_n_probs([1 - 1e-15, 1e-15], [0.0, 1.0], 1000)
    assert distribution[1] == pytest.approx(1e-12, rel=1e-3)


def test_the_kl_bound_is_reached_by_many_distinct_responses_and_far_off_for_two():
    uniform = np.full(20_000, 1 / 20_000)
    distribution = theory.best_of_n_probs(uniform, np.arange(20_000), 16)
    assert theory.kl_divergence(distribution, uniform) == pytest.approx(theory.kl_of_best_of_n(16), abs=1e-3)
    binary = [0.7, 0.3]
    distribution = theory.best_of_n_probs(binary, [0.0, 1.0], 1024)
    assert theory.kl_divergence(distribution, binary) == pytest.approx(1.204, abs=1e-3)
    assert theory.kl_of_best_of_n(1024) == pytest.approx(5.932, abs=1e-3)


def test_the_kl_and_the_win_rate_never_exceed_their_bounds():
    rng = np.random.default_rng(8)
    for _ in range(100):
        size, n = int(rng.integers(2, 9)), int(rng.integers(1, 40))
        probs, rewards = rng.dirichlet(np.ones(size)), rng.integers(0, 5, size).astype(float)
        distribution = theory.best_of_n_probs(probs, rewards, n)
        wins = (rewards[:, None] > rewards[None, :]) + 0.5 * (rewards[:, None] == rewards[None, :])
        assert theory.kl_divergence(distribution, probs) <= theory.kl_of_best_of_n(n) + 1e-12
        assert distribution @ wins @ probs <= n / (n + 1) + 1e-12


def test_two_rounds_of_sixteen_are_one_best_of_256():
    probs, rewards = np.random.default_rng(9).dirichlet(np.ones(30)), np.arange(30.0)
    once = theory.best_of_n_probs(probs, rewards, 16)
    twice = theory.best_of_n_probs(once, rewards, 16)
    direct = theory.best_of_n_probs(probs, rewards, 16**2)
    np.testing.assert_allclose(twice, direct, atol=1e-12)


def test_the_tilted_distribution_beats_every_other_distribution_at_its_own_objective():
    rng = np.random.default_rng(10)
    probs, rewards, beta = rng.dirichlet(np.ones(6)), rng.normal(size=6), 0.7

    def objective(distribution):
        return distribution @ rewards - beta * theory.kl_divergence(distribution, probs)

    best = objective(theory.tilted_optimum(probs, rewards, beta))
    rivals = [theory.best_of_n_probs(probs, rewards, n) for n in (1, 2, 4, 16)]
    assert best > max(
        objective(distribution) for distribution in (*rivals, *rng.dirichlet(np.ones(6), size=200))
    )


def test_the_tilted_distribution_survives_rewards_that_would_overflow():
    assert theory.tilted_optimum([0.5, 0.5, 0.0], [0.0, 5000.0, 1e9], 1.0).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("probs", [[0.5, 0.6], [-0.1, 1.1], [math.nan, 1.0], [[0.5, 0.5]], []])
def test_what_is_no_distribution_is_refused(probs):
    with pytest.raises(DataError, match="no distribution"):
        theory.kl_divergence(probs, [0.5, 0.5])


@pytest.mark.parametrize("beta", [0.0, -1.0, math.inf, math.nan])
def test_a_beta_that_is_not_positive_and_finite_is_refused(beta):
    with pytest.raises(ConfigError, match="beta is"):
        theory.tilted_optimum([0.5, 0.5], [0.0, 1.0], beta)


# Uncertainty


def test_the_standard_error_is_the_sample_deviation_over_the_root_of_the_number():
    values = np.random.default_rng(11).normal(size=37)
    assert theory.standard_error(values) == pytest.approx(values.std(ddof=1) / math.sqrt(37))
    assert theory.standard_error(values, clusters=np.arange(37)) == pytest.approx(
        theory.standard_error(values)
    )


def test_copying_every_prompt_does_not_shrink_a_clustered_interval():
    values = np.random.default_rng(12).normal(size=40)
    copies, names = np.repeat(values, 10), np.repeat([f"intent {i}" for i in range(40)], 10)
    assert theory.standard_error(copies, clusters=names) == pytest.approx(theory.standard_error(values))
    assert theory.standard_error(copies) < 0.4 * theory.standard_error(values)
    low, high = theory.bootstrap_interval(copies, clusters=names, seed=1)
    assert (high - low) == pytest.approx(np.diff(theory.bootstrap_interval(values, seed=1))[0], rel=0.1)


@pytest.mark.parametrize("size", [8, 40])
def test_a_95_percent_interval_covers_the_truth_about_95_times_in_100(size):
    # 2000 intervals; 5 binomial standard errors are 2.8 points, so 90.5 to 98.5 % has a false-alarm rate
    # below 1e-6 for a true coverage of 93.3 to 96 %. Plain percentiles cover less than 90 % for 8 values.
    rng = np.random.default_rng(size)
    hits = 0
    for seed in range(2000):
        low, high = theory.bootstrap_interval(rng.normal(size=size), seed=seed, draws=500)
        hits += low <= 0 <= high
    assert 0.905 < hits / 2000 < 0.985


def test_clusters_of_unequal_size_are_covered_as_well():
    # Prompts of one cluster share an effect, so the plain interval covers far less. 5 binomial standard
    # errors of 1000 intervals are 4 points: false-alarm rate below 1e-6 for a true coverage of 93 to 96 %.
    rng = np.random.default_rng(13)
    names = np.repeat(np.arange(20), rng.integers(1, 9, 20))
    hits = plain = 0
    for seed in range(1000):
        values = rng.normal(size=20)[names] + 0.3 * rng.normal(size=len(names))
        low, high = theory.bootstrap_interval(values, clusters=names, seed=seed, draws=500)
        hits += low <= 0 <= high
        low, high = theory.bootstrap_interval(values, seed=seed, draws=500)
        plain += low <= 0 <= high
    assert 0.89 < hits / 1000 < 0.995
    assert plain / 1000 < 0.80


def test_the_same_seed_gives_the_same_interval_and_a_higher_level_a_wider_one():
    values = np.random.default_rng(14).normal(size=50)
    assert theory.bootstrap_interval(values, seed=3) == theory.bootstrap_interval(values, seed=3)
    assert theory.bootstrap_interval(values, seed=3) != theory.bootstrap_interval(values, seed=4)
    inner, outer = (theory.bootstrap_interval(values, level=level) for level in (0.8, 0.99))
    assert outer[0] < inner[0] < values.mean() < inner[1] < outer[1]


def test_pairing_takes_out_what_both_arms_share():
    rng = np.random.default_rng(15)
    hardness = 10 * rng.normal(size=200)
    first, second = hardness + 1 + 0.1 * rng.normal(size=200), hardness + 0.1 * rng.normal(size=200)
    low, high = theory.paired_interval(first, second)
    assert 0.9 < low < 1 < high < 1.1
    assert np.diff(theory.bootstrap_interval(first))[0] > 10 * (high - low)


def test_one_prompt_or_one_cluster_alone_has_no_interval():
    assert np.isnan(theory.bootstrap_interval([3.0])).all()
    assert np.isnan(theory.bootstrap_interval([3.0, 4.0], clusters=[1, 1])).all()
    assert math.isnan(theory.standard_error([3.0]))


def test_equal_values_have_an_interval_without_width():
    assert theory.bootstrap_interval([0.1] * 30) == pytest.approx((0.1, 0.1), abs=1e-15)


@pytest.mark.parametrize("values", [[], [1.0, math.nan], [[1.0, 2.0]]])
def test_values_that_are_missing_nan_or_no_row_are_refused(values):
    with pytest.raises(DataError):
        theory.bootstrap_interval(values)


def test_settings_out_of_range_are_refused():
    for options in ({"level": 0.0}, {"level": 95}, {"draws": 10}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            theory.bootstrap_interval([1.0, 2.0], **options)
    with pytest.raises(ConfigError, match="n is 0"):
        theory.kl_of_best_of_n(0)


# The KL of best-of-n from the log-probabilities of what was kept


def exact_and_estimated(probs, rewards, n):
    """The KL of the exact distribution, and the estimator's expectation under it; certain outcomes only."""
    distribution = theory.best_of_n_probs(probs, rewards, n)
    kept = distribution > 0
    estimates = theory.kl_of_best_of_n_estimate(np.log(np.asarray(probs)[kept]), n)
    return theory.kl_divergence(distribution, probs), float(distribution[kept] @ estimates)


def test_the_estimator_gives_the_published_comparison():
    exact, estimated = exact_and_estimated(np.full(10, 0.1), np.arange(10.0), 16)
    assert (round(exact, 3), round(estimated, 3)) == (1.733, 1.756)
    exact, estimated = exact_and_estimated([0.5, 0.5], [0.0, 1.0], 64)
    assert (round(exact, 3), round(estimated, 3)) == (0.693, 0.693)


@pytest.mark.parametrize("n", [1, 2, 16, 256])
def test_the_estimator_lies_no_further_from_the_exact_kl_than_the_bound(n):
    rng = np.random.default_rng(n)
    for size in (2, 3, 10, 200):
        probs = rng.dirichlet(np.ones(size))
        exact, estimated = exact_and_estimated(probs, rng.permutation(float(size) * np.arange(size)), n)
        assert abs(estimated - exact) <= abs(theory.kl_of_best_of_n(n) - exact) + 1e-12


def test_the_estimator_meets_its_limits():
    for n in (1, 7, 1000):
        limits = theory.kl_of_best_of_n_estimate([0.0, -5000.0, -800.0], n)
        np.testing.assert_allclose(limits, [0.0, *[theory.kl_of_best_of_n(n)] * 2], atol=1e-12)


@pytest.mark.parametrize("logprobs", [[0.1], [math.nan], [-math.inf]])
def test_what_is_no_log_probability_is_refused(logprobs):
    with pytest.raises(DataError):
        theory.kl_of_best_of_n_estimate(logprobs, 4)


# Right and wrong conclusions


@pytest.mark.parametrize("k", [1, 2, 5, 6])
def test_pass_and_majority_are_means_over_all_subsets(k):
    rng = np.random.default_rng(k)
    conclusions = rng.integers(0, 3, (30, 6))
    correct = conclusions == rng.integers(0, 3, (30, 1))
    for row, right, passed, majority in zip(
        conclusions,
        correct,
        theory.pass_at_k(correct, k),
        theory.majority_at_k(conclusions, correct, k),
        strict=True,
    ):
        subsets = [np.array(chosen) for chosen in itertools.combinations(range(6), k)]
        assert passed == pytest.approx(np.mean([right[chosen].any() for chosen in subsets]), abs=1e-12)
        won = []
        for chosen in subsets:
            votes = np.bincount(row[chosen], minlength=3)
            first = np.flatnonzero(votes == votes.max())
            won.append(np.mean([right[row == conclusion].any() for conclusion in first]))
        assert majority == pytest.approx(np.mean(won), abs=1e-12)


def test_with_all_responses_the_majority_is_that_of_the_pool():
    conclusions, correct = [["a", "a", "b"], ["a", "b", "b"]], [[1, 1, 0], [1, 0, 0]]
    assert theory.majority_at_k(conclusions, correct, 3).tolist() == [1.0, 0.0]


def test_more_draws_than_responses_and_contradictions_are_refused():
    with pytest.raises(ConfigError):
        theory.pass_at_k([[1, 0]], 3)
    with pytest.raises(DataError):
        theory.majority_at_k([["a", "b"]], [[1, 0]], 3)
    with pytest.raises(DataError, match="right in one place"):
        theory.majority_at_k([["a", "a"]], [[1, 0]], 2)
    with pytest.raises(DataError, match="other numbers than 0 and 1"):
        theory.pass_at_k([[0.5, 1]], 1)


@pytest.mark.parametrize(
    "estimate", [theory.pass_at_k, theory.best_of_n_estimate, theory.best_of_poisson_estimate]
)
@pytest.mark.parametrize("pool", [[[1, 0], [1]], [["a", "b"]], [[None], [1, 0]], [], 1.0])
def test_pools_of_unequal_length_and_without_numbers_are_refused_in_a_sentence(estimate, pool):
    if pool == 1.0:
        assert estimate(pool, 1).tolist() == [1.0]  # one response of one prompt
        return
    with pytest.raises(DataError, match="rows of one length|not empty"):
        estimate(pool, 1)


@pytest.mark.parametrize("n", [math.nan, math.inf, "2", None, 1.5])
def test_an_n_that_is_no_whole_number_is_refused_in_a_sentence(n):
    with pytest.raises(ConfigError, match="whole number"):
        theory.best_of_n_estimate([[1.0, 2.0]], n)
    with pytest.raises(ConfigError, match="whole number"):
        theory.kl_of_best_of_n(n)


# Poisson, pessimism, tuning


def test_best_of_poisson_is_the_mixture_over_its_counts():
    rng = np.random.default_rng(4)
    rewards, values = rng.normal(size=(2, 8, 6))
    counts = 1 + np.minimum(rng.poisson(1.3, 200_000), 5)
    chances = np.bincount(counts, minlength=7)[1:] / len(counts)
    expected = chances @ theory.best_of_n_curve(rewards, range(1, 7), values)
    # 200,000 draws of a count: a false alarm needs a share off by more than 6 of its standard errors.
    np.testing.assert_allclose(theory.best_of_poisson_estimate(rewards, 1.3, values), expected, atol=0.02)


def test_best_of_poisson_comes_close_to_the_tilted_optimum():
    """Uniform rewards: its density at quantile x is (1 + mu x) exp(mu (x - 1)), the optimum's exponential."""
    size, mu = 400, 3.0
    distribution = np.array(
        [theory.best_of_poisson_estimate(np.arange(float(size)), mu, row)[0] for row in np.eye(size)]
    )
    x = (np.arange(size) + 0.5) / size
    np.testing.assert_allclose(distribution * size, (1 + mu * x) * np.exp(mu * (x - 1)), rtol=0.02)


@pytest.mark.parametrize("beta", [0.01, 0.5, 3.0, 50.0])
def test_no_distribution_does_better_by_the_pessimistic_objective(beta):
    rng = np.random.default_rng(0)

    def objective(distribution, probs, rewards):
        return distribution @ rewards - beta / 2 * ((distribution**2 / probs).sum() - 1)

    for _ in range(20):
        probs, rewards = rng.dirichlet(np.ones(6)), rng.normal(size=6).round(1)
        best = theory.pessimistic_optimum(probs, rewards, beta)
        assert best.sum() == pytest.approx(1, abs=1e-12) and (best >= 0).all()
        rivals = [best + 0.1 * (other - best) for other in rng.dirichlet(np.ones(6), 50)]
        rivals += [
            probs,
            theory.best_of_n_probs(probs, rewards, 4),
            theory.tilted_optimum(probs, rewards, 1),
        ]
        assert all(
            objective(best, probs, rewards) >= objective(distribution, probs, rewards) - 1e-12
            for distribution in rivals
        )


def test_pessimism_leaves_out_what_the_policy_never_says_and_survives_ties():
    distribution = theory.pessimistic_optimum([0.0, 0.5, 0.5], [9.0, 1.0, 1.0], beta=1.0)
    np.testing.assert_allclose(distribution, [0.0, 0.5, 0.5], atol=1e-12)
    assert theory.pessimistic_optimum([1.0], [-3.0], beta=1e-9).tolist() == [1.0]


def test_n_is_tuned_to_the_highest_value_and_ties_go_to_the_cheapest():
    rewards = np.tile(np.arange(8.0), (5, 1))
    assert theory.tuned_n(rewards, rewards, [1, 2, 4, 8]) == 8
    assert theory.tuned_n(rewards, -rewards, [1, 2, 4, 8]) == 1
    assert theory.tuned_n(rewards, np.ones((5, 8)), [2, 4]) == 2
    assert theory.tuned_n(rewards, np.where(rewards == 7, -1.0, rewards), [1, 2, 4, 8]) == 2
