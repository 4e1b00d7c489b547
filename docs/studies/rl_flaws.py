"""The trace of every flaw of reinforcement learning.

    python -m docs.studies.rl_flaws --seeds 0 1 2        docs/results/rl_flaws.json; finished rows are kept

A row is one run: what a trainer logs, what held-out prompts say of the tuned policy, and a few probes that
ask one part of the method one question (COLUMNS). Runs are as in notebook 06, with fewer and smaller draws.
Prompts that judge are of the validation split.
"""

from __future__ import annotations

import argparse
import dataclasses
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from autograder.handouts.nb05_panels import Run
from autograder.handouts.nb06_panels import METRICS
from autograder.keys.nb05_panels import telling_metrics
from docs.studies.results import RESULTS, markdown, mean_and_range, measure_rows
from docs.studies.rl import evaluated, outcomes
from rslib import arena, rl, tables
from rslib.cache import read_json
from rslib.models import load_policy, load_reward_model
from rslib.rl import flaws
from rslib.rl.methods import Method
from rslib.rl.rollouts import Learner, Rollouts

if TYPE_CHECKING:
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
_HEALTHY_SEEDS = ("3", "4", "5")
"""More seeds of healthy PPO: they tell how far a healthy run scatters."""
COLUMNS = (*METRICS, "group_error")
"""What a row holds: the metrics of 6.5, and how far the mean advantage of a prompt's responses is from 0."""


# What a run is asked --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Watched(Method):
    """A method that does what `method` does and leaves a row of metrics for every draw."""

    method: Method
    loop: rl.Loop
    draws: list[Run] = field(default_factory=list)

    @property
    def needs_values(self) -> bool:
        return self.method.needs_values

    def objective(self, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Objective:
        objective = self.method.objective(learner, rollouts, kl_coefficient)
        everything = list(range(len(rollouts.rows)))
        row: Run = {
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


def _ratio_probes(loss: Tensor, logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> Run:
    """How far the ratios of a minibatch are from 1, and whether the clip holds what it should."""
    ratio, mask = torch.exp(logprobs.detach() - old), old != 0
    held = mask & torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip) & (advantages != 0)
    pushed = None
    if held.any() and loss.requires_grad:
        [gradient] = torch.autograd.grad(loss.sum(), logprobs, retain_graph=True)
        pushed = float((gradient[held] != 0).float().mean())
    off = (ratio - 1).abs()[mask]
    return {"ratio": float(off.mean()), "clipped": float((off > clip).float().mean()), "pushed": pushed}


def _reward_probes(method: rl.PPO, loop: rl.Loop, rollouts: Rollouts) -> Run:
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


def _advantage_probes(method: rl.PPO, learner: Learner, rollouts: Rollouts, kl_coefficient: float) -> Run:
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


def _summary(draws: Sequence[Mapping[str, Any]]) -> Run:
    """The metrics of all draws as one row."""
    batches = [draw["ratios"] for draw in draws if draw.get("ratios")]
    pushed = [batch["pushed"] for draw in batches for batch in draw if batch["pushed"] is not None]
    row: Run = {name: draws[-1].get(name) for name in _LAST}
    for name in ("template_tokens", "learned_tokens", "score_counts", "cut_costs", "reach", "group_error"):
        known = [draw[name] for draw in draws if draw.get(name) is not None]
        row[name] = float(np.mean(known)) if known else None
    if batches:
        row["first_ratio"] = float(np.mean([draw[0]["ratio"] for draw in batches]))
        row["clip_fraction"] = float(np.mean([batch["clipped"] for draw in batches for batch in draw]))
    row["pushed_beyond"] = float(np.mean(pushed)) if pushed else None
    return row


# One row --------------------------------------------------------------------------------------------------


def signature(name: str, seed: int, folder: Path) -> Run:
    """The row of one flaw (or healthy run) and seed."""
    base, healthy = load_policy("tiny"), HEALTHY.get(name)
    grouped = isinstance(healthy, rl.GRPO) or (healthy is None and issubclass(flaws.FLAWS[name], rl.GRPO))
    loop = dataclasses.replace(GROUPS if grouped else LOOP, seed=seed)
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
    tuned, history = load_policy(str(folder / name)), read_json(folder / name / "training.json")["history"]
    table = evaluated(tuned, base, _HELDOUT)
    row = _summary(watched.draws) | outcomes(table) | {"entropy": history[-1]["entropy"]}
    row["length"] = float(np.mean([len(ids) for ids in table["token_ids"][:]]))
    row["policy_changed"] = float(tuned.fingerprint() != base.fingerprint())
    return {name: None if row.get(name) is None else round(float(row[name]), 6) for name in COLUMNS}


def names() -> list[str]:
    """Every class: the healthy runs, then the flaws."""
    return [*HEALTHY, *flaws.FLAWS]


def _facts() -> dict[str, Any]:
    return {
        "loop": dataclasses.asdict(LOOP),
        "groups": dataclasses.asdict(GROUPS),
        "heldout": len(_HELDOUT),
    }


# The page -------------------------------------------------------------------------------------------------

_SHOWN = ("gold", "reward", "kl", "length", "clip_fraction", "value_explained")
"""Outcomes and logs that the page shows of every class."""


def page_text(content: Mapping[str, Any]) -> str:
    """What each flaw does to outcomes and logs, and which probes tell it from every other class."""
    rows = {name: content["rows"][name] for name in names()}
    head = ["run", *(name.replace("_", " ") for name in _SHOWN), "probes that it alone moves"]
    lines = [[name, *_means(by_seed), _telling(name, rows)] for name, by_seed in rows.items()]
    flaws_text = [[name, kind.stage, kind.description] for name, kind in flaws.FLAWS.items()]
    described = markdown(["flaw", "stage", "what it does"], flaws_text, "---")
    return f"{described}\n\n{markdown(head, lines)}"


def _means(by_seed: Mapping[str, Run]) -> list[str]:
    return [mean_and_range([row[name] for row in by_seed.values()]) for name in _SHOWN]


def _telling(name: str, rows: Mapping[str, Mapping[str, Run]]) -> str:
    """The metrics of a flaw that lie apart from those of every other class in every seed."""
    if name in HEALTHY:
        return ""
    probes = [column for column in COLUMNS if column not in (*_SHOWN, "entropy")]
    return ", ".join(f"`{column}`" for column in telling_metrics(name, rows, probes))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing; the results are written after every row."""
    parser = argparse.ArgumentParser(prog="python -m docs.studies.rl_flaws", description=__doc__)
    parser.add_argument("--seeds", nargs="+", default=list("012"))
    parser.add_argument("--folder", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)

    def measured(name: str, seed: str) -> Run:
        with tempfile.TemporaryDirectory() as folder:
            return signature(name, int(seed), Path(folder))

    cells = [(name, seed) for seed in options.seeds for name in names()]
    cells += [("healthy", seed) for seed in _HEALTHY_SEEDS]
    measure_rows("rl_flaws", cells, measured, _facts(), folder=options.folder)


if __name__ == "__main__":
    main()
