"""The self-check: what it looks at, what it says, and what it must never do."""

import json
import os
import statistics
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch

import autograder
from autograder import exercises, session
from autograder.exercise import (
    ANSWERED,
    RUNS,
    CheckFailed,
    Exercise,
    Misconception,
    Part,
    Variant,
    diagnose,
    numbers,
    same,
)
from autograder.verdict import MIME, OURS, Verdict, grade
from autograder.work import Work
from rslib.errors import ConfigError

ROOT = Path(__file__).resolve().parents[1]


def grade_best(work, rng):
    rewards = rng.normal(size=6)
    worst = Misconception("F03", "The lowest reward was kept.", int(rewards.argmin()))
    got = work.function("best")(rewards)
    diagnose(
        "keeps the best", got, int(rewards.argmax()), ideas=[worst], otherwise="Not the best.", case=rewards
    )


def grade_number(work, rng):
    diagnose("counts", work.value("count", int), 16, otherwise="Count again.", reveal=False)


TOY = Exercise(
    "9.1", "Toy", 2, 5, ("best", "count"), (Part("best", 1.5, grade_best), Part("count", 0.5, grade_number))
)
RIGHT = {"best": lambda rewards: rewards.argmax(), "count": 16}


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """The toy exercise as the only one of notebook 09, in a session of its own."""
    monkeypatch.setattr(exercises, "of_notebook", lambda notebook: (TOY,) if notebook == "09" else ())
    monkeypatch.setattr(session, "_CURRENT", session.Session("09"))
    monkeypatch.setenv(session.RUNS, str(tmp_path))
    return TOY


def verdict_of(names, exercise=TOY, seed=0):
    return grade(exercise, Work(names, Variant()), seed)


def test_a_right_answer_gets_every_point_and_a_wrong_one_the_points_of_its_right_parts():
    assert verdict_of(RIGHT).points == 2 and verdict_of(RIGHT).passed
    half = verdict_of(RIGHT | {"count": 4})
    assert half.points == 1.5 and [o.check for o in half.outcomes] == ["", "counts"]


def test_a_wrong_answer_hears_the_idea_that_explains_it_and_the_case_that_shows_it():
    outcome = verdict_of(RIGHT | {"best": lambda rewards: rewards.argmin()}).outcomes[0]
    assert (outcome.check, outcome.idea, outcome.points) == ("keeps the best", "F03", 0)
    assert "lowest" in outcome.message and outcome.case and outcome.expected and outcome.got


def test_an_expected_value_that_is_the_answer_stays_hidden():
    outcome = verdict_of(RIGHT | {"count": 4}).outcomes[1]
    assert outcome.got == "4" and "16" not in "".join(outcome.lines())


@pytest.mark.parametrize("names", [{}, {"best": ..., "count": ...}, {"best": None, "count": None}])
def test_what_is_missing_or_still_the_stub_is_called_unanswered(names):
    assert {o.check for o in verdict_of(names).outcomes} == {ANSWERED}


def test_a_stub_that_returns_nothing_is_called_unanswered():
    assert verdict_of(RIGHT | {"best": lambda rewards: ...}).outcomes[0].check == ANSWERED


def test_an_exception_of_the_learner_is_told_with_its_call():
    outcome = verdict_of(RIGHT | {"best": lambda rewards: rewards["a"]}).outcomes[0]
    assert outcome.check == RUNS and "IndexError" in outcome.message and outcome.case.startswith("best(")


def test_a_failure_inside_a_check_costs_that_part_alone_and_says_so():
    def broken(work, rng):
        statistics.fmean([])

    exercise = Exercise(
        "9.2", "Broken", 1, 1, ("x",), (Part("a", 1, broken), Part("b", 1, lambda work, rng: None))
    )
    found = verdict_of({}, exercise)
    assert found.points == 1 and found.outcomes[0].check == OURS
    assert "StatisticsError in statistics.py" in found.outcomes[0].message


def test_an_object_of_the_answer_that_raises_is_no_fault_of_the_check():
    class Odd:
        def __eq__(self, other):
            raise ZeroDivisionError("inside")

    part = Part("a", 1, lambda work, rng: work.object("x") == 1)
    outcome = verdict_of({"x": Odd()}, Exercise("9.2", "Odd", 1, 1, ("x",), (part,))).outcomes[0]
    assert outcome.check == RUNS and "An object of your answer raised ZeroDivisionError" in outcome.message


def test_a_learner_function_cannot_change_the_inputs_of_the_check():
    def spoils(rewards):
        best = int(rewards.argmax())
        rewards[:] = 0
        return best

    assert verdict_of(RIGHT | {"best": spoils}).passed


def test_prints_of_the_learner_are_dropped_during_a_check(capsys):
    verdict_of(RIGHT | {"best": lambda rewards: print("noise") or rewards.argmax()})
    assert capsys.readouterr().out == ""


def test_an_object_that_equals_everything_passes_nothing():
    class Yes:
        def __eq__(self, other):
            return True

        __hash__ = None

    assert verdict_of({"best": lambda rewards: Yes(), "count": Yes()}).points == 0


@pytest.mark.parametrize(
    ("got", "expected", "agrees"),
    [
        (1, 1.0, True),
        (True, 1, True),
        (np.int64(3), 3, True),
        (torch.tensor([1.0, 2.0]), [1, 2], True),
        ([[1, 2], [3]], [[1, 2], [3, 4]], False),
        ("a", "a", True),
        ("a", "b", False),
        (["a", ["b"]], ("a", ("b",)), True),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        (None, 0, False),
        (float("nan"), float("nan"), True),
        (np.zeros((2, 1)), np.zeros(2), False),
    ],
)
def test_values_are_compared_by_value_and_shape(got, expected, agrees):
    assert same(got, expected) is agrees


def test_a_tolerance_is_absolute_and_relative():
    assert same(1000.5, 1000.0, 1e-3) and not same(1002.5, 1000.0, 1e-3)
    assert numbers(object()) is None


def test_the_same_seed_draws_the_same_check_and_a_fresh_one_another():
    wrong = RIGHT | {"best": lambda rewards: rewards.argmin()}
    cases = [verdict_of(wrong, seed=seed).outcomes[0].case for seed in (1, 1, 2)]
    assert cases[0] == cases[1] != cases[2]


def test_check_draws_a_fresh_seed_each_time(toy):
    seeds = {autograder.check("9.1", names=RIGHT).seed for _ in range(5)}
    assert len(seeds) == 5


def test_a_verdict_prints_as_its_points_alone_because_nbgrader_reads_them():
    assert [repr(verdict_of(RIGHT | change)) for change in ({}, {"count": 4}, {"best": 1, "count": 1})] == [
        "2",
        "1.5",
        "0",
    ]


def test_a_verdict_travels_as_json():
    verdict = verdict_of(RIGHT | {"count": 4})
    bundle = verdict._repr_mimebundle_()
    assert Verdict.from_dict(strip(json.loads(json.dumps(bundle[MIME])))) == verdict


def strip(content):
    content["outcomes"] = tuple(content["outcomes"])
    return content


def test_the_panel_escapes_what_a_learner_wrote():
    verdict = verdict_of(RIGHT | {"count": 4, "best": lambda rewards: "<script>alert(1)</script>"})
    assert "<script>" not in verdict._repr_html_() and "&lt;script&gt;" in verdict._repr_html_()


def test_the_panel_says_in_words_what_passed():
    html = verdict_of(RIGHT | {"count": 4})._repr_html_()
    assert "passed" in html and "not yet" in html and "background" not in html


def test_progress_sums_the_latest_verdicts(toy):
    assert "not checked yet" in repr(autograder.progress())
    autograder.check("9.1", names=RIGHT | {"count": 4})
    autograder.check("9.1", names=RIGHT)
    assert repr(autograder.progress()).startswith("2 of 2 points")
    assert "<table>" in autograder.progress()._repr_html_()


def test_begin_names_the_variant_and_keeps_predictions_of_the_same_notebook(toy, capsys):
    autograder.predict("gap", 2)
    folder = autograder.begin("09", student="ada")
    autograder.compare("gap", 2.5)
    said = capsys.readouterr().out
    assert folder.is_dir() and "'ada'" in said and "gap: 2.5 (you predicted 2)" in said


def colab(monkeypatch, mount):
    """A runtime of Colab as far as a notebook sees it; `mount` is what its Drive does."""
    google, inside = types.ModuleType("google"), types.ModuleType("google.colab")
    google.colab, inside.drive = inside, types.SimpleNamespace(mount=mount)
    monkeypatch.setitem(sys.modules, "google", google)
    monkeypatch.setitem(sys.modules, "google.colab", inside)


def test_in_colab_the_work_folder_goes_to_the_drive_when_asked(monkeypatch, tmp_path, capsys):
    mounted = []
    colab(monkeypatch, mounted.append)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(session.RUNS, "")
    monkeypatch.delenv(session.RUNS)
    monkeypatch.setattr(session, "_DRIVE", str(tmp_path / "drive"))
    session.begin("90")
    assert "begin(..., drive=True)" in capsys.readouterr().out and not mounted
    assert session.begin("90", drive=True) == tmp_path / "drive/MyDrive/rslib-runs/90"
    assert mounted == [str(tmp_path / "drive")]


def test_a_drive_that_refuses_leaves_the_folder_of_the_runtime(monkeypatch, tmp_path, capsys):
    def refuses(place):
        raise ValueError("mount failed")

    colab(monkeypatch, refuses)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(session.RUNS, raising=False)
    assert session.begin("90", drive=True) == Path("runs/90")
    assert "could not be reached (mount failed)" in capsys.readouterr().out


def test_outside_of_colab_nothing_is_said_of_a_drive(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(session.RUNS, raising=False)
    assert session.begin("90", drive=True) == Path("runs/90")
    assert "Drive" not in capsys.readouterr().out


def test_a_prediction_of_dots_is_none(toy, capsys):
    autograder.predict("gap")
    autograder.compare("gap", 1)
    assert "No prediction" in capsys.readouterr().out


@pytest.mark.parametrize("call", [lambda: autograder.check("7.7"), lambda: autograder.given("9.1")])
def test_unknown_or_empty_exercises_raise_a_typed_error(toy, call):
    with pytest.raises(ConfigError):
        call()


def test_a_variant_depends_on_learner_course_exercise_and_purpose_alone():
    draws = {
        float(Variant(student, course, exercise).rng(purpose).random())
        for student in ("ada", "bob")
        for course in ("", "2027")
        for exercise in ("1.1", "1.2")
        for purpose in ("a", "b")
    }
    assert len(draws) == 16
    assert Variant(" Ada ").rng().random() == Variant("ada").rng().random()


def test_wrong_carries_its_check():
    with pytest.raises(CheckFailed, match="Not the best") as caught:
        diagnose("keeps the best", 1, 2, otherwise=Misconception("F31", "Not the best.", None))
    assert caught.value.idea == "F31"


def test_beginning_a_notebook_imports_neither_nbgrader_nor_widgets_nor_torch(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    code = "import sys, autograder; autograder.begin('01'); print(sorted(set(sys.modules) & {%s}))"
    heavy = (
        "'nbgrader', 'ipywidgets', 'jupytext', 'nbformat', 'torch', 'transformers', 'datasets', 'matplotlib'"
    )
    done = subprocess.run(
        [sys.executable, "-c", code % heavy],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=env,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_two_parts_that_fail_for_one_reason_hear_it_once():
    verdict = verdict_of({"count": 4}, Exercise("9.3", "Twice", 1, 1, ("count",), (TOY.parts[1],) * 2))
    assert verdict.text().count("Count again") == verdict._repr_html_().count("Count again") == 1
    assert verdict.text().count("NOT YET") == 2 and "same reason" in verdict._repr_html_()
