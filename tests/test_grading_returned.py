"""What students get back after a person has scored: `python -m autograder feedback`."""

import csv
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook

from autograder import __main__
from autograder.grading.book import Book, Journal
from autograder.grading.intake import Submission
from autograder.grading.pages import Mark, Marks, feedback
from autograder.grading.plan import Course
from autograder.grading.run import store
from autograder.grading.score import failed
from rslib.errors import DataError
from tests import hostile

EVIL = "<b onclick=alert(1)>well done</b>"


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A course with the record of one submission that was graded as blank; no sandbox is needed for that."""
    root = tmp_path_factory.mktemp("graded")
    hostile.write_course(root)
    course = Course.open(root)
    plan = course.plan("hw")
    with pytest.MonkeyPatch.context() as patch:  # nbgrader calls alembic by its name
        patch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
        course.tell_gradebook(plan)
    found = failed(plan, Submission("ada", "hw"), {"submission": "", "release": ""}, "none", ValueError("x"))
    with Book(course) as book:
        store(course, Journal(course.root), book, found)
    return root


@pytest.fixture
def course(graded, tmp_path):
    """A copy of it."""
    return Path(shutil.copytree(graded, tmp_path / "course"))


def page(course):
    return (course / "feedback" / "ada" / "hw" / "hw.html").read_text(encoding="utf-8")


def row(text, cell):
    """What the page's table says of a cell."""
    found = re.search(rf"<th scope='row'>{cell}</th>(.*?)</tr>", text)[1]
    return re.findall("<td>(.*?)</td>", found)


def give(course, cell, **marks):
    """A person's marks, as formgrader stores them."""
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        grade = book.find_grade(cell, "hw", "hw", "ada")
        for name, value in marks.items():
            setattr(grade, name, value)
        book.db.commit()


def comment(course, cell, text):
    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        book.find_comment(cell, "hw", "hw", "ada").manual_comment = text
        book.db.commit()


def run(course, *words):
    return __main__.main(["feedback", "--course", str(course), *words])


def test_a_score_by_hand_extra_credit_and_a_comment_reach_the_page_and_the_tables(course):
    assert row(page(course), "essay")[0] == "0"
    give(course, "essay", manual_score=3.5, extra_credit=1.0, needs_manual_grade=False)
    comment(course, "essay", EVIL)
    assert run(course) == 0
    text = page(course)
    assert row(text, "essay") == ["3.5 and 1 extra", "4", "Scored by hand."]
    assert "<h1>hw: 4.5 of 10 points</h1>" in text
    assert "&lt;b onclick=alert(1)&gt;well done&lt;/b&gt;" in text and "<b " not in text
    [result] = csv.DictReader((course / "results.csv").open())
    assert float(result["score"]) == 4.5


def test_a_comment_on_an_answer_that_a_program_scored_is_shown_too(course):
    comment(course, "double", "Mind the sign.")
    run(course)
    assert "Mind the sign." in page(course)


def test_a_score_that_is_taken_back_is_gone_from_the_page(course):
    give(course, "essay", manual_score=3.0)
    run(course)
    give(course, "essay", manual_score=None)
    run(course)
    assert row(page(course), "essay")[0] == "0"


def test_a_score_for_work_that_has_changed_since_says_so(course):
    give(course, "essay", manual_score=3.0, needs_manual_grade=True)
    run(course)
    assert row(page(course), "essay")[2].startswith("Scored by hand; the work has changed since")


def test_a_penalty_for_lateness_is_a_row_and_is_subtracted(course):
    record = Journal(course).read("hw", "ada")
    nb = nbformat.v4.new_notebook()
    text = feedback(record, nb, "hw", Marks({"hw/essay": Mark(3.0)}, {}, 2.0))
    assert row(text, "late submission")[0] == "-2" and "<h1>hw: 1 of 10 points</h1>" in text
    assert "<h1>hw: 0 of 10 points</h1>" in feedback(record, nb, "hw", Marks({}, {}, 2.0))


def test_cells_that_nobody_has_scored_yet_are_counted(course):
    record = Journal(course).read("hw", "ada")
    record["cells"]["essay"]["points"] = None
    text = feedback(record, nbformat.v4.new_notebook(), "hw")
    assert "still to be scored by hand: 1" in text and row(text, "essay")[0] == "by hand"


def test_a_notebook_of_another_grader_is_named_and_not_shown(course, capsys):
    path = course / "autograded" / "ada" / "hw" / "hw.ipynb"
    nb = nbformat.read(path, 4)
    nb.cells[0].id, nb.cells[0].source = "setup", "assert secret == 41"
    nbformat.write(nb, path)
    assert run(course) == 1
    assert (
        "not written: hw, ada: its notebook in autograded/ is not from this grader" in capsys.readouterr().out
    )
    assert "secret == 41" not in page(course)


def test_a_missing_notebook_is_named(course, capsys):
    (course / "autograded" / "ada" / "hw" / "hw.ipynb").unlink()
    assert run(course) == 1
    assert "not written: hw, ada: " in capsys.readouterr().out


def test_a_course_of_which_nothing_is_graded_gets_no_gradebook(tmp_path, capsys):
    hostile.write_course(tmp_path)
    assert run(tmp_path) == 2 and "nothing was graded yet" in capsys.readouterr().err
    assert not (tmp_path / "gradebook.db").exists()


def test_two_notebooks_share_one_total_and_each_page_has_its_own_comments(course):
    record = Journal(course).read("hw", "ada")
    record["cells"]["b: essay"] = record["cells"]["essay"] | {"where": "b/essay"}
    marks = Marks({"hw/essay": Mark(1.0), "b/essay": Mark(2.0)}, {"b/essay": "only here"})
    cell = nbformat.v4.new_markdown_cell("x", metadata={"nbgrader": {"grade_id": "essay"}})
    pages = [feedback(record, nbformat.v4.new_notebook(cells=[cell]), name, marks) for name in ("hw", "b")]
    assert ["only here" in page for page in pages] == [False, True]
    assert ["<h1>hw: 3 of" in pages[0], "<h1>b: 3 of" in pages[1]] == [True, True]


def test_an_assignment_of_which_nothing_is_graded_is_refused(course, capsys):
    assert run(course, "--assignment", "other") == 2
    assert DataError.__name__ in (said := capsys.readouterr().err) and "nothing was graded yet" in said
