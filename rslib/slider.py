"""Reward and gold of the best of n on one axis, n chosen with the arrow keys: HTML without a script.

    best_of_n_slider(evaluation.best_of_n_table(pool))

Radio buttons of plain HTML choose n, so that it works in a notebook, in a saved one without a kernel and on a
static page. Where a viewer drops styles, every n is shown as a line of text.
"""

from __future__ import annotations

import hashlib
import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rslib.config import require
from rslib.formatting import interval_text
from rslib.plots import Estimate, checked, curve_summary

_LOOKS = {"proxy": ("#4a86c5", ""), "gold": ("#b8860b", "6 3")}  # colour, dashes
_WIDTH, _HEIGHT, _LEFT, _FOOT = 560, 260, 44, 34


def best_of_n_slider(table: Mapping[str, Any], *, reward: str = "reward", start: int | None = None) -> Slider:
    """The table of `evaluation.best_of_n_table` as a figure whose n is chosen by keyboard or mouse.

    Both curves stand on one axis: reward in the reward model's units, gold in points. `reward` is what the
    curve of rewards is called: name the reward model. `start` is the n shown first, by default the largest.
    `str()` is the figure in words. Raises DataError when a point has no interval, ConfigError when `start` is
    not in the table.
    """
    rows = table["rows"]
    ns = [row["n"] for row in rows]
    start = ns[-1] if start is None else start
    require(start in ns, f"start is {start}", "best_of_n_slider", f"Use one of {', '.join(map(str, ns))}.")
    names = [name for name in _LOOKS if all(row[name] is not None for row in rows)]
    curves = {name: [checked(row[name], f"{name} at n = {row['n']}") for row in rows] for name in names}
    return Slider(ns, curves, curve_summary(table), reward, start, f"{table['prompts']} prompts")


@dataclass(frozen=True)
class Slider:
    """What `best_of_n_slider` returns: the curves over `ns`, and their summary in words."""

    ns: list[int]
    curves: dict[str, list[Estimate]]
    summary: str
    reward: str
    start: int
    prompts: str

    def sentence(self, position: int) -> str:
        """What is measured at one n."""
        estimates = {
            self._called(name): dict(zip(("mean", "low", "high"), curve[position], strict=True))
            for name, curve in self.curves.items()
        }
        values = ", ".join(f"{name} {interval_text(estimate)}" for name, estimate in estimates.items())
        return f"n = {self.ns[position]}: {values}"

    def _called(self, name: str) -> str:
        return self.reward if name == "proxy" else name

    def __str__(self) -> str:
        return "\n".join([*map(self.sentence, range(len(self.ns))), self.summary])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        key = "rs-n-" + hashlib.sha256(str(self).encode()).hexdigest()[:10]
        buttons = "".join(
            f'<input type="radio" name="{key}" id="{key}-{n}"{" checked" * (n == self.start)}>'
            f'<label for="{key}-{n}">{n}</label><wbr>'
            for n in self.ns
        )
        sentences = "".join(
            f'<p class="at-{n}">{html.escape(self.sentence(position))}</p>'
            for position, n in enumerate(self.ns)
        )
        return (
            f'<fieldset class="rs-slider" id="{key}"><legend>Best of n by reward, {self.prompts}: choose n '
            f"(arrow keys)</legend><style>{_style(key, self.ns)}</style>{buttons}"
            f'<div class="rs-shown">{sentences}{self._svg()}</div>'
            f"<p>{html.escape(self.summary)}</p></fieldset>"
        )

    def _svg(self) -> str:
        """The curves with their bands, and for each n a line with a dot on every curve."""
        ends = [end for curve in self.curves.values() for _, *pair in curve for end in pair]
        plane = _Plane(len(self.ns), min(ends), max(ends))
        curves = "".join(self._curve(plane, name) for name in self.curves)
        marks = "".join(self._mark(plane, position) for position in range(len(self.ns)))
        return (
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(self.summary)}">'
            f'{plane.grid()}<text x="{_LEFT - 6}" y="{_HEIGHT - _FOOT + 18}" text-anchor="end">n =</text>'
            f"{curves}{marks}</svg>"
        )

    def _curve(self, plane: _Plane, name: str) -> str:
        """A curve with its band, and its name at the right end, above the upper one and below the lower."""
        colour, dashes = _LOOKS[name]
        mean, low, high = (list(column) for column in zip(*self.curves[name], strict=True))
        band = plane.path(high) + plane.path(low)[::-1]
        called = self._called(name)
        upper = mean[-1] >= max(curve[-1][0] for curve in self.curves.values())
        x = plane.path(mean)[-1][0] - 8  # beside the line of the largest n
        near = [point for point in band if point[0] >= x - 8 * len(called)]  # what the name stands over
        y = min(y for _, y in near) - 8 if upper else max(y for _, y in near) + 18
        return (
            f'<polygon points="{_points(band)}" fill="{colour}" opacity=".2"/>'
            f'<polyline points="{_points(plane.path(mean))}" fill="none" stroke="{colour}" '
            f'stroke-width="2.5" stroke-dasharray="{dashes}"/>'
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="end">{html.escape(called)}</text>'
        )

    def _mark(self, plane: _Plane, position: int) -> str:
        """The n below the axis, and what stands over it when this n is chosen."""
        n, foot = self.ns[position], _HEIGHT - _FOOT
        points = [
            (plane.path([mean for mean, _, _ in curve])[position], name)
            for name, curve in self.curves.items()
        ]
        dots = "".join(
            f'<circle cx="{x}" cy="{y}" r="5" fill="{_LOOKS[name][0]}" stroke="currentColor"/>'
            for (x, y), name in points
        )
        x = points[0][0][0]
        line = f'<line x1="{x}" x2="{x}" y1="8" y2="{foot}" stroke="currentColor" stroke-dasharray="2 3"/>'
        label = f'<text x="{x}" y="{foot + 18}" text-anchor="middle">{n}</text>'
        return f'{label}<g class="at-{n}">{line}{dots}</g>'


@dataclass(frozen=True)
class _Plane:
    """Where values stand in the picture: `count` positions from left to right, `low` to `high` upwards."""

    count: int
    low: float
    high: float

    def path(self, values: Sequence[float]) -> list[tuple[float, float]]:
        """The points of a curve."""
        step = (_WIDTH - _LEFT - 20) / max(self.count - 1, 1)
        return [(round(_LEFT + 10 + step * k, 1), self._height(value)) for k, value in enumerate(values)]

    def _height(self, value: float) -> float:
        room = _HEIGHT - _FOOT - 20
        return round(10 + room * (self.high - value) / ((self.high - self.low) or 1.0), 1)

    def grid(self) -> str:
        """Lines at whole numbers, with their numbers; at most about eight."""
        step = max(1, math.ceil((self.high - self.low) / 8))
        lines = []
        for value in range(math.ceil(self.low / step) * step, math.floor(self.high) + 1, step):
            y = self._height(value)
            lines.append(
                f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y}" y2="{y}" stroke="currentColor" opacity=".2"/>'
                f'<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{value}</text>'
            )
        return "".join(lines)


def _points(path: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in path)


def _style(key: str, ns: Sequence[int]) -> str:
    """The rules that show what belongs to the chosen n and hide what belongs to the others."""
    hidden = ", ".join(f"#{key} .at-{n}" for n in ns)
    chosen = ", ".join(f"#{key}-{n}:checked ~ .rs-shown .at-{n}" for n in ns)
    return (
        f"{hidden} {{ display: none; }} {chosen} {{ display: revert; }} "
        f"#{key} {{ min-width: 0; white-space: nowrap; }} "
        f"#{key} > :not(input, label) {{ white-space: normal; }} "
        f"#{key} label {{ padding: .2em .5em .2em .1em; }} "
        f"#{key} input {{ margin: .2em; width: 1.2em; height: 1.2em; }} "
        f"#{key} svg {{ max-width: 40em; width: 100%; height: auto; overflow: visible; }} "
        f"#{key} svg text {{ fill: currentColor; font: 15px sans-serif; }}"
    )
