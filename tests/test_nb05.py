"""Notebook 05: what its catalogue cannot say."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest

from autograder import exercises
from autograder.exercise import Variant
from autograder.handouts import nb05_2 as team
from autograder.handouts import nb05_3
from autograder.handouts import nb05_panels as given_panels
from autograder.handouts.nb05_1 import Clinic
from autograder.keys import nb05_1, nb05_2
from autograder.keys import nb05_panels as panels
from autograder.verdict import grade
from autograder.work import Work
from docs.studies import signatures
from rslib import intervals
from rslib.evaluation import OPEN
from rslib.intervals import verdict_of

IDS = [f"student-{k}" for k in range(100)]
CLASSES = (panels.HEALTHY, *panels.names())


def variant(student, exercise="5.1"):
    return Variant(student, "2026", exercise)


def graded(exercise, names, student="", seed=0):
    found = exercises.find(exercise)
    return grade(found, Work(names, variant(student, exercise)), seed)


# The panels ------------------------------------------------------------------------------------------------


def test_the_panels_are_those_of_the_measured_signatures():
    content = json.loads(panels.KEYS.results.read_text(encoding="utf-8"))["rows"]
    assert panels.KEYS.cut(content) == panels.rows(), "run: python -m autograder.keys.nb05_panels"
    learners = json.loads(given_panels.FILE.read_text(encoding="utf-8"))
    assert learners == panels.content(), "run: python -m autograder.keys.nb05_panels"


def test_no_panel_of_5_1_stands_anywhere_with_its_name():
    named = [run for runs in panels.rows().values() for run in runs.values()]
    dealt = [given_panels.PANELS.run_of(run) for deck in given_panels.PANELS.decks() for run in deck["runs"]]
    assert not [run for run in dealt if run in named]
    assert all(
        given_panels.rows()[name][seed].keys() <= {*panels.OUTCOMES}
        for name in panels.names()
        for seed in "34"
    )


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(CLASSES, 2)))
def test_every_two_kinds_of_run_are_told_apart_by_a_metric_in_every_seed(first, second):
    assert any(panels.apart(first, second, metric) for metric in panels.METRICS)


@pytest.mark.parametrize("flaw", panels.names())
def test_every_flaw_has_a_metric_that_it_alone_explains(flaw):
    assert panels.decisive(flaw)
    content = json.loads(panels.KEYS.results.read_text(encoding="utf-8"))
    groups = content["classifiers"]["report and probes"]["groups"]
    assert not any(
        {flaw, other} <= set(group) for group in groups for other in panels.names() if other != flaw
    )


def nearest(metrics, spread_of=signatures.spreads):
    """The class whose mean panel of the other seeds lies nearest, as a function of panel and seed."""

    def named(run, seed):
        others = [s for s in panels.SEEDS if s != seed]
        values = signatures.values_of(panels.rows(), metrics, others)
        at = signatures.predictions(values, np.array([[run[m] for m in metrics]], dtype=float))
        return list(panels.rows())[int(at[0])]

    return named


def points_of(student, reader):
    """A reader's share of the points, with the deciding metric of whatever it names."""
    found = nb05_1.cases(variant(student))
    said = {letter: reader(case.run, case.seed) for letter, case in found.items()}
    answer = {
        letter: (flaw, "" if flaw == panels.HEALTHY else min(panels.decisive(flaw)))
        for letter, flaw in said.items()
    }
    return graded("5.1", {"diagnoses": answer}, student).points / exercises.find("5.1").points


def test_the_nearest_signature_names_at_least_95_percent_of_all_panels():
    reader = nearest(list(panels.METRICS))
    right = [reader(panels.rows()[name][seed], seed) == name for name in CLASSES for seed in panels.SEEDS]
    assert np.mean(right) >= 0.95


def test_every_learner_gets_a_healthy_panel_and_a_flaw_of_every_stage():
    for student in IDS:
        found = [case.flaw for case in nb05_1.cases(variant(student)).values()]
        assert [found.count(panels.HEALTHY)] + [
            sum(flaw in flaws for flaw in found) for flaws in panels.PANELS.stages.values()
        ] == [1] * 6
    drawn = Counter(case.flaw for student in IDS for case in nb05_1.cases(variant(student)).values())
    assert min(drawn[flaw] for flaw in panels.names()) > 15
    places = Counter(
        letter
        for s in IDS
        for letter, case in nb05_1.cases(variant(s)).items()
        if case.flaw == panels.HEALTHY
    )
    assert min(places[letter] for letter in given_panels.LETTERS) > 4


@pytest.mark.long
def test_whoever_guesses_among_flaws_and_metrics_hardly_ever_passes():
    """Half of the points passes. 7,000 guesses with at most one: below 1e-3, with 99 % confidence."""
    rng, passed = np.random.default_rng(0), 0
    names, metrics = [panels.HEALTHY, *panels.names()], list(panels.METRICS)
    for k in range(7000):
        letters = {a: (str(rng.choice(names)), str(rng.choice(metrics))) for a in given_panels.LETTERS}
        verdict = graded("5.1", {"diagnoses": letters}, IDS[k % 100])
        passed += verdict.points >= 0.5 * exercises.find("5.1").points
    assert passed <= 1


def test_a_reader_who_never_looks_at_training_and_judging_gets_the_same_from_every_variant():
    known = [m for m in panels.METRICS if m in list(panels.METRICS)[9:19]]  # of sampling, scoring, selecting

    def reader(run, seed):
        odd = [m for m in known if m in given_panels.outside(run)]
        fits = [f for f in panels.names() if panels.decisive(f) & set(odd)]
        named = [f for f in fits if all(_within(f, m, run) for m in known)]
        return named[0] if named else panels.HEALTHY

    shares = [points_of(student, reader) for student in IDS]
    assert max(shares) - min(shares) <= 0.05
    assert 0.2 < np.mean(shares) < 0.7


def _within(flaw, metric, run):
    span, value = panels.span(flaw, metric), run[metric]
    return span is None if value is None else span is not None and span[0] <= value <= span[1]


def test_a_reader_of_outcomes_alone_does_as_well_on_one_half_of_the_learners_as_on_the_other():
    outcomes = ["gold", "gold_of_control", "gold_of_base", "reward", "kl", "length"]
    reader = nearest(outcomes)
    shares = np.array([points_of(student, reader) for student in IDS])
    spread = shares.std(ddof=1) / np.sqrt(50)
    assert abs(shares[:50].mean() - shares[50:].mean()) <= max(0.05, 5 * np.sqrt(2) * spread)
    assert shares.mean() < 0.7


# The repair ------------------------------------------------------------------------------------------------


def code(names):
    space = {}
    exec(nb05_2.flawed(tuple(names)), space)
    return space


OWN = nb05_2.PLANTED
WRONGLY = {
    "every end goes": (
        "end",
        [("    ids = asked + answered + end", "    end = []\n    ids = asked + answered + end")],
    ),
    "every end stays": ("end", [("    ids = asked", "    end = [END]\n    ids = asked")]),
    "the roles are exchanged": (
        "role",
        [
            ('"role": "user"', '"role": "x"'),
            ('"role": "assistant"', '"role": "user"'),
            ('"x"', '"assistant"'),
        ],
    ),
    "the assistant speaks twice": ("role", [('"role": "user"', '"role": "assistant"')]),
    "the worst are kept": ("table", [('row["reward"] > kept', 'row["reward"] < kept')]),
    "every second row is kept": ("table", [("for row in kept]", "for row in scored[::2]]")]),
}


@pytest.mark.parametrize("left", [*itertools.combinations(OWN, 1), *itertools.combinations(OWN, 2)])
def test_flaws_that_were_left_in_cost_their_own_parts_alone(left):
    verdict = graded("5.2", code(left))
    failed = [name for name, outcome in zip(OWN, verdict.outcomes, strict=True) if not outcome.passed]
    assert failed == list(left), verdict.text()
    assert [o.check for o in verdict.outcomes if not o.passed] == [nb05_2.MENDED] * len(left)


def test_of_flaws_that_nobody_found_the_check_names_none():
    """What is said of each is one sentence, the same for all, and no word of it is a flaw's."""
    outcomes = graded("5.2", code(OWN)).outcomes
    assert {(o.check, o.idea) for o in outcomes} == {(nb05_2.MENDED, "left")}
    [message] = {o.message for o in outcomes}
    words = "mask prompt label role assistant user turn seed round".split()
    assert not [word for word in words if word in message.lower()]
    assert not any(o.case or o.got or o.expected for o in outcomes)


@pytest.mark.parametrize("name", WRONGLY)
def test_what_is_wrongly_mended_costs_its_part_and_what_is_newly_broken_every_part(name):
    flaw, changes = WRONGLY[name]
    text = nb05_2.SOURCE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    space = {}
    exec(text, space)
    verdict = graded("5.2", space)
    right = [flaw in OWN and other != flaw for other in OWN]  # what was right has to stay right for any part
    assert [o.passed for o in verdict.outcomes] == right, verdict.text()


def test_the_healthy_code_passes_and_the_code_as_given_does_not():
    assert graded("5.2", code(())).passed
    given = {}
    exec(team.Team(variant("")).source, given)
    assert graded("5.2", given).points == 0
    assert team.Team(variant("")).source == nb05_2.flawed(OWN), "run: python -m autograder.keys.nb05_2"
    assert len(OWN) == team.PLANTED


def test_every_flaw_changes_the_code_in_one_place():
    for plant in nb05_2.PLANTS.values():
        assert nb05_2.SOURCE.count(plant.healthy) == 1
    assert 90 <= len(nb05_2.SOURCE.splitlines()) <= 130


# The checks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flags", [[], list(panels.PANELS.stages), list(panels.PANELS.stages)[::-1]])
def test_flag_all_and_flag_none_score_nothing(flags):
    assert graded("5.3", {"check_run": lambda run: flags}).points == 0


# What readers met -------------------------------------------------------------------------------------------


def test_a_gap_of_nothing_decides_for_a_random_selection_as_the_notebook_teaches():
    student = next(
        s for s in IDS if "random_selection" in [c.flaw for c in nb05_1.cases(variant(s)).values()]
    )
    letter = next(k for k, c in nb05_1.cases(variant(student)).items() if c.flaw == "random_selection")
    for metric in ("selection_gap", "kept_best"):
        verdict = graded("5.1", {"diagnoses": {letter: ("random_selection", metric)}}, student)
        assert verdict.points == 0.5, verdict.text()


def test_metrics_are_grouped_by_stage_each_once():
    grouped = [metric for metrics in given_panels.GROUPS.values() for metric in metrics]
    assert sorted(grouped) == sorted(given_panels.METRICS)
    assert list(given_panels.GROUPS)[:5] == list(given_panels.STAGES)


def test_what_lies_outside_of_the_healthy_range_is_marked_and_nothing_else():
    clinic = Clinic(variant(IDS[0]))
    for lines in clinic.groups().values():
        for metric, _, *cells in lines:
            low, high = clinic.healthy(metric)
            for run, cell in zip(clinic.runs.values(), cells, strict=True):
                value = run[metric]
                sign = "∅" if value is None else "▲" if value > high else "▼" if value < low else ""
                assert cell.endswith(sign) and (sign or cell[-1] not in "▲▼∅")
    assert clinic._repr_html_().count("<table") == len(given_panels.GROUPS)


def test_the_exhibit_of_greedy_runs_leaves_its_effect_on_gold_open():
    runs = given_panels.rows()["temperature_zero"].values()
    change = intervals.over_seeds([run["gold"] - run["gold_of_base"] for run in runs])
    assert verdict_of(change) == OPEN
    assert all(run["selection_gap"] == 0 for run in runs)


def test_the_hidden_runs_are_not_those_that_were_given():
    given = {tuple(run.values()) for _, run in nb05_3.runs(variant("a", "5.3"))}
    rng = np.random.default_rng(0)
    hidden = [tuple(panels.between(name, rng).values()) for name in CLASSES for _ in range(5)]
    assert not given & set(hidden) and len(set(hidden)) == len(hidden)
