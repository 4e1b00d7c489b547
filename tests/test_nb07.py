"""Notebook 07: what its catalogue cannot say."""

import itertools

import numpy as np
import pytest

from autograder import exercises
from autograder.exercise import CheckFailed, Variant
from autograder.exercises import nb07_1, nb07_2
from autograder.handouts import nb07_3, nb07_methods, nb07_results
from autograder.keys import nb07_3 as keys
from autograder.verdict import grade
from autograder.work import Work
from docs.studies.arena import notebook
from rslib.intervals import CONTRADICTED, OPEN, SUPPORTED


def test_the_comparisons_are_those_of_the_committed_results():
    found = notebook.cut(*notebook.sources())
    assert found == nb07_results.content(), "run: python -m docs.studies.arena.notebook"


@pytest.mark.parametrize("truth", [SUPPORTED, OPEN, CONTRADICTED])
@pytest.mark.parametrize("kind", range(len(nb07_1.KINDS)))
def test_the_truth_of_a_drawn_table_is_what_a_right_interval_finds(kind, truth):
    _, shape, spread = nb07_1.KINDS[kind]
    for seed in range(20):
        first, second = nb07_1.known(np.random.default_rng(seed), shape, spread, truth)
        middle = float((first - second).mean())
        for half in nb07_1.accepted_halves(first - second, 0.95):
            assert nb07_1.verdict_of({"low": middle - half, "high": middle + half}) == truth


def test_every_usual_mistake_gives_a_width_that_is_not_accepted_on_some_table():
    caught = set()
    for (_, shape, spread), seed in itertools.product(nb07_1.KINDS, range(20)):
        first, second = nb07_1.table(np.random.default_rng(seed), shape, 1.0, **spread)
        low, high = nb07_1.accepted_halves(first - second, 0.95)
        wrong = nb07_1.wrong_halves(first, second, 0.95)
        caught |= {k for k, (_, half) in enumerate(wrong) if not low <= half <= high}
    assert caught == set(range(len(wrong)))


def test_what_the_text_says_of_the_large_arena_is_what_its_claims_say():
    claims = {claim["claim"]: claim["verdict"] for claim in notebook.sources()[0]["claims"]}
    assert claims["PPO has more gold than RS-1 at equal responses"] == SUPPORTED
    assert claims["PPO has more gold than RS-1 at equal FLOPs"] == OPEN
    assert len(notebook.sources()[0]["plan"]["seeds"]) == 8


def test_every_statement_has_a_cell_of_its_own_and_no_verdict_serves_for_all():
    cells = [keys.CELLS[name] for name in keys.TESTED_BY.values()]
    assert list(keys.TESTED_BY) == [s.id for s in nb07_3.STATEMENTS]
    assert len(set(cells)) == len(cells) and set(keys.CELLS.values()) == set(nb07_results.CELLS)
    verdicts = [keys.measured(cell) for cell in cells]
    assert max(verdicts.count(v) for v in verdicts) <= len(verdicts) / 2


def test_a_right_interval_finds_the_stored_verdicts_in_the_stored_tables():
    """PPO against RS-1: supported at equal responses, open at equal FLOPs and at equal seconds."""
    claims = {claim["claim"]: claim["verdict"] for claim in notebook.sources()[0]["claims"]}
    stored = nb07_results.stored_claims()
    level = 1 - 0.05 / len(stored)
    for budget in ("equal responses", "equal FLOPs", "equal seconds"):
        claim = f"PPO has more gold than RS-1 at {budget}"
        first, second = nb07_results.tables_of(claim)
        middle = float((first - second).mean())
        for half in nb07_1.accepted_halves(first - second, level):
            assert nb07_1.verdict_of({"low": middle - half, "high": middle + half}) == claims[claim]


@pytest.mark.parametrize("claim", nb07_results.stored_claims())
def test_no_stored_verdict_hangs_on_which_right_interval_a_learner_writes(claim):
    first, second = nb07_results.tables_of(claim)
    middle, level = float((first - second).mean()), 1 - 0.05 / len(nb07_results.stored_claims())
    halves = nb07_1.accepted_halves(first - second, level)
    ends = [{"low": middle - half, "high": middle + half} for half in halves]
    assert len({nb07_1.verdict_of(end) for end in ends}) == 1


def test_rejection_sampling_is_simpler_in_some_rows_and_not_in_all():
    rows = {name: nb07_2.described(*found) for name, found in nb07_methods.given(Variant()).items()}
    words = [word for row in nb07_2.in_what(rows).values() for word in row.values()]
    assert {"simpler", "not simpler", "the same", OPEN} == set(words)


def test_a_served_arm_that_is_judged_with_one_response_is_named_and_nothing_crashes():
    row = {"seed": 1, "policy": "", "ledger": {}, "gold": [1.0] * 24, "reward": [0.0] * 24, "kl": 0.0}
    rows = [row | {"arm": arm, "seed": seed} for arm in nb07_1.ARMS for seed in (1, 2, 3)]
    work = Work({"results": rows, "findings": {}, "interval": lambda *_: 0}, Variant("", "", "7.1"))
    with pytest.raises(CheckFailed, match="best of 16 is served"):
        nb07_1.grade_findings(work, np.random.default_rng(0))
    assert nb07_1.accepted_halves(np.zeros((3, 24)), 0.95) == (0.0, 0.0)


def test_learners_see_the_cells_under_numbers_of_their_own():
    orders = {tuple(nb07_3.numbered(Variant(f"student-{k}", "2026", "7.3")).values()) for k in range(50)}
    assert len(orders) == 50


@pytest.mark.parametrize("name", nb07_results.METHODS)
def test_the_table_of_the_engine_says_who_pushes_down(name):
    found = nb07_methods.given(Variant())[name]
    right = nb07_2.described(*found)
    assert right["negatives"] is (name in {"dpo", "rloo", "grpo", "ppo"})
    assert right["models"] >= (0 if name == "best_of_n" else 2)


def test_a_guess_of_the_audit_hardly_ever_earns_a_statement():
    """One of 13 cells and one of 3 verdicts: 1 in 39."""
    rng, earned, asked = np.random.default_rng(0), 0, 0
    for _ in range(300):
        audit = {
            s.id: (int(rng.integers(1, 14)), str(rng.choice(nb07_3.VERDICTS))) for s in nb07_3.STATEMENTS
        }
        found = grade(exercises.find("7.3"), Work({"audit": audit}, Variant("a", "2026", "7.3")), 0)
        earned, asked = earned + sum(o.passed for o in found.outcomes), asked + len(found.outcomes)
    assert earned / asked < 0.05
