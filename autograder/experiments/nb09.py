"""Four small policies that stand for a learner's round in the catalogue of 9.5."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from autograder.exercises.artefacts import memoize
from autograder.exercises.nb09_5 import LEARNERS_HELDOUT, arms, shares, start
from autograder.experiments import temporary_folder
from rslib.world import arithmetic

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset

EXPERIMENTS: dict[str, Any] = {}
"""None: 9.5 has no threshold. A learner's numbers are held to a new measurement of their own policies."""


@cache
def heldout() -> Dataset:
    """The notebook's validation problems."""
    return arithmetic.load_problems("validation", LEARNERS_HELDOUT)


@cache
def folders() -> dict[str, str]:
    """Folders of policies after one short epoch each, and GRPO after one step; they go with the process."""
    from rslib import finetuning, rl, sampling, scoring

    home = temporary_folder("nb09")
    problems = arithmetic.load_problems("train", 40)
    drawn = sampling.sample(start(), problems, n=8, seed=1, show_progress=False)
    pool = scoring.score(arithmetic.correct, drawn, show_progress=False)
    paths = [arithmetic.equations(text) for text in pool["response"]]
    sets = arms(pool["prompt_id"][:], pool["reward"][:], paths, 4, 0)
    for arm, rows in sets.items():
        finetuning.finetune(start(), pool.select(rows), home / arm, epochs=1, show_progress=False)
    loop = rl.Loop(steps=1, n=4, prompts_per_step=20, normalise_rewards=False, missing_eos_penalty=0.0)
    rl.train(
        start(),
        arithmetic.correct,
        problems,
        rl.GRPO(),
        loop,
        out=home / "GRPO",
        show_progress=False,
    )
    return {arm: str(home / arm) for arm in (*sets, "GRPO")}


@memoize
def quick_shares(folder: str | None) -> np.ndarray:
    """The share of right responses to the notebook's problems, of a folder's policy or of the start."""
    from rslib.models import load_policy

    return shares(load_policy(folder) if folder else start(), heldout(), 1_000_003)
