"""A whole run: what is left to do, workers, one trusted writer, a summary."""

from __future__ import annotations

import contextlib
import hashlib
import json
import queue
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat

from autograder.grading import guard, intake, pages
from autograder.grading.book import SCORED, VERSION, Book, Journal, sweep, write
from autograder.grading.container import Containers
from autograder.grading.exports import export
from autograder.grading.feedback import rewrite
from autograder.grading.inside.isolate import Limits
from autograder.grading.intake import Found, Submission, Unreadable
from autograder.grading.judge import Judge
from autograder.grading.plan import Course, Plan, asked_for
from autograder.grading.roster import Roster, settle
from autograder.grading.sandbox import NONE, Sandbox, label_of, modules_for
from autograder.grading.score import Graded, Grader, failed
from autograder.grading.troubles import is_full
from rslib.errors import ConfigError, DataError, StoreError
from rslib.progress import Progress, note

SECRET = "submission_secret.txt"
"""Written by `nbgrader submit`; by it a student's own account finds his feedback in the exchange."""


def store(course: Course, journal: Journal, book: Book, graded: Graded) -> str:
    """Write files, gradebook and journal of a submission; what moved against its last grading."""
    record, before = graded.record, journal.read(graded.plan.assignment, graded.submission.student)
    folder = course.path("autograded", record["student"], record["assignment"])
    target = course.path("feedback", record["student"], record["assignment"])
    for name, nb in graded.notebooks.items():
        write(folder / f"{name}.ipynb", nbformat.writes(nb) + "\n")
        write(target / f"{name}.html", pages.feedback(record, nb, name))
    _for_release(graded, (folder, target))
    record["moved"] = moved(before, record)
    old = (before or {}).get("answers", {})
    record["changed"] = [n for n in record["cells"] if old.get(n, "") != record["answers"].get(n, "")]
    journal.write(record)
    _commit(journal, book, record)
    return record["moved"]


def _for_release(graded: Graded, folders: Sequence[Path]) -> None:
    """Put beside the pages what `nbgrader release_feedback` looks for there: the time, and its own secret."""
    when = graded.record["submitted_at"]
    contents = {"timestamp.txt": when.encode()} if when else {}
    if SECRET in graded.submission.extras:
        with contextlib.suppress(Unreadable):
            contents[SECRET] = graded.submission.extras[SECRET].read()[:1000]
    for folder in folders:
        for name, content in contents.items():
            write(folder / name, content)


def _commit(journal: Journal, book: Book, record: dict[str, Any]) -> None:
    book.commit(record, record["changed"])
    record["state"] = SCORED
    journal.write(record)
    book.remember()


def moved(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    """One sentence on how and why a student's points changed, in the sum or at a cell, or ""."""
    if before is None:
        return ""
    reasons = {"submission": "the submission is another one", "release": "a test, or the points, changed"}
    reasons["grader"] = "the grader is a newer one"
    why = [text for name, text in reasons.items() if before["key"].get(name) != after["key"][name]]
    cells = [
        f"{name} {_points(before['cells'].get(name))} -> {_points(cell)}"
        for name, cell in after["cells"].items()
        if _points(before["cells"].get(name)) != _points(cell)
    ]
    if not cells:
        return ""
    head = f"{after['student']}: {before['points']:g} -> {after['points']:g}"
    return f"{head} ({', '.join(cells)}), because {' and '.join(why) or 'it was graded again'}"


def _points(cell: Mapping[str, Any] | None) -> str:
    return "none" if cell is None or cell["points"] is None else f"{cell['points']:g}"


@dataclass
class Task:
    """A submission to grade, or one whose record only has to reach the gradebook."""

    plan: Plan
    submission: Submission
    key: dict[str, str]
    record: dict[str, Any] | None = None


def tasks(
    plans: Mapping[str, Plan], submissions: Sequence[Submission], journal: Journal, book: Book
) -> list[Task]:
    """What is left to do: new and changed submissions, and records that a killed grader left behind."""
    left = []
    for submission in submissions:
        plan = plans[submission.assignment]
        key = {"submission": _digest(submission), "release": plan.digest, "grader": VERSION}
        record = journal.read(submission.assignment, submission.student)
        same = record is not None and record["key"] == key
        if same and record["state"] == SCORED and book.has(record):
            continue
        left.append(Task(plan, submission, key, record if same else None))
    return left


def _digest(submission: Submission) -> str:
    """A hash of what was handed in."""
    parts = [submission.problem.encode(), str(submission.when).encode()]
    for handed in (submission.files, submission.extras):
        for name in sorted(handed):
            parts.append(name.encode("utf-8", "surrogateescape"))
            try:
                parts.append(handed[name].read())
            except Unreadable as error:
                parts.append(str(error).encode())
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def grade_course(
    root: Path,
    where: Path,
    only: str,
    sandbox: Sandbox | Containers,
    limits: Limits,
    *,
    workers: int,
    skip_check: bool = False,
    listed: Roster | None = None,
) -> None:
    """Grade the submissions in `where` that are new or changed, and print a summary. listed: the class list.

    Raises ConfigError for another grader at work and where the instructor's own solution falls short (unless
    `skip_check`), DataError where nothing was handed in.
    """
    course = Course.open(root)
    limits = within(limits, course)
    journal = Journal(course.root)
    with journal.locked():
        sweep(course.root)
        journal.secret()  # made before workers ask for it side by side
        known = plans(course, only)
        names = {name: [n.name for n in plan.notebooks] for name, plan in known.items()}
        handed_in = intake.find(where, names, others=set(course.assignments()) - names.keys())
        excluded = course.excluded
        handed_in.submissions = [s for s in handed_in.submissions if s.student not in excluded]
        if not handed_in.submissions:
            raise _nothing(handed_in, where, names)
        for name in {s.assignment for s in handed_in.submissions}:
            course.tell_gradebook(known[name])
        with Book(course, guard=sandbox.isolation == NONE, journal=journal) as book:
            handed_in.warnings += settle(handed_in.submissions, journal.everything(), listed, book.mails())
            todo, start = tasks(known, handed_in.submissions, journal, book), time.monotonic()
            changes = run(course, journal, book, todo, sandbox, limits, workers, skip_check)
            book.assign_penalties(list(known))
            records = [journal.read(s.assignment, s.student) for s in handed_in.submissions]
            handed_in.warnings += former(known, journal.everything())
            now = sorted({s.assignment for s in handed_in.submissions})
            paths, warnings = export(course.root, book.gradebook, journal.everything(), listed, now)
            handed_in.warnings += warnings
            handed_in.warnings += rewrite(book, records, only_given=True)
        summary(records, len(todo), time.monotonic() - start, handed_in, changes, paths)


def former(known: Mapping[str, Plan], records: Sequence[Mapping[str, Any]]) -> list[str]:
    """A sentence for each assignment whose tests changed since some students were graded."""
    behind: dict[str, list[str]] = {}
    for record in records:
        plan = known.get(record["assignment"])
        if plan is not None and record["key"].get("release") != plan.digest:
            behind.setdefault(plan.assignment, []).append(record["student"])
    return [
        f"{name}: a test, or the points, changed after {', '.join(students)}; give `grade` their files again."
        for name, students in behind.items()
    ]


def _nothing(handed_in: Found, where: Path, names: Mapping[str, Sequence[str]]) -> DataError:
    strays = [f"{ascii(name)[:100]}: {why}" for name, why in list(handed_in.strays.items())[:3]]
    fix = f"Known notebooks: {', '.join(n for some in names.values() for n in some)}."
    return DataError("; ".join(["no submission was found", *strays]), where=str(where), fix=fix)


def run(
    course: Course,
    journal: Journal,
    book: Book,
    todo: Sequence[Task],
    sandbox: Sandbox | Containers,
    limits: Limits,
    workers: int,
    skip_check: bool,
) -> list[str]:
    """Do all tasks; whose points moved, and why."""
    changes = []
    for task in [task for task in todo if task.record is not None]:
        _commit(journal, book, task.record)
        note(f"{task.submission.student} (was graded before)")
    waiting = [task for task in todo if task.record is None]
    if not waiting:
        return changes
    concerned = list({task.plan.assignment: task.plan for task in waiting}.values())
    with judge_of(concerned, course.root) as judge:
        grader = Grader(sandbox, judge, journal, limits)
        if not skip_check:
            grader = replace(grader, uses=guard.require(concerned, grader, workers))
        with Progress(len(waiting), "grade", "submissions") as done:
            for graded in _graded(grader, waiting, workers):
                if book.restore():
                    note(f"The gradebook was changed while {graded.submission.student} ran; it was put back.")
                sentence = store(course, journal, book, graded)
                changes += [sentence] if sentence else []
                done.advance()
    if book.restore():
        print("The gradebook was changed while notebooks ran; it was put back.")
    return changes


def judge_of(plans: Sequence[Plan], root: Path) -> Judge:
    """The template of examining processes, with the modules that the tests of these assignments need."""
    needed = [name for plan in plans for notebook in plan.notebooks for name in notebook.judging()]
    return Judge(modules_for(needed), label_of(root))


def within(limits: Limits, course: Course) -> Limits:
    """The limits, with the smaller of the two times for a cell: the command's and the course's own."""
    return replace(limits, cell_seconds=min(limits.cell_seconds, course.cell_seconds or limits.cell_seconds))


def _graded(grader: Grader, waiting: Sequence[Task], workers: int) -> Iterator[Graded]:
    """Graded submissions in the order in which they end.

    Raises what no submission is to blame for: then nobody's points suffer, and a second run does the rest.
    """
    jobs: queue.SimpleQueue = queue.SimpleQueue()
    ended: queue.SimpleQueue = queue.SimpleQueue()
    for task in waiting:
        jobs.put(task)

    def work() -> None:
        while True:
            try:
                task = jobs.get_nowait()
            except queue.Empty:
                return
            ended.put(_outcome(grader, task))

    for _ in range(min(workers, len(waiting))):
        threading.Thread(target=work, daemon=True).start()
    for _ in waiting:
        outcome = ended.get()
        if isinstance(outcome, BaseException):
            raise outcome
        yield outcome


def _outcome(grader: Grader, task: Task) -> Graded | BaseException:
    """A graded submission; an error that is this machine's, or that ended the worker, to end the run."""
    try:
        return grader.grade(task.plan, task.submission, task.key)
    except (ConfigError, StoreError) as error:
        return error
    except Exception as error:
        if is_full(error):
            return error
        return failed(task.plan, task.submission, task.key, grader.sandbox.isolation, error)
    except BaseException as error:
        return error


def _strays(handed_in: Found) -> list[str]:
    """Lines on files that belong to nobody, up to ten for a name of the top level."""
    groups: dict[str, list[str]] = {}
    for name, why in handed_in.strays.items():
        line = f"{json.dumps(name)[:200]} ({json.dumps(why)[1:-1]})"
        groups.setdefault(name.split("/")[0].split(":")[0], []).append(line)
    lines = []
    for name, some in groups.items():
        more = [f"{json.dumps(name)[:200]}: {len(some) - 10} more"] if len(some) > 10 else []
        lines += [*some[:10], *more]
    return lines


def summary(
    records: Sequence[Mapping[str, Any]],
    graded: int,
    seconds: float,
    handed_in: Found,
    changes: Sequence[str],
    paths: Sequence[Path],
) -> None:
    """Print what was done, one line for each submission that a person should look at."""
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        by_name.setdefault(record["assignment"], []).append(record)
    print(f"\n{graded} graded, {len(records) - graded} as before, {seconds:.1f} s")
    print(f"\n{'assignment':42} {'students':>8} {'mean':>7} {'of':>6} {'by hand':>8} {'problems':>8}")
    for name, some in sorted(by_name.items()):
        mean = sum(r["points"] for r in some) / len(some)
        by_hand = sum(any(c["points"] is None for c in r["cells"].values()) for r in some)
        problems = sum(bool(r["problem"]) for r in some)
        print(f"{name:42} {len(some):8} {mean:7.2f} {some[0]['out_of']:6g} {by_hand:8} {problems:8}")
    for title, lines in (
        ("Not graded as handed in:", [f"{r['student']}: {r['problem']}" for r in records if r["problem"]]),
        ("To be looked at:", [json.dumps(text)[1:-1] for text in handed_in.warnings]),
        ("Files that belong to no student or assignment:", _strays(handed_in)),
        ("Points that moved:", changes),
        (
            "Tests that ran in the sandbox, beside the work that they test, and so hold less:",
            _inside(records),
        ),
    ):
        if lines:
            print(f"\n{title}\n" + "\n".join(f"  {line}" for line in lines))
    print("\n" + "\n".join(map(str, paths)))


def _inside(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """The tests that the course has run in the learners' processes."""
    tests = [
        f"{record['assignment']}: {name}"
        for record in records
        for name, cell in record["cells"].items()
        if cell.get("trust") == "inside"
    ]
    return list(dict.fromkeys(tests))


def plans(course: Course, only: str) -> dict[str, Plan]:
    """The assignments to grade, by name. Raises ConfigError for one that is not there."""
    known = course.assignments()
    chosen = [name for name in known if asked_for(name, only)]
    if not chosen:
        fix = (
            f"Known: {', '.join(known)}." if known else "Put notebooks into source/ASSIGNMENT/NOTEBOOK.ipynb."
        )
        what = f"there is no assignment {only!r}" if known else "the course has no assignment"
        raise ConfigError(what, where=str(course.root), fix=fix)
    return {name: course.plan(name) for name in chosen}
