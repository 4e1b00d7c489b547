"""All cells of the arena, each in a process of its own; what is finished is kept.

First the reference run, whose cost is everyone's budget; then the trials of every method, on validation
prompts and with a seed of their own; then the finals, seed after seed, with each method's chosen setting.
Seconds are measured anew right before the runs that are held to them, with as many runs side by side.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from docs.studies.arena.cell import REFERENCE_PROMPTS, Cell, run_cell
from rslib.arena import ARMS, Arm
from rslib.config import require, unknown_name
from rslib.errors import BudgetError, RSError
from rslib.progress import Progress, note
from rslib.store import atomic_write, make_folder, read_json

BUDGETS = ("responses", "flops", "cpu_seconds")
TUNED_AT = {"responses": "responses", "flops": "flops", "cpu_seconds": "flops"}
"""The budget at which the setting for a budget is tried. For the FLOPs, or in the time, of a round of RS-1 an
online method takes few steps, for as many responses it takes many: no setting suits both."""
TRIED = ("flops", "responses")
"""In this order: at the first all settings are tried, at the second the learning rates again, with the second
setting that the first has chosen."""
ORDER = ("flops", "cpu_seconds", "responses")
"""Of the budgets when they are measured: the dearest runs come last."""
REFERENCE = ("rs1", {"learning_rate": 5e-4, "epochs": 3})
"""The run whose cost is everyone's budget: RS-1 as the engine does it when nothing is set."""


@dataclass(frozen=True)
class Plan:
    """What is measured. trials: how many of each method's six settings are tried, from the first.

    tuning_seed: of the trials and of the reference run. timings: reference runs whose median time is the
    budget of time.
    """

    arms: tuple[str, ...] = tuple(ARMS)
    budgets: tuple[str, ...] = BUDGETS
    seeds: tuple[int, ...] = tuple(range(8))
    tuning_seed: int = 100
    timings: int = 3
    trials: int = 6
    reference_prompts: int = REFERENCE_PROMPTS
    validation_prompts: int = 150
    test_prompts: int = 200
    samples: int = 2

    def __post_init__(self) -> None:
        for name in self.arms:
            if name not in ARMS:
                raise unknown_name("arm", name, ARMS, "arena")
        fix = "Settings for equal seconds are tried at equal FLOPs."
        require("flops" in self.budgets, f"budgets are {self.budgets}", "Plan.budgets", f"Use flops. {fix}")
        fix = "The setting is chosen with a seed that no final uses."
        require(self.tuning_seed not in self.seeds, f"seed {self.tuning_seed} tunes", "Plan.seeds", fix)

    @property
    def trained(self) -> list[str]:
        """The arms that a run tunes."""
        return [name for name in self.arms if ARMS[name].run is not None]

    def reference(self) -> list[Cell]:
        """The run that sets the budgets of responses and FLOPs."""
        return self._references("reference", 1)

    def timing(self) -> list[Cell]:
        """The runs that set the budget of time."""
        return self._references("timing", self.timings)

    def _references(self, stage: str, runs: int) -> list[Cell]:
        arm, setting = REFERENCE
        own = {"limit": None, "offered": self.reference_prompts}
        return [
            self._on_validation(stage, arm, None, self.tuning_seed + at, setting, own) for at in range(runs)
        ]

    def tried(
        self, unit: str, budget: dict[str, float], before: dict[str, dict[str, float]] | None = None
    ) -> list[Cell]:
        """The trials of every method at one budget; `before`: the settings that an earlier one chose."""
        return [
            self._on_validation("trial", arm, unit, self.tuning_seed, setting, budget)
            for arm in self.trained
            for setting in self._settings(ARMS[arm], (before or {}).get(arm))
        ]

    def _settings(self, arm: Arm, before: dict[str, float] | None) -> list[dict[str, float]]:
        kept = None if before is None or arm.second is None else before[arm.second[0]]
        return arm.trials(kept)[: self.trials]

    def finals(
        self, unit: str | None, budget: dict[str, float], settings: dict[str, dict[str, float]]
    ) -> list[Cell]:
        """Every arm with every seed in one budget, on the test split; `unit` None: the untrained arms."""
        arms = self.trained if unit else [arm for arm in self.arms if arm not in self.trained]
        judged = {"split": "test", "prompts": self.test_prompts, "samples": self.samples}
        return [
            Cell("final", arm, unit, seed=seed, setting=settings.get(arm, {}), **budget, **judged)
            for seed in self.seeds
            for arm in arms
        ]

    def _on_validation(
        self,
        stage: str,
        arm: str,
        unit: str | None,
        seed: int,
        setting: dict[str, float],
        own: dict[str, Any],
    ) -> Cell:
        judged = {"split": "validation", "prompts": self.validation_prompts, "samples": self.samples}
        return Cell(stage, arm, unit, seed=seed, setting=setting, **own, **judged)


QUICK = Plan(
    arms=("base", "random", "rs1", "best_of_n", "ppo"),
    seeds=(0, 1),
    timings=1,
    trials=2,
    reference_prompts=8,
    validation_prompts=10,
    test_prompts=12,
    samples=1,
)
"""A small plan that shows that everything works; its numbers mean nothing."""


def measure(
    plan: Plan, out: str | Path, *, workers: int = 1, run: Callable[[Cell], dict[str, Any]] = run_cell
) -> dict[str, list[dict[str, Any]]]:
    """The results of all cells by stage: "reference", "trials", "finals". Finished ones are read, not run.

    `workers` runs go side by side, each in a process of its own; 0: one after the other in this process.
    Raises ConfigError for workers below 0, StoreError when `out` cannot be used, BudgetError when a run was
    ended from outside, and what a cell of the reference run or of the finals raises; a trial that fails (a
    learning rate that lets the loss explode) is a result, the worst.
    """
    require(workers >= 0, f"workers is {workers}", "arena", "Use 1 or more, or 0 for this process alone.")
    folder = make_folder(Path(out) / "cells")

    def all_of(cells: Sequence[Cell]) -> list[dict[str, Any]]:
        return _all(cells, folder, workers, run)

    reference, trials = all_of(plan.reference()), []
    finals = all_of(plan.finals(None, {"limit": None}, {}))
    for unit in [unit for unit in ORDER if unit in plan.budgets]:
        if unit == "cpu_seconds":
            reference = reference + all_of(plan.timing())
        budget = budgets_of(reference)[unit]
        if unit in TRIED:
            trials = trials + all_of(plan.tried(unit, budget, chosen(trials).get(TRIED[0])))
        finals = finals + all_of(plan.finals(unit, budget, chosen(trials)[TUNED_AT[unit]]))
    return {"reference": reference, "trials": trials, "finals": finals}


def budgets_of(reference: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Unit -> the limit of the budget, and what a run must know beside it.

    Responses and FLOPs are those of the first run, time is the median of the timed runs (the first run's,
    until there are some).
    """
    timed = [one for one in reference if one["cell"]["stage"] == "timing"] or list(reference)
    first = reference[0]["ledger"]
    rate = median([one["notes"]["tuning_seconds"] / one["ledger"]["trained_tokens"] for one in timed])
    limits = {unit: first[unit] for unit in ("responses", "flops")}
    limits["cpu_seconds"] = median([one["ledger"]["cpu_seconds"] for one in timed])
    known = {"seconds_per_token": rate}
    return {u: {"limit": float(v)} | (known if u == "cpu_seconds" else {}) for u, v in limits.items()}


def chosen(trials: Sequence[dict[str, Any]], by: str = "gold") -> dict[str, dict[str, dict[str, float]]]:
    """Budget -> arm -> the setting with the highest mean of `by` on the validation prompts."""
    best: dict[str, dict[str, dict[str, Any]]] = {}
    for trial in trials:
        cell = trial["cell"]
        arms = best.setdefault(cell["unit"], {})
        if cell["arm"] not in arms or score_of(trial, by) > score_of(arms[cell["arm"]], by):
            arms[cell["arm"]] = trial
    return {unit: {arm: t["cell"]["setting"] for arm, t in arms.items()} for unit, arms in best.items()}


def score_of(trial: dict[str, Any], by: str) -> float:
    """The mean of a metric, or minus infinity for a trial that failed."""
    return trial["means"][by] if "means" in trial else float("-inf")


# Running --------------------------------------------------------------------------------------------------


def _all(
    cells: Sequence[Cell], folder: Path, workers: int, run: Callable[[Cell], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The results in the order of the cells."""
    missing = [cell for cell in cells if _kept(cell, folder) is None]
    with Progress(len(cells), f"arena, {cells[0].stage}", "runs") as progress:
        progress.advance(len(cells) - len(missing), cached=True)
        for cell, result in _results(missing, workers, run):
            atomic_write(_file(cell, folder), json.dumps(result, sort_keys=True) + "\n")
            progress.advance()
            if "error" in result:
                note(f"{cell.name}: {result['error']}")
    return [_kept(cell, folder) for cell in cells]


def _results(
    cells: Sequence[Cell], workers: int, run: Callable[[Cell], dict[str, Any]]
) -> Iterator[tuple[Cell, dict[str, Any]]]:
    """Each cell's result as it comes, from a process that ends with it."""
    if not workers:
        yield from ((cell, guarded(run, cell)) for cell in cells)
        return
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":
        context.set_forkserver_preload(
            ["docs.studies.arena.cell"]
        )  # libraries are read once, not by every run
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        waiting = {pool.submit(guarded, run, cell): cell for cell in cells}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BrokenProcessPool as error:
            what, fix = "a run was ended from outside", "Free memory and call again: finished runs are kept."
            raise BudgetError(what, where="arena", fix=fix) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def guarded(run: Callable[[Cell], dict[str, Any]], cell: Cell) -> dict[str, Any]:
    """The result of a cell; a trial that fails gives its error instead."""
    try:
        return run(cell)
    except RSError as error:
        if cell.stage != "trial":
            raise
        return {"cell": dataclasses.asdict(cell), "error": str(error).splitlines()[0]}


def _file(cell: Cell, folder: Path) -> Path:
    return folder / f"{cell.name}.json"


def _kept(cell: Cell, folder: Path) -> dict[str, Any] | None:
    """The stored result of exactly this cell, if there is one."""
    path = _file(cell, folder)
    found = read_json(path) if path.exists() else None
    return found if found and found["cell"] == dataclasses.asdict(cell) else None
