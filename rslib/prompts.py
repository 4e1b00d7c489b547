"""Prompts of a set that comes along, a file, the hub or a list, checked: the table at the road's start."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib import messages, tables, world
from rslib.config import require, unknown_name
from rslib.rows import PromptRows, checked_rows, list_rows
from rslib.sources import records_of
from rslib.world.prompts import SPLITS

if TYPE_CHECKING:
    from datasets import Dataset

EMBEDDED = "tiny"
"""The name of the embedded world, of its policy and of its reward model."""
EVERYDAY = "everyday"
"""300 prompts of daily life with the splits train (200), validation (40) and test (60); public domain."""


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
        rows = list_rows(source, column)
    elif source == EMBEDDED:
        rows = PromptRows(world.load_prompts(split), EMBEDDED)
    elif source == EVERYDAY:
        rows = PromptRows(_everyday(split), EVERYDAY)
    else:
        records, of_hub = records_of(str(source), split, column)
        rows = checked_rows(records, str(source), column="prompt" if of_hub else column)
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
    return list_rows(prompts).settled().table
