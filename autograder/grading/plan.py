"""What an assignment consists of, read from the instructor's `source/`: cells, tests, points, release.

Everything that is graded comes from here. The gradebook is told of it as `nbgrader generate_assignment`
would, with nbgrader's own steps and the settings of the course.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import itertools
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions, Execute, SaveCells
from nbgrader.utils import find_all_files
from traitlets.config import Config, PyFileConfigLoader

from autograder import exercises
from autograder.course import LAZY, processed, release_steps
from autograder.grading import names
from autograder.grading.examine import reads
from autograder.grading.needed import binds, imports, tree_of
from rslib.errors import ConfigError, DataError

CHECK = re.compile(r"""^check\(\s*["']([\w.]+)["']\s*\)$""")
INSIDE = re.compile(r"^[ \t]*#[ \t]*trust:[ \t]*inside[ \t]*$", re.MULTILINE)
"""The line by which an instructor has a test cell run in the learner's process."""
CONFIG = "nbgrader_config.py"


@dataclass(frozen=True)
class Cell:
    """One cell of the instructor's notebook.

    role: "answer" (the learner's, perhaps graded by hand), "test", "locked", "task" or "plain".
    source: as graded. release: as handed out, without hidden tests. solution: the instructor's own text.
    metadata: nbgrader's, as released. attachments: pictures that a markdown cell carries.
    inside: the instructor has this test run in the sandbox (`trust: inside`).
    """

    place: int
    kind: str
    role: str
    grade_id: str
    id: str
    source: str
    release: str
    solution: str
    points: float
    by_hand: bool
    metadata: dict[str, Any] = field(hash=False, compare=False)
    attachments: dict[str, Any] = field(default_factory=dict, hash=False, compare=False)
    inside: bool = False

    @property
    def hidden(self) -> bool:
        """Whether the release does not show all of it."""
        return self.source != self.release

    def reads(self) -> list[str]:
        """The learner's names that a test cell looks at."""
        call = CHECK.match(self.source.strip())
        if call:
            return list(exercises.find(call[1]).names)
        return reads(self.source)


@dataclass(frozen=True)
class Notebook:
    """One notebook of an assignment."""

    name: str
    cells: tuple[Cell, ...]
    metadata: dict[str, Any] = field(hash=False, compare=False)
    digest: str

    @property
    def lazy(self) -> bool:
        """Whether cells that no answer needs are left out."""
        return bool(self.metadata.get("autograder", {}).get(LAZY))

    @property
    def answers(self) -> list[Cell]:
        """The learner's cells."""
        return [cell for cell in self.cells if cell.role == "answer"]

    @cached_property
    def salt(self) -> str:
        """The course's salt, from the cell that calls `begin`."""
        for cell in (cell for cell in self.cells if cell.role in ("plain", "locked")):
            for node in (node for statement in names.statements(cell) for node in ast.walk(statement)):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "begin":
                    salts = [k.value for k in node.keywords if k.arg == "course"]
                    return str(salts[0].value) if salts and isinstance(salts[0], ast.Constant) else ""
        return ""

    @cached_property
    def trusted(self) -> list[str]:
        """Statements of the instructor's that run beside the tests, of those that a test needs.

        Imports, functions, classes, and values that are computed from these alone, of all released cells; a
        learner who gives their names another meaning changes nothing for the tests.
        """
        wanted = {name for cell in self.cells if cell.role == "test" for name in reads(cell.source)}
        statements: list[str] = []
        for text in reversed(names.offered(self.cells)[0]):
            if binds(text) & wanted or text.endswith("import *") or text.startswith("sys.path."):
                statements.append(text)
                wanted |= set(reads(text))
        return statements[::-1]

    @cached_property
    def lent(self) -> frozenset[str]:
        """Names whose values only the learner's process knows: asked for, or not to be repeated here."""
        return names.asked(self.cells) | names.offered(self.cells)[1]

    @cached_property
    def own(self) -> frozenset[str]:
        """Names that are never taken from a learner: test cells or repeated statements give them."""
        repeated = {name for text in self.trusted for name in binds(text)}
        return (names.of_tests(self.cells) | repeated) - self.lent

    @cached_property
    def shared(self) -> tuple[frozenset[str], frozenset[str]]:
        """Names that functions of the instructor's answers read from the notebook, and those they change."""
        return names.shared(self.cells)

    @cached_property
    def texts(self) -> frozenset[str]:
        """Short texts in the instructor's answers: a file that a test makes may have such a name."""
        return names.texts(self.cells)

    def judging(self) -> list[str]:
        """Modules that the tests need, by their full names."""
        trees = [ast.parse(text) for text in self.trusted]
        trees += [tree_of(cell.source) for cell in self.cells if cell.role == "test"]
        graders = self.exercise_modules()  # which measure with the engine: nothing is imported once confined
        return [*imports(trees), *graders, *(["rslib"] if graders else [])]

    def exercise_modules(self) -> list[str]:
        """Modules of the graders that its check cells call."""
        ids = [m[1] for cell in self.cells if (m := CHECK.match(cell.source.strip()))]
        return sorted({f"autograder.exercises.nb{int(id.split('.')[0]):02d}" for id in ids})


@dataclass(frozen=True)
class Plan:
    """An assignment: its notebooks, and a digest of all that decides points.

    files: the instructor's files beside the notebooks, by their paths relative to source/ASSIGNMENT.
    left_to_students: those of which a student's own copy counts (`c.Autograde.exclude_overwriting`).
    """

    assignment: str
    notebooks: tuple[Notebook, ...]
    files: Mapping[str, Path] = field(default_factory=dict, hash=False)
    left_to_students: frozenset[str] = frozenset()

    @cached_property
    def digest(self) -> str:
        """Changes with every change of a test, a point, a cell or a file beside the notebooks."""
        digest = hashlib.sha256("".join(n.digest for n in self.notebooks).encode())
        for name, path in sorted(self.files.items()):
            digest.update(f"\n{name}\n{name in self.left_to_students}\n".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


@dataclass(frozen=True)
class Course:
    """An nbgrader course directory."""

    root: Path
    config: Config = field(hash=False, compare=False)

    @classmethod
    def open(cls, root: Path) -> Course:
        """The course in a folder. Raises ConfigError if it holds none."""
        root, config = root.resolve(), Config()
        if (root / CONFIG).is_file():
            with inside(root):
                config = PyFileConfigLoader(CONFIG, str(root)).load_config()
        course = cls(root, config)
        if not course.source().is_dir():
            fix = "Make one with `make course OUT=...`, or name the folder that holds source/."
            raise ConfigError("no nbgrader course directory", where=str(root), fix=fix)
        return course

    @cached_property
    def directory(self) -> CourseDirectory:
        """The folder as nbgrader sees it."""
        config = Config(self.config)
        config.CourseDirectory.root = str(self.root)
        return CourseDirectory(config=config)

    @property
    def database(self) -> str:
        """Address of the gradebook."""
        return self.directory.db_url

    @property
    def cell_seconds(self) -> float | None:
        """The course's own limit of time for a cell, or None where its settings name none."""
        sections = [self.config.get(kind.__name__, {}) for kind in Execute.__mro__]
        if not any("timeout" in section for section in sections):
            return None
        seconds = Execute(config=self.config).timeout
        return float(seconds) if seconds is not None and seconds > 0 else None

    @property
    def excluded(self) -> set[str]:
        """Students whom the course's settings leave out (`c.CourseDirectory.student_id_exclude`)."""
        return {name.strip() for name in self.directory.student_id_exclude.split(",")} - {""}

    def path(self, step: str, student: str, assignment: str) -> Path:
        """The folder of a submission in `submitted`, `autograded` or `feedback`."""
        there = self.directory
        return Path(there.format_path(getattr(there, f"{step}_directory"), student, assignment))

    def source(self, assignment: str = ".") -> Path:
        """The folder of an assignment's notebooks with their solutions; of all of them by default."""
        return Path(self.directory.format_path(self.directory.source_directory, ".", assignment))

    def assignments(self) -> list[str]:
        """Names of the assignments in source/."""
        folders = self.source().iterdir()
        return sorted(path.name for path in folders if path.is_dir() and any(path.glob("*.ipynb")))

    def plan(self, assignment: str) -> Plan:
        """Read an assignment. Raises DataError for a notebook that nbgrader refuses."""
        folder = self.source(assignment)
        notebooks = tuple(self._notebook(path) for path in sorted(folder.glob("*.ipynb")))
        paths = find_all_files(str(folder), [*self.directory.ignore, "*.ipynb"])
        files = {Path(path).relative_to(folder).as_posix(): Path(path) for path in paths}
        excluded = self.config.get("Autograde", {}).get("exclude_overwriting", {}).get(assignment, [])
        return Plan(assignment, notebooks, files, frozenset(Path(name).as_posix() for name in excluded))

    def _notebook(self, path: Path) -> Notebook:
        try:
            solved, graded, released = self._versions(path)
        except Exception as error:  # nbgrader raises many kinds
            raise DataError(f"nbgrader refuses this notebook: {error}", where=str(path)) from error
        triples = zip(solved.cells, graded.cells, released.cells, strict=True)
        cells = tuple(_cell(index, *versions) for index, versions in enumerate(triples))
        facts = [[c.kind, c.role, c.grade_id, c.source, c.points, c.solution, c.inside] for c in cells]
        digest = hashlib.sha256(json.dumps([path.stem, facts]).encode()).hexdigest()
        return Notebook(path.stem, cells, dict(released.metadata), digest)

    def _versions(self, path: Path) -> Iterator[NotebookNode]:
        """A notebook with its solutions; as it is graded, with hidden tests; as it is released.

        nbgrader's own steps, in its order and from the course's folder, which its settings are relative to.
        """
        steps = [step for step in release_steps(self.config) if step is not SaveCells]
        marks = [0, steps.index(ClearSolutions), steps.index(ClearHiddenTests), len(steps)]
        nb = nbformat.read(path, as_version=4)
        for first, last in itertools.pairwise(marks):
            with inside(self.root):
                text = processed(nb, steps[first:last], self.config, {"metadata": {"path": str(path.parent)}})
            nb = nbformat.reads(text, as_version=4)
            yield nb

    def tell_gradebook(self, plan: Plan) -> None:
        """Have the gradebook know the assignment's cells and points. Raises DataError where it refuses."""
        with Gradebook(self.database) as book:
            book.update_or_create_assignment(plan.assignment)
        for notebook in plan.notebooks:
            path = self.source(plan.assignment) / f"{notebook.name}.ipynb"
            facts = {"notebook": notebook.name, "assignment": plan.assignment, "db_url": self.database}
            resources = {"nbgrader": facts, "metadata": {"path": str(path.parent)}}
            steps = release_steps(self.config)
            try:
                source = nbformat.read(path, as_version=4)
                with inside(self.root):
                    processed(source, steps[: steps.index(SaveCells) + 1], self.config, resources)
            except RuntimeError as error:
                fix = "Give a changed assignment a new name, or take its submissions out of the gradebook."
                raise DataError(str(error), where=str(path), fix=fix) from error


def asked_for(assignment: str, only: str) -> bool:
    """Whether `only` names the assignment, or is its number; all are asked for where it is empty."""
    return not only or only in (assignment, assignment.split("_")[0])


@contextlib.contextmanager
def inside(folder: Path) -> Iterator[None]:
    """Work from a folder, with its modules: a course's settings name files and plugins relative to it."""
    with contextlib.chdir(folder):
        sys.path.insert(0, str(folder))
        try:
            yield
        finally:
            sys.path.remove(str(folder))


def _cell(place: int, solved: NotebookNode, graded: NotebookNode, released: NotebookNode) -> Cell:
    known = dict(released.metadata.get("nbgrader", {}))
    role = "plain"
    if known.get("task"):
        role = "task"
    elif known.get("solution"):
        role = "answer"
    elif known.get("grade"):
        role = "test"
    elif known.get("locked"):
        role = "locked"
    return Cell(
        place,
        released.cell_type,
        role,
        str(known.get("grade_id", "")),
        str(released.get("id", "")),
        graded.source,
        released.source,
        solved.source,
        float(known.get("points", 0) or 0),
        role == "task" or (role == "answer" and bool(known.get("grade"))),
        known,
        dict(released.get("attachments", {})),
        role == "test" and _inside(solved),
    )


def _inside(cell: NotebookNode) -> bool:
    """Whether the instructor lets a test run in the learner's process."""
    wish = cell.metadata.get("autograder", {})
    return bool(INSIDE.search(cell.source)) or (isinstance(wish, dict) and wish.get("trust") == "inside")
