"""The arena's figures: each takes the content of arena.json and returns Axes, as those of `rslib.plots` do.

gold_against_kl(content)    gold and reward of each arm against its KL
cost_quality(content)       gold of each trained arm against what its run cost
sensitivity(content)        gold of every trial against its learning rate
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from docs.studies.arena.claims import EQUAL
from docs.studies.arena.summary import (
    Content,
    added_later,
    by_seed,
    measured_arms,
    measured_budgets,
    paired,
    trials_of,
)
from rslib import plots
from rslib.arena import ARMS
from rslib.formatting import signed
from rslib.intervals import over_seeds

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = {
    "base": plots.LOOKS["base"][:2],
    "random": plots.LOOKS["random"][:2],
    "rs1": plots.LOOKS["best_of_n"][:2],
    "rs3": ("#0b2d52", "d"),
    "best_of_n": ("#4d4d4d", "*"),
    "onlinerft": (plots.SPARE_LOOKS[0][0], "v"),
    "dpo": (plots.SPARE_LOOKS[1][0], "P"),
    "reinforce": ("#a3412a", "<"),
    "rloo": ("#8a6d00", ">"),
    "grpo": (plots.SPARE_LOOKS[2][0], "X"),
    "ppo": plots.LOOKS["rlhf"][:2],
    "raft_pp": (plots.SPARE_LOOKS[0][0], "^"),
    "clip_higher": ("#5f7a1f", "s"),
    "dr_grpo": ("#c08a3e", "p"),
    "gspo": ("#2f8f9d", "h"),
    "vbon": (plots.SPARE_LOOKS[1][0], "D"),
}
LOOKS |= {f"{name}_length": LOOKS[name] for name in ("rs1", "best_of_n", "ppo")}
"""Colour and marker of each arm; a corrected arm looks like its plain one, hollow."""
LINES = {"responses": ":", "flops": "-", "cpu_seconds": "--"}
"""The line that joins the points of a kind of budget."""


def _points(
    content: Content, arms: Iterable[str], budgets: Sequence[str], metrics: Sequence[str]
) -> list[dict[str, Any]]:
    """Each arm in each budget: its metrics with intervals over seeds."""
    return [
        {"arm": arm, "label": _label(arm), "unit": unit}
        | {name: over_seeds(by_seed(content, arm, unit, name)) for name in metrics}
        for arm in arms
        for unit in budgets
        if arm in measured_arms(content, unit)
    ]


def _label(arm: str) -> str:
    """An arm's label, on two lines where it is long."""
    return ARMS[arm].label.replace(", length", ",\nlength")


def gold_against_kl(content: Content) -> list[Axes]:
    """Gold (upper panel) and reward (lower) of each arm against its KL in the first kind of budget.

    The 95 % intervals are over seeds. Raises DataError when a point has no interval.
    """
    unit, seeds = measured_budgets(content)[0], len(content["plan"]["seeds"])
    points = _points(content, measured_arms(content, unit), [unit], ("gold", "proxy", "kl"))
    axes = plots.panels(2, 6.4, None, down=True)
    for panel, name in zip(axes, ("gold", "proxy"), strict=True):
        for point in points:
            kl, value = plots.checked(point["kl"], "KL"), plots.checked(point[name], name)
            _crossed(panel, point["arm"], kl, value, point["label"])
        panel.set_ylabel(plots.VALUE_AXES[name])
    _legend_beside(axes)
    axes[-1].set_xlabel(f"KL to the starting policy (nats), n = {seeds} seeds, {EQUAL[unit]}")
    trained = [point for point in points if ARMS[point["arm"]].run is not None]
    best, far = (max(trained, key=lambda point: point[name]["mean"]) for name in ("gold", "proxy"))
    first, second = ARMS[best["arm"]].label, ARMS[far["arm"]].label
    summary = (
        f"Of the trained arms at {EQUAL[unit]} {first} has the highest gold, {_mean(best['gold'])}, "
        f"at {_mean(best['kl'])} nats; {second} has the highest reward, {_mean(far['proxy'])}, at "
        f"{_mean(far['kl'])} nats, and gold {_mean(far['gold'])}."
    )
    plots.finished(axes, "What does each method buy with the KL that it spends?", summary)
    return axes


def _mean(estimate: Mapping[str, float]) -> str:
    return signed(estimate["mean"], "")


def _legend_beside(axes: Sequence[Axes]) -> None:
    """The legend of the first panel, to the right of all."""
    handles, labels = axes[0].get_legend_handles_labels()
    axes[0].figure.legend(handles, labels, frameon=False, fontsize=8, loc="outside right center")


def _crossed(panel: Axes, arm: str, x: plots.Estimate, y: plots.Estimate, label: str | None) -> None:
    """A point with both intervals, in the look of its arm."""
    colour, marker = LOOKS[arm]
    errors = {"xerr": [[x[0] - x[1]], [x[2] - x[0]]], "yerr": [[y[0] - y[1]], [y[2] - y[0]]]}
    panel.errorbar(
        x[0],
        y[0],
        **errors,
        fmt=marker,
        color=colour,
        markerfacecolor="white" if ARMS[arm].corrected else colour,
        markersize=7,
        elinewidth=1.1,
        capsize=2,
        label=label,
    )


def cost_quality(content: Content) -> list[Axes]:
    """Gold of each trained arm in each budget against the cost of its run: FLOPs (above) and seconds.

    Intervals are over seeds, and a thin line joins an arm's budgets. Raises DataError when a point has no
    interval.
    """
    trained = [arm for arm in measured_arms(content) if ARMS[arm].run is not None]
    points = _points(content, trained, measured_budgets(content), ("gold", "flops", "cpu_seconds"))
    axes = plots.panels(2, 6.4, None, down=True)
    for panel, (metric, scale) in zip(axes, (("flops", 1e-9), ("cpu_seconds", 1.0)), strict=True):
        for arm in trained:
            # Seconds of arms that were added later are another day's.
            if metric == "cpu_seconds" and arm in added_later(content):
                continue
            by_cost = sorted((p for p in points if p["arm"] == arm), key=lambda p: p[metric]["mean"])
            _cost_path(panel, by_cost, metric, scale)
        _cost_axis(panel)
        panel.set_ylabel(plots.VALUE_AXES["gold"])
        unit, seeds = "GFLOPs" if metric == "flops" else "CPU seconds", len(content["plan"]["seeds"])
        panel.set_xlabel(f"{unit} of a run, n = {seeds} seeds")
    _legend_beside(axes)
    plots.finished(axes, "What does gold cost?", _cost_summary(points))
    return axes


def _cost_path(panel: Axes, points: Sequence[Mapping[str, Any]], metric: str, scale: float) -> None:
    """One arm's points, cheapest first, and the line that joins them; the first names the arm."""
    for number, point in enumerate(points):
        cost = tuple(value * scale for value in plots.checked(point[metric], metric))
        label = None if number else point["label"]
        _crossed(panel, point["arm"], cost, plots.checked(point["gold"], "gold"), label)
    path = [[p[metric]["mean"] * scale for p in points], [p["gold"]["mean"] for p in points]]
    panel.plot(*path, color=LOOKS[points[0]["arm"]][0], linewidth=0.8, alpha=0.6)


def _cost_axis(panel: Axes) -> None:
    from matplotlib.ticker import LogLocator

    panel.set_xscale("log")
    panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.minorticks_off()


def _cost_summary(points: Sequence[Mapping[str, Any]]) -> str:
    """The dearest run, and the cheapest in the same budget."""
    dear = max(points, key=lambda point: point["flops"]["mean"])
    cheap = min((p for p in points if p["unit"] == dear["unit"]), key=lambda point: point["flops"]["mean"])
    dearest, cheapest = (
        f"{ARMS[p['arm']].label}'s with {p['flops']['mean'] / 1e9:,.0f} GFLOPs and gold {_mean(p['gold'])}"
        for p in (dear, cheap)
    )
    return f"At {EQUAL[dear['unit']]} the dearest run is {dearest}, the cheapest {cheapest}."


def sensitivity(content: Content) -> list[Axes]:
    """Gold of every trial against its learning rate: a panel for each method, a line for each second setting.

    Trials that failed are left out. Intervals are over validation prompts. Raises DataError when a trial has
    no interval.
    """
    from matplotlib.figure import Figure

    trials = _trials(content)
    arms = list(dict.fromkeys(trial["arm"] for trial in trials))
    columns = min(3, len(arms))
    figure = Figure(figsize=(7.6, 2.4 * math.ceil(len(arms) / columns)), layout="constrained")
    grid = figure.subplots(math.ceil(len(arms) / columns), columns, sharey=True, squeeze=False)
    axes = plots.panels(len(arms), 0.0, list(grid.flat)[: len(arms)])
    for empty in list(grid.flat)[len(arms) :]:
        empty.set_axis_off()
    for panel, arm in zip(axes, arms, strict=True):
        _trial_lines(panel, [trial for trial in trials if trial["arm"] == arm])
    for left in grid[:, 0]:
        left.set_ylabel(plots.VALUE_AXES["gold"])
    plots.finished(axes, "How much does the learning rate matter?", _sensitivity_summary(trials))
    return axes


def _trials(content: Content) -> list[dict[str, Any]]:
    """Every trial that ended: learning rate, second setting and gold with its interval over prompts."""
    return [
        {"arm": arm, "unit": unit} | _settings(trial["setting"]) | {"gold": _over_prompts(trial["gold"])}
        for unit in content["chosen"]
        for arm in measured_arms(content)
        for trial in trials_of(content, arm, unit)
        if "gold" in trial
    ]


def _settings(setting: Mapping[str, float]) -> dict[str, Any]:
    name, value = next(item for item in setting.items() if item[0] != "learning_rate")
    second = f"{name.replace('_coefficient', '').replace('kl', 'KL')} {value:g}"
    return {"rate": setting["learning_rate"], "second": second}


def _over_prompts(values: Sequence[float]) -> dict[str, float]:
    difference = paired(values, [0.0] * len(values), "validation")
    return {"mean": difference["difference"], "low": difference["low"], "high": difference["high"]}


def _trial_lines(panel: Axes, trials: Sequence[Mapping[str, Any]]) -> None:
    """The trials of one method; colour and marker tell the second setting, dashes the budget."""
    seconds = list(dict.fromkeys(trial["second"] for trial in trials))
    for unit, second in dict.fromkeys((trial["unit"], trial["second"]) for trial in trials):
        line = [trial for trial in trials if (trial["unit"], trial["second"]) == (unit, second)]
        means, lows, highs = np.array([plots.checked(trial["gold"], "gold of a trial") for trial in line]).T
        colour, marker = (plots.LOOKS["best_of_n"], plots.LOOKS["rlhf"])[seconds.index(second) % 2][:2]
        panel.errorbar(
            [trial["rate"] * 1e4 for trial in line],
            means,
            [means - lows, highs - means],
            color=colour,
            marker=marker,
            markersize=4,
            linestyle=LINES[unit],
            linewidth=1.2,
            elinewidth=0.8,
            label=f"{second}, {EQUAL[unit]}",
        )
    rates = sorted({round(trial["rate"] * 1e4, 6) for trial in trials})
    panel.set_xscale("log")
    panel.set_xticks(rates, [f"{rate:g}" for rate in rates])
    panel.minorticks_off()
    panel.set_xlabel(f"{_label(trials[0]['arm'])}: learning rate, 1e-4", fontsize=9)
    panel.legend(frameon=False, fontsize=6, loc="best")


def _sensitivity_summary(trials: Sequence[Mapping[str, Any]]) -> str:
    """The widest and the narrowest range of gold over the trials of a method."""
    gold: dict[str, list[float]] = {}
    for trial in trials:
        gold.setdefault(ARMS[trial["arm"]].label, []).append(trial["gold"]["mean"])
    spread = {label: max(means) - min(means) for label, means in gold.items()}
    wide, narrow = max(spread, key=spread.get), min(spread, key=spread.get)
    return (
        f"Over its trials gold ranges most for {wide}, by {spread[wide]:.2f} points, and least for {narrow}, "
        f"by {spread[narrow]:.2f}; intervals are over prompts, one seed."
    )
