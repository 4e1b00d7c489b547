"""Beside the road: preference pairs from a scored pool, and rows in the formats of TRL's trainers.

best_worst_pairs(scored)      a table of chosen and rejected responses
to_trl_sft(selected)          for TRL's SFTTrainer
to_trl_preference(pairs)      for TRL's DPOTrainer and RewardTrainer
best_and_worst(scored)        the rows themselves, as `rl.finetune_dpo` trains on them
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from rslib import selection, tables
from rslib.errors import DataError
from rslib.messages import turns
from rslib.progress import note
from rslib.selection import Pool, usable_rows

if TYPE_CHECKING:
    from datasets import Dataset


def best_and_worst(
    scored: Dataset,
    *,
    seed: int = 0,
    on_nan: str = "raise",
    truncated: str = "keep",
    margin: float = 0.0,
    show: bool = True,
) -> tuple[Dataset, Dataset]:
    """The best and the worst response of each prompt, as two tables with the prompts in one order.

    Ties are broken at random. A prompt whose rewards differ by no more than `margin` tells no preference: it
    is left out, and a line counts these (`show`). `on_nan`, `truncated` and errors as in `select`; DataError
    when no pair is left.
    """
    selection.check_number(margin, "margin", at_least=0)
    pool = Pool(usable_rows(scored, on_nan=on_nan, truncated=truncated), seed)
    best, worst = selection.best_of_n(pool), selection.worst(pool)
    clear = pool.rewards[best] - pool.rewards[worst] > margin
    if not clear.any():
        fix = "Draw more responses per prompt, or lower the margin."
        raise DataError(f"no prompt's rewards differ by more than {margin}", where="best_and_worst", fix=fix)
    if not clear.all():
        left_out = int((~clear).sum())
        note(f"pairs: {left_out} of {len(clear)} prompts have no preference and are left out", show)
    return tables.take(pool.table, best[clear]), tables.take(pool.table, worst[clear])


def best_worst_pairs(
    scored: Dataset,
    *,
    seed: int = 0,
    on_nan: str = "raise",
    truncated: str = "keep",
    margin: float = 0.0,
) -> Dataset:
    """One row a prompt: its best response as `chosen`, its worst as `rejected`, with both rewards.

    Columns: prompt_id, prompt, chosen, rejected, chosen_reward, rejected_reward. Everything else as in
    `best_and_worst`.

    >>> pairs = best_worst_pairs(selection.pool_of([[1.0, 3.0, 2.0]]).table)
    >>> pairs["chosen"][0], pairs["rejected"][0]
    ('response 1', 'response 0')
    """
    from datasets import Dataset

    options = {"seed": seed, "on_nan": on_nan, "truncated": truncated, "margin": margin}
    chosen, rejected = best_and_worst(scored, **options)
    return Dataset.from_dict(
        {
            "prompt_id": chosen["prompt_id"][:],
            "prompt": chosen["prompt"][:],
            "chosen": chosen["response"][:],
            "rejected": rejected["response"][:],
            "chosen_reward": chosen["reward"][:],
            "rejected_reward": rejected["reward"][:],
        }
    )


def to_trl_sft(selected: Dataset, *, truncated: str = "raise") -> Dataset:
    """Rows for TRL's SFTTrainer: `prompt` and `completion` as chat messages; other columns are left out.

    TRL ends every response with an end token, so a truncated one would be learned as finished: DataError,
    unless `truncated="drop"` leaves these rows out. Raises as `tables.check_selected`.

    >>> kept = selection.pool_of([[1.0]]).table
    >>> to_trl_sft(kept)[0]["completion"]
    [{'role': 'assistant', 'content': 'response 0'}]
    """
    tables.check_selected(selected)
    if truncated not in ("raise", "drop"):
        raise DataError(f"truncated is {truncated!r}", where="to_trl_sft", fix="Use 'raise' or 'drop'.")
    cut = tables.finish_reasons(selected) == "length"
    if cut.any() and truncated == "raise":
        raise DataError(
            f"{int(cut.sum())} of {len(cut)} responses are truncated; TRL would train them as finished",
            where=tables.rows_of(selected).row_name(int(cut.argmax())),
            fix="Leave them out: select(..., truncated='drop') or to_trl_sft(..., truncated='drop').",
        )
    rows = selected.select(np.flatnonzero(~cut))
    prompts, responses = rows["prompt"][:], rows["response"][:]
    return _messages({"prompt": ("user", prompts), "completion": ("assistant", responses)})


def to_trl_preference(pairs: Dataset) -> Dataset:
    """Rows for TRL's DPOTrainer and RewardTrainer: `prompt`, `chosen`, `rejected` as chat messages.

    `pairs` is what `best_worst_pairs` gives. Raises DataError when a column is missing.
    """
    for name in ("prompt", "chosen", "rejected"):
        if name not in pairs.column_names:
            columns = ", ".join(pairs.column_names)
            raise DataError(
                f"no column '{name}'", where=f"columns {columns}", fix="Call best_worst_pairs first."
            )
    texts = {name: ("assistant", pairs[name][:]) for name in ("chosen", "rejected")}
    return _messages({"prompt": ("user", pairs["prompt"][:]), **texts})


def _messages(columns: Mapping[str, tuple[str, list[str]]]) -> Dataset:
    """A table of columns `name -> (role, texts)`: each text as one message, conversations as they are."""
    from datasets import Dataset

    return Dataset.from_dict(
        {
            name: [turns(text) if role == "user" else [{"role": role, "content": text}] for text in texts]
            for name, (role, texts) in columns.items()
        }
    )
