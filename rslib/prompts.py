"""Prompts of a set that comes along, a file, the hub or a list, checked: the table at the road's start."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib import messages, tables, world
from rslib.config import require, unknown_name
from rslib.errors import DataError, RSError
from rslib.progress import note
from rslib.sources import is_hub_id, records_of
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

    def _kept(self, show: bool) -> PromptRows:
        for error in self.refused[:_LISTED]:
            note(f"left out: {error.what} ({error.where})", show)
        if len(self.refused) > _LISTED:
            note(f"left out: {len(self.refused) - _LISTED} more prompts of {self.source}", show)
        if not len(self.table):
            raise DataError("there are no prompts", where=self.source, fix="Give at least one prompt.")
        dropped = self.dropped + len(self.refused)
        return dataclasses.replace(self, refused=(), dropped=dropped)


def settle(every: Sequence[PromptRows], too_long: str = "error", *, show: bool = True) -> list[PromptRows]:
    """Prompts of one or several sources without the refused ones, each of which a line names.

    Raises one error that names the refused rows of all of them, unless `too_long` is "drop" and some prompts
    are left; DataError when there are no prompts at all.
    """
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
    what = f"{len(errors)} prompts cannot be used; the first: {first.what}"
    fix = f"{first.fix} Or leave these rows out: --too-long drop (in Python too_long=)."
    return type(first)(what, where=f"{first.where}; {'; '.join(more)}", fix=fix)


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
    the hub that can be named. `column` holds the prompts; `system` is the system turn of all that have none.
    `limit` keeps the first rows. With `too_long="drop"` rows that cannot be used are left out, and named.
    Raises ConfigError for an unknown split or a limit that the source cannot fill, StoreError for a source
    that is not there, DataError for a malformed one and, naming the line, for prompts that are blank, stand
    twice, are not UTF-8, or are no conversation that a policy can be given.
    """
    table = read_prompts(source, split, column=column, system=system).settled(too_long).table
    return table if limit is None else first_rows(table, limit)


def read_prompts(
    source: str | Path | Sequence[Any],
    split: str = "train",
    *,
    column: str = "prompt",
    system: str | None = None,
) -> PromptRows:
    """As `load_prompts`, the rows that cannot be used left to the caller; those of the hub are left out."""
    if not isinstance(source, (str, Path)):
        rows = _list_rows(source, column)
    elif source == EMBEDDED:
        rows = PromptRows(world.load_prompts(split), EMBEDDED)
    elif source == EVERYDAY:
        rows = PromptRows(_everyday(split), EVERYDAY)
    else:
        records = records_of(str(source), split, column)
        rows = _checked_rows(records, str(source), column="prompt" if is_hub_id(str(source)) else column)
        if is_hub_id(str(source)) and not Path(source).exists():  # nobody can mend a row there
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


def as_prompts(prompts: Dataset | Sequence[Any]) -> Dataset:
    """A checked prompts table from a table (of datasets or pandas), or a list of prompts or of mappings.

    A prompt is a text or chat messages; a mapping has it as "prompt". Prompts without a prompt_id are named
    p00000, p00001, ... in order. Further columns are carried; one text makes no conversation of messages.
    Raises DataError, with the row, for no prompts at all, a prompt that is blank, no text and no conversation
    (see `rslib.messages.checked`), an id that stands twice, or a column that a later stage writes
    (`response`, `reward`, ...).

    >>> as_prompts(["What is 2 + 2?", "Name a bird."])["prompt_id"][:]
    ['p00000', 'p00001']
    """
    return _list_rows(prompts, "prompt").settled().table


def _list_rows(prompts: Any, column: str) -> PromptRows:
    if hasattr(prompts, "column_names"):
        require_table(prompts, "prompts")
        if column == "prompt" and _is_checked(prompts):
            check_prompts(prompts)
            return PromptRows(prompts, "prompts")
        prompts = prompts.to_list()
    if isinstance(prompts, (str, bytes, Mapping)) or not _is_iterable(prompts):
        raise DataError(
            f"the prompts are one {type(prompts).__name__}, not a list",
            where="as_prompts",
            fix="Put a single prompt in a list; of several splits pass one.",
        )
    if hasattr(
        prompts, "to_dict"
    ):  # of pandas: a table, whose items are the names of its columns, or a Series
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
    return prompts.to_dict("records")


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
    number.
    """
    good, refused = [], []
    for row, (place, record) in enumerate(records):
        where = f"{place} of {source}"
        if isinstance(record, DataError):
            refused.append(record)
            continue
        try:
            good.append((place, _prompt_record(record, None if by_text else row, where, column)))
        except DataError as error:
            refused.append(error)
    repeated = _repeated(good, source)
    kept = [entry for row, entry in enumerate(good) if row not in repeated]
    places = {fields["prompt_id"]: place for place, fields in kept}
    table = _table([fields for _, fields in kept], source)
    return PromptRows(table, source, places, (*refused, *repeated.values()))


def _prompt_record(record: Any, row: int | None, where: str, column: str) -> dict[str, Any]:
    fields = dict(record) if isinstance(record, Mapping) else {column: record}
    if column not in fields:
        names = ", ".join(map(str, fields)) or "nothing"
        fix = f"Name the column of the prompts (--column, column=); found: {names}."
        if {"role", "content"} <= set(fields):
            fix = "Put the messages of one conversation into a list of their own: [[{...}, ...], ...]."
        raise DataError(f"no '{column}' here", where=where, fix=fix)
    prompt, prompt_id = _checked_prompt(fields.pop(column), where), fields.pop("prompt_id", None)
    fields.pop("prompt", None)
    name = _name(prompt, row) if prompt_id is None else str(prompt_id)
    return {"prompt_id": name, "prompt": prompt, **_encodable(fields, where)}


def _name(prompt: messages.Prompt, row: int | None) -> str:
    text = json.dumps(prompt, ensure_ascii=False)
    return "p" + hashlib.sha256(text.encode()).hexdigest()[:16] if row is None else f"p{row:05d}"


def _checked_prompt(prompt: Any, where: str) -> messages.Prompt:
    if not isinstance(prompt, str):
        return _encodable(messages.checked(prompt, where), where)
    if not prompt.strip():
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
    by_text = prompt is not None and name == _name(prompt, None)
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
    except (ValueError, TypeError) as err:  # Arrow's errors are ValueErrors
        raise DataError(
            f"a column mixes types ({err})", where=source, fix="Give each column values of one type."
        ) from err


def _refuse_written_later(names: Sequence[str], where: str) -> None:
    taken = [name for name in names if name in _WRITTEN_LATER]
    if taken:
        raise DataError(
            f"the prompts have a column '{taken[0]}', which a later stage writes",
            where=where,
            fix="Rename or drop it; known-good responses can be carried as 'reference'.",
        )
