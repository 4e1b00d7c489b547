"""Solved notebooks of the course through `grade`, and beside stock nbgrader; the report on them."""

import json
import shutil
import subprocess
import sys

import nbformat
import pytest

from autograder.build.course import build
from autograder.grading import report
from autograder.grading.plan import Course
from rslib.errors import DataError
from tests import grading

pytestmark = grading.needs_walls
QUICK = ("01", "05", "08")
"""Notebooks whose solved copies take seconds; `-m slow` grades all of them."""
WHOLE = {"01": 15, "02": 15, "03": 15, "04": 24, "05": 13.25, "06": 17, "07": 13, "08": 10.5, "09": 13.5}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = tmp_path_factory.mktemp("course")
    build(root)
    return root


def hand_in(course, student, number, change=None):
    """Put a solved notebook into submitted/, perhaps changed; the path of it."""
    [source] = course.glob(f"source/{number}_*/*.ipynb")
    target = course / "submitted" / student / source.parent.name / source.name
    target.parent.mkdir(parents=True, exist_ok=True)
    nb = nbformat.read(source, 4)
    for cell in nb.cells:
        if number in QUICK:  # a right answer is right in every variant
            cell.source = cell.source.replace('student=""', f'student="{student}"')
        if change:
            change(cell)
    nbformat.write(nb, target)
    return target


def points(course):
    found = {}
    for path in (course / ".grading").glob("*/*.json"):
        record = json.loads(path.read_text())
        found[record["student"], record["assignment"][:2]] = record
    return found


def blank(cell):
    if cell.metadata.get("nbgrader", {}).get("solution") and not cell.metadata.nbgrader.get("grade"):
        cell.source = "..."


def half(cell):
    if cell.metadata.get("nbgrader", {}).get("grade_id") in ("1_3", "5_1", "8_1_size"):
        cell.source = "raise ValueError('not today')"


@pytest.fixture(scope="module")
def graded(course):
    for number in QUICK:
        for student, change in (("ada", None), ("bob", blank), ("eve", half)):
            hand_in(course, student, number, change)
    done = grading.grade(course)
    assert done.returncode == 0, done.stderr
    return points(course)


@pytest.mark.long
@pytest.mark.parametrize("number", QUICK)
def test_a_solved_notebook_gets_all_points_and_a_blank_one_none(graded, number):
    record = graded["ada", number]
    assert record["points"] == WHOLE[number], {k: c["why"] for k, c in record["cells"].items()}
    assert record["variant"] == "ada"
    assert not record["problem"] and not record["notes"]
    assert graded["bob", number]["points"] == 0
    assert 0 < graded["eve", number]["points"] < WHOLE[number]


@pytest.mark.slow
@pytest.mark.parametrize("number", WHOLE)
def test_every_solved_notebook_gets_all_points(course, number):
    hand_in(course, "zoe", number)
    assert grading.grade(course, "--assignment", number).returncode == 0
    assert points(course)["zoe", number]["points"] == WHOLE[number]


def test_feedback_names_the_idea_and_no_input(course, graded):
    record = graded["eve", "01"]
    cell = next(c for k, c in record["cells"].items() if k == "1_3_check")
    assert cell["why"] and "not today" not in json.dumps(record)
    [verdict] = [v for v in record["verdicts"] if v["exercise"] == "1.3"]
    assert all("case" not in outcome for outcome in verdict["outcomes"])


def stock(course, number):
    """Points that `nbgrader autograde` gives for the same submissions."""
    name = next(course.glob(f"source/{number}_*")).name
    other = course.parent / f"stock-{number}"
    shutil.copytree(course, other, ignore=shutil.ignore_patterns(".grading", "autograded", "gradebook.db"))
    tools = f"{sys.executable.rpartition('/')[0]}:{grading.os.environ['PATH']}"
    trusted = "--RefuseUnsandboxed.trust_submissions=True"
    for words in (("generate_assignment", name, "--force"), ("autograde", name, trusted)):
        call = [sys.executable, "-m", "nbgrader", *words]
        done = subprocess.run(
            call, cwd=other, env=grading.environment(PATH=tools), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr[-2000:]
    return {row[:3]: row[3] for row in grading.gradebook(other)[0] if row[1] == name}


def ours(course, number):
    return {row[:3]: row[3] for row in grading.gradebook(course)[0] if row[1].startswith(number)}


@pytest.mark.long
def test_stock_nbgrader_gives_the_same_points(course, graded):
    expected = stock(course, "08")
    assert ours(course, "08") == expected and len(expected) == 3 * 5


@pytest.mark.slow
@pytest.mark.parametrize("number", WHOLE)
def test_stock_nbgrader_gives_the_same_points_for_every_notebook(tmp_path, number):
    build(tmp_path / "course")
    for student, change in (("zoe", None), ("bob", blank)):
        hand_in(tmp_path / "course", student, number, change)
    assert grading.grade(tmp_path / "course", "--assignment", number).returncode == 0
    assert ours(tmp_path / "course", number) == stock(tmp_path / "course", number)


def test_cells_that_nobody_needs_are_not_run(course, graded):
    [path] = (course / "autograded" / "ada").glob("01_*/*.ipynb")
    cells = nbformat.read(path, 4).cells
    shown = [c for c in cells if c.cell_type == "code" and "rslib.plots" in c.source]
    assert shown and not any(c.outputs for c in shown)
    assert graded["ada", "01"]["seconds"] < 10


def test_the_plan_knows_salt_exercises_and_what_they_read(tmp_path):
    build(tmp_path, salt="autumn")
    [name] = [n for n in Course.open(tmp_path).assignments() if n.startswith("01")]
    [notebook] = Course.open(tmp_path).plan(name).notebooks
    assert notebook.salt == "autumn" and notebook.lazy
    assert notebook.exercise_modules() == ["autograder.exercises.nb01"]
    tests = {c.grade_id: c.reads() for c in notebook.cells if c.role == "test"}
    assert tests["1_3_check"] == ["sample_n", "score"]


# The report -------------------------------------------------------------------------------------------------


def record(student, points, answers=None, **more):
    cells = {
        name: {"points": got, "out_of": 1.0, "by_hand": False, "why": "" if got else "wrong", "where": name}
        for name, got in zip(("a", "b", "c"), points, strict=True)
    }
    base = {
        "student": student,
        "points": sum(points),
        "out_of": 3.0,
        "cells": cells,
        "verdicts": [],
        "notes": [],
    }
    return base | {"problem": "", "isolation": "bubblewrap", "variant": "", "answers": answers or {}} | more


def test_pass_rates_intervals_and_discrimination_are_those_of_a_hand():
    rows = report.rows([record("x", (1, 1, 0)), record("y", (1, 0, 0)), record("z", (0, 0, 0))])
    assert [(row.passed, row.students) for row in rows] == [(2, 3), (1, 3), (0, 3)]
    assert rows[0].discrimination == pytest.approx(0.5) and rows[2].discrimination is None
    assert rows[2].wrong == ("wrong", 3) and (rows[2].low, round(rows[2].high, 2)) == (0.0, 0.56)


def test_the_same_work_is_found_and_answers_that_many_gave_do_not_count():
    mine = {"1": "p", "2": "q", "3": "r", "4": "s"}
    copied = [record("x", (0, 0, 0), mine), record("y", (1, 0, 0), mine | {"4": "t"} | {"5": ""})]
    crowd = [record(f"s{k}", (0, 0, 0), {"1": "u", "2": "v", "3": "w", "4": str(k)}) for k in range(9)]
    assert report.identical([*copied, *crowd]) == []
    copied[1]["answers"]["4"] = "s"
    assert report.identical([*copied, *crowd]) == [("x", "y")]


def test_the_page_stands_alone_and_escapes_what_strangers_wrote(graded, course):
    evil = record("<script>", (0, 0, 0), problem="<img onerror=x>", variant="'\"<b>")
    page = report.page("x", [evil, record("y", (1, 1, 1))])
    assert "<script" not in page and "<img onerror" not in page and "http://" not in page
    assert report.main(["--course", str(course)]) == 0
    pages = sorted(p.name for p in (course / "report").iterdir())
    assert [name[:2] for name in pages] == list(QUICK)


@pytest.mark.parametrize("only, pages", [("1", ["1_a"]), ("10_b", ["10_b"]), ("", ["10_b", "1_a"])])
def test_the_report_is_on_the_assignment_that_is_named_or_has_the_number(tmp_path, only, pages):
    for assignment in ("1_a", "10_b"):
        folder = tmp_path / ".grading" / assignment
        folder.mkdir(parents=True)
        (folder / "x.json").write_text(json.dumps(record("x", (1, 1, 0))))
    assert report.main(["--course", str(tmp_path), "--assignment", only]) == 0
    assert sorted(p.stem for p in (tmp_path / "report").iterdir()) == pages


def test_the_report_says_why_a_notebook_was_stopped_where_its_own_page_does_not():
    told = record("y", (0, 0, 0), stopped="of its memory", notes=["It was stopped early."])
    page = report.page("x", [record("x", (0, 0, 0), stopped="its time was over"), told])
    assert "Stopped: its time was over." in page and "Stopped: of its" not in page


def test_a_report_without_gradings_and_a_broken_record_are_told(tmp_path):
    with pytest.raises(DataError, match="nothing was graded yet"):
        report.main(["--course", str(tmp_path)])
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match=r"cannot be read"):
        report.read(tmp_path)
