"""Training a reward model from comparisons (Bradley-Terry), and how many pairs it orders rightly."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from rslib.config import FinetuneConfig
from rslib.errors import DataError
from rslib.finetuning import pad_right
from rslib.messages import Prompt, frozen
from rslib.models import Policy, RewardModel, hidden_states, rewards_from_hidden
from rslib.optimization import Objective, fit

if TYPE_CHECKING:
    from datasets import Dataset

_CENTRE = 0.001  # weight of the mean squared reward: pins the free constant of Bradley-Terry near zero


@dataclass(frozen=True)
class _Group:
    """The compared responses of one prompt: token ids of each, and (winner, loser) index pairs."""

    rows: list[list[int]]
    pairs: list[tuple[int, int]]

    @property
    def tokens(self) -> int:
        """Padded size of the group."""
        return len(self.rows) * max(len(row) for row in self.rows)


def _comparison_groups(reward_model: RewardModel, comparisons: Dataset) -> list[_Group]:
    """Comparisons (columns prompt, chosen, rejected) by prompt, each distinct response encoded once."""
    if not len(comparisons):
        raise DataError("there are no comparisons", where="comparison_groups", fix="Label some pairs first.")
    prompts: dict[Hashable, Prompt] = {}
    texts: dict[Hashable, dict[str, int]] = {}
    pairs: dict[str, list[tuple[int, int]]] = {}
    for row in comparisons:
        key = frozen(row["prompt"])
        prompts[key], index = row["prompt"], texts.setdefault(key, {})
        ends = tuple(index.setdefault(row[side], len(index)) for side in ("chosen", "rejected"))
        pairs.setdefault(key, []).append(ends)
    return [
        _Group([reward_model.read(reward_model.encode(prompts[key], text)) for text in index], pairs[key])
        for key, index in texts.items()
    ]


def rewards_of(model: torch.nn.Module, rows: Sequence[Sequence[int]], pad_id: int) -> torch.Tensor:
    """Reward of each token sequence, shape (rows,): the head at its last token, found by position."""
    ids = pad_right(rows, pad_id, str(model.device))
    last = torch.tensor([len(row) - 1 for row in rows], device=ids.device)
    hidden = hidden_states(model, ids, use_cache=False)
    pooled = hidden[torch.arange(len(rows), device=ids.device), last]
    return rewards_from_hidden(model, pooled).float()


def _bradley_terry_loss(chosen: torch.Tensor, rejected: torch.Tensor) -> torch.Tensor:
    """-log sigmoid(r_chosen - r_rejected), elementwise, in nats (Bradley and Terry, 1952).

    >>> _bradley_terry_loss(torch.tensor([0.0]), torch.tensor([0.0])).item()  # doctest: +ELLIPSIS
    0.6931...
    """
    return torch.nn.functional.softplus(rejected - chosen)


def _group_loss(model: torch.nn.Module, groups: Sequence[_Group], pad_id: int) -> torch.Tensor:
    """Sum over groups of the mean pair loss plus the small centring penalty."""
    rewards = rewards_of(model, [row for group in groups for row in group.rows], pad_id)
    total, start = rewards.new_zeros(()), 0
    for group in groups:
        group_rewards = rewards[start : start + len(group.rows)]
        start += len(group.rows)
        winners, losers = zip(*group.pairs, strict=True)
        pair_loss = _bradley_terry_loss(group_rewards[list(winners)], group_rewards[list(losers)])
        total = total + pair_loss.mean() + _CENTRE * group_rewards.square().mean()
    return total


def new_reward_model(policy: Policy, seed: int = 0) -> RewardModel:
    """An untrained reward model: the policy's own trunk with a fresh one-number head."""
    from transformers import AutoModelForSequenceClassification

    config = copy.deepcopy(policy.model.config)
    config.num_labels, config.pad_token_id = 1, policy.pad_id
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    model.base_model.load_state_dict(policy.model.base_model.state_dict())
    model.to(policy.device.name).eval()
    return RewardModel(
        model=model,
        tokenizer=policy.tokenizer,
        name="new",
        path="",
        device=policy.device,
        context=policy.context,
        pad_id=policy.pad_id,
    )


def train_reward_model(
    policy: Policy,
    comparisons: Dataset,
    out: str | Path,
    *,
    config: FinetuneConfig | None = None,
    show_progress: bool = True,
) -> RewardModel:
    """A Bradley-Terry reward model, started from `policy`, fitted to comparisons, written to folder `out`.

    comparisons: columns prompt, chosen, rejected; all pairs of one prompt share one forward pass.
    Raises DataError when there are none, ModelError when the loss stops being finite.
    """
    config = config or FinetuneConfig(epochs=2, batch_tokens=3072, warmup_steps=30)
    config = config.of_all_weights("a reward model's training").for_model(policy.parameters)
    fresh = new_reward_model(policy, config.seed)
    groups = _comparison_groups(fresh, comparisons)
    objective = Objective(
        loss_sum=lambda batch: _group_loss(fresh.model, [groups[i] for i in batch], fresh.pad_id),
        weight=len,
    )
    losses = fit(
        fresh.model,
        objective,
        [group.tokens for group in groups],
        config,
        compute_dtype=policy.device.dtype,
        label="reward model",
        show_progress=show_progress,
    )
    trained = dataclasses.replace(fresh, name=str(out), path=str(out))
    trained.save(Path(out), record={"pairs": len(comparisons), "losses": losses})
    return trained


def group_pair_accuracy(rewards: np.ndarray, truth: np.ndarray) -> float:
    """Share of pairs inside each row of (M, n) in the order of `truth`; a tie counts one half.

    Pairs that tie in `truth` are left out; NaN where none is left.

    >>> group_pair_accuracy(np.array([[2.0, 1.0, 1.0]]), np.array([[3.0, 1.0, 2.0]]))  # right, right, tied
    0.8333333333333334
    """
    first, second = np.triu_indices(rewards.shape[1], k=1)
    better = np.sign(truth[:, first] - truth[:, second])
    preferred = np.sign(rewards[:, first] - rewards[:, second])
    differ = better != 0
    return float(np.mean((preferred == better)[differ] + 0.5 * (preferred == 0)[differ]))
