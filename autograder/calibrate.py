"""Measure what honest, idle and random work gives in every experiment, and set the thresholds.

    python -m autograder calibrate --seeds 30                    all experiments
    python -m autograder calibrate --exercise 4.3 --seeds 30     one of them; finished seeds are kept

An experiment is a function `(seed, folder) -> {statistic: {arm: value}}` in `autograder/experiments/nbNN.py`,
listed there in EXPERIMENTS by exercise. It runs the same code as the grader.
"""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from autograder import calibration, experiments
from rslib.cache import atomic_write, versions
from rslib.errors import ConfigError
from rslib.progress import Progress

Experiment = Callable[[int, Path], dict[str, dict[str, float]]]


def all_experiments() -> dict[str, Experiment]:
    """Every experiment by exercise id."""
    names = [m.name for m in pkgutil.iter_modules(experiments.__path__) if re.fullmatch(r"nb\d\d", m.name)]
    modules = [importlib.import_module(f"autograder.experiments.{name}") for name in sorted(names)]
    return {exercise: run for module in modules for exercise, run in module.EXPERIMENTS.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the missing seeds, set the thresholds, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m autograder calibrate", description="thresholds of experiments"
    )
    parser.add_argument("--exercise", help="one exercise, such as 4.3 (default: all)")
    parser.add_argument("--seeds", type=int, default=30, help="seeds 0 .. N-1")
    parser.add_argument("--fresh", action="store_true", help="measure again what is already there")
    args = parser.parse_args(argv)
    known = all_experiments()
    if args.exercise and args.exercise not in known:
        raise ConfigError(
            f"exercise {args.exercise} has no experiment; those that have are {', '.join(known)}"
        )
    for exercise in [args.exercise] if args.exercise else known:
        measure(exercise, known[exercise], args.seeds, fresh=args.fresh)
    print(table(read()))
    return 0


def read() -> dict[str, Any]:
    """What has been measured so far."""
    empty: dict[str, Any] = {"versions": {}, "exercises": {}}
    return json.loads(calibration.FILE.read_text(encoding="utf-8")) if calibration.FILE.exists() else empty


def measure(exercise: str, run: Experiment, seeds: int, *, fresh: bool = False) -> None:
    """Run the experiment on each seed that is not there yet; the file is written after every seed."""
    statistics = {} if fresh else read()["exercises"].get(exercise, {})
    with Progress(seeds, f"calibrate {exercise}", "seeds") as progress:
        for seed in range(seeds):
            cached = any(str(seed) in arm for entry in statistics.values() for arm in entry["arms"].values())
            if not cached:
                with tempfile.TemporaryDirectory() as folder:
                    measured = run(seed, Path(folder))
                for name, arms in measured.items():
                    known = statistics.setdefault(name, {"arms": {}})["arms"]
                    for arm, value in arms.items():
                        known.setdefault(arm, {})[str(seed)] = round(float(value), 5)
                store(exercise, statistics)
            progress.advance(cached=cached)


def store(exercise: str, statistics: Mapping[str, dict[str, Any]]) -> None:
    """Write an exercise's values by statistic, arm and seed; with two seeds each has a threshold."""
    for entry in statistics.values():
        arms = {arm: list(values.values()) for arm, values in entry["arms"].items()}
        if len(arms[calibration.HONEST]) > 1:
            limit = calibration.best_threshold(arms)
            chances = calibration.risks(arms, limit)
            entry |= {"threshold": limit, "risks": {k: float(f"{v:.2g}") for k, v in chances.items()}}
    content = read()
    content["versions"], content["exercises"][exercise] = versions(), statistics
    atomic_write(calibration.FILE, json.dumps(content, indent=1, sort_keys=True) + "\n")


def table(content: Mapping[str, Any]) -> str:
    """The calibration as text: a line for every statistic and arm."""
    lines = [
        "exercise  statistic             arm           seeds      mean   lowest  highest threshold  misjudged"
    ]
    for exercise, statistics in sorted(content["exercises"].items()):
        for statistic, entry in statistics.items():
            for arm, values in entry["arms"].items():
                numbers = list(values.values())
                lines.append(
                    f"{exercise:9} {statistic:21} {arm:13} {len(numbers):5} "
                    f"{sum(numbers) / len(numbers):9.3f} "
                    f"{min(numbers):9.3f} {max(numbers):9.3f} {entry.get('threshold', float('nan')):9.3f}  "
                    f"{entry.get('risks', {}).get(arm, float('nan')):.1e}"
                )
    return "\n".join(lines)
