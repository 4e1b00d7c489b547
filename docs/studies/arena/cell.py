"""One run of one arm with its evaluation, meant for a process of its own: its memory is then the arm's."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rslib import tables, theory
from rslib.arena import ARMS, N, Task, training_prompts
from rslib.config import EvaluateConfig, SampleConfig
from rslib.ledger import Ledger
from rslib.models import Policy, RewardModel, load_policy, load_reward_model
from rslib.prompts import EMBEDDED, load_prompts
from rslib.sampling import sample
from rslib.scoring import score
from rslib.selection import select
from rslib.stages import judged, with_gold, with_reference

if TYPE_CHECKING:
    from datasets import Dataset

POOL = 1536
"""Training prompts that a seed offers to every arm."""
REFERENCE_PROMPTS = 96
"""Prompts of the run whose cost is everyone's budget."""
MEGABYTE = 2**20


@dataclass(frozen=True)
class Cell:
    """A run to make. unit, limit: its budget; None for arms without one and for the reference run.

    setting: of its trial. split, prompts, samples: what it is judged on. offered: training prompts that it
    may use. seconds_per_token: see `Task`.
    """

    stage: str
    arm: str
    unit: str | None
    limit: float | None
    seed: int
    split: str
    prompts: int
    samples: int
    setting: dict[str, float] = field(default_factory=dict)
    offered: int = POOL
    seconds_per_token: float = 0.0

    @property
    def name(self) -> str:
        """A file name of its own."""
        setting = [f"{value:g}" for value in self.setting.values()]
        return "_".join([self.stage, self.arm, self.unit or "none", *setting, str(self.seed)])


def run_cell(cell: Cell) -> dict[str, Any]:
    """Tune and judge: the ledger, memory, means over prompts, and gold and reward of each prompt.

    Memory is in MiB: `libraries` before the models are loaded, `peak` when the method has ended and nothing
    has been judged yet.
    """
    torch.set_num_threads(1)
    libraries = peak_memory()
    policy, reward_model = load_policy(EMBEDDED), load_reward_model(EMBEDDED)
    ledger = Ledger(cell.unit, cell.limit) if cell.unit and cell.limit else Ledger()
    tuned, notes = policy, {}
    if ARMS[cell.arm].run is not None:
        tuned, notes = _tuned(cell, policy, reward_model, ledger)
    memory = {"libraries": libraries, "peak": peak_memory()}
    judged = _judged(cell, tuned, policy, reward_model, ledger)
    return {
        "cell": dataclasses.asdict(cell),
        "ledger": ledger.to_dict(),
        "memory": memory,
        "device": f"{policy.device.name} {str(policy.device.dtype).removeprefix('torch.')}",
        "notes": {name: round(value, 3) for name, value in notes.items()},
    } | judged


def _tuned(
    cell: Cell, policy: Policy, reward_model: RewardModel, ledger: Ledger
) -> tuple[Policy, dict[str, float]]:
    """The arm's policy, and what its run noted."""
    prompts = training_prompts(cell.seed, cell.offered)
    with tempfile.TemporaryDirectory() as folder:
        task = Task(
            policy,
            reward_model,
            prompts,
            ledger,
            cell.setting,
            cell.seed,
            Path(folder),
            cell.seconds_per_token,
        )
        return ARMS[cell.arm].run(task), task.notes


def peak_memory() -> float:
    """The most memory that this process has held, in MiB; on a GPU that of its tensors."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_allocated() / MEGABYTE, 1)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE, 1)


# The evaluation -------------------------------------------------------------------------------------------


def _judged(
    cell: Cell, tuned: Policy, start: Policy, reward_model: RewardModel, ledger: Ledger
) -> dict[str, Any]:
    """Means over all prompts, and the values of each prompt that paired comparisons need."""
    table = load_prompts(EMBEDDED, cell.split, cell.prompts)
    seed = EvaluateConfig().seed + cell.seed
    if cell.arm == "best_of_n":
        served = _served(start, reward_model, table, cell.samples, seed, ledger)
        served = with_gold(with_reference(None, served))  # the starting policy wrote it
    else:
        config = SampleConfig(n=cell.samples, seed=seed)
        served = judged(tuned, table, reward_model, config, reference=start)
    rows = per_prompt(served, cell.samples)
    if cell.arm == "best_of_n":
        rows["kl"] = np.full(cell.prompts, theory.kl_of_best_of_n(N))
    return {
        "means": {name: _mean(values) for name, values in rows.items()},
        "gold": [round(float(value), 4) for value in rows["gold"]],
        "proxy": [round(float(value), 4) for value in rows["proxy"]],
    }


def _served(
    policy: Policy, reward_model: RewardModel, prompts: Dataset, samples: int, seed: int, ledger: Ledger
) -> Dataset:
    """The best of n by reward, `samples` times for each prompt; the ledger counts what serving costs."""
    with ledger:
        pool = sample(policy, prompts, n=N * samples, seed=seed, show_progress=False)
        scored = score(reward_model, pool, show_progress=False)
    tokens = sum(map(len, scored["token_ids"][:]))
    read = samples * sum(map(len, policy.encode_many(prompts["prompt"][:])))
    ledger.sampled(policy.parameters, responses=len(scored), tokens=tokens, prompt_tokens=read)
    ledger.read(reward_model.parameters, tokens + read)
    ledger.held(2)
    turns = np.array(scored["sample_id"][:]) // N
    best = [
        select(tables.take(scored, np.flatnonzero(turns == turn)), "best_of_n", seed=seed)
        for turn in range(samples)
    ]
    chosen = {tuple(key) for part in best for key in zip(part["prompt_id"], part["sample_id"], strict=True)}
    keys = zip(scored["prompt_id"][:], scored["sample_id"][:], strict=True)
    return tables.take(scored, [at for at, key in enumerate(keys) if key in chosen])


def per_prompt(table: Dataset, samples: int) -> dict[str, np.ndarray]:
    """Mean over the `samples` responses of each prompt (M,) of every metric; NaN where it has none."""
    complied = [np.nan if value is None else float(value) for value in table["complied"][:]]
    columns = {
        "gold": table["gold"][:],
        "proxy": table["reward"][:],
        "kl": np.subtract(table["logprob"][:], table["reference_logprob"][:]),
        "length": [len(ids) for ids in table["token_ids"][:]],
        "truncation_rate": tables.finish_reasons(table) == "length",
        "unsafe_compliance": complied,
    }
    return {
        name: np.asarray(values, dtype=float).reshape(-1, samples).mean(1) for name, values in columns.items()
    }


def _mean(values: np.ndarray) -> float | None:
    known = values[~np.isnan(values)]
    return round(float(known.mean()), 5) if known.size else None
