"""Kinds of test cells, each with right answers in two styles and a wrong one: marks are those of nbgrader."""

from pathlib import Path

import pytest

from autograder.grading.examine import given
from autograder.grading.sandbox import Sandbox
from tests import grading, kinds
from tests.kinds import POINTS, Kind

pytestmark = grading.needs_walls
SQUARE = "def square(x):\n    return x * x"
HIDDEN = "### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"


def kind(name, *cells, files=None, stub="", **answers):
    """A kind; an answer of one cell is a text, of several a tuple of texts."""
    texts = {style: (text,) if isinstance(text, str) else text for style, text in answers.items()}
    return Kind(name, tuple(cells), texts, files or {}, stub)


AS_STOCK = kinds.read(Path(__file__).with_name("kinds.txt"))
ATTACKED = kinds.read(Path(__file__).with_name("kinds_attacked.txt"))
PARTIAL = {"half", "inside"}
"""Kinds whose own solution does not get all points."""


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(kinds.MODULES) as found:
        yield found


@pytest.fixture(scope="module")
def graded(sandbox, tmp_path_factory):
    """The record of an answer to a kind."""
    root = tmp_path_factory.mktemp("kinds")
    everything = [*AS_STOCK, *OURS, *TOLD, *ATTACKED, HELPED]
    plan = kinds.write(root, everything)
    solved: dict[str, dict] = {}

    def record(kind, style, extras=None):
        if kind.name not in solved:
            solved[kind.name] = kinds.graded(found, root, plan, kind, "solved")
        if style == "solved":
            return solved[kind.name]
        return kinds.graded(found, root, plan, kind, style, extras, solved[kind.name])

    with kinds.grader(root, sandbox) as found:
        yield record


def marks(record):
    assert not record["problem"]
    return [cell["points"] for cell in record["cells"].values()]


def why(record):
    return [cell["why"] for cell in record["cells"].values()]


@pytest.fixture(scope="module")
def stock():
    return kinds.stock(AS_STOCK)


STYLES = [(kind, style) for kind in AS_STOCK for style in ("solved", *kind.answers)]


@pytest.mark.parametrize(("kind", "style"), STYLES, ids=lambda v: v if isinstance(v, str) else v.name)
def test_marks_are_those_of_nbgrader(graded, stock, kind, style):
    record = graded(kind, style)
    assert marks(record) == stock[kind.name, style], why(record)
    if style in ("solved", "other"):
        assert marks(record) == [POINTS] * len(kind.tests()) or kind.name in PARTIAL


def test_where_exercises_are_checked_their_verdicts_count_as_long_as_the_rest_passes():
    cell, verdicts = {"source": "check('1.1')\nassert True", "most": 4.0}, [{"points": 1.5}, {"points": 0.5}]
    assert given(None, cell, verdicts) == 2.0
    assert given(None, cell, [{"points": 3.0}, {"points": 3.0}]) == 4.0
    assert given(1.0, cell, verdicts) == 1.0 and given("x", cell, verdicts) is False
    assert given(True, cell) is None and given(False, cell) is False


# What is no number of points gives none ---------------------------------------------------------------------

FORGED = {
    "array": "import numpy as np\ndef points():\n    return np.ones(3)",
    "one": "import numpy as np\ndef points():\n    return np.ones(1)",
    "nothing_dimensional": "import numpy as np\ndef points():\n    return np.array(2.0)",
    "masked": "import numpy as np\ndef points():\n    return np.ma.array([2.0])",
    "tensor": "import torch\ndef points():\n    return torch.tensor(2.0)",
    "series": "import pandas as pd\ndef points():\n    return pd.Series([1.0])",
    "frame": "import pandas as pd\ndef points():\n    return pd.DataFrame({'a': [1]})",
    "text": "class S(str):\n    pass\ndef points():\n    return S('2')",
    "shown": "class P:\n    def __repr__(self):\n        return '2.0'\ndef points():\n    return P()",
    "nan": "def points():\n    return float('nan')",
    "too_many": "def points():\n    return 3",
    "negative": "def points():\n    return -1",
    "huge": "def points():\n    return 10 ** 2000",
    "list": "def points():\n    return [2]",
    "complex": "def points():\n    return 2 + 0j",
    "fraction": "from fractions import Fraction\ndef points():\n    return Fraction(2)",
    "false": "def points():\n    return False",
    "ellipsis": "def points():\n    return ...",
}
OURS = [
    kind("forged", ("answer", "def points():\n    return 2.0"), ("test", "points()"), **FORGED),
    kind(
        "shadows",
        ("plain", "import numpy as np\nCASES = [1, 2]\ndef close(a, b):\n    return abs(a - b) < 1e-9"),
        ("answer", "import numpy as np\ndef square(x):\n    return x * x"),
        ("test", "assert all(close(square(n), n * n) for n in CASES) and np.isclose(square(3), 9)"),
        stub="import numpy as np",
        wrong="class np:\n    isclose = staticmethod(lambda *a: True)\n"
        "CASES = []\ndef close(a, b):\n    return True\ndef square(x):\n    return 0",
    ),
    kind(
        "lost_helper",
        ("answer", SQUARE),
        ("test", "assert square(3) == 9\ndef close(a, b):\n    return a == b"),
        ("test", "assert close(square(4), 16)"),
        wrong="def close(a, b):\n    return True\ndef square(x):\n    return 0",
    ),
]


@pytest.mark.parametrize("style", FORGED)
def test_what_is_no_number_of_points_gives_none_and_a_fixed_reason(graded, style):
    record = graded(OURS[0], style)
    assert marks(record) == [0.0]
    assert why(record) == ["The test gave no number of points from 0 to 2."]


@pytest.mark.parametrize("kind", OURS[1:], ids=lambda kind: kind.name)
def test_nothing_of_a_learners_stands_for_the_instructors_names(graded, kind):
    assert marks(graded(kind, "solved")) == [POINTS] * len(kind.tests())
    assert sum(marks(graded(kind, "wrong"))) == 0.0


# After a hidden test every word is fixed --------------------------------------------------------------------

REMEMBER = "seen = []\ndef square(x):\n    seen.append(x)\n    if x > 5:\n        {}\n    return x * x"
SAY = {
    "kind_of_error": "raise type(f'E{x}', (ValueError,), {})(x)",
    "builtin_error": "raise [KeyError, OSError, IndexError][x % 3]",
    "prints": "print('got', x)",
    "array": "import numpy as np; return np.zeros(x)",
    "text": "return f'{x}'",
    "ends": "import os; os._exit(x)",
    "leaves": "raise SystemExit(x)",
    "number": "return x / 1000",
    "looks_right": "return 49",
    "whose": "import autograder.session as s; s.whose = lambda: str(x); return 0",
}
LATER = "raise [KeyError, OSError, IndexError][seen[-1] % 3]"
TOLD = [
    kind(
        "told",
        ("answer", SQUARE),
        ("test", "assert square(2) == 4\n" + HIDDEN.format("assert square(7) == 49")),
        ("answer", "later = 1"),
        ("test", "assert square(8) > 0, square(2)\nassert later == 1"),
        **{name: (REMEMBER.format(text), LATER) for name, text in SAY.items()},
        first=("def square(x):\n    raise KeyError('first')", "later = 1\nprint('seen')"),
    )
]
ALLOWED = {"", "A test that is not shown did not pass."}


def test_after_a_hidden_test_every_word_is_fixed(graded):
    told = {style: graded(TOLD[0], style) for style in SAY}
    for record in told.values():
        assert set(why(record)) <= ALLOWED
        assert not record["notes"] and record["variant"] == ""
    alike = [record["shown"] for record in told.values() if marks(record) == [0.0, 0.0]]
    assert len(alike) == len(SAY) - 2 and all(shown == alike[0] for shown in alike)
    assert marks(told["looks_right"]) == [POINTS, 0.0]


def test_what_fails_before_the_hidden_part_is_told_as_in_the_release(graded):
    record = graded(TOLD[0], "first")
    assert why(record)[0] == "`assert square(2) == 4` stopped with KeyError."


# What new doors let nobody do ------------------------------------------------------------------------------

HELPED = kind(
    "helped",
    ("answer", SQUARE),
    ("test", "from reference import expected\nimport csv\nassert square(3) == expected(3)"),
    ("test", "assert open('four.csv').read().strip() == str(square(2))"),
    files={"reference.py": "def expected(x):\n    return x * x\n", "four.csv": "4\n"},
    own="def square(x):\n    return 0",
)
PLANTED = {"reference.py": b"def expected(x):\n    return 0\n", "csv.py": b"1 / 0", "four.csv": b"0"}
REFUSED = {"evaluates", "unpickles"}
"""Kinds that nobody passes outside of the learner's process, the instructor's solution neither."""


@pytest.mark.parametrize(
    ("kind", "style"),
    [(kind, style) for kind in ATTACKED for style in ("solved", *kind.answers)],
    ids=lambda v: v if isinstance(v, str) else v.name,
)
def test_new_doors_give_nobody_points(graded, kind, style):
    record = graded(kind, style)
    whole = style == "solved" and kind.name not in REFUSED
    plain = kind.name == "unpickles" and style == "solved"
    assert marks(record) == [POINTS * (whole or plain)] * len(kind.tests()), why(record)
    assert not list(Path("/tmp").glob("hostile-marker-*"))


def test_a_learners_file_never_stands_for_the_courses(graded):
    assert marks(graded(HELPED, "solved")) == [POINTS, POINTS]
    assert marks(graded(HELPED, "own", PLANTED)) == [0.0, 0.0]
