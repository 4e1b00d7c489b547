"""The students' notebooks are run: filled with right answers that are not the model's, and left blank."""

import re
import time
from functools import cache
from pathlib import Path

import pytest

from autograder.build import rendering
from autograder.build.release import scripts
from tests import student
from tests.student import ROOT, blank, filled, missing_names

every_script = pytest.mark.parametrize("script", scripts(), ids=lambda p: p.stem)


@pytest.fixture(scope="module")
def executed():
    """executed(kind, script): the notebook with its outputs, run once; each kind has a folder of runs."""

    @cache
    def run(kind, script):
        begun = time.monotonic()
        nb = rendering.run(kind(script), rendering.BUILD / "runs" / kind.__name__, PYTHONPATH=str(ROOT))
        print(f"{script.stem}, {kind.__name__}: {time.monotonic() - begun:.0f} s")
        return nb

    return run


@every_script
def test_every_name_that_a_released_cell_reads_is_made_by_one_or_asked_of_the_learner(script):
    assert not list(missing_names(script))


SAYS_WHAT_TO_DO = re.compile(
    "not filled in yet|There is no|has no .{1,60} yet|as it was given is still there"
)


@pytest.mark.long
@every_script
def test_with_right_answers_of_ones_own_a_notebook_runs_quietly_to_its_end_and_gets_all_points(
    executed, script
):
    assert not list(rendering.problems(executed(filled, script)))


@pytest.mark.long
@every_script
def test_a_blank_notebook_runs_to_its_end_and_every_check_says_what_to_do(executed, script):
    for cell in executed(blank, script).cells:
        outputs = cell.get("outputs", [])
        wrong = [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
        assert not wrong, f"cell {cell.id}: {wrong[0].get('evalue') or wrong[0].get('text')}"
        if cell.metadata.get("nbgrader", {}).get("grade"):
            shown = " ".join(output.data.get("text/html", "") for output in outputs if "data" in output)
            panel = re.sub("</?code>", "`", shown)
            assert SAYS_WHAT_TO_DO.search(panel), cell.id


# The tools themselves


def script_of(tmp_path: Path, *cells: str) -> Path:
    path = tmp_path / "01_toy.py"
    path.write_text("\n\n".join(cells), encoding="utf-8")
    return path


HEAD = "# %% [markdown]\n# # Toy"
SOLUTION = "### BEGIN SOLUTION\nseen = [1]\norder = seen\n### END SOLUTION"
ANSWER = f'# %% exercise="1.1" role="answer"\norder = []\n{SOLUTION}'
CHECK = '# %% exercise="1.1" role="check"\ncheck("1.1")'
SETUP = '# %% role="setup"'


def test_a_name_that_only_the_solution_makes_is_found(tmp_path):
    use = "# %%\nprint(order, [word for word in seen])"
    [wrong] = missing_names(script_of(tmp_path, HEAD, SETUP, ANSWER, CHECK, use))
    assert wrong.endswith("reads seen")
    assert not list(
        missing_names(script_of(tmp_path, HEAD, SETUP, ANSWER, CHECK, use.replace("seen", "order")))
    )


def test_the_answers_are_not_the_models():
    from autograder.build.catalogue import reference
    from autograder.exercises import EXERCISES

    for exercise in EXERCISES.values():
        assert student.chosen(exercise.id).code.strip() != reference(exercise).code.strip()
