"""What an earlier stage has made of a prompt's rows is used again when other prompts are removed or changed.

A stage is addressed by the fingerprint of its whole input. Where the result of a prompt depends on its own
rows alone, as in sampling and scoring, another input need not redo what it shares with an earlier one.
Responses are then those of a fresh run, on a CPU to the last bit; rewards are so up to rounding (1e-6), since
a sum's order depends on the rows beside it. So nothing is taken from a stage on exactly the same prompts.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib import tables
from rslib.cache import key_of, make_folder, os_errors, read_json
from rslib.errors import StoreError
from rslib.progress import note
from rslib.store import Stage, read_shard

if TYPE_CHECKING:
    from datasets import Dataset

_Each = Callable[..., Iterator[tuple[int, "Dataset", float]]]
"""As `store.in_turn`: number, table and seconds of each part."""


_EARLIER = "earlier"


def reusing(
    each: _Each, stage: Stage, whole: Sequence[Dataset], content: str, *, weight: int, label: str
) -> _Each:
    """As `each`, but for prompts that a stage beside `stage` has done, whose rows are taken from there.

    whole: all parts of the input. content: the entry of the stage's key that alone may differ, the
    fingerprint of the input. weight: rows made of each row.
    """

    def taking(
        work: Callable[[Dataset], Dataset], parts: Mapping[int, Dataset]
    ) -> Iterator[tuple[int, Dataset, float]]:
        earlier = _earlier(stage, content, {prompt for part in whole for prompt in part["prompt_id"][:]})
        done = {number: _done(part, earlier, weight) for number, part in parts.items()}
        if count := sum(map(len, done.values())):
            note(f"{label}: what was done for {count} prompts before is used again", stage.show)
        left = {number: _without(part, done[number]) for number, part in parts.items()}
        for number, part in left.items():
            if not len(part):
                yield number, _merged(parts[number], done[number], None), 0.0
        pending = {number: part for number, part in left.items() if len(part)}
        for number, table, seconds in each(work, pending) if pending else ():
            yield number, _merged(parts[number], done[number], table), seconds

    return taking


def _earlier(stage: Stage, content: str, prompts: set[str]) -> dict[str, Dataset]:
    """prompt_id -> its rows as stages beside this one, of an otherwise equal key, have made them."""
    rows: dict[str, Dataset] = {}
    name = re.fullmatch("(.+)-[0-9a-f]{12}", stage.folder.name)  # else it is the run folder itself
    beside = [*stage.folder.parent.glob(f"{name[1]}-*")] if name else []
    for folder in sorted([*beside, *stage.folder.glob(f"{_EARLIER}-*")]):
        if folder == stage.folder or not _alike(folder, stage, content):
            continue
        made: dict[str, Dataset] = {}
        for path in sorted(folder.glob("shard-*.arrow")):
            with contextlib.suppress(StoreError):  # a damaged shard of another stage is just not used
                table = read_shard(path)
                made |= {name: tables.take(table, at) for name, at in tables.groups(table).items()}
        rows |= {} if set(made) == prompts else made
    return rows


def set_aside(stage: Stage, content: str) -> None:
    """Move what a stage's folder holds of another input into a folder below, where `reusing` looks.

    For a stage that is the run folder itself. A kill on the way harms nothing: stage.json goes last.
    """
    if not (stage.folder / "stage.json").exists() or not _alike(stage.folder, stage, content):
        return
    key = read_json(stage.folder / "stage.json")["key"]
    if key == stage.key:
        return
    with os_errors(stage.folder):
        below = make_folder(stage.folder / f"{_EARLIER}-{key_of(key)[:12]}")
        for path in [*sorted(stage.folder.glob("shard-*")), stage.folder / "stage.json"]:
            path.replace(below / path.name)


def _alike(folder: Path, stage: Stage, content: str) -> bool:
    try:
        key = read_json(folder / "stage.json").get("key", {})
    except StoreError:
        return False
    return key | {content: None} == stage.key | {content: None}


def _done(part: Dataset, earlier: Mapping[str, Dataset], weight: int) -> dict[str, Dataset]:
    """The prompts of a part that are done already, exactly as they stand there."""
    if not earlier:
        return {}
    groups = {prompt: rows for prompt, rows in tables.groups(part).items() if prompt in earlier}
    return {
        prompt: earlier[prompt]
        for prompt, rows in groups.items()
        if _inputs(earlier[prompt], part.column_names)
        == [row for row in tables.take(part, rows).to_list() for _ in range(weight)]
    }


def _inputs(table: Dataset, names: list[str]) -> list[dict[str, Any]] | None:
    """The columns of these names, row by row; None where the table lacks one."""
    return table.select_columns(names).to_list() if set(names) <= set(table.column_names) else None


def _without(part: Dataset, done: Mapping[str, Dataset]) -> Dataset:
    if not done:
        return part
    return tables.take(part, [row for row, prompt in enumerate(part["prompt_id"][:]) if prompt not in done])


def _merged(part: Dataset, done: Mapping[str, Dataset], new: Dataset | None) -> Dataset:
    """All rows of a part in its order."""
    if not done:
        return new
    pool = tables.stack([*done.values(), *([] if new is None else [new])])
    rows = tables.groups(pool)
    return tables.take(pool, [row for prompt in tables.groups(part) for row in rows[prompt]])
