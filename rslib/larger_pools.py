"""Selection from a larger pool: known-good responses, or the pools of earlier rounds, compete as well.

select(scored, "reference", references=table)    `add_references` puts a scored table of references in
select(scored, "replay", earlier=[table, ...])   `merge_rounds` puts the scored tables of earlier rounds in
reference_responses(prompts)                     the column `reference` as responses, to be scored
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from rslib import tables
from rslib.errors import DataError
from rslib.progress import note
from rslib.prompts import check_prompts
from rslib.selectors import Pool, unique

if TYPE_CHECKING:
    from datasets import Dataset

_NOT_DRAWN = {"token_ids": [], "token_logprobs": [], "logprob": 0.0, "finish_reason": "eos", "seed": -1}


def reference_responses(prompts: Dataset) -> Dataset:
    """The texts in the column `reference` of a prompts table as responses, one per prompt, to be scored.

    They were not drawn: sample_id and seed are -1, logprob is 0 and there are no tokens. Raises DataError
    without the column, or where it is empty.

    >>> from rslib.prompts import as_prompts
    >>> prompts = as_prompts([{"prompt": "2 + 2?", "reference": "4"}])
    >>> reference_responses(prompts)["response"][:]
    ['4']
    """
    from datasets import Dataset

    check_prompts(prompts)
    if "reference" not in prompts.column_names:
        fix = "Carry a known-good response with each prompt, as 'reference'."
        raise DataError("no column 'reference'", where="prompts", fix=fix)
    columns = {name: prompts[name][:] for name in prompts.column_names}
    named = zip(columns["prompt_id"], columns["reference"], strict=True)
    empty = [prompt_id for prompt_id, text in named if not text]
    if empty:
        where = f"prompt_id {empty[0]!r}"
        raise DataError(f"{len(empty)} references are empty", where=where, fix="Leave these prompts out.")
    columns |= {name: [value] * len(prompts) for name, value in _NOT_DRAWN.items()}
    columns |= {"sample_id": [-1] * len(prompts), "response": columns["reference"]}
    return Dataset.from_dict(columns)


def add_references(scored: Dataset, *, references: Dataset) -> Dataset:
    """The pool with scored `references` in it; the new column `is_reference` marks them.

    `references` has prompt_id, response and reward, from the same reward model (`reference_responses` makes
    such a table, `score` completes it); every other column is taken from the prompt's first row. Its rows
    get the sample_ids -1, -2, ... of their prompt, finish_reason "eos", and no tokens.

    Raises DataError when a column is missing or a prompt_id is not in the pool.
    """
    missing = {"prompt_id", "response", "reward"} - set(references.column_names)
    if missing:
        fix = "References need prompt_id, response and reward; run score on them."
        raise DataError(f"no column {min(missing)!r}", where="references", fix=fix)
    first = {prompt_id: int(rows[0]) for prompt_id, rows in tables.groups(scored).items()}
    foreign = [prompt_id for prompt_id in references["prompt_id"][:] if prompt_id not in first]
    if foreign:
        what = f"{len(foreign)} references are for prompts outside the pool (first: {foreign[0]!r})"
        raise DataError(what, where="references", fix="Give references for the pool's prompts alone.")
    rows = _reference_rows(scored, references, first)
    drawn = tables.with_column(scored, "is_reference", [False] * len(scored))
    return tables.stack([drawn, tables.with_column(rows, "is_reference", [True] * len(rows))])


def _reference_rows(scored: Dataset, references: Dataset, first: Mapping[str, int]) -> Dataset:
    from datasets import Dataset

    seen: dict[str, int] = {}
    rows = []
    for given in references.select_columns(["prompt_id", "response", "reward"]):
        seen[given["prompt_id"]] = seen.get(given["prompt_id"], 0) + 1
        of_prompt = scored[first[given["prompt_id"]]]
        rows.append(of_prompt | _NOT_DRAWN | {"sample_id": -seen[given["prompt_id"]]} | given)
    return Dataset.from_dict(
        {name: [row[name] for row in rows] for name in scored.column_names}, features=scored.features
    )


def reference(pool: Pool) -> np.ndarray:
    """Best-of-n where known-good responses compete with sampled ones (`add_references`). Ties at random.

    A printed line says how many prompts keep a reference: many mean that the policy is still worse than its
    references, so that n is too small or that they should be trained on as they are.
    """
    rows = pool.best(pool.rewards)
    kept = np.array(pool.table["is_reference"][:], dtype=bool)[rows]
    note(f"select: a reference response is kept for {int(kept.sum())} of {len(rows)} prompts")
    return rows


def merge_rounds(scored: Dataset, *, earlier: Sequence[Dataset]) -> Dataset:
    """One pool of the `earlier` scored tables, oldest first, and this one; `round` says whence a row is.

    Rounds count from 0 unless a table brings the column. Raises DataError when there is no earlier table or
    the columns do not fit together.
    """
    if hasattr(earlier, "column_names") or not len(earlier):
        what = "earlier is not a list of scored tables"
        raise DataError(what, where="select(scored, 'replay')", fix="Pass earlier=[round_0, round_1].")
    following, stage_tables = 0, []
    for table in (*earlier, scored):
        if "round" not in table.column_names:
            table = tables.with_column(table, "round", [following] * len(table))
        following = max(table["round"][:]) + 1
        stage_tables.append(table)
    return tables.stack(stage_tables)


def replay(pool: Pool, *, k: int = 1) -> np.ndarray:
    """The k highest rewards of each prompt over all rounds (`merge_rounds`), no text twice. Ties at random.

    Keeps what earlier rounds did well and the last one forgot (Llama 2, arXiv 2307.09288, section 3.2.3).
    Rewards of all rounds must come from one reward model.
    """
    return unique(pool, k=k)
