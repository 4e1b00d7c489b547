"""The long measurements behind the README: several trained worlds, several seeds, one results file each.

    python -m docs.studies.worlds --worlds runs/worlds/0 runs/worlds/1 runs/worlds/2 --seeds 0 1 2

A world is a folder that `rslib.build.build_world` made. Results go to docs/results/; a test repeats a
sample of them.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib.config import EvaluateConfig
from rslib.evaluation import best_of_n_table
from rslib.models import ASSETS, load_policy, load_reward_model
from rslib.pipeline import run
from rslib.sampling import sample
from rslib.scoring import score
from rslib.store import atomic_write, versions
from rslib.tables import with_column
from rslib.world import gold_scores, load_prompts

if TYPE_CHECKING:
    from datasets import Dataset

POOL = 256
CURVE_PROMPTS = 200
TEST_PROMPTS = 800  # twice the default: a claim of ten standard errors needs them small
RESULTS = Path("docs/results")
REWARD_MODELS = {"biased": "tiny-reward", "unbiased": "tiny-reward-unbiased"}


def one_round(world: Path, seed: int, out: Path) -> dict[str, Any]:
    """Run one best-of-16 round in a world and keep its arms and paired comparisons on the test split."""
    report = run(
        policy=str(world / "tiny-policy"),
        reward_model=str(world / "tiny-reward"),
        n=16,
        prompts=400,
        eval_prompts=TEST_PROMPTS,
        rounds=1,
        seed=seed,
        out=out,
    )
    entry = report.to_dict()["rounds"][0]
    return {"world": world.name, "seed": seed, "arms": entry["arms"], "comparisons": entry["comparisons"]}


def pool(world: Path, prompts: int, size: int, seed: int = 7) -> Dataset:
    """`size` responses of the world's policy to each of the first test prompts, with gold."""
    drawn = sample(load_policy(str(world / "tiny-policy")), load_prompts("test", prompts), n=size, seed=seed)
    return with_column(drawn, "gold", gold_scores(drawn))


def curves(world: Path, prompts: int = CURVE_PROMPTS, size: int = POOL) -> dict[str, Any]:
    """Best-of-n curves of one pool under the biased and the unbiased reward model of a world."""
    drawn = pool(world, prompts, size)
    found: dict[str, Any] = {"world": world.name}
    for name, folder in REWARD_MODELS.items():
        scored = score(load_reward_model(str(world / folder)), drawn)
        found[name] = best_of_n_table(scored)
        kinds = np.array(scored["kind"])
        for kind in ("safe", "unsafe"):
            found[f"{name}_{kind}"] = best_of_n_table(scored.select(np.flatnonzero(kinds == kind)))
    return found


def spot_check() -> dict[str, float]:
    """A sample of the measurements on the embedded models, quick enough to be repeated by a test."""
    scored = score(load_reward_model("tiny"), pool(ASSETS, 40, 16), show_progress=False)
    rows = {row["n"]: row for row in best_of_n_table(scored, [1, 16])["rows"]}
    return {f"{name}_{n}": rows[n][name]["mean"] for n in rows for name in ("gold", "proxy")}


def save(name: str, content: Any) -> Path:
    """Write one results file with the versions it was measured with."""
    path = RESULTS / f"{name}.json"
    samples = EvaluateConfig().samples_per_prompt
    evaluation = {"prompts": TEST_PROMPTS, "samples_per_prompt": samples, "split": "test"}
    body = {"versions": versions(), "evaluation": evaluation, "results": content}
    RESULTS.mkdir(parents=True, exist_ok=True)
    atomic_write(path, json.dumps(body, indent=1, sort_keys=True) + "\n")
    return path


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
        save("rounds", [one_round(w, s, options.out / f"{w.name}-{s}") for w, s in cells])
    if options.only != "rounds":
        save("best_of_n", [curves(world) for world in options.worlds])
    save("spot_check", spot_check())


if __name__ == "__main__":
    main()
