"""Untrusted files in folders and zips: listed and read within bounds, nothing is unpacked or executed."""

from __future__ import annotations

import contextlib
import io
import itertools
import lzma
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from rslib.errors import DataError, RSError

MAX_FILE = 20 << 20
"""Bytes of the largest file that is read."""
MAX_NESTED_ZIP = 50 << 20
"""Bytes of a zip in a zip, which is held in memory."""
MAX_ENTRIES = 20_000
"""Names of the input's top level, and files of a zip in a zip."""
MAX_ARCHIVE = 100_000
"""Files of a zip on disk, which may hold a class."""
MAX_OWN = 1_000
"""Files that are looked at below one name of the top level: no student can use up the bound of a class."""
MAX_DEPTH = 6
MAX_NESTED = 3
MAX_DIRECTORY = 16 << 20
"""Bytes of the table of contents of a zip on disk; a quarter of it for a zip in a zip."""
WRAPPER = "submitted"
JUNK = {"__MACOSX", ".ipynb_checkpoints", "__pycache__", ".git", ".DS_Store", "Thumbs.db", "desktop.ini"}
ZIP_ERRORS = (
    OSError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    RuntimeError,
    ValueError,
    OverflowError,
    EOFError,
    IndexError,
)


class Unreadable(RSError):
    """A submission that is graded as blank, with its reason in one sentence."""


@dataclass(frozen=True)
class File:
    """A file that was handed in; it is opened when it is its turn.

    inside: places in the tables of contents of a zip and of the zips in it, or (). version: the number that
    a copy carries in its name. problem: why it must not be read, or "".
    """

    name: str
    path: Path
    inside: tuple[int, ...] = ()
    version: int = 0
    problem: str = ""

    def read(self) -> bytes:
        """Its bytes, at most MAX_FILE. Raises Unreadable."""
        if self.problem:
            raise Unreadable(self.problem)
        try:
            return self._zipped() if self.inside else self._plain()
        except ZIP_ERRORS as error:
            raise Unreadable(f"The file could not be read: {type(error).__name__}.") from error

    def _plain(self) -> bytes:
        with open(_descriptor(self.path), "rb") as stream:
            return _bounded(stream)

    def _zipped(self) -> bytes:
        archive = archive_of(self.path, self.inside[:-1])
        with archive.open(archive.infolist()[self.inside[-1]]) as stream:
            return _bounded(stream)


def _descriptor(path: Path) -> int:
    """An open ordinary file. Raises Unreadable for links, devices, pipes and second names."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    facts = os.fstat(descriptor)
    problem = _problem(facts)
    if problem:
        os.close(descriptor)
        raise Unreadable(problem)
    return descriptor


def _problem(facts: os.stat_result) -> str:
    if stat.S_ISLNK(facts.st_mode):
        return "The file is a link, not a file of its own."
    if not stat.S_ISREG(facts.st_mode):
        return "The file is not an ordinary file."
    return "The file is a second name of another file, not a file of its own." if facts.st_nlink > 1 else ""


def _bounded(stream: Any, most: int = MAX_FILE) -> bytes:
    content = stream.read(most + 1)
    if len(content) > most:
        raise Unreadable(f"The file is larger than {most >> 20} MB; clear its outputs and save it again.")
    return content


def archive_of(path: Path, inside: tuple[int, ...] = ()) -> zipfile.ZipFile:
    """A zip on disk, or one in it. Raises Unreadable, or an error of ZIP_ERRORS."""
    facts = os.stat(path)
    return _archive(path, (facts.st_mtime_ns, facts.st_size), inside)


@lru_cache(maxsize=4)
def _archive(path: Path, stamp: tuple[int, int], inside: tuple[int, ...]) -> zipfile.ZipFile:
    """Kept open: a table of contents is read once, not for every file of a class."""
    if not inside:
        return _opened(open(_descriptor(path), "rb"), MAX_DIRECTORY, MAX_ARCHIVE)
    outer = _archive(path, stamp, inside[:-1])
    with outer.open(outer.infolist()[inside[-1]]) as stream:
        return _opened(io.BytesIO(_bounded(stream, MAX_NESTED_ZIP)), MAX_DIRECTORY // 4, MAX_ENTRIES)


def _opened(stream: Any, most: int, entries: int) -> zipfile.ZipFile:
    """A zip whose table of contents is of a bearable size."""
    end = zipfile._EndRecData(stream)  # the very numbers that ZipFile goes by
    if end is None or end[zipfile._ECD_SIZE] > most:
        stream.close()
        raise Unreadable("The zip is damaged, or its table of contents is too large.")
    archive = zipfile.ZipFile(stream)
    if len(archive.infolist()) > entries:
        raise Unreadable(f"The zip holds more than {entries} files.")
    return archive


@dataclass(frozen=True)
class Entry:
    """A file below a name of the top level; parts: folders and name below it. size in bytes, as declared."""

    parts: tuple[str, ...]
    file: File
    size: int = 0


@dataclass
class Area:
    """One name of the input's top level with all that lies below: what belongs to nobody but its owner.

    folders: its direct sub-folders, the empty ones included. problem: what was not looked at, or "".
    """

    name: str
    folder: bool = True
    entries: list[Entry] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)
    problem: str = ""

    def add(self, entry: Entry) -> bool:
        """Whether there was room for one more file."""
        if len(self.entries) >= MAX_OWN:
            self.problem = f"There are more than {MAX_OWN} files; the rest was not looked at."
            return False
        self.entries.append(entry)
        return True


def listing(where: Path) -> tuple[list[Area], dict[str, str]]:
    """Everything in a folder or zip by name of the top level, and a zip's unsafe names. Raises DataError."""
    if not where.exists():
        fix = "Name a folder or a zip of notebooks."
        raise DataError("there are no submissions", where=str(where), fix=fix)
    try:
        return (_folder(_root(where)), {}) if where.is_dir() else _zip(where.resolve())
    except (Unreadable, *ZIP_ERRORS) as error:
        fix = "Download it again, or unpack it and name the folder."
        problem = f"this is neither a folder nor a zip that can be read ({error})"
        raise DataError(problem, where=str(where), fix=fix) from error


def _scan(folder: str | Path, most: int) -> list[os.DirEntry]:
    with os.scandir(folder) as entries:
        return sorted(itertools.islice(entries, most), key=lambda entry: entry.name)


def _root(where: Path) -> Path:
    """The submitted/ of a course directory that was named itself, or that lies alone in a folder."""
    names = {entry.name for entry in _scan(where, 100)} - JUNK
    course = WRAPPER in names and "source" in names
    return where / WRAPPER if course or (names == {WRAPPER} and (where / WRAPPER).is_dir()) else where


def _folder(root: Path) -> list[Area]:
    entries = _scan(root, MAX_ENTRIES + 1)
    if len(entries) > MAX_ENTRIES:
        raise DataError(f"more than {MAX_ENTRIES} files", where=str(root))
    areas = []
    for entry in entries:
        if entry.name in JUNK or entry.name.startswith("._"):
            continue
        area = Area(entry.name, entry.is_dir(follow_symlinks=False))
        if area.folder:
            _walk(area, entry.path)
        else:
            area.add(_leaf((), entry))
        areas.append(area)
    return areas


def _walk(area: Area, top: str) -> None:
    """Add the files below a folder, nearest first. Links to folders are no folders."""
    front: list[tuple[str, tuple[str, ...]]] = [(top, ())]
    for folder, parts in front:  # grows while it is walked
        try:
            entries = _scan(folder, MAX_OWN + 1)
        except OSError as error:
            area.problem = f"A folder could not be read: {error.strerror}."
            continue
        for entry in entries:
            below = (*parts, entry.name)
            if entry.name in JUNK or entry.name.startswith("._"):
                continue
            if entry.is_dir(follow_symlinks=False) and not entry.name.endswith(".ipynb"):
                area.folders |= set() if parts else {entry.name}
                if len(below) < MAX_DEPTH and len(front) < MAX_OWN:
                    front.append((entry.path, below))
                else:
                    area.problem = f"Folders deeper than {MAX_DEPTH}, or more than {MAX_OWN}, were left out."
            elif not area.add(_leaf(below, entry)):
                return


def _leaf(parts: tuple[str, ...], entry: os.DirEntry) -> Entry:
    try:
        facts = entry.stat(follow_symlinks=False)
        archive = entry.name.lower().endswith(".zip")  # is looked into where it lies
        problem, size = _problem(facts) or ("" if archive else _size(facts.st_size)), facts.st_size
    except OSError as error:
        problem, size = f"The file could not be looked at: {error.strerror}.", 0
    return Entry(parts, File(entry.name, Path(entry.path), problem=problem), size)


def _size(size: int, most: int = MAX_FILE) -> str:
    return f"The file is larger than {most >> 20} MB." if size > most else ""


def _zip(path: Path) -> tuple[list[Area], dict[str, str]]:
    areas: dict[tuple[str, bool], Area] = {}
    strays = {}
    members = list(_members(path, ()))
    if all(parts[:1] == (WRAPPER,) for parts, _, _ in members if parts):
        members = [(parts[1:], entry, directory) for parts, entry, directory in members if len(parts) != 1]
    for parts, entry, directory in members:
        if not parts:
            strays[entry.file.name] = "the name leads out of the zip, or is none"
            continue
        folder = directory or len(parts) > 1
        area = areas.setdefault((parts[0], folder), Area(parts[0], folder))
        area.folders |= {parts[1]} if len(parts) > 1 and (directory or len(parts) > 2) else set()
        if not directory:
            area.add(Entry(parts[1:], entry.file, entry.size))
    return [areas[key] for key in sorted(areas)], strays


def _members(path: Path, inside: tuple[int, ...]) -> Iterator[tuple[tuple[str, ...], Entry, bool]]:
    """(safe parts or (), file, whether it is a folder) of each entry of a zip."""
    entries = archive_of(path, inside).infolist()
    names = [_decoded(info) for info in entries]
    times: dict[str, int] = {}
    for name in names:
        times[name] = times.get(name, 0) + 1
    for index, (info, name) in enumerate(zip(entries, names, strict=True)):
        parts = safe_parts(name)
        if JUNK & set(parts) or (parts and parts[-1].startswith("._")):
            continue
        problem = _zip_problem(info)
        if times[name] > 1:
            problem = "The zip holds two files of this name."
        file = File(parts[-1] if parts else name[:200], path, (*inside, index), problem=problem)
        yield parts, Entry(parts, file, info.file_size), info.is_dir()


def _decoded(info: zipfile.ZipInfo) -> str:
    """The name: without the flag for UTF-8, zipfile reads as of old what many programs write as UTF-8."""
    name = info.orig_filename
    if not info.flag_bits & 0x800:
        with contextlib.suppress(UnicodeError):
            return name.encode("cp437").decode("utf-8")
    return name


def _zip_problem(info: zipfile.ZipInfo) -> str:
    if stat.S_ISLNK(info.external_attr >> 16):
        return "The file is a link, not a file of its own."
    if info.flag_bits & 1:
        return "The zip is protected by a password."
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "The zip is compressed in an unusual way; make another one."
    if info.filename.lower().endswith(".zip"):
        return _size(info.file_size, MAX_NESTED_ZIP)
    return _size(info.file_size)


def safe_parts(name: str) -> tuple[str, ...]:
    r"""The parts of a name in a zip, () for one that is absolute, leads upwards or holds what no name has.

    >>> safe_parts("ada/./one.ipynb"), safe_parts("../one.ipynb"), safe_parts("C:\\one")
    (('ada', 'one.ipynb'), (), ())
    """
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    unsafe = name.startswith("/") or ".." in parts or "\\" in name or any(ord(c) < 32 for c in name[:1000])
    unsafe = unsafe or len(name) > 1000 or any(len(part) > 255 for part in parts)
    return () if unsafe or len(parts) > 2 * MAX_DEPTH else parts


def unzipped(entry: Entry) -> list[Entry]:
    """The files of a student's own zip as if they lay where it lies. Raises Unreadable."""
    if entry.file.problem:
        raise Unreadable(entry.file.problem)
    if len(entry.file.inside) >= MAX_NESTED:
        raise Unreadable(f"Zips lie more than {MAX_NESTED} deep in each other.")
    try:
        members = list(itertools.islice(_members(entry.file.path, entry.file.inside), MAX_OWN))
    except ZIP_ERRORS as error:
        raise Unreadable(f"The zip could not be read: {type(error).__name__}.") from error
    front = entry.parts[:-1]
    return [
        Entry((*front, *parts), inner.file, inner.size)
        for parts, inner, folder in members
        if parts and not folder
    ]
