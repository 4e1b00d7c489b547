"""What was handed in, and by whom: files are read and not executed, every surprise is a sentence.

What the input is, is decided once for all of it: nbgrader's `submitted/` tree, the download of a learning
platform, or files that a person put together. It is then read by that form alone. In a tree the folder is the
student, on a platform its number is, and nothing that a student names himself can lead to somebody else.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from autograder.grading import files, platforms
from autograder.grading.files import MAX_FILE, Area, Entry, File, Unreadable
from autograder.grading.inside.frames import WireError, parsed
from rslib.errors import DataError

__all__ = ["MAX_FILE", "File", "Found", "Raw", "Submission", "Unreadable", "cells", "find"]

MAX_CELLS = 5_000
MAX_SOURCE = 200_000
MAX_TEXT = 2_000_000
"""Characters of all cells of a notebook."""
MAX_EXTRAS = 100
MAX_EXTRA_BYTES = 50 << 20
MAX_ID = 100
MAX_ZIPS = 8
"""Zips of one student that are looked into."""
TREE, PLAIN = "nbgrader's submitted/ tree", "files that a person put together"
FORMS = (*platforms.READERS, TREE, PLAIN)
STAMP = "timestamp.txt"
COPY = (
    r"(?:[^\W\d_]+ ){{0,6}}[“「\"']?{name}(?:\.ipynb)?[”」\"']?"
    r"(?:(?: - |[ _-])(?:copy|copie|kopie|kopia|copia)? ?\(?(?P<version>\d{{1,3}})?\)?"
    r"|\((?P<number>\d{{1,3}})\)"
    r"|的副本| ?のコピー|의 사본)?"
)
"""What a copy of NAME is called by browsers, Jupyter, Windows, Colab ("Copy of NAME" in any language)."""
COPY_OF = {
    *("copy of", "copy", "kopie von", "kopie", "copie de", "copie", "copia de", "copia di", "copia"),
    *("cópia de", "kopie van", "kopia", "kopia av", "kopi av", "kopi af", "копия", "копія", "final", "new"),
}
NOTEBOOK = re.compile(r"\.ipynb(?:\.txt|\.json)?$", re.IGNORECASE)


@dataclass
class Submission:
    """What one student handed in for one assignment. `when`: the collector's time, UTC, or None.

    extras: ordinary files beside the notebooks, by their path from there (with /). notes: sentences for the
    student. problem: why all of it counts as blank, or "". platform and number: the learning platform's.
    """

    student: str
    assignment: str
    files: dict[str, File] = field(default_factory=dict)
    problem: str = ""
    when: datetime.datetime | None = None
    extras: dict[str, File] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    platform: str = ""
    number: str = ""


@dataclass
class Found:
    """All submissions; files that belong to nobody, with the reason; what a person has to look at."""

    submissions: list[Submission]
    strays: dict[str, str]
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Item:
    """A file of a student: where it lies among his own files, and of which attempt it is."""

    parts: tuple[str, ...]
    entry: Entry
    attempt: tuple[str | int, ...] = ()
    zipped: bool = False

    @property
    def name(self) -> str:
        """The file's own name."""
        return self.parts[-1]

    @property
    def shown(self) -> str:
        """Its name for people, without what could act in a terminal."""
        text = "/".join(self.parts)
        return "".join(c if c.isprintable() else "\ufffd" for c in text)[:120]


@dataclass
class Handed:
    """All that one student handed in."""

    student: str
    number: str = ""
    items: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folders: set[str] = field(default_factory=set)


def find(where: Path, notebooks: Mapping[str, Sequence[str]], *, others: Collection[str] = ()) -> Found:
    """The submissions in a folder or zip. Raises DataError where it can not be read.

    Args:
        where: the folder or zip.
        notebooks: names of notebooks by assignment.
        others: assignments of the course that are not graded now; their folders in a tree are passed over.
    """
    areas, strays = files.listing(where)
    reader = _Reader(_form(areas, notebooks, others), notebooks, others, strays)
    if reader.form == PLAIN and len(areas) == 1 and _holds_a_class(areas[0], notebooks):
        fix = f"Name that folder itself (of a zip: unpack it first): {areas[0].name[:80]!r}."
        raise DataError("all lies in one folder, which would be one student", where=str(where), fix=fix)
    handed = reader.students(areas)
    submissions = list(reader.tree(handed) if reader.form == TREE else reader.downloads(handed, where))
    reader.warnings += _alike([submission.student for submission in submissions])
    submissions.sort(key=lambda submission: (submission.student, submission.assignment))
    return Found(submissions, strays, reader.warnings)


# Which form the input has -----------------------------------------------------------------------------------


def _form(areas: list[Area], notebooks: Mapping[str, Sequence[str]], others: Collection[str]) -> str:
    """The form of most names of the top level; on a tie the stricter form."""
    known = {*notebooks, *others}
    forms = Counter(_form_of(area, notebooks, known) for area in areas)
    return max(FORMS, key=lambda form: (forms[form], -FORMS.index(form)))


def _form_of(area: Area, notebooks: Mapping[str, Sequence[str]], known: set[str]) -> str:
    for form, read in platforms.READERS.items():
        if read(area.name) is not None and not _by_hand(area, notebooks):
            return form
    return TREE if area.folder and area.folders & known else PLAIN


def _by_hand(area: Area, notebooks: Mapping[str, Sequence[str]]) -> bool:
    """Whether STUDENT_NOTEBOOK.ipynb looks like Canvas's name because the notebook's begins with numbers."""
    names = [name for some in notebooks.values() for name in some if re.match(r"\d+_\d+_", name)]
    plain = _before(area.name, names) if not area.folder else None
    return plain is not None and not re.search(r"_\d+_\d+(_|$)", plain[0])


def _holds_a_class(area: Area, notebooks: Mapping[str, Sequence[str]]) -> bool:
    """Whether the only folder looks like a class and not like a student."""
    names = [name for some in notebooks.values() for name in some]
    children = {entry.parts[0]: len(entry.parts) > 1 for entry in area.entries if entry.parts}
    if any(read(child) for child in children for read in platforms.READERS.values()):
        return True
    files_here = [child for child, folder in children.items() if not folder and not _match(child, names)]
    if any(_before(child, names) for child in files_here):
        return True
    inside = [e.parts for e in area.entries if len(e.parts) > 1 and _match(e.parts[-1], names)]
    return len({parts[0] for parts in inside}) > 1 or any(
        set(parts[1:-1]) & notebooks.keys() for parts in inside
    )


# Whose what is ----------------------------------------------------------------------------------------------


@dataclass
class _Reader:
    """Reads one input by its form."""

    form: str
    notebooks: Mapping[str, Sequence[str]]
    others: Collection[str]
    strays: dict[str, str]
    warnings: list[str] = field(default_factory=list)

    def students(self, areas: Sequence[Area]) -> list[Handed]:
        """Everything by student."""
        handed: dict[str, Handed] = {}
        shape: dict[str, bool] = {}
        users = _receipts(areas) if self.form == "Blackboard" else {}
        for area in sorted(areas, key=lambda area: (not area.folder, area.name)):
            name = self._whose(area)
            if isinstance(name, platforms.Name) and self.form == PLAIN:
                if shape.setdefault(name.student, area.folder) != area.folder:
                    name = f"there is a folder {name.student!r} too, and the folder counts"
            if isinstance(name, str):
                self._stray(area, name)
            else:
                student = users.get(name.whole, name.student)
                self.warnings += [f"{student}: {area.problem}"] if area.problem else []
                _add(handed.setdefault(name.key, Handed(student, name.number)), area, name)
        self._apart(handed)
        return list(handed.values())

    def _apart(self, handed: Mapping[str, Handed]) -> None:
        """Give people whose names come out alike longer ids."""
        times = Counter(handed_in.student for handed_in in handed.values())
        for key, handed_in in handed.items():
            if times[handed_in.student] > 1:
                longer = f"{platforms.readable(key)}_{hashlib.sha256(key.encode()).hexdigest()[:6]}"
                self.warnings.append(f"Several people are called {handed_in.student!r}; one is {longer!r}.")
                handed_in.student = longer

    def _whose(self, area: Area) -> platforms.Name | str:
        """Whose it is, or why that is not known."""
        if self.form in platforms.READERS:
            name = platforms.READERS[self.form](area.name)
            if (
                self.form == "Canvas"
                and name
                and re.search(r"(^|_)\d+_\d+_.*\.zip$", name.rest, re.IGNORECASE)
            ):
                return "its name can be read in two ways; rename it"
            return name or f"not named as {self.form} names what it gives out"
        if self.form == TREE and not area.folder:
            return "not in a student's folder"
        student, rest, version = area.name, "", 0
        if not area.folder:
            names = [name for some in self.notebooks.values() for name in some]
            parts = _before(area.name, [*names, *self.notebooks]) or _student_zip(area.name, names)
            if parts is None:
                return "no student's name and notebook's name"
            student, rest, version = parts
            if student.casefold() in COPY_OF:
                return "the copy of a notebook, without a student's name"
        elif self.form == PLAIN and area.name in {*self.notebooks, *self.others}:
            return "the name of an assignment and no student's"
        return _no_id(student) or platforms.Name(student, attempt=(version,) if rest else (), rest=rest)

    def _stray(self, area: Area, why: str) -> None:
        if self.form == "Brightspace" and area.name == "index.html":  # its own list of what it gives out
            return
        for entry in area.entries:
            self.strays["/".join((area.name, *entry.parts))] = entry.file.problem or why
        if not area.entries:
            self.strays[area.name] = area.problem or why

    # One student's files ------------------------------------------------------------------------------------

    def tree(self, students: Sequence[Handed]) -> Iterator[Submission]:
        """Submissions of a tree: STUDENT/ASSIGNMENT/NOTEBOOK.ipynb, and nothing else is one."""
        for student in students:
            for assignment in sorted(student.folders & self.notebooks.keys()):
                items = [item for item in student.items if item.parts[0] == assignment and item.parts[1:]]
                inside = replace(student, items=[replace(item, parts=item.parts[1:]) for item in items])
                yield self._submission(inside, assignment)
            for item in student.items:
                if item.parts[0] not in {*self.notebooks, *self.others} or len(item.parts) == 1:
                    why = item.entry.file.problem or "not in the folder of an assignment"
                    self.strays[f"{student.student}/{item.shown}"] = why

    def downloads(self, students: Sequence[Handed], where: Path) -> Iterator[Submission]:
        """Submissions of a download: a notebook's name tells the assignment. Raises DataError for two."""
        names = Counter(name for some in self.notebooks.values() for name in some)
        several = [name for name, times in names.items() if times > 1]
        if several:
            fix = "Grade one assignment at a time: --assignment NAME."
            raise DataError(f"several assignments have a notebook {several[0]!r}", where=str(where), fix=fix)
        wanted: dict[str, set[str]] = {}
        for student in students:
            student.items = _with_zips(student, list(names))
            fits = [match[0] for item in student.items if (match := _match(item.name, list(names)))]
            wanted[student.student] = {a for a, some in self.notebooks.items() if set(some) & set(fits)}
        seen = set().union(*wanted.values()) if len(self.notebooks) > 1 else set(self.notebooks)
        for student in students:
            chosen = wanted[student.student] or (seen if len(seen) == 1 else set())
            for assignment in sorted(chosen):
                yield self._submission(student, assignment)
            for item in [] if chosen else student.items:
                self.strays[f"{student.student}: {item.shown}"] = "no notebook of an assignment"

    def _submission(self, handed: Handed, assignment: str) -> Submission:
        made = Submission(handed.student, assignment, notes=list(handed.notes), number=handed.number)
        made.platform = self.form if self.form in platforms.READERS else ""
        names = self.notebooks[assignment]
        candidates = handed.items
        self._time(made, handed)
        if self.form == TREE:
            handed = replace(handed, items=_with_zips(handed, names, most=1))
            candidates = [item for item in handed.items if len(item.parts) == 1 or item.zipped]
            made.notes += [text for text in handed.notes if text not in made.notes]
        chosen = [item for name in names if (item := _choose(made, candidates, name, names)) is not None]
        _problems(made, handed, names)
        known = names if self.form == TREE else [name for some in self.notebooks.values() for name in some]
        counted = {id(item) for item in candidates if _match(item.name, known)}
        _extras(made, [item for item in _of_attempt(handed, chosen) if id(item) not in counted], chosen)
        return made

    def _time(self, made: Submission, handed: Handed) -> None:
        """Set the collector's time from timestamp.txt."""
        where = {TREE: (STAMP,), PLAIN: (made.assignment, STAMP)}.get(self.form)
        stamp = next((item for item in handed.items if item.parts == where), None)
        if stamp is None:
            return
        try:
            made.when, problem = moment(stamp.entry.file.read()[:200].decode("utf-8", "replace").strip())
        except Unreadable as error:
            problem = f"it could not be read ({error}), so that lateness is not known"
        if problem:
            made.notes.append(f"About {STAMP}: {problem}.")
            self.warnings.append(f"{made.student}, {made.assignment}, {STAMP}: {problem}.")


def _receipts(areas: Sequence[Area]) -> dict[str, str]:
    """Usernames by what stands before the attempt; receipts tell which underscore is a part of a name."""
    users = {}
    for area in areas:
        name = platforms.blackboard(area.name)
        if name is not None and name.receipt and area.entries:
            with contextlib.suppress(Unreadable):
                text = area.entries[0].file.read()[:1000].decode("utf-8-sig", "replace")
                user = re.search(r"\(([^()\s]+)\)\s*$", text.partition("\n")[0])
                if user and name.whole.endswith(f"_{user[1]}"):
                    users[name.whole] = platforms.readable(user[1])
    return users


def _add(handed: Handed, area: Area, name: platforms.Name) -> None:
    """Add to a student's files what lies below one of his names."""
    handed.folders |= area.folders
    handed.notes += [text for text in (area.problem, name.note) if text and text not in handed.notes]
    front = (name.rest or area.name,)
    for entry in () if name.receipt else area.entries:
        parts = entry.parts or front
        handed.items.append(Item(parts, replace(entry, parts=parts), name.attempt))


def _no_id(name: str) -> str:
    """Why a name of a folder or file cannot be a student's id, or "".

    >>> _no_id("Ada (Countess) O'Brien"), _no_id("-x") != ""
    ('', True)
    """
    kinds = [unicodedata.category(c) for c in name]
    long = len(name) > MAX_ID or len(name.encode("utf-8", "replace")) > 2 * MAX_ID
    if not name or kinds[0][0] not in "LN" or name[-1] in ". " or long:
        return f"no student's id: a letter or digit first, no dot or space last, up to {MAX_ID} characters"
    for letter, kind in zip(name, kinds, strict=True):
        if kind[0] not in "LMN" and kind != "So" and letter not in " _-'’.,()+@&!":
            return f"no student's id: it holds U+{ord(letter):04X}"
    return ""


def _alike(students: Sequence[str]) -> list[str]:
    """Sentences about ids that a file system or a reader may take for one."""
    spelled: dict[str, set[str]] = {}
    for student in students:
        plain = unicodedata.normalize("NFKC", student).casefold().replace("’", "'")
        spelled.setdefault(" ".join(plain.split()), set()).add(student)
    return [
        f"{', '.join(map(ascii, sorted(some)))} differ in spelling alone; they were kept apart."
        for some in spelled.values()
        if len(some) > 1
    ]


# Which file is which notebook -------------------------------------------------------------------------------


def _stem(name: str) -> str:
    return NOTEBOOK.sub("", unicodedata.normalize("NFC", name)) if NOTEBOOK.search(name) else ""


@lru_cache(maxsize=1000)
def _copies(name: str) -> re.Pattern[str]:
    return re.compile(COPY.format(name=re.escape(unicodedata.normalize("NFC", name))), re.IGNORECASE)


def _match(file: str, names: Sequence[str]) -> tuple[str, bool, int] | None:
    """(notebook, whether it bears its very name, number of the copy) of a student's file.

    >>> _match("Kopie von ps1 (2).ipynb", ["ps1"]), _match("ps12.ipynb", ["ps1"])
    (('ps1', False, 2), None)
    """
    stem = _stem(file)
    if not stem or len(stem) > 300:
        return None
    for name in names:
        if stem == unicodedata.normalize("NFC", name):
            return name, file.endswith(".ipynb"), 0
    for name in sorted(names, key=len, reverse=True):
        copy = _copies(name).fullmatch(stem)
        if copy:
            return name, False, int(copy["version"] or copy["number"] or 0)
    return None


def _before(file: str, names: Sequence[str]) -> tuple[str, str, int] | None:
    """(student, notebook's file, number of the copy) of STUDENT_NOTEBOOK.ipynb, by the longest known name.

    >>> _before("ada_01_one (1).ipynb", ["one", "01_one"])
    ('ada', '01_one.ipynb', 1)
    """
    archive = file.lower().endswith(".zip")
    stem = file[:-4].removesuffix(".ipynb") if archive else _stem(file)
    for name in sorted(names, key=len, reverse=True):
        pattern = rf"(.+?)[ _-]+{re.escape(name)}(?:-(\d{{1,3}})| ?\((\d{{1,3}})\))?"
        parts = re.fullmatch(pattern, stem, re.DOTALL)
        if parts:
            rest = file if archive else f"{name}.ipynb"
            return parts[1].rstrip("_- "), rest, int(parts[2] or parts[3] or 0)
    return None


def _student_zip(file: str, names: Sequence[str]) -> tuple[str, str, int] | None:
    """(student, file, 0) of STUDENT.zip."""
    stem = file[:-4].removesuffix(".ipynb")
    nobodys = _match(f"{stem}.ipynb", names) is not None
    return None if nobodys or not file.lower().endswith(".zip") else (stem, file, 0)


def _with_zips(handed: Handed, names: Sequence[str], most: int = files.MAX_DEPTH) -> list[Item]:
    """A student's files; where a notebook is missing, with those in his zips, which stay his. most: depth."""
    items, front, looked = list(handed.items), list(handed.items), 0
    for _ in range(files.MAX_NESTED):
        if all(any(_match(item.name, [name]) for item in items) for name in names):
            break
        zips = [i for i in front if i.name.lower().endswith(".zip") and (i.zipped or len(i.parts) <= most)]
        front = []
        for item in zips[: MAX_ZIPS - looked]:
            front += _inside(handed, item)
        looked += len(zips)
        items += front
    return items[: 2 * files.MAX_OWN]


def _inside(handed: Handed, item: Item) -> list[Item]:
    """The files in a student's zip; a sentence for him where it cannot be read."""
    try:
        inner = files.unzipped(replace(item.entry, parts=item.parts))
    except (Unreadable, *files.ZIP_ERRORS) as error:
        handed.notes.append(f"The zip {item.shown} could not be read: {error}")
        return []
    return [Item(entry.parts, entry, item.attempt, zipped=True) for entry in inner]


def _choose(made: Submission, items: Sequence[Item], name: str, names: Sequence[str]) -> Item | None:
    """The file that counts as a notebook: the latest attempt, the nearest, its very name, the last copy."""
    fits = [(i, fit) for i in items if (fit := _match(i.name, names)) is not None and fit[0] == name]
    if not fits:
        return None
    item, (_, exact, version) = max(fits, key=lambda fit: _rank(*fit))
    by_hand = item.attempt and not made.platform
    made.files[name] = replace(item.entry.file, version=item.attempt[0] if by_hand else version)
    if len(fits) > 1:
        attempt = f", attempt {item.attempt[0]}" if item.attempt and item.attempt[0] else ""
        made.notes.append(f"Of {len(fits)} files for {name} the one that counts is {item.shown}{attempt}.")
    elif not exact:
        made.notes.append(f"The file {item.shown} was taken for {name}.ipynb.")
    if made.platform and any(_dated(other) > _dated(item) for other in items):
        made.notes.append(f"A later attempt holds no {name}.ipynb; that of {item.attempt[0]} counts.")
    return item


def _dated(item: Item) -> str:
    """The time of its attempt, where the platform dates attempts and not files."""
    return item.attempt[0] if item.attempt and isinstance(item.attempt[0], str) else ""


def _rank(item: Item, fit: tuple[str, bool, int]) -> tuple[Any, ...]:
    _, exact, version = fit
    return item.attempt, -len(item.parts), not item.entry.file.problem, exact, version, item.shown


def _problems(made: Submission, handed: Handed, names: Sequence[str]) -> None:
    """Say why a submission is blank, as a whole or a notebook of it."""
    missing = [name for name in names if name not in made.files]
    if missing:
        shown = ", ".join(item.shown for item in handed.items[:5] if item.parts != (STAMP,)) or "nothing"
        problem = f"No file is named {missing[0]}.ipynb; handed in: {shown}."
        if len(missing) == len(names):
            made.problem = " ".join([problem, *made.notes])
        else:
            made.notes.append(problem)
    if len(names) == 1 and made.files:
        made.problem = made.files[names[0]].problem


def _extras(made: Submission, items: Sequence[Item], chosen: Sequence[Item]) -> None:
    """Keep a student's own ordinary files beside his notebook, within bounds; what is left out is told."""
    base = chosen[0].parts[:-1] if chosen else ()
    left, total = [], 0
    for item in sorted(items, key=lambda item: item.attempt, reverse=True):
        below = item.parts[len(base) :]
        if below == (STAMP,) and not made.platform:
            continue
        name, total = "/".join(below), total + item.entry.size
        safe = item.parts[: len(base)] == base and len(below) <= 4 and all(map(_safe, below))
        safe = safe and item.entry.size <= MAX_FILE and not item.entry.file.problem
        if safe and name not in made.extras and len(made.extras) < MAX_EXTRAS and total <= MAX_EXTRA_BYTES:
            made.extras[name] = item.entry.file
        else:
            left.append(item.shown)
    if left:
        more = f" and {len(left) - 20} more" if len(left) > 20 else ""
        made.notes.append(f"Left out of what was handed in: {', '.join(left[:20])}{more}.")


def _of_attempt(handed: Handed, chosen: Sequence[Item]) -> list[Item]:
    """The files of the attempt that counts, where the platform dates attempts and not files."""
    dated = {_dated(item) for item in chosen} - {""}
    return [item for item in handed.items if not dated or _dated(item) in dated]


def _safe(part: str) -> bool:
    return (
        part[0] not in ".-~ "
        and len(part) <= 100
        and all(unicodedata.category(c)[0] not in "CZ" or c == " " for c in part)
    )


def moment(text: str) -> tuple[datetime.datetime | None, str]:
    """The time (UTC, without a zone) in nbgrader's timestamp.txt by its own parsing, and what is wrong or "".

    A zone of digits is read as everybody means it; nbgrader takes "-0800" for seconds, which is told.

    >>> moment("2015-02-02 15:58:23.948203 America/Los_Angeles")
    (datetime.datetime(2015, 2, 2, 23, 58, 23, 948203), '')
    >>> moment("2015-02-02 15:58:23 -0800")[0].isoformat(), moment("soon")[0]
    ('2015-02-02T23:58:23', None)
    """
    from dateutil.tz import gettz
    from nbgrader.utils import parse_utc

    zone = text.split(" ")[2] if text.count(" ") == 2 else ""
    if zone and not re.fullmatch(r"[A-Za-z0-9_+:-]{1,40}(/[A-Za-z0-9_+-]{1,40}){0,2}", zone):
        return None, f"{text[:60]!r} names no time zone, so that lateness is not known"
    digits = re.fullmatch(r"([+-]\d\d):?(\d\d)?", zone)
    iso = f"{text[: -len(zone) - 1]}{digits[1]}:{digits[2] or '00'}" if digits else text
    try:
        when, theirs = parse_utc(iso), parse_utc(text)
    except (ValueError, ArithmeticError, TypeError, AttributeError):
        return None, f"{text[:60]!r} is no time, so that lateness is not known"
    if when != theirs:
        return when, f"{text[:60]!r} was read as {when} UTC; nbgrader's own programs read {theirs} UTC"
    if zone and not digits and gettz(zone) is None:
        return when, f"the time zone {zone[:40]!r} is not known; the time was taken for UTC, as nbgrader does"
    return when, ""


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
        notebook = parsed(_decoded(content))
    except WireError as error:
        raise Unreadable(f"The file is not a notebook: {error}.") from error
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        old = isinstance(notebook, dict) and "worksheets" in notebook
        fault = "in an old format" if old else "not a notebook"
        raise Unreadable(f"The file is {fault}; open it in JupyterLab and save it again.")
    if type(notebook.get("nbformat")) is not int or notebook["nbformat"] != 4:
        raise Unreadable("The notebook's format is not 4; open it in JupyterLab and save it again.")
    notes: list[str] = []
    taken = _short_enough([_raw(cell, notes) for cell in notebook["cells"][:MAX_CELLS]], notes)
    if len(notebook["cells"]) > MAX_CELLS:
        notes.append(f"The notebook has more than {MAX_CELLS} cells; the rest was left out.")
    return taken, list(dict.fromkeys(notes))


def _short_enough(cells: Sequence[Raw | None], notes: list[str]) -> list[Raw]:
    """The cells whose texts together have at most MAX_TEXT characters."""
    left, short = MAX_TEXT, []
    for cell in filter(None, cells):
        left -= len(cell.source)
        if left < 0:
            notes.append(f"The cells hold more than {MAX_TEXT:,} characters; the rest was left out.")
            break
        short.append(cell)
    return short


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
