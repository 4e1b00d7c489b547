"""The small arena of notebook 07: four ways to tune on one budget, one that serves, and their judge."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.exercise import Variant
from autograder.handouts import nb07_results
from autograder.handouts.models import base_policy, judge
from rslib import tables
from rslib.progress import note

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.arena import Task
    from rslib.ledger import Ledger
    from rslib.models import Policy

SERVED, BASE = "best_of_n", "base"
TRAINED = ("random", "rs1", "rs1_length", "ppo")
ARMS = (BASE, SERVED, *TRAINED)
LABELS = {
    BASE: "base",
    SERVED: "best of 16, served",
    "random": "random control",
    "rs1": "RS-1",
    "rs1_length": "RS-1, length-corrected",
    "ppo": "PPO",
}
SETTINGS: dict[str, dict[str, float]] = {
    "random": {"learning_rate": 1.5e-3, "epochs": 3},
    "rs1": {"learning_rate": 1.5e-3, "epochs": 3},
    "rs1_length": {"learning_rate": 1.5e-3, "epochs": 3},
    "ppo": {"learning_rate": 9e-4, "kl_coefficient": 0.2},
}
"""What the large arena's trials chose for RS-1 and PPO; what else selects rows gets RS-1's, so that the arms
differ in the choice of rows alone."""
PER_TOKEN = 0.07
"""Reward that the length-corrected arm takes off for every token: what the large arena chose."""
N, OFFERED = 16, 256
CLAIMS = {
    "serving helps": (SERVED, BASE),
    "choosing helps": ("rs1", "random"),
    "PPO is better": ("ppo", "rs1"),
    "correcting helps": ("rs1_length", "rs1"),
    "correcting beats PPO": ("rs1_length", "ppo"),
}
"""Each says that the first arm has more gold than the second."""


def runners() -> dict[str, Callable[[Task], Policy]]:
    """How each arm tunes. Draws of the online methods are small, as the budget is."""
    from rslib import arena as arms
    from rslib import rl

    return {
        "random": partial(arms.rejection_sampling, keep=arms.at_random),
        "rs1": arms.rejection_sampling,
        "rs1_length": arms.rejection_sampling,
        "ppo": arms.online(rl.PPO(), prompts_per_step=16, n=1, epochs=2, minibatch=16),
    }


@cache
def judging_prompts(count: int) -> Dataset:
    """The first validation prompts of `count` different intents, so that no two depend on each other."""
    from rslib.prompts import load_prompts

    table = load_prompts("tiny", "validation")
    _, first = np.unique(table["intent"][:], return_index=True)
    return tables.take(table, np.sort(first)[:count])


@dataclass(frozen=True)
class Arena:
    """A budget in FLOPs, the seeds to run, and how many prompts judge."""

    budget: float
    seeds: tuple[int, ...]
    prompts: int
    arms: tuple[str, ...] = ARMS

    @property
    def claims(self) -> dict[str, tuple[str, str]]:
        """Claim -> (first arm, second arm); each says that the first has more gold."""
        return dict(CLAIMS)

    @property
    def stored(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Claim of the large arena -> gold of its first and of its second arm, each (S, M)."""
        return {claim: nb07_results.tables_of(claim) for claim in nb07_results.stored_claims()}

    @property
    def points(self) -> dict[str, dict[str, dict[str, float]]]:
        """Label of an arm of the large arena -> its gold, reward and KL at equal FLOPs, over seeds."""
        from rslib.arena import ARMS

        return {ARMS[arm].label: point for arm, point in nb07_results.content()["points"].items()}

    def tune(self, arm: str, seed: int, out: str | Path) -> tuple[Policy, dict[str, Any]]:
        """The tuned policy of an arm and its ledger, with a line printed; base where nothing is trained."""
        from rslib.arena import LengthCorrected, Task, training_prompts
        from rslib.ledger import Ledger

        ledger = Ledger("flops", self.budget)
        if arm not in TRAINED:
            return base_policy(), ledger.to_dict()
        reward_model = LengthCorrected.of(judge(), PER_TOKEN) if arm == "rs1_length" else judge()
        start = (base_policy(), reward_model, training_prompts(seed, OFFERED), ledger, SETTINGS[arm], seed)
        began = time.monotonic()
        tuned = runners()[arm](Task(*start, Path(out)))
        seconds = time.monotonic() - began
        note(f"{LABELS[arm]}, seed {seed}: {ledger.flops / 1e9:,.0f} GFLOPs in {seconds:.0f} s")
        return tuned, ledger.to_dict()

    def judge(self, policy: Policy, seed: int, n: int = 1) -> dict[str, Any]:
        """Gold and reward of one response to each judging prompt (lists), and the mean KL in nats.

        n: how many are drawn at serving; the best of them by reward is judged. Above 1 the KL is that of
        best-of-n's bound, log n - (n - 1) / n. `flops_each`: what one served response costs.
        """
        return judged(policy, seed, n, self.prompts)

    def responses(self, row: Mapping[str, Any], prompts: int = 2) -> Dataset:
        """The judged responses of a row of `results` to the first judging prompts, to read."""
        from rslib.models import load_policy

        policy = load_policy(policy_folder(Path(row["policy"])))
        return responses(policy, row["seed"], N if row["arm"] == SERVED else 1, prompts)


def policy_folder(folder: Path) -> Path:
    """The folder itself where it holds a policy; else the one inside it that does, if there is one."""
    inside = [] if (folder / "config.json").exists() else [*folder.glob("*/config.json")]
    return inside[0].parent if len(inside) == 1 else folder


def responses(policy: Policy, seed: int, n: int, prompts: int, ledger: Ledger | None = None) -> Dataset:
    """One response to each of so many prompts, scored and judged; above n = 1 the best of n.

    The ledger counts what serving costs: with n = 1 nobody has to score.
    """
    from rslib import arena as arms
    from rslib import stages
    from rslib.config import SampleConfig

    heldout, config = judging_prompts(prompts), SampleConfig(n=1, seed=10_007 + seed)
    if n > 1:
        return arms.served(policy, judge(), heldout, config, n=n, ledger=ledger)
    same = policy.fingerprint() == base_policy().fingerprint()
    rows = stages.judged(policy, heldout, judge(), config, reference=policy if same else base_policy())
    if ledger is not None:
        tokens = sum(map(len, rows["token_ids"][:]))
        read = sum(map(len, policy.encode_many(heldout["prompt"][:])))
        ledger.sampled(policy.parameters, responses=len(rows), tokens=tokens, prompt_tokens=read)
    return rows


def judged(policy: Policy, seed: int, n: int, prompts: int) -> dict[str, Any]:
    """What `Arena.judge` says, on this many prompts."""
    from rslib import theory
    from rslib.ledger import Ledger

    ledger = Ledger()
    rows = responses(policy, seed, n, prompts, ledger)
    kl = theory.kl_of_best_of_n(n)
    if n <= 1:
        kl = np.subtract(rows["logprob"][:], rows["reference_logprob"][:]).mean()
    return {
        "gold": [float(value) for value in rows["gold"][:]],
        "reward": [float(value) for value in rows["reward"][:]],
        "kl": float(kl),
        "flops_each": ledger.flops / prompts,
    }


def given(variant: Variant) -> Arena:
    """The arena of a course: all its learners run the same seeds, so that they can compare their tables."""
    course = replace(variant, student="")
    first = int(course.rng("seeds").integers(1, 9_000))
    return Arena(1e11, (first, first + 1, first + 2), 48)


def row(arena: Arena, arm: str, seed: int, out: str | Path) -> dict[str, Any]:
    """One run as the learner's table holds it."""
    policy, ledger = arena.tune(arm, seed, out)
    result = arena.judge(policy, seed, N if arm == SERVED else 1)
    return {"arm": arm, "seed": seed, "policy": str(policy.path), "ledger": ledger} | result


def table_of(results: list[Mapping[str, Any]], arm: str, column: str = "gold") -> np.ndarray:
    """A column of an arm (S, M), by seed."""
    rows = sorted((run for run in results if run["arm"] == arm), key=lambda run: run["seed"])
    return np.array([run[column] for run in rows], dtype=float)
