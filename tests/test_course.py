"""`make course` writes a course that stock nbgrader releases, collects, marks and reports."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from autograder import course
from autograder.release import NOTEBOOKS, release, scripts
from tests.toy_course import toy_script

NAME = "90_toy"


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The toy's script, its exercise known to this process as it is to the notebook's kernel."""
    with toy_script(tmp_path_factory.mktemp("toy")) as script:
        yield script


def nbgrader(folder: Path, *arguments: str) -> None:
    """Run nbgrader as an instructor does, with no settings but those of the course directory."""
    own = {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "JUPYTER_CONFIG_DIR": str(folder / ".jupyter"),
        "IPYTHONDIR": str(folder / ".ipython"),
    }
    command = [sys.executable, "-m", "nbgrader", *arguments]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | own, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


def cell_of(nb, grade_id):
    return next(c for c in nb.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


def answered(body):
    """A submission with this body of the function."""

    def hand_in(nb):
        cell_of(nb, "90_1").source = f"def double(x):\n    {body}"

    return hand_in


def edited_test(nb):
    cell_of(nb, "90_1_check").source = "2.0"


def stopped(nb):
    cell_of(nb, "90_1").source = "raise RuntimeError('before the function')"


def without_setup(nb):
    """The check cell itself raises: `check` was never imported."""
    answered("return x + x")(nb)
    nb.cells = [cell for cell in nb.cells if cell.id != "setup"]


def through_colab(nb):
    """What Colab leaves behind: no cell ids, metadata of its own, a badge in front."""
    answered("return x + x")(nb)
    nb.nbformat_minor = 0
    nb.metadata |= {"colab": {"provenance": [], "name": "toy"}, "accelerator": "GPU"}
    badge = {"id": "view-in-github", "colab_type": "text"}
    nb.cells.insert(0, nbformat.v4.new_markdown_cell("<a>Open in Colab</a>", metadata=badge))
    for at, cell in enumerate(nb.cells):
        cell.pop("id", None)
        cell.metadata |= {
            "id": f"c{at}",
            "colab": {"base_uri": "x"},
            "executionInfo": {"user": {"userId": "1"}},
        }


SUBMISSIONS = {
    "right": (answered("return x + x"), 2.0),
    "blank": (lambda nb: None, 0.0),
    "half": (answered("return 2 * abs(x)"), 1.5),
    "edited": (edited_test, 0.0),
    "colab": (through_colab, 2.0),
    "stopped": (stopped, 0.0),
    "unprepared": (without_setup, 0.0),
    "noisy": (answered("import os; os.write(2, b'a warning'); print('hello'); return 2 * x"), 2.0),
}


@pytest.fixture(scope="module")
def marked(toy, tmp_path_factory):
    """A course after release, collection, marking, feedback and export."""
    folder = tmp_path_factory.mktemp("course")
    course.build(folder, solutions=toy.parent)
    nbgrader(folder, "generate_assignment", NAME)
    archive = folder / "downloaded" / NAME / "archive"
    archive.mkdir(parents=True)
    for student, (hand_in, _) in SUBMISSIONS.items():
        nb = nbformat.read(folder / "release" / NAME / f"{NAME}.ipynb", as_version=4)
        hand_in(nb)
        nbformat.write(nb, archive / f"{student}_{NAME}.ipynb")
    for step in ("zip_collect", "autograde", "generate_feedback"):
        nbgrader(folder, step, NAME)
    nbgrader(folder, "export")
    return folder


def test_nbgrader_releases_the_notebook_that_the_builder_makes(toy, marked):
    assert (marked / "release" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8") == release(toy)


def test_every_submission_gets_the_points_that_its_parts_are_worth(marked):
    with (marked / "grades.csv").open(newline="") as lines:
        scores = {
            row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(lines)
        }
    assert scores == {student: (points, 2.0) for student, (_, points) in SUBMISSIONS.items()}


def test_the_feedback_shows_the_panel_of_the_self_check(marked):
    page = (marked / "feedback" / "half" / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert "90.1 Twice: 1.5 of 2 points" in page
    assert "the sign of the number is lost" in page


def test_the_salt_stands_in_the_setup_cell_and_the_solution_in_the_source(toy, tmp_path):
    (path,) = course.build(tmp_path, 'a "quoted" salt', solutions=toy.parent)
    assert path == tmp_path / "source" / NAME / f"{NAME}.ipynb"
    nb = nbformat.read(path, as_version=4)
    setup = next(cell for cell in nb.cells if cell.id == "setup")
    assert setup.source.endswith('begin("90", student="", course="a \\"quoted\\" salt")')
    assert "2 * x  # the secret" in cell_of(nb, "90_1").source


def test_a_second_build_leaves_the_gradebook_alone(toy, tmp_path):
    course.build(tmp_path, solutions=toy.parent)
    (tmp_path / "gradebook.db").write_text("marks")
    course.build(tmp_path, solutions=toy.parent)
    assert (tmp_path / "gradebook.db").read_text() == "marks"
    assert len((tmp_path / "README.md").read_text(encoding="utf-8").splitlines()) == 3


@pytest.fixture(scope="module")
def full_course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full-course")
    course.build(folder)
    return folder


@pytest.mark.parametrize("script", scripts(), ids=lambda p: p.stem)
def test_nbgrader_releases_every_notebook_as_it_is_committed(script, full_course):
    nbgrader(full_course, "generate_assignment", script.stem)
    made = full_course / "release" / script.stem / f"{script.stem}.ipynb"
    assert made.read_bytes() == (NOTEBOOKS / made.name).read_bytes()
