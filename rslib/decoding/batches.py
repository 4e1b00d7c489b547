"""Rows cut into batches that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from rslib.decoding.passes import Ids
from rslib.errors import BudgetError, is_out_of_memory
from rslib.progress import note


def run_batches(
    run: Callable[[slice], None],
    owner: Ids,
    costs: Sequence[int],
    budget: int,
    *,
    entry: Sequence[int] | None = None,
    unit: str = "responses",
) -> None:
    """Call `run` on one slice of consecutive rows after another, each costing at most `budget` together.

    owner[r] is the prompt of row r (equal ones stand together), costs[r] what the row costs, entry[r] what
    its prompt costs once per batch; a single row may exceed the budget. When memory runs out the budget is
    halved, with a note, and the same rows are tried again; BudgetError when one row alone does not fit.
    """
    start, entry = 0, entry or [0] * len(costs)
    while start < len(owner):
        end = _batch_end(owner, costs, entry, start, budget)
        if _fits(run, slice(start, end)):
            start = end
            continue
        if end - start == 1:
            fix = "Use a smaller model, shorter prompts or responses, a smaller dtype, or another device."
            raise BudgetError("memory runs out with a single response in the batch", fix=fix)
        budget = max(1, sum(costs[start:end]) // 2)
        note(f"out of memory: going on with {budget} {unit} in a batch")


def _batch_end(owner: Ids, costs: Sequence[int], entry: Sequence[int], start: int, budget: int) -> int:
    """Where the batch from `start` on ends: within the budget, and between two prompts where it can."""
    spent, end, boundary = 0, start, start
    while end < len(owner):
        first_of_prompt = end == start or owner[end] != owner[end - 1]
        spent += costs[end] + first_of_prompt * entry[end]
        if spent > budget and end > start:
            break
        boundary = end if first_of_prompt else boundary
        end += 1
    # A prompt that straddles two batches is computed twice: cut before it, unless that halves the batch.
    straddles = end < len(owner) and owner[end] == owner[end - 1]
    return boundary if straddles and 2 * (boundary - start) >= end - start else end


def _fits(run: Callable[[slice], None], rows: slice) -> bool:
    """Run the rows; whether memory was enough. Other errors pass."""
    try:
        run(rows)
        return True
    except (RuntimeError, MemoryError) as err:
        if not is_out_of_memory(err):
            raise
    if torch.cuda.is_available():  # outside the handler, where the error no longer holds on to tensors
        torch.cuda.empty_cache()
    return False
