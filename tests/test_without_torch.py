"""What runs where torch, transformers, datasets and pyarrow cannot be had, as in a browser.

Every test starts a new interpreter in which these cannot be imported.
"""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest

from autograder.build import catalogue, rendering
from autograder.build import course as build
from autograder.build.release import read, scripts
from autograder.verdict import MIME
from tests import grading, student
from tests.student import ROOT

BLOCKED = """
import sys

ABSENT = {"torch", "transformers", "datasets", "pyarrow", "safetensors", "tokenizers", "triton", "accelerate"}


class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ImportError(f"{name} is not installed")


sys.meta_path.insert(0, Absent())
"""


def without_torch(code: str) -> str:
    """What a new interpreter without torch and its kin prints for `code`."""
    done = subprocess.run([sys.executable, "-c", BLOCKED + code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


# The course -----------------------------------------------------------------------------------------------

ANSWERED = """
import ast, contextlib, json, tempfile
from pathlib import Path

from autograder import exercises
from autograder.build import catalogue
from autograder.exercise import Variant
from autograder.verdict import grade
from autograder.work import Work


def names_of(answer):
    # As in a notebook: what needs torch stops, and so does what needs that; the rest runs.
    space = {"__name__": "answer"}
    for node in ast.parse(answer.code).body:
        with contextlib.suppress(Exception):
            exec(compile(ast.Module([node], []), answer.name, "exec"), space)
    return space


def marks(exercise, answer):
    with tempfile.TemporaryDirectory() as folder:
        work = Work(names_of(answer), Variant("", "", exercise.id), folder)
        return [(o.title, o.points, o.message) for o in grade(exercise, work, 20261127).outcomes]


everything = list(exercises.EXERCISES.values())
"""


@pytest.fixture(scope="module")
def reference():
    """Exercise -> (its points, [(part, points, message)]) of the model answers."""
    shown = "print(json.dumps({e.id: [e.points, marks(e, catalogue.reference(e))] for e in everything}))"
    return json.loads(without_torch(ANSWERED + shown))


WHOLE = (
    "1.1 1.2 1.3 1.4 2.1 2.4 3.1 3.2 4.1 4.4 5.1 5.2 5.3 5.4 6.5 7.3 7.4 8.1 8.2 8.3 8.4 9.1 9.2 9.3 9.4 9.6"
).split()
"""Exercises that can be answered and checked whole."""


def test_at_least_65_points_of_the_course_can_be_answered_and_checked(reference):
    reached = {id: sum(points for _, points, _ in parts) for id, (_, parts) in reference.items()}
    assert sum(points for points, _ in reference.values()) == 136.25
    assert [id for id, (points, _) in reference.items() if reached[id] == points] == WHOLE
    whole, parts = sum(reached[id] for id in WHOLE), sum(reached.values())
    assert whole >= 65
    page = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
    assert f"{whole:g} of the course's 136.25 points" in page
    assert f"{parts - whole:g} more points" in page  # single parts of others, such as pair accuracy in 2.2


def test_the_page_lists_the_exercises_that_work_whole():
    page = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \d\d \|([^|]*)\|", page, flags=re.M)
    assert ", ".join(cell.strip() for cell in listed).split(", ") == WHOLE
    assert f"{len(WHOLE)} of the " in page


def test_exercises_that_need_torch_say_so(reference):
    from autograder import exercises

    assert [e.id for e in exercises.EXERCISES.values() if not e.needs_torch] == WHOLE


def test_a_part_that_cannot_be_checked_says_why_and_costs_no_other_part(reference):
    (_, loss, why), _, (_, accuracy, _) = reference["2.2"][1]
    assert (loss, accuracy) == (0, 1)
    assert why == (
        "This part needs a package that is not here (torch is not installed). It is marked after you hand in."
    )


EVERY_ANSWER = """
print(json.dumps([
    (f"{e.id} {a.name}", e.points if a.correct else a.points, sum(points for _, points, _ in marks(e, a)))
    for e in everything if not e.needs_torch
    for a in catalogue.answers(e.id)
    if not any(name in a.code for name in ("torch", "rslib.sampling"))
]))
"""


@pytest.mark.long
def test_right_and_wrong_answers_get_the_marks_that_they_get_where_torch_is():
    answers = json.loads(without_torch(ANSWERED + EVERY_ANSWER))
    assert len(answers) > 300
    assert [name for name, right, reached in answers if right != reached] == []


# The engine -----------------------------------------------------------------------------------------------


NUMPY_HALF = """
from matplotlib.figure import Figure

import rslib
from rslib import cache, config, errors, evaluation, export, formatting, intervals, ledger, more_selectors
from rslib import page, plots, progress, reporting, selection, store, tables, theory, world
from rslib.world import gold, grammar, outcomes, prompts

print(theory.best_of_n_estimate([4.0, 1.0, 2.0, 3.0], 2))
print(intervals.verdict_of(intervals.over_both([1.0, 1.2, 0.9], 0.1, 20)))
print(gold.judge("How do I boil an egg?", "Place the egg in a pot of cold water.").gold)
print(len(outcomes.enumerate_outcomes(letters=2, longest=3)), "best_of_n" in selection.SELECTORS)
axes = Figure().subplots()
axes.plot([1, 2], [3, 4])
plots.finished([axes], "A title", "A sentence.")
print(sorted(ABSENT & set(sys.modules)))
"""


def test_the_numpy_half_of_the_engine_works():
    printed = without_torch(NUMPY_HALF).splitlines()
    assert printed == ["[3.33333333]", "supported", "4.0", "15 True", "[]"]


# The notebook ---------------------------------------------------------------------------------------------

CELLS = """
from IPython.core.interactiveshell import InteractiveShell

shell = InteractiveShell.instance(colors="NoColor")
for cell in (
    'from autograder import begin; runs = begin("03", student="ada")',
    'import rslib; policy = rslib.load_policy("tiny")',
    'pool = rslib.sample(policy, ["Hello"], n=2)',
    'def show():\\n    return pool',
    'show()',
    'import torch\\ndef loss(x):\\n    return torch.mean(x)',
    'loss(1)',
    'nothing',
    'import nonesuch',
    '1 / 0',
):
    print("=====")
    shell.run_cell(cell, store_history=True)
"""


def test_a_cell_that_needs_torch_says_so_in_one_line_and_other_errors_have_their_traceback(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("AUTOGRADER_RUNS", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    begin, load, sample, defined, show, torch, loss, nothing, nonesuch, zero = (
        cell.strip() for cell in without_torch(CELLS).split("=====\n")[1:]
    )
    assert begin.splitlines()[1] == (
        "There is no torch here, so exercises 3.3, 3.4 and all cells that use a model are skipped. "
        "The rest works, and the file can be handed in."
    )
    assert re.fullmatch(r"Skipped, as there is no torch here: \w+ is not installed.", load)
    assert re.fullmatch(r"Skipped, as there is no torch here: \w+ is not installed.", sample)
    assert not defined
    assert show == "Skipped, as there is no torch here: name 'pool' is not defined."
    assert torch == "Skipped, as there is no torch here: torch is not installed."
    assert loss == "Skipped, as there is no torch here: name 'loss' is not defined."
    assert "Traceback" in nothing and nothing.endswith("NameError: name 'nothing' is not defined")
    assert "Traceback" in nonesuch and nonesuch.endswith("No module named 'nonesuch'")
    assert "Traceback" in zero and zero.endswith("ZeroDivisionError: division by zero")


# Handing in -----------------------------------------------------------------------------------------------


def answered(script):
    """The notebook that learners get, with the model answers."""
    nb = student.blank(script)
    for node, cell in zip(nb.cells, read(script), strict=False):
        if cell.role in ("answer", "predict"):
            node.source = catalogue.REGION.sub("", cell.source).strip()
    return nb


@pytest.mark.parametrize(
    "numbers",
    [pytest.param("1589", marks=pytest.mark.long), pytest.param("123456789", marks=pytest.mark.slow)],
)
def test_what_is_handed_in_without_torch_is_graded_with_the_marks_of_the_self_check(numbers, tmp_path):
    grading.needs_bubblewrap()
    (tmp_path / "absent").mkdir()
    (tmp_path / "absent" / "sitecustomize.py").write_text(BLOCKED)
    path = f"{tmp_path / 'absent'}{os.pathsep}{ROOT}"
    course, marks, graded = tmp_path / "course", {}, {}
    build.main(["--out", str(course)])
    whole = [id for id in WHOLE if id[0] in numbers]
    for script in (script for script in scripts() if script.stem[1] in numbers):
        nb = rendering.run(answered(script), tmp_path / "runs", PYTHONPATH=path)
        outputs = [output for cell in nb.cells for output in cell.get("outputs", [])]
        assert [output.evalue for output in outputs if output.output_type == "error"] == []
        verdicts = [output.data[MIME] for output in outputs if MIME in output.get("data", {})]
        marks |= {verdict["exercise"]: verdict["points"] for verdict in verdicts}
        folder = course / "submitted" / "ada" / script.stem
        folder.mkdir(parents=True)
        nbformat.write(nb, folder / f"{script.stem}.ipynb")
        done = grading.grade(course, "--skip-check", "--assignment", script.stem[:2])
        assert done.returncode == 0, done.stderr
    for _, _, cell, points, *_ in grading.gradebook(course)[0]:
        graded[cell.removesuffix("_check").replace("_", ".")] = points
    assert sum(marks[id] for id in whole) >= (65 if len(numbers) == 9 else 45)
    assert {id: marks[id] for id in whole} == {id: graded[id] for id in whole}
    assert all((graded[id] or 0) >= points for id, points in marks.items())  # what needs torch is marked now
