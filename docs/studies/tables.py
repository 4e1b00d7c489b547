"""Write the tables of README.md and rl.md from docs/results/: `make tables`. A test holds them in sync.

Between the markers `results:start` and `results:end` stand the tables of rounds.json and best_of_n.json,
between `bench:start` and `bench:end` those of bench-*.json, between `rl:start` and `rl:end` those of rl.json.
Without such files the text between the markers stays as it is.
docs/results/README.md describes the files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results"
FIGURES = ROOT / "docs" / "figures"
README, RL = ROOT / "README.md", ROOT / "docs" / "rl.md"
METHODS = {
    "base": "base",
    "rs": "one round of best-of-16",
    "dpo": "DPO, best against worst",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "ppo": "PPO",
    "ppo_without_kl": "PPO, KL coefficient 0",
}
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
    from docs.studies.bench import render

    return "\n\n".join(render(json.loads(path.read_text(encoding="utf-8"))) for path in paths)


def rl_text() -> str | None:
    """What each method reached from the base policy, and what PPO does without its penalty; or None."""
    path = RESULTS / "rl.json"
    if not path.exists():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    cells, judged = list(found["results"].values()), found["evaluation"]
    rows = [[label, *method_row([cell[name] for cell in cells])] for name, label in METHODS.items()]
    head = ["", "gold", "gold over base", "reward over base", "KL, nats", "processor seconds"]
    told = (
        f"Mean over {len(cells)} seeds, the range of the seeds in brackets; each judged on "
        f"{judged['prompts']} prompts of the {judged['split']} split, {judged['samples_per_prompt']} "
        f"responses each. PPO reaches the gold of the round of best-of-16 in "
        f"{sum(cell['ppo']['gold'] >= cell['rs']['gold'] for cell in cells)} of {len(cells)} seeds. Without "
        f"its penalty the reward stands above base in {surely(cells, 'reward', 1)} and gold below base in "
        f"{surely(cells, 'gold', -1)} of {len(cells)} seeds by more than the 95 % interval."
    )
    return markdown(head, rows) + "\n\n" + told


def method_row(entries: Sequence[Cell]) -> list[str]:
    """The cells of one method's row; how it differs from base is empty for base itself."""
    is_base = not any(entry["gold_over_base"]["difference"] for entry in entries)
    over = [
        "" if is_base else spread([entry[f"{name}_over_base"]["difference"] for entry in entries])
        for name in ("gold", "reward")
    ]
    seconds = [entry.get("cpu_seconds") for entry in entries]
    gold, kl = (spread([entry[name] for entry in entries]) for name in ("gold", "kl"))
    return [gold, *over, "" if is_base else kl, "" if is_base else spread(seconds)]


def surely(cells: Sequence[Cell], name: str, sign: int) -> int:
    """In how many seeds PPO without its penalty stands above (1) or below (-1) base, interval and all."""
    over = [cell["ppo_without_kl"][f"{name}_over_base"] for cell in cells]
    return sum(one["low"] > 0 if sign > 0 else one["high"] < 0 for one in over)


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
    RL.write_text(filled(RL.read_text(encoding="utf-8"), "rl", rl_text()), encoding="utf-8")
