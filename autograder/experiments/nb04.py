"""What honest, idle and random work gives in 4.3 and 4.5."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from autograder.exercises.artefacts import gain, hidden_prompts, judged, memoize, own_rows, training_window
from autograder.exercises.nb04_3 import N
from autograder.exercises.nb04_5 import learned
from autograder.experiments import temporary_folder
from autograder.handouts.models import base_policy, judge
from rslib import tables

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy

SETTINGS = {"epochs": 3, "learning_rate": 1e-3, "show_progress": False}
"""As in the notebook."""
FIRST, LATER, LATER_N = 128, 64, 8
"""Prompts of round 1, prompts of a later round, responses to each in a later round."""
FEW = 160


def prompts_of(seed: int) -> list[Dataset]:
    """The prompts of three rounds, none in two."""
    ends = np.cumsum([0, FIRST, LATER, LATER])
    window = training_window(seed, ends[-1])
    return [tables.take(window, range(first, last)) for first, last in itertools.pairwise(ends)]


def draw(policy: Policy, prompts: Dataset, n: int, seed: int) -> Dataset:
    """A scored pool."""
    from rslib.sampling import sample
    from rslib.scoring import score

    drawn = sample(policy, prompts, n=n, seed=seed, show_progress=False)
    return score(judge(), drawn, show_progress=False)


def kept(pool: Dataset, selector: str, seed: int) -> Dataset:
    """The finished rows that a selector keeps."""
    from rslib.selection import select

    return select(pool, selector, seed=seed, truncated="drop")


def tune(policy: Policy, rows: Dataset, out: Path, seed: int) -> Policy:
    """Fine-tune as the notebook does."""
    from rslib.finetuning import finetune

    return finetune(policy, rows, out, seed=seed, **SETTINGS)


def best_of_16(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """4.3: reward over the base policy and over a random pick; `random` is a second random pick.

    And own_rows: of the best and of a random pick, the lower. Its other arms tuned on other rows: on a random
    pick of the pool, and `elsewhere` on the best of other prompts.
    """
    first, others, _ = prompts_of(seed)
    pool, pools = draw(base_policy(), first, N, seed), draw(base_policy(), others, N, seed)
    best, pick = kept(pool, "best_of_n", seed), kept(pool, "random", seed)
    rows = {"honest": best, "random": kept(pool, "random", seed + 1), "control": pick}
    rows["elsewhere"] = kept(pools, "best_of_n", seed)
    arms = {arm: tune(base_policy(), table, folder / arm, seed) for arm, table in rows.items()}
    known = {arm: own_rows(base_policy(), policy, best, pool) for arm, policy in arms.items()}
    honest = min(known["honest"], own_rows(base_policy(), arms["control"], pick, pool))
    learned_own = {
        "honest": honest,
        "random": known["control"],
        "elsewhere": known["elsewhere"],
        "do_nothing": 0.0,
    }
    return _gains(arms, seed) | {"own_rows": learned_own}


def _gains(arms: Mapping[str, Policy], seed: int) -> dict[str, dict[str, float]]:
    hidden = hidden_prompts(np.random.default_rng(seed))
    against = {"over_base": base_policy(), "over_random": arms["control"]}
    compared = {name: judged(policy, hidden, seed) for name, policy in against.items()}
    measured = {arm: judged(arms[arm], hidden, seed) for arm in ("honest", "random")}
    measured["do_nothing"] = compared["over_base"]
    return {
        name: {arm: gain(table, other, "reward") for arm, table in measured.items()}
        for name, other in compared.items()
    }


def second_round(seed: int, folder: Path) -> dict[str, dict[str, float]]:
    """4.5: how much more of its pool's best rows round 2 learned; `random` tuned on a random pick of it."""
    first, second, _ = prompts_of(seed)
    rows = kept(draw(base_policy(), first, N, seed), "best_of_n", seed)
    before = tune(base_policy(), rows, folder / "1", seed)
    pool = draw(before, second, LATER_N, seed + 1)
    arms = {"honest": "best_of_n", "random": "random"}
    tuned = {arm: tune(before, kept(pool, name, seed), folder / arm, seed) for arm, name in arms.items()}
    tuned["do_nothing"] = before
    return {"learned": {arm: learned(before, policy, pool) for arm, policy in tuned.items()}}


class Quick:
    """Stands for `rslib` in the catalogue of answers: each stage once a process, tuned on about FEW rows."""

    def __init__(self, folder: Path) -> None:
        import rslib

        self.folder, self.made = folder, 0
        self.load_prompts, self.select, self.load_policy = rslib.load_prompts, rslib.select, rslib.load_policy
        self.sample = memoize(partial(rslib.sample, show_progress=False))
        self.score = memoize(partial(rslib.score, show_progress=False))
        self._finetune = memoize(self._tuned)

    def finetune(self, policy: Policy, kept: Dataset, out: object, **settings: object) -> Policy:
        """As rslib.finetune, into a folder of its own whatever `out` says."""
        return self._finetune(policy, kept, **settings)

    def _tuned(self, policy: Policy, rows: Dataset, **settings: object) -> Policy:
        from rslib.finetuning import finetune

        self.made += 1
        some = tables.take(rows, range(0, len(rows), max(1, len(rows) // FEW)))
        settings |= {"allow_other_policy": True, "show_progress": False}
        return finetune(policy, some, self.folder / str(self.made), **settings)


@cache
def quick() -> Quick:
    """The one Quick of this process; its folder goes when the process ends."""
    return Quick(temporary_folder("nb04"))


EXPERIMENTS = {"4.3": best_of_16, "4.5": second_round}
