"""The journal of a course's gradings, and nbgrader's gradebook: one transaction for each submission.

Everything that is written twice comes out the same, so a grader that was killed is simply started again.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nbgrader.api import (
    Assignment,
    Comment,
    Grade,
    Gradebook,
    Student,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.preprocessors import AssignLatePenalties
from sqlalchemy import text

from autograder.grading.plan import Course, inside
from rslib.errors import ConfigError, translate_os_error

BUSY_SECONDS = 30.0
"""How long a gradebook in which another program writes is waited for."""
EXECUTED, SCORED = "executed", "scored"
VERSION = "2"
"""Of the grader: a higher one grades everything again."""


def write(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all.

    Not by the engine's `atomic_write`: in a folder that a student filled, a link could lie under the name of
    its temporary file, and it would follow that link. Here the name is new each time. Raises StoreError.
    """
    raw = content.encode("utf-8", "replace") if isinstance(content, str) else content
    try:
        _replace(path, raw)
    except OSError as error:
        raise translate_os_error(error, str(path)) from error


def _replace(path: Path, raw: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.")
    try:
        with open(descriptor, "wb") as stream:
            stream.write(raw)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


LEFT = re.compile(r"\..+\.\w{8}")


def sweep(root: Path) -> None:
    """Take away unfinished files of a grader that was killed while it wrote."""
    for path in (
        *root.glob("autograded/*/*/.*"),
        *root.glob("feedback/*/*/.*"),
        *root.glob(".grading/*/.*"),
        *root.glob(".grading/.*"),
    ):
        if LEFT.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


class Journal:
    """What was graded, one JSON file for each submission in DIR/.grading/ASSIGNMENT/."""

    def __init__(self, root: Path) -> None:
        self.folder = root / ".grading"
        self.folder.mkdir(mode=0o700, exist_ok=True)  # nobody else may read it

    def path(self, assignment: str, student: str) -> Path:
        """The file of a submission."""
        return self.folder / assignment / f"{student}.json"

    def read(self, assignment: str, student: str) -> dict[str, Any] | None:
        """The record of a submission, or None. A record that cannot be read counts as none."""
        try:
            record = json.loads(self.path(assignment, student).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return record if isinstance(record, dict) and "key" in record else None

    def everything(self) -> list[dict[str, Any]]:
        """All records of the course that can be read."""
        records = [self.read(path.parent.name, path.stem) for path in sorted(self.folder.glob("*/*.json"))]
        return [record for record in records if record is not None]

    def snapshot(self) -> dict[Path, bytes]:
        """All records as they are, to be put back if a notebook that runs without a sandbox changes them."""
        return {path: path.read_bytes() for path in self.folder.glob("*/*.json")}

    def put_back(self, known: Mapping[Path, bytes]) -> None:
        """Write every record that is not as it was; take away those that were not there."""
        for path in set(self.folder.glob("*/*.json")) - known.keys():
            path.unlink(missing_ok=True)
        for path, content in known.items():
            if not path.is_file() or path.read_bytes() != content:
                write(path, content)

    def write(self, record: Mapping[str, Any]) -> None:
        """Store a record."""
        write(self.path(record["assignment"], record["student"]), json.dumps(record, indent=1) + "\n")

    def secret(self) -> bytes:
        """The course's secret, which draws the inputs of every grading; made on first use."""
        path = self.folder / "secret"
        if not path.exists():
            write(path, secrets.token_hex(32))
            path.chmod(0o600)
        return path.read_text().strip().encode()

    def seed(self, *parts: str) -> str:
        """A secret seed (hex) for a submission: the same whenever it is graded again."""
        return hmac.new(self.secret(), "\x1f".join(parts).encode(), hashlib.sha256).hexdigest()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Only one grader at a time works in a course. Raises ConfigError for the second."""
        with open(self.folder / "lock", "a+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                stream.seek(0)
                fix = "Wait until it has ended; nothing is lost, and a second run grades what is left."
                raise ConfigError(f"another grader is at work (process {stream.read(20)})", fix=fix) from None
            stream.truncate(0)
            stream.write(str(os.getpid()))
            stream.flush()
            yield


@dataclass
class Book:
    """The gradebook of a course, opened once for a whole run. Use it as a context manager."""

    course: Course
    guard: bool = False
    journal: Journal | None = None
    gradebook: Gradebook | None = field(default=None, init=False)
    records: dict[Path, bytes] = field(default_factory=dict, init=False)
    known: bytes = field(default=b"", init=False)

    def __enter__(self) -> Book:
        self.gradebook = Gradebook(self.course.database)
        self.gradebook.db.execute(text(f"PRAGMA busy_timeout = {int(1000 * BUSY_SECONDS)}"))
        self.remember()
        return self

    def __exit__(self, *_: object) -> None:
        self.gradebook.close()

    @property
    def file(self) -> Path | None:
        """The gradebook's file, where it is one."""
        path = self.course.database.removeprefix("sqlite:///")
        return Path(path) if path != self.course.database else None

    def remember(self) -> None:
        """Note what gradebook and journal hold, so that `restore` can tell a submission's change."""
        if self.guard and self.file is not None:
            self.gradebook.db.rollback()
            self.known = self.file.read_bytes()
            self.records = self.journal.snapshot() if self.journal else {}

    def restore(self) -> bool:
        """Put the gradebook back if something else has changed it since; whether that was so."""
        if not self.guard or self.file is None:
            return False
        if self.journal is not None:
            self.journal.put_back(self.records)
        with contextlib.suppress(OSError):
            if self.file.read_bytes() == self.known:
                return False
        self.gradebook.close()
        for tail in ("-journal", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(f"{self.file}{tail}")
        new = self.file.with_name(f".{self.file.name}.restored")
        with contextlib.suppress(OSError):
            if self.file.is_dir():
                shutil.rmtree(self.file)
        new.write_bytes(self.known)
        os.replace(new, self.file)
        self.gradebook = Gradebook(self.course.database)
        return True

    def mails(self) -> dict[str, str]:
        """E-mail addresses by student, of those who have one."""
        return {s.id: s.email for s in self.gradebook.db.query(Student).all() if s.email}

    def has(self, record: Mapping[str, Any]) -> bool:
        """Whether the gradebook holds the points of a record."""
        submission = self.submission(record["assignment"], record["student"])
        if submission is None:
            return False
        points = {f"{n.name}/{g.name}": g.auto_score for n in submission.notebooks for g in n.grades}
        return all(points.get(c["where"], ...) == c["points"] for c in record["cells"].values())

    def commit(self, record: Mapping[str, Any], changed: Sequence[str]) -> None:
        """Write all of a submission, or nothing. changed: cells graded by hand whose answer is a new one.

        Scores and comments that a person gave stay as they are.
        """
        session = self.gradebook.db
        session.rollback()
        try:
            if session.get_bind().dialect.name == "sqlite":
                session.execute(text("BEGIN IMMEDIATE"))
            self._write(record, changed)
            session.commit()
        except BaseException:
            session.rollback()
            raise

    def assign_penalties(self, assignments: Sequence[str]) -> None:
        """Have the course's own plugin set the penalty of every late submission, as `nbgrader autograde`.

        Asked for after every run: a due date, or a score given by hand, may have changed since the last one.
        Raises ConfigError for a plugin that fails.
        """
        session = self.gradebook.db
        session.rollback()
        try:
            with inside(self.course.root):
                penalties = AssignLatePenalties(config=self.course.config)
                penalties.init_plugin()
                for name in assignments:
                    for submission in self.gradebook.assignment_submissions(name):
                        _penalise(submission, penalties)
            session.commit()
        except Exception as error:
            session.rollback()
            what = f"the course's plugin for late submissions failed: {type(error).__name__}: {error}"
            fix = "Mend the plugin, then run again: everything else is stored."
            raise ConfigError(what, where="c.AssignLatePenalties", fix=fix) from error

    def submission(self, assignment: str, student: str) -> SubmittedAssignment | None:
        """What the gradebook holds of a submission, or None."""
        query = self.gradebook.db.query(SubmittedAssignment).join(Assignment, SubmittedAssignment.assignment)
        return query.filter(
            Assignment.name == assignment, SubmittedAssignment.student_id == student
        ).one_or_none()

    def _write(self, record: Mapping[str, Any], changed: Sequence[str]) -> None:
        session = self.gradebook.db
        student, name = record["student"], record["assignment"]
        if session.get(Student, student) is None:
            session.add(Student(id=student))
        assignment = session.query(Assignment).filter(Assignment.name == name).one()
        submission = self.submission(name, student)
        if submission is None:
            submission = SubmittedAssignment(assignment_id=assignment.id, student_id=student)
            session.add(submission)
        when = record["submitted_at"]
        submission.timestamp = datetime.datetime.fromisoformat(when) if when else None
        session.flush()
        theirs = {n.notebook_id: n for n in submission.notebooks}
        for notebook in assignment.notebooks:
            mine = theirs.get(notebook.id)
            if mine is None:
                mine = SubmittedNotebook(assignment_id=submission.id, notebook_id=notebook.id)
                session.add(mine)
                session.flush()
            self._write_cells(notebook, mine, record, changed)

    def _write_cells(
        self, notebook: Any, mine: Any, record: Mapping[str, Any], changed: Sequence[str]
    ) -> None:
        session = self.gradebook.db
        grades = {g.cell_id: g for g in mine.grades}
        comments = {c.cell_id: c for c in mine.comments}
        scored = {c["where"]: (name, c) for name, c in record["cells"].items()}
        for cell in [*notebook.grade_cells, *notebook.task_cells]:
            grade = grades.get(cell.id)
            if grade is None:
                grade = Grade(cell_id=cell.id, notebook_id=mine.id)
                session.add(grade)
            name, row = scored.get(f"{notebook.name}/{cell.name}", ("", None))
            if row is not None:
                _score(grade, row, name in changed)
        for cell in [*notebook.solution_cells, *notebook.task_cells]:
            comment = comments.get(cell.id)
            if comment is None:
                comment = Comment(cell_id=cell.id, notebook_id=mine.id)
                session.add(comment)
            blank = f"{notebook.name}/{cell.name}" in record["blank"]
            comment.auto_comment = "No response." if blank else None


def _score(grade: Grade, row: Mapping[str, Any], changed: bool) -> None:
    """The automatic score of a cell. A person looks at it where no program can, or where his score is old."""
    moved = grade.auto_score != row["points"]
    grade.auto_score = row["points"]
    if grade.manual_score is None:
        grade.needs_manual_grade = row["points"] is None
    elif changed or (moved and row["points"] is not None):
        grade.needs_manual_grade = True


def _penalise(submission: SubmittedAssignment, penalties: AssignLatePenalties) -> None:
    """Set the penalty of each notebook of a submission; none for one that was in time."""
    late = submission.total_seconds_late
    for notebook in submission.notebooks:
        notebook.late_submission_penalty = None
        if late > 0:
            plugin = penalties.plugin_inst
            penalty = plugin.late_submission_penalty(submission.student_id, notebook.score, late)
            if penalty is not None:
                notebook.late_submission_penalty = penalties._check_late_penalty(notebook, penalty)
