"""What a stranger's text or values may cost the grader itself: seconds, memory, and nobody else's time."""

import ast
import contextlib
import json
import os
import random
import signal
import socket
import time
import types
from pathlib import Path

import pytest

from autograder.grading import bounds, intake
from autograder.grading import remote as remote_module
from autograder.grading.bounds import Overrun, patience
from autograder.grading.examine import Examiner
from autograder.grading.inside import arrays, frames, kinds, tables, wire
from autograder.grading.inside.frames import Channel, WireError
from autograder.grading.inside.wire import Decoder
from autograder.grading.intake import Raw
from autograder.grading.judge import SPARE, Judge
from autograder.grading.reading import Outline, Place, read
from autograder.grading.rebuild import PARSED, rebuild
from autograder.grading.remote import Remote

SECONDS = 5.0
"""Processor seconds that the worst submission may cost."""


def spent(act):
    """Processor seconds of a call."""
    start = time.process_time()
    act()
    return time.process_time() - start


# A release, and the worst that can be handed in for it ------------------------------------------------------


def shuffled(rng):
    """Other texts of the same letters: each pair looks alike until it is compared in earnest."""
    letters = list("x = 1\nprint(abcdefghijk)" * 65)[:1500]
    rng.shuffle(letters)
    return "".join(letters)


def released():
    rng = random.Random(2)
    cells = [
        Place(k, "code", "plain", "", f"p{k}", text, text, ()) for k in range(40) for text in [shuffled(rng)]
    ]
    for k in range(8):
        stub = f"def f{k}(x):\n    raise NotImplementedError"
        cells.append(Place(40 + 2 * k, "code", "answer", f"f{k}", f"f{k}", stub, stub, ()))
        cells.append(
            Place(41 + 2 * k, "code", "test", f"t{k}", f"t{k}", f"assert f{k}(1) == 2", "", (f"f{k}",))
        )
    return Outline(tuple(cells), lazy=True)


def code(source, grade_id=""):
    return {"cell_type": "code", "source": source, "metadata": {"nbgrader": {"grade_id": grade_id}}}


def notebook(cells):
    return json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": cells}).encode()


def anagrams():
    rng = random.Random(1)
    return notebook([code(shuffled(rng)) for _ in range(600)])


def many(count, source, grade_id=""):
    return lambda: notebook([code(source, grade_id)] * count)


WORST = {
    "18 MB of code": many(94, "\n".join(["a=b+c*d(e)(f)+g"] * 12_000)),
    "the same letters in 600 orders": anagrams,
    "nearly the same in 600 cells": lambda: notebook(
        [code("ab" * 740 + chr(97 + k % 26) * 20) for k in range(600)]
    ),
    "blank lines": many(90, "\n" * 199_000),
    "blanks before a comment": many(90, " " * 99_000 + "\n" * 99_000 + "#"),
    "copies of an answer": many(5000, "def f1(x):\n    return 2*x" + " " * 3000, "f1"),
    "5000 cells that lost their names": many(5000, "\n".join(f"v{j}=w{j}" for j in range(300))),
    "names upon names": many(
        80, ";".join(f"v{j}" for j in range(28_000)) + ";" + "=".join(f"v{j}" for j in range(30))
    ),
    "deeply nested": many(90, "[" * 199 + "1" + "]" * 199 + "\n" + "-" * 199_000),
    "functions in functions": many(
        60,
        "".join(" " * i + "def f():\n" for i in range(95))
        + " " * 95
        + ",".join(f"a{i}" for i in range(24_000)),
    ),
    "classes in classes": many(
        60,
        "".join(" " * i + "class A:\n" for i in range(95))
        + " " * 95
        + ";".join(f"a{i}" for i in range(24_000)),
    ),
    "parts of a message": lambda: b'{"cells": [' + b"[]," * 1_900_000 + b'{}],"nbformat":4}',
    "quotes without an end": lambda: b'{"cells": "' + b",\\\\" * 6_000_000,
    "one long number": lambda: b'{"nbformat":4,"cells":' + b"9" * 19_000_000 + b"}",
}


@pytest.mark.parametrize("name", WORST)
def test_the_worst_twenty_megabytes_cost_seconds(name):
    content, outline = WORST[name](), released()

    def take_apart():
        with contextlib.suppress(intake.Unreadable):
            rebuild(outline, intake.cells(content)[0])

    assert spent(take_apart) < SECONDS


def test_marks_inside_of_a_text_are_no_parts():
    shown = {"output_type": "stream", "text": ',[{"\\' * 800_000}
    found, notes = intake.cells(notebook([code("x = 1") | {"outputs": [shown]}]))
    assert [cell.source for cell in found] == ["x = 1"] and not notes


def test_what_was_left_out_is_told():
    _, notes = intake.cells(WORST["18 MB of code"]())
    assert notes == ["The cells hold more than 2,000,000 characters; the rest was left out."]


def test_text_beyond_what_is_parsed_still_counts_by_its_grade_id():
    answer = "def f1(x):\n    return 2 * x"
    raw = [Raw("code", f"y = 1\n{'#' * 190_000}", "", "") for _ in range(4)]
    found = rebuild(released(), [*raw, Raw("code", answer, "", "f1")])
    assert len(found.steps) > 4 * 190_000 / PARSED and all(step.run for step in found.steps)
    assert next(s.source for s in found.steps if s.cell and s.cell.grade_id == "f1") == answer


MARKS = "()[]{}:;,.@=#'\"\\ \n\t%!*abdef1_é\u202e"


def scrambled(rng, content):
    """A notebook's bytes with some of them lost, repeated, exchanged or of a stranger's choice."""
    text = bytearray(content)
    for _ in range(rng.randrange(1, 20)):
        place, length = rng.randrange(len(text)), rng.randrange(1, 40)
        new = rng.choice(
            [b"", bytes(text[place : place + length]) * rng.randrange(1, 50), rng.randbytes(length)]
        )
        text[place : place + length] = new
    return bytes(text)


def test_whatever_is_handed_in_is_taken_apart_in_a_moment_or_told():
    rng, outline = random.Random(7), released()
    plain = {"cells": [vars(cell) | {"names": list(cell.names)} for cell in outline.cells], "lazy": True}
    for _ in range(60):
        cells = [
            code("".join(rng.choices(MARKS, k=rng.randrange(200))), rng.choice(["", "f1", "t1", "no"]))
            for _ in range(rng.randrange(12))
        ]
        content = scrambled(rng, notebook(cells)) if rng.random() < 0.6 else notebook(cells)
        start = time.process_time()
        found = read(plain, content)
        assert time.process_time() - start < 1.0
        assert found["problem"].endswith(".") or len(found["steps"]) >= len(outline.cells)


# Frames -----------------------------------------------------------------------------------------------------

WORDS = (
    "y v t f name a A N dt sh T d l R n o k = b u x range Fraction Decimal datetime pandas.DataFrame deque "
    "datasets.Dataset <f8 <U9 float32 class int function params of index zone value fields AAAAAAAAAAA="
).split()
NUMBERS = [0, 1, -1, 3, 10**6, 10**12, 2**63, 10**18, 10**400, 0.5, 1e308, float("nan"), True, None]


def forged(rng, depth=0):
    """A node that a stranger might make up of words that the pipe knows."""
    form = rng.random() if depth < 5 else 0.1
    if form < 0.3:
        return rng.choice(NUMBERS)
    if form < 0.45:
        return rng.choice(WORDS)
    items = [forged(rng, depth + 1) for _ in range(rng.randrange(4))]
    if form < 0.65:
        return items
    if form < 0.8:
        return {"y": rng.choice(list(kinds.BY_NAME)), "v": {"t": items}}
    return dict(zip(rng.choices(WORDS, k=len(items)), items, strict=True))


def texts(module):
    """The texts that stand in a module, and those that it makes of its own numbers."""
    for node in ast.walk(ast.parse(Path(module.__file__).read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.JoinedStr):
            with contextlib.suppress(NameError):
                yield eval(compile(ast.Expression(node), "<text>", "eval"), vars(module))


SENTENCES = {
    text for module in (arrays, frames, kinds, remote_module, tables, wire) for text in texts(module)
}


def test_any_frame_is_read_or_refused_in_a_moment_and_in_words_of_ours():
    rng = random.Random(3)
    for library in kinds.LIBRARIES:
        kinds.load(library)
    remote = Remote(Channel(-1, -1))
    read_at_all = 0
    for _ in range(1500):
        node = json.loads(json.dumps(forged(rng)))
        start = time.process_time()
        try:
            Decoder([b"x" * 64, bytes(8)], remote.refer).value(node)
            read_at_all += 1
        except WireError as error:
            assert str(error) in SENTENCES
        assert time.process_time() - start < 1.0, node
    assert read_at_all > 150


COSTLY = {
    "tuples of many names": [{"t": [1], "f": [f"a{k}"], "name": f"P{k}"} for k in range(30_000)],
    "columns": [{"y": "pandas.Series", "v": {"t": [{"a": "", "dt": "<f8", "sh": [0]}, None, None]}}] * 30_000,
    "tables": [{"y": "datasets.Dataset", "v": {"t": [[], ["fields", []], None, None]}}] * 30_000,
    "classes": [{"o": k, "k": "object", "calls": True, "of": {"k": "class", "o": k}} for k in range(200_000)],
    "records": [{"a": "", "dt": [[f"x{j}", "<f8"] for j in range(100)], "sh": [0]}] * 3000,
    "masked": [{"y": "numpy.ma", "v": {"t": [{"a": "", "dt": "<f8", "sh": [0]}, False, 0.0]}}] * 30_000,
}


@pytest.mark.parametrize("name", COSTLY)
def test_a_frame_of_many_costly_values_costs_seconds(name):
    remote = Remote(Channel(-1, -1))

    def decode():
        with contextlib.suppress(WireError):
            Decoder([], remote.refer).value(COSTLY[name])

    assert spent(decode) < SECONDS


# The processes that look at strangers' things --------------------------------------------------------------


def ended(act, seconds=30):
    """How a process ended that did something: its status as `waitpid` tells it, and its processor seconds."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            act()
        os._exit(0)
    before = signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.alarm(seconds)
    _, status, usage = os.wait4(child, 0)
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)
    return status, usage.ru_utime + usage.ru_stime


def test_the_system_ends_what_no_python_code_could_stop():
    def endless():
        bounds.limit(1)
        10**10**9

    status, seconds = ended(endless)
    assert os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) and seconds < 3


def test_a_test_cell_that_takes_too_long_is_told_and_nothing_more_is_asked(monkeypatch, tmp_path):
    def examined():
        monkeypatch.setattr(bounds, "TEST", 0.3)
        remote = Remote(Channel(-1, -1))
        tests = Examiner(
            {"trusted": [], "answers": [], "own": [], "read": [], "written": []}, remote, tmp_path, None
        )
        remote.names = lambda names: {}
        cell = {"source": "while True: pass", "hidden": False, "visible": [], "most": 1.0}
        told = tests.run(cell)["why"]
        (tmp_path / "told").write_text(f"{told}|{remote.lost}")

    ended(examined)  # an examiner takes its process over
    told, lost = (tmp_path / "told").read_text().split("|")
    assert told == f"The cell was stopped: {lost}." and "processor time" in lost


def test_a_step_in_c_within_a_test_is_ended_too(monkeypatch):
    monkeypatch.setattr(bounds, "GRACE", 0)

    def endless():
        with patience(0.5):
            10**10**9

    status, seconds = ended(endless)
    assert os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL) and seconds < 4


def test_memory_that_is_asked_for_beyond_the_room_is_refused():
    def huge():
        bounds.limit(20)
        try:
            bytearray(2 * bounds.ROOM)
        except MemoryError:
            os._exit(7)

    assert os.waitstatus_to_exitcode(ended(huge)[0]) == 7


def test_a_test_that_takes_too_long_is_stopped_even_where_it_forgives_exceptions():
    def forgiving():
        while True:
            with contextlib.suppress(Exception):
                sum(range(10_000))

    with pytest.raises(Overrun, match="processor time"), patience(0.2):
        forgiving()
    assert signal.getitimer(signal.ITIMER_PROF) == (0, 0)


@pytest.fixture(scope="module")
def judge():
    with Judge() as found:
        yield found


def test_a_notebook_is_taken_apart_by_another_process(judge):
    outline = {"cells": [], "lazy": False}
    found = judge.read(outline, notebook([code("x = 1")]))
    assert found["steps"] == [[None, "code", "x = 1", True, True]] and found["problem"] == ""
    assert judge.read(outline, b"[]")["problem"].startswith("The file is not a notebook")


def forks(judge):
    with contextlib.suppress(FileNotFoundError):
        with open(f"/proc/{judge.process.pid}/task/{judge.process.pid}/children") as stream:
            return stream.read().split()
    return []


def test_an_examiner_that_does_not_answer_in_time_is_ended_and_told(judge):
    ours, theirs = socket.socketpair()
    with ours, theirs:  # nobody ever says hello on this wire
        child = types.SimpleNamespace(wire=theirs)
        found = judge.examine({"limits": {"total_seconds": 1 - SPARE}, "call_seconds": 1}, child)
    assert found == {"failed": "Judging it took too much memory or time."}
    deadline = time.monotonic() + 10
    while forks(judge) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert forks(judge) == []
