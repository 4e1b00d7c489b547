"""Several trained worlds, several seeds: the measurements behind the README's tables, and these tables.

    python -m docs.studies.worlds --worlds runs/worlds/0 runs/worlds/1 runs/worlds/2 --seeds 0 1 2

A world is a folder that `rslib.build.build_world` made. A test repeats a sample of the measurements.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from docs.studies.results import markdown, mean_and_range, signed_interval, write
from rslib.cache import versions
from rslib.config import EvaluateConfig
from rslib.evaluation import best_of_n_table
from rslib.models import ASSETS, load_policy, load_reward_model
from rslib.pipeline import run
from rslib.prompts import EMBEDDED, load_prompts
from rslib.sampling import sample
from rslib.scoring import score
from rslib.stages import with_gold

if TYPE_CHECKING:
    from datasets import Dataset

_POOL = 256
_CURVE_PROMPTS = 200
_TEST_PROMPTS = 800  # twice the default: a claim of ten standard errors needs them small
REWARD_MODELS = {"biased": "tiny-reward", "unbiased": "tiny-reward-unbiased"}
_ARMS = {"base": "base", "random": "random-of-16 control", "best_of_n": "best-of-16"}
_METRICS = {
    "gold": "gold",
    "proxy": "proxy",
    "unsafe_compliance": "unsafe compliance",
    "length": "length, tokens",
    "kl": "KL, nats",
    "selection_gap": "selection gap",
    "unique_ratio": "unique ratio",
    "truncation_rate": "truncation rate",
}
_Run = dict[str, Any]


def _one_round(world: Path, seed: int, out: Path) -> _Run:
    """One best-of-16 round in a world: its arms and paired comparisons on the test split."""
    report = run(
        policy=str(world / "tiny-policy"),
        reward_model=str(world / "tiny-reward"),
        n=16,
        prompts=400,
        eval_prompts=_TEST_PROMPTS,
        rounds=1,
        seed=seed,
        out=out,
    )
    entry = report.to_dict()["rounds"][0]
    return {"world": world.name, "seed": seed, "arms": entry["arms"], "comparisons": entry["comparisons"]}


def _pool(world: Path, prompts: int, size: int) -> Dataset:
    """`size` responses of the world's policy to each of the first test prompts, with gold."""
    policy, test = load_policy(str(world / "tiny-policy")), load_prompts(EMBEDDED, "test", prompts)
    return with_gold(sample(policy, test, n=size, seed=7))


def _curves(world: Path) -> _Run:
    """Best-of-n curves of one pool under the biased and the unbiased reward model of a world."""
    responses = _pool(world, _CURVE_PROMPTS, _POOL)
    tables: _Run = {"world": world.name}
    for name, folder in REWARD_MODELS.items():
        scored = score(load_reward_model(str(world / folder)), responses)
        tables[name] = best_of_n_table(scored)
        kinds = np.array(scored["kind"])
        for kind in ("safe", "unsafe"):
            tables[f"{name}_{kind}"] = best_of_n_table(scored.select(np.flatnonzero(kinds == kind)))
    return tables


def spot_check() -> dict[str, float]:
    """A sample of the measurements on the embedded models, quick enough to be repeated by a test."""
    scored = score(load_reward_model("tiny"), _pool(ASSETS, 40, 16), show_progress=False)
    rows = {row["n"]: row for row in best_of_n_table(scored, [1, 16])["rows"]}
    return {f"{name}_{n}": rows[n][name]["mean"] for n in rows for name in ("gold", "proxy")}


def _save(name: str, results: Any) -> None:
    """Write one results file with the versions it was measured with."""
    samples = EvaluateConfig().samples_per_prompt
    evaluation = {"prompts": _TEST_PROMPTS, "samples_per_prompt": samples, "split": "test"}
    write(name, {"versions": versions(), "evaluation": evaluation, "results": results})


# The README's tables --------------------------------------------------------------------------------------


def _mean_of(estimate: Mapping[str, float] | float | None) -> float | None:
    """The mean of an estimate, whether it came as {mean, low, high} or as a plain number."""
    return estimate["mean"] if isinstance(estimate, Mapping) else estimate


def z_scores(runs: Sequence[_Run], first: str, second: str) -> list[float]:
    """How many standard errors `first` stands above `second` in gold, one number for each run."""
    pairs = (pair for run in runs for pair in run["comparisons"])
    return [pair["gold"]["z"] for pair in pairs if (pair["first"], pair["second"]) == (first, second)]


def rounds_text(content: Mapping[str, Any]) -> Iterator[str]:
    """One best-of-16 round in several trained worlds with several seeds: the arms side by side."""
    runs, evaluation = content["results"], content["evaluation"]
    worlds, seeds = (len({run[key] for run in runs}) for key in ("world", "seed"))
    rows = [
        [label, *(mean_and_range([_mean_of(run["arms"][arm].get(metric)) for run in runs]) for arm in _ARMS)]
        for metric, label in _METRICS.items()
    ]
    yield markdown(["", *_ARMS.values()], rows)
    best, control = z_scores(runs, "best_of_n", "random"), z_scores(runs, "random", "base")
    yield (
        f"One round of 400 prompts x 16 responses, in {worlds} separately trained worlds with {seeds} seeds "
        f"each, judged on {evaluation['prompts']} prompts of the untouched {evaluation['split']} split, "
        f"{evaluation['samples_per_prompt']} responses each. Mean over the {len(runs)} runs, with the range "
        f"of the runs in brackets. In gold, best-of-16 stands {min(best):.1f} to {max(best):.1f} standard "
        f"errors above its random control (paired by prompt), and the control {min(control):.1f} to "
        f"{max(control):.1f} standard errors above base."
    )


def curves_text(content: Mapping[str, Any]) -> Iterator[str]:
    """Best-of-n from large pools, with the biased and with the unbiased reward model."""
    worlds = content["results"]
    ns = [row["n"] for row in worlds[0]["biased"]["rows"]]

    def cell(kind: str, name: str, row: int) -> str:
        return mean_and_range([_mean_of(world[kind]["rows"][row][name]) for world in worlds])

    columns = [("biased", "proxy"), ("biased", "gold"), ("unbiased", "proxy"), ("unbiased", "gold")]
    yield markdown(
        ["n", *(f"{name}, {kind}" for kind, name in columns)],
        [[str(n), *(cell(kind, name, row) for kind, name in columns)] for row, n in enumerate(ns)],
    )
    sizes = sorted({world["biased"]["prompts"] for world in worlds})
    yield (
        f"Best-of-n without training: pools of {worlds[0]['biased']['pool_size']} responses to each of "
        f"{' or '.join(map(str, sizes))} test prompts, unbiased estimator, mean and range over {len(worlds)} "
        f"worlds. With the biased labeller's reward model gold peaks at n = {peaks(worlds)}, and at n = "
        f"{ns[-1]} stands {_falls(worlds, 'biased')} against the peak; with the unbiased one "
        f"{_falls(worlds, 'unbiased')}. The proxies of two reward models are on different scales."
    )


def peaks(worlds: Sequence[_Run]) -> str:
    """The n at which gold is highest under the biased reward model, in each world."""
    return ", ".join(str(world["biased"]["peak_n"]) for world in worlds)


def _falls(worlds: Sequence[_Run], kind: str) -> str:
    """Gold at the largest n minus gold at the peak, with its 95 % interval, in each world."""
    return ", ".join(signed_interval(world[kind]["rows"][-1]["below_peak"]) for world in worlds)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every world with every seed, and every world's curves."""
    parser = argparse.ArgumentParser(prog="python -m docs.studies.worlds", description=__doc__)
    parser.add_argument("--worlds", type=Path, nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/calibrate"))
    parser.add_argument("--only", choices=("rounds", "curves"))
    options = parser.parse_args(arguments)
    if options.only != "curves":
        cells = [(world, seed) for world in options.worlds for seed in options.seeds]
        _save("rounds", [_one_round(w, s, options.out / f"{w.name}-{s}") for w, s in cells])
    if options.only != "rounds":
        _save("best_of_n", [_curves(world) for world in options.worlds])
    _save("spot_check", spot_check())


if __name__ == "__main__":
    main()
