"""`make course` writes a course that stock nbgrader releases, collects, marks and reports."""

import argparse
import copy
import csv
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI, NbGraderApp
from traitlets.config import PyFileConfigLoader

from autograder.__main__ import COMMANDS, main
from autograder.build import course
from autograder.build.release import NOTEBOOKS, SOLUTIONS, instructor, release, scripts
from autograder.build.rendering import REGION
from autograder.course import REFUSED
from tests.toy_course import toy_script

NAME = "90_toy"
TRUSTED = "--RefuseUnsandboxed.trust_submissions=True"


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


def right_through_colab(nb):
    answered("return x + x")(nb)
    through_colab(nb)


def check_deleted(nb):
    answered("return 2 * abs(x)")(nb)
    nb.cells.remove(cell_of(nb, "90_1_check"))


def check_copied(nb):
    """As an editor copies a cell: with its metadata."""
    answered("return x + x")(nb)
    copied = copy.deepcopy(cell_of(nb, "90_1_check"))
    copied.id = "copied"
    nb.cells.append(copied)


def check_tagged(nb):
    """A wrong answer, and a tag that asks nbgrader's kernel to leave the check out."""
    cell_of(nb, "90_1_check").metadata["tags"] = ["skip-execution"]


def without_metadata(nb):
    answered("return 2 * abs(x)")(nb)
    for cell in nb.cells:
        cell.metadata.clear()


SUBMISSIONS = {
    "right": (answered("return x + x"), 2.0),
    "blank": (lambda nb: None, 0.0),
    "half": (answered("return 2 * abs(x)"), 1.5),
    "edited": (edited_test, 0.0),
    "colab": (right_through_colab, 2.0),
    "stopped": (stopped, 0.0),
    "unprepared": (without_setup, 0.0),
    "deleted": (check_deleted, 1.5),
    "copied": (check_copied, 2.0),
    "tagged": (check_tagged, 0.0),
    "stripped": (without_metadata, 1.5),
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
    nbgrader(folder, "zip_collect", NAME)
    nbgrader(folder, "autograde", NAME, TRUSTED)
    nbgrader(folder, "generate_feedback", NAME)
    nbgrader(folder, "export")
    return folder


@pytest.mark.long
def test_nbgrader_releases_the_notebook_that_the_builder_makes(toy, marked):
    assert (marked / "release" / NAME / f"{NAME}.ipynb").read_text(encoding="utf-8") == release(toy)


@pytest.mark.long
def test_every_submission_gets_the_points_that_its_parts_are_worth(marked):
    with (marked / "grades.csv").open(newline="") as lines:
        scores = {
            row["student_id"]: (float(row["score"]), float(row["max_score"])) for row in csv.DictReader(lines)
        }
    assert scores == {student: (points, 2.0) for student, (_, points) in SUBMISSIONS.items()}


@pytest.mark.long
def test_the_feedback_shows_the_panel_of_the_self_check(marked):
    page = (marked / "feedback" / "half" / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert "90.1 Twice: 1.5 of 2 points" in page
    assert "the sign of the number is lost" in page


@pytest.mark.long
@pytest.mark.parametrize(
    ("student", "told"),
    [("stripped", "had lost its nbgrader metadata"), ("deleted", "was missing"), ("unprepared", "NameError")],
)
def test_the_feedback_says_what_became_of_a_check_cell(marked, student, told):
    page = (marked / "feedback" / student / NAME / f"{NAME}.html").read_text(encoding="utf-8")
    assert told in page


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


COMMAND = re.compile(r"`(?:python -m )?(nbgrader|autograder) (\w+)")


def test_the_courses_readme_names_commands_that_there_are(toy, tmp_path):
    course.build(tmp_path, solutions=toy.parent)
    named = COMMAND.findall((tmp_path / "README.md").read_text(encoding="utf-8"))
    known = {"nbgrader": NbGraderApp.subcommands, "autograder": COMMANDS}
    assert len(named) >= 4 and all(name in known[program] for program, name in named)


def tree(folder):
    """All files of a course but the gradebook, which nbgrader opens."""
    found = (p for p in folder.rglob("*") if p.is_file() and p.suffix != ".db" and ".jupyter" not in p.parts)
    return {p.relative_to(folder): p.read_bytes() for p in found}


@pytest.fixture(scope="module")
def released(toy, tmp_path_factory):
    """A course whose assignment is released."""
    folder = tmp_path_factory.mktemp("released")
    course.build(folder, solutions=toy.parent)
    nbgrader(folder, "generate_assignment", NAME)
    return folder


@pytest.fixture
def hostile(released, tmp_path):
    """A course with a graded notebook that leaves a file behind where it is run, and that file."""
    folder, left = tmp_path / "course", tmp_path / "left"
    shutil.copytree(released, folder)
    nb = nbformat.read(folder / "release" / NAME / f"{NAME}.ipynb", as_version=4)
    cell_of(nb, "90_1").source = f"open({str(left)!r}, 'w').close()"
    for step in ("submitted", "autograded"):
        target = folder / step / "eve" / NAME
        target.mkdir(parents=True)
        nbformat.write(nb, target / f"{NAME}.ipynb")
    return folder, left


@pytest.mark.long
def test_nbgraders_autograde_is_refused_and_leaves_everything_as_it_was(hostile):
    folder, left = hostile
    before = tree(folder)
    with pytest.raises(AssertionError, match="python -m autograder grade submitted --course"):
        nbgrader(folder, "autograde", NAME, "--force")
    assert not left.exists() and tree(folder) == before


def test_the_bolt_of_formgrader_is_refused_with_the_same_sentence(hostile):
    folder, left = hostile
    before = tree(folder)
    done = formgraders_bolt(folder, "eve")
    assert not done["success"] and REFUSED in done["error"] and REFUSED in done["log"]
    assert not left.exists() and tree(folder) == before


@pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")
def test_a_course_that_trusts_its_students_runs_them(hostile):
    folder, left = hostile
    with (folder / "nbgrader_config.py").open("a") as config:
        config.write("c.RefuseUnsandboxed.trust_submissions = True\n")
    assert formgraders_bolt(folder, "eve")["success"] and left.exists()


def formgraders_bolt(folder, student):
    """What formgrader's server does when the bolt is pressed."""
    config = PyFileConfigLoader("nbgrader_config.py", str(folder)).load_config()
    config.CourseDirectory.root = str(folder)
    return NbGraderAPI(config=config).autograde(NAME, student)


REAL = "01_one_pipeline_in_order"


@pytest.fixture(scope="module")
def full_course(tmp_path_factory):
    folder = tmp_path_factory.mktemp("full-course")
    course.build(folder)
    return folder


@pytest.mark.parametrize(
    "script", [pytest.param(p, id=p.stem, marks=[pytest.mark.long] * (p.stem != REAL)) for p in scripts()]
)
def test_nbgrader_releases_every_notebook_as_it_is_committed(script, full_course):
    nbgrader(full_course, "generate_assignment", script.stem)
    made = full_course / "release" / script.stem / f"{script.stem}.ipynb"
    assert made.read_bytes() == (NOTEBOOKS / made.name).read_bytes()


def solved_cells():
    cells = (c for c in instructor(SOLUTIONS / f"{REAL}.py").cells if "nbgrader" in c.metadata)
    return {c.metadata.nbgrader.grade_id: REGION.sub("", c.source) for c in cells}


def fill(nb, *grade_ids):
    for grade_id, source in solved_cells().items():
        if not grade_ids or grade_id in grade_ids:
            cell_of(nb, grade_id).source = source


def half_right(nb):
    fill(nb, "1_1", "1_3")
    cell_of(nb, "1_2").source = 'what_happens = {"a": "A1", "b": "B1", "c": "C1", "d": "D1"}'


def with_edited_tests(nb):
    """Each check changed in another way, and nothing answered."""
    cell_of(nb, "1_1_check").source = "3.0"
    nb.cells.remove(cell_of(nb, "1_2_check"))
    cell_of(nb, "1_3_check").metadata["tags"] = ["skip-execution"]
    check = cell_of(nb, "1_4_check")
    check.source, check.metadata.nbgrader["points"], check.metadata.nbgrader["locked"] = "100", 100, False


def mangled_by_colab(nb):
    """Solved, then through Colab: another kernel, a shell cell, old outputs, nbgrader's marks gone."""
    fill(nb)
    through_colab(nb)
    nb.metadata["kernelspec"] = {"name": "conda-env-x", "display_name": "Python [conda]"}
    nb.cells.insert(1, nbformat.v4.new_code_cell("!pip --version"))
    del nb.cells[1]["id"]
    for cell in nb.cells:
        cell.metadata.pop("nbgrader", None)
        if cell.cell_type == "code":
            cell.outputs = [
                nbformat.v4.new_output("stream", name="stderr", text="WARNING: from another machine")
            ]


HANDED_IN = {
    "right": (fill, [3, 4, 4, 4]),
    "blank": (lambda nb: None, [0, 0, 0, 0]),
    "half": (half_right, [3, 0, 3, 0]),
    "edited": (with_edited_tests, [0, 0, 0, 0]),
    "colab": (mangled_by_colab, [3, 4, 4, 4]),
}


@pytest.fixture(scope="module")
def marked_01(tmp_path_factory):
    """Five submissions of notebook 01, marked. Their cells that train, worth no points, are cut out."""
    made = tmp_path_factory.mktemp("course-01")
    course.build(made)
    nbgrader(made, "generate_assignment", REAL)
    for student, (hand_in, _) in HANDED_IN.items():
        nb = nbformat.read(made / "release" / REAL / f"{REAL}.ipynb", as_version=4)
        nb.cells = [c for c in nb.cells if "nbgrader" in c.metadata or c.id == "setup"]
        hand_in(nb)
        folder = made / "submitted" / student / REAL
        folder.mkdir(parents=True)
        nbformat.write(nb, folder / f"{REAL}.ipynb")
    nbgrader(made, "autograde", REAL, TRUSTED)
    nbgrader(made, "generate_feedback", REAL)
    nbgrader(made, "export")
    return made


@pytest.mark.long
def test_five_submissions_of_a_real_notebook_get_what_their_answers_are_worth(marked_01):
    with Gradebook(f"sqlite:///{marked_01}/gradebook.db") as book:
        found = {
            student: [book.find_grade(f"1_{k}_check", REAL, REAL, student).score for k in range(1, 5)]
            for student in HANDED_IN
        }
    assert found == {student: points for student, (_, points) in HANDED_IN.items()}
    rows = (marked_01 / "grades.csv").read_text().splitlines()
    assert len(rows) == 1 + len(HANDED_IN)


@pytest.mark.long
@pytest.mark.parametrize(
    ("student", "words"),
    [
        (
            "half",
            ["1.2 Four orders that go wrong: 0 of 4 points", "returned None: it has no <code>return</code>"],
        ),
        ("edited", ["is not filled in yet", '<code>check("1.2")</code> was missing']),
        ("colab", ["1.3 Sample and score: 4 of 4 points", "had lost its nbgrader metadata"]),
    ],
)
def test_the_feedback_on_a_real_notebook_says_why(marked_01, student, words):
    page = (marked_01 / "feedback" / student / REAL / f"{REAL}.html").read_text(encoding="utf-8")
    assert [word for word in words if word not in page] == []


@pytest.mark.long
def test_the_formgrader_shows_all_five_and_a_browser_opens_the_feedback(marked_01):
    browser = pytest.importorskip("tests.browser")
    if not (browser.CHROMIUM and browser.DRIVER):
        pytest.skip("needs chromium and chromedriver")
    with browser.lab(marked_01) as address, browser.chromium() as driver:
        driver.get(f"{address.removesuffix('/lab')}/formgrader/manage_submissions/{REAL}")
        shown = browser.table(driver, count=len(HANDED_IN))
        driver.save_screenshot(str(browser.PICTURES / "formgrader.png"))
        expected = {(student, "graded", f"{sum(points)} / 15") for student, (_, points) in HANDED_IN.items()}
        assert {(row[1], row[3], row[4]) for row in shown} == expected
        driver.get((marked_01 / "feedback" / "half" / REAL / f"{REAL}.html").as_uri())
        assert "Score: 6.0 / 15.0" in driver.find_element("tag name", "body").text
        panel = driver.find_elements("css selector", "[role=status]")[1]
        driver.execute_script("arguments[0].scrollIntoView()", panel)
        driver.save_screenshot(str(browser.PICTURES / "feedback.png"))
        assert panel.is_displayed() and "1.2 Four orders that go wrong: 0 of 4 points" in panel.text


DOCUMENTS = ["docs/instructor.md", "docs/grading-any-course.md"]
LINE = re.compile(
    r"^((?:python -m autograder|nbgrader) .+)$|`((?:python -m autograder|nbgrader) [^`\n]+)`", re.MULTILINE
)


def command_lines(document):
    """Commands of a document, in blocks and within sentences, each as a list of words."""
    text = (SOLUTIONS.parent / document).read_text(encoding="utf-8")
    return [shlex.split(block or inline, comments=True) for block, inline in LINE.findall(text)]


class Parsed(Exception):
    """A command understood all of its arguments and was about to start."""


@pytest.fixture
def only_parse(monkeypatch):
    """Every command of the project ends where it has parsed its arguments."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_end(self, *arguments):
        parse(self, *arguments)
        raise Parsed

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_end)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_documents_commands_parse(document, only_parse):
    lines = [line[3:] for line in command_lines(document) if line[0] == "python"]
    mentioned = [line[0] for line in lines if len(line) == 1]
    assert len(lines) >= 4 and set(mentioned) <= COMMANDS.keys()
    for line in (line for line in lines if len(line) > 1):
        with pytest.raises(Parsed):
            main(line)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_documents_commands_of_nbgrader_have_their_options(document):
    lines = [line[1:] for line in command_lines(document) if line[0] == "nbgrader"]
    assert len(lines) >= 2
    for line in lines:
        assert unknown_to_nbgrader(NbGraderApp, line) == [], line


def unknown_to_nbgrader(application, words):
    """Sub-commands and options of a command line of nbgrader that it does not have."""
    program = application()
    while words and words[0] in program.subcommands:
        program, words = program.subcommands[words[0]][0](), words[1:]
    options = {*program.aliases, *program.flags}
    wrong = [w for w in words if w.startswith("--") and w[2:].split("=")[0] not in options]
    return wrong + (words[:1] if program.subcommands else [])


def test_a_command_that_nbgrader_lacks_is_seen():
    assert unknown_to_nbgrader(NbGraderApp, ["formgrader"]) == ["formgrader"]
    assert unknown_to_nbgrader(NbGraderApp, ["export", "--no-such"]) == ["--no-such"]
    assert unknown_to_nbgrader(NbGraderApp, ["db", "assignment", "put", "x"]) == ["put"]
