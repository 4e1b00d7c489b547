"""A cell that needs an answer which is not there yet says so in a line; every other cell runs as it is."""

import io
from contextlib import redirect_stdout

import pytest

from autograder import blanks

ASKED = {"double": "9.1", "order": "9.2", "pool": "9.3"}


@pytest.fixture
def run():
    """run(cell, ...): what cells print in a kernel that watches; a traceback is raised."""
    shell_class = pytest.importorskip("IPython.core.interactiveshell").InteractiveShell
    shell = shell_class()
    blanks.watch(shell, ASKED)

    def execute(*cells):
        printed = io.StringIO()
        with redirect_stdout(printed):
            for cell in cells:
                shell.run_cell(cell).raise_error()
        return printed.getvalue()

    return execute


STUB = 'def double(x):\n    """Twice x,\n\n    said at length."""\n    ...  # your code here'
ORDER = "order = []  # names\n...  # your code here"


@pytest.mark.parametrize(
    ("stub", "use", "name"),
    [
        (STUB, "print(double(3) + 1)", "double"),
        (STUB, "for k in range(3):\n    print(double(k)[0])", "double"),
        (STUB, "rows = [double(k).x for k in range(3)]", "double"),
        (STUB, "def twice():\n    return double(1)\nprint(twice() + 1)", "double"),
        (ORDER, "print(order[0])", "order"),
        ("pool = ...\n...", "len(pool)", "pool"),
        ("kept, tuned = {}, {}\n...", "kept['best']", "kept"),
        ("order = {'a': '', 'b': ('', '')}\n...", "order['a'][0]", "order"),
    ],
)
def test_a_cell_that_reads_a_stub_says_which_in_one_line_and_is_not_run(run, stub, use, name):
    line = run(stub, use)
    exercise = f" of exercise {ASKED[name]}" if name in ASKED else ""
    assert line == f"Not run: it needs `{name}`{exercise}. Write your answer, run its cell, then this one.\n"


def test_what_rests_on_a_cell_that_was_not_run_is_not_run_either(run):
    assert "needs `double` of exercise 9.1" in run(
        STUB, "six = double(3) + 0", "seven = six + 1", "seven + 1"
    )


def test_of_a_cell_that_is_not_run_imports_and_definitions_are_there(run):
    cell = "import math\ndef half(x):\n    return x / 2\nsix = double(3) + 0"
    assert run(STUB, cell, "print(math.floor(half(6)))").endswith("\n3\n")


def test_a_helper_of_the_notebook_runs_and_whoever_calls_it_is_told(run):
    helper = "def table():\n    return [double(k) + 1 for k in range(3)]"
    assert "needs `double`" in run(STUB, helper, "print(table())")
    assert run("def double(x):\n    return 2 * x", "print(table())") == "[1, 3, 5]\n"


def test_once_it_is_answered_everything_runs_and_what_was_left_out_is_named(run):
    run(STUB, "six = double(3)")
    assert "what an earlier cell makes of `double`" in run("def double(x):\n    return 2 * x", "print(six)")
    assert run("six = double(3)", "print(six)") == "6\n"


@pytest.mark.parametrize(
    "cells",
    [
        ("kept = []", "print(len(kept) + 7)"),  # the notebook's own empty list is no answer
        ("kept = {}\n...", "kept['x'] = 7", "print(kept['x'])"),  # an answer of two cells
        ("order = []\n...", "for k in range(7):\n    order.append(k)", "print(len(order))"),
        (STUB, "x = 7", "print(x)"),
        ("guess = ...\n...\nprint(7)",),  # a prediction's own cell
        ("order = ['split']", "print(len(order) + 6)"),
    ],
)
def test_other_cells_run(run, cells):
    assert run(*cells) == "7\n"


def test_an_error_of_the_learners_own_keeps_its_traceback(run):
    with pytest.raises(TypeError):
        run("def double(x):\n    return x + 'a'", "double(3)")
    with pytest.raises(NameError):
        run("print(never_defined)")


def test_a_cell_with_await_runs(run):
    assert run("import asyncio\nawait asyncio.sleep(0)\nprint(7)") == "7\n"
