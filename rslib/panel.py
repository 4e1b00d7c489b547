"""A run's report as one flat row of numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def panel(entry: Mapping[str, Any]) -> dict[str, float | None]:
    """The report's columns of one round, flat: `gold.base`, ..., and those of the selection.

    `gold_width.best_of_n` is the width of the 95 % interval of gold.
    """
    found: dict[str, float | None] = {}
    for arm in entry["order"]:
        metrics = {name: value for name, value in entry["arms"][arm].items() if name != "intervals"}
        for name, value in metrics.items():
            found[f"{name}.{arm}"] = value["mean"] if isinstance(value, Mapping) else value
    arm = entry["order"][-1]
    gold = entry["arms"][arm]["gold"]
    return found | {f"gold_width.{arm}": gold["high"] - gold["low"]} | entry["panel"][arm]
