"""A smaller arena of notebook 07, run once a process: what the catalogue of 7.1 hands in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from autograder.experiments import temporary_folder
from autograder.handouts.nb07_arena import Arena, row


@dataclass(frozen=True)
class Quick(Arena):
    """An arena on half of the budget and of the prompts, with its runs."""

    folder: Path = Path()

    def tune(self, arm: str, seed: int, out: str | Path) -> tuple[Any, dict[str, Any]]:
        """As Arena.tune, once for each arm and seed, whatever `out` says."""
        return _tuned(arm, seed)

    def judge(self, policy: Any, seed: int, n: int = 1) -> dict[str, Any]:
        """As Arena.judge, remembered."""
        return _judged(policy.path, seed, n)

    def rows(self) -> list[dict[str, Any]]:
        """Every run, as an honest learner hands it in."""
        return [row(self, arm, seed, self.folder / arm) for arm in self.arms for seed in self.seeds]


@cache
def quick() -> Quick:
    """The one Quick of this process; its folder goes when the process ends."""
    return Quick(2.5e10, (1, 2, 3), 24, folder=temporary_folder("nb07"))


@cache
def _tuned(arm: str, seed: int) -> tuple[Any, dict[str, Any]]:
    return Arena.tune(quick(), arm, seed, quick().folder / f"{arm}-{seed}")


@cache
def _judged(folder: str, seed: int, n: int) -> dict[str, Any]:
    from rslib.models import load_policy

    return Arena.judge(quick(), load_policy(folder), seed, n)


EXPERIMENTS: dict[str, Any] = {}
"""Nothing in 7.1 rests on a calibrated threshold."""
