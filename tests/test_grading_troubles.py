"""What a machine may do to a grading: full and closed disks, a gradebook in use, servers that die."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from autograder.grading import book
from autograder.grading.book import EXECUTED, Book, Journal, write
from autograder.grading.inside.isolate import Limits
from autograder.grading.inside.processes import descendants
from autograder.grading.judge import Judge
from autograder.grading.plan import Course
from autograder.grading.run import Task, _graded
from autograder.grading.sandbox import Ended, Sandbox
from autograder.grading.score import TRIES, Grader
from autograder.grading.troubles import told
from rslib.errors import ConfigError, StoreError
from tests import grading, hostile

TWO = (hostile.HONEST[0], next(a for a in hostile.ATTACKS if a.name == "nan"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A course whose two submissions were graded without any trouble."""
    grading.needs_bubblewrap()
    root = grading.course(tmp_path_factory.mktemp("whole"), *TWO)
    assert grading.grade(root).returncode == 0
    return root


def sentence(done: subprocess.CompletedProcess, *words: str) -> None:
    """The grader stopped with one typed sentence that holds all `words`, and without a traceback."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    last = done.stderr[done.stderr.index("StoreError: ") :]
    assert "what to do: " in last and len(last) < 600
    for word in words:
        assert word in last


def completes(root: Path, whole: Path) -> None:
    """The same command does the rest, and all is as if nothing had happened."""
    done = grading.grade(root)
    assert done.returncode == 0, done.stderr
    assert grading.gradebook(root) == grading.gradebook(whole)
    kept = {name: (r["points"], r["state"]) for name, r in grading.records(root).items()}
    assert kept == {name: (r["points"], "scored") for name, r in grading.records(whole).items()}
    assert not [path for path in root.rglob(".*.????????") if path.is_file()]


@pytest.fixture
def small_disk(tmp_path):
    """A function that makes a small file system of its own; it is gone after the test."""
    folder = tmp_path / "disk"

    def mounted(options: str) -> Path:
        folder.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if shutil.which("mount") is None or os.geteuid() != 0 or subprocess.run(command).returncode:
            pytest.skip("needs the right to mount a small file system")
        return folder

    yield mounted
    if os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


# Disk -------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_a_full_disk_is_told_and_the_same_command_does_the_rest(small_disk, whole):
    root = grading.course(small_disk("size=4m"), *TWO)
    filler = root / "filler"
    filler.write_bytes(bytes(3_200_000))
    with contextlib.suppress(OSError), open(filler, "ab", buffering=0) as stream:
        while shutil.disk_usage(root).free > 200_000:
            stream.write(bytes(10_000))
    sentence(grading.grade(root), "no disk space left", str(root))
    assert not [path for path in root.rglob(".*.????????") if path.is_file()]
    filler.unlink()
    completes(root, whole)


@pytest.mark.slow
def test_a_course_that_cannot_be_written_is_told(small_disk, whole):
    root = grading.course(small_disk("size=20m"), *TWO)
    subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
    sentence(grading.grade(root), str(root), "Change its permissions")
    subprocess.run(["mount", "-o", "remount,rw", str(root)], check=True)
    completes(root, whole)


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() == 0, reason="root may write to every folder")
def test_a_course_without_the_right_to_write_is_told(tmp_path, whole):
    root = grading.course(tmp_path, *TWO)
    root.chmod(0o555)
    sentence(grading.grade(root), str(root), "Change its permissions")
    root.chmod(0o755)
    completes(root, whole)


def test_a_file_is_written_whole_or_not_at_all(small_disk):
    folder = small_disk("size=64k")
    write(folder / "record.json", "the old one")
    with pytest.raises(StoreError, match="no disk space left"):
        write(folder / "record.json", bytes(200_000))
    assert [path.name for path in folder.iterdir()] == ["record.json"]
    assert (folder / "record.json").read_text() == "the old one"


# Gradebook --------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def in_use(root: Path, how: str):
    """What another program does that is in the middle of a change of the gradebook."""
    base = sqlite3.connect(root / "gradebook.db", isolation_level=None)
    base.execute(f"BEGIN {how}")
    try:
        yield
    finally:
        base.rollback()
        base.close()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_gradebook_in_use_is_told_and_the_same_command_does_the_rest(tmp_path, whole, how):
    root = tmp_path / "course"
    shutil.copytree(whole, root)
    shutil.rmtree(root / ".grading" / "hw")
    with in_use(root, how):
        sentence(grading.grade(root), "in use by another program", "Close formgrader")
    completes(root, whole)


def test_a_gradebook_that_is_in_use_while_points_are_stored_keeps_them_for_the_next_run(
    tmp_path, whole, monkeypatch
):
    root = tmp_path / "course"
    shutil.copytree(whole, root)
    monkeypatch.setattr(book, "BUSY_SECONDS", 0.1)
    course, journal = Course.open(root), Journal(root)
    record = grading.records(root)[TWO[0].name] | {"points": 5.0, "state": EXECUTED}
    record["cells"]["test_describe"]["points"] = 0.0
    journal.write(record)
    with pytest.raises(StoreError, match="in use by another program"), told(root), Book(course) as opened:
        with in_use(root, "IMMEDIATE"):
            opened.commit(record, [])
    assert grading.gradebook(root) == grading.gradebook(whole)
    with Book(course) as opened:
        opened.commit(journal.read("hw", TWO[0].name), [])
    grades = {(row[0], row[2]): row[3] for row in grading.gradebook(root)[0]}
    assert grades[TWO[0].name, "test_describe"] == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"no database" * 1000, b""])
def test_a_damaged_gradebook_is_told_or_written_anew(tmp_path, whole, content):
    root = tmp_path / "course"
    shutil.copytree(whole, root)
    (root / "gradebook.db").write_bytes(content)
    done = grading.grade(root)
    if content:
        sentence(done, "the gradebook is damaged")
        (root / "gradebook.db").unlink()
    completes(root, whole)


# Servers and workers ----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("server", "count"), [("grading.server", 3), ("grading.examine", 2)])
def test_a_server_that_is_killed_costs_nobody_points(tmp_path, server, count):
    slow = hostile.Attack("slow", "honest", extra=("import time\ntime.sleep(3)",), points=6.0)
    root = grading.course(tmp_path, slow)
    process = subprocess.Popen(
        grading.command(root), env=grading.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    limit, lines = time.monotonic() + 60, []
    while len(lines) < count and process.poll() is None and time.monotonic() < limit:
        lines = [x for x in grading.left_processes(root) if server in x and "bwrap" not in x]
        time.sleep(0.05)
    assert len(lines) == count, "the notebook should have run"
    os.kill(int(lines[0].split()[0]), signal.SIGKILL)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    [record] = grading.records(root).values()
    assert (record["points"], record["problem"]) == (6.0, "")


class Flaky(Grader):
    """A grader whose server ends a number of times."""

    def _grade(self, plan, one, key):
        self.limits.append(key)
        if len(self.limits) <= self.sandbox:
            raise Ended("the server ended")
        return "graded"


def test_a_submission_is_tried_again_a_bounded_number_of_times():
    assert Flaky(TRIES - 1, None, None, []).grade(None, None, {}) == "graded"
    with pytest.raises(Ended):
        Flaky(TRIES, None, None, []).grade(None, None, {})


@dataclass
class Failing:
    """A grader that raises."""

    error: BaseException

    def grade(self, *_: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("the fork server did not start"),
        StoreError("no disk space left"),
        OSError(28, "full"),
        SystemExit(1),
        KeyboardInterrupt(),
    ],
)
def test_what_no_submission_is_to_blame_for_ends_the_run_and_costs_no_points(error):
    waiting = [Task(None, None, {})] * 3
    with pytest.raises(type(error)):
        list(_graded(Failing(error), waiting, 2))


def test_many_submissions_leave_no_descriptors_and_no_dead_processes():
    grading.needs_bubblewrap()
    check_leaks(40)


@pytest.mark.slow
def test_three_hundred_submissions_leave_no_descriptors_and_no_dead_processes():
    grading.needs_bubblewrap()
    check_leaks(300)


def check_leaks(count: int) -> None:
    with Sandbox(("numpy",)) as sandbox, Judge() as judge:
        job = {"cells": [], "limits": Limits().plain()}

        def one() -> tuple[int, int]:
            child = sandbox.spawn(Limits(), 0)
            judge.examine(job, child)
            child.end()
            return len(os.listdir("/proc/self/fd")), len(descendants())

        before = [one() for _ in range(3)][-1]
        after = [one() for _ in range(count)][-1]
        assert after[0] <= before[0] and after[1] <= before[1] + 2  # two may just be leaving
