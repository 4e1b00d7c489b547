"""Notebook 03: what the catalogue of answers cannot say."""

import itertools

import numpy as np
import pytest

from autograder import choice, exercises
from autograder.exercise import Variant, same
from autograder.exercises import nb03_1, nb03_2, nb03_3, nb03_4
from autograder.experiments import nb03
from autograder.verdict import grade
from autograder.work import Work
from rslib import theory

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
        assert nb03_1.by_enumeration(scores.tolist(), n, values.tolist()) == pytest.approx(expected)
    law, rewards = rng.dirichlet(np.ones(4)), [0.0, 1.0, 1.0, -1.0]
    expected = theory.exact_best_of_n_law(law, rewards, 3)
    assert same(nb03_2.by_enumeration(law.tolist(), rewards, 3), expected, 1e-12)


def test_the_median_of_n_agrees_with_enumeration():
    scores = np.random.default_rng(1).normal(size=(1, 8))
    for n in range(1, 9):
        expected = np.mean([np.median(subset) for subset in itertools.combinations(scores[0], n)])
        assert nb03.median_curve(scores, [n])[0, 0] == pytest.approx(expected)


def test_every_idea_of_an_estimator_differs_from_the_right_value_on_drawn_cases():
    rng = np.random.default_rng(2)
    for _ in range(50):
        scores, n = nb03_1.separated(
            lambda: (nb03_1._pool(rng, int(rng.integers(5, 8))), int(rng.integers(2, 4))),
            nb03_1._wrong_values,
            nb03_1.by_enumeration,
        )
        right = nb03_1.by_enumeration(scores, n)
        assert not any(same(idea.value, right, 1e-4) for idea in nb03_1._wrong_values(scores, n))


def test_a_number_at_random_never_passes_the_code_exercises():
    rng = np.random.default_rng(3)
    for id, names in (("3.1", ["best_of_n_mean"]), ("3.2", ["best_of_n_law"])):
        for seed in range(100):
            guess = float(rng.normal()) if id == "3.1" else rng.dirichlet(np.ones(4)).tolist()
            work = Work({name: lambda *a, guess=guess, **k: guess for name in names}, Variant("", "", id))
            assert grade(exercises.find(id), work, seed).points == 0


def test_a_guessed_letter_and_digit_is_right_once_in_sixteen():
    variant = Variant("ada", "", "3.2")
    for question in nb03_2.QUESTIONS:
        labels = [a + d for a in "ABCD" for d in "1234"]
        assert [label for label in labels if label == question.label(variant)] == [question.label(variant)]
        assert (len(question.answers), len(question.reasons)) == (4, 4)


def test_the_questions_pass_the_lint():
    assert choice.lint(nb03_2.QUESTIONS) == []


def test_a_clear_hump_is_seen_and_sure_and_a_plateau_is_neither():
    for seed in range(10):
        assert nb03_3.fall(gold_curve(HUMP, seed=seed), INTENTS) == (True, True)
        assert nb03_3.fall(gold_curve(FLAT, seed=seed), INTENTS)[1] is False


def test_where_the_data_are_in_between_both_claims_are_open():
    found = [nb03_3.fall(gold_curve([*HUMP[:5], 6.2, 6.1, 6.0], 0.8, seed), INTENTS) for seed in range(60)]
    assert (True, False) in found, "a fall that is seen but not sure: either reading is accepted"
    assert (False, True) not in found, "a sure fall that is not seen would leave no right answer"


def test_an_honest_reading_by_the_engines_interval_is_always_accepted():
    """The learner's rule is the sign of a 95 % interval; the grader refuses only beyond 90 % and 99 %."""
    for seed in range(60):
        curve = gold_curve([*HUMP[:5], 6.2, 6.1, 6.0], 0.8, seed)
        seen, sure = nb03_3.fall(curve, INTENTS)
        last, peak = curve[-1], curve[curve.mean(axis=1).argmax()]
        says_fall = theory.paired_interval(last, peak, clusters=INTENTS)[1] < 0
        assert seen if says_fall else not sure


def test_the_peak_and_what_cannot_be_told_from_it_are_accepted_and_the_ends_are_not():
    for seed in range(10):
        accepted = nb03_3.accepted_peaks(gold_curve(HUMP, seed=seed), INTENTS)
        assert 16 in accepted and not {1, 2, 4, 8, 128} & set(accepted)


def test_a_reading_at_random_needs_right_curves_and_is_then_seldom_right():
    """Without right curves the part is lost; with them, a guess of everything is right 1 time in 25."""
    curves = [gold_curve(HUMP), gold_curve(FLAT)]
    peaks = [len(nb03_3.accepted_peaks(curve, INTENTS)) / len(NS) for curve in curves]
    claims = [1.0 if (seen and not sure) else 0.5 for seen, sure in (nb03_3.fall(c, INTENTS) for c in curves)]
    assert np.prod(peaks) * np.prod(claims) <= 0.04


def test_every_learner_gets_a_pool_of_their_own():
    seeds = {nb03_3.given(Variant(str(k), "", "3.3"))["seed"] for k in range(50)}
    assert len(seeds) >= 49


def test_an_equal_table_agrees_perfectly_and_one_of_equal_numbers_not_at_all():
    rng = np.random.default_rng(4)
    hidden = {t: rng.normal(t, 1, (16, 32)) for t in nb03.TEMPERATURES}
    table = nb03.sweep_table(hidden)
    flat = {t: {"max": [1.0] * 6, "median": [1.0] * 6} for t in nb03.TEMPERATURES}
    assert nb03.agreement(table, hidden, "max") == pytest.approx(1.0)
    assert nb03.agreement(flat, hidden, "max") == pytest.approx(0.0)
    best = max(nb03.TEMPERATURES, key=lambda t: nb03.choice_value(t, hidden))
    assert nb03.choice_value(best, hidden) == 0.0


def test_the_hidden_prompts_are_none_of_the_notebooks():
    for seed in range(20):
        rows = nb03.hidden_rows(np.random.default_rng(seed))
        assert len(rows) == nb03.HIDDEN_PROMPTS and min(rows) >= 200


def test_what_3_4_hands_out_is_what_is_graded():
    found = nb03_4.given(Variant("ada", "", "3.4"))
    assert found["temperatures"] == list(nb03.TEMPERATURES) and found["ns"] == list(nb03.SWEEP_NS)
