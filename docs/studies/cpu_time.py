"""Where our seconds go on one CPU core, in the works of the benchmark.

    OMP_NUM_THREADS=1 python -m docs.studies.cpu_time      writes results/cpu-time.json

torch's profiler gives each operation its own seconds, without those that it calls. What the profiler costs
itself falls on many small operations more than on few large ones, so shares are those of a profiled run.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from docs.studies.bench.measuring import Way, machine
from docs.studies.bench.works import Rows, Size, engine_rows, random_model, scoring_work, tuning_work
from docs.studies.results import markdown, write
from rslib.progress import note

KINDS = {
    "matrix products": ("aten::mm", "aten::addmm"),
    "products of attention": ("aten::bmm", "aten::baddbmm", "flash_attention"),
    "optimiser": ("aten::_fused_adamw", "Optimizer.", "aten::_foreach"),
}
"""What an operation counts as, by a part of its name; all others are small operations."""
SMALL, BETWEEN = "small operations", "between operations"


def _sampling(size: Size) -> Way:
    return Way("ours", partial(engine_rows, random_model(size.model), Rows.of(size)))


CASES: dict[str, Callable[[], Way]] = {
    "W1 sampling, prompt 32": lambda: _sampling(Size("2 M", prompt=32)),
    "W1 sampling, prompt 256": lambda: _sampling(Size("2 M", prompt=256)),
    "W2 scoring, prompt 32": lambda: scoring_work(Size("2 M", prompt=32)).ours,
    "W2 scoring, prompt 256": lambda: scoring_work(Size("2 M", prompt=256)).ours,
    "W3 fine-tuning, prompt 32": lambda: tuning_work(Size("2 M", n=8, prompt=32)).ours,
    "W3 fine-tuning, prompt 256": lambda: tuning_work(Size("2 M", n=8, prompt=256)).ours,
}


def kind_of(operation: str) -> str:
    """The row of an operation.

    >>> kind_of("aten::mm"), kind_of("aten::mul"), kind_of("aten::_scaled_dot_product_flash_attention")
    ('matrix products', 'small operations', 'products of attention')
    """
    for kind, names in KINDS.items():
        if any(operation == name if name.endswith("mm") else name in operation for name in names):
            return kind
    return SMALL


def where_time_goes(way: Way) -> dict[str, Any]:
    """Seconds of a way without the profiler, and with it the shares of each kind, their calls and GFLOP/s.

    `between operations` is what no operation takes: Python and the profiler.
    """
    way.seconds(time.perf_counter)  # warm-up
    plain, ready = way.seconds(time.perf_counter), way.prepare()
    with profile(activities=[ProfilerActivity.CPU], with_flops=True) as profiler:
        began = time.perf_counter()
        way.act(*ready)
        whole = time.perf_counter() - began
    seconds, calls, flops = Counter[str](), Counter[str](), 0
    for event in profiler.key_averages():
        kind = kind_of(event.key)
        seconds[kind] += event.self_cpu_time_total / 1e6
        calls[kind] += event.count
        flops += event.flops if kind == "matrix products" else 0
    seconds[BETWEEN] = max(0.0, whole - seconds.total())
    return {
        "seconds": round(plain, 3),
        "seconds_profiled": round(whole, 3),
        "shares": {kind: round(s / whole, 3) for kind, s in seconds.items()},
        "calls": dict(calls),
        "gflops": round(flops / seconds["matrix products"] / 1e9, 1),
    }


def page_text(content: Mapping[str, Any]) -> str:
    """The table of docs/scale.md: a row for each work, the shares of its seconds in per cent."""
    kinds = [*KINDS, SMALL, BETWEEN]
    rows = [
        [
            work,
            f"{row['seconds']:.2f}",
            *(f"{100 * row['shares'].get(kind, 0):.0f}" for kind in kinds),
            f"{row['calls'][SMALL]:,}",
            f"{row['gflops']:.0f}",
        ]
        for work, row in content["works"].items()
    ]
    head = ["work", "seconds", *(f"{kind}, %" for kind in kinds), "small operations", "GFLOP/s of products"]
    return markdown(head, rows)


def main() -> None:
    """Profile every case and write the results file."""
    works = {}
    for name, make in CASES.items():
        works[name] = where_time_goes(make())
        note(f"{name}: {works[name]}")
    write("cpu-time", machine("cpu", torch.get_num_threads()) | {"works": works})


if __name__ == "__main__":
    main()
