"""`python -m autograder grade SUBMISSIONS --course DIR`: strangers' notebooks into nbgrader's gradebook."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import queue
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nbformat

from autograder.grading import intake, pages
from autograder.grading.book import EXECUTED, SCORED, VERSION, Book, Journal, export, sweep, write
from autograder.grading.container import Containers, engine
from autograder.grading.intake import Submission, Unreadable
from autograder.grading.isolate import Limits
from autograder.grading.judge import Judge, label_of, modules_for
from autograder.grading.needed import binds
from autograder.grading.plan import Course, Notebook, Plan
from autograder.grading.rebuild import Rebuilt, rebuild
from autograder.grading.remote import CALL_SECONDS
from autograder.grading.sandbox import BUBBLEWRAP, CONTAINER, NONE, UNPROTECTED, Sandbox, choose
from rslib.errors import ConfigError, DataError

WARM = ("numpy", "IPython")


@dataclass(frozen=True)
class Grader:
    """What workers share: the fork servers, the journal, the limits."""

    sandbox: Sandbox | Containers
    judge: Judge
    journal: Journal
    limits: Limits

    def grade(self, plan: Plan, one: Submission, key: Mapping[str, str]) -> Graded:
        """Rebuild, run and judge a submission. Nothing is written."""
        start = time.monotonic()
        record = blank_record(plan, one, key, self.sandbox.isolation)
        made = {}
        for notebook in plan.notebooks:
            made[notebook.name] = self._notebook(plan, notebook, one, record)
        record["points"] = sum(c["points"] or 0.0 for c in record["cells"].values())
        record["seconds"] = round(time.monotonic() - start, 2)
        return Graded(plan, one, record, made)

    def _notebook(self, plan: Plan, notebook: Notebook, one: Submission, record: dict[str, Any]) -> Any:
        rebuilt, problem = _rebuilt(notebook, one)
        found = {"cells": {}, "verdicts": [], "whose": "", "lost": ""}
        if not problem:
            found |= self._run(plan, notebook, rebuilt, one, record["key"])
            problem = found.get("failed", "")
        prefix = prefix_of(plan, notebook)
        record["problem"] = " ".join(filter(None, (record["problem"], prefix + problem if problem else "")))
        record["notes"] += [prefix + note for note in rebuilt.notes]
        if found["lost"]:
            record["notes"].append(f"{prefix}The notebook was stopped early: {found['lost']}.")
        record["verdicts"] += [plain_verdict(v) for v in found["verdicts"]]
        record["variant"] = found["whose"]
        record["cells"] |= scores(notebook, rebuilt, found["cells"], problem, prefix)
        record["blank"] += [f"{notebook.name}/{name}" for name in sorted(rebuilt.blank)]
        record["answers"] |= {prefix + k: v for k, v in answers(rebuilt).items()}
        return pages.executed(notebook, rebuilt, found["cells"], record["cells"])

    def _run(
        self, plan: Plan, notebook: Notebook, rebuilt: Rebuilt, one: Submission, key: Mapping[str, str]
    ) -> dict[str, Any]:
        seed = self.journal.seed(plan.assignment, notebook.name, one.student, key["submission"])
        job = {
            "cells": list(_cells(rebuilt)),
            "trusted": notebook.trusted(),
            "answers": sorted({name for c in notebook.answers for name in binds(c.release)}),
            "course": notebook.salt(),
            "seed": seed,
            "local": self.sandbox.isolation != CONTAINER,
            "limits": self.limits.plain(),
            "call_seconds": min(CALL_SECONDS, self.limits.cell_seconds),
        }
        child = self.sandbox.spawn(self.limits, int(hashlib.sha256(seed.encode()).hexdigest()[:8], 16))
        try:
            found = self.judge.examine(job, child)
        finally:
            why = child.end()
        if found.get("lost") and not self.sandbox.alive():  # no fault of this notebook's
            raise ConfigError("the fork server ended")
        if found.get("lost") and why and "by itself" not in why and "no longer" not in why:
            found["lost"] = why
        return found


def prefix_of(plan: Plan, notebook: Notebook) -> str:
    """What stands before a cell's name where an assignment has several notebooks."""
    return f"{notebook.name}: " if len(plan.notebooks) > 1 else ""


@dataclass
class Graded:
    """A graded submission, ready to be written."""

    plan: Plan
    one: Submission
    record: dict[str, Any]
    notebooks: dict[str, Any]


def blank_record(plan: Plan, one: Submission, key: Mapping[str, str], isolation: str) -> dict[str, Any]:
    """The record of a submission of which nothing is known yet."""
    graded = [c for n in plan.notebooks for c in n.cells]
    return {
        "student": one.student,
        "assignment": plan.assignment,
        "notebook": plan.notebooks[0].name,
        "key": dict(key),
        "state": EXECUTED,
        "submitted_at": one.when.isoformat() if one.when else None,
        "points": 0.0,
        "out_of": float(sum(c.points for c in graded)),
        "cells": {},
        "verdicts": [],
        "notes": [],
        "blank": [],
        "problem": one.problem,
        "isolation": isolation,
        "answers": {},
        "variant": "",
        "seconds": 0.0,
    }


def _rebuilt(notebook: Notebook, one: Submission) -> tuple[Rebuilt, str]:
    """The notebook to run; a blank one and the reason where nothing can be read."""
    problem, raw, notes = one.problem, [], []
    try:
        if not problem and notebook.name not in one.files:
            raise Unreadable("The notebook was not handed in.")
        if not problem:
            raw, notes = intake.cells(one.files[notebook.name].read())
    except Unreadable as error:
        problem = str(error)
    rebuilt = rebuild(notebook, raw)
    return replace(rebuilt, notes=() if problem else (*notes, *rebuilt.notes)), problem


def _cells(rebuilt: Rebuilt) -> Iterator[dict[str, Any]]:
    """The code cells that are run, with what a test cell needs besides."""
    for place, step in enumerate(rebuilt.steps):
        if step.kind == "code" and step.run and step.source.strip():
            found = {"place": place, "role": "test" if step.role == "test" else "code", "source": step.source}
            if step.role == "test":
                found |= {"hidden": step.cell.hidden, "visible": step.cell.release.splitlines()}
            yield found


def scores(
    notebook: Notebook, rebuilt: Rebuilt, results: Mapping[str, Any], problem: str, prefix: str
) -> dict[str, dict[str, Any]]:
    """Points of every graded cell: {"points" (None: by hand), "out_of", "by_hand", "why", "where"}."""
    found = {}
    for place, step in enumerate(rebuilt.steps):
        cell = step.cell
        if cell is None or not (cell.role in ("test", "task") or cell.by_hand):
            continue
        points, why = None, ""
        if cell.role == "test":
            points, why = points_of(results.get(str(place)), cell.points)
        elif cell.role == "answer" and cell.grade_id in rebuilt.blank:
            points, why = 0.0, "No response."
        found[prefix + cell.grade_id] = {
            "points": 0.0 if problem and points is None and cell.role != "task" else points,
            "out_of": cell.points,
            "by_hand": cell.by_hand,
            "why": problem or why,
            "where": f"{notebook.name}/{cell.grade_id}",
        }
    return found


def points_of(result: Mapping[str, Any] | None, most: float) -> tuple[float, str]:
    """The points of a test cell by nbgrader's rule, and why some are missing.

    No exception and no number gives all, a number gives itself. Unlike nbgrader, a number that is negative,
    too large or NaN gives 0.

    >>> points_of({"outputs": [], "why": ""}, 2.0), points_of(None, 2.0)[0]
    ((2.0, ''), 0.0)
    """
    if result is None:
        return 0.0, "The cell was not run."
    for output in result["outputs"]:
        if output["output_type"] == "error":
            return 0.0, result["why"]
        if output["output_type"] == "execute_result":
            try:
                number = float(output["data"].get("text/plain", ""))
            except ValueError:
                continue
            if not 0 <= number <= most:
                return 0.0, f"The test gave {number:g}, which is no number of points from 0 to {most:g}."
            return number, result["why"] or ("" if number == most else f"{number:g} of {most:g} points.")
    return most, ""


def plain_verdict(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict for the journal: its outcomes without inputs."""
    from autograder.grading.examine import safe_message

    kept = ("title", "points", "out_of", "check", "idea")
    outcomes = [{k: o[k] for k in kept} | {"message": safe_message(o)} for o in verdict["outcomes"]]
    return {k: verdict[k] for k in ("exercise", "title", "points", "out_of")} | {"outcomes": outcomes}


def answers(rebuilt: Rebuilt) -> dict[str, str]:
    """A hash of each answer, blanks and comments left out; "" for one that was not given."""
    found = {}
    for step in rebuilt.steps:
        if step.role == "answer":
            blank = step.cell.grade_id in rebuilt.blank
            found[step.cell.grade_id] = "" if blank else hashlib.sha256(_normal(step.source)).hexdigest()
    return found


def _normal(source: str) -> bytes:
    import ast

    try:
        return ast.unparse(ast.parse(source)).encode()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return " ".join(source.split()).encode("utf-8", "replace")


# Writing ----------------------------------------------------------------------------------------------------


def store(course: Course, journal: Journal, book: Book, graded: Graded) -> str:
    """Write files, gradebook and journal of a submission; what moved against its last grading."""
    record, before = graded.record, journal.read(graded.plan.assignment, graded.one.student)
    folder = course.path("autograded", record["student"], record["assignment"])
    target = course.path("feedback", record["student"], record["assignment"])
    for name, nb in graded.notebooks.items():
        write(folder / f"{name}.ipynb", nbformat.writes(nb) + "\n")
        write(target / f"{name}.html", pages.feedback(record, nb, name))
    if record["submitted_at"]:
        write(folder / "timestamp.txt", record["submitted_at"])
    _keep_submitted(course, graded)
    record["moved"] = moved(before, record)
    old = (before or {}).get("answers", {})
    record["changed"] = [n for n in record["cells"] if old.get(n, "") != record["answers"].get(n, "")]
    journal.write(record)
    _commit(journal, book, graded.plan, record)
    return record["moved"]


def _commit(journal: Journal, book: Book, plan: Plan, record: dict[str, Any]) -> None:
    book.commit(plan, record, record["changed"])
    record["state"] = SCORED
    journal.write(record)


def _keep_submitted(course: Course, graded: Graded) -> None:
    """A copy of what was handed in, where nbgrader's other programs look for it."""
    folder = course.path("submitted", graded.one.student, graded.plan.assignment)
    for name, file in graded.one.files.items():
        target = folder / f"{name}.ipynb"
        if file.inside or file.path.resolve() != target.resolve():
            try:
                write(target, file.read())
            except Unreadable:
                continue


def moved(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    """One sentence on how and why a student's points changed, or ""."""
    if before is None or before["points"] == after["points"]:
        return ""
    reasons = {"submission": "the submission is another one", "release": "a test, or the points, changed"}
    reasons["grader"] = "the grader is a newer one"
    why = [text for name, text in reasons.items() if before["key"].get(name) != after["key"][name]]
    cells = [
        f"{name} {_points(before['cells'].get(name))} -> {_points(cell)}"
        for name, cell in after["cells"].items()
        if _points(before["cells"].get(name)) != _points(cell)
    ]
    head = f"{after['student']}: {before['points']:g} -> {after['points']:g}"
    return f"{head} ({', '.join(cells)}), because {' and '.join(why) or 'it was graded again'}"


def _points(cell: Mapping[str, Any] | None) -> str:
    return "none" if cell is None or cell["points"] is None else f"{cell['points']:g}"


# The run ----------------------------------------------------------------------------------------------------


@dataclass
class Task:
    """A submission to grade, or one whose record only has to reach the gradebook."""

    plan: Plan
    one: Submission
    key: dict[str, str]
    record: dict[str, Any] | None = None


def tasks(plans: Mapping[str, Plan], found: Sequence[Submission], journal: Journal, book: Book) -> list[Task]:
    """What is left to do: new and changed submissions, and records that a killed grader left behind."""
    left = []
    for one in found:
        plan = plans[one.assignment]
        key = {"submission": _digest(one), "release": plan.digest, "grader": VERSION}
        record = journal.read(one.assignment, one.student)
        same = record is not None and record["key"] == key
        if same and record["state"] == SCORED and book.has(record):
            continue
        left.append(Task(plan, one, key, record if same else None))
    return left


def _digest(one: Submission) -> str:
    parts = [one.problem.encode(), str(one.when).encode()]
    for name in sorted(one.files):
        try:
            parts += [name.encode(), one.files[name].read()]
        except Unreadable as error:
            parts += [name.encode(), str(error).encode()]
    return intake.digest(parts)


class Progress:
    """A line that is written over in a terminal, and now and then elsewhere."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.start, self.told = total, 0, time.monotonic(), 0.0

    def step(self, student: str, points: str) -> None:
        """One submission is done."""
        self.done += 1
        spent = time.monotonic() - self.start
        left = spent / self.done * (self.total - self.done)
        line = f"{self.done} of {self.total}, about {left:.0f} s left: {student} {points}"
        if sys.stdout.isatty():
            print(f"\r{line[:78]:78}", end="" if self.done < self.total else "\n", flush=True)
        elif spent - self.told > 10 or self.done == self.total:
            self.told = spent
            print(line, flush=True)


def run(
    course: Course,
    journal: Journal,
    book: Book,
    todo: Sequence[Task],
    walls: Walls,
    workers: int,
    limits: Limits,
) -> list[str]:
    """Grade all tasks; which students' points moved, and why."""
    progress, changes = Progress(len(todo)), []
    ready = [task for task in todo if task.record is not None]
    for task in ready:
        _commit(journal, book, task.plan, task.record)
        progress.step(task.one.student, "(was graded before)")
    waiting = [task for task in todo if task.record is None]
    if not waiting:
        return changes
    notebooks = [n for plan in {t.plan.assignment: t.plan for t in waiting}.values() for n in plan.notebooks]
    inside = modules_for([*WARM, *(name for n in notebooks for name in n.modules())])
    label = label_of(course.root)
    outside = modules_for([name for n in notebooks for name in n.judging()])
    with Judge(outside, label) as judge, walls.sandbox(inside, label) as sandbox:
        grader = Grader(sandbox, judge, journal, limits)
        for graded in _graded(grader, waiting, workers):
            if book.restore():
                print(f"The gradebook was changed while {graded.one.student} ran; it was put back.")
            told = store(course, journal, book, graded)
            book.remember()
            changes += [told] if told else []
            record = graded.record
            progress.step(record["student"], f"{record['points']:g} of {record['out_of']:g}")
    if book.restore():
        print("The gradebook was changed while notebooks ran; it was put back.")
    return changes


@dataclass(frozen=True)
class Walls:
    """What submissions are run behind: "bubblewrap", "container" with an image and its engine, or "none"."""

    isolation: str
    image: str = ""
    engine: str = ""

    def sandbox(self, modules: Sequence[str], label: str) -> Sandbox | Containers:
        """What makes a process for each submission."""
        if self.isolation == CONTAINER:
            return Containers(modules, self.image, self.engine)
        return Sandbox(modules, self.isolation, label)


def _walls(options: argparse.Namespace) -> Walls:
    """As the options and the machine have it. Raises ConfigError where there are no walls."""
    if options.container:
        return Walls(CONTAINER, options.container, engine(options.container))
    return Walls(choose(options.isolation, options.trust_submissions))


def _graded(grader: Grader, waiting: Sequence[Task], workers: int) -> Iterator[Graded]:
    """Graded submissions in the order in which they end."""
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
            try:
                ended.put(grader.grade(task.plan, task.one, task.key))
            except Exception as error:
                ended.put(failed(task, grader.sandbox.isolation, error))

    for _ in range(min(workers, len(waiting))):
        threading.Thread(target=work, daemon=True).start()
    for _ in waiting:
        yield ended.get()


def failed(task: Task, isolation: str, error: Exception) -> Graded:
    """A submission over which the grader itself stumbled: 0 points, told, and tried again by the next run."""
    told = f"{type(error).__name__}: {str(error)[:300]}"
    one = replace(task.one, problem=f"The grader stumbled over this notebook, look at it by hand. ({told})")
    key = task.key | {"grader": f"{VERSION}, stumbled"}
    record, made = blank_record(task.plan, one, key, isolation), {}
    for notebook in task.plan.notebooks:
        rebuilt = rebuild(notebook, [])
        prefix = prefix_of(task.plan, notebook)
        record["cells"] |= scores(notebook, rebuilt, {}, one.problem, prefix)
        made[notebook.name] = pages.executed(notebook, rebuilt, {}, record["cells"])
    return Graded(task.plan, one, record, made)


def main(argv: Sequence[str] | None = None) -> int:
    """Grade, print a summary, write results.csv and canvas.csv."""
    options = _parser().parse_args(argv)
    os.environ["PATH"] = (
        f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"  # for alembic
    )
    walls = _walls(options)
    course = Course.open(options.course)
    if walls.isolation == NONE:
        print(UNPROTECTED, file=sys.stderr)
    journal = Journal(course.root)
    with journal.locked():
        sweep(course.root)
        plans = _plans(course, options.assignment)
        names = {name: [n.name for n in plan.notebooks] for name, plan in plans.items()}
        found = intake.find(options.submissions, names)
        if not found.submissions:
            fix = f"Known notebooks: {', '.join(n for some in names.values() for n in some)}."
            raise DataError("no submission was found", where=str(options.submissions), fix=fix)
        for name in {one.assignment for one in found.submissions}:
            course.tell_gradebook(plans[name])
        limits = Limits(
            memory=options.memory << 20,
            cell_seconds=options.cell_seconds,
            total_seconds=options.total_seconds,
        )
        with Book(course, guard=walls.isolation == NONE, journal=journal) as book:
            todo = tasks(plans, found.submissions, journal, book)
            start = time.monotonic()
            changes = run(course, journal, book, todo, walls, options.workers, limits)
            records = [journal.read(one.assignment, one.student) for one in found.submissions]
            paths = export(course, records, book.gradebook)
        summary(records, len(todo), time.monotonic() - start, found.strays, changes, paths)
    return 0


def _plans(course: Course, only: str) -> dict[str, Plan]:
    known = course.assignments()
    chosen = [name for name in known if not only or name == only or name.split("_")[0] == only]
    if not chosen:
        raise ConfigError(f"there is no assignment {only!r}", fix=f"Known: {', '.join(known) or 'none'}.")
    return {name: course.plan(name) for name in chosen}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m autograder grade", description="Grade submissions.")
    parser.add_argument("submissions", type=Path, help="submitted/ tree, folder of notebooks, or zip")
    parser.add_argument("--course", type=Path, required=True, help="nbgrader course directory")
    parser.add_argument("--assignment", default="", help="name, or its number (default: all)")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="default: one for each core")
    parser.add_argument(
        "--trust-submissions", action="store_true", help="run without walls where there are none"
    )
    parser.add_argument(
        "--container", default="", metavar="IMAGE", help="docker or podman instead of bubblewrap"
    )
    parser.add_argument(
        "--isolation", choices=("auto", BUBBLEWRAP, NONE), default="auto", help="default: auto"
    )
    parser.add_argument("--cell-seconds", type=float, default=Limits.cell_seconds)
    parser.add_argument("--total-seconds", type=float, default=Limits.total_seconds)
    parser.add_argument("--memory", type=int, default=Limits.memory >> 20, help="MB for each submission")
    return parser


def summary(
    records: Sequence[Mapping[str, Any]],
    graded: int,
    seconds: float,
    strays: Sequence[str],
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
        ("Files that belong to no student or assignment:", [json.dumps(s)[:200] for s in strays]),
        ("Points that moved:", changes),
    ):
        if lines:
            print(f"\n{title}\n" + "\n".join(f"  {line}" for line in lines))
    print("\n" + "\n".join(map(str, paths)))
