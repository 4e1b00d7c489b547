"""The trace of every flaw of reinforcement learning, and what a KL penalty and a watchful eye hold back.

    python -m docs.studies.rl_flaws --seeds 0 1 2        docs/results/rl_flaws.json; finished rows are kept

A row is one run: what a trainer logs, what held-out prompts say of the tuned policy, and a few probes that
ask one part of the method one question (METRICS). Runs are as in notebook 06, with fewer and smaller draws.
Those of `control` have all draws of the notebook: PPO, PPO without its penalty, and that once more with looks
at held-out gold, at equal budgets of training responses. Prompts that judge are of the validation split.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from docs.studies.results import RESULTS, measure_rows
from rslib import arena, rl, tables
from rslib.config import SampleConfig
from rslib.evaluation import compare
from rslib.models import load_policy, load_reward_model
from rslib.rl import flaws
from rslib.rl.learner import Learner
from rslib.rl.methods import Method
from rslib.rl.rollouts import Rollouts
from rslib.stages import judged
from rslib.world import load_prompts

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy
    from rslib.optimization import Objective

_PROMPTS, _HELDOUT = 256, range(300, 360)
LOOP = rl.Loop(
    steps=4,
    prompts_per_step=32,
    n=1,
    epochs=2,
    minibatch=16,
    learning_rate=1e-3,
    warmup_steps=4,
    kl_coefficient=0.2,
)
GROUPS = dataclasses.replace(LOOP, prompts_per_step=8, n=4, learning_rate=5e-4)
HEALTHY: dict[str, Method] = {"healthy": rl.PPO(), "healthy_groups": rl.GRPO()}
"""Runs without a flaw: of PPO, and of GRPO, whose groups can be mixed up."""
CONTROL: dict[str, dict[str, Any]] = {
    "ppo": {},
    "ppo_without_kl": {"kl_coefficient": 0.0},
    "ppo_without_kl_watched": {"kl_coefficient": 0.0, "check_every": 3},
}
"""Arms at equal steps, and how their loop differs from that of the notebook."""
_CONTROL_LOOP = dataclasses.replace(LOOP, steps=12, prompts_per_step=64, minibatch=32)
Row = dict[str, float | None]

METRICS: dict[str, str] = {
    "gold": "points: the tuned policy on held-out prompts (base: 1.6)",
    "reward": "its mean reward on the same prompts",
    "kl": "its KL to the reference there, nats per response",
    "length": "tokens of a held-out response",
    "entropy": "nats per response in the last draw",
    "template_tokens": "tokens around the text of a prompt, as the policy was given it",
    "first_ratio": "mean |ratio - 1| in the first minibatch of a draw, before any step on it",
    "learned_tokens": "places that the loss is averaged over / tokens of the responses",
    "score_counts": "what a response's token rewards gain in all when its score rises by 1",
    "cut_costs": "what a response loses when it was cut, in standard deviations of the reward",
    "kl_price": "reward that one nat of log(policy / reference) costs a token: the slope in the last draw",
    "paid_tokens": "share of tokens with a KL reward that are paid and not charged",
    "advantage_mean": "mean advantage per token in the last draw",
    "advantage_fit": "correlation of the last token's advantage with the score of its response, last draw",
    "reach": "spread of the first token's advantage over responses / spread of the last token's",
    "group_error": "distance of the mean advantage of a prompt's responses from 0",
    "clip_fraction": "share of tokens whose ratio is outside of the clip",
    "pushed_beyond": "share of the tokens that the clip should hold and that still have a gradient",
    "value_explained": "share of the returns' variance that the values explain, last draw",
    "policy_changed": "1 when the tuned policy has other weights",
}
"""Metric -> what it is."""


# What a run is asked --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Watched(Method):
    """A method that does what `method` does and leaves a row of metrics for every draw."""

    method: Method
    loop: rl.Loop
    draws: list[Row] = field(default_factory=list)

    @property
    def needs_values(self) -> bool:
        return self.method.needs_values

    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        objective = self.method.objective(learner, rollouts, kl_coefficient)
        everything = list(range(len(rollouts.rows)))
        row: Row = {
            "template_tokens": _template_tokens(learner.policy, rollouts),
            "learned_tokens": _learned(objective, rollouts, everything),
        }
        if isinstance(self.method, rl.PPO):
            row |= _reward_probes(self.method, self.loop, rollouts)
            row |= _advantage_probes(self.method, learner, rollouts, kl_coefficient)
            row |= {"ratios": []}
            self._listen(row)
        else:
            advantages = self.method.advantages(rollouts)
            row["group_error"] = float(advantages.view(-1, rollouts.n).mean(1).abs().mean())
        self.draws.append(row)
        return objective

    def _listen(self, row: dict[str, Any]) -> None:
        """Have the losses of this draw's minibatches noted in `row`."""
        policy_loss = type(self.method).policy_loss

        def noted(logprobs: Tensor, old: Tensor, advantages: Tensor) -> Tensor:
            loss = policy_loss(self.method, logprobs, old, advantages)
            row["ratios"].append(_ratio_probes(loss, logprobs, old, advantages, self.method.clip))
            return loss

        object.__setattr__(self.method, "policy_loss", noted)  # of this one instance


def _template_tokens(policy: Policy, rollouts: Rollouts) -> float:
    """Tokens before the response, less those of the prompt's text."""
    texts = policy.tokenizer(rollouts.table["prompt"][:], add_special_tokens=False)["input_ids"]
    return float(
        np.mean([row.first_target - len(ids) for row, ids in zip(rollouts.rows, texts, strict=True)])
    )


def _learned(objective: Objective, rollouts: Rollouts, rows: list[int]) -> float | None:
    """Places that a loss over tokens is averaged over, per token; None for a loss that averages rows."""
    weight, tokens = objective.weight(rows), float(rollouts.mask.sum())
    return None if weight == len(rows) else weight / tokens


def _ratio_probes(loss: Tensor, logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Row:
    """How far the ratios of a minibatch are from 1, and whether the clip holds what it should."""
    ratio, mask = torch.exp(logprobs.detach() - old), old != 0
    held = mask & torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip) & (advantages != 0)
    pushed = None
    if held.any() and loss.requires_grad:
        [gradient] = torch.autograd.grad(loss.sum(), logprobs, retain_graph=True)
        pushed = float((gradient[held] != 0).float().mean())
    off = (ratio - 1).abs()[mask]
    return {"ratio": float(off.mean()), "clipped": float((off > clip).float().mean()), "pushed": pushed}


def _reward_probes(method: rl.PPO, loop: rl.Loop, rollouts: Rollouts) -> Row:
    """What the token rewards make of the score, of a cut, and of the distance from the reference."""

    def collected(changed: Rollouts) -> Tensor:
        return method.rewards(changed, loop.kl_coefficient).sum(1)

    higher = dataclasses.replace(rollouts, rewards=rollouts.rewards + 1)
    ends = [
        dataclasses.replace(
            rollouts,
            rewards=rollouts.rewards - loop.missing_eos_penalty * cut,
            table=tables.with_column(rollouts.table, "finish_reason", [reason] * len(rollouts.rows)),
        )
        for cut, reason in ((0, "eos"), (1, "length"))
    ]
    rewards, gap = method.rewards(rollouts, loop.kl_coefficient), rollouts.logprobs - rollouts.reference
    inner = rollouts.mask & (rollouts.mask.cumsum(1) < rollouts.mask.sum(1, keepdim=True))
    charged = rewards[inner & (rewards.abs() > 1e-9)]
    return {
        "score_counts": float((collected(higher) - collected(rollouts)).mean()),
        "cut_costs": float((collected(ends[0]) - collected(ends[1])).mean()),
        "kl_price": _price(rewards, gap, inner),
        "paid_tokens": float((charged > 0).float().mean()) if len(charged) else None,
    }


def _price(rewards: Tensor, gap: Tensor, inner: Tensor) -> float | None:
    """Minus the slope of rewards over the gap, both minus their row's mean; None where there is no gap."""
    count = inner.sum(1, keepdim=True).clamp(min=1)

    def centred(values: Tensor) -> Tensor:
        values = torch.where(inner, values, 0.0)
        return torch.where(inner, values - values.sum(1, keepdim=True) / count, 0.0)

    left, right = centred(rewards), centred(gap)
    spread = float(right.square().sum())
    return -float((left * right).sum()) / spread if spread > 1e-6 else None


def _advantage_probes(method: rl.PPO, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Row:
    """Mean, fit and reach of the advantages, and what the values explain of the returns."""
    values = learner.all_values(rollouts)
    advantages, returns = method.advantages(rollouts, values, kl_coefficient)
    mask, rows = rollouts.mask, torch.arange(len(rollouts.rows))
    last = advantages[rows, mask.sum(1) - 1]
    error = (returns - values)[mask]
    return {
        "advantage_mean": float(advantages[mask].mean()),
        "advantage_fit": float(np.corrcoef(last.numpy(), rollouts.rewards.numpy())[0, 1]),
        "reach": float(advantages[:, 0].std() / last.std()),
        "value_explained": 1 - float(error.var() / returns[mask].var()),
    }


_LAST = ("kl_price", "paid_tokens", "advantage_mean", "advantage_fit", "value_explained")
"""Metrics that are read in the last draw; others of a draw are averaged over all."""


def _summary(draws: Sequence[Mapping[str, Any]]) -> Row:
    """The metrics of all draws as one row."""
    batches = [draw["ratios"] for draw in draws if draw.get("ratios")]
    pushed = [batch["pushed"] for draw in batches for batch in draw if batch["pushed"] is not None]
    row: Row = {name: draws[-1].get(name) for name in _LAST}
    for name in ("template_tokens", "learned_tokens", "score_counts", "cut_costs", "reach", "group_error"):
        known = [draw[name] for draw in draws if draw.get(name) is not None]
        row[name] = float(np.mean(known)) if known else None
    if batches:
        row["first_ratio"] = float(np.mean([draw[0]["ratio"] for draw in batches]))
        row["clip_fraction"] = float(np.mean([batch["clipped"] for draw in batches for batch in draw]))
    row["pushed_beyond"] = float(np.mean(pushed)) if pushed else None
    return row


# One row --------------------------------------------------------------------------------------------------


def _evaluated(policy: Policy) -> Dataset:
    prompts = tables.take(load_prompts("validation"), _HELDOUT)
    config = SampleConfig(n=2, seed=1_000_003)
    return judged(policy, prompts, load_reward_model("tiny"), config, reference=load_policy("tiny"))


@cache
def _base_table() -> Dataset:
    return _evaluated(load_policy("tiny"))


def _outcomes(table: Dataset) -> Row:
    kl = np.array(table["logprob"][:]) - np.array(table["reference_logprob"][:])
    lengths = [len(ids) for ids in table["token_ids"][:]]
    means = {name: float(np.mean(table[name][:])) for name in ("gold", "reward")}
    return means | {"kl": float(kl.mean()), "length": float(np.mean(lengths))}


def signature(name: str, seed: int, folder: Path, steps: int = LOOP.steps) -> Row:
    """The row of one flaw (or healthy run) and seed."""
    base, healthy = load_policy("tiny"), HEALTHY.get(name)
    grouped = isinstance(healthy, rl.GRPO) or (healthy is None and issubclass(flaws.FLAWS[name], rl.GRPO))
    loop = dataclasses.replace(GROUPS if grouped else LOOP, seed=seed, steps=steps)
    method, loop, start = (healthy, loop, base) if healthy else flaws.flawed(name, loop, base)
    watched = _Watched(method, loop)
    rl.train(
        start,
        load_reward_model("tiny"),
        arena.training_prompts(seed, _PROMPTS),
        watched,
        loop,
        out=folder / name,
        show_progress=False,
    )
    tuned, history = load_policy(str(folder / name)), read_history(folder / name)
    row = _summary(watched.draws) | _outcomes(_evaluated(tuned)) | {"entropy": history[-1]["entropy"]}
    row["policy_changed"] = float(tuned.fingerprint() != base.fingerprint())
    return {name: None if row.get(name) is None else round(float(row[name]), 6) for name in METRICS}


def read_history(folder: Path) -> list[dict[str, float]]:
    """What training.json says of every draw."""
    from rslib.store import read_json

    return read_json(folder / "training.json")["history"]


def controlled(arm: str, seed: int, folder: Path) -> dict[str, Any]:
    """One arm at equal steps: outcomes, and gold and reward over the base policy, paired by prompt."""
    loop = dataclasses.replace(_CONTROL_LOOP, seed=seed, **CONTROL[arm])
    prompts = arena.training_prompts(seed, _PROMPTS + 100)
    tuned = rl.train(
        load_policy("tiny"),
        load_reward_model("tiny"),
        tables.take(prompts, range(_PROMPTS)),
        rl.PPO(),
        loop,
        out=folder / arm,
        heldout=tables.take(prompts, range(_PROMPTS, _PROMPTS + 100)) if loop.check_every else None,
        show_progress=False,
    )
    table, draws = _evaluated(tuned), len(read_history(folder / arm))
    over = {f"{name}_over_base": compare(table, _base_table(), name) for name in ("gold", "reward")}
    return {k: round(float(v), 4) for k, v in _outcomes(table).items()} | over | {"draws": draws}


def names() -> list[str]:
    """Every class: the healthy runs, then the flaws."""
    return [*HEALTHY, *flaws.FLAWS]


def _facts() -> dict[str, Any]:
    return {
        "loop": dataclasses.asdict(LOOP),
        "groups": dataclasses.asdict(GROUPS),
        "control_loop": dataclasses.asdict(_CONTROL_LOOP),
        "heldout": len(_HELDOUT),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing; the results are written after every row."""
    parser = argparse.ArgumentParser(prog="python -m docs.studies.rl_flaws", description=__doc__)
    parser.add_argument("--seeds", nargs="+", default=list("01234"))
    parser.add_argument("--control", action="store_true", help="the arms at equal steps, not the flaws")
    parser.add_argument("--folder", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    _measure("control" if options.control else "rows", options.seeds, options.folder)


def _measure(column: str, seeds: Sequence[str], results: Path) -> None:
    kinds, one = (list(CONTROL), controlled) if column == "control" else (names(), signature)

    def measured(name: str, seed: str) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            return one(name, int(seed), Path(folder))

    cells = [(name, seed) for seed in seeds for name in kinds]
    measure_rows("rl_flaws", cells, measured, _facts(), column, results)


if __name__ == "__main__":
    main()
