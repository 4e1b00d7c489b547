"""A strict course: late work counts nothing, two seconds a cell, a header, an excluded student, own marks."""

from tests.courses.cells import Cell, Course, Student, plain, test, text

NOTEBOOK = [
    text("# Waiting"),
    Cell("def wait():\n    #:) solution\n    return 'done'\n    #(: solution", "wait", solution=True),
    test("test_wait", 2, 'assert wait() == "done"'),
    plain("x = []"),
    Cell("#:) solution\ncount = sum(range(5))\n#(: solution", "count", solution=True),
    test(
        "test_count",
        1,
        """
        assert count > 0
        #:) hidden
        assert count == 10
        #(: hidden
    """,
    ),
]
HEADER = '{"cells": [{"cell_type": "code", "id": "who", "metadata": {}, "source": "NAME = \'\'", "outputs": [], "execution_count": null}], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
CONFIG = """
c.CourseDirectory.course_id = "strict"
c.CourseDirectory.student_id_exclude = "guest,tester"
c.LateSubmissionPlugin.penalty_method = "zero"
c.IncludeHeaderFooter.header = "source/header.ipynb"
c.Execute.timeout = 2
c.ClearSolutions.begin_solution_delimeter = "#:) solution"
c.ClearSolutions.end_solution_delimeter = "#(: solution"
c.ClearSolutions.code_stub = {"python": "raise RuntimeError('nothing here yet')"}
c.ClearHiddenTests.begin_test_delimeter = "#:) hidden"
c.ClearHiddenTests.end_test_delimeter = "#(: hidden"
"""
RIGHT = {"wait": "def wait():\n    return 'done'", "count": "count = 10"}
COURSE = Course(
    notebooks={"w1/waiting": NOTEBOOK},
    files={"source/header.ipynb": HEADER},
    config=CONFIG,
    due={"w1": "2026-01-10 18:00:00 Asia/Kolkata"},
    students={
        "in_time": Student(RIGHT, late={"w1": "2026-01-10 12:29:00 UTC"}),
        "late": Student(RIGHT, late={"w1": "2026-01-10 12:31:00 UTC"}),
        "late_half": Student({"wait": RIGHT["wait"]}, late={"w1": "2026-01-11 09:00:00 -0800"}),
        "slow": Student({**RIGHT, "wait": "import time\ndef wait():\n    time.sleep(4)\n    return 'done'"}),
        "quick_enough": Student(
            {**RIGHT, "wait": "import time\ndef wait():\n    time.sleep(0.5)\n    return 'done'"}
        ),
        "endless": Student({**RIGHT, "wait": "while True:\n    x = 1"}),
        "close": Student({**RIGHT, "count": "count = 11"}),
        "guest": Student(RIGHT),
        "blank": Student(),
    },
)
