"""From a learner's file to the notebook that is graded; and which cells of it are run."""

import json
import os
import zipfile

import pytest

from autograder.grading import intake, names
from autograder.grading.intake import Raw, Unreadable
from autograder.grading.needed import effects, needed
from autograder.grading.plan import Course
from autograder.grading.rebuild import rebuild
from rslib.errors import ConfigError, DataError
from tests import grading, hostile

NAMES = {"01_one": ["01_one"], "02_two": ["02_two"]}


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    course = Course.open(hostile.write_course(tmp_path_factory.mktemp("plan")))
    return course.plan("hw").notebooks[0]


def cell(source, grade_id="", id="", kind="code"):
    return Raw(kind, source, id, grade_id)


RIGHT = hostile.RIGHT["double"]


# The instructor's side --------------------------------------------------------------------------------------


def test_the_plan_knows_roles_points_and_what_is_hidden(notebook):
    roles = {c.grade_id or c.id: c.role for c in notebook.cells}
    assert (
        roles["double"] == roles["essay"] == "answer"
        and roles["test_total"] == "test"
        and roles["setup"] == "plain"
    )
    test = next(c for c in notebook.cells if c.grade_id == "test_double")
    assert (
        test.hidden
        and hostile.CANARY in test.source
        and hostile.CANARY not in test.release
        and test.points == 2
    )
    assert all("return 2" not in c.release for c in notebook.cells)
    assert [text.split("(")[0] for text in notebook.trusted] == [
        "import numpy as np",
        "CASES = [3, 5]",
        "def close",
    ]
    assert names.asked(notebook.cells) == {"double", "total", "describe"}


def test_a_folder_without_source_is_no_course(tmp_path):
    with pytest.raises(ConfigError, match="no nbgrader course"):
        Course.open(tmp_path)


# Files ------------------------------------------------------------------------------------------------------

DOWNLOADS = [
    ("ada_01_one.ipynb", "ada", 0),
    ("ada_LATE_12_345_01_one-2.ipynb", "ada_12", 2),
    ("ada_01_one (1).ipynb", "ada", 1),
    ("Ada L_7_assignsubmission_file_/01_one.ipynb", "Ada L_7", 0),
    ("größe_01_one.ipynb", "größe", 0),
    ("ada/01_one/01_one.ipynb", "ada", 0),
    ("x@y.org_01_one.ipynb", "x@y.org", 0),
]


@pytest.mark.parametrize(("name", "student", "version"), DOWNLOADS, ids=lambda v: str(v))
def test_names_of_learning_platforms_are_read(tmp_path, name, student, version):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    [one] = intake.find(tmp_path, NAMES).submissions
    assert (one.student, one.assignment, one.files["01_one"].version) == (student, "01_one", version)


def test_of_several_files_the_highest_number_counts_and_strays_are_told(tmp_path):
    for name in (
        "ada_01_one.ipynb",
        "ada_01_one-3.ipynb",
        "ada_01_one-1.ipynb",
        "what.ipynb",
        "01_one.ipynb",
        "-x_01_one.ipynb",
    ):
        (tmp_path / name).write_text(name)
    found = intake.find(tmp_path, NAMES)
    ada = next(one for one in found.submissions if one.student == "ada")
    assert ada.files["01_one"].read() == b"ada_01_one-3.ipynb"
    assert {"what.ipynb", "01_one.ipynb", "-x_01_one.ipynb"} <= set(found.strays)


def test_a_zip_is_read_without_being_unpacked(tmp_path):
    path = tmp_path / "all.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ada_01_one.ipynb", "{}")
        archive.writestr("../../eve_01_one.ipynb", "{}")
        archive.writestr("bob_01_one.ipynb", b"x" * (intake.MAX_FILE + 10))
        archive.writestr("__MACOSX/._ada_01_one.ipynb", "x")
        link = zipfile.ZipInfo("mal_01_one.ipynb")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    found = {one.student: one for one in intake.find(path, NAMES).submissions}
    assert found.keys() == {"ada", "bob", "mal"}
    assert "larger" in found["bob"].problem and "link" in found["mal"].problem
    assert found["ada"].files["01_one"].read() == b"{}"


def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_is_read(tmp_path):
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("ada_01_one.ipynb", bytes(60_000_000))
    content = path.read_bytes().replace((60_000_000).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    path.write_bytes(content)
    [one] = intake.find(path, NAMES).submissions
    with pytest.raises(Unreadable):
        one.files["01_one"].read()


def test_the_collectors_time_is_read(tmp_path):
    folder = tmp_path / "ada" / "01_one"
    folder.mkdir(parents=True)
    (folder / "01_one.ipynb").write_text("{}")
    (folder / "timestamp.txt").write_text("2026-11-25 12:00:00.5 CET+01:00".replace(" CET", " "))
    [one] = intake.find(tmp_path, NAMES).submissions
    assert one.when.isoformat().startswith("2026-11-25T11:00:00")


def test_no_submissions_is_an_error_that_says_where(tmp_path):
    with pytest.raises(DataError, match="no submissions"):
        intake.find(tmp_path / "nowhere", NAMES)


def test_a_fifo_and_a_device_are_never_opened_for_reading(tmp_path):
    os.mkfifo(tmp_path / "ada_01_one.ipynb")
    os.symlink("/dev/zero", tmp_path / "eve_01_one.ipynb")
    problems = {one.student: one.problem for one in intake.find(tmp_path, NAMES).submissions}
    assert "ordinary" in problems["ada"] and "link" in problems["eve"]


# Cells ------------------------------------------------------------------------------------------------------


def placed(found, name):
    return next(step for step in found.steps if step.cell and step.cell.grade_id == name)


def test_tests_and_locked_text_come_from_the_instructor(notebook):
    found = rebuild(notebook, [cell("3", "test_double"), cell(RIGHT, "double")])
    assert (
        placed(found, "test_double").source
        == next(c for c in notebook.cells if c.grade_id == "test_double").source
    )
    assert "The check cell test_double had been changed; the original was used." in found.notes
    assert "The check cell test_total was missing; it was restored." in found.notes
    assert "The cell total was not found; it counts as not answered." in found.notes
    assert found.blank == {"total", "describe", "essay"}


@pytest.mark.parametrize(
    ("given", "how"),
    [
        (cell(RIGHT, id="double"), "its cell id"),
        (cell(f"# exercise: double\n{RIGHT}"), "its comment"),
        (cell(RIGHT), "the names that it defines"),
    ],
)
def test_an_answer_without_metadata_is_known_by_other_signs(notebook, given, how):
    found = rebuild(notebook, [cell("x = 1"), given])
    assert placed(found, "double").source == given.source
    assert f"The cell double had lost its metadata and was known by {how}." in found.notes


def test_of_copies_the_last_filled_one_counts(notebook):
    stub = next(c for c in notebook.cells if c.grade_id == "double").release
    found = rebuild(
        notebook, [cell("a = 1", "double"), cell(RIGHT, "double"), cell(stub, "double"), cell("", "double")]
    )
    assert placed(found, "double").source == RIGHT
    assert any("4 copies" in note for note in found.notes)


def test_helpers_stand_before_the_answer_that_they_help_wherever_that_was_moved(notebook):
    raw = [
        cell("helper = 1"),
        cell(hostile.RIGHT["describe"], "describe"),
        cell("late = 1"),
        cell(RIGHT, "double"),
    ]
    steps = [
        s.source if s.cell is None else s.cell.grade_id or s.cell.id for s in rebuild(notebook, raw).steps
    ]
    assert steps.index("helper = 1") < steps.index("describe")
    assert steps.index("late = 1") < steps.index("double")


NOTEBOOK = {"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": []}
ODD = [
    b"",
    b"x",
    b"[]",
    b"{}",
    json.dumps(NOTEBOOK | {"nbformat": 3}).encode(),
    json.dumps(NOTEBOOK | {"cells": 1}).encode(),
    b'{"worksheets": []}',
    b"[" * 100_000,
    b"\xff\xfe" + b"x",
    b'{"cells": [' + b"{}," * 3_000_000 + b"{}]}",
]


@pytest.mark.parametrize("content", ODD, ids=lambda c: repr(c[:20]))
def test_what_is_no_notebook_is_told_in_a_sentence(content):
    with pytest.raises(Unreadable, match=r"\.$"):
        intake.cells(content)


def test_cells_of_a_wrong_kind_are_left_out_with_a_sentence():
    odd = [
        None,
        3,
        {"cell_type": "code", "source": 7},
        {"cell_type": "code", "source": ["a", "b"], "metadata": None},
    ]
    found, notes = intake.cells(json.dumps(NOTEBOOK | {"cells": odd}).encode())
    assert [one.source for one in found] == ["ab"] and len(notes) == 2


# Which cells are run ----------------------------------------------------------------------------------------


def run(*sources, reads=None, theirs=()):
    """Places that are run; the last cell is a test that reads `reads`."""
    texts = ["begin()", *sources, "check()"]
    said = [None] * (len(texts) - 1) + [set(reads or ())]
    free = [k not in (0, len(texts) - 1, *theirs) for k in range(len(texts))]
    return sorted(needed(texts, said, free) - {0, len(texts) - 1})


def test_what_nobody_reads_is_left_out():
    assert run("a = 1", "print(2)", "b = a") == []
    assert run("a = 1", "print(2)", "b = a", reads="b") == [1, 3]


def test_only_the_nearest_value_before_the_reader_counts():
    assert run("a = 1", "a = 2", "b = a", "a = 3", reads="b") == [2, 3]
    assert run("a = 1", "if x: a = 2", "b = a", reads="b") == [1, 2, 3]
    assert run("a = []", "a.append(1)", "a[0] = 2", "b = a", reads="b") == [1, 2, 3, 4]
    assert run("a = 1", "a += 1", reads="a") == [1, 2]


def test_what_functions_read_may_be_given_later():
    assert run("def f(): return g()", "def g(): return k", "k = 1", reads="f") == [1, 2, 3]
    assert run("def f(k): return k", "k = 1", reads="f") == [1]
    assert run("f = lambda: [a for a in b]", "b = 1", "a = 1", reads="f") == [1, 2]


def test_all_runs_where_a_learners_text_cannot_be_read():
    assert run("a = 1", "exec('a')", theirs=[2]) == [1, 2]
    assert run("a = 1", "x = (", theirs=[2]) == [1, 2]
    assert run("a = 1", "np.random.seed(0)") == [2]


def test_effects_of_what_is_no_python_are_unknown():
    assert effects("x = (") is None
    assert effects("%matplotlib inline\nx = 1").writes == {"x"}


def test_a_helper_of_the_tests_finds_processes_by_course(tmp_path):
    assert grading.left_processes(tmp_path) == []
