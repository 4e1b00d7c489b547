"""DPO on the best against the worst of n: preference pairs from a scored pool, no sampling in the loop.

What is left out: label smoothing, a mixed-in next-token loss, and length normalisation. The reference's
log-probabilities are measured once, so only one model is in memory while training.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from rslib.config import FinetuneConfig, require
from rslib.export import best_and_worst
from rslib.finetuning import TokenRow, trainable_copy, training_rows, tuned_once
from rslib.ledger import Ledger
from rslib.optimization import Objective, fit
from rslib.rl import losses
from rslib.rl.rollouts import measure, response_logprobs, response_mask

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy


def finetune_dpo(
    policy: Policy,
    scored: Dataset,
    out: str | Path,
    *,
    beta: float = 0.1,
    config: FinetuneConfig | None = None,
    ledger: Ledger | None = None,
    show_progress: bool = True,
) -> Policy:
    """A copy of `policy`, tuned on each prompt's best against its worst response, written to folder `out`.

    `scored`: a pool with several responses a prompt; `policy` is the reference, and `beta` the strength of
    the pull to it (0.1 is what the paper uses most). Prompts whose rewards are all equal are left out and
    counted in a printed line. Batches hold pairs: `config.batch_tokens` counts the tokens of both responses.
    Source: `losses.dpo`.
    Raises ConfigError for a beta that is not positive, DataError when no pair is left, and as `finetune`.
    """
    require(beta > 0, f"beta is {beta}", "finetune_dpo", "Use a number > 0, such as 0.1.")
    config = (config or FinetuneConfig()).of_all_weights("DPO").for_model(policy.parameters)
    pairs = best_and_worst(scored, seed=config.seed, show=show_progress)
    chosen, rejected = (training_rows(policy, rows) for rows in pairs)
    lengths = [len(a.ids) + len(b.ids) for a, b in zip(chosen, rejected, strict=True)]

    def tune() -> tuple[torch.nn.Module, dict[str, Any]]:
        model = trainable_copy(policy)
        objective = _pair_objective(policy, model, chosen, rejected, beta)
        options = {"compute_dtype": policy.device.dtype, "label": "DPO", "show_progress": show_progress}
        history = fit(model, objective, lengths, config, **options)
        record = {"parent": policy.fingerprint(), "pairs": len(chosen), "beta": beta, "losses": history}
        return model, record | {"settings": dataclasses.asdict(config)}

    sides = [[[row.first_target, row.ids] for row in rows] for rows in (chosen, rejected)]
    facts = {"pairs": sides, "beta": beta, "settings": config}
    tuned = tuned_once("dpo", policy, facts, tune, Path(out))
    if ledger is not None:
        ledger.read(policy.parameters, sum(lengths))
        ledger.trained(policy.parameters, config.epochs * sum(lengths))
        ledger.held(2)
    return tuned


def _pair_objective(
    policy: Policy,
    model: torch.nn.Module,
    chosen: list[TokenRow],
    rejected: list[TokenRow],
    beta: float,
) -> Objective:
    """The DPO loss of pairs, mean over pairs; `policy` is the reference, `model` is trained."""
    sides = [chosen, rejected]
    masks = [response_mask(rows, policy.device.name) for rows in sides]
    read = partial(response_logprobs, policy.model, pad_id=policy.pad_id)
    reference = [
        measure(policy.model, read, r, m, policy.device.dtype).sum(1)
        for r, m in zip(sides, masks, strict=True)
    ]

    def summed(side: int, pairs: list[int]) -> Tensor:
        rows = [sides[side][i] for i in pairs]
        return response_logprobs(model, rows, masks[side][pairs], policy.pad_id).sum(1)

    def loss_sum(pairs: list[int]) -> Tensor:
        good, bad = summed(0, pairs), summed(1, pairs)
        return losses.dpo(good, bad, reference[0][pairs], reference[1][pairs], beta).sum()

    return Objective(loss_sum, lambda pairs: float(len(pairs)))
