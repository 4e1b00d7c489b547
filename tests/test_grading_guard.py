"""Before a class is graded, the instructor's own solution is; what keeps it from all points is named."""

from __future__ import annotations

import datetime
import json
import os
import subprocess
import sys
from pathlib import Path

from nbgrader.api import Gradebook

from tests import grading
from tests.grading import answer, check_cell, hand_in, plain, write_source

pytestmark = grading.needs_walls
DOUBLE = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
RIGHT = answer("double", "def double(x):\n    return x + x")


def check_course(root, *options):
    call = [sys.executable, "-m", "autograder", "check-course", str(root), *options]
    return subprocess.run(call, capture_output=True, text=True, env=grading.environment(), timeout=300)


def graded(root, *options):
    done = grading.grade(root, "--workers", "1", *options)
    assert done.returncode == 0, done.stderr
    return {name: record["points"] for name, record in grading.records(root).items()}


def test_a_course_whose_solution_gets_all_points_is_graded_and_tried_once(tmp_path):
    write_source(tmp_path, answer("double", DOUBLE), check_cell("t", "assert double(2) == 4"))
    hand_in(tmp_path, "ada", RIGHT)
    assert graded(tmp_path) == {"ada": 1.0}
    assert list(json.loads((tmp_path / ".grading" / "checked.json").read_text())) == ["hw"]


WRONG_TEST = (
    answer("double", DOUBLE),
    check_cell("t", "assert double(2) == 4"),
    check_cell("u", "assert double(3) == 7"),
)


def test_nothing_is_graded_where_the_solution_falls_short_and_the_cell_is_named(tmp_path):
    write_source(tmp_path, *WRONG_TEST)
    hand_in(tmp_path, "ada", RIGHT)
    done = grading.grade(tmp_path)
    assert done.returncode == 2 and grading.records(tmp_path) == {}
    assert "hw/hw, cell u: 0 of 1 points" in done.stderr and "assert double(3) == 7" in done.stderr
    assert "cell t" not in done.stderr and "check-course" in done.stderr


def test_the_check_can_be_skipped_by_name(tmp_path):
    write_source(tmp_path, *WRONG_TEST)
    hand_in(tmp_path, "ada", RIGHT)
    assert graded(tmp_path, "--skip-check") == {"ada": 1.0}


def test_a_hidden_test_is_explained_to_the_instructor_alone(tmp_path):
    hidden = "### BEGIN HIDDEN TESTS\nassert double(-3.5) == 7, 'sign'\n### END HIDDEN TESTS"
    write_source(tmp_path, answer("double", DOUBLE), check_cell("t", hidden))
    done = grading.grade(hand_in(tmp_path, "ada", RIGHT).parents[2])
    assert "assert double(-3.5) == 7" in done.stderr and "sign" in done.stderr
    graded(tmp_path, "--skip-check")
    assert "-3.5" not in json.dumps(grading.records(tmp_path))


def test_an_answer_without_a_solution_is_named(tmp_path):
    write_source(
        tmp_path,
        answer("double", "# YOUR CODE HERE\nraise NotImplementedError()"),
        check_cell("t", "assert double(2) == 4"),
    )
    hand_in(tmp_path, "ada", RIGHT)
    assert "(double: as released)" in grading.grade(tmp_path).stderr


def test_a_module_that_is_not_installed_is_named_before_anybody_loses_points(tmp_path):
    setup = plain("import no_such_module_here\ntry:\n    import optional_one\nexcept ImportError:\n    pass")
    write_source(tmp_path, setup, answer("double", DOUBLE), check_cell("t", "assert double(2) == 4"))
    hand_in(tmp_path, "ada", RIGHT)
    done = grading.grade(tmp_path)
    assert done.returncode == 2 and "'no_such_module_here' is not installed" in done.stderr
    assert "optional_one" not in done.stderr and grading.records(tmp_path) == {}


def test_check_course_tries_every_assignment_and_writes_no_gradebook(tmp_path):
    write_source(
        tmp_path, answer("double", DOUBLE), check_cell("t", "assert double(2) == 4"), assignment="ps1"
    )
    write_source(tmp_path, *WRONG_TEST, assignment="ps2")
    free = check_cell("free", "assert callable(double)")
    write_source(
        tmp_path, answer("double", DOUBLE), free, check_cell("t", "print(get_ipython)"), assignment="ps3"
    )
    done = check_course(tmp_path)
    assert done.returncode == 1 and not (tmp_path / "gradebook.db").exists()
    assert "ok  ps1" in done.stdout and "NO  ps2" in done.stdout and "2 of 3" in done.stdout
    assert "note: free: the release gets points as it is handed out" in done.stdout
    assert "`get_ipython` asks IPython" in done.stdout


def test_a_course_is_graded_from_any_folder_though_its_settings_are_relative(tmp_path):
    header = "c.IncludeHeaderFooter.header = 'source/header.ipynb'\n"
    write_source(tmp_path, plain("offset = 0"), assignment="x", notebook="header")
    (tmp_path / "source" / "x" / "header.ipynb").rename(tmp_path / "source" / "header.ipynb")
    (tmp_path / "source" / "x").rmdir()
    cells = (answer("double", DOUBLE), check_cell("t", "assert double(2) == 4 + offset"))
    write_source(tmp_path, *cells, config=header)
    hand_in(tmp_path, "ada", plain("offset = 0"), RIGHT)
    call = grading.command(tmp_path, "--workers", "1")
    done = subprocess.run(
        call, capture_output=True, text=True, env=grading.environment(), cwd="/", timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert grading.records(tmp_path)["ada"]["points"] == 1.0


# What the course says of time and lateness ----------------------------------------------------------------

LATE = """\
from nbgrader.plugins import BasePlugin


class Hourly(BasePlugin):
    def late_submission_penalty(self, student_id, score, total_seconds_late):
        return 0.25 * total_seconds_late / 3600
"""


DUE = "2026-01-01 12:00"


def late_course(root, config):
    write_source(root, answer("double", DOUBLE), check_cell("t", "assert double(2) == 4", 4.0), config=config)
    for student, when in (
        ("ada", "2026-01-01 12:00"),
        ("bob", "2026-01-01 14:00"),
        ("eve", "2026-01-03 12:00"),
    ):
        (hand_in(root, student, RIGHT) / "timestamp.txt").write_text(f"{when} UTC")
    with gradebook(root) as book:
        book.add_assignment("hw", duedate=datetime.datetime.fromisoformat(DUE))


def gradebook(root):
    """The gradebook, which nbgrader makes with a program that stands beside Python."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return Gradebook(f"sqlite:///{root}/gradebook.db")


def penalties(root):
    with gradebook(root) as book:
        return {s.student.id: (s.score, s.late_submission_penalty) for s in book.assignment_submissions("hw")}


def test_the_courses_own_plugin_sets_late_penalties_never_above_the_score(tmp_path):
    (tmp_path / "late.py").write_text(LATE)
    late_course(tmp_path, "c.AssignLatePenalties.plugin_class = 'late.Hourly'\n")
    graded(tmp_path)
    assert penalties(tmp_path) == {"ada": (4.0, 0.0), "bob": (4.0, 0.5), "eve": (4.0, 4.0)}


def test_a_new_due_date_changes_penalties_without_grading_anybody_again(tmp_path):
    late_course(tmp_path, "c.LateSubmissionPlugin.penalty_method = 'zero'\n")
    graded(tmp_path)
    assert penalties(tmp_path) == {"ada": (4.0, 0.0), "bob": (4.0, 4.0), "eve": (4.0, 4.0)}
    with gradebook(tmp_path) as book:
        book.update_or_create_assignment("hw", duedate=datetime.datetime(2026, 1, 2))
    done = grading.grade(tmp_path, "--workers", "1")
    assert "0 graded, 3 as before" in done.stdout
    assert penalties(tmp_path) == {"ada": (4.0, 0.0), "bob": (4.0, 0.0), "eve": (4.0, 4.0)}


def test_a_plugin_that_fails_is_one_sentence_and_loses_no_grade(tmp_path):
    (tmp_path / "late.py").write_text(LATE.replace("return", "return 1 / 0 +"))
    late_course(tmp_path, "c.AssignLatePenalties.plugin_class = 'late.Hourly'\n")
    done = grading.grade(tmp_path, "--workers", "1")
    assert done.returncode == 2 and "ZeroDivisionError" in done.stderr and "Traceback" not in done.stderr
    assert {name: r["points"] for name, r in grading.records(tmp_path).items()} == dict.fromkeys(
        ("ada", "bob", "eve"), 4.0
    )


def test_the_smaller_of_the_two_times_for_a_cell_counts(tmp_path):
    cells = (answer("double", DOUBLE), check_cell("t", "assert double(2) == 4"))
    write_source(tmp_path, *cells, config="c.ExecutePreprocessor.timeout = 1\n")
    endless = plain("import time\nfor _ in range(60):\n    time.sleep(1)")
    hand_in(tmp_path, "ada", endless, RIGHT)
    assert graded(tmp_path) == {"ada": 1.0}
    assert grading.records(tmp_path)["ada"]["seconds"] < 20


def test_students_whom_the_course_excludes_are_left_out_and_a_missing_notebook_waits_for_nobody(tmp_path):
    config = "c.CourseDirectory.student_id_exclude = 'guest,other'\n"
    write_source(tmp_path, answer("double", DOUBLE), check_cell("t", "assert double(2) == 4"), config=config)
    essay = answer("essay", "Why?", points=3.0, kind="markdown")
    write_source(tmp_path, essay, notebook="second", config=config)
    hand_in(tmp_path, "ada", RIGHT)
    hand_in(tmp_path, "guest", RIGHT)
    assert graded(tmp_path) == {"ada": 1.0}
    cells = grading.records(tmp_path)["ada"]["cells"]
    assert cells["second: essay"]["points"] == 0.0
