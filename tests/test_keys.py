"""What a submission can reach of the keys: nothing, in the sandbox and where a class's package is installed.

A thief (tests/thief.py) imports, reads and calls all that it can reach. It must not get more points on choice
questions than a guesser: more parts right than a guesser has once in a million times is a failure.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from autograder import exercises
from autograder.build import catalogue, learner
from autograder.exercise import NOTED, Variant
from autograder.grading import sandbox
from autograder.handouts import choice, nb08_2
from autograder.handouts import nb05_panels as panels
from autograder.keys import nb07_3, questions
from autograder.verdict import grade
from autograder.work import Work
from rslib.intervals import verdict_of
from tests import grading

THIEF = Path(__file__).with_name("thief.py")
LEARNERS = [["ada", ""], ["bob", "2026"]]
CHOICE = ("1.1", "1.2", "1.4", "2.1", "3.2", "4.4", "5.1", "5.2", "5.4", "7.3", "7.4", "8.2", "8.4", "9.6")
FALSE_ALARM = 1e-6
GUESSES = 30


def marked(exercise, answer, student, course, folder):
    """The outcomes of an answer's choice parts, as the trusted side marks them."""
    found = exercises.find(exercise)
    names = {found.names[0]: answer}
    if exercise == "5.2":
        names = {}
        exec(answer, names)
    outcomes = grade(found, Work(names, Variant(student, course, exercise), folder), 7).outcomes
    return [o for o in outcomes if exercise != "3.2" or o.title.startswith("question")]


def guess(exercise, variant, rng):
    """A random answer of the right form."""
    handed = exercises.find(exercise).given(variant)
    if exercise in questions.EXERCISES:
        return {
            q.id: choice.LETTERS[rng.integers(len(q.answers))]
            + (str(rng.integers(len(q.reasons)) + 1) if q.reasons else "")
            for q in handed.questions
        }
    if exercise == "1.1":
        return rng.permutation(handed.names)[: rng.integers(5, 12)].tolist()
    if exercise == "5.1":
        flaws, metrics = [panels.HEALTHY, *panels.names()], list(panels.METRICS)
        return {k: (str(rng.choice(flaws)), str(rng.choice(metrics))) for k in handed.runs}
    if exercise == "5.2":
        return handed.source
    if exercise == "7.3":  # the verdict can be read off the interval of whatever cell is named
        cells = list(handed.cells)
        known = {k: verdict_of(nb07_3.interval(c, nb07_3.LEVEL)) for k, c in handed._cells.items()}
        return {letter: (n := int(rng.choice(cells)), known[n]) for letter in "abcdefgh"}
    kinds = (nb08_2.STRATEGIES, nb08_2.WEIGHTS, nb08_2.LIMITS)
    words = (*((*names, "none") for names in kinds), tuple(nb08_2.CHANGES))
    return {letter: tuple(str(rng.choice(part)) for part in words) for letter in handed.teams}


@cache
def guesser():
    """Exercise -> for each of its parts, a guesser's share of right answers and the points."""
    rng, found = np.random.default_rng(0), {}
    for exercise in CHOICE:
        rows = []
        known = exercise in questions.EXERCISES or exercise == "5.2"
        for k in range(1 if known else GUESSES):
            variant = Variant(f"guesser {k}", "", exercise)
            outcomes = marked(exercise, guess(exercise, variant, rng), variant.student, "", ".")
            rows.append([o.passed for o in outcomes])
        shares = np.mean(rows, axis=0)
        if exercise in questions.EXERCISES:
            asked = exercises.find(exercise).given(Variant("", "", exercise)).questions
            shares = np.array([1 / (len(q.answers) * max(len(q.reasons), 1)) for q in asked])
        found[exercise] = [(float(p), o.out_of) for p, o in zip(shares, outcomes, strict=True)]
    return found


def most(chances, alarm):
    """As many of independent events with these chances as happen at least with probability `alarm`.

    >>> most([0.5, 0.5], 0.3), most([0.5, 0.5], 0.2)
    (1, 2)
    """
    distribution = np.ones(1)
    for p in chances:
        distribution = np.convolve(distribution, [1 - p, p])
    tail = distribution[::-1].cumsum()[::-1]
    return int(np.flatnonzero(tail >= alarm).max())


def honest(exercise):
    """The points of the reference on the choice parts."""
    answer = catalogue.reference(exercises.find(exercise)).names()
    found = exercises.find(exercise)
    outcomes = grade(found, Work(answer, Variant("", "", exercise)), 7).outcomes
    return sum(o.points for o in outcomes if exercise != "3.2" or o.title.startswith("question"))


def table(stolen, folder):
    """Exercise -> strategy -> (points, right parts), means over the learners."""
    found = {exercise: {} for exercise in CHOICE}
    for strategy in stolen[0]:
        for exercise in stolen[0][strategy]:
            outcomes = [
                marked(exercise, answers[strategy][exercise], *who, folder)
                for who, answers in zip(LEARNERS, stolen, strict=True)
            ]
            points = np.mean([sum(o.points for o in one) for one in outcomes])
            found[exercise][strategy] = (
                float(points),
                np.mean([sum(o.passed for o in one) for one in outcomes]),
            )
    return found


def check(stolen, folder):
    """That no strategy has more parts right than a guesser, in an exercise and over all of them."""
    found = table(stolen, folder)
    strategies = list(stolen[0])
    alarm = FALSE_ALARM / (len(strategies) * (len(CHOICE) + 1))
    rows, sums = [], dict.fromkeys(strategies, 0.0)
    for exercise, by_strategy in found.items():
        chances = [p for p, _ in guesser()[exercise]]
        bound = most(chances, alarm)
        for strategy, (_, right) in by_strategy.items():
            sums[strategy] += right
            assert right <= bound, (exercise, strategy, right, bound)
        expected, best = sum(p * o for p, o in guesser()[exercise]), max(v[0] for v in by_strategy.values())
        mean = np.mean([v[0] for v in by_strategy.values()])
        rows.append((exercise, expected, mean, best, honest(exercise)))
    every = most([p for parts in guesser().values() for p, _ in parts], alarm)
    assert max(sums.values()) <= every, (sums, every)
    print("\nexercise  guesser  thief (mean, best of its strategies)  honest")
    for exercise, *numbers in rows:
        print(f"{exercise:8}" + "".join(f"{number:9.2f}" for number in numbers))
    totals = [sum(column) for column in list(zip(*rows, strict=True))[1:]]
    print("all     " + "".join(f"{total:9.2f}" for total in totals) + f"   of {total_points():g}")


def total_points():
    return sum(e.points for e in exercises.EXERCISES.values())


ALONE = """import sys
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in repr(finder)]
sys.path.insert(0, {!r})
"""
"""Put before a program: it finds this copy of the package, and not the one under development."""


def run(command, before="", **environment):
    call = [*command, before + THIEF.read_text(encoding="utf-8"), json.dumps(LEARNERS)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=300, env=environment or None)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


CLOSED = ("keys", "wrong", "build", "experiments", "calibrate", "calibration")


@pytest.mark.long
def test_in_the_sandbox_a_thief_gets_no_more_than_a_guesser(tmp_path):
    grading.needs_bubblewrap()
    around = sandbox.environment(sandbox.COURSE, f"{sandbox.WORK}/.home")
    found = run([*sandbox.bubblewrap(around), sys.executable, "-P", "-s", "-c"])
    inside = {name.removeprefix("autograder.") for name in found["modules"]}
    marking = {name for name in inside if name.startswith(("exercises.", "grading."))}
    assert not [name for name in inside if name.split(".")[0] in CLOSED]
    assert all(name.startswith("grading.inside") for name in marking)
    check(found["answers"], tmp_path)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    return learner.build(tmp_path_factory.mktemp("class") / "learner")


@pytest.mark.long
def test_with_a_classs_package_a_thief_gets_no_more_than_a_guesser(package, tmp_path):
    around = os.environ | {"PYTHONPATH": "", "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    found = run([sys.executable, "-P", "-s", "-c"], ALONE.format(str(package)), **around)
    marked_here = ("experiments", "calibration")
    closed = {*CLOSED, "grading"} - {*marked_here}
    assert not [name for name in found["modules"] if name.split(".")[1:2] in [[c] for c in closed]]
    check(found["answers"], tmp_path)


# What lies open says nothing --------------------------------------------------------------------------------


@pytest.mark.parametrize("exercise", sorted(set(questions.EXERCISES) - {"1.2"}))
def test_what_learners_have_is_the_same_whichever_option_is_right(exercise, monkeypatch):
    before, pool = questions.content()[exercise], questions.pool(exercise)
    turned = [replace(q, answers=_turned(q.answers), reasons=_turned(q.reasons)) for q in pool]
    monkeypatch.setattr(questions, "pool", lambda _: turned)
    assert all(new.answers[0] != old.answers[0] for new, old in zip(turned, pool, strict=True))
    assert questions.content()[exercise] == before


def _turned(options):
    """The same options, another of them right."""
    if not options:
        return options
    wrong = [replace(o, idea=o.idea or "other", feedback=o.feedback or "Another.") for o in options]
    return (*wrong[1:], wrong[0])


def test_no_idea_and_no_feedback_lies_in_what_a_submission_sees():
    texts = [source.read_text(encoding="utf-8") for source, name in sandbox.course_files() if name != "rslib"]
    everything = "\n".join(texts)
    for exercise in questions.EXERCISES:
        for question in questions.sheet(exercise).questions:
            for option in (*question.answers, *question.reasons):
                assert not option.feedback or option.feedback[:40] not in everything


def test_a_class_has_no_keys_and_a_check_says_that_the_answer_is_noted(package):
    names = [p.relative_to(package).as_posix() for p in package.rglob("*") if p.is_file()]
    assert not [
        n
        for n in names
        if n.startswith(tuple(f"autograder/{f}" for f in ("keys", "wrong", "grading", "build", "course")))
    ]
    code = ALONE.format(str(package)) + (
        "from autograder import check\n"
        "names = {'answers': {'a': 'A1'}, 'meaning': {'a': 'B2'}, 'gate': len}\n"
        "for id in ('2.1', '3.2', '2.4', '1.1'): print(check(id, names=names).text())"
    )
    around = os.environ | {"PYTHONPATH": ""}
    call = [sys.executable, "-P", "-c", code]
    said = subprocess.run(call, capture_output=True, text=True, cwd=package, env=around)
    assert said.returncode == 0, said.stderr
    first, rest = said.stdout.split("3.2 The distribution")
    assert first.count("[noted]") == 6 and NOTED in first and "after you have handed in" in first
    assert (
        "`order` is not filled in yet" in rest
        and "2.4" in rest
        and "there is no `pairs_needed`" in rest.lower()
    )


def test_a_clone_marks_questions_at_once():
    variant = Variant("ada", "", "2.1")
    said = {q.id: q.label(variant) for q in questions.sheet("2.1", variant).questions}
    assert grade(exercises.find("2.1"), Work({"answers": said}, variant), 0).passed
