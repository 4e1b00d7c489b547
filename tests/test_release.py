"""From script to notebook: the same bytes every time, no solution left behind, errors that help."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from autograder.build import placeholders
from autograder.build.release import NOTEBOOKS, ROOT, instructor, main, read, release, scripts, solved
from rslib.errors import ConfigError
from tests.toy_course import toy_script

LIMIT = 60_000
every_script = pytest.mark.parametrize("script", scripts(), ids=lambda p: p.stem)


@pytest.fixture
def toy(tmp_path):
    """The toy's script, its exercise known to the builder."""
    with toy_script(tmp_path) as script:
        yield script


def changed(script: Path, old: str, new: str) -> Path:
    """The script with one piece of its text replaced."""
    text = script.read_text(encoding="utf-8")
    assert old in text
    script.write_text(text.replace(old, new), encoding="utf-8")
    return script


def cells_of(text: str) -> dict[str, nbformat.NotebookNode]:
    nb = nbformat.reads(text, as_version=4)
    nbformat.validate(nb)
    assert len({cell.id for cell in nb.cells}) == len(nb.cells)
    return {cell.id: cell for cell in nb.cells}


# The committed notebooks


@every_script
def test_the_committed_notebook_is_what_its_script_makes(script):
    committed = NOTEBOOKS / f"{script.stem}.ipynb"
    fresh = committed.is_file() and committed.read_text(encoding="utf-8") == release(script)
    assert fresh, f"edit {script.relative_to(ROOT)}, then run make notebooks"


def test_every_committed_notebook_has_a_script():
    assert {p.stem for p in NOTEBOOKS.glob("*.ipynb")} <= {p.stem for p in scripts()}


@every_script
def test_a_notebook_is_small_and_says_nothing_about_its_author(script):
    text = release(script)
    assert len(text.encode()) <= LIMIT
    nb = nbformat.reads(text, as_version=4)
    assert set(nb.metadata) == {"kernelspec", "autograder"}
    for cell in nb.cells:
        assert set(cell.metadata) <= {"nbgrader", "deletable", "editable"}
        assert not cell.get("outputs") and cell.get("execution_count") is None


@every_script
def test_no_line_of_a_solution_is_left_in_the_student_version(script):
    given = "\n".join(cell.source for cell in nbformat.reads(release(script), as_version=4).cells)
    regions = re.findall(r"BEGIN SOLUTION\n(.*?)### END", script.read_text(encoding="utf-8"), flags=re.DOTALL)
    kept = [line.strip() for region in regions for line in region.splitlines() if line.strip() in given]
    # A closing bracket or a bare `return x` may stand elsewhere too; a line of substance may not.
    assert not [line for line in kept if len(line) > 24]
    assert "SOLUTION" not in given


@every_script
def test_every_cell_of_the_committed_notebook_has_its_own_id(script):
    assert cells_of(release(script))


# What the builder makes


def test_cells_get_the_metadata_of_their_role(toy):
    cells = cells_of(release(toy))
    wanted = {
        "predict_twice": (False, True),
        "90_1": (False, True),
        "90_1_b": (False, True),
        "90_1_check": (True, False),
    }
    found = {key: cell.metadata.nbgrader for key, cell in cells.items() if "nbgrader" in cell.metadata}
    assert {key: (data.grade, data.solution) for key, data in found.items()} == wanted
    assert all(data.grade_id == key and data.locked == data.grade for key, data in found.items())
    assert found["90_1_check"].points == 2.0
    assert cells["90_1_check"].metadata.editable is False
    assert cells["90_1"].metadata.deletable is False and "editable" not in cells["90_1"].metadata


def test_a_region_becomes_one_placeholder_line_with_its_indentation(toy):
    cells = cells_of(release(toy))
    assert cells["90_1"].source == 'def double(x):\n    """Twice x."""\n    ...  # your code here'
    assert cells["90_1_b"].source == "order = []  # your order\n...  # your code here"
    assert cells["predict_twice"].source.splitlines()[1:] == [
        "...  # your code here",
        'predict("twice", guess)',
    ]
    assert "secret" not in release(toy) and "secret" in solved(toy)


def test_the_setup_cell_is_short_and_installs_the_version_it_was_built_from(toy):
    import autograder
    from rslib import __version__

    source = cells_of(release(toy))["setup"].source
    assert len(source.splitlines()) <= 6
    assert placeholders.install_cell() in source and __version__ in placeholders.install_cell()
    assert source.endswith('runs = begin("90", student="")')
    compile(source, "setup", "exec")
    assert all(name in source for name in autograder.__all__)


def test_colab_installs_an_uploaded_wheel_until_there_is_an_address(monkeypatch):
    monkeypatch.setattr(placeholders, "__version__", "1.2.0")
    assert "--no-deps rslib_course-1.2.0-py3-none-any.whl'" in placeholders.install_cell()
    monkeypatch.setattr(placeholders, "repository", lambda: "https://git.example/course")
    wanted = "'install -q --no-deps \"rslib-course @ git+https://git.example/course@v1.2.0\"'"
    assert placeholders.install_cell() == f'get_ipython().run_line_magic("pip", {wanted})'


def test_the_setup_cell_installs_on_colab_only(toy, tmp_path):
    source = cells_of(release(toy))["setup"].source
    colab = "import sys, types; sys.modules['google.colab'] = types.ModuleType('google.colab')\n"
    shell = "class get_ipython:\n    def run_line_magic(self, *words): print('MAGIC', *words)\n"
    for before, expected in (("", False), (colab, True)):
        done = subprocess.run(
            [sys.executable, "-c", before + shell + source],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "AUTOGRADER_RUNS": str(tmp_path)},
        )
        assert ("MAGIC pip install -q --no-deps" in done.stdout) is expected


FRAMES = pytest.mark.parametrize(
    ("repository", "line"),
    [
        (
            f"https://github.com/{placeholders.NO_ADDRESS}",
            "In Colab: *File → Upload notebook*, and `rslib_course-1.2.0-py3-none-any.whl`",
        ),
        ("https://git.example/a/b", "In Colab: *File → Upload notebook*"),
        (
            "https://github.com/a/b",
            "[Open in Colab](https://colab.research.google.com/github/a/b/blob/v1.2.0/notebooks/90_toy.ipynb)",
        ),
    ],
    ids=["no address yet", "elsewhere than Colab can read", "published"],
)


@FRAMES
def test_a_link_to_colab_is_built_from_the_address_and_the_version(toy, monkeypatch, repository, line):
    monkeypatch.setattr(placeholders, "__version__", "1.2.0")
    monkeypatch.setattr(placeholders, "repository", lambda: repository)
    first = instructor(toy).cells[0].source
    assert line in first and "No GPU needed." in first and placeholders.words_line() in first
    assert "Colab" not in instructor(toy, "salt").cells[0].source, "a course hands out its own variant"


@every_script
def test_every_notebook_says_what_it_needs_how_to_come_to_colab_and_how_to_hand_it_in(script):
    nb = nbformat.reads(release(script), as_version=4)
    first, last = nb.cells[0].source, nb.cells[-1].source
    assert placeholders.colab_line(script.stem) in first and "No GPU needed" in first
    graded = any(cell.exercise for cell in read(script))
    assert ("*File → Download*" in last and f"`{script.stem}.ipynb`" in last) if graded else "nothing" in last
    for section in re.findall(r"for the section \*(.+?)\*", first):
        assert any(f"## {section}\n" in cell.source for cell in nb.cells[1:]), section


@every_script
def test_no_notebook_takes_a_gpu_that_only_an_optional_section_wants(script):
    """Colab lends few; the graded parts are measured on a CPU."""
    assert "accelerator" not in nbformat.reads(release(script), as_version=4).metadata


def test_a_section_that_wants_a_gpu_is_named_at_the_top(toy):
    first = instructor(changed(toy, 'role="setup"', 'role="setup" gpu="A large model"')).cells[0].source
    assert "but for the section *A large model*: *Runtime → Change runtime type" in first


def test_an_id_stays_when_a_number_of_the_text_or_the_salt_changes(toy, monkeypatch):
    before = [cell.id for cell in instructor(toy).cells]
    monkeypatch.setattr("autograder.build.placeholders.__version__", "9.9.9")
    assert [cell.id for cell in instructor(toy, "salt").cells] == before


def test_equal_cells_get_different_ids(toy):
    cells = cells_of(release(changed(toy, "# The end.", "# Same.\n\n# %% [markdown]\n# Same.")))
    assert len(cells) == 11


def test_two_processes_make_the_same_bytes(toy):
    code = (
        "import sys; from pathlib import Path; from autograder import exercises\n"
        "from autograder.build import release\n"
        "exercises.__path__.append(sys.argv[2]); print(release.release(Path(sys.argv[1])), end='')"
    )
    command = [sys.executable, "-c", code, str(toy), str(toy.parents[1] / "exercises")]
    made = [
        subprocess.run(
            command, capture_output=True, check=True, env=os.environ | {"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert made[0] == made[1] == release(toy).encode()


def test_the_commit_hook_leaves_a_built_notebook_alone(toy, tmp_path):
    settings = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hook = next(hook for hook in settings["repos"][0]["hooks"] if hook["id"] == "nbstripout")
    _, *options = shlex.split(hook["entry"])
    built = tmp_path / "90_toy.ipynb"
    built.write_text(release(toy), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "nbstripout", *options, str(built)], check=True)
    assert built.read_text(encoding="utf-8") == release(toy)


def test_the_command_writes_the_student_version_or_the_solved_one(toy, tmp_path, capsys):
    assert main([str(toy), "--out", str(tmp_path / "a")]) == 0
    assert main([str(toy), "--out", str(tmp_path / "b"), "--solved"]) == 0
    assert (tmp_path / "a" / "90_toy.ipynb").read_text(encoding="utf-8") == release(toy)
    assert "the secret" in (tmp_path / "b" / "90_toy.ipynb").read_text(encoding="utf-8")
    assert "90_toy.ipynb: 4 KB" in capsys.readouterr().out


# Errors

CHECK = '# %% exercise="90.1" role="check"\ncheck("90.1")\n'
# What to replace in the toy's script, by what, and the message.
WRONG = {
    "an unknown role": ('role="predict" name="twice"', 'role="guess"', "unknown role 'guess'"),
    "an unknown word in a marker": (
        'role="setup"',
        'role="setup" tag="x"',
        "unknown words in the marker: tag",
    ),
    "an unknown exercise": ("90.1", "90.7", "no exercise '90.7'"),
    "no check cell": (CHECK, "", "exercise 90.1 has no check cell"),
    "a check cell alone": ('exercise="90.1" role="answer"', 'role="predict" name="p"', "has no answer cell"),
    "two answers of one name": (' name="b"', "", "two cells are called '90_1'"),
    "two checks": (CHECK, CHECK + "\n" + CHECK, "two cells are called '90_1_check'"),
    "two set-ups": (
        '# %% role="setup"',
        '# %% role="setup"\n\n# %% role="setup"',
        "two cells are called 'setup'",
    ),
    "a check with more in it": ('check("90.1")', 'print(1)\ncheck("90.1")', "a check cell with another body"),
    "a GPU for another cell": (' role="predict"', ' role="predict" gpu="x"', "gpu on another cell"),
    "a body in the setup cell": ('role="setup"', 'role="setup"\nimport os', "the setup cell has a body"),
    "a prediction without a name": (' name="twice"', "", "a predict cell without a name"),
    "a name with a blank": ('name="twice"', 'name="twice two"', "'twice two' is no name"),
    "a name with a hyphen": ('name="twice"', 'name="twice-two"', "'twice-two' is no name"),
    "an exercise without a role": (' role="answer" name="b"', "", "a role without an exercise"),
    "a role on text": ("# %% [markdown]\n# The", '# %% [markdown] role="answer"\n# The', "on such a cell"),
    "a region in a given cell": (' role="predict" name="twice"', "", "a solution region outside"),
    "an answer without a region": (
        '### BEGIN SOLUTION\norder = ["secret"]\n### END SOLUTION',
        "",
        "the answer cell has no solution region",
    ),
    "a prediction without a region": (
        "### BEGIN SOLUTION\nguess = 4.0\n### END SOLUTION",
        "",
        "the predict cell has no solution region",
    ),
    "a region without an end": ("    ### END SOLUTION\n", "", "no end solution statement"),
    "a region in a region": (
        "    return 2 * x",
        "    ### BEGIN SOLUTION\n    return 2 * x",
        "nested begin solution",
    ),
    "a marker in a string": (
        '"""Twice x."""',
        '"""Twice x.\n    # %% five\n    """',
        "a cell marker in a string",
    ),
    "text before the first marker": (
        "# %% [markdown]\n# # A toy",
        "x = 1\n# %% [markdown]\n# # A toy",
        "markers but",
    ),
    "a comment read as a command": ("order = []", "# copy the order\norder = []", "the cell is not Python"),
    "a stub that is not Python": (
        "    return 2 * x",
        "    y = (\n    ### END SOLUTION\n    2 * x)\n    ",
        "not Python",
    ),
    "not Python at all": ("def double(x):", "def double(x:", "not Python"),
    "a missing file": ("{{version}}", "{{none.json:a|.2f}}", "there is no file none.json in results/"),
    "a missing number": (
        "{{version}}",
        "{{rounds.json:results.0.nothing|.2f}}",
        "nothing stands under 'results.0.nothing'",
    ),
    "no number there": ("{{version}}", "{{rounds.json:versions.torch|.2f}}", "is not a number"),
    "a wrong format": ("{{version}}", "{{rounds.json:evaluation.prompts|.2q}}", "format code"),
    "a number without a format": ("{{version}}", "{{rounds.json:evaluation.prompts}}", "unknown placeholder"),
    "an unknown placeholder": ("{{version}}", "{{author}}", "{{author}}: unknown placeholder"),
    "the card of an unknown exercise": (
        "{{card:90.1}}",
        "{{card:90.7}}",
        "{{card:90.7}}: there is no exercise '90.7'",
    ),
}


@pytest.mark.parametrize(("old", "new", "message"), WRONG.values(), ids=WRONG)
def test_a_mistake_in_a_script_is_named_with_its_place(toy, old, new, message):
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        release(changed(toy, old, new))
    assert "90_toy.py" in caught.value.where
    assert caught.value.fix or "not Python" in message


# Placeholders


def test_a_card_comes_from_the_exercise(toy):
    texts = [cell.source for cell in instructor(toy).cells]
    assert "### 90.1 · Twice\n\n★☆☆ · 2 points · about 5 minutes" in texts


def test_a_number_comes_from_a_result_file(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"x": [{"y": 1.0}, {"y": 2.5}], "n": 800}))
    text = "{{a.json:x.1.y|.2f}} {{a.json:x.-1.y|+.1f}} {{a.json:x.*.y|.2f}} {{a.json:n|,}} {{ a.json:n|d }}"
    assert placeholders.expand(text, "here", tmp_path) == "2.50 +2.5 1.75 800 800"


@pytest.mark.parametrize("value", ["NaN", "Infinity", "true", "null", '"2"', "[1]"])
def test_what_is_not_a_finite_number_is_refused(tmp_path, value):
    (tmp_path / "a.json").write_text(f'{{"x": {value}}}')
    with pytest.raises(ConfigError, match="is not a number"):
        placeholders.expand("{{a.json:x|.2f}}", "here", tmp_path)


def test_braces_in_code_are_left_alone(toy):
    script = changed(toy, "guess = ...  # your number", 'guess = f"{{guess}}"')
    assert cells_of(release(script))["predict_twice"].source.startswith('guess = f"{{guess}}"')
