"""What students get back does not depend on the inputs of hidden tests, whatever their code does with them.

Two courses differ in nothing but a hidden test's input. The same work is graded in both, with the same seeds;
all pages and notebooks that go back, and the sentences of the journal that they are made of, must be equal.
"""

import json

import nbformat
import pytest

from autograder.grading.examine import OUTPUTS_NOT_SHOWN
from tests import grading, hostile

pytestmark = [grading.needs_walls, pytest.mark.long]
KEEPS = "seen = []\ndef double(x):\n    seen.append(repr(x))\n    return 2 * x"
SECRET, OTHER = hostile.SECRET, "80.1015625"
TELLS = {
    "prints": "print(seen)",
    "shows": "seen",
    "raises": "raise ValueError(seen)",
    "names_an_error": "raise type(f'E{len(str(seen))}', (Exception,), {})",
    "ends": "import os; os._exit(len(str(seen)) % 7)",
    "prints_or_not": "print('x') if any('80' in s for s in seen) else None",
    "names_itself": "double.__name__ = double.__qualname__ = str(seen)[:50]; double",
}
LATER = {
    "as_an_answer": f"print(seen)\n{hostile.RIGHT['describe']}",
    "by_another_function": "def describe(values):\n    print(seen)\n    raise KeyError(str(seen))",
    "by_a_thread": f"import threading as t\nt.Timer(0.1, print, seen).start()\n{hostile.RIGHT['describe']}",
}


def submissions():
    for name, cell in TELLS.items():
        yield hostile.Attack(
            name, "honest", {"double": KEEPS}, change=lambda nb, c=cell: nb["cells"].append(hostile.code(c))
        )
    for name, cell in LATER.items():
        yield hostile.Attack(name, "honest", {"double": KEEPS, "describe": cell})


def graded(root, secret):
    """A course whose hidden test uses this input, graded."""
    root.mkdir()
    grading.course(root, *submissions())
    path = root / "source" / "hw" / "hw.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace(SECRET, secret), encoding="utf-8")
    (root / ".grading").mkdir()
    (root / ".grading" / "secret").write_text("1" * 64)
    done = grading.grade(root, *grading.QUICK)
    assert done.returncode == 0, done.stderr
    return root


def returned(root):
    """Everything that a student may get to see, by file."""
    files = [p for step in ("feedback", "autograded") for p in (root / step).rglob("*") if p.is_file()]
    return {str(p.relative_to(root)): p.read_text(encoding="utf-8") for p in files}


def sentences(root):
    """What the journal says to each student."""
    shown = ("points", "notes", "problem", "cells", "verdicts", "blank")
    return {student: {k: record[k] for k in shown} for student, record in grading.records(root).items()}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secret")
    return graded(folder / "one", SECRET), graded(folder / "other", OTHER)


def test_the_learners_code_did_meet_the_hidden_input(both):
    """The sources differ and the answers were right, so `double` was asked with the hidden input."""
    sources = [nbformat.read(root / "source" / "hw" / "hw.ipynb", 4) for root in both]
    assert json.dumps(sources[0]) != json.dumps(sources[1])
    assert grading.records(both[0])["prints"]["cells"]["test_double"]["points"] == 2


def test_no_page_and_no_notebook_that_goes_back_depends_on_a_hidden_input(both):
    one, other = (returned(root) for root in both)
    assert one.keys() == other.keys() and len(one) == 2 * (len(TELLS) + len(LATER))
    assert [name for name in one if one[name] != other[name]] == []
    assert not any(text in page for page in (*one.values(), *other.values()) for text in (SECRET, OTHER))
    assert OUTPUTS_NOT_SHOWN in one["feedback/prints/hw/hw.html"]


def test_no_sentence_of_the_journal_depends_on_a_hidden_input(both):
    one, other = (sentences(root) for root in both)
    assert one == other
