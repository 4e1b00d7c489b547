"""docs/architecture.md is the map: every file stands in it, and its recipes work as they are written."""

import re
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
RECIPES = re.findall(r"^```python\n(.*?)^```$", PAGE, flags=re.M | re.S)


def recipe(word: str) -> str:
    [code] = [code for code in RECIPES if word in code]
    assert len(code.strip().splitlines()) <= 10
    return code


def test_every_file_and_folder_of_the_engine_has_its_line():
    named = set(re.findall(r"^\| `(rslib/[a-z_/.]+)`", PAGE, flags=re.M))
    there = {f"rslib/{path.name}" for path in (ROOT / "rslib").glob("*.py")} - {"rslib/__init__.py"}
    folders = {f"rslib/{path.parent.name}/" for path in (ROOT / "rslib").glob("*/__init__.py")}
    assert named == there | folders


@pytest.mark.parametrize(
    "named", sorted(set(re.findall(r"`((?:rslib|docs|tests|autograder)/[\w/.]+)`", PAGE)))
)
def test_what_the_page_names_is_there(named):
    assert (ROOT / named).exists()


@pytest.mark.parametrize(("module", "name"), re.findall(r"`rslib/(\w+)\.py`: `(?:Pool\.)?(\w+)`", PAGE))
def test_what_the_page_points_at_is_defined_there(module, name):
    assert re.search(rf"def {name}\b", (ROOT / "rslib" / f"{module}.py").read_text(encoding="utf-8"))


def test_a_selector_of_the_recipe_can_be_selected_by_name(monkeypatch):
    import rslib
    from rslib import selection
    from tests.fake_tables import scored

    monkeypatch.setattr(selection, "SELECTORS", dict(selection.SELECTORS))
    exec(recipe("def shortest"), vars(selection))
    table = scored(prompts=2, n=4)
    kept = rslib.select(table, "shortest")
    assert len(kept) == 2 and len(set(kept["prompt_id"])) == 2


def test_a_flaw_of_the_recipe_runs_and_changes_the_selection_alone(monkeypatch, tmp_path):
    from rslib import flaws

    monkeypatch.setattr(flaws, "FLAWS", dict(flaws.FLAWS))
    exec(recipe("class _LowestKept"), vars(flaws))
    small = dict(n=2, prompts=4, eval_prompts=4, eval_samples_per_prompt=1, epochs=1, max_new_tokens=8)
    report = flaws.run_flawed(
        "lowest_kept", out=tmp_path, show_progress=False, eval_max_new_tokens=8, **small
    )
    assert report.settings["flaw"] == "lowest_kept"


def test_a_part_of_the_recipe_passes_the_mean_and_names_the_sum(tmp_path):
    from autograder.checks import Agrees, Ideas, graded
    from autograder.exercise import CheckFailed, Part, Variant
    from autograder.work import Work

    space = {"Ideas": Ideas, "Agrees": Agrees, "graded": graded, "Part": Part, "np": np}
    exec(recipe("graded("), space)
    grade = space["part"].grade

    def work(function):
        return Work({"mean_reward": function}, Variant("", "", "0.0"), tmp_path)

    grade(work(np.mean), np.random.default_rng(0))
    with pytest.raises(CheckFailed, match="the sum of the rewards"):
        grade(work(np.sum), np.random.default_rng(0))
    with pytest.raises(CheckFailed, match="not the mean"):
        grade(work(np.max), np.random.default_rng(0))
