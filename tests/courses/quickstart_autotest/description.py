"""nbgrader's own `quickstart --autotest` course."""

from dataclasses import replace

from tests.courses.cells import MODEL, Student
from tests.courses.quickstart.description import COURSE as QUICKSTART

DICTIONARY = {"cell-d3df8cd59fd0eb74": "my_dictionary = dict(one=1, two=2, three=3)"}
STUDENTS = {
    name: Student({**QUICKSTART.students[name].answers, **DICTIONARY})
    for name in ("loops", "numpy", "formula", "wrong")
}
MODEL_TOO = Student({**QUICKSTART.students["model"].answers, "cell-d3df8cd59fd0eb74": MODEL})
COURSE = replace(
    QUICKSTART, example="ps1_autotest", students={"model": MODEL_TOO, **STUDENTS, "blank": Student()}
)
