"""What the arena's figures show, as plain data for `plots`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docs.studies.arena.summary import by_seed, measured_arms, measured_budgets, paired, trials_of
from rslib.arena import ARMS
from rslib.intervals import over_seeds

Content = Mapping[str, Any]


def gold_and_kl(content: Content) -> list[dict[str, Any]]:
    """Each arm's gold, proxy and KL in the first kind of budget, with intervals over seeds."""
    unit = measured_budgets(content)[0]
    return [
        {"arm": arm, "label": ARMS[arm].label, "unit": unit}
        | {name: over_seeds(by_seed(content, arm, unit, name)) for name in ("gold", "proxy", "kl")}
        for arm in measured_arms(content)
    ]


def costs(content: Content) -> list[dict[str, Any]]:
    """Gold, FLOPs and CPU seconds of each trained arm in each budget, with intervals over seeds."""
    names = ("gold", "flops", "cpu_seconds")
    return [
        {"arm": arm, "label": ARMS[arm].label, "unit": unit}
        | {name: over_seeds(by_seed(content, arm, unit, name)) for name in names}
        for arm in measured_arms(content)
        for unit in measured_budgets(content)
        if ARMS[arm].run is not None
    ]


def sensitivity(content: Content) -> list[dict[str, Any]]:
    """Every trial that ended: learning rate, second setting and gold with its interval over prompts."""
    return [
        _trial(one, arm, unit)
        for unit in content["chosen"]
        for arm in measured_arms(content)
        for one in trials_of(content, arm, unit)
        if "gold" in one
    ]


def _trial(one: Mapping[str, Any], arm: str, unit: str) -> dict[str, Any]:
    rate, (name, value) = one["setting"]["learning_rate"], _second(one["setting"])
    found = paired(one["gold"], [0.0] * len(one["gold"]), "validation")
    return {
        "arm": arm,
        "label": ARMS[arm].label,
        "unit": unit,
        "rate": rate,
        "second": f"{name.replace('_coefficient', '').replace('kl', 'KL')} {value:g}",
        "gold": {"mean": found["difference"], "low": found["low"], "high": found["high"]},
    }


def _second(setting: Mapping[str, float]) -> tuple[str, float]:
    return next(item for item in setting.items() if item[0] != "learning_rate")
