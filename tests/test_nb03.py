"""Notebook 03: what the catalogue of answers cannot say."""

import itertools

import numpy as np
import pytest

from autograder import exercises
from autograder.checks import drawn_apart
from autograder.exercise import ANSWERED, CheckFailed, Variant, same
from autograder.exercises import nb03_1, nb03_2, nb03_3, nb03_4
from autograder.experiments import nb03
from autograder.handouts import nb03_given
from autograder.keys.questions import pool
from autograder.verdict import grade
from autograder.work import Work
from rslib import theory
from tests.questions_lint import lint

NS = list(nb03.NS)
INTENTS = np.repeat(np.arange(16), 3)


def gold_curve(means, noise=0.3, seed=0):
    """Gold per n and prompt around these means, with a level of its own for each prompt."""
    rng = np.random.default_rng(seed)
    return np.array(means)[:, None] + rng.normal(0, 1, 48) + rng.normal(0, noise, (len(means), 48))


HUMP, FLAT = [-2, 0, 3, 5, 6.2, 6.1, 5.5, 4.8], [-2, 0.5, 3.3, 5.8, 7.3, 8, 8.3, 8.4]


def test_the_definitions_agree_with_the_engine():
    rng = np.random.default_rng(0)
    scores, values = np.round(rng.normal(size=(2, 7)), 0)
    for n in range(1, 8):
        expected = theory.best_of_n_estimate(scores, n, values)[0]
        assert nb03_1.by_enumeration(scores.tolist(), n, values.tolist()) == pytest.approx(expected, abs=1e-6)
    distribution, rewards = rng.dirichlet(np.ones(4)), [0.0, 1.0, 1.0, -1.0]
    expected = theory.best_of_n_probs(distribution, rewards, 3)
    assert same(nb03_2.by_enumeration(distribution.tolist(), rewards, 3), expected, 1e-6)


def test_the_median_of_n_agrees_with_enumeration():
    scores = np.random.default_rng(1).normal(size=(1, 8))
    for n in range(1, 9):
        expected = np.mean([np.median(subset) for subset in itertools.combinations(scores[0], n)])
        assert nb03.median_curve(scores, [n])[0, 0] == pytest.approx(expected)


def test_every_idea_of_an_estimator_differs_from_the_right_value_on_drawn_cases():
    rng = np.random.default_rng(2)
    for _ in range(50):
        scores, n = drawn_apart(
            lambda rng: (nb03_1.some_scores(rng, int(rng.integers(5, 8))), int(rng.integers(2, 4))),
            nb03_1.by_enumeration,
            lambda scores, n: nb03_1.IDEAS.of(nb03_1.subset_slips(scores, n)),
            rng,
            apart=0.01,
        )
        right = nb03_1.by_enumeration(scores, n)
        assert not any(same(value, right, 1e-4) for value in nb03_1.subset_slips(scores, n).values())


def test_a_number_at_random_never_passes_the_code_exercises():
    rng = np.random.default_rng(3)
    for id, names in (("3.1", ["best_of_n_mean"]), ("3.2", ["best_of_n_distribution"])):
        for seed in range(100):
            guess = float(rng.normal()) if id == "3.1" else rng.dirichlet(np.ones(4)).tolist()
            work = Work({name: lambda *a, guess=guess, **k: guess for name in names}, Variant("", "", id))
            assert grade(exercises.find(id), work, seed).points == 0


def test_a_guessed_letter_and_digit_is_right_once_in_sixteen():
    variant = Variant("ada", "", "3.2")
    for question in pool("3.2"):
        labels = [a + d for a in "ABCD" for d in "1234"]
        assert [label for label in labels if label == question.label(variant)] == [question.label(variant)]
        assert (len(question.answers), len(question.reasons)) == (4, 4)


def test_the_questions_pass_the_lint():
    assert lint(pool("3.2")) == []


@pytest.mark.parametrize(
    ("questions", "tier"),
    [(pool("3.2"), "answers"), (pool("3.2"), "reasons"), (pool("4.4"), "reasons")],
)
def test_the_key_is_no_more_often_the_shortest_than_chance_and_a_tenth(questions, tier):
    """Who guesses by length can guess by either end. The verdicts of 4.4 are three words, always the same."""
    options = [getattr(q, tier) for q in questions]
    shortest = [all(len(key.text) < len(o.text) for o in others) for key, *others in options]
    assert sum(shortest) <= 0.35 * len(options)


def arrays_of(gold):
    """Right curves of two reward models whose gold is this; the reward climbs."""
    reward = np.broadcast_to(np.arange(8.0)[:, None], (8, 48))
    return {name: {"reward": reward, "gold": curve} for name, curve in zip(nb03.MODELS, gold, strict=True)}


def honest(curve, clusters=INTENTS, level=0.95, at=None):
    """(difference, low, high) as the notebook asks for it."""
    at = curve.mean(axis=1).argmax() if at is None else at
    low, high = theory.paired_interval(curve[-1], curve[at], clusters=clusters, level=level)
    return NS[at], (float((curve[-1] - curve[at]).mean()), low, high)


def reading(monkeypatch, gold, n_star, fall, no_hump):
    """The verdict of the last part: None, or the check that failed."""
    monkeypatch.setattr(nb03_3, "grade_curves", lambda work, rng: None)
    monkeypatch.setattr(nb03_3, "right_curves", lambda arrays: arrays_of(gold))
    monkeypatch.setattr(nb03_3, "checked", lambda work: dict.fromkeys(nb03.MODELS, (None, None, INTENTS)))
    names = {"n_star": n_star, "fall": fall, "no_hump": no_hump}
    try:
        nb03_3.grade_fall(Work(names, Variant("", "", "3.3")), np.random.default_rng(0))
    except CheckFailed as wrong:
        return wrong.check
    return None


IN_BETWEEN = [*HUMP[:5], 6.2, 6.1, 6.0]


@pytest.mark.parametrize("last", [HUMP, IN_BETWEEN, FLAT], ids=["a hump", "in between", "a plateau"])
@pytest.mark.parametrize("clusters", [INTENTS, None], ids=["over intents", "over prompts"])
def test_an_honest_reading_is_accepted_whatever_the_pool_shows(monkeypatch, last, clusters):
    for seed in range(20):
        gold = [gold_curve(last, 0.8, seed), gold_curve(FLAT, 0.8, seed + 100)]
        found = {name: honest(curve, clusters) for name, curve in zip(nb03.MODELS, gold, strict=True)}
        flat = [name for name, (_, (_, _, high)) in found.items() if high >= 0]
        n_star, fall = ({name: pair[k] for name, pair in found.items()} for k in (0, 1))
        assert reading(monkeypatch, gold, n_star, fall, flat) is None
        rounded = {name: np.round(three, 2) for name, three in fall.items()}
        assert reading(monkeypatch, gold, n_star, rounded, flat) is None


def test_the_two_claims_are_held_against_the_interval(monkeypatch):
    gold = [gold_curve(HUMP), gold_curve(IN_BETWEEN, 0.8, 3)]
    (first, fall), (second, no_fall) = honest(gold[0]), honest(gold[1])
    assert fall[2] < 0 < no_fall[2]
    n_star = {"tiny": first, "tiny-unbiased": second}
    falls = {"tiny": fall, "tiny-unbiased": no_fall}
    for claim in ([], ["tiny"], ["tiny", "tiny-unbiased"]):
        assert reading(monkeypatch, gold, n_star, falls, claim) == nb03_3.HUMP
    assert reading(monkeypatch, gold, n_star, falls, ["tiny-unbiased"]) is None


def test_other_levels_pass_and_one_standard_error_does_not():
    sure = 0
    for seed in range(40):
        curve = gold_curve(HUMP, 0.8, seed)
        n_star, (mean, _, _) = honest(curve)
        right = arrays_of([curve, curve])["tiny"]
        for level in (0.90, 0.99):
            assert nb03_3.check_fall("tiny", honest(curve, level=level)[1], n_star, right, INTENTS)
        error = theory.standard_error(curve[-1] - curve[NS.index(n_star)])
        try:
            nb03_3.check_fall("tiny", (mean, mean - error, mean + error), n_star, right, INTENTS)
        except CheckFailed as wrong:
            sure += "too narrow" in wrong.message
    assert sure >= 36, "an interval of intents can by chance be nearly as narrow as one standard error"


def test_the_peak_and_what_cannot_be_told_from_it_are_accepted_and_the_ends_are_not():
    for seed in range(10):
        accepted = nb03_3.accepted_peaks(gold_curve(HUMP, seed=seed), INTENTS)
        assert 16 in accepted and not {1, 2, 4, 8, 128} & set(accepted)


def test_a_reading_at_random_is_never_right(monkeypatch):
    """Even with right curves and the right peaks: the fall is two numbers to two digits."""
    gold = [gold_curve(HUMP), gold_curve(FLAT)]
    n_star = {name: honest(curve)[0] for name, curve in zip(nb03.MODELS, gold, strict=True)}
    rng = np.random.default_rng(5)
    for _ in range(300):
        falls = {}
        for name in nb03.MODELS:
            mean, half = -rng.uniform(0, 3), rng.uniform(0.05, 1.5)
            falls[name] = (mean, mean - half, mean + half)
        claim = [name for name in nb03.MODELS if rng.random() < 0.5]
        assert reading(monkeypatch, gold, n_star, falls, claim) is not None


def test_the_pool_alone_which_given_code_draws_earns_nothing():
    work = Work({"scored": {"tiny": 1, "tiny-unbiased": 1}, "curves": {}}, Variant("", "", "3.3"))
    verdict = grade(exercises.find("3.3"), work, 0)
    assert verdict.points == 0 and {o.check for o in verdict.outcomes} == {ANSWERED}


def test_every_learner_gets_a_pool_of_their_own():
    seeds = {nb03_given.pool(Variant(str(k), "", "3.3"))["seed"] for k in range(50)}
    assert len(seeds) >= 49


# 3.4: the tables are compared exactly with the learner's own rewards


@pytest.fixture
def sweep_work(monkeypatch):
    """sweep_work(**changes): right answers to 3.4 on made-up rewards, which drawing again would give."""
    rng = np.random.default_rng(4)
    temperatures = nb03.TEMPERATURES
    level, spread = (
        rng.normal(0, 1, (32, 1)) + rng.normal(0, 0.5, (1, 32)),
        rng.gamma(0.5, 6.0, (32, 32)),
    )  # skewed: a mean is no median
    drawn = {
        t: level + k % 3 + (1 + k / 4) * rng.permuted(spread, axis=1) for k, t in enumerate(temperatures)
    }
    monkeypatch.setattr(
        nb03_4, "sweep_rewards", lambda rows, seed: {t: r[list(rows)] for t, r in drawn.items()}
    )
    monkeypatch.setattr(nb03_4, "_DRAWN", set())

    def work(**changes):
        tables = {name: nb03_4.right_table(drawn, name) for name in ("max", "median")}
        sweep = {
            t: {name: rows[k].tolist() for name, rows in tables.items()} for k, t in enumerate(temperatures)
        }
        best = temperatures[int(tables["max"][:, nb03.SWEEP_NS.index(16)].argmax())]
        names = {"rewards_at": drawn, "sweep": sweep, "best_temperature": best} | changes
        return Work(names, Variant("", "", "3.4"))

    work.drawn = drawn
    return work


def points(work):
    return [o.points for o in grade(exercises.find("3.4"), work, 0).outcomes]


def test_every_wrong_idea_of_3_4_has_a_table_of_its_own(sweep_work):
    for name in ("max", "median"):
        tables = {"right": nb03_4.right_table(sweep_work.drawn, name)}
        tables |= nb03_4.table_slips(sweep_work.drawn, name)
        for first, second in itertools.combinations(tables, 2):
            assert not same(tables[first], tables[second], nb03_4.ROUNDED), (name, first, second)


def test_3_4_wants_the_numbers_of_the_learners_own_rewards(sweep_work):
    assert points(sweep_work()) == [1, 1, 1]
    rounded = {
        t: {k: np.round(row, 2) for k, row in s.items()} for t, s in sweep_work().value("sweep").items()
    }
    assert points(sweep_work(sweep=rounded)) == [1, 1, 1]
    for off in (0.3, 0.1, -0.1):
        moved = {
            t: {k: np.add(row, off) for k, row in s.items()} for t, s in sweep_work().value("sweep").items()
        }
        assert points(sweep_work(sweep=moved)) == [0, 0, 0], off
    for name in ("max", "median"):
        for idea, table in nb03_4.table_slips(sweep_work.drawn, name).items():
            sweep = sweep_work().value("sweep")
            for row, t in zip(table, nb03.TEMPERATURES, strict=True):
                sweep[t][name] = row
            assert points(sweep_work(sweep=sweep)) == ([0, 1, 0] if name == "max" else [1, 0, 1]), idea


def test_3_4_draws_some_of_the_rewards_again(sweep_work):
    other = {t: r + 0.2 for t, r in sweep_work.drawn.items()}
    sweep = {t: {} for t in other}
    for name in ("max", "median"):
        for row, t in zip(nb03_4.right_table(other, name), nb03.TEMPERATURES, strict=True):
            sweep[t][name] = row
    verdict = grade(exercises.find("3.4"), sweep_work(rewards_at=other, sweep=sweep), 0)
    assert verdict.points == 0 and {o.check for o in verdict.outcomes} == {nb03_4.POOL}


@pytest.mark.parametrize(
    "odd", [{0.3: "a"}, {0.3: [[1.0], [1.0, 2.0]]}, {0.3: None}, 3, "x", [1], {0.3: [float("nan")] * 6}]
)
@pytest.mark.parametrize("name", ["rewards_at", "sweep", "best_temperature"])
def test_an_odd_answer_to_3_4_gets_a_sentence(sweep_work, name, odd):
    verdict = grade(exercises.find("3.4"), sweep_work(**{name: odd}), 0)
    assert ANSWERED in {o.check for o in verdict.outcomes}
    assert not any("The check stopped" in o.message for o in verdict.outcomes)


def test_what_3_4_hands_out_is_what_is_graded():
    found = nb03_given.sweep(Variant("ada", "", "3.4"))
    assert found["temperatures"] == list(nb03.TEMPERATURES) and found["ns"] == list(nb03.SWEEP_NS)


class RoundedUp(np.random.Generator):
    """A generator whose first distribution is rounded to more than 1 before its last response."""

    def dirichlet(self, alpha):
        self.dirichlet = super().dirichlet
        return np.array([0.2151, 0.2151, 0.2151, 0.3546, 0.0001])


def test_a_drawn_policy_is_a_probability_distribution_also_where_rounding_leaves_less_than_nothing():
    probs, _, _ = nb03_2.some_policy(RoundedUp(np.random.PCG64(0)))
    assert min(probs) > 0.03 and abs(sum(probs) - 1) < 1e-9
