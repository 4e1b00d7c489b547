"""nbgrader's own programs on a gradebook that `grade` filled; a browser that opens what strangers made."""

import csv
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests import grading, hostile, markup

pytestmark = grading.needs_walls
SCRIPTS = [a for a in hostile.ATTACKS if a.kind == "script"]
PAYLOADS = hostile.Attack(
    "script_payloads",
    "script",
    {"essay": "\n\n".join(markup.PAYLOADS)},
    extra=(f"for text in {markup.PAYLOADS!r}:\n    print(text)\nprint(1)\n{markup.PAYLOADS!r}[0]",),
)
PEOPLE = [*SCRIPTS, PAYLOADS, hostile.HONEST[0], next(a for a in hostile.HONEST if a.name == "honest_plot")]


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    root = grading.course(tmp_path_factory.mktemp("pages"), *PEOPLE)
    done = grading.grade(root, *grading.QUICK)
    assert done.returncode == 0, done.stderr
    shutil.move(root / "feedback", root / "ours")  # nbgrader writes its own pages where ours were
    return root


@pytest.fixture(scope="module")
def feedback(course):
    """nbgrader's own feedback on the course."""
    done = nbgrader(course, "generate_feedback", "hw", "--force")
    assert done.returncode == 0, done.stderr
    return course / "feedback"


def nbgrader(course, *words):
    tools = str(Path(sys.executable).parent)
    env = grading.environment(PATH=f"{tools}:{grading.os.environ['PATH']}")
    call = [sys.executable, "-m", "nbgrader", *words]
    return subprocess.run(call, cwd=course, env=env, capture_output=True, text=True, timeout=300)


@pytest.mark.long
def test_export_gives_the_points_that_results_csv_gives(course):
    done = nbgrader(course, "export", "--to=exported.csv")
    assert done.returncode == 0, done.stderr
    theirs = list(csv.DictReader((course / "exported.csv").open()))
    ours = list(csv.DictReader((course / "results.csv").open()))
    assert theirs[0].keys() == ours[0].keys()
    points = [{(r["student_id"], float(r["score"])) for r in table} for table in (theirs, ours)]
    assert points[0] == points[1] == {(a.name, a.points) for a in PEOPLE}


@pytest.mark.long
def test_canvas_reads_a_row_of_possible_points_and_one_for_each_student(course):
    rows = list(csv.reader((course / "canvas.csv").open()))
    assert rows[0][-1] == "hw" and rows[1][0].strip() == "Points Possible" and float(rows[1][-1]) == 10
    assert {row[0]: float(row[-1]) for row in rows[2:]} == {a.name: a.points for a in PEOPLE}


def test_what_formgrader_opens_is_a_valid_notebook_without_markup_of_a_stranger(course):
    for path in course.glob("autograded/*/hw/hw.ipynb"):
        nb = nbformat.read(path, 4)
        nbformat.validate(nb)
        kinds = {kind for c in nb.cells for o in c.get("outputs", []) for kind in o.get("data", {})}
        assert kinds <= {"text/plain", "image/png"}, path
        assert not any("<script" in c.source for c in nb.cells if c.cell_type != "code"), path


def test_nbgraders_feedback_works_and_shows_no_hidden_test(feedback):
    pages = list(feedback.glob("*/hw/hw.html"))
    assert len(pages) == len(PEOPLE)
    assert all(hostile.CANARY not in page.read_text(encoding="utf-8") for page in pages)


# In a browser -----------------------------------------------------------------------------------------------

browser = pytest.importorskip("tests.browser")
needs_browser = pytest.mark.skipif(
    not (browser.CHROMIUM and browser.DRIVER), reason="needs chromium and chromedriver"
)
ACTED = "return document.title === 'hostile' || window.hostile === 1 || window.acted === 1"


def acted(driver, address):
    """Whether a script of a stranger's ran on a page, also after every link of theirs was pressed."""
    driver.get(address)
    driver.implicitly_wait(0)
    found = bool(driver.execute_script(ACTED))
    for link in driver.find_elements(browser.By.XPATH, "//a[starts-with(@href, 'javascript:')]"):
        driver.execute_script("arguments[0].click()", link)
        found |= bool(driver.execute_script(ACTED))
    return found


@needs_browser
def test_a_script_that_runs_would_be_noticed(tmp_path):
    for number, tag in enumerate((hostile.TAGS[0], hostile.TAGS[1], hostile.TAGS[7])):
        page = tmp_path / f"{number}.html"
        page.write_text(f"<html><title>x</title><body>{tag}</body></html>")
        with browser.chromium() as driver:
            assert acted(driver, f"file://{page}"), tag


@needs_browser
def test_no_script_runs_in_our_feedback(course):
    with browser.chromium() as driver:
        ran = [a.name for a in PEOPLE if acted(driver, f"file://{course}/ours/{a.name}/hw/hw.html")]
    assert not ran


@pytest.mark.long
@needs_browser
def test_no_script_runs_in_nbgraders_feedback_or_formgrader(course, feedback):
    with sqlite3.connect(course / "gradebook.db") as base:
        ids = base.execute(
            "select submitted_assignment.student_id, submitted_notebook.id from submitted_notebook "
            "join submitted_assignment on submitted_notebook.assignment_id = submitted_assignment.id"
        ).fetchall()
    with browser.lab(course) as lab, browser.chromium() as driver:
        home = lab.removesuffix("/lab")
        assert not acted(driver, f"{home}/formgrader/manage_submissions/hw")
        ran = [f"feedback of {s}" for s, _ in ids if acted(driver, f"file://{feedback}/{s}/hw/hw.html")]
        for student, number in ids:
            ran += [f"formgrader, {student}"] * acted(driver, f"{home}/formgrader/submissions/{number}/")
            assert driver.find_elements(browser.By.CSS_SELECTOR, "input.score, .nbgrader_cell"), (
                driver.page_source[:500]
            )
            browser.PICTURES.mkdir(parents=True, exist_ok=True)
            driver.save_screenshot(str(browser.PICTURES / f"formgrader_{student}.png"))
        driver.get(f"{lab}/tree/autograded/{PAYLOADS.name}/hw/hw.ipynb")
        browser.WebDriverWait(driver, browser.SECONDS).until(
            lambda _: driver.find_elements(browser.By.CSS_SELECTOR, ".jp-MarkdownOutput pre")
        )
        ran += ["JupyterLab"] * bool(driver.execute_script(ACTED))
    assert not ran
