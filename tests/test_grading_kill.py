"""A grader that is killed, two graders at once, changed submissions and tests, scores given by hand."""

import json
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import time

import nbformat
import pytest

from tests import grading, hostile
from tests.hostile import HONEST, Attack

pytestmark = [grading.needs_walls, pytest.mark.long]
MANY = [
    Attack(f"student_{k:02d}", "honest" if k % 3 else "steal", points=0.0, extra=(f"x = {k}",))
    for k in range(30)
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The gradebook of an uninterrupted run."""
    root = grading.course(tmp_path_factory.mktemp("whole"), *MANY)
    start = time.monotonic()
    assert grading.grade(root).returncode == 0
    return root, time.monotonic() - start


def killed(root, seconds):
    """Start a grader and kill it, and nothing else, after some seconds."""
    process = subprocess.Popen(
        grading.command(root), env=grading.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(seconds)
    process.send_signal(signal.SIGKILL)
    process.wait()


def check_killed(whole, tmp_path, moments):
    complete, seconds = whole
    rng = random.Random(20)
    for k in range(moments):
        root = grading.course(tmp_path / str(k), *MANY)
        killed(root, rng.uniform(0.3, 1.0) * seconds)
        done = grading.grade(root)
        assert done.returncode == 0, done.stderr
        assert grading.gradebook(root) == grading.gradebook(complete)
        assert all(record["state"] == "scored" for record in grading.records(root).values())
        assert not list(root.rglob(".*.ipynb*")) or grading.grade(root).returncode == 0
        time.sleep(0.2)
        assert not grading.left_processes(root)


def test_a_killed_grader_is_started_again_and_nothing_is_lost(whole, tmp_path):
    check_killed(whole, tmp_path, 2)


@pytest.mark.slow
def test_twenty_kills(whole, tmp_path):
    check_killed(whole, tmp_path, 20)


def test_of_two_graders_one_waits_its_turn(whole, tmp_path):
    root = grading.course(tmp_path, *MANY)
    pair = [
        subprocess.Popen(
            grading.command(root),
            env=grading.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=300) for process in pair]
    codes = sorted(process.returncode for process in pair)
    assert codes in ([0, 2], [0, 0]), said
    assert codes == [0, 0] or any("another grader is at work" in err for _, err in said)
    assert grading.gradebook(root) == grading.gradebook(whole[0])


def test_only_what_changed_is_graded_again(tmp_path):
    root = grading.course(tmp_path, *MANY[:4])
    grading.grade(root)
    shutil.rmtree(root / "submitted" / MANY[1].name)
    Attack(MANY[1].name, "steal", extra=("x = 'another'",)).write(root / "submitted")
    HONEST[0].write(root / "submitted")
    assert "2 graded, 3 as before" in grading.grade(root).stdout
    assert (
        "student_01: 6 -> 0" in grading.grade(root).stdout
        or grading.records(root)["student_01"]["points"] == 0
    )


def test_a_changed_test_grades_again_and_says_whose_points_moved_and_why(tmp_path):
    root = grading.course(tmp_path, *MANY[:4])
    grading.grade(root)
    path = root / "source" / "hw" / "hw.ipynb"
    nb = nbformat.read(path, 4)
    cell = next(c for c in nb.cells if c.id == "test_describe")
    cell.source = "assert describe([2, 2]) == {'mean': 2, 'size': 3}"
    nbformat.write(nb, path)
    assert grading.grade(root).returncode == 2, "no answer passes this test, the instructor's neither"
    done = grading.grade(root, "--skip-check")
    moved = re.findall(
        r"student_0(\d): 6 -> 5 \(test_describe 1 -> 0\), because a test, or the points", done.stdout
    )
    assert moved == ["1", "2"], done.stdout
    assert {r["points"] for r in grading.records(root).values()} == {0.0, 5.0}


def test_a_score_given_by_hand_survives_and_comes_up_again_only_for_a_new_answer(tmp_path):
    root = grading.course(tmp_path, *MANY[:3])
    grading.grade(root)
    by_hand(root, "essay", 3.5)
    grading.grade(root)
    path = root / "source" / "hw" / "hw.ipynb"
    path.write_text(path.read_text().replace("describe([1, 2, 3])", "describe([1, 3, 2])"))
    grading.grade(root)
    essays = [row for row in grading.gradebook(root)[0] if row[2] == "essay"]
    assert [(row[4], row[6]) for row in essays] == [(3.5, 0)] * 3
    shutil.rmtree(root / "submitted" / MANY[1].name)
    Attack(MANY[1].name, "honest", {"essay": "A new essay."}).write(root / "submitted")
    grading.grade(root)
    essays = {row[0]: (row[4], row[6]) for row in grading.gradebook(root)[0] if row[2] == "essay"}
    assert essays == {"student_00": (3.5, 0), "student_01": (3.5, 1), "student_02": (3.5, 0)}


def by_hand(root, cell, points):
    """What formgrader does when a person gives points."""
    with sqlite3.connect(root / "gradebook.db") as base:
        base.execute(
            "update grade set manual_score = ?, needs_manual_grade = 0 where cell_id in "
            "(select id from base_cell where name = ?)",
            (points, cell),
        )


def test_a_lost_gradebook_is_written_again_without_running_anything(whole, tmp_path):
    root = tmp_path / "course"
    shutil.copytree(whole[0], root)
    (root / "gradebook.db").unlink()
    done = grading.grade(root)
    assert "(was graded before)" in done.stdout
    assert grading.gradebook(root) == grading.gradebook(whole[0])


def test_inputs_of_hidden_checks_come_from_the_courses_secret(tmp_path):
    root = grading.course(tmp_path, HONEST[0])
    grading.grade(root)
    secret = root / ".grading" / "secret"
    assert secret.stat().st_mode & 0o077 == 0 and len(secret.read_text()) == 64
    assert secret.read_text() not in json.dumps(grading.records(root))
    assert hostile.CANARY not in json.dumps(grading.records(root))
