"""A learner's way through notebook 01 in a real browser, and on to nbgrader's gradebook.

Runs where Chromium and its driver are installed; pictures go to build/screenshots/.
"""

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from autograder import __main__
from autograder.catalogue import reference
from autograder.exercises import find

pytest.importorskip("jupyterlab")
browser = pytest.importorskip("tests.browser")
if not (browser.CHROMIUM and browser.DRIVER):
    pytest.skip("needs chromium and chromedriver", allow_module_level=True)

ROOT = Path(__file__).resolve().parents[1]
NAME = "01_one_pipeline_in_order"
PICTURES = ROOT / "build" / "screenshots"
WRONG = 'order = ["split", "sample", "select", "score", "finetune", "test_base", "test_tuned", "compare"]'
RIGHT = ["split", "sample", "score", "select", "finetune", "test_base", "test_tuned", "compare"]
KEYS = browser.Keys


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


def answer(notebook, text, code):
    """Type code into the cell that holds `text`, and run it."""
    number = notebook.index(text)
    notebook.type_into(number, code)
    return notebook.run(number)


def panel(notebook, exercise):
    return notebook.run(notebook.index(f'check("{exercise}")'))


def focused(notebook):
    return notebook.driver.execute_script("return document.activeElement.innerText") or ""


def press(notebook, label):
    """Reach the button with this label by Tab alone, and press it."""
    for key in [KEYS.TAB] * 40:
        if focused(notebook).strip() == label:
            break
        browser.ActionChains(notebook.driver).send_keys(key).perform()
    assert focused(notebook).strip() == label, f"{label} cannot be reached by Tab"
    browser.ActionChains(notebook.driver).send_keys(KEYS.ENTER).perform()


def order_by_keyboard(notebook):
    """Use the helper without a mouse, and read the line that it writes."""
    number = notebook.index("HELPER = False")
    notebook.type_into(number, notebook.source(number).replace("HELPER = False", "HELPER = True"))
    notebook.run(number)
    cell = notebook.cell(number)
    first = notebook.wait(lambda: cell.find_elements(browser.By.CSS_SELECTOR, "button.jupyter-button"))[0]
    line = cell.find_element(browser.By.CSS_SELECTOR, "input[type=text]")

    def restart():
        notebook.driver.execute_script("arguments[0].focus()", first)

    def names():
        return ast.literal_eval(line.get_attribute("value").split("=", 1)[1].strip())

    for name in sorted(set(names()) - set(RIGHT)):
        restart()
        press(notebook, f"{name} out")
        notebook.wait(lambda name=name: name not in names())
    for place, name in enumerate(RIGHT):
        while names().index(name) > place:
            before = names()
            restart()
            press(notebook, f"{name} up")
            notebook.wait(lambda before=before: names() != before)
    return line.get_attribute("value")


def test_the_way_of_a_learner(notebook, folder):
    for text in ("begin(", "import rslib"):
        notebook.run(notebook.index(text))
    answer(notebook, "order = []", WRONG)
    said = panel(notebook, "1.1")
    assert "not yet" in said and "select" in said and "reward" in said
    notebook.screenshot(PICTURES / "wrong-light.png", notebook.index('check("1.1")'))

    line = order_by_keyboard(notebook)
    notebook.screenshot(PICTURES / "helper-light.png", notebook.index("HELPER = True"))
    assert ast.literal_eval(line.split("=", 1)[1].strip()) == RIGHT
    answer(notebook, WRONG, line)
    assert "passed" in panel(notebook, "1.1")

    functions = reference(find("1.3")).code
    second = functions.index("import math")
    answer(notebook, "def sample_n", functions[functions.index("import hashlib") : second])
    answer(notebook, "def score", functions[second:])
    assert f"{find('1.3').points:g} of {find('1.3').points:g}" in panel(notebook, "1.3")
    notebook.screenshot(PICTURES / "right-light.png", notebook.index('check("1.3")'))
    score = notebook.run(notebook.index("progress()"))
    assert f"{find('1.1').points + find('1.3').points:g} of" in score


def test_it_can_be_read_in_the_dark_and_on_a_narrow_screen(notebook):
    notebook.command("apputils:change-theme", theme="JupyterLab Dark")
    notebook.screenshot(PICTURES / "right-dark.png", notebook.index('check("1.1")'))
    for text in ('given("1.1")', 'given("1.2")'):
        notebook.run(notebook.index(text))
    notebook.screenshot(PICTURES / "questions-dark.png", notebook.index('given("1.2")'))
    notebook.command("apputils:change-theme", theme="JupyterLab Light")
    notebook.driver.set_window_size(640, 1200)
    notebook.command("application:toggle-left-area")
    notebook.screenshot(PICTURES / "questions-narrow.png", notebook.index('given("1.2")'))
    wide = notebook.driver.execute_script(
        "return [...document.querySelectorAll('.jp-RenderedHTMLCommon')]"
        ".filter(e => e.scrollWidth > e.clientWidth + 2).map(e => e.innerText.slice(0, 60))"
    )
    assert wide == [], "these outputs are wider than a narrow screen"


def test_nbgrader_gives_the_same_points_to_the_saved_file(notebook, folder, tmp_path):
    notebook.command("docmanager:save")
    course = tmp_path / "course"
    assert __main__.main(["course", "--out", str(course)]) == 0
    submitted = course / "submitted" / "ada" / NAME
    submitted.mkdir(parents=True)
    shutil.copy(folder / f"{NAME}.ipynb", submitted)
    own = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    own |= {"AUTOGRADER_RUNS": str(folder / "runs"), "IPYTHONDIR": str(tmp_path)}
    own |= {"JUPYTER_CONFIG_DIR": str(tmp_path)}
    for verb in ("generate_assignment", "autograde"):
        command = [sys.executable, "-m", "nbgrader", verb, NAME]
        done = subprocess.run(command, cwd=course, env=os.environ | own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{course}/gradebook.db") as book:
        grades = {g.name: g.auto_score for g in book.find_submission_notebook(NAME, NAME, "ada").grades}
    seen = {id: find(id).points if id in ("1.1", "1.3") else 0.0 for id in ("1.1", "1.2", "1.3", "1.4")}
    assert grades == {f"{id.replace('.', '_')}_check": points for id, points in seen.items()}
