"""A submission put together anew: the instructor's notebook, with the learner's text in the learner's places.

Learners delete, copy, move and rename; platforms drop metadata. So a learner's cell is known by its grade id,
else by its cell id, by a comment `# exercise: ID`, or by the names that it defines. A repair is a sentence.
Each cell is looked at a fixed number of times, and only so much of a submission's text is parsed.
"""

from __future__ import annotations

import ast
import hashlib
import os.path
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from autograder.grading.intake import Raw
from autograder.grading.needed import binds, needed

if TYPE_CHECKING:
    from autograder.grading.plan import Cell, Notebook

MAX_EXTRA = 300
"""Cells of a learner's own that are kept."""
PARSED = 300_000
"""Characters of a learner's code that are parsed for one purpose; a course notebook has some ten thousand."""
COMPARED = 10_000
"""Pairs of cells that are compared for likeness."""
MARKER = re.compile(r"^[ \t]*#[ \t]*exercise:[ \t]*(\S+)", re.IGNORECASE | re.MULTILINE)
TOKEN = re.compile(r"\w+|[^\w\s]")
ALIKE = 0.6
"""So similar is a changed cell to the released one."""


@dataclass(frozen=True)
class Step:
    """One cell of the rebuilt notebook: where its text comes from, and whether it is run."""

    cell: Cell | None
    kind: str
    source: str
    changed: bool
    run: bool = True

    @property
    def role(self) -> str:
        """The role of the instructor's cell; "extra" for one of the learner's own."""
        return self.cell.role if self.cell else "extra"


@dataclass(frozen=True)
class Rebuilt:
    """The steps, the grade ids of answers that are as released, and sentences about what was repaired.

    answers: a hash of each answer, blanks and comments left out; "" for one that was not given.
    """

    steps: tuple[Step, ...]
    blank: frozenset[str]
    notes: tuple[str, ...]
    answers: Mapping[str, str] = field(default_factory=dict)


def rebuild(notebook: Notebook, raw: Sequence[Raw]) -> Rebuilt:
    """The notebook to be graded."""
    notes: list[str] = []
    texts = [stripped(cell.source) for cell in raw]
    places = _answers(notebook, raw, texts, notes)
    places |= _others(notebook, raw, texts, places)
    owner = {row: place for place, row in places.items()}
    steps = [
        _step(cell, raw[places[cell.place]] if cell.place in places else None) for cell in notebook.cells
    ]
    extras = [row for row in _extras(notebook, raw, texts) if row not in owner]
    if len(extras) > MAX_EXTRA:
        notes.append(f"Only the first {MAX_EXTRA} of your own cells were kept.")
    blank = frozenset(
        s.cell.grade_id for s in steps if s.role == "answer" and same_text(s.source, s.cell.release)
    )
    placed = _placed(steps, extras[:MAX_EXTRA], len(raw), owner)
    placed = [Step(None, raw[s].kind, raw[s].source, True) if isinstance(s, int) else s for s in placed]
    if notebook.lazy:
        placed = _needed(placed)
    _tell_missing(notebook, texts, places, notes)
    return Rebuilt(tuple(placed), blank, tuple(notes), _hashes(steps, blank))


def stripped(source: str) -> str:
    r"""A text without blanks at its ends and at the ends of its lines.

    >>> stripped(" a \n b\n")
    'a\n b'
    """
    return "\n".join(line.rstrip() for line in source.strip().split("\n"))


def same_text(text: str, other: str) -> bool:
    """Whether two cells say the same, blanks at the ends of lines left out."""
    return stripped(text) == stripped(other)


def _extras(notebook: Notebook, raw: Sequence[Raw], texts: Sequence[str]) -> list[int]:
    """The learner's own cells, if nothing else claims them: not empty, no second copy of an instructor's."""
    known = {c.grade_id for c in notebook.cells if c.grade_id}
    copied = {stripped(c.release) for c in notebook.cells if c.role != "plain"}
    return [
        k for k, cell in enumerate(raw) if texts[k] and texts[k] not in copied and cell.grade_id not in known
    ]


def _step(cell: Cell, raw: Raw | None) -> Step:
    takes = raw is not None and (cell.role == "answer" or (cell.role == "plain" and cell.kind == "code"))
    source = raw.source if takes else cell.release
    if cell.role in ("test", "locked"):
        source = cell.source
    return Step(cell, cell.kind, source, takes and not same_text(raw.source, cell.release))


# Which cell is which ----------------------------------------------------------------------------------------


def _answers(
    notebook: Notebook, raw: Sequence[Raw], texts: Sequence[str], notes: list[str]
) -> dict[int, int]:
    """Place in the instructor's notebook -> place in the learner's, for the learner's cells."""
    rows_by_cell: dict[int, int] = {}
    by_grade_id = _index(range(len(raw)), lambda k: [(raw[k].grade_id, raw[k].kind)])
    for cell in notebook.answers:
        rows = by_grade_id[cell.grade_id, cell.kind]
        if rows:
            rows_by_cell[cell.place] = _best(rows, texts, cell)
            if len(rows) > 1:
                notes.append(
                    f"There were {len(rows)} copies of the cell {cell.grade_id}; the last filled one counts."
                )
    nameless = [k for k, cell in enumerate(raw) if not cell.grade_id]
    for sign, search in (
        ("its cell id", _by_id),
        ("its comment", _by_marker),
        ("the names that it defines", _by_names),
    ):
        missing = [cell for cell in notebook.answers if cell.place not in rows_by_cell]
        used = set(rows_by_cell.values())
        rows_of = search([k for k in nameless if k not in used], raw) if missing else None
        for cell in missing:
            rows = [k for k in rows_of(cell) if k not in used and raw[k].kind == cell.kind]
            if rows:
                rows_by_cell[cell.place] = _best(rows, texts, cell)
                used.add(rows_by_cell[cell.place])
                notes.append(f"The cell {cell.grade_id} had lost its metadata and was known by {sign}.")
    return rows_by_cell


def _index(
    rows: Iterable[int], keys: Callable[[int], Iterable[Hashable]]
) -> defaultdict[Hashable, list[int]]:
    """The rows of each key, in their order."""
    index: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row in rows:
        for key in dict.fromkeys(keys(row)):
            index[key].append(row)
    return index


def _best(rows: Sequence[int], texts: Sequence[str], cell: Cell) -> int:
    """The last copy that says something of its own, else the last."""
    released = stripped(cell.release)
    return next((k for k in reversed(rows) if texts[k] not in ("", released)), rows[-1])


Search = Callable[["Cell"], Iterable[int]]
"""The rows that may be a cell."""


def _by_id(rows: Sequence[int], raw: Sequence[Raw]) -> Search:
    index = _index(rows, lambda k: [raw[k].id])
    return lambda cell: index[cell.id] if cell.id else []


def _by_marker(rows: Sequence[int], raw: Sequence[Raw]) -> Search:
    index = _index(rows, lambda k: MARKER.findall(raw[k].source))
    return lambda cell: sorted({*index[cell.grade_id], *index[cell.grade_id.replace("_", ".")]})


def _by_names(rows: Sequence[int], raw: Sequence[Raw]) -> Search:
    known = {k: binds(raw[k].source) for k in _affordable(rows, lambda k: raw[k].source)}

    def search(cell: Cell) -> list[int]:
        wanted = binds(cell.release)
        return [k for k, names in known.items() if wanted and wanted <= names]

    return search


def _affordable(rows: Iterable[int], text: Callable[[int], str]) -> list[int]:
    """The first rows whose texts together are no longer than PARSED."""
    left, first = PARSED, []
    for row in rows:
        left -= len(text(row))
        if left >= 0:
            first.append(row)
    return first


def _others(
    notebook: Notebook, raw: Sequence[Raw], texts: Sequence[str], taken: Mapping[int, int]
) -> dict[int, int]:
    """The same for the instructor's cells: by grade id or cell id, by text, at last by likeness."""
    rows_by_cell: dict[int, int] = {}
    rows, used = range(min(len(raw), 2 * MAX_EXTRA)), set(taken.values())
    rest = [cell for cell in notebook.cells if cell.place not in taken and cell.role != "answer"]
    by_grade_id = _index(rows, lambda k: [raw[k].grade_id])
    by_text = _index(rows, lambda k: [texts[k]])
    by_id = _index(rows, lambda k: [] if raw[k].grade_id else [raw[k].id])
    for search in (
        lambda cell: by_grade_id[cell.grade_id] if cell.grade_id else [],
        lambda cell: by_text[stripped(cell.release)],
        lambda cell: by_id[cell.id] if cell.id else [],
        _by_likeness(rows, texts, used),
    ):
        for cell in rest:
            if cell.place not in rows_by_cell:
                row = next((k for k in search(cell) if k not in used and raw[k].kind == cell.kind), None)
                if row is not None:
                    rows_by_cell[cell.place] = row
                    used.add(row)
    return rows_by_cell


def _by_likeness(rows: Sequence[int], texts: Sequence[str], used: set[int]) -> Search:
    """Rows that are alike to a cell, until COMPARED pairs were compared."""
    pieces: dict[int, frozenset[Hashable]] = {}
    left = COMPARED

    def search(cell: Cell) -> Iterable[int]:
        nonlocal left
        if cell.role != "plain" or cell.kind != "code":
            return
        released, parts = stripped(cell.release), _pieces(cell.release)
        for row in rows:
            if row in used or not texts[row] or left <= 0:
                continue
            left -= 1
            if row not in pieces:
                pieces[row] = _pieces(texts[row])
            if _alike(released, parts, texts[row], pieces[row]):
                yield row

    return search


def _pieces(text: str) -> frozenset[Hashable]:
    """Words and marks of the beginning of a text and their pairs, each with how often it came before."""
    words = TOKEN.findall(text[:1500])
    pieces, times = set(), Counter()
    for piece in (*words, *zip(words, words[1:], strict=False)):
        pieces.add((piece, times[piece]))
        times[piece] += 1
    return frozenset(pieces)


def _alike(text: str, parts: frozenset[Hashable], compared: str, pieces: frozenset[Hashable]) -> bool:
    """Whether two texts share most of their words, or most of their beginning and end.

    >>> _alike("n = 100", _pieces("n = 100"), "n = 200", _pieces("n = 200"))
    True
    >>> _alike("import os", _pieces("import os"), "n = 200", _pieces("n = 200"))
    False
    """
    if 2 * len(parts & pieces) > ALIKE * (len(parts) + len(pieces)):
        return True
    a, b = text[:1500], compared[:1500]
    begins = len(os.path.commonprefix([a, b]))
    ends = len(os.path.commonprefix([a[begins:][::-1], b[begins:][::-1]]))
    return 2 * (begins + ends) > ALIKE * (len(a) + len(b))


def _placed(
    steps: Sequence[Step], extras: Sequence[int], rows: int, owner: Mapping[int, int]
) -> list[Step | int]:
    """The learner's own cells among the instructor's: behind the known cell before them, or before the next.

    Whichever comes first: a helper must stand before the answer that it helps, wherever that was moved.
    """
    following, index = [len(steps)] * (rows + 1), len(steps)
    for row in range(rows - 1, -1, -1):
        following[row] = index = owner.get(row, index)
    before: dict[int, list[int]] = {}
    last, mine = 0, set(extras)
    for row in range(rows):
        if row in owner:
            last = owner[row] + 1
        elif row in mine:
            before.setdefault(min(last, following[row]), []).append(row)
    merged: list[Step | int] = []
    for index in range(len(steps) + 1):
        merged += [*before.get(index, []), *steps[index : index + 1]]
    return merged


def _tell_missing(
    notebook: Notebook, texts: Sequence[str], places: Mapping[int, int], notes: list[str]
) -> None:
    for cell in notebook.cells:
        row = places.get(cell.place)
        if cell.role == "answer" and row is None:
            notes.append(f"The cell {cell.grade_id} was not found; it counts as not answered.")
        elif cell.role == "test" and row is None:
            notes.append(f"The check cell {cell.grade_id} was missing; it was restored.")
        elif cell.role == "test" and texts[row] != stripped(cell.release):
            notes.append(f"The check cell {cell.grade_id} had been changed; the original was used.")


# Which cells are run, and what was answered -----------------------------------------------------------------


def _needed(steps: Sequence[Step]) -> list[Step]:
    """The steps, with those marked that nothing needs. The first code cell always runs: it sets up.

    All run where a learner's text is too long to be understood.
    """
    code = [k for k, s in enumerate(steps) if s.kind == "code"]
    if sum(len(steps[k].source) for k in code if steps[k].changed) > PARSED:
        return list(steps)
    reads = [set(steps[k].cell.reads()) if steps[k].role == "test" else None for k in code]
    free = [steps[k].role == "plain" and not steps[k].changed and k != code[0] for k in code]
    wanted = {code[k] for k in needed([steps[k].source for k in code], reads, free)}
    return [replace(s, run=k in wanted or s.kind != "code") for k, s in enumerate(steps)]


def _hashes(steps: Sequence[Step], blank: frozenset[str]) -> dict[str, str]:
    answers = [k for k, s in enumerate(steps) if s.role == "answer"]
    short = set(_affordable(answers, lambda k: steps[k].source))
    hashes = {}
    for k in answers:
        name, source = steps[k].cell.grade_id, steps[k].source
        text = _normal(source) if k in short else _words(source)
        hashes[name] = "" if name in blank else hashlib.sha256(text).hexdigest()
    return hashes


def _normal(source: str) -> bytes:
    """A text so that blanks and comments make no difference."""
    try:
        return ast.unparse(ast.parse(source)).encode()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _words(source)


def _words(source: str) -> bytes:
    return " ".join(source.split()).encode("utf-8", "replace")
