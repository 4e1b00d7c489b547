"""Prompts of a set that comes along, a file, the hub or a list, checked row by row: where the road starts."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib import messages, tables, world
from rslib.config import TOO_LONG, require, unknown_name
from rslib.errors import DataError, RSError
from rslib.progress import note
from rslib.sources import records_of
from rslib.tables import check_columns, column_kind, require_table
from rslib.world.prompts import SPLITS

if TYPE_CHECKING:
    from datasets import Dataset

EMBEDDED = "tiny"
"""The name of the embedded world, of its policy and of its reward model."""
EVERYDAY = "everyday"
"""300 prompts of daily life with the splits train (200), validation (40) and test (60); public domain."""
_WRITTEN_LATER = [name for name in tables.COLUMNS if name not in tables.REQUIRED["prompts"]]
_LISTED = 10
"""How many rows that cannot be used are named one by one."""


def load_prompts(
    source: str | Path | Sequence[Any] = EMBEDDED,
    split: str = "train",
    limit: int | None = None,
    *,
    column: str = "prompt",
    system: str | None = None,
    too_long: str = "error",
) -> Dataset:
    """A prompts table: of a set that comes along ("tiny", "everyday"; a `split` of it), a file, or a list.

    A prompt is a text or chat messages. `rslib.sources.records_of` lists the files, folders and data sets of
    the hub that can be named; a list, or a table of datasets or pandas, is given as it is. `column` holds the
    prompts; further columns are carried. Prompts of a list without a prompt_id are named p00000, p00001, ...
    `system` is the system turn of all that have none. `limit` keeps the first rows. With `too_long="drop"`
    rows that cannot be used are left out, and named.
    Raises ConfigError for an unknown split or a limit that the source cannot fill, StoreError for a source
    that is not there, DataError for a malformed one, for no prompts at all, a column that a later stage
    writes (`response`, `reward`, ...) and, naming the line, for prompts that are blank, stand twice, are not
    UTF-8, or are no conversation that a policy can be given (see `rslib.messages.checked`).

    >>> load_prompts(["What is 2 + 2?", "Name a bird."])["prompt_id"][:]
    ['p00000', 'p00001']
    """
    return read_prompts(source, split, column=column, system=system).settled(too_long).first(limit).table


def read_prompts(
    source: str | Path | Sequence[Any],
    split: str = "train",
    *,
    column: str = "prompt",
    system: str | None = None,
) -> PromptRows:
    """As `load_prompts`, the rows that cannot be used left to the caller; those of the hub are left out."""
    if not isinstance(source, (str, Path)):
        rows = list_rows(source, column)
    elif source == EMBEDDED:
        rows = PromptRows(world.load_prompts(split), EMBEDDED)
    elif source == EVERYDAY:
        rows = PromptRows(_everyday(split), EVERYDAY)
    else:
        records, of_hub = records_of(str(source), split, column)
        rows = _checked_rows(records, str(source), column="prompt" if of_hub else column)
        if of_hub:  # nobody can mend a row there
            rows = rows.settled("drop")
    return dataclasses.replace(rows, table=_with_system(rows.table, system))


def _with_system(table: Dataset, system: str | None) -> Dataset:
    if not (system or "").strip():
        return table
    return tables.with_column(
        table, "prompt", [messages.with_system(prompt, system) for prompt in table["prompt"][:]]
    )


def _everyday(split: str) -> Dataset:
    """The prompts of one split of everyday.txt with their `kind`; any first rows of it mix all kinds."""
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS, "load_prompts")
    lines = Path(__file__).with_name("everyday.txt").read_text(encoding="utf-8").splitlines()[1:]
    rows = [line.split(" | ") for line in lines]
    return load_prompts(
        [
            {"prompt_id": f"everyday-{number:03}", "kind": kind, "prompt": prompt}
            for number, (home, kind, prompt) in enumerate(rows)
            if home == split
        ]
    )


# What was read, and what of it can be used ---------------------------------------------------------------


@dataclass(frozen=True)
class PromptRows:
    """Prompts as they were read: the `table` of those that can be used, and an error for each of the others.

    `source` names where they come from, `places` (prompt_id -> "line 3") where each stands; `cut`
    holds the ids of prompts that were shortened, `dropped` counts those that were left out.
    """

    table: Dataset
    source: str
    places: Mapping[str, str] = field(default_factory=dict)
    refused: tuple[RSError, ...] = ()
    cut: frozenset[str] = frozenset()
    dropped: int = 0

    def where(self, prompt_id: str) -> str:
        """Where a prompt stands, for a message."""
        if prompt_id not in self.places:
            return f"prompt_id '{prompt_id}' of {self.source}"
        return f"{self.places[prompt_id]} of {self.source}"

    def facts(self) -> dict[str, Any]:
        """What a report says of them."""
        counts = {"used": len(self.table), "left out": self.dropped, "cut": len(self.cut)}
        return {"source": self.source} | counts

    def settled(self, too_long: str = "error", *, show: bool = True) -> PromptRows:
        """These prompts without the refused ones; see `settle`."""
        return settle([self], too_long, show=show)[0]

    def first(self, limit: int | None) -> PromptRows:
        """The first `limit` prompts, None: all. Raises ConfigError when there are fewer, or for 0 of them."""
        if limit is None:
            return self
        fix = f"Use 1 to {len(self.table)}, as many as there are."
        require(1 <= limit <= len(self.table), f"the limit of prompts is {limit}", "load_prompts", fix)
        return dataclasses.replace(self, table=tables.take(self.table, range(limit)))

    def _kept(self, show: bool) -> PromptRows:
        for error in self.refused[:_LISTED]:
            note(f"left out: {error.what} ({error.where})", show)
        if len(self.refused) > _LISTED:
            note(f"left out: {len(self.refused) - _LISTED} more prompts of {self.source}", show)
        if not len(self.table):
            raise DataError("there are no prompts", where=self.source, fix="Give at least one prompt.")
        dropped = self.dropped + len(self.refused)
        return dataclasses.replace(self, refused=(), dropped=dropped)


def check_too_long(value: str) -> None:
    """Raise ConfigError unless it says what becomes of what has no room: "error", "drop" or "truncate"."""
    if value not in TOO_LONG:
        raise unknown_name("value of too_long", str(value), TOO_LONG, "too_long")


def settle(every: Sequence[PromptRows], too_long: str = "error", *, show: bool = True) -> list[PromptRows]:
    """Prompts of one or several sources without the refused ones, each of which a line names.

    Raises one error that names the refused rows of all of them, unless `too_long` is "drop" and some prompts
    are left; DataError when there are no prompts at all.
    """
    check_too_long(too_long)
    empty = [rows for rows in every if rows.refused and not len(rows.table)]
    errors = [error for rows in every for error in rows.refused]
    if errors and (too_long != "drop" or empty):
        raise _refusal(errors)
    return [rows._kept(show) for rows in every]


def _refusal(errors: Sequence[RSError]) -> RSError:
    """The error of the first row, with the others in its place."""
    first, *others = errors
    if not others:
        return first
    more = [f"{error.where} ({error.what})" for error in others[: _LISTED - 1]]
    more += ["..."] if len(others) >= _LISTED else []
    what = f"{len(errors)} prompts cannot be used; one of them: {first.what}"
    fix = f"{first.fix} Or leave these rows out: --too-long drop (in Python too_long='drop')."
    return type(first)(what, where=f"{first.where}; {'; '.join(more)}", fix=fix)


def list_rows(prompts: Any, column: str = "prompt") -> PromptRows:
    """The rows of a table (of datasets or pandas) or of a list; `column` holds the prompts."""
    if hasattr(prompts, "column_names"):
        require_table(prompts, "prompts")
        if column == "prompt" and _is_checked(prompts):
            check_prompts(prompts)
            return PromptRows(prompts, "prompts")
        prompts = prompts.to_list()
    if isinstance(prompts, (str, bytes, Mapping, set, frozenset)) or not _is_iterable(prompts):
        raise DataError(
            f"the prompts are one {type(prompts).__name__}, not a list",
            where="load_prompts",
            fix="Put a single prompt in a list; of several splits pass one.",
        )
    if hasattr(prompts, "to_dict"):  # of pandas: the items of a table would be the names of its columns
        prompts = _pandas_records(prompts)
    records = [(f"row {row}", record) for row, record in enumerate(prompts)]
    return _checked_rows(records, "prompts", column, by_text=False)


def _is_iterable(value: Any) -> bool:
    try:
        iter(value)
    except TypeError:  # also of an array without dimensions, whose class says otherwise
        return False
    return True


def _pandas_records(prompts: Any) -> list[Any]:
    """The rows of a table of pandas, or the values of a Series."""
    if not hasattr(prompts, "columns"):
        return prompts.tolist()
    if not prompts.columns.is_unique:
        raise DataError("two columns share a name", where="prompts", fix="Rename one.")
    return prompts.astype(object).where(prompts.notna(), None).to_dict("records")  # pandas' NaN: nothing


def check_prompts(table: Dataset) -> None:
    """Raise DataError unless `table` is a prompts table: ids unique, prompts not blank, at least one row."""
    check_columns(table, "prompts")
    _refuse_written_later(table.column_names, "prompts")
    ids = table["prompt_id"][:]
    repeated = _repeated([(f"row {row}", {"prompt_id": name}) for row, name in enumerate(ids)], "prompts")
    PromptRows(table, "prompts", refused=tuple(repeated.values())).settled()
    for row, prompt in enumerate(table["prompt"][:]):
        _checked_prompt(prompt, f"row {row} of prompts, prompt_id '{ids[row]}'")


def _is_checked(table: Dataset) -> bool:
    """Whether a table can pass as it is: ids of its own, and texts as prompts."""
    kinds = {name: column_kind(table, name) for name in ("prompt_id", "prompt") if name in table.column_names}
    return len(kinds) == 2 and kinds["prompt_id"] != "integer" and kinds["prompt"] != "messages"


# Rows, checked ----------------------------------------------------------------------------------------


def _checked_rows(
    records: Sequence[tuple[str, Any]], source: str, column: str, *, by_text: bool = True
) -> PromptRows:
    """The rows that can be used, and an error for each other one.

    Without an id a row is named by its text, so that it keeps its name when others are removed, or by its
    number. No prompt stands twice, unless each of its rows has an id of its own.
    """
    good, texts, refused, places = [], [], [], {}
    for row, (place, record) in enumerate(records):
        where = f"{place} of {source}"
        if isinstance(record, DataError):
            refused.append(record)
            continue
        try:
            fields, named = _prompt_record(record, where, column)
        except DataError as error:
            refused.append(error)
            continue
        texts.append((place, fields))
        good.append((place, fields if named or by_text else fields | {"prompt_id": f"p{row:05d}"}))
        shown = f"{place} (prompt_id '{fields['prompt_id']}')" if named else place
        places.setdefault(good[-1][1]["prompt_id"], shown)
    if len(records) > 1 and len(refused) == len(records) and len({(e.what, e.fix) for e in refused}) == 1:
        raise DataError(refused[0].what, where=f"all {len(records)} rows of {source}", fix=refused[0].fix)
    repeated = _repeated(good, source) | _repeated(texts, source)
    kept = [fields for row, (_, fields) in enumerate(good) if row not in repeated]
    table = _table(kept, source)
    return PromptRows(table, source, places, (*refused, *repeated.values()))


def _prompt_record(record: Any, where: str, column: str) -> tuple[dict[str, Any], bool]:
    """The fields of a row, and whether it has an id of its own: else it is named by its text."""
    fields = dict(record) if isinstance(record, Mapping) else {column: record}
    if column not in fields:
        names = ", ".join(map(str, fields)) or "nothing"
        fix = f"Name the column of the prompts (--column, column= of load_prompts and run); found: {names}."
        if {"role", "content"} <= set(fields):
            fix = "Put the messages of one conversation into a list of their own: [[{...}, ...], ...]."
        raise DataError(f"no '{column}' here", where=where, fix=fix)
    prompt, prompt_id = _checked_prompt(fields.pop(column), where), fields.pop("prompt_id", None)
    fields.pop("prompt", None)
    name = _name(prompt) if prompt_id is None else str(prompt_id)
    return {"prompt_id": name, "prompt": prompt, **_encodable(fields, where)}, prompt_id is not None


def _name(prompt: messages.Prompt) -> str:
    if len(prompt) == 1 and not isinstance(prompt, str):  # the same as its text
        prompt = prompt[0]["content"]
    return "p" + hashlib.sha256(json.dumps(prompt, ensure_ascii=False).encode()).hexdigest()[:16]


def _checked_prompt(prompt: Any, where: str) -> messages.Prompt:
    prompt = messages.unwrapped(prompt, where) if isinstance(prompt, str) else prompt
    if not isinstance(prompt, str):
        return _encodable(messages.checked(prompt, where), where)
    if messages.is_blank(prompt):
        raise DataError("the prompt is empty", where=where, fix="Write a prompt there or remove the row.")
    return _encodable(str(prompt), where)


def _encodable(value: Any, where: str) -> Any:
    """The value, if all its text can be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as error:
        half = ascii(error.object[error.start])
        what = f"half a character stands here alone (the surrogate {half})"
        raise DataError(what, where=where, fix="Write the whole character, or remove it.") from error
    return value


def _repeated(rows: Sequence[tuple[str, Mapping[str, Any]]], source: str) -> dict[int, DataError]:
    """An error for each row whose id is empty or stood before."""
    first: dict[str, str] = {}
    errors: dict[int, DataError] = {}
    for row, (place, fields) in enumerate(rows):
        name = fields["prompt_id"]
        before = first.setdefault(name, place)
        if before is not place or not name:
            errors[row] = _repeated_error(name, fields.get("prompt"), before, place, source)
    return errors


def _repeated_error(name: str, prompt: Any, before: str, place: str, source: str) -> DataError:
    if not name:
        fix = "Give each prompt an id of its own."
        return DataError("a prompt_id is empty", where=f"{source}, {place}", fix=fix)
    by_text = prompt is not None and name == _name(prompt)
    what = "the prompt stands twice" if by_text else f"the prompt_id '{name}' stands twice"
    fix = "Remove one of them." if by_text else "Give each prompt an id of its own."
    return DataError(what, where=f"{source}, {before} and {place}", fix=fix)


def _table(rows: Sequence[Mapping[str, Any]], source: str) -> Dataset:
    from datasets import Dataset

    if not all(isinstance(row["prompt"], str) for row in rows):
        rows = [row | {"prompt": messages.turns(row["prompt"])} for row in rows]
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["prompt_id", "prompt"]
    _refuse_written_later(names, source)
    try:
        return Dataset.from_dict({name: [row.get(name) for row in rows] for name in names})
    except (ValueError, TypeError, OverflowError) as err:  # Arrow's errors are ValueErrors
        fault = "holds a number too large" if isinstance(err, OverflowError) else "mixes types"
        fix = "Give each column values of one type, whole numbers in 64 bits."
        raise DataError(f"a column {fault} ({err})", where=source, fix=fix) from err


def _refuse_written_later(names: Sequence[str], where: str) -> None:
    taken = [name for name in names if name in _WRITTEN_LATER]
    if taken:
        raise DataError(
            f"the prompts have a column '{taken[0]}', which a later stage writes",
            where=where,
            fix="Rename or drop it; known-good responses can be carried as 'reference'.",
        )
