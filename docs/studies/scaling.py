"""How sampling time grows on this machine's CPU: with n, prompts, prompt tokens, model size and processes.

    OMP_NUM_THREADS=1 python -m docs.studies.scaling      writes results/scaling-cpu.json and its figure

The rows are those of the benchmark W1: ragged prompts, lengths that end at random, 512 rows in flight. Each
point is the median of several rounds that visit all points in turn. The exponent is the slope of log seconds
over log size; for n and for prompts from 512 rows on, where the batch is full.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from docs.studies.bench.measuring import machine
from docs.studies.bench.works import Rows, Size, engine_rows, random_model
from docs.studies.results import FIGURES, exponent, write
from rslib import plots
from rslib.models import load_policy
from rslib.progress import note
from rslib.prompts import load_prompts
from rslib.sampling import sample

ROUNDS, _FULL = 5, 512
_SECONDS = (0.3, 1, 3, 10, 30)
_SIZE = Size("2 M", prompts=32, n=16)
SERIES: dict[str, dict[float, Size]] = {
    "responses to a prompt (n)": {n: dataclasses.replace(_SIZE, n=n) for n in (1, 4, 16, 32, 64)},
    "prompts": {p: dataclasses.replace(_SIZE, prompts=p) for p in (8, 32, 64, 128)},
    "prompt tokens": {t: dataclasses.replace(_SIZE, prompt=t) for t in (32, 64, 128, 256)},
    "million parameters": {
        p: dataclasses.replace(_SIZE, model=f"{p:g} M", prompts=8) for p in (0.1, 2, 25, 124)
    },
}


def medians(acts: Mapping[Any, Callable[[], object]], rounds: int = ROUNDS) -> dict[Any, float]:
    """Median seconds of each act; every round does all of them, so that other work falls on all alike."""
    taken: dict[Any, list[float]] = {name: [] for name in acts}
    for _ in range(rounds + 1):
        for name, act in acts.items():
            began = time.perf_counter()
            act()
            taken[name].append(time.perf_counter() - began)
    return {name: round(statistics.median(seconds[1:]), 4) for name, seconds in taken.items()}  # 0: warm-up


def _grown(sizes: Mapping[float, Size]) -> dict[str, Any]:
    """Seconds at each size, and the exponent of those whose batch is full."""
    models = {size.model: random_model(size.model) for size in sizes.values()}
    acts = {x: partial(engine_rows, models[size.model], Rows.of(size)) for x, size in sizes.items()}
    seconds = medians(acts)
    rows = {x: size.prompts * size.n for x, size in sizes.items()}
    full = {x: s for x, s in seconds.items() if rows[x] >= min(_FULL, max(rows.values()))}
    return {"sizes": list(seconds), "seconds": list(seconds.values()), "exponent": exponent(full)}


def _shared() -> dict[str, Any]:
    """Seconds of the embedded policy's responses to 200 prompts x 16 by one process and by two."""
    policy, prompts = load_policy("tiny"), load_prompts("tiny", "train", 200)

    def drawn(threads: int) -> None:
        torch.set_num_threads(threads)
        sample(policy, prompts, n=16, show_progress=False)

    seconds = medians({count: partial(drawn, count) for count in (1, 2)})
    return {"sizes": list(seconds), "seconds": list(seconds.values()), "exponent": exponent(seconds)}


def draw(series: Mapping[str, Mapping[str, Any]]) -> Any:
    """The figure: seconds over size, both axes logarithmic, one panel a series."""
    axes = plots.panels(len(series), 2.6, None)
    for panel, (name, line) in zip(axes, series.items(), strict=True):
        panel.loglog(
            line["sizes"], line["seconds"], marker="o", markersize=4, color=plots.LOOKS["best_of_n"][0]
        )
        panel.set_xticks(line["sizes"], [f"{size:g}" for size in line["sizes"]])
        panel.set_yticks(_SECONDS, [f"{seconds:g}" for seconds in _SECONDS])
        panel.set_ylim(0.2, 40)  # the same for all, so that slopes can be compared
        panel.minorticks_off()
        panel.set_xlabel(name, fontsize=8)
        panel.annotate(f"exponent {line['exponent']:.2f}", (0.05, 0.92), xycoords="axes fraction", fontsize=8)
    axes[0].set_ylabel("seconds", fontsize=8)
    axes[0].figure.set_size_inches(2.1 * len(series), 2.6)
    lines = ", ".join(f"{name}: exponent {line['exponent']:.2f}" for name, line in series.items())
    plots.finished(axes, "How does sampling time grow?", f"Seconds of sampling by {lines}.")
    return axes


def main() -> None:
    """Measure every series and draw them."""
    series, facts = {}, machine("cpu", torch.get_num_threads())
    for name, sizes in SERIES.items():
        series[name] = _grown(sizes)
        note(f"{name}: {series[name]}")
    series["processes"] = _shared()
    write("scaling-cpu", facts | {"rounds": ROUNDS, "series": series})
    plots.save(draw(series), FIGURES / "scaling_cpu.svg")


if __name__ == "__main__":
    main()
