"""The trace of every flaw: measured rows, and how far a nearest-signature classifier gets with them.

    python -m rslib.signatures               measure what is missing, then write docs/results/signatures.json
                                             and the tables of docs/signatures.md
    python -m rslib.signatures --tables      the tables alone

A signature is one row of numbers of one run: the columns of its report (the *panel*: every arm, and the
selection) and a few *probes*, small measurements on the run's own tables that docs/signatures.md explains.
Runs are small, their held-out prompts are of the validation split; finished rows are kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import schema, store, world
from rslib.flaws import FLAWS, flawed
from rslib.pipeline import HEALTHY, RunConfig, Steps, run
from rslib.progress import Progress
from rslib.reward_modeling import group_pair_accuracy
from rslib.scoring import reference_logprobs, score
from rslib.stages import Models

if TYPE_CHECKING:
    from datasets import Dataset

RESULTS, PAGE = Path("docs/results/signatures.json"), Path("docs/signatures.md")
HEALTHY_ROWS = {"healthy": 1, "healthy_two_rounds": 2}
"""Runs without a flaw, and their rounds."""
SETTINGS = {"prompts": 64, "n": 16, "eval_samples_per_prompt": 2, "batch_tokens": 512}
HELDOUT_PROMPTS = 100
MATRIX_SEEDS, HELDOUT_SEEDS = (0, 1, 2), (3, 4)
PROBED_ROWS = 32
"""Pool rows that a probe scores or weighs again."""
Row = dict[str, float | None]


# One row ------------------------------------------------------------------------------------------------


def names() -> list[str]:
    """Every class of the matrix: the healthy runs, then the flaws in the order of `FLAWS`."""
    return [*HEALTHY_ROWS, *FLAWS]


def run_of(name: str, seed: int, folder: Path) -> tuple[RunConfig, Steps]:
    """The settings and steps of one measured run; its held-out prompts are a file in `folder`."""
    heldout = folder / "heldout.jsonl"
    store.make_folder(folder)
    lines = [json.dumps(row) for row in world.load_prompts("validation", HELDOUT_PROMPTS)]
    store.atomic_write(heldout, "\n".join(lines) + "\n")
    rounds = HEALTHY_ROWS.get(name, 1)
    config = RunConfig.of(
        eval_prompts=str(heldout), seed=seed, eval_seed=1_000_003 + seed, rounds=rounds, **SETTINGS
    )
    return (config, HEALTHY) if name in HEALTHY_ROWS else flawed(name, config)


def signature(name: str, seed: int, folder: Path) -> Row:
    """The row of one flaw and seed: panel and probes. Runs of one seed share what `folder` already holds."""
    config, steps = run_of(name, seed, folder)
    # A run folder holds on to its reward model.
    place = folder / ("run" if config.reward_model == RunConfig().reward_model else config.reward_model)
    report = run(config, out=place, steps=steps, show_progress=False)
    found = panel(report.rounds[-1]) | probes(config, steps, report.rounds, place)
    return {column: None if value is None else round(float(value), 6) for column, value in found.items()}


def panel(entry: Mapping[str, Any]) -> dict[str, float | None]:
    """The report's columns of one round, flat: `gold.base`, ..., and those of the selection.

    `gold_width.best_of_n` is the width of the 95 % interval of gold.
    """
    found: dict[str, float | None] = {}
    for arm in entry["order"]:
        metrics = {name: value for name, value in entry["arms"][arm].items() if name != "intervals"}
        for name, value in metrics.items():
            found[f"{name}.{arm}"] = value["mean"] if isinstance(value, Mapping) else value
    arm = entry["order"][-1]
    gold = entry["arms"][arm]["gold"]
    return found | {f"gold_width.{arm}": gold["high"] - gold["low"]} | entry["panel"][arm]


# Probes -------------------------------------------------------------------------------------------------

ARM = "best_of_n"


class _Tables:
    """The stage folders of one round of a run, read when asked for."""

    def __init__(self, place: Path, entry: Mapping[str, Any]) -> None:
        self.place, self.provenance = place, entry["provenance"]

    def folder(self, stage: str) -> Path:
        """Where a stage of this round lies."""
        return self.place / self.provenance["places"][stage]

    def table(self, stage: str) -> Dataset:
        """A stage's table."""
        return store.read_table(self.folder(stage))


def probes(
    config: RunConfig, steps: Steps, rounds: Sequence[Mapping[str, Any]], place: Path
) -> dict[str, float | None]:
    """Small measurements on the last round's own tables; docs/signatures.md says what each one decides."""
    first, last = (_Tables(place, entry) for entry in (rounds[0], rounds[-1]))
    parent = str(first.folder(f"finetune-{ARM}")) if len(rounds) > 1 else config.policy
    pool = last.table("score")
    return (
        _score_probes(config, steps, pool)
        | _pool_probes(parent, pool)
        | _kept_probes(pool, last.table(f"select-{ARM}"))
        | _training_probes(last)
        | _round_probes(first, last, pool)
    )


def _some(pool: Dataset) -> Dataset:
    """Up to PROBED_ROWS rows, spread evenly over the pool."""
    return schema.take(pool, np.linspace(0, len(pool) - 1, min(PROBED_ROWS, len(pool))).astype(int))


def _score_probes(config: RunConfig, steps: Steps, pool: Dataset) -> dict[str, float]:
    """Score a few rows again: as a healthy run does, and as this run does but under another row's prompt."""
    models, rows = Models(), _some(pool)
    stored = np.array(rows["reward"][:])
    again = score(models.reward_model(config.reward_model), rows, show_progress=False)["reward"][:]
    moved = schema.with_column(rows, "prompt", np.roll(rows["prompt"][:], 1).tolist())
    other = steps.score(models.reward_model(steps.scorer or config.reward_model), moved)["reward"][:]
    return {
        "rescore_error": float(np.abs(np.array(again) - stored).mean()),
        "prompt_effect": float(np.abs(np.array(other) - stored).mean()),
    }


def _pool_probes(parent: str, pool: Dataset) -> dict[str, float | None]:
    """Weigh a few rows again under the policy that the round began with; hold the rewards against gold."""
    rows = _some(pool)
    weighed = reference_logprobs(Models().policy(parent), rows)
    _, rewards, places = schema.reward_matrix(pool)
    gold = np.array(world.gold_scores(pool))[places]
    return {
        "reweigh_error": float(np.abs(weighed - np.array(rows["logprob"][:])).mean()),
        "reward_accuracy": group_pair_accuracy(rewards, gold) if rewards.shape[1] > 1 else None,
    }


def _kept_probes(pool: Dataset, kept: Dataset) -> dict[str, float]:
    """Which rows of the pool were kept: the best, the first, those that end like a sentence."""
    ids, rewards, _ = schema.reward_matrix(pool)
    best = dict(zip(ids, rewards.max(axis=1), strict=True))
    hits = [reward >= best[p] for p, reward in zip(kept["prompt_id"][:], kept["reward"][:], strict=True)]
    ends = [text.rstrip().endswith((".", "!", "?")) for text in kept["response"][:]]
    return {
        "kept_best": float(np.mean(hits)),
        "kept_place": float(np.mean(kept["sample_id"][:])) / max(1, rewards.shape[1] - 1),
        "kept_without_end": 1.0 - float(np.mean(ends)),
    }


def _training_probes(at: _Tables) -> dict[str, float]:
    """What the training record says: rows, learned tokens, losses, parent, and whether the policy moved."""
    kept, stage = at.table(f"select-{ARM}"), f"finetune-{ARM}"
    record = json.loads((at.folder(stage) / "training.json").read_text(encoding="utf-8"))
    parent, losses = at.provenance["parent"], record["losses"]
    return {
        "trained_rows": record["rows"] / len(kept),
        "learned_tokens": record["targets"] / sum(map(len, kept["token_ids"][:])),
        "first_loss": float(np.mean(losses[:3])),
        "last_loss": float(np.mean(losses[-3:])),
        "parent_as_planned": float(record["parent"] == parent),
        "policy_changed": float(at.provenance["child"][ARM] != parent),
    }


def _round_probes(first: _Tables, last: _Tables, pool: Dataset) -> dict[str, float]:
    """What the last round shares with the first (0 for a single round), and training with evaluation."""
    before = first.table("score") if first.provenance is not last.provenance else schema.take(pool, [])
    judged = last.table(f"evaluate-{ARM}-score")
    return {
        "repeated_prompts": _shared(pool, before, "prompt"),
        "repeated_responses": _shared(pool, before, "prompt", "response"),
        "judged_prompts_trained_on": _shared(judged, pool, "prompt"),
    }


def _shared(table: Dataset, other: Dataset, *columns: str) -> float:
    """Share of the table's rows whose columns stand like that in the other table too."""
    rows, known = (list(zip(*(t[name][:] for name in columns), strict=True)) for t in (table, other))
    return float(np.isin([hash(row) for row in rows], [hash(row) for row in known]).mean())


# All rows ------------------------------------------------------------------------------------------------


def read() -> dict[str, Any]:
    """What has been measured so far."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"rows": {}}


def measure(folder: Path, seeds: Sequence[int]) -> None:
    """Measure every row that is not there yet, seed by seed; the results file is written after each."""
    with Progress(len(names()) * len(seeds), "signatures", "rows") as progress:
        for seed in seeds:
            for name in names():
                cached = str(seed) in read()["rows"].get(name, {})
                if not cached:
                    keep(name, seed, signature(name, seed, folder / str(seed)))
                progress.advance(cached=cached)


def keep(name: str, seed: int, row: Row) -> None:
    """Write one row into the results file; what was computed from the rows before is dropped."""
    rows = read()["rows"]
    rows.setdefault(name, {})[str(seed)] = row
    content = {"versions": store.versions(), "settings": SETTINGS | {"eval_prompts": HELDOUT_PROMPTS}}
    store.atomic_write(RESULTS, json.dumps(content | {"rows": rows}, indent=1, sort_keys=True) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the missing rows."""
    parser = argparse.ArgumentParser(prog="python -m rslib.signatures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/signatures"), help="where the runs lie")
    options = parser.parse_args(arguments)
    measure(options.out, [*MATRIX_SEEDS, *HELDOUT_SEEDS])


if __name__ == "__main__":
    main()
