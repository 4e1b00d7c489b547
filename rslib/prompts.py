"""Prompts of the embedded world, a file or a list, checked: the table that the road starts from."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib import tables, world
from rslib.config import require, unknown_name
from rslib.errors import DataError, translate_os_error
from rslib.tables import check_columns, column_kind, require_table
from rslib.world.prompts import SPLITS

if TYPE_CHECKING:
    from datasets import Dataset

EMBEDDED = "tiny"
"""The name of the embedded world, of its policy and of its reward model."""
EVERYDAY = "everyday"
"""300 prompts of daily life with the splits train (200), validation (40) and test (60); public domain."""
_WRITTEN_LATER = [name for name in tables.COLUMNS if name not in tables.REQUIRED["prompts"]]


def load_prompts(
    source: str | Path | Sequence[str] = EMBEDDED, split: str = "train", limit: int | None = None
) -> Dataset:
    """A prompts table: of a set that comes along ("tiny", "everyday"; a `split` of it), a file, or a list.

    `limit` keeps the first rows. Files are .txt (one prompt a line), .jsonl, .json or .csv with a column
    `prompt`.
    Raises ConfigError for an unknown split or a limit that the source cannot fill, DataError for a missing,
    empty or malformed file, blank prompts, or ids that occur twice.
    """
    if source == EMBEDDED:
        return world.load_prompts(split, limit)
    if source == EVERYDAY:
        table = _everyday(split)
    else:
        table = _read_prompts(source) if isinstance(source, (str, Path)) else as_prompts(source)
    return table if limit is None else first_rows(table, limit)


def _everyday(split: str) -> Dataset:
    """The prompts of one split of everyday.txt with their `kind`; any first rows of it mix all kinds."""
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS, "load_prompts")
    lines = Path(__file__).with_name("everyday.txt").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split(" | ") for line in lines]
    return as_prompts(
        [
            {"prompt_id": f"everyday-{number:03}", "kind": kind, "prompt": prompt}
            for number, (home, kind, prompt) in enumerate(rows)
            if home == split
        ]
    )


def first_rows(prompts: Dataset, limit: int) -> Dataset:
    """The first `limit` prompts. Raises ConfigError when there are fewer, or none are asked for."""
    fix = f"Use 1 to {len(prompts)}, as many as there are."
    require(1 <= limit <= len(prompts), f"the limit of prompts is {limit}", "load_prompts", fix)
    return tables.take(prompts, range(limit))


def as_prompts(prompts: Dataset | Sequence[str] | Sequence[Mapping[str, Any]]) -> Dataset:
    """A checked prompts table from a table, a list of texts, or a list of mappings with a "prompt".

    Prompts without a prompt_id are named p00000, p00001, ... in order. Further columns are carried.
    Raises DataError, with the row, for no prompts at all, a prompt that is blank or no text, an id that
    stands twice, or a column that a later stage writes (`response`, `reward`, ...).

    >>> as_prompts(["What is 2 + 2?", "Name a bird."])["prompt_id"][:]
    ['p00000', 'p00001']
    """
    if hasattr(prompts, "column_names"):
        return _checked_prompt_table(prompts)
    if isinstance(prompts, (str, bytes, Mapping)) or not isinstance(prompts, Iterable):
        raise DataError(
            f"the prompts are one {type(prompts).__name__}, not a list",
            where="as_prompts",
            fix="Put a single prompt in a list; of several splits pass one.",
        )
    if hasattr(prompts, "to_dict"):  # a pandas table, whose items are the names of its columns
        prompts = prompts.to_dict("records")
    return _prompt_records(list(prompts), where="prompts")


def _read_prompts(path: str | Path) -> Dataset:
    """Prompts from a file: .txt (one a line), .jsonl, .json (a list), or .csv with a "prompt" column.

    Blank lines at the end do not count; a blank line between prompts is an empty prompt, hence an error.
    Raises DataError naming the line for what `as_prompts` refuses and for what cannot be read, StoreError
    when the file is not there or not readable.
    """
    path = Path(path)
    readers = {".txt": _read_txt, ".jsonl": _read_jsonl, ".json": _read_json, ".csv": _read_csv}
    try:
        text = path.read_text(encoding="utf-8-sig").rstrip()
    except UnicodeDecodeError as err:
        what = f"the file is not UTF-8 (byte {err.start})"
        raise DataError(what, where=str(path), fix="Save it as UTF-8.") from err
    except OSError as err:
        raise translate_os_error(err, where=str(path)) from err
    if path.suffix.lower() not in readers:
        what = f"the ending '{path.suffix}' says not how to read the prompts"
        raise DataError(what, where=str(path), fix=f"Use one of {', '.join(readers)}.")
    reader = readers[path.suffix.lower()]
    numbers, records = [], []
    for number, record in reader(text, str(path)):
        numbers.append(number)
        records.append(record)
    return _prompt_records(records, where=str(path), places=numbers)


def check_prompts(table: Dataset) -> None:
    """Raise DataError unless `table` is a prompts table: ids unique, prompts not blank, at least one row."""
    check_columns(table, "prompts")
    ids, texts = table["prompt_id"][:], table["prompt"][:]
    _check_ids(ids, "prompts", [f"row {row}" for row in range(len(ids))])
    for row, text in enumerate(texts):
        if not text.strip():
            raise _blank(f"row {row} of prompts, prompt_id '{ids[row]}'")


def _checked_prompt_table(table: Dataset) -> Dataset:
    require_table(table, "prompts")
    _refuse_written_later(table.column_names, "prompts")
    if "prompt_id" not in table.column_names or column_kind(table, "prompt_id") == "integer":
        return _prompt_records(table.to_list(), where="prompts")
    check_prompts(table)
    return table


def _prompt_records(records: Sequence[Any], where: str, places: Sequence[str] | None = None) -> Dataset:
    """The table of `records` (strings or mappings); `places` say where each one stands ("line 3")."""
    from datasets import Dataset

    places = places or [f"row {row}" for row in range(len(records))]
    if not records:
        raise DataError("there are no prompts", where=where, fix="Give at least one prompt.")
    rows = [_prompt_record(record, row, f"{places[row]} of {where}") for row, record in enumerate(records)]
    _check_ids([row["prompt_id"] for row in rows], where, places)
    names = list(dict.fromkeys(name for row in rows for name in row))
    _refuse_written_later(names, where)
    try:
        return Dataset.from_dict({name: [row.get(name) for row in rows] for name in names})
    except (ValueError, TypeError) as err:  # Arrow's errors are ValueErrors
        raise DataError(
            f"a column mixes types ({err})", where=where, fix="Give each column values of one type."
        ) from err


def _prompt_record(record: Any, row: int, where: str) -> dict[str, Any]:
    fields = dict(record) if isinstance(record, Mapping) else {"prompt": record}
    if "prompt" not in fields:
        names = ", ".join(map(str, fields)) or "nothing"
        raise DataError("no 'prompt' here", where=where, fix=f"Name the text 'prompt'; found: {names}.")
    prompt, prompt_id = fields.pop("prompt"), fields.pop("prompt_id", None)
    if not isinstance(prompt, str):
        what = f"the prompt is not text but {type(prompt).__name__}"
        raise DataError(what, where=where, fix="Give each prompt as text.")
    if not prompt.strip():
        raise _blank(where)
    name = f"p{row:05d}" if prompt_id is None else str(prompt_id)
    return {"prompt_id": name, "prompt": prompt, **fields}


def _check_ids(ids: Sequence[str], where: str, places: Sequence[str]) -> None:
    if not len(ids):
        raise DataError("there are no prompts", where=where, fix="Give at least one prompt.")
    first: dict[str, int] = {}
    for row, prompt_id in enumerate(ids):
        before = first.setdefault(prompt_id, row)
        if before != row or not prompt_id:
            what = f"the prompt_id '{prompt_id}' stands twice" if prompt_id else "a prompt_id is empty"
            rows = f"{places[before]} and {places[row]}" if prompt_id else places[row]
            raise DataError(what, where=f"{where}, {rows}", fix="Give each prompt an id of its own.")


def _refuse_written_later(names: Sequence[str], where: str) -> None:
    taken = [name for name in names if name in _WRITTEN_LATER]
    if taken:
        raise DataError(
            f"the prompts have a column '{taken[0]}', which a later stage writes",
            where=where,
            fix="Rename or drop it; known-good responses can be carried as 'reference'.",
        )


def _blank(where: str) -> DataError:
    return DataError("the prompt is empty", where=where, fix="Write a prompt there or remove the row.")


def _lines(text: str) -> list[str]:
    # At "\n" alone: str.splitlines would also cut at separators that a prompt may hold.
    return text.split("\n") if text else []


def _read_txt(text: str, where: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(_lines(text), start=1):
        yield f"line {number}", line


def _read_jsonl(text: str, where: str) -> Iterator[tuple[str, Any]]:
    for number, line in enumerate(_lines(text), start=1):
        yield f"line {number}", _parsed(line, f"line {number} of {where}")


def _read_json(text: str, where: str) -> Iterator[tuple[str, Any]]:
    records = _parsed(text, where) if text else []
    if not isinstance(records, list):
        raise DataError(
            "the file does not hold a list", where=where, fix='Write [{"prompt": ...}, ...] or use .jsonl.'
        )
    for number, record in enumerate(records, start=1):
        yield f"item {number}", record


def _read_csv(text: str, where: str) -> Iterator[tuple[str, dict[str, str]]]:
    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        head = next(lines, [])
        if len(set(head)) < len(head):
            raise DataError("two columns share a name", where=f"line 1 of {where}", fix="Rename one.")
        for fields in lines:
            line = f"line {lines.line_num}"
            if not fields:
                raise _blank(f"{line} of {where}")
            if len(fields) != len(head):
                what = f"{len(fields)} fields under {len(head)} column names"
                raise DataError(what, where=f"{line} of {where}", fix="Quote fields that hold a comma.")
            yield line, dict(zip(head, fields, strict=True))
    except csv.Error as err:
        line = f"line {lines.line_num} of {where}"
        raise DataError(f"not valid CSV ({err})", where=line, fix="Mend the quotes there.") from err


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as err:
        what = f"not valid JSON ({err.msg} at line {err.lineno}, column {err.colno})"
        raise DataError(
            what, where=where, fix="Write one JSON value there, strings in double quotes."
        ) from err
