"""The house rule of the autograder: rows, no cycles, nothing that Colab lacks where learners need it."""

import ast
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests import grading

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "autograder"

# A module may import from the rows before its own. Exercises and experiments share a row with their support.
ROWS = (
    {"exercise", "blanks"},
    {"work", "calibration"},
    {"checks", "verdict"},
    {"handouts"},
    {"ordering_run"},
    {"exercises", "experiments"},
    {"keys"},
    {"session", "course"},
    {"shell", "calibrate", "notebooks"},
    {"grading"},
    {"build"},
    {"__main__"},
)
SHARED = {"exercises", "experiments"}
"""A grader and its experiment measure with the same code, which lives with either of them."""
INSTRUCTOR = {"build", "course", "shell", "grading"}
"""Modules that may use the course packages; a learner's notebook needs none of them."""
COURSE_PACKAGES = {"nbgrader", "nbformat", "nbconvert", "nbclient", "jupytext", "traitlets"}


def modules() -> list[Path]:
    skip = {
        PACKAGE / "__init__.py",
        PACKAGE / "build" / "nbgrader_config.py",
        *(PACKAGE / "wrong").glob("*.py"),
    }
    return sorted(p for p in PACKAGE.rglob("*.py") if p not in skip)


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(path: Path) -> set[tuple[str, ...]]:
    """Every imported module of a file as a tuple of its parts; imports for annotations only are left out."""
    found = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tree.body = [
        n for n in tree.body if not (isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "autograder":
            found |= {("autograder", alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(tuple((node.module or "").split(".")))
    return found


def row_of(module: str) -> int:
    rows = [number for number, row in enumerate(ROWS) if module in row]
    assert rows, f"give autograder/{module} a row in {Path(__file__).name}"
    return rows[0]


each = pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))


@each
def test_a_module_imports_only_from_the_rows_above_its_own(path):
    own = name_of(path)
    targets = {parts[1] for parts in imports(path) if parts[0] == "autograder" and len(parts) > 1} - {own}
    if own in SHARED:
        targets -= SHARED
    assert all(row_of(target) < row_of(own) for target in targets), sorted(targets)


@each
def test_only_the_instructors_modules_use_the_course_packages(path):
    used = {parts[0] for parts in imports(path)} & COURSE_PACKAGES
    assert not used or name_of(path) in INSTRUCTOR, used


EXERCISE = re.compile(r"nb\d\d_\d")


@pytest.mark.parametrize("path", sorted((PACKAGE / "exercises").glob("nb??_?.py")), ids=lambda p: p.stem)
def test_an_exercise_imports_no_other_exercise(path):
    text = path.read_text(encoding="utf-8")
    names = {
        alias.name
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if node.module == "autograder.exercises"
    }
    names |= {parts[2] for parts in imports(path) if parts[:2] == ("autograder", "exercises") and parts[2:]}
    others = {name for name in names if EXERCISE.fullmatch(name)} - {path.stem}
    assert not others, others


RAISABLE = {"RSError", "CheckFailed", "AttributeError", "SystemExit"}


@cache
def errors() -> set[str]:
    """What may be raised: the error tree, CheckFailed, subclasses of these, and functions that return one."""
    trees = [ast.parse(p.read_text(encoding="utf-8")) for p in (*modules(), *(ROOT / "rslib").rglob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    known, before = set(RAISABLE), set()
    while known != before:
        before = set(known)
        known |= {n.name for n in nodes if isinstance(n, ast.ClassDef) and {last(b) for b in n.bases} & known}
    makers = (n for n in nodes if isinstance(n, ast.FunctionDef) and n.returns)
    return known | {n.name for n in makers if last(n.returns) in known}


def last(node: ast.expr) -> str:
    """The name that an expression ends with: ConfigError of `rslib.errors.ConfigError("no such card")`."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node).split(".")[-1]


def strange_errors(source: str) -> list[str]:
    """What a source raises outside of the tree; an error that it caught by name may be raised again."""
    nodes = list(ast.walk(ast.parse(source)))
    handlers = (n for n in nodes if isinstance(n, ast.ExceptHandler) and n.type)
    caught = {n.name for n in handlers if last(n.type) in errors()}
    raised = (last(n.exc) for n in nodes if isinstance(n, ast.Raise) and n.exc)
    return [name for name in raised if name not in errors() | caught]


PROTOCOL = {
    "course.py": {"NbGraderException"},
    "work.py": {"TimedOut"},
    "grading/inside/isolate.py": {"OSError"},
    "grading/run.py": {"outcome"},
    "grading/bounds.py": {"Overrun"},
    "grading/inside/kernel.py": {"ValueError", "FileNotFoundError", "TimeoutError", "loads"},
    "grading/confined.py": {"FileNotFoundError"},
    "grading/remote.py": {"StopIteration", "RuntimeError", "_raised"},
    "grading/standins.py": {"TypeError"},
    "grading/testcell.py": {"OSError"},
}
"""Errors that Python, nbgrader or the system expects of a stand-in, a step, a signal or a system call."""


@each
def test_errors_belong_to_the_tree_and_wrong_answers_are_wrong(path):
    expected = PROTOCOL.get(str(path.relative_to(PACKAGE)), set())
    assert set(strange_errors(path.read_text(encoding="utf-8"))) <= expected


@pytest.mark.parametrize(
    ("source", "strange"),
    [
        ("raise rslib.errors.DataError('x')", []),
        ("raise unknown_name('card', 'x', ())", []),  # a function that returns a ConfigError
        ("raise cell.wrong('x', 'y')", []),
        ("raise ContractError(card, need)", []),  # a subclass
        ("try:\n    f()\nexcept CheckFailed as told:\n    raise told", []),
        ("try:\n    f()\nexcept KeyError as told:\n    raise told", ["told"]),
        ("raise ValueError('x')", ["ValueError"]),
        ("error = ValueError('x')\nraise error", ["error"]),
    ],
)
def test_the_rule_of_errors_knows_makers_and_subclasses(source, strange):
    assert strange_errors(source) == strange


def test_what_runs_in_the_sandbox_knows_nothing_of_tests_and_gradebooks():
    allowed = {"work", "exercise"}
    for path in (PACKAGE / "grading" / "inside").glob("*.py"):
        ours = [parts for parts in imports(path) if parts[0] == "autograder"]
        inner = {parts[:3] for parts in ours if parts[1] == "grading"}
        assert inner <= {("autograder", "grading", "inside")}, path.name
        assert {parts[1] for parts in ours} - {"grading"} <= allowed, path.name


SEEN = """
__init__ blanks exercise exercises/__init__ grading/__init__ session verdict work
handouts/: __init__ choice items locked models ordering nb00 nb01_2 nb01_4 nb02_scorers nb03_given nb05_1
    nb05_2 nb05_3 nb05_panels nb06_5 nb06_panels nb07_3 nb07_arena nb07_made_up nb07_methods nb07_results
    nb08_2 nb08_prices comparisons.json panels.json questions.json rl_panels.json statements.txt team.txt
    teams.json
grading/inside/: __init__ arrays frames isolate kernel kinds objects outputs processes server tables wire
"""
"""What a submission sees. Before a name is added: its text tells no right answer, no check, nobody's work."""


def seen_names() -> set[str]:
    """The paths of SEEN, relative to the package."""
    names, folder = set(), ""
    for line in SEEN.strip().splitlines():
        head, _, rest = line.rpartition(":")
        folder = head if head or not line.startswith(" ") else folder
        names |= {folder + (word if "." in word else f"{word}.py") for word in rest.split()}
    return names


def test_a_submission_sees_these_files_of_the_package_and_no_others():
    from autograder.grading.sandbox import course_files

    targets = [target for _, target in course_files()]
    assert targets[0] == "rslib" and len(targets) == len(set(targets))
    assert {target.removeprefix("autograder/") for target in targets[1:]} == seen_names()


FRESH = """fresh.py fresh.json fresh/__init__.py build/fresh.py keys/fresh.txt keys/fresh.py wrong/fresh.py
    exercises/fresh.py experiments/fresh.py grading/fresh.py grading/fresh/fresh.py __pycache__/fresh.pyc
    handouts/__pycache__/fresh.pyc grading/inside/fresh.bin""".split()


@pytest.fixture
def with_fresh_files(tmp_path, monkeypatch):
    """A copy of the package with a new file in every hidden folder; what submissions saw before."""
    from autograder.grading import sandbox, visible

    shutil.copytree(PACKAGE, tmp_path / "autograder", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "rslib").symlink_to(ROOT / "rslib")
    for module in (sandbox, visible):
        monkeypatch.setattr(module, "PACKAGE", tmp_path / "autograder")
    before = sandbox.course_files()
    for name in FRESH:
        path = tmp_path / "autograder" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("")
    (tmp_path / "autograder" / "handouts" / "link.py").symlink_to(PACKAGE / "keys" / "__init__.py")
    return before


def test_a_new_file_is_seen_by_nobody_unless_its_folder_is(with_fresh_files):
    from autograder.grading import sandbox, visible

    before = with_fresh_files
    assert sandbox.course_files() == before
    assert all(source.is_file() for source, target in before if target != "rslib")
    in_class = {path.relative_to(visible.PACKAGE).as_posix() for path in visible.to_a_class()}
    assert in_class & {*FRESH, "handouts/link.py"} == {"exercises/fresh.py", "experiments/fresh.py"}
    handed = visible.PACKAGE / "handouts" / "fresh.txt"
    handed.write_text("")
    assert (handed, "autograder/handouts/fresh.txt") in sandbox.course_files()
    assert handed in visible.to_a_class()


def test_in_the_real_sandbox_a_new_file_in_a_hidden_folder_is_not_there(with_fresh_files):
    from autograder.grading import sandbox

    grading.needs_bubblewrap()
    around = sandbox.environment(sandbox.COURSE, f"{sandbox.WORK}/.home")
    code = f"import pathlib; print(*(p for p in pathlib.Path({sandbox.COURSE!r}).rglob('*') if p.is_file()))"
    call = [*sandbox.bubblewrap(around), sys.executable, "-P", "-s", "-c", code]
    done = subprocess.run(call, capture_output=True, text=True, timeout=60, check=True)
    ours = {path.removeprefix(f"{sandbox.COURSE}/autograder/") for path in done.stdout.split()}
    assert {path for path in ours if not path.startswith(sandbox.COURSE)} == seen_names()


def test_a_package_that_is_installed_where_python_looks_is_covered_up(tmp_path, monkeypatch):
    from autograder.grading import sandbox
    from autograder.grading.places import covers

    installed = tmp_path / "lib" / "site-packages" / "autograder"
    installed.mkdir(parents=True)
    monkeypatch.setattr(sandbox, "PACKAGE", installed)
    assert covers([str(tmp_path / "lib")], sandbox.own_folders()) == [str(installed)]
    assert covers([str(tmp_path / "elsewhere")], sandbox.own_folders()) == []
