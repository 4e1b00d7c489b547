"""Drawing a pool in chunks, as large as a budget allows when the fine-tune must still be paid from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rslib import tables
from rslib.config import SampleConfig
from rslib.finetuning import training_rows
from rslib.ledger import TRAINING, Ledger
from rslib.models import Policy, RewardModel
from rslib.sampling import sample_table
from rslib.scoring import score

if TYPE_CHECKING:
    from datasets import Dataset

FIRST, MOST, LEAST = 8, 32, 4
"""Prompts of the first chunk, of the largest and of the smallest; the first tells what a prompt costs."""


@dataclass(frozen=True)
class Tuning:
    """What a fine-tune will cost: `passes` over the tokens that `rows` keeps of a pool.

    seconds_per_token: of training, from the reference run; it is used for budgets of time alone.
    """

    rows: Callable[[Dataset], Sequence[Dataset]]
    passes: float
    seconds_per_token: float = 0.0

    def cost(self, policy: Policy, pool: Dataset, unit: str | None) -> float:
        """The estimate in the budget's unit; a fine-tune costs no responses."""
        tokens = sum(tokens_of(policy, kept) for kept in self.rows(pool)) * self.passes
        return {"flops": TRAINING * policy.parameters, "responses": 0.0, None: 0.0}.get(
            unit, self.seconds_per_token
        ) * tokens


def tokens_of(policy: Policy, kept: Dataset) -> int:
    """Tokens that a fine-tune on these rows reads in one epoch, prompts included."""
    return sum(len(row.ids) for row in training_rows(policy, kept))


def gather(
    policy: Policy,
    reward_model: RewardModel,
    prompts: Dataset,
    sampling: SampleConfig,
    ledger: Ledger,
    tuning: Tuning,
    limit: float | None = None,
) -> Dataset:
    """A scored pool, prompt-major: chunk after chunk while the next and the fine-tune fit into the budget.

    `limit`: what may be spent in all when this pool and its fine-tune are paid; None: the ledger's own. The
    first chunk is drawn whatever it costs, for only then is known what a prompt costs.
    """
    limit = ledger.limit if limit is None else limit
    before, pool, many = ledger.spent, None, FIRST
    while many and (pool is None or len(pool) < len(prompts) * sampling.n):
        at = 0 if pool is None else len(pool) // sampling.n
        part = tables.take(prompts, range(at, min(at + many, len(prompts))))
        chunk = _scored(policy, reward_model, part, sampling, ledger)
        pool = chunk if pool is None else _joined(pool, chunk)
        due = tuning.cost(policy, pool, ledger.unit)
        each = (ledger.spent - before + due) / (len(pool) // sampling.n)
        fits = (limit - ledger.spent - due) / each if each > 0 else MOST
        many = int(min(fits, MOST)) if fits >= LEAST else 0
    return pool


def _scored(
    policy: Policy, reward_model: RewardModel, prompts: Dataset, sampling: SampleConfig, ledger: Ledger
) -> Dataset:
    """Responses to a chunk with their rewards, counted."""
    drawn = sample_table(policy, prompts, sampling)
    scored = score(reward_model, drawn, show_progress=False)
    tokens = sum(map(len, drawn["token_ids"][:]))
    read = sum(map(len, policy.encode_many(prompts["prompt"][:])))
    ledger.sampled(policy.parameters, responses=len(drawn), tokens=tokens, prompt_tokens=read)
    ledger.read(reward_model.parameters, tokens + read)
    ledger.held(2)
    return scored


def _joined(first: Dataset, second: Dataset) -> Dataset:
    from datasets import concatenate_datasets

    return concatenate_datasets([first, second])
