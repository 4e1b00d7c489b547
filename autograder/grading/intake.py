"""What was handed in: files are found and read, nothing is executed, every surprise is a sentence.

Three forms are known: nbgrader's `submitted/` tree, a folder of downloaded notebooks, and a zip of either.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import os
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from autograder.grading.wire import WireError, parsed
from rslib.errors import DataError, RSError

MAX_FILE = 20 << 20
MAX_ENTRIES = 20_000
MAX_DEPTH = 5
MAX_CELLS = 5_000
MAX_SOURCE = 200_000
STUDENT = re.compile(r"\w[\w@.,'+() -]{0,63}")
"""A student's id: letters of any language, digits, and a few marks; it becomes a folder's name."""
CANVAS = re.compile(r"^(.+?)(?:_LATE)?_\d+_\d+$")
MOODLE = re.compile(r"^(.+?)_\d+_assignsubmission_file_?$")
COPY = re.compile(r"^(?:-(\d{1,3})| ?\((\d{1,3})\))?$")


class Unreadable(RSError):
    """A submission that is graded as blank, with its reason in one sentence."""


@dataclass
class File:
    """One notebook that was handed in; it is opened when it is its turn."""

    name: str
    path: Path
    inside: str = ""
    version: int = 0

    def read(self) -> bytes:
        """Its bytes, at most MAX_FILE. Raises Unreadable."""
        try:
            return self._zipped() if self.inside else self._plain()
        except (
            OSError,
            zipfile.BadZipFile,
            RuntimeError,
            NotImplementedError,
            ValueError,
            EOFError,
        ) as error:
            raise Unreadable(f"The file could not be read: {type(error).__name__}.") from error

    def _plain(self) -> bytes:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            facts = os.fstat(descriptor)
            if not stat.S_ISREG(facts.st_mode):
                raise Unreadable("The notebook is not an ordinary file.")
            if facts.st_nlink > 1:
                raise Unreadable("The notebook is a second name of another file, not a file of its own.")
            return _bounded(stream)

    def _zipped(self) -> bytes:
        with zipfile.ZipFile(self.path) as archive, archive.open(self.inside) as stream:
            return _bounded(stream)


def _bounded(stream: Any) -> bytes:
    content = stream.read(MAX_FILE + 1)
    if len(content) > MAX_FILE:
        raise Unreadable(
            f"The notebook is larger than {MAX_FILE >> 20} MB; clear its outputs and save it again."
        )
    return content


@dataclass
class Submission:
    """What one student handed in for one assignment. `when`: the collector's time, UTC, or None."""

    student: str
    assignment: str
    files: dict[str, File] = field(default_factory=dict)
    problem: str = ""
    when: datetime.datetime | None = None


@dataclass
class Found:
    """All submissions, and what could not be assigned to a student."""

    submissions: list[Submission]
    strays: list[str]


def find(where: Path, notebooks: Mapping[str, Sequence[str]], *, only: str = "") -> Found:
    """The submissions in a folder or zip. `notebooks`: names by assignment. Raises DataError."""
    if not where.exists():
        raise DataError(
            "there are no submissions", where=str(where), fix="Name a folder or a zip of notebooks."
        )
    entries = _in_zip(where) if zipfile.is_zipfile(where) else _in_folder(where)
    found: dict[tuple[str, str], Submission] = {}
    strays: list[str] = []
    for parts, path, inside, problem in entries:
        key = _whose(parts, notebooks, only)
        if key is None:
            if parts[-1].endswith(".ipynb"):
                strays.append("/".join(parts))
            continue
        student, assignment, name, version = key
        if not STUDENT.fullmatch(student):
            strays.append("/".join(parts))
            continue
        one = found.setdefault((student, assignment), Submission(student, assignment))
        if name == "timestamp.txt":
            one.when = one.when or _time(path, inside)
        elif problem:
            one.problem = problem
        elif name not in one.files or version >= one.files[name].version:
            one.files[name] = File(name, path, inside, version)
    kept = [found[key] for key in sorted(found) if found[key].files or found[key].problem]
    return Found(kept, strays)


Entry = tuple[tuple[str, ...], Path, str, str]
"""Parts of the name, the file, the name inside of a zip or "", what is wrong with it or ""."""


def _in_folder(root: Path) -> Iterator[Entry]:
    if not root.is_dir():
        raise DataError("this is neither a folder nor a zip", where=str(root))
    count, front = 0, [(root, ())]
    while front:
        folder, parts = front.pop()
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError:
            continue
        for entry in entries:
            count += 1
            if count > MAX_ENTRIES:
                raise DataError(f"more than {MAX_ENTRIES} files", where=str(root))
            here = (*parts, entry.name)
            if entry.is_dir(follow_symlinks=False) and not entry.name.endswith(".ipynb"):
                front += [(Path(entry.path), here)] if len(here) < MAX_DEPTH and entry.name[0] != "." else []
            elif entry.name.endswith(".ipynb") or entry.name == "timestamp.txt":
                yield here, Path(entry.path), "", _problem(entry)


def _problem(entry: os.DirEntry) -> str:
    if entry.is_symlink():
        return "The notebook is a link, not a file."
    return "" if entry.is_file(follow_symlinks=False) else "The notebook is not an ordinary file."


def _in_zip(path: Path) -> Iterator[Entry]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    if len(entries) > MAX_ENTRIES:
        raise DataError(f"more than {MAX_ENTRIES} files", where=str(path))
    for entry in entries:
        parts = tuple(part for part in entry.filename.split("/") if part not in ("", "."))
        wanted = parts and (parts[-1].endswith(".ipynb") or parts[-1] == "timestamp.txt")
        if (
            not wanted
            or entry.is_dir()
            or ".." in parts
            or parts[0] == "__MACOSX"
            or parts[-1].startswith("._")
        ):
            continue
        linked = stat.S_ISLNK(entry.external_attr >> 16)
        large = entry.file_size > MAX_FILE
        problem = "The notebook is a link, not a file." if linked else ""
        problem = f"The notebook is larger than {MAX_FILE >> 20} MB." if large else problem
        yield parts, path, entry.filename, problem


def _whose(
    parts: tuple[str, ...], notebooks: Mapping[str, Sequence[str]], only: str
) -> tuple[str, str, str, int] | None:
    """(student, assignment, notebook or timestamp.txt, version) of a file, or None."""
    if len(parts) >= 3 and parts[-2] in notebooks and (not only or parts[-2] == only):
        stem = parts[-1].removesuffix(".ipynb")
        if parts[-1] == "timestamp.txt" or stem in notebooks[parts[-2]]:
            return parts[-3], parts[-2], "timestamp.txt" if parts[-1] == "timestamp.txt" else stem, 0
    if parts[-1] == "timestamp.txt":
        return None
    for assignment, names in notebooks.items():
        for name in names if not only or assignment == only else ():
            found = _downloaded(parts, name)
            if found is not None:
                return found[0], assignment, name, found[1]
    return None


def _downloaded(parts: tuple[str, ...], name: str) -> tuple[str, int] | None:
    """(student, version) of a file that a learning platform named: before or around the notebook's name.

    >>> _downloaded(("ada_01_one.ipynb",), "01_one")
    ('ada', 0)
    >>> _downloaded(("ada_LATE_12_345_01_one-2.ipynb",), "01_one")
    ('ada', 2)
    >>> _downloaded(("Ada L_7_assignsubmission_file_", "01_one.ipynb"), "01_one")
    ('Ada L', 0)
    """
    before, found, after = parts[-1].removesuffix(".ipynb").rpartition(name)
    copy = COPY.match(after)
    if not found or not copy:
        return None
    version = int(copy[1] or copy[2] or 0)
    student = before.rstrip("_- ")
    if student:
        return (CANVAS.match(student) or [None, student])[1], version
    if len(parts) < 2:
        return None
    moodle = MOODLE.match(parts[-2])
    return (moodle[1] if moodle else parts[-2]), version


def _time(path: Path, inside: str) -> datetime.datetime | None:
    """The collector's time of a submission, as nbgrader writes it."""
    from dateutil.parser import parse

    with contextlib.suppress(Unreadable, ValueError, OverflowError):
        text = File("timestamp.txt", path, inside).read()[:100].decode("ascii", "replace").strip()
        found = parse(text)
        return found.astimezone(datetime.UTC).replace(tzinfo=None) if found.tzinfo else found
    return None


# The inside of a notebook -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Raw:
    """One cell of a submission: text and what may tell which cell it is. Nothing else is taken."""

    kind: str
    source: str
    id: str
    grade_id: str


def cells(content: bytes) -> tuple[list[Raw], list[str]]:
    """The cells of a notebook's bytes, and what had to be left out. Raises Unreadable."""
    try:
        found = parsed(_decoded(content))
    except WireError as error:
        raise Unreadable(f"The file is not a notebook: {error}.") from error
    if not isinstance(found, dict) or not isinstance(found.get("cells"), list):
        told = "in an old format" if isinstance(found, dict) and "worksheets" in found else "not a notebook"
        raise Unreadable(f"The file is {told}; open it in JupyterLab and save it again.")
    if type(found.get("nbformat")) is not int or found["nbformat"] != 4:
        raise Unreadable("The notebook's format is not 4; open it in JupyterLab and save it again.")
    notes: list[str] = []
    taken = [_raw(cell, notes) for cell in found["cells"][:MAX_CELLS]]
    if len(found["cells"]) > MAX_CELLS:
        notes.append(f"The notebook has more than {MAX_CELLS} cells; the rest was left out.")
    return [cell for cell in taken if cell is not None], list(dict.fromkeys(notes))


def _decoded(content: bytes) -> bytes:
    """The text as UTF-8: a mark of byte order tells another encoding."""
    for mark, name in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"), (b"\xef\xbb\xbf", "utf-8-sig")):
        if content.startswith(mark):
            return content.decode(name, "replace").encode()
    return content


def _raw(cell: Any, notes: list[str]) -> Raw | None:
    if not isinstance(cell, dict) or cell.get("cell_type") not in ("code", "markdown", "raw"):
        notes.append("A cell of no known kind was left out.")
        return None
    source = cell.get("source", "")
    if isinstance(source, list) and all(isinstance(line, str) for line in source):
        source = "".join(source)
    if not isinstance(source, str) or len(source) > MAX_SOURCE:
        notes.append("A cell whose text is no text, or longer than 200,000 characters, was left out.")
        return None
    source = source.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    source = source.encode("utf-8", "replace").decode("utf-8")
    metadata = cell.get("metadata") if isinstance(cell.get("metadata"), dict) else {}
    known = metadata.get("nbgrader") if isinstance(metadata.get("nbgrader"), dict) else {}
    return Raw(
        cell["cell_type"], source, _name(cell.get("id") or metadata.get("id")), _name(known.get("grade_id"))
    )


def _name(value: Any) -> str:
    return value if isinstance(value, str) and len(value) < 100 else ""


def digest(parts: Sequence[bytes]) -> str:
    """A hash of what was handed in."""
    found = hashlib.sha256()
    for part in parts:
        found.update(hashlib.sha256(part).digest())
    return found.hexdigest()
