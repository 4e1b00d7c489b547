"""Write the README's tables from docs/results/: `make tables`. A test checks that they are in sync.

Between the markers `results:start` and `results:end` stand the tables of rounds.json and best_of_n.json,
between `bench:start` and `bench:end` those that rslib.bench makes of bench-*.json. Without such files the
text between the markers stays as it is. docs/results/README.md describes the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "docs" / "results"
FIGURES = ROOT / "docs" / "figures"
README = ROOT / "README.md"
ARMS = {"base": "base", "random": "random-of-16 control", "best_of_n": "best-of-16"}
METRICS = {
    "gold": "gold",
    "proxy": "proxy",
    "unsafe_compliance": "unsafe compliance",
    "length": "length, tokens",
    "kl": "KL, nats",
    "selection_gap": "selection gap",
    "unique_ratio": "unique ratio",
    "truncation_rate": "truncation rate",
}
Cell = dict[str, Any]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table, the first column to the left, the others to the right.

    >>> print(markdown(["n", "gold"], [["16", "4.93"]]))
    | n | gold |
    | --- | ---: |
    | 16 | 4.93 |
    """
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread(values: Sequence[float | None]) -> str:
    """The mean of the cells and their range; empty when no cell has a value.

    >>> spread([1.0, 2.0, 3.0]), spread([None])
    ('2.00 (1.00 to 3.00)', '')
    """
    known = [value for value in values if value is not None]
    if not known:
        return ""
    return f"{sum(known) / len(known):.2f} ({min(known):.2f} to {max(known):.2f})"


def mean_of(found: Mapping[str, float] | float | None) -> float | None:
    """The mean of an estimate, whether it came as {mean, low, high} or as a plain number."""
    return found["mean"] if isinstance(found, Mapping) else found


def scores(cells: Sequence[Cell], first: str, second: str) -> list[float]:
    """How many standard errors `first` stands above `second` in gold, one number for each cell."""
    pairs = (pair for one in cells for pair in one["comparisons"])
    return [pair["gold"]["z"] for pair in pairs if (pair["first"], pair["second"]) == (first, second)]


def rounds_text(found: Mapping[str, Any]) -> Iterator[str]:
    """One best-of-16 round in several trained worlds with several seeds: the arms side by side."""
    cells, judged = found["results"], found["evaluation"]
    worlds, seeds = (len({one[key] for one in cells}) for key in ("world", "seed"))
    rows = [
        [label, *(spread([mean_of(one["arms"][arm].get(metric)) for one in cells]) for arm in ARMS)]
        for metric, label in METRICS.items()
    ]
    yield markdown(["", *ARMS.values()], rows)
    best, control = scores(cells, "best_of_n", "random"), scores(cells, "random", "base")
    yield (
        f"One round of 400 prompts x 16 responses, in {worlds} separately trained worlds with {seeds} seeds "
        f"each, judged on {judged['prompts']} prompts of the untouched {judged['split']} split, "
        f"{judged['samples_per_prompt']} responses each. Mean over the {len(cells)} runs, with the range of "
        f"the runs in brackets. In gold, best-of-16 stands {min(best):.1f} to {max(best):.1f} standard "
        f"errors above its random control (paired by prompt), and the control {min(control):.1f} to "
        f"{max(control):.1f} standard errors above base."
    )


def curves_text(found: Mapping[str, Any]) -> Iterator[str]:
    """Best-of-n from large pools, with the biased and with the unbiased reward model."""
    cells = found["results"]
    ns = [row["n"] for row in cells[0]["biased"]["rows"]]

    def column(kind: str, name: str, at: int) -> str:
        return spread([mean_of(one[kind]["rows"][at][name]) for one in cells])

    sources = [("biased", "proxy"), ("biased", "gold"), ("unbiased", "proxy"), ("unbiased", "gold")]
    yield markdown(
        ["n", *(f"{name}, {kind}" for kind, name in sources)],
        [[str(n), *(column(kind, name, at) for kind, name in sources)] for at, n in enumerate(ns)],
    )
    peaks = ", ".join(str(one["biased"]["peak_n"]) for one in cells)
    sizes = sorted({one["biased"]["prompts"] for one in cells})
    yield (
        f"Best-of-n without training: pools of {cells[0]['biased']['pool_size']} responses to each of "
        f"{' or '.join(map(str, sizes))} test prompts, unbiased estimator, mean and range over {len(cells)} "
        f"worlds. With the biased labeller's reward model gold peaks at n = {peaks}, and at n = {ns[-1]} "
        f"stands {fall(cells, 'biased')} against the peak; with the unbiased one {fall(cells, 'unbiased')}. "
        "The proxies of two reward models are on different scales."
    )


def fall(cells: Sequence[Cell], kind: str) -> str:
    """Gold at the largest n minus gold at the peak, with its 95 % interval, in each world."""
    found = (one[kind]["rows"][-1]["below_peak"] for one in cells)
    return ", ".join(f"{x['difference']:+.2f} [{x['low']:+.2f}, {x['high']:+.2f}]" for x in found)


def draw_curves() -> None:
    """The README's figures: gold and reward against n, with the labeller's bias and without it."""
    from rslib import plots

    path = RESULTS / "best_of_n.json"
    if path.exists():
        curve = json.loads(path.read_text(encoding="utf-8"))["results"][0]
        for kind in ("biased", "unbiased"):
            plots.save(plots.best_of_n_curve(curve[kind]), FIGURES / f"best_of_n_{kind}.svg")


def results_text() -> str | None:
    """What has been measured of the embedded world, or None."""
    sources = {"rounds": rounds_text, "best_of_n": curves_text}
    paths = {name: RESULTS / f"{name}.json" for name in sources}
    parts = [
        part
        for name, path in paths.items()
        if path.exists()
        for part in sources[name](json.loads(path.read_text(encoding="utf-8")))
    ]
    return "\n\n".join(parts) or None


def bench_text() -> str | None:
    """The benchmark tables of all devices, or None when none has been measured."""
    paths = sorted(RESULTS.glob("bench-*.json"))
    if not paths:
        return None
    from rslib.bench import render

    return "\n\n".join(render(json.loads(path.read_text(encoding="utf-8"))) for path in paths)


def filled(page: str, name: str, text: str | None) -> str:
    """`page` with `text` between the markers called `name`; unchanged when there is no text.

    >>> filled("<!-- a:start -->old<!-- a:end -->", "a", "new").split()
    ['<!--', 'a:start', '-->', 'new', '<!--', 'a:end', '-->']
    """
    if text is None:
        return page
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    before, rest = page.split(start)
    return f"{before}{start}\n{text.strip()}\n{end}{rest.split(end)[1]}"


def rendered(page: str) -> str:
    """The README as it should be."""
    return filled(filled(page, "results", results_text()), "bench", bench_text())


if __name__ == "__main__":
    draw_curves()
    README.write_text(rendered(README.read_text(encoding="utf-8")), encoding="utf-8")
