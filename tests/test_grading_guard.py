"""Before a class is graded, the instructor's own solution is; what keeps it from all points is named."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from nbgrader.api import Gradebook

from tests import grading
from tests.grading import answer, check_cell, hand_in, plain, write_source

pytestmark = grading.needs_walls
DOUBLE = answer("double", "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION")
RIGHT = answer("double", "def double(x):\n    return x + x")
PASSES = check_cell("t", "assert double(2) == 4")
WRONG_TEST = check_cell("u", "assert double(3) == 7")
HIDDEN = check_cell("h", "### BEGIN HIDDEN TESTS\nassert double(-3.5) == 7, 'sign'\n### END HIDDEN TESTS")


def graded(root, *options):
    done = grading.grade(root, "--workers", "1", *options)
    assert done.returncode == 0, done.stderr
    return {name: record["points"] for name, record in grading.records(root).items()}


# What check-course says -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """What `check-course` prints of a course whose assignments each have a fault, and the course."""
    root = tmp_path_factory.mktemp("course")
    write_source(root, DOUBLE, PASSES, check_cell("free", "assert callable(double)"), assignment="good")
    write_source(root, DOUBLE, PASSES, WRONG_TEST, assignment="wrong")
    write_source(root, DOUBLE, HIDDEN, assignment="hidden")
    unsolved = answer("double", "# YOUR CODE HERE\nraise NotImplementedError()")
    write_source(root, unsolved, PASSES, assignment="unsolved")
    guarded = "try:\n    import optional_one\nexcept ImportError:\n    pass\n"
    imports = plain(f"{guarded}import no_such_module, helpers\nfrom made_here import x")
    write_source(root, imports, DOUBLE, PASSES, assignment="missing")
    (root / "source" / "missing" / "helpers.py").touch()
    call = [sys.executable, "-m", "autograder", "check-course", str(root)]
    done = subprocess.run(call, capture_output=True, text=True, env=grading.environment(), timeout=300)
    assert done.returncode == 1 and not done.stderr, done.stderr
    return done.stdout, root


def part(checked, assignment):
    """The lines of one assignment."""
    text = checked[0]
    start = text.index(f"{assignment} (")
    return (
        text[start : text.index(" s)", start)]
        + text[text.index(" s)", start) :].split("\nok ")[0].split("\nNO ")[0]
    )


def test_every_assignment_is_tried_and_no_gradebook_written(checked):
    text, root = checked
    assert text.endswith("1 of 5 assignments can be graded.\n") and "ok  good" in text
    assert not (root / "gradebook.db").exists()


def test_the_cell_the_line_and_the_reason_are_named(checked):
    lines = part(checked, "wrong")
    assert "wrong/hw, cell u: 0 of 1 points" in lines and "assert double(3) == 7" in lines
    assert "cell t" not in lines and "# trust: inside" in lines


def test_a_hidden_test_is_explained_to_the_instructor(checked):
    assert "assert double(-3.5) == 7" in part(checked, "hidden") and "sign" in part(checked, "hidden")


def test_an_answer_without_a_solution_is_named(checked):
    assert "(double: as released)" in part(checked, "unsolved")


def test_modules_that_are_not_installed_are_named(checked):
    lines = part(checked, "missing")
    assert "'no_such_module' is not installed" in lines and "'made_here'" in lines
    assert "optional_one" not in lines and "helpers" not in lines


def test_cells_that_the_release_passes_are_noted(checked):
    assert "note: free: the release gets points as it is handed out" in part(checked, "good")


# What grade does --------------------------------------------------------------------------------------------


@pytest.mark.long
def test_nothing_is_graded_where_the_solution_falls_short_until_the_check_is_skipped_by_name(tmp_path):
    write_source(tmp_path, DOUBLE, PASSES, WRONG_TEST, HIDDEN)
    hand_in(tmp_path, "ada", RIGHT)
    done = grading.grade(tmp_path)
    assert done.returncode == 2 and grading.records(tmp_path) == {}
    assert "cell u: 0 of 1 points" in done.stderr and "check-course" in done.stderr
    assert graded(tmp_path, "--skip-check") == {"ada": 1.0}
    assert "-3.5" not in json.dumps(grading.records(tmp_path)), "students hear nothing of hidden tests"


def test_a_test_that_ends_in_a_text_is_refused_with_what_to_write_instead(tmp_path):
    write_source(tmp_path, DOUBLE, check_cell("t", "assert double(2) == 4\nstr(double(2))"))
    hand_in(tmp_path, "ada", RIGHT)
    done = grading.grade(tmp_path)
    assert done.returncode == 2 and "The test gave no number of points from 0 to 1." in done.stderr
    assert "put `;` behind its last expression" in done.stderr and "put the comment" not in done.stderr


def test_a_course_without_assignments_is_told_where_they_belong(tmp_path):
    (tmp_path / "source").mkdir()
    call = [sys.executable, "-m", "autograder", "check-course", str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, env=grading.environment(), timeout=60)
    assert done.returncode == 2 and "the course has no assignment" in done.stderr
    assert "source/ASSIGNMENT/NOTEBOOK.ipynb" in done.stderr


@pytest.mark.long
def test_students_who_were_graded_by_a_former_test_are_named(tmp_path):
    write_source(tmp_path, DOUBLE, PASSES)
    for student in ("ada", "ben"):
        hand_in(tmp_path, student, RIGHT)
    assert graded(tmp_path) == {"ada": 1.0, "ben": 1.0}
    write_source(tmp_path, DOUBLE, check_cell("t", "assert double(3) == 6"))
    (tmp_path / "submitted" / "ben").rename(tmp_path / "elsewhere")
    done = grading.grade(tmp_path)
    assert "changed after ben; give `grade` their files again" in done.stdout
    (tmp_path / "elsewhere").rename(tmp_path / "submitted" / "ben")
    assert "give `grade` their files again" not in grading.grade(tmp_path).stdout


@pytest.mark.long
def test_a_course_is_graded_from_any_folder_once_tried_with_the_smaller_limit_and_without_the_excluded(
    tmp_path,
):
    config = "c.IncludeHeaderFooter.header = 'source/header.ipynb'\n"
    config += "c.CourseDirectory.student_id_exclude = 'guest,other'\nc.ExecutePreprocessor.timeout = 1\n"
    header = plain("offset = 0")
    write_source(tmp_path, header, assignment="x", notebook="header")
    (tmp_path / "source" / "x" / "header.ipynb").rename(tmp_path / "source" / "header.ipynb")
    (tmp_path / "source" / "x").rmdir()
    write_source(tmp_path, DOUBLE, check_cell("t", "assert double(2) == 4 + offset"), config=config)
    essay = answer("essay", "Why?", points=3.0, kind="markdown")
    write_source(tmp_path, essay, notebook="second", config=config)
    endless = plain("import time\nfor _ in range(60):\n    time.sleep(1)")
    hand_in(tmp_path, "ada", header, endless, RIGHT)
    hand_in(tmp_path, "guest", header, RIGHT)
    call = grading.command(tmp_path, "--workers", "1")
    done = subprocess.run(
        call, capture_output=True, text=True, env=grading.environment(), cwd="/", timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert list(grading.records(tmp_path)) == ["ada"]
    record = grading.records(tmp_path)["ada"]
    assert record["points"] == 1.0 and record["seconds"] < 20
    assert record["cells"]["second: essay"]["points"] == 0.0, "nobody looks for a notebook that is not there"
    assert list(json.loads((tmp_path / ".grading" / "checked.json").read_text())) == ["hw"]


LATE = """\
from nbgrader.plugins import BasePlugin


class Hourly(BasePlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return 0.25 * total_seconds_late / 3600
"""
TIMES = {"ada": "2026-01-01 12:00", "bob": "2026-01-01 14:00", "eve": "2026-01-03 12:00"}


def gradebook(root):
    """The gradebook, which nbgrader makes with a program that stands beside Python."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return Gradebook(f"sqlite:///{root}/gradebook.db")


def set_due(root, day, hour):
    with gradebook(root) as book:
        book.update_or_create_assignment("hw", duedate=datetime.datetime(2026, 1, day, hour))


def penalties(root):
    with gradebook(root) as book:
        return {s.student.id: (s.score, s.late_submission_penalty) for s in book.assignment_submissions("hw")}


@pytest.mark.long
def test_the_courses_own_plugin_sets_late_penalties_after_every_run(tmp_path):
    (tmp_path / "late.py").write_text(LATE)
    config = "c.AssignLatePenalties.plugin_class = 'late.Hourly'\n"
    write_source(tmp_path, DOUBLE, check_cell("t", "assert double(2) == 4", 4.0), config=config)
    for student, when in TIMES.items():
        (hand_in(tmp_path, student, RIGHT) / "timestamp.txt").write_text(f"{when} UTC")
    set_due(tmp_path, 1, 12)
    graded(tmp_path)
    assert penalties(tmp_path) == {"ada": (4.0, 0.0), "bob": (4.0, 0.5), "eve": (4.0, 4.0)}
    set_due(tmp_path, 3, 8)
    assert "0 graded, 3 as before" in grading.grade(tmp_path, "--workers", "1").stdout
    assert penalties(tmp_path) == {"ada": (4.0, 0.0), "bob": (4.0, 0.0), "eve": (4.0, 1.0)}
    (tmp_path / "late.py").write_text(LATE.replace("return", "return 1 / 0 +"))
    done = grading.grade(tmp_path, "--workers", "1")
    assert done.returncode == 2 and "ZeroDivisionError" in done.stderr and "Traceback" not in done.stderr
    assert penalties(tmp_path)["eve"] == (4.0, 1.0), "what was stored stays"
