"""A learner's way through notebook 01 in a real browser, and on to nbgrader's gradebook.

Runs where Chromium and its driver are installed; pictures go to build/screenshots/.
"""

import itertools
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autograder import __main__
from autograder.build.release import instructor
from autograder.build.rendering import REGION
from autograder.exercises import find

pytest.importorskip("jupyterlab")
browser = pytest.importorskip("tests.browser")
if not (browser.CHROMIUM and browser.DRIVER):
    pytest.skip("needs chromium and chromedriver", allow_module_level=True)

pytestmark = pytest.mark.long

ROOT = Path(__file__).resolve().parents[1]
NAME = "01_one_pipeline_in_order"
PICTURES = browser.PICTURES
WRONG = 'order = ["split", "sample", "select", "score", "finetune", "test_base", "test_tuned", "compare"]'
RIGHT = 'order = "split, sample, score, select, finetune, test_base, test_tuned, compare"'
KEYS = browser.Keys
SHOWN = {
    "cards": 'given("1.1")',
    "questions": 'given("1.2")',
    "wrong": 'check("1.2")',
    "right": 'check("1.3")',
    "points": "progress()",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A learner's folder with the notebook as it is handed out."""
    path = tmp_path_factory.mktemp("learner")
    shutil.copy(ROOT / "notebooks" / f"{NAME}.ipynb", path)
    return path


@pytest.fixture(scope="module")
def notebook(folder):
    with browser.lab(folder, AUTOGRADER_RUNS=str(folder / "runs")) as address, browser.chromium() as driver:
        yield browser.Notebook(driver, address, f"{NAME}.ipynb")


def solution(grade_id):
    """The solved cell that nbgrader knows by this name."""
    solved = instructor(ROOT / "solutions" / f"{NAME}.py").cells
    cell = next(c for c in solved if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id)
    return REGION.sub("", cell.source)


def answer(notebook, text, code):
    """Type code into the cell that holds `text`, and run it."""
    number = notebook.index(text)
    notebook.type_into(number, code)
    return notebook.run(number)


def panel(notebook, exercise):
    return notebook.run(notebook.index(f'check("{exercise}")'))


def test_the_way_of_a_learner(notebook, folder):
    for text in ("begin(", "import rslib"):
        notebook.run(notebook.index(text))
    answer(notebook, "# tune_rm", WRONG)
    said = panel(notebook, "1.1")
    assert "0 of 3 points" in said and "select cannot start: no response has a reward yet." in said
    notebook.screenshot(PICTURES / "wrong-light.png", notebook.index('check("1.1")'))

    answer(notebook, WRONG, RIGHT)
    assert "3 of 3 points" in panel(notebook, "1.1")

    for part in ("1_3", "1_3_score"):
        code = solution(part)
        answer(notebook, code.split("(")[0].split("\n")[-1], code)
    assert f"{find('1.3').points:g} of {find('1.3').points:g}" in panel(notebook, "1.3")
    notebook.screenshot(PICTURES / "right-light.png", notebook.index('check("1.3")'))
    score = notebook.run(notebook.index("progress()"))
    assert f"{find('1.1').points + find('1.3').points:g} of" in score


def take_pictures(notebook, look):
    for name, text in SHOWN.items():
        notebook.screenshot(PICTURES / f"{name}-{look}.png", notebook.index(text))


def test_it_can_be_read_in_the_dark_and_on_a_narrow_screen(notebook):
    for text in ('given("1.1")', 'given("1.2")', 'check("1.2")'):
        notebook.run(notebook.index(text))
    notebook.command("apputils:change-theme", theme="JupyterLab Dark")
    take_pictures(notebook, "dark")
    notebook.command("apputils:change-theme", theme="JupyterLab Light")
    notebook.driver.set_window_size(640, 1200)
    notebook.command("application:toggle-left-area")
    take_pictures(notebook, "narrow")
    assert notebook.too_wide() == [], "these do not fit a narrow screen"


def test_nbgrader_gives_the_same_points_to_the_saved_file(notebook, folder, tmp_path):
    notebook.keys(KEYS.ESCAPE)
    notebook.keys(KEYS.CONTROL, "s")
    notebook.wait(lambda: not notebook.unsaved())
    course = tmp_path / "course"
    assert __main__.main(["course", "--out", str(course)]) == 0
    submitted = course / "submitted" / "ada" / NAME
    submitted.mkdir(parents=True)
    shutil.copy(folder / f"{NAME}.ipynb", submitted)
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    own |= {"AUTOGRADER_RUNS": str(folder / "runs"), "IPYTHONDIR": str(tmp_path)}
    own |= {"JUPYTER_CONFIG_DIR": str(tmp_path)}
    for words in (["generate_assignment"], ["autograde", "--RefuseUnsandboxed.trust_submissions=True"]):
        command = [sys.executable, "-m", "nbgrader", *words, NAME]
        done = subprocess.run(command, cwd=course, env=os.environ | own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        grades = {g.name: g.auto_score for g in book.find_submission_notebook(NAME, NAME, "ada").grades}
    seen = {id: find(id).points if id in ("1.1", "1.3") else 0.0 for id in ("1.1", "1.2", "1.3", "1.4")}
    assert grades == {f"{id.replace('.', '_')}_check": points for id, points in seen.items()}


@pytest.mark.parametrize(
    ("name", "handout"),
    [
        ("02_what_a_reward_model_is_for", 'given("2.1")'),
        ("05_the_flawed_pipeline_clinic", 'given("5.1")'),
        ("08_choosing_for_a_startup", 'given("8.2")'),
    ],
)
def test_other_notebooks_can_be_read_on_a_desk_and_on_a_phone_in_light_and_dark(name, handout, tmp_path):
    shutil.copy(ROOT / "notebooks" / f"{name}.ipynb", tmp_path)
    with (
        browser.lab(tmp_path, AUTOGRADER_RUNS=str(tmp_path / "runs")) as address,
        browser.chromium() as driver,
    ):
        notebook = browser.Notebook(driver, address, f"{name}.ipynb")
        for text in ("begin(", handout):
            notebook.run(notebook.index(text))
        notebook.command("application:toggle-left-area")
        for width, look in itertools.product((1280, 400), ("Light", "Dark")):
            browser.emulate(driver, width, look.lower())
            notebook.command("apputils:change-theme", theme=f"JupyterLab {look}")
            notebook.screenshot(PICTURES / f"{name}-{width}-{look.lower()}.png", notebook.index(handout))
            wide = [text for text in notebook.too_wide() if "\t" not in text]  # a table scrolls in its box
            assert not wide, f"these do not fit {width} pixels"
