"""`python -m autograder check`: the same verdicts from a shell as in the notebook."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from autograder import __main__
from autograder.build.release import solved
from tests.toy_course import toy_script


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """The toy notebook with its solution in place."""
    folder = tmp_path_factory.mktemp("shell")
    with toy_script(folder) as script, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOGRADER_RUNS", str(folder / "runs"))
        path = folder / "90_toy.ipynb"
        path.write_text(solved(script))
        yield path


def changed(path, old, new):
    """A copy of the notebook with one text replaced."""
    copy = path.with_name(f"90_{abs(hash(new))}.ipynb")
    copy.write_text(path.read_text().replace(old, new))
    return copy


def check(path, capsys):
    code = __main__.main(["check", str(path)])
    return code, capsys.readouterr()


def test_a_solved_notebook_gets_every_point_and_exit_code_0(toy, capsys):
    code, printed = check(toy, capsys)
    assert code == 0 and "2 of 2 points" in printed.out


def test_a_wrong_answer_shows_its_panel_and_exit_code_1(toy, capsys):
    code, printed = check(changed(toy, "return 2 * x", "return abs(2 * x)"), capsys)
    assert code == 1 and "the sign of the number is lost" in printed.out and "1.5 of 2 points" in printed.out


def test_a_practice_panel_counts_for_nothing(toy, capsys):
    panel = "from autograder.handouts.nb00 import practise\\npractise(lambda rewards: 0)\\n"
    code, printed = check(changed(toy, 'order = [\\"secret\\"]', f'{panel}order = [\\"secret\\"]'), capsys)
    assert code == 0 and "2 of 2 points" in printed.out


def test_a_missing_check_cell_is_named_not_forgotten(toy, capsys):
    code, printed = check(changed(toy, 'check(\\"90.1\\")', "pass"), capsys)
    assert code == 1 and "not checked" in printed.out and "90.1" in printed.out


def test_a_cell_that_stops_is_reported_and_the_rest_still_runs(toy, capsys):
    code, printed = check(changed(toy, 'order = [\\"secret\\"]', "1 / 0"), capsys)
    assert code == 1 and "ZeroDivisionError" in printed.out and "2 of 2 points" in printed.out


@pytest.mark.parametrize("content", [None, "not a notebook", "{}"])
def test_what_is_no_notebook_gets_a_typed_error_and_exit_code_2(tmp_path, capsys, content):
    path = tmp_path / "90_x.ipynb"
    if content is not None:
        path.write_text(content)
    code, printed = check(path, capsys)
    assert code == 2 and "DataError" in printed.err


def test_without_a_command_the_commands_are_listed(capsys):
    assert __main__.main([]) == 2
    printed = capsys.readouterr().out
    assert all(name in printed for name in __main__.COMMANDS)


@pytest.mark.parametrize("command", ["check", "grade"])
def test_files_in_the_current_folder_are_not_imported_in_place_of_pythons(command, tmp_path):
    """An instructor types `python -m autograder grade .` in a folder of students' files."""
    for name in ("argparse", "csv", "json", "random", "nbformat", "rslib"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('a file of a student was imported')")
    call = [sys.executable, "-m", "autograder", command, "--help"]
    path = {"PYTHONPATH": str(Path(__main__.__file__).parents[1])}
    done = subprocess.run(call, cwd=tmp_path, env=os.environ | path, capture_output=True, text=True)
    assert done.stdout.startswith("usage: ") and (done.returncode, done.stderr) == (0, "")
