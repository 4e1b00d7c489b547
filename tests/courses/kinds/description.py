"""The kinds of nbgrader's own autograde tests, in words of our own: each student hands in one oddness."""

import nbformat

from tests.courses.cells import (
    MODEL,
    SOLVED,
    Cell,
    Course,
    Student,
    answer,
    code_by_hand,
    essay,
    locked,
    plain,
    task,
    test,
)

FIRST = [
    locked("intro", "Evens and odds.", "markdown"),
    locked("limit", "LIMIT = 6"),
    answer(
        "evens",
        """
        def evens(n):
            ### BEGIN SOLUTION
            if n < 0:
                raise ValueError("n is negative")
            return [i for i in range(n) if i % 2 == 0]
            ### END SOLUTION
    """,
    ),
    plain("evens(LIMIT)"),
    test(
        "test_evens",
        2,
        """
        assert evens(LIMIT) == [0, 2, 4]
        ### BEGIN HIDDEN TESTS
        assert evens(9) == [0, 2, 4, 6, 8]
        ### END HIDDEN TESTS
    """,
    ),
    test(
        "test_hidden_only",
        1,
        """
        ### BEGIN HIDDEN TESTS
        try:
            evens(-1)
        except ValueError:
            pass
        else:
            raise AssertionError("did not raise")
        ### END HIDDEN TESTS
    """,
    ),
    test("test_partial", 2, "sum(0.5 for n in (1, 2, 3, 4) if len(evens(n)) == (n + 1) // 2)"),
    test("test_words", 1, "'a value that is no number: ' + str(evens(3))"),
    test(
        "test_place",
        1,
        "import os\nassert os.environ['NBGRADER_EXECUTION'] == 'autograde'\nassert 'NBGRADER_VALIDATING' not in os.environ",
    ),
    test("test_nothing", 0, "assert evens(2) == [0]"),
    essay("proof", 3, "Every second number is even."),
    code_by_hand("use", 2, "print(evens(10))"),
    Cell(SOLVED.format("x = 1"), "by_eye", points=1.5, grade=True, solution=True),
    task("draw", 4, "Draw the even numbers."),
]
SECOND = [
    plain("with open('note.txt', 'w') as note:\n    note.write('a side effect')"),
    test("test_data", 3, "with open('data.txt') as data:\n    assert len(data.read().split()) == 4"),
    test(
        "test_deep",
        1,
        "import beside\nassert open('sub/deep.csv').read().startswith('one')\nassert beside.VALUE == 7",
    ),
    answer("note", "note = open('note.txt').read()"),
    test("test_note", 1, "assert note == 'a side effect'"),
]
ALL = ("evens", "proof", "use", "by_eye", "note")
DONE = dict.fromkeys(ALL, MODEL)


def graded(made, grade_id):
    return next((c for c in made.cells if c.metadata.get("nbgrader", {}).get("grade_id") == grade_id), None)


def more_points(made):
    """Another number of points, and a test that cannot fail."""
    if cell := graded(made, "test_evens"):
        cell.metadata.nbgrader["points"] = 200
        cell.source = "pass"


def unlock(made):
    """Locked cells changed: a constant, a text; a test made to fail."""
    for grade_id, source in {"limit": "LIMIT = 1", "intro": "Odd.", "test_partial": "assert False"}.items():
        if cell := graded(made, grade_id):
            cell.source = source


def twice(made):
    """The answer cell and its test a second time, as after copy and paste."""
    for grade_id in ("evens", "test_evens"):
        if cell := graded(made, grade_id):
            again = nbformat.from_dict({**cell, "id": f"copy-{grade_id}"})
            made.cells.insert(made.cells.index(cell) + 1, again)


def other_kernel(made):
    made.metadata.kernelspec = {"name": "blah", "display_name": "Blah", "language": "blah"}


def outputs(made):
    """Outputs of a run on the student's machine, with an error in them."""
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.execution_count = 7
            cell.outputs = [nbformat.v4.new_output("error", ename="NameError", evalue="x", traceback=["x"])]


def other_order(made):
    """The tests put before the answer."""
    made.cells.sort(key=lambda cell: "def evens" in cell.source)


def delete_tests(made):
    """Test cells thrown away."""
    made.cells = [c for c in made.cells if c.metadata.get("nbgrader", {}).get("grade_id") != "test_evens"]


EMPTY = nbformat.writes(nbformat.v4.new_notebook())
WRONG = {"evens": "def evens(n):\n    return [0, 2, 4]", "proof": "It is so.", "note": "note = ''"}
COURSE = Course(
    notebooks={"ps1/p1": FIRST, "ps1/p2": SECOND},
    files={
        "source/ps1/data.txt": "one two\nthree four",
        "source/ps1/sub/deep.csv": "one,two",
        "source/ps1/beside.py": "VALUE = 7",
    },
    due={"ps1": "2015-02-02 14:58:23.948203 America/Los_Angeles"},
    students={
        "unchanged": Student(),
        "changed": Student(WRONG, late={"ps1": "2015-02-02 15:58:23.948203 America/Los_Angeles"}),
        "solved": Student(DONE),
        "empty_timestamp": Student({"evens": MODEL}, late={"ps1": ""}),
        "changed_data": Student(
            DONE, files={"ps1/data.txt": "one", "ps1/beside.py": "VALUE = 8", "ps1/sub/deep.csv": "two"}
        ),
        "extra_notebook": Student(
            {"evens": MODEL}, files={"ps1/p1 copy.ipynb": EMPTY, "ps1/mine.ipynb": EMPTY}
        ),
        "first_only": Student(DONE, absent=("ps1/p2",)),
        "second_only": Student(DONE, absent=("ps1/p1",)),
        "points": Student({"note": MODEL}, edit=more_points),
        "unlocked": Student(DONE, edit=unlock),
        "other_kernel": Student(DONE, edit=other_kernel),
        "outputs": Student(DONE, edit=outputs),
        "other_order": Student(DONE, edit=other_order, twin="solved"),
        "deleted": Student(DONE, edit=delete_tests, twin="solved"),
        "talks": Student(
            {
                **DONE,
                "evens": "def evens(n):\n    for i in range(300):\n        print('even', i)\n    return list(range(0, n, 2))",
            }
        ),
        "no_notebook": Student(absent=("ps1",), files={"ps1/letter.txt": "I was ill."}),
        # Last by name: stock nbgrader ends the whole run at it.
        "with_copies": Student(DONE, edit=twice, twin="solved"),
        "extra_cells": Student(
            DONE,
            before={"evens": "1 / 0", "limit": "x = [1]"},
            after={
                "evens": "del x\nevens(3)",
                "limit": "raise KeyboardInterrupt",
                "test_data": "open('data.txt')",
            },
        ),
    },
)
