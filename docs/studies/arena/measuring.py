"""All runs of the arena, each in a process of its own; what is finished is kept.

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

from docs.studies.arena.trial import REFERENCE_PROMPTS, Trial, run_trial
from rslib.arena import ARMS
from rslib.cache import atomic_write, make_folder, read_json
from rslib.config import require, unknown_name
from rslib.errors import BudgetError, RSError
from rslib.progress import Progress, note

BUDGETS = ("responses", "flops", "cpu_seconds")
_TUNED_AT = {"responses": "responses", "flops": "flops", "cpu_seconds": "flops"}
"""The budget at which the setting for a budget is tried. For the FLOPs, or in the time, of a round of RS-1 an
online method takes few steps, for as many responses it takes many: no setting suits both."""
TRIED = ("flops", "responses")
"""In this order: at the first all settings are tried, at the second the learning rates again, with the second
setting that the first has chosen."""
_ORDER = ("flops", "cpu_seconds", "responses")
"""Of the budgets when they are measured: the dearest runs come last."""
_STRENGTHS = (0.5, 1.0, 1.5, 2.0)
"""Corrections of the reward that are tried, as multiples of the slope of reward on length within prompts."""
_REFERENCE = ("rs1", {"learning_rate": 5e-4, "epochs": 3})
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

    def references(self, stage: str, runs: int) -> list[Trial]:
        """So many runs whose cost sets budgets: "reference" of responses and FLOPs, "timing" of time."""
        arm, setting = _REFERENCE
        budget = {"limit": None, "offered": self.reference_prompts}
        seeds = range(self.tuning_seed, self.tuning_seed + runs)
        return [self._on_validation(stage, arm, None, seed, setting, budget) for seed in seeds]

    @property
    def corrected(self) -> bool:
        """Whether an arm is given a corrected reward."""
        return any(ARMS[name].corrected for name in self.arms)

    def corrections(self, slope: float | None = None) -> list[Trial]:
        """Serving the best of n by rewards corrected so and so strongly; without a slope: not corrected."""
        arm, budget = "best_of_n" if slope is None else "best_of_n_length", {"limit": None}
        strengths = [0.0] if slope is None else _STRENGTHS
        trials = [
            self._on_validation("correction", arm, None, self.tuning_seed, {"strength": value}, budget)
            for value in strengths
        ]
        tokens = [round(value * (slope or 0.0), 4) for value in strengths]
        return [dataclasses.replace(t, per_token=value) for t, value in zip(trials, tokens, strict=True)]

    def tried(
        self, unit: str, budget: dict[str, float], before: dict[str, dict[str, float]] | None = None
    ) -> list[Trial]:
        """The trials of every method at one budget; `before`: the settings that an earlier one chose.

        With these the second setting stays, and the learning rates alone are tried again.
        """
        trials = []
        for name, arm in ((name, ARMS[name]) for name in self.trained):
            second = before[name][arm.second[0]] if before and arm.second else None
            trials += [
                self._on_validation("trial", name, unit, self.tuning_seed, setting, budget)
                for setting in arm.trials(second)[: self.trials]
            ]
        return trials

    def finals(
        self, unit: str | None, budget: dict[str, float], settings: dict[str, dict[str, float]]
    ) -> list[Trial]:
        """Every arm with every seed in one budget, on the test split; `unit` None: the untrained arms."""
        arms = self.trained if unit else [arm for arm in self.arms if arm not in self.trained]
        judged = {"split": "test", "prompts": self.test_prompts, "samples": self.samples}
        return [
            Trial("final", arm, unit, seed=seed, setting=settings.get(arm, {}), **budget, **judged)
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
        budget: dict[str, Any],
    ) -> Trial:
        judged = {"split": "validation", "prompts": self.validation_prompts, "samples": self.samples}
        return Trial(stage, arm, unit, seed=seed, setting=setting, **budget, **judged)


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
    plan: Plan, out: str | Path, *, workers: int = 1, run: Callable[[Trial], dict[str, Any]] = run_trial
) -> dict[str, list[dict[str, Any]]]:
    """The results of all runs by stage, "reference", "corrections", "trials" and "finals"; finished are read.

    `workers` runs go side by side, each in a process of its own; 0: one after the other in this process.
    Raises ConfigError for workers below 0, StoreError when `out` cannot be used, BudgetError when a run was
    ended from outside, and what the reference run or a final raises; a trial that fails (a learning rate that
    lets the loss explode) is a result, the worst.
    """
    require(workers >= 0, f"workers is {workers}", "arena", "Use 1 or more, or 0 for this process alone.")
    folder = make_folder(Path(out) / "trials")

    corrections: list[dict[str, Any]] = []

    def all_of(runs: Sequence[Trial]) -> list[dict[str, Any]]:
        per_token = chosen_correction(corrections)
        return _all([_with_correction(trial, per_token) for trial in runs], folder, workers, run)

    reference, trials = all_of(plan.references("reference", 1)), []
    if plan.corrected:
        plain = all_of(plan.corrections())
        corrections = plain + all_of(plan.corrections(plain[0]["notes"]["length_slope"]))
    finals = all_of(plan.finals(None, {"limit": None}, {}))
    for unit in [unit for unit in _ORDER if unit in plan.budgets]:
        if unit == "cpu_seconds":
            reference = reference + all_of(plan.references("timing", plan.timings))
        budget = budgets_of(reference)[unit]
        if unit in TRIED:
            trials = trials + all_of(plan.tried(unit, budget, chosen(trials).get(TRIED[0])))
        finals = finals + all_of(plan.finals(unit, budget, chosen(trials)[_TUNED_AT[unit]]))
    return {"reference": reference, "corrections": corrections, "trials": trials, "finals": finals}


def chosen_correction(corrections: Sequence[dict[str, Any]]) -> float:
    """Reward per token that is taken off: that of the highest mean gold on the validation prompts; or 0.0."""
    best = max(corrections, key=lambda result: score_of(result, "gold"), default=None)
    return best["trial"]["per_token"] if best else 0.0


def _with_correction(trial: Trial, per_token: float) -> Trial:
    """The trial with the chosen correction, where its arm is given one and it does not try another."""
    wanted = ARMS[trial.arm].corrected and trial.stage != "correction"
    return dataclasses.replace(trial, per_token=per_token) if wanted else trial


def budgets_of(reference: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Unit -> the limit of the budget, and what a run must know beside it.

    Responses and FLOPs are those of the first run, time is the median of the timed runs (the first run's,
    until there are some).
    """
    timed = [result for result in reference if result["trial"]["stage"] == "timing"] or list(reference)
    first = reference[0]["ledger"]
    rates = [result["notes"]["tuning_seconds"] / result["ledger"]["trained_tokens"] for result in timed]
    limits = {unit: {"limit": float(first[unit])} for unit in ("responses", "flops")}
    seconds = median(result["ledger"]["cpu_seconds"] for result in timed)
    return limits | {"cpu_seconds": {"limit": float(seconds), "seconds_per_token": median(rates)}}


def chosen(trials: Sequence[dict[str, Any]], by: str = "gold") -> dict[str, dict[str, dict[str, float]]]:
    """Budget -> arm -> the setting with the highest mean of `by` on the validation prompts."""
    best: dict[str, dict[str, dict[str, Any]]] = {}
    for result in trials:
        trial = result["trial"]
        arms = best.setdefault(trial["unit"], {})
        if trial["arm"] not in arms or score_of(result, by) > score_of(arms[trial["arm"]], by):
            arms[trial["arm"]] = result
    return {unit: {arm: r["trial"]["setting"] for arm, r in arms.items()} for unit, arms in best.items()}


def score_of(result: dict[str, Any], by: str) -> float:
    """The mean of a metric, or minus infinity for a trial that failed."""
    return result["means"][by] if "means" in result else float("-inf")


# Running --------------------------------------------------------------------------------------------------


def _all(
    trials: Sequence[Trial], folder: Path, workers: int, run: Callable[[Trial], dict[str, Any]]
) -> list[dict[str, Any]]:
    """The results in the order of the trials."""
    if not trials:
        return []
    missing = [trial for trial in trials if _stored(trial, folder) is None]
    with Progress(len(trials), f"arena, {trials[0].stage}", "runs") as progress:
        progress.advance(len(trials) - len(missing), cached=True)
        for trial, result in _results(missing, workers, run):
            atomic_write(_file(trial, folder), json.dumps(result, sort_keys=True) + "\n")
            progress.advance()
            if "error" in result:
                note(f"{trial.name}: {result['error']}")
    return [_stored(trial, folder) for trial in trials]


def _results(
    trials: Sequence[Trial], workers: int, run: Callable[[Trial], dict[str, Any]]
) -> Iterator[tuple[Trial, dict[str, Any]]]:
    """Each trial's result as it comes, from a process that ends with it."""
    if not workers:
        yield from ((trial, guarded(run, trial)) for trial in trials)
        return
    kind = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)
    if kind == "forkserver":  # libraries are read once, not by every run
        context.set_forkserver_preload(["docs.studies.arena.trial"])
    with ProcessPoolExecutor(workers, mp_context=context, max_tasks_per_child=1) as pool:
        waiting = {pool.submit(guarded, run, trial): trial for trial in trials}
        try:
            for done in as_completed(waiting):
                yield waiting[done], done.result()
        except BrokenProcessPool as error:
            what, fix = "a run was ended from outside", "Free memory and call again: finished runs are kept."
            raise BudgetError(what, where="arena", fix=fix) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def guarded(run: Callable[[Trial], dict[str, Any]], trial: Trial) -> dict[str, Any]:
    """The result of a run; a trial of a setting that fails gives its error instead."""
    try:
        return run(trial)
    except RSError as error:
        if trial.stage != "trial":
            raise
        return {"trial": dataclasses.asdict(trial), "error": str(error).splitlines()[0]}


def _file(trial: Trial, folder: Path) -> Path:
    return folder / f"{trial.name}.json"


def _stored(trial: Trial, folder: Path) -> dict[str, Any] | None:
    """The stored result of exactly this trial, if there is one."""
    path = _file(trial, folder)
    result = read_json(path) if path.exists() else None
    return result if result and result["trial"] == dataclasses.asdict(trial) else None
