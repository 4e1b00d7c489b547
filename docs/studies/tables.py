"""Write the tables of README.md, rl.md and scale.md from docs/results/: `make tables`; a test compares them.

Between the markers `results:start` and `results:end` stand the tables of rounds.json and best_of_n.json,
between `bench:start` and `bench:end` those of bench-*.json, between `rl:start` and `rl:end` those of rl.json,
between `rl_flaws:start` and `rl_flaws:end` those of rl_flaws.json, and in scale.md those of cpu-time.json.
Without such files the text between the markers stays as it is. docs/results/README.md describes the files.
"""

from __future__ import annotations

from docs.studies import cpu_time, rl, rl_flaws, worlds
from docs.studies.bench.measuring import render
from docs.studies.results import DOCS, FIGURES, RESULTS, filled, read
from rslib import plots
from rslib.cache import atomic_write, read_json

README, RL, SCALE = DOCS.parent / "README.md", DOCS / "rl.md", DOCS / "scale.md"


def readme(page: str) -> str:
    """The README as it should be."""
    sources = {"rounds": worlds.rounds_text, "best_of_n": worlds.curves_text}
    contents = {name: read(name) for name in sources}
    parts = [part for name, content in contents.items() if content for part in sources[name](content)]
    tables = [render(read_json(path)) for path in sorted(RESULTS.glob("bench-*.json"))]
    return filled(filled(page, "results", "\n\n".join(parts)), "bench", "\n\n".join(tables))


def rl_page(page: str) -> str:
    """docs/rl.md as it should be."""
    content, flaws = read("rl"), read("rl_flaws")
    page = filled(page, "rl", rl.page_text(content) if content else None)
    return filled(page, "rl_flaws", rl_flaws.page_text(flaws) if flaws else None)


def scale_page(page: str) -> str:
    """docs/scale.md as it should be."""
    content = read("cpu-time")
    return filled(page, "cpu_time", cpu_time.page_text(content) if content else None)


def draw_curves() -> None:
    """The README's figures: gold and reward against n, with the labeller's bias and without it."""
    for content in read("best_of_n").get("results", [])[:1]:
        for kind in worlds.REWARD_MODELS:
            plots.save(plots.best_of_n_curve(content[kind]), FIGURES / f"best_of_n_{kind}.svg")


if __name__ == "__main__":
    draw_curves()
    for path, make in ((README, readme), (RL, rl_page), (SCALE, scale_page)):
        atomic_write(path, make(path.read_text(encoding="utf-8")))
