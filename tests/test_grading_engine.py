"""What a class computes alike is computed once, and no submission can change what another one is given."""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from autograder.exercise import Variant
from autograder.grading import engine
from autograder.grading.examine import hello
from autograder.grading.inside.isolate import Limits
from autograder.grading.plan import Cell, Notebook
from autograder.grading.remote import Remote, RemoteWork
from autograder.grading.sandbox import BUBBLEWRAP, CALM, NONE, RESULTS, Sandbox
from autograder.work import Work
from rslib import cache
from tests import grading

pytestmark = grading.needs_walls
MODULES = ("numpy", "torch", "transformers", "datasets", "rslib", "rslib.sampling")
DRAW = """
import hashlib, rslib
from rslib import store
policy, prompts = rslib.load_policy("tiny"), rslib.load_prompts("tiny", "train", 2)
def draw(seed):
    table = rslib.sample(policy, prompts, n=2, seed=seed, max_new_tokens=6, show_progress=False)
    return hashlib.sha256(store.table_bytes(table)).hexdigest()
def never(*args): raise AssertionError("computed again")
"""
SOLUTION = f"{DRAW}\nfirst = draw(0)\n"
STUDENT = f"{DRAW}\nrslib.sampling._responses = never\nfirst = draw(0)\n"


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    return tmp_path_factory.mktemp("course")


@pytest.fixture(scope="module")
def sandbox(course):
    with Sandbox(MODULES, results=engine.prepare(course)) as found:
        yield found


@pytest.fixture(autouse=True)
def nothing_stays_in_use():
    yield
    cache.use()


def run(sandbox, course, source, *names, explain=False):
    """Names after a cell that ran as a submission, or as the instructor's own solution."""
    child = sandbox.spawn(Limits(), 1)
    try:
        remote = Remote(child.channel())
        remote.pid = hello(child.wire)
        job = {"engine": str(engine.folder(course / ".grading")), "explain": explain}
        job["cells"] = [{"source": source}]
        engine.begin(job, remote)
        outputs, raised = remote.run(source, 60)
        found = remote.names(names)
        engine.end(job, remote)
        return found | {"raised": raised, "outputs": outputs}
    finally:
        child.end()


def entries(course, name):
    return {path.name: path.read_bytes() for path in (course / ".grading" / ".engine" / name).iterdir()}


def test_a_submission_opens_what_the_instructors_solution_computed(sandbox, course):
    right = run(sandbox, course, SOLUTION, "first", explain=True)
    kept = entries(course, engine.SHOWN)
    assert len(kept) == 1 and not right["raised"]
    same = run(sandbox, course, STUDENT, "first")
    assert same["first"] == right["first"] and not same["raised"]
    other = run(sandbox, course, STUDENT.replace("draw(0)", "draw(1)"), "first")
    assert other["raised"], "another seed is another call"
    assert entries(course, engine.SHOWN) == kept, "a submission adds nothing"


def test_no_submission_writes_to_it_or_sees_what_graders_measured(sandbox, course):
    (course / ".grading" / ".engine" / engine.JUDGED / ("0" * 64)).write_bytes(b"measured")
    source = f"""
import os, pathlib
tried, seen = [], []
place = {RESULTS!r}
for act in (
    lambda: open(place + "/new", "w"),
    lambda: os.chmod(place, 0o777),
    lambda: os.rename(place, place + "2"),
    lambda: [os.unlink(path) for path in pathlib.Path(place).glob("*")] or 1 / 0,
    lambda: os.mkdir("/course/.more"),
):
    try:
        act()
        tried.append("done")
    except (OSError, ZeroDivisionError):
        tried.append("refused")
for folder, _, files in os.walk("/"):
    if not folder.startswith(("/proc", "/sys")):
        seen += [name for name in files if name == "0" * 64 or "secret" == name]
"""
    before = entries(course, engine.SHOWN)
    found = run(sandbox, course, source, "tried", "seen")
    assert found["tried"] == ["refused"] * 5 and found["seen"] == [], found
    assert entries(course, engine.SHOWN) == before


def test_what_is_handed_over_under_another_name_is_not_kept(sandbox, course):
    source = f"""
import os, pathlib, rslib
pathlib.Path({engine.OWN!r}).mkdir(exist_ok=True)
for name in ("../../evil", "a" * 63, "A" * 64, "{"b" * 64}"):
    try: pathlib.Path({engine.OWN!r}, name).write_bytes(b"x")
    except OSError: pass
"""
    before = set(entries(course, engine.SHOWN))
    run(sandbox, course, source, explain=True)
    assert set(entries(course, engine.SHOWN)) - before == {"b" * 64}


def test_after_a_run_without_a_sandbox_nothing_is_believed(tmp_path):
    for isolation, left in ((BUBBLEWRAP, True), (NONE, False)):
        engine.prepare(tmp_path)
        with engine.forgotten(tmp_path, isolation):
            pass
        assert engine.folder(tmp_path / ".grading").exists() is left


def test_a_folder_that_is_no_course_or_cannot_be_written_goes_without(tmp_path):
    (tmp_path / "file").write_text("no folder")
    assert engine.prepare(tmp_path / "no course") is None
    assert engine.prepare(tmp_path / "file") is None
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_process_that_is_asked_late_is_known_all_the_same(sandbox):
    child = sandbox.spawn(Limits(), 1)
    time.sleep(0.5)  # it has said hello by now
    assert hello(child.wire) > 0
    child.end()


def test_a_class_is_measured_alike_and_of_self_checks_each_in_all_its_parts(sandbox):
    def drawn(work, seed=0, purpose="held out"):
        return work.class_rng(np.random.default_rng(seed), purpose).integers(2**31)

    child = sandbox.spawn(Limits(), 1)
    remote = Remote(child.channel())
    hello(child.wire)
    mine, theirs = (RemoteWork(remote, (), Variant(), Path("runs"), class_seed=k) for k in (5, 6))
    assert drawn(mine, 0) == drawn(mine, 1) != drawn(theirs, 0)
    assert drawn(mine, 0) != drawn(mine, 0, "another purpose")
    for alone in (partial(Work, {}, Variant()), partial(RemoteWork, remote, (), Variant(), Path("runs"))):
        check, later = alone(), alone()
        assert drawn(check, 0) == drawn(check, 1) != drawn(later, 1)
        assert drawn(check, 0) != drawn(check, 2, "another purpose")
    child.end()


class Files:
    """A learner's process that holds files and notes what it was asked for."""

    def __init__(self, files):
        self.files, self.asked = files, []

    def names(self, names, plain=False):
        return {}

    def value(self, request):
        self.asked.append(request["path"])
        if request["path"] not in self.files:
            raise FileNotFoundError(request["path"])
        return self.files[request["path"]]


def test_a_model_is_fetched_once_and_a_missing_one_stays_missing(tmp_path):
    remote = Files({"runs/a/model.safetensors": b"weights"})
    work = RemoteWork(remote, (), Variant(), tmp_path)
    gone = work.model_folder("runs/gone")
    first, again = work.model_folder("runs/a"), work.model_folder(Path("runs/a"))
    assert first == again != gone == work.model_folder("runs/gone")
    assert (first / "model.safetensors").read_bytes() == b"weights" and not gone.exists()
    assert len(remote.asked) == 2


CONFINED = """
import importlib, sys
from pathlib import Path
from autograder.grading.confined import confine
from autograder.grading.reach import Reach
from autograder.grading.sandbox import modules_for
from autograder.grading.inside.server import threads
for name in modules_for(sys.argv[1].split(",")):
    importlib.import_module(name)
assert threads() == 1, "nothing could be forked"
class Nobody:
    lost = "there is no learner"
confine([], Path(sys.argv[2]), Nobody(), Reach(Path(sys.argv[2])))
from autograder.exercises.artefacts import hidden_prompts, judged
from autograder.handouts.models import base_policy
from autograder.grading.inside import kinds
import numpy as np
from rslib import tables
kinds.load("datasets")
print(len(judged(base_policy(), tables.take(hidden_prompts(np.random.default_rng(0)), range(2)), 1)))
"""


@pytest.mark.long
def test_what_the_courses_graders_need_is_there_before_they_are_confined(tmp_path):
    cell = Cell(0, "code", "test", "c", "c", 'check("4.3")', 'check("4.3")', 'check("4.3")', 5.0, False, {})
    needed = Notebook("04", (cell,), {}, "").judging()
    call = [sys.executable, "-c", CONFINED, ",".join(needed), str(tmp_path)]
    done = subprocess.run(call, capture_output=True, text=True, env=grading.environment() | CALM, timeout=500)
    assert done.stdout.strip() == "4", done.stderr[-2000:]
