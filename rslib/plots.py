"""One function per figure: it takes what `evaluation` gives, returns Axes, and carries its own text summary.

    best_of_n_curve(table)            gold and reward against n            from evaluation.best_of_n_table
    reward_histogram(histogram)       pool against kept rows               from evaluation.reward_histogram
    selection_figure(selection)       chosen and rejected responses        from evaluation.selection_table
    arms_figure(entry)                gold and reward of each arm          one entry of Report.rounds
    gold_against_kl(rounds)           what each nat of KL bought           Report.rounds
    length_against_reward(pool)       does the reward pay for length?      a scored table
    summary_of(axes) -> str           the figure in one sentence, for print and alt text
    show(axes), save(axes, path), rendered(axes, kind)

The title of a figure is the question that it answers, and n stands in a label. An estimate is drawn with
its interval or not at all. Colour, marker and hatch belong to the arm, the same in every figure, and are
told apart without colour. Nothing here touches pyplot or a global style, and nothing is shown unless `show`
is called.
"""

from __future__ import annotations

import base64
import io
import math
import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import tables
from rslib.cache import atomic_write
from rslib.config import require
from rslib.errors import DataError
from rslib.evaluation import reward_length_correlation, verdict
from rslib.formatting import arm_label, ends_text, interval_text, signed
from rslib.reporting import arm_interval, arms_in_order

if TYPE_CHECKING:
    from datasets import Dataset
    from matplotlib.axes import Axes

Estimate = tuple[float, float, float]
"""Mean, low and high."""
# One look per arm: (colour, marker, hatch). The colours keep their order of lightness in grey print, and each
# has a contrast of 3 to 1 or more with white, which thin lines need (WCAG 2.2, 1.4.11).
LOOKS = {
    "base": ("#7a7a7a", "o", ""),
    "random": ("#5a9ad2", "s", "//"),
    "best_of_n": ("#1c5a9c", "D", ""),
    "rlhf": ("#d8690c", "^", "\\\\"),
}
SPARE_LOOKS = (("#0f8a68", "v", "xx"), ("#a8528f", "P", ".."), ("#a38c12", "X", "++"))
_INK, _SOFT = "#222222", "#767676"
_COLUMNS = 88  # of a printed summary
VALUE_AXES = {"gold": "gold (points)", "proxy": "reward"}
"""What an axis is called that shows a metric."""
_SETTINGS = {"svg.hashsalt": "rslib", "svg.fonttype": "path", "font.family": "DejaVu Sans"}


def look_of(arm: str) -> tuple[str, str, str]:
    """Colour, marker and hatch of an arm; another arm gets one by its name, always the same."""
    return LOOKS.get(arm) or SPARE_LOOKS[sum(arm.encode()) % len(SPARE_LOOKS)]


def checked(estimate: Mapping[str, Any] | None, what: str) -> Estimate:
    """Mean, low and high of an estimate; DataError when its interval is missing: no estimate without one."""
    values = [(estimate or {}).get(key) for key in ("mean", "low", "high")]
    if any(value is None or not math.isfinite(value) for value in values):
        fix = "Pass the {mean, low, high} of rslib.evaluation; an estimate is not drawn without its interval."
        raise DataError(f"no interval for {what}", where="plots", fix=fix)
    return float(values[0]), float(values[1]), float(values[2])


def panels(count: int, height: float, axes: Sequence[Axes] | None, *, down: bool = False) -> list[Axes]:
    """`count` bare panels, side by side or `down`; drawn into `axes` when the caller brings them."""
    from matplotlib.figure import Figure

    if axes is not None:
        require(len(axes) == count, f"{len(axes)} axes", "plots", f"This figure needs {count} axes.")
        axes = list(axes)
    else:
        shape = (count, 1) if down else (1, count)
        axes = list(Figure(figsize=(6.2, height), layout="constrained").subplots(*shape, squeeze=False).flat)
    for panel in axes:
        panel.spines[["top", "right"]].set_visible(False)
        panel.tick_params(labelsize=9)
        panel.grid(axis="y", color="#e4e4e4", linewidth=0.7)
        panel.set_axisbelow(True)
    return axes


def _name(
    panel: Axes, text: str, point: tuple[float, float], offset: tuple[float, float], **style: Any
) -> None:
    """Write a text beside a point, `offset` in points of print."""
    style = {"fontsize": 9} | style
    panel.annotate(text, point, xytext=offset, textcoords="offset points", **style)


def finished(axes: Sequence[Axes], question: str, summary: str) -> None:
    """Put the question above the panels and the summary on every panel, where `summary_of` finds it."""
    if len(axes) > 1:  # a panel's own title would push its neighbours away
        axes[0].figure.suptitle(question, x=0.02, ha="left", fontsize=12, color=_INK)
    else:
        axes[0].set_title(question, loc="left", fontsize=12, color=_INK, pad=10)
    for panel in axes:
        panel.set_label(summary)


def summary_of(axes: Axes | Sequence[Axes]) -> str:
    """The figure in one sentence. Raises DataError for axes that this module did not draw."""
    summary = _first(axes).get_label()
    if not summary or summary.startswith("_"):
        raise DataError(
            "these axes carry no summary", where="summary_of", fix="Pass what a figure function returned."
        )
    return summary


def _first(axes: Axes | Sequence[Axes]) -> Axes:
    return axes[0] if isinstance(axes, (list, tuple)) else axes


def best_of_n_curve(table: Mapping[str, Any], axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Gold (upper panel, where known) and reward (lower) of the best of n, against n, with 95 % bands.

    `table` is what `evaluation.best_of_n_table` gives. The peak of gold is marked. Raises DataError when a
    point has no interval.
    """
    rows, peak = table["rows"], table["peak_n"]
    names = ["gold", "proxy"] if peak is not None else ["proxy"]
    axes = panels(len(names), 1.2 + 1.9 * len(names), axes, down=True)
    for panel, name in zip(axes, names, strict=True):
        points = [checked(row[name], f"{name} at n = {row['n']}") for row in rows]
        _curve(panel, [row["n"] for row in rows], points)
        panel.set_ylabel(VALUE_AXES[name])
    axes[-1].set_xlabel(
        f"n, best of n by reward ({table['prompts']} prompts, {table['pool_size']} responses each)"
    )
    if peak is not None:
        _mark_peak(axes[0], peak, rows[-1]["n"])
    finished(axes, "Does choosing among more responses keep helping?", curve_summary(table))
    return axes


def _curve(panel: Axes, ns: Sequence[int], points: Sequence[Estimate]) -> None:
    colour, marker, _ = look_of("best_of_n")
    mean, low, high = np.array(points).T
    panel.fill_between(ns, low, high, color=colour, alpha=0.18, linewidth=0)
    panel.plot(ns, mean, color=colour, marker=marker, markersize=5, linewidth=1.6)
    panel.set_xscale("log", base=2)
    panel.set_xticks(ns, [str(n) for n in ns])
    panel.minorticks_off()


def _mark_peak(panel: Axes, n: int, last: int) -> None:
    """A line at the peak, with its name at the foot: there the curve, high at its peak, leaves room."""
    panel.axvline(n, color=_SOFT, linewidth=1, linestyle=":")
    ahead = 4 * n <= last  # two doublings of room to the right
    side = {"xycoords": panel.get_xaxis_transform(), "ha": "left" if ahead else "right"}
    _name(panel, f"peak: n = {n}", (n, 0.05), (6 if ahead else -6, 0), color=_INK, **side)


def curve_summary(table: Mapping[str, Any]) -> str:
    """`best_of_n_table` in one sentence: from the first n to the last, whether gold fell off its peak."""
    first, last = table["rows"][0], table["rows"][-1]
    ends = [
        f"{_short(first[name])} to {_short(last[name])}" if first[name] else "" for name in ("proxy", "gold")
    ]
    text = f"From n = {first['n']} to n = {last['n']} reward goes from {ends[0]}"
    if table["peak_n"] is None:
        return f"{text}; there is no gold score."
    text += f" and gold from {ends[1]}; gold is highest at n = {table['peak_n']}"
    below = last["below_peak"]
    if table["peak_n"] == last["n"]:
        return f"{text}, the largest n."
    interval = f"{signed(below['difference'])} {ends_text(below, '+')}"
    if verdict(below) == "lower":
        return f"{text} and lower at n = {last['n']}: {interval}."
    return f"{text}, and not separably lower at n = {last['n']}: {interval}."


def _short(estimate: Mapping[str, float]) -> str:
    return f"{estimate['mean']:.2f}"


def reward_histogram(histogram: Mapping[str, Any], axes: Axes | None = None) -> Axes:
    """Share of responses per bin of reward, pool against kept rows, as steps with 95 % bands.

    `histogram` is what `evaluation.reward_histogram` gives. Raises DataError when a bin has no interval.
    """
    (panel,) = panels(1, 3.3, None if axes is None else [axes])
    edges, centre = histogram["edges"], {}
    for name, arm, side in (("pool", "base", "right"), ("kept", "best_of_n", "left")):
        points = [checked(share, f"bin {number} of {name}") for number, share in enumerate(histogram[name])]
        mean, low, high = np.array(points).T
        colour = look_of(arm)[0]
        line = "-" if name == "kept" else "--"
        panel.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.2)
        panel.stairs(mean, edges, color=colour, linewidth=1.7, linestyle=line)
        middle = (np.array(edges[1:]) + np.array(edges[:-1])) / 2
        centre[name] = float((mean * middle).sum() / mean.sum())
        highest = int(mean.argmax())
        label = f"{name}: {histogram[f'{name}_rows']:,} responses"
        _name(panel, label, (middle[highest], high[highest]), (0, 5), ha=side, color=_INK)
    room = 0.3 * (edges[-1] - edges[0])  # for a label that begins at the last bin, or ends at the first
    panel.set_xlim(edges[0] - room, edges[-1] + room)
    panel.set_ylim(bottom=0, top=panel.get_ylim()[1] * 1.1)
    panel.set_xlabel("reward")
    panel.set_ylabel("share of responses in a bin")
    shift = f"the kept rows centre at {centre['kept']:.2f}, the pool at {centre['pool']:.2f}"
    finished([panel], "Which rewards does selection keep?", f"Histogram of rewards: {shift}.")
    return panel


ROW_LOOKS = {"chosen": LOOKS["best_of_n"], "rejected": LOOKS["base"]}


def selection_figure(selection: Mapping[str, Any], axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Reward, length and truncation of chosen and of rejected responses: points with intervals.

    `selection` is what `evaluation.selection_table` gives. A panel is left out when its column is unknown.
    Raises DataError when a point has no interval.
    """
    from matplotlib.ticker import PercentFormatter

    groups = {name: selection["rows"][name] for name in ROW_LOOKS if name in selection["rows"]}
    labels = {"reward": "reward", "length": "length (tokens)", "truncation_rate": "truncated"}
    known = [metric for metric in labels if all(group[metric] is not None for group in groups.values())]
    axes = panels(len(known), 1.7 + 0.3 * len(groups), axes)
    for panel, metric in zip(axes, known, strict=True):
        for row, (name, group) in enumerate(groups.items()):
            _lying(panel, -row, checked(group[metric], f"{metric} of {name}"), ROW_LOOKS[name])
        panel.set_xlabel(labels[metric], fontsize=9)
        panel.set_yticks([-row for row in range(len(groups))])
        panel.set_yticklabels([f"{name}\n(n = {group['rows']:,})" for name, group in groups.items()])
        panel.set_ylim(-len(groups) + 0.4, 0.6)
        panel.grid(axis="x", color="#e4e4e4", linewidth=0.7)
        panel.margins(x=0.15)
        panel.locator_params(axis="x", nbins=3)
        if metric == "truncation_rate":
            panel.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
            most = max(0.1, panel.get_xlim()[1])
            panel.set_xlim(-0.04 * most, most)
    for panel in axes[1:]:
        panel.set_yticklabels([])
    text = "; ".join(f"{name} {interval_text(group['reward'])}" for name, group in groups.items())
    finished(axes, "How do the chosen responses differ from the rest?", f"Mean reward: {text}.")
    return axes


def _lying(panel: Axes, y: float, point: Estimate, look: tuple[str, str, str]) -> None:
    """One estimate lying on its side, with its interval."""
    mean, low, high = point
    panel.plot([low, high], [y, y], color=look[0], linewidth=2)
    panel.plot([mean], [y], color=look[0], marker=look[1], markersize=6, linestyle="none")


def arms_figure(entry: Mapping[str, Any], axes: Sequence[Axes] | None = None) -> list[Axes]:
    """Gold (where known) as bars and reward as points, of every arm of one round, with 95 % intervals.

    The reward has no natural zero, so a bar from 0 would mean nothing.

    `entry` is one of `Report.rounds`. Raises DataError when a bar has no interval.
    """
    arms = arms_in_order(entry)
    known = [metric for metric in ("gold", "proxy") if all(arm[metric] is not None for arm in arms.values())]
    axes = panels(len(known), 3.3, axes)
    for panel, metric in zip(axes, known, strict=True):
        draw = _bar if metric == "gold" else _point
        for x, (name, arm) in enumerate(arms.items()):
            draw(panel, x, checked(arm[metric], f"{metric} of {name}"), look_of(name))
        labels = [arm_label(name, entry["n"]).replace("-of-", "\nof ") for name in arms]
        panel.set_xticks(range(len(arms)), labels)
        panel.set_xlabel(f"n = {entry['arms'][entry['order'][0]]['prompts']} held-out prompts", fontsize=9)
        if metric == "gold":
            panel.axhline(0, color=_INK, linewidth=0.8)
        panel.set_xlim(-0.6, len(arms) - 0.4)
        panel.margins(y=0.14)
        panel.set_ylabel(VALUE_AXES[metric])

    finished(axes, "Does fine-tuning on the best beat a random pick?", _arms_summary(arms, entry["n"], known))
    return axes


def _arms_summary(arms: Mapping[str, Any], n: int, known: Sequence[str]) -> str:
    """What each panel shows: its means with their intervals, arm by arm."""
    names = {"gold": "gold", "proxy": "reward"}
    return " ".join(
        f"Mean {names[metric]} on held-out prompts: "
        + "; ".join(f"{arm_label(name, n)} {interval_text(arm[metric])}" for name, arm in arms.items())
        + "."
        for metric in known
    )


def _point(panel: Axes, x: float, point: Estimate, look: tuple[str, str, str]) -> None:
    mean, low, high = point
    panel.plot([x, x], [low, high], color=look[0], linewidth=2)
    panel.plot([x], [mean], color=look[0], marker=look[1], markersize=7, linestyle="none")
    _name(panel, f"{mean:.2f}", (x, high), (0, 4), ha="center", va="bottom")


def _bar(panel: Axes, x: float, point: Estimate, look: tuple[str, str, str]) -> None:
    mean, low, high = point
    colour, _, hatch = look
    panel.bar(x, mean, width=0.62, color=colour, hatch=hatch, edgecolor="white", linewidth=0)
    # White under black keeps the interval visible inside the bar.
    panel.plot([x, x], [low, high], color="white", linewidth=3.6)
    panel.plot([x, x], [low, high], color=_INK, linewidth=1.6)
    if mean >= 0:
        _name(panel, f"{mean:.2f}", (x, high), (0, 4), ha="center", va="bottom")
    else:
        _name(panel, f"{mean:.2f}", (x, low), (0, -4), ha="center", va="top")


def gold_against_kl(rounds: Sequence[Mapping[str, Any]], axes: Axes | None = None) -> Axes:
    """Gold (or reward, where there is no gold) of every arm and round against its KL, intervals on both axes.

    `rounds` are `Report.rounds`. Arms without a known KL are left out; raises DataError when none is left
    or when a point has no interval.
    """
    (panel,) = panels(1, 3.6, None if axes is None else [axes])
    metric = "gold" if all(arm["gold"] for entry in rounds for arm in entry["arms"].values()) else "proxy"
    paths: dict[str, list[tuple[int, Estimate, Estimate]]] = {}
    for entry in rounds:
        for name, arm in arms_in_order(entry).items():
            if arm["kl"] is not None:
                kl, value = checked(arm_interval(arm, "kl"), f"KL of {name}"), arm[metric]
                point = (entry["round"], kl, checked(value, f"{metric} of {name}"))
                paths.setdefault(name, []).append(point)
    if not paths:
        raise DataError("no arm has a KL", where="gold_against_kl", fix="Evaluate with reference_logprob.")
    for name, points in paths.items():
        _kl_path(panel, name, points, arm_label(name, rounds[0]["n"]), below=name == next(iter(paths)))
    prompts = rounds[0]["arms"][rounds[0]["order"][0]]["prompts"]
    panel.set_xlabel(f"KL to the start (nats; n = {prompts} held-out prompts)")
    panel.set_ylabel(VALUE_AXES[metric])
    panel.margins(x=0.2, y=0.15)
    panel.set_xticks([tick for tick in panel.get_xticks() if 0 <= tick <= panel.get_xlim()[1]])
    last = {name: points[-1] for name, points in paths.items()}
    text = "; ".join(
        f"{name.replace('_', '-')} {y[0]:.2f} at {x[0]:.2f} nats" for name, (_, x, y) in last.items()
    )
    finished([panel], "How much does each nat of KL buy?", f"After the last round, {metric}: {text}.")
    return panel


def _kl_path(
    panel: Axes, name: str, points: Sequence[tuple[int, Estimate, Estimate]], label: str, *, below: bool
) -> None:
    """One arm's way through the rounds: points with both intervals, a line between, its name at its last."""
    colour, marker, _ = look_of(name)
    panel.plot(
        [x[0] for _, x, _ in points], [y[0] for _, _, y in points], color=colour, linewidth=1, marker=marker
    )
    for number, x, y in points:
        panel.plot(x[1:], [y[0], y[0]], color=colour, linewidth=1.6)
        panel.plot([x[0], x[0]], y[1:], color=colour, linewidth=1.6)
        if len(points) > 1:
            _name(panel, str(number), (x[0], y[0]), (-9, 4), fontsize=8)
    _, x, y = points[-1]
    end, offset = (y[1], -12) if below else (y[2], 4)  # beyond the interval, where no other arm's bar is
    _name(panel, label, (x[0], end), (0, offset), color=_INK, ha="center")


def length_against_reward(pool: Dataset, kept: Dataset | None = None, axes: Axes | None = None) -> Axes:
    """Each response of a scored pool by length and reward, kept rows on top: does the reward pay for length?

    The points are the responses themselves, no estimates. The correlation in the label is within prompts,
    over the whole pool. Raises RewardError without rewards, DataError without token_ids.
    """
    (panel,) = panels(1, 3.6, None if axes is None else [axes])
    for table, arm, label in ((pool, "base", "pool"), (kept, "best_of_n", "kept")):
        if table is not None:
            tables.check_scored(table)
            lengths = [len(tokens) for tokens in table["token_ids"]]
            colour, marker, _ = look_of(arm)
            style = {"color": colour, "marker": marker, "s": 9 if arm == "base" else 14, "linewidths": 0}
            panel.scatter(
                lengths, table["reward"], alpha=0.45, label=f"{label}: {len(table):,} responses", **style
            )
    panel.legend(frameon=False, fontsize=9, loc="lower right")
    panel.set_xlabel("length (tokens)")
    panel.set_ylabel("reward")
    correlation = reward_length_correlation(pool)
    text = "is not defined" if correlation is None else f"is {signed(correlation)}"
    summary = f"Within prompts the correlation of reward and length {text}, over n = {len(pool):,} responses."
    finished([panel], "Does the reward model pay for length?", summary)
    return panel


def rendered(axes: Axes | Sequence[Axes], kind: str) -> bytes:
    """The figure as "svg" or "png" bytes, the same for the same data. Raises ConfigError for another kind."""
    import matplotlib

    require(kind in ("svg", "png"), f"format is '{kind}'", "plots", "Use svg or png.")
    # Dates and versions would make equal figures differ.
    metadata = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}
    buffer = io.BytesIO()
    with matplotlib.rc_context(_SETTINGS):
        _first(axes).figure.savefig(buffer, format=kind, dpi=150, metadata=metadata, facecolor="white")
    return buffer.getvalue()


def save(axes: Axes | Sequence[Axes], path: str | os.PathLike[str]) -> Path:
    """Write the figure to `path`, .svg or .png, the same bytes for the same data; returns the path."""
    path = Path(path)
    atomic_write(path, rendered(axes, path.suffix.lstrip(".").lower()))
    return path


def show(axes: Axes | Sequence[Axes], summary: str = "") -> None:
    """Print the figure's one-sentence summary; in a notebook also show the figure with it as alt text."""
    summary = summary or summary_of(axes)
    print(textwrap.fill(summary, _COLUMNS, break_on_hyphens=False))  # JupyterLab breaks lines within a word
    try:
        from IPython import get_ipython
        from IPython.display import display
    except ImportError:
        return
    if get_ipython() is not None:
        encoded = base64.b64encode(rendered(axes, "png")).decode()
        image = {"image/png": encoded, "text/plain": summary}
        display(image, raw=True, metadata={"image/png": {"alt": summary}})
