"""One run of one arm with its evaluation, meant for a process of its own: its memory is then the arm's."""

from __future__ import annotations

import dataclasses
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rslib import tables, theory
from rslib.arena import ARMS, SERVED, LengthCorrected, N, Task, served, training_prompts
from rslib.config import EvaluateConfig, SampleConfig
from rslib.ledger import Ledger, peak_memory
from rslib.models import Policy, RewardModel, load_policy, load_reward_model, pick_device
from rslib.more_selectors import length_slope
from rslib.prompts import EMBEDDED, load_prompts
from rslib.sampling import sample
from rslib.scoring import score
from rslib.selection import Pool
from rslib.stages import judged

if TYPE_CHECKING:
    from datasets import Dataset

_POOL = 1536
"""Training prompts that a seed offers to every arm."""
REFERENCE_PROMPTS = 96
"""Prompts of the run whose cost is everyone's budget."""
_MEGABYTE = 2**20


@dataclass(frozen=True)
class Trial:
    """A run to make. stage: "reference", "timing", "correction", "trial" (of a setting) or "final".

    unit, limit: its budget; None for arms without one and for the reference run. setting: what its method is
    run with. split, prompts, samples: what it is judged on. offered: training prompts that it may use.
    seconds_per_token: see `Task`. per_token: what its reward is corrected by; 0.0: not at all.
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
    offered: int = _POOL
    seconds_per_token: float = 0.0
    per_token: float = 0.0

    @property
    def name(self) -> str:
        """A file name of its own."""
        setting = [f"{value:g}" for value in self.setting.values()]
        return "_".join([self.stage, self.arm, self.unit or "none", *setting, str(self.seed)])


def run_trial(trial: Trial) -> dict[str, Any]:
    """The ledger, memory, means over prompts, and gold and reward of each prompt of a run.

    Memory is in MiB: `libraries` before the models are loaded, `peak` when the method has ended and nothing
    has been judged yet.
    """
    torch.set_num_threads(1)
    libraries = _peak_memory()
    policy, reward_model = load_policy(EMBEDDED), load_reward_model(EMBEDDED)
    given = LengthCorrected.of(reward_model, trial.per_token) if trial.per_token else reward_model
    ledger = Ledger(trial.unit, trial.limit) if trial.unit and trial.limit else Ledger()
    tuned, notes = policy, {}
    if ARMS[trial.arm].run is not None:
        tuned, notes = _tuned(trial, policy, given, ledger)
    memory = {"libraries": libraries, "peak": _peak_memory()}
    evaluation = _evaluated(trial, tuned, policy, (reward_model, given), ledger)
    if trial.stage == "correction" and not trial.per_token:
        notes = {"length_slope": _fitted_slope(trial, policy, reward_model)}
    return {
        "trial": dataclasses.asdict(trial),
        "ledger": ledger.to_dict(),
        "memory": memory,
        "device": f"{policy.device.name} {str(policy.device.dtype).removeprefix('torch.')}",
        "notes": {name: round(value, 3) for name, value in notes.items()},
    } | evaluation


def _tuned(
    trial: Trial, policy: Policy, reward_model: RewardModel, ledger: Ledger
) -> tuple[Policy, dict[str, float]]:
    """The arm's policy, and what its run noted."""
    prompts = training_prompts(trial.seed, trial.offered)
    with tempfile.TemporaryDirectory() as folder:
        start = (policy, reward_model, prompts, ledger, trial.setting, trial.seed)
        task = Task(*start, Path(folder), trial.seconds_per_token)
        return ARMS[trial.arm].run(task), task.notes


def _peak_memory() -> float:
    return round((peak_memory(pick_device().name) or 0) / _MEGABYTE, 1)


# The evaluation -------------------------------------------------------------------------------------------


def _fitted_slope(trial: Trial, policy: Policy, reward_model: RewardModel) -> float:
    """Reward that one more token of a response goes with, in a pool on the trial's prompts."""
    table = load_prompts(EMBEDDED, trial.split, trial.prompts)
    responses = sample(policy, table, config=SampleConfig(n=N, seed=trial.seed), show_progress=False)
    return length_slope(Pool(score(reward_model, responses, show_progress=False)))


def _evaluated(
    trial: Trial,
    tuned: Policy,
    start: Policy,
    reward_models: tuple[RewardModel, RewardModel],
    ledger: Ledger,
) -> dict[str, Any]:
    """Means over all prompts, and the values of each prompt that paired comparisons need.

    reward_models: the one whose reward is the proxy of every arm, and the one that this arm was given.
    """
    reward_model, given = reward_models
    table = load_prompts(EMBEDDED, trial.split, trial.prompts)
    config = SampleConfig(n=trial.samples, seed=EvaluateConfig().seed + trial.seed)
    if trial.arm in SERVED:
        table = score(reward_model, served(start, given, table, config, ledger=ledger), show_progress=False)
        rows = per_prompt(table, trial.samples)
        rows["kl"] = np.full(trial.prompts, theory.kl_of_best_of_n(N))
    else:
        table = judged(tuned, table, reward_model, config, reference=start)
        rows = per_prompt(table, trial.samples)
    return {
        "means": {name: _mean(values) for name, values in rows.items()},
        "gold": [round(float(value), 4) for value in rows["gold"]],
        "proxy": [round(float(value), 4) for value in rows["proxy"]],
    }


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
