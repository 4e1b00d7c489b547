"""One submission: rebuilt, run, judged, and what is noted of it. Nothing is written here."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from autograder.grading import engine, pages
from autograder.grading.book import EXECUTED, VERSION, Journal
from autograder.grading.container import Containers
from autograder.grading.examine import safe_message
from autograder.grading.inside.isolate import Limits
from autograder.grading.intake import Submission, Unreadable
from autograder.grading.judge import Judge
from autograder.grading.plan import Notebook, Plan
from autograder.grading.reading import outlined
from autograder.grading.rebuild import Rebuilt, Step, rebuild
from autograder.grading.remote import CALL_SECONDS
from autograder.grading.sandbox import CONTAINER, NONE, Ended, Sandbox
from autograder.grading.uses import allowed

TRIES = 3
"""How often a submission is graded whose server ends while it runs."""
NO_NUMBER = "The test gave no number of points"
"""How the reason begins where a test cell ends in a text, an array or a number out of range."""


@dataclass(frozen=True)
class Grader:
    """What workers share: the fork servers, the journal, the limits.

    explain: say at each cell what went wrong in full; for the instructor's own solution alone.
    uses: what the tests of an assignment did with its solution, by cell; see `uses`.
    """

    sandbox: Sandbox | Containers
    judge: Judge
    journal: Journal
    limits: Limits
    explain: bool = False
    uses: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict, hash=False)

    def grade(self, plan: Plan, submission: Submission, key: Mapping[str, str]) -> Graded:
        """Rebuild, run and judge a submission. Nothing is written.

        What is lost with a server that ended is done again, up to TRIES times. Raises Ended after that.
        """
        for _ in range(TRIES - 1):
            with contextlib.suppress(Ended):
                return self._grade(plan, submission, key)
        return self._grade(plan, submission, key)

    def _grade(self, plan: Plan, submission: Submission, key: Mapping[str, str]) -> Graded:
        start = time.monotonic()
        record = blank_record(plan, submission, key, self.sandbox.isolation)
        made = {}
        for notebook in plan.notebooks:
            made[notebook.name] = self._notebook(plan, notebook, submission, record)
        record["points"] = sum(c["points"] or 0.0 for c in record["cells"].values())
        record["seconds"] = round(time.monotonic() - start, 2)
        return Graded(plan, submission, record, made)

    def _notebook(
        self, plan: Plan, notebook: Notebook, submission: Submission, record: dict[str, Any]
    ) -> Any:
        rebuilt, problem = _rebuilt(self.judge, notebook, submission)
        outcome = {"cells": {}, "verdicts": [], "whose": "", "lost": "", "processor": {}, "secrets": False}
        if not problem:
            outcome |= self._run(plan, notebook, rebuilt, submission, record["key"])
            problem = outcome.get("failed", "")
        prefix = prefix_of(plan, notebook)
        if problem and problem not in record["problem"]:
            record["problem"] = f"{record['problem']} {prefix}{problem}".strip()
        record["notes"] += [prefix + note for note in rebuilt.notes]
        if outcome["lost"] and not outcome["secrets"]:  # how it ended could tell a hidden test's inputs
            record["notes"].append(f"{prefix}The notebook was stopped early: {outcome['lost']}.")
        record["stopped"] = record["stopped"] or outcome["lost"]  # for the instructor
        record["verdicts"] += [plain_verdict(v) for v in outcome["verdicts"]]
        record["variant"] = outcome["whose"]
        for name, seconds in outcome["processor"].items():
            record["processor"][name] = round(record["processor"].get(name, 0.0) + seconds, 3)
        cells = scores(notebook, rebuilt, outcome["cells"], problem, prefix)
        if (
            not submission.problem and notebook.name not in submission.files
        ):  # nobody looks for it, as in nbgrader
            cells = {name: row | {"points": 0.0} for name, row in cells.items()}
        record["cells"] |= cells
        if self.explain:
            record["uses"] = record.get("uses", {}) | _uses(notebook, rebuilt, outcome["cells"])
        record["blank"] += [f"{notebook.name}/{name}" for name in sorted(rebuilt.blank)]
        record["answers"] |= {prefix + k: v for k, v in rebuilt.answers.items()}
        return pages.executed(notebook, rebuilt, outcome["cells"])

    def _run(
        self, plan: Plan, notebook: Notebook, rebuilt: Rebuilt, submission: Submission, key: Mapping[str, str]
    ) -> dict[str, Any]:
        seed = self.journal.seed(plan.assignment, notebook.name, submission.student, key["submission"])
        extras = _extras(submission)
        job = {
            "cells": list(_cells(rebuilt, self.explain, notebook.name, self.uses.get(plan.assignment))),
            **_names(notebook),
            "files": {name: str(path) for name, path in plan.files.items()},
            "left": sorted(plan.left_to_students),
            "extras": list(extras),
            "course": notebook.salt,
            "seed": seed,
            "explain": self.explain,
            "class_seed": int(self.journal.seed("class", plan.assignment, notebook.name)[:8], 16),
            "engine": str(engine.folder(self.journal.folder)) if self.sandbox.isolation != NONE else "",
            "local": self.sandbox.isolation != CONTAINER,
            "limits": self.limits.plain(),
            "call_seconds": min(CALL_SECONDS, self.limits.cell_seconds),
        }
        size = sum(map(len, extras.values())) + sum(path.stat().st_size for path in plan.files.values())
        limits = replace(self.limits, disk=self.limits.disk + size)
        child = self.sandbox.spawn(limits, int(hashlib.sha256(seed.encode()).hexdigest()[:8], 16))
        try:
            outcome = self.judge.examine(job, child, list(extras.values()))
        finally:
            why = child.end()
        silent = not why and self.sandbox.isolation != CONTAINER  # its supervisor is gone as well
        if outcome.get("lost") and (silent or not self.sandbox.alive()):
            raise Ended("the server of the sandbox ended while this notebook ran")
        if outcome.get("lost") and why and "by itself" not in why and "no longer" not in why:
            outcome["lost"] = why
        return outcome


def _names(notebook: Notebook) -> dict[str, list[str]]:
    """Whose the notebook's names are, and the instructor's statements that give their own."""
    read, written = notebook.shared
    named = {"answers": notebook.lent, "own": notebook.own, "read": read, "written": written}
    named["texts"] = notebook.texts
    return {"trusted": notebook.trusted} | {key: sorted(value) for key, value in named.items()}


def _extras(submission: Submission) -> dict[str, bytes]:
    """The files beside a submission's notebooks, by their paths; one that cannot be read is left out."""
    contents = {}
    for name, file in submission.extras.items():
        try:
            contents[name] = file.read()
        except Unreadable:
            note = f"Your file {name} could not be read."
            submission.notes.extend([note] if note not in submission.notes else [])
    return contents


def prefix_of(plan: Plan, notebook: Notebook) -> str:
    """What stands before a cell's name where an assignment has several notebooks."""
    return f"{notebook.name}: " if len(plan.notebooks) > 1 else ""


@dataclass
class Graded:
    """A graded submission, ready to be written."""

    plan: Plan
    submission: Submission
    record: dict[str, Any]
    notebooks: dict[str, Any]


def blank_record(
    plan: Plan, submission: Submission, key: Mapping[str, str], isolation: str
) -> dict[str, Any]:
    """The record of a submission of which nothing is known yet."""
    graded = [c for n in plan.notebooks for c in n.cells]
    return {
        "student": submission.student,
        "assignment": plan.assignment,
        "notebook": plan.notebooks[0].name,
        "platform": submission.platform,
        "number": submission.number,
        "key": dict(key),
        "state": EXECUTED,
        "submitted_at": submission.when.isoformat() if submission.when else None,
        "points": 0.0,
        "out_of": float(sum(c.points for c in graded)),
        "cells": {},
        "verdicts": [],
        "notes": list(submission.notes),
        "blank": [],
        "problem": submission.problem,
        "isolation": isolation,
        "answers": {},
        "variant": "",
        "stopped": "",
        "seconds": 0.0,
        "processor": {},
    }


def _rebuilt(judge: Judge, notebook: Notebook, submission: Submission) -> tuple[Rebuilt, str]:
    """The notebook to run; a blank one and the reason where nothing can be read."""
    problem = submission.problem
    try:
        if not problem and notebook.name not in submission.files:
            raise Unreadable("The notebook was not handed in.")
        taken = judge.read(outlined(notebook), submission.files[notebook.name].read()) if not problem else {}
    except Unreadable as error:
        problem = str(error)
    problem = problem or taken.get("failed") or taken["problem"]
    if problem:
        return replace(rebuild(notebook, []), notes=()), problem
    steps = (Step(None if index is None else notebook.cells[index], *rest) for index, *rest in taken["steps"])
    return Rebuilt(tuple(steps), frozenset(taken["blank"]), tuple(taken["notes"]), taken["answers"]), ""


def _cells(
    rebuilt: Rebuilt, explain: bool, name: str, known: Mapping[str, list[str]] | None
) -> Iterator[dict[str, Any]]:
    """The code cells that are run, with what a test cell needs; `explain`: nothing of it is hidden.

    known: what the tests did with the solution, by the notebook's name and the cell's.
    """
    for index, step in enumerate(rebuilt.steps):
        if step.kind == "code" and step.run and step.source.strip():
            hidden = step.cell is not None and step.role != "answer" and step.cell.source == step.source
            hidden = hidden and step.cell.hidden and not explain
            job = {"place": index, "source": step.source, "hidden": hidden}
            if step.role == "test":
                shown = step.cell.source if explain else step.cell.release
                job |= {"inside": step.cell.inside, "most": step.cell.points}
                job["uses"] = allowed(step.source, f"{name}/{step.cell.grade_id}", known)
                yield job | {"role": "test", "visible": shown.splitlines()}
            else:
                yield job | {"role": "code"}


def scores(
    notebook: Notebook, rebuilt: Rebuilt, results: Mapping[str, Any], problem: str, prefix: str
) -> dict[str, dict[str, Any]]:
    """Points of every graded cell: {"points" (None: by hand), "out_of", "by_hand", "why", "where"}."""
    rows = {}
    for index, step in enumerate(rebuilt.steps):
        cell = step.cell
        if cell is None or not (cell.role in ("test", "task") or cell.by_hand):
            continue
        points, why = None, ""
        if cell.role == "test":
            points, why = points_of(results.get(str(index)), cell.points)
        elif cell.role == "answer" and cell.grade_id in rebuilt.blank:
            points, why = 0.0, "No response."
        rows[prefix + cell.grade_id] = {
            "points": 0.0 if problem and points is None and cell.role != "task" else points,
            "out_of": cell.points,
            "by_hand": cell.by_hand,
            "why": problem or why,
            "where": f"{notebook.name}/{cell.grade_id}",
        }
        if cell.role == "test":
            rows[prefix + cell.grade_id]["trust"] = "inside" if cell.inside else "outside"
    return rows


def _uses(notebook: Notebook, rebuilt: Rebuilt, results: Mapping[str, Any]) -> dict[str, list[str]]:
    """What the tests of a notebook did, by its name and the cell's."""
    tests = [(str(index), step.cell) for index, step in enumerate(rebuilt.steps) if step.role == "test"]
    return {
        f"{notebook.name}/{cell.grade_id}": results.get(index, {}).get("uses", []) for index, cell in tests
    }


def points_of(result: Mapping[str, Any] | None, most: float) -> tuple[float, str]:
    """The points of a test cell by nbgrader's rule, and why some are missing.

    No exception and no number gives all, a number gives itself. Unlike nbgrader, a number that is negative,
    too large or NaN gives 0, and so does a value that is none.

    >>> points_of({"outputs": [], "why": "", "gave": None}, 2.0), points_of(None, 2.0)[0]
    ((2.0, ''), 0.0)
    """
    if result is None:
        return 0.0, "The cell was not run."
    if any(output["output_type"] == "error" for output in result["outputs"]):
        return 0.0, result["why"]
    gave = result["gave"]
    if gave is None:
        return most, ""
    if gave is False or not 0 <= gave <= most:
        return 0.0, f"{NO_NUMBER} from 0 to {most:g}."
    return gave, result["why"] or ("" if gave == most else f"{gave:g} of {most:g} points.")


def plain_verdict(verdict: Mapping[str, Any]) -> dict[str, Any]:
    """A verdict for the journal: its outcomes without inputs."""
    fields = ("title", "points", "out_of", "check", "idea")
    outcomes = [{k: o[k] for k in fields} | {"message": safe_message(o)} for o in verdict["outcomes"]]
    return {k: verdict[k] for k in ("exercise", "title", "points", "out_of")} | {"outcomes": outcomes}


def failed(
    plan: Plan, submission: Submission, key: Mapping[str, str], isolation: str, error: Exception
) -> Graded:
    """A submission over which the grader itself stumbled: 0 points, told, and tried again by the next run."""
    message = f"{type(error).__name__}: {str(error)[:300]}"
    submission = replace(
        submission, problem=f"The grader stumbled over this notebook, look at it by hand. ({message})"
    )
    key = dict(key) | {"grader": f"{VERSION}, stumbled"}
    record, made = blank_record(plan, submission, key, isolation), {}
    for notebook in plan.notebooks:
        rebuilt = rebuild(notebook, [])
        prefix = prefix_of(plan, notebook)
        record["cells"] |= scores(notebook, rebuilt, {}, submission.problem, prefix)
        made[notebook.name] = pages.executed(notebook, rebuilt, {})
    return Graded(plan, submission, record, made)
