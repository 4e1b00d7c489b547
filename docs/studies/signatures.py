"""The trace of every flaw: measured rows, and how far a nearest-signature classifier gets with them.

    python -m docs.studies.signatures

measures what is missing into docs/results/signatures.json (finished rows are kept), judges the classifier and
writes the tables of docs/signatures.md.

A signature is one row of numbers of one run: the columns of its report, and a few *probes*, small
measurements on the run's own tables (PROBES). Runs are small; their held-out prompts are of the validation
split, since the test split is kept for comparisons of methods.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from docs.studies.results import DOCS, filled, markdown, measure_rows, read, write
from rslib import store, tables, world
from rslib.config import RunConfig
from rslib.flaws import FLAWS, flawed
from rslib.pipeline import Round, Run, run
from rslib.prompts import EMBEDDED, load_prompts
from rslib.reporting import panel
from rslib.reward_modeling import group_pair_accuracy
from rslib.scoring import reference_logprobs, score
from rslib.stages import Models

if TYPE_CHECKING:
    from datasets import Dataset

PAGE = DOCS / "signatures.md"
HEALTHY_ROWS = {"healthy": 1, "healthy_two_rounds": 2}
"""Runs without a flaw, and their rounds."""
_SETTINGS = {"prompts": 64, "n": 16, "eval_samples_per_prompt": 2, "batch_tokens": 512}
_HELDOUT_PROMPTS = 100
MATRIX_SEEDS, HELDOUT_SEEDS = (0, 1, 2), (3, 4)
_PROBED_ROWS = 32
"""Pool rows that a probe scores or weighs again."""
_Row = dict[str, float | None]

PROBES: dict[str, tuple[str, str]] = {
    name: (measured, decides)
    for line in Path(__file__).with_name("probes.txt").read_text(encoding="utf-8").splitlines()
    for name, measured, decides in [line.split(" | ")]
}
"""Probe -> (what is measured, what it decides); the file probes.txt."""


# One row ------------------------------------------------------------------------------------------------


def _names() -> list[str]:
    """Every class of the matrix: the healthy runs, then the flaws in the order of `FLAWS`."""
    return [*HEALTHY_ROWS, *FLAWS]


def _run_of(name: str, seed: int, folder: Path) -> tuple[RunConfig, type[Round]]:
    """The settings and rounds of one measured run; its held-out prompts are a file in `folder`."""
    heldout = folder / "heldout.jsonl"
    store.make_folder(folder)
    lines = [json.dumps(row) for row in load_prompts(EMBEDDED, "validation", _HELDOUT_PROMPTS)]
    store.atomic_write(heldout, "\n".join(lines) + "\n")
    rounds = HEALTHY_ROWS.get(name, 1)
    config = RunConfig(
        eval_prompts=str(heldout), seed=seed, eval_seed=1_000_003 + seed, rounds=rounds, **_SETTINGS
    )
    return (config, Round) if name in HEALTHY_ROWS else flawed(name, config)


def signature(name: str, seed: int, folder: Path) -> _Row:
    """The row of one flaw and seed: panel and probes. Runs of one seed share what `folder` already holds."""
    config, kind = _run_of(name, seed, folder)
    # A run folder holds on to its reward model.
    out = folder / ("run" if config.reward_model == RunConfig().reward_model else config.reward_model)
    report = run(config, out=out, kind=kind, show_progress=False)
    row = panel(report.rounds[-1]) | _probes(config, kind, report.rounds, out)
    return {column: None if value is None else round(float(value), 6) for column, value in row.items()}


# Probes -------------------------------------------------------------------------------------------------

_ARM = "best_of_n"


class _Tables:
    """The stage folders of one round of a run, read when asked for."""

    def __init__(self, out: Path, entry: Mapping[str, Any]) -> None:
        self.out, self.provenance = out, entry["provenance"]

    def folder(self, stage: str) -> Path:
        """Where a stage of this round lies."""
        return self.out / self.provenance["places"][stage]

    def table(self, stage: str) -> Dataset:
        """A stage's table."""
        return store.read_table(self.folder(stage))


def _probes(
    config: RunConfig, kind: type[Round], rounds: Sequence[Mapping[str, Any]], out: Path
) -> dict[str, float | None]:
    """Small measurements on the last round's own tables; docs/signatures.md says what each one decides."""
    first, last = (_Tables(out, entry) for entry in (rounds[0], rounds[-1]))
    parent = str(first.folder(f"finetune-{_ARM}")) if len(rounds) > 1 else config.policy
    pool = last.table("score")
    return (
        _score_probes(config, kind, pool)
        | _pool_probes(parent, pool)
        | _kept_probes(pool, last.table(f"select-{_ARM}"))
        | _training_probes(last)
        | _round_probes(first, last, pool)
    )


def _some(pool: Dataset) -> Dataset:
    """Up to _PROBED_ROWS rows, spread evenly over the pool."""
    return tables.take(pool, np.linspace(0, len(pool) - 1, min(_PROBED_ROWS, len(pool))).astype(int))


def _score_probes(config: RunConfig, kind: type[Round], pool: Dataset) -> dict[str, float]:
    """Score a few rows again: as a healthy run does, and as this run does but under another row's prompt."""
    models, rows = Models(), _some(pool)
    stored = np.array(rows["reward"][:])
    again = score(models.reward_model(config.reward_model), rows, show_progress=False)["reward"][:]
    moved = tables.with_column(rows, "prompt", np.roll(rows["prompt"][:], 1).tolist())
    # Scoring needs no more of a run than its settings, its models and some prompts.
    stages = SimpleNamespace(models=models)
    scorer = models.reward_checkpoint(config.reward_model)
    shared = Run(config, stages, [moved], moved, {}, None, scorer)
    part = kind(shared, 1, None)
    reward_model = models.reward_model(part.scorer.path)
    other = part.score_part(reward_model, moved, show_progress=False)["reward"][:]
    return {
        "rescore_error": float(np.abs(np.array(again) - stored).mean()),
        "prompt_effect": float(np.abs(np.array(other) - stored).mean()),
    }


def _pool_probes(parent: str, pool: Dataset) -> dict[str, float | None]:
    """Weigh a few rows again under the policy that the round began with; hold the rewards against gold."""
    rows = _some(pool)
    weighed = reference_logprobs(Models().policy(parent), rows)
    _, rewards, rows_of = tables.reward_matrix(pool)
    gold = np.array(world.gold_scores(pool))[rows_of]
    differ = bool(np.ptp(gold, axis=1).any())  # else there is no pair to order
    return {
        "reweigh_error": float(np.abs(weighed - np.array(rows["logprob"][:])).mean()),
        "reward_accuracy": group_pair_accuracy(rewards, gold) if differ else None,
    }


def _kept_probes(pool: Dataset, kept: Dataset) -> dict[str, float]:
    """Which rows of the pool were kept: the best, the first, those that end like a sentence."""
    ids, rewards, _ = tables.reward_matrix(pool)
    best = dict(zip(ids, rewards.max(axis=1), strict=True))
    hits = [reward >= best[p] for p, reward in zip(kept["prompt_id"][:], kept["reward"][:], strict=True)]
    ends = [text.rstrip().endswith((".", "!", "?")) for text in kept["response"][:]]
    return {
        "kept_best": float(np.mean(hits)),
        "kept_place": float(np.mean(kept["sample_id"][:])) / max(1, rewards.shape[1] - 1),
        "kept_without_end": 1.0 - float(np.mean(ends)),
    }


def _training_probes(stages: _Tables) -> dict[str, float]:
    """What the training record says: rows, learned tokens, losses, parent, and whether the policy moved."""
    kept, stage = stages.table(f"select-{_ARM}"), f"finetune-{_ARM}"
    record = json.loads((stages.folder(stage) / "training.json").read_text(encoding="utf-8"))
    parent, losses = stages.provenance["parent"], record["losses"]
    return {
        "trained_rows": record["rows"] / len(kept),
        "learned_tokens": record["targets"] / sum(map(len, kept["token_ids"][:])),
        "first_loss": float(np.mean(losses[:3])),
        "last_loss": float(np.mean(losses[-3:])),
        "parent_as_planned": float(record["parent"] == parent),
        "policy_changed": float(stages.provenance["child"][_ARM] != parent),
    }


def _round_probes(first: _Tables, last: _Tables, pool: Dataset) -> dict[str, float]:
    """What the last round shares with the first (0 for a single round), and training with evaluation."""
    before = first.table("score") if first.provenance is not last.provenance else tables.take(pool, [])
    judged = last.table(f"evaluate-{_ARM}-score")
    return {
        "repeated_prompts": _shared(pool, before, "prompt"),
        "repeated_responses": _shared(pool, before, "prompt", "response"),
        "judged_prompts_trained_on": _shared(judged, pool, "prompt"),
    }


def _shared(table: Dataset, other: Dataset, *columns: str) -> float:
    """Share of the table's rows whose columns stand like that in the other table too."""
    rows, known = (list(zip(*(t[name][:] for name in columns), strict=True)) for t in (table, other))
    return float(np.isin([hash(row) for row in rows], [hash(row) for row in known]).mean())


# The classifier -----------------------------------------------------------------------------------------

_OUTCOMES = "gold proxy kl entropy length words truncation_rate unique_ratio unsafe_compliance".split()
_FLOOR = 0.05
"""Part of a column's spread between flaws that its spread over seeds never falls below."""
_CAP = 10.0
"""Spreads that one column can count at most, as when a value is there in one row and missing in the other."""
_Z_LIMIT = 1.5
"""Flaws whose mean rows lie fewer spreads apart, root mean square over the columns, are one group."""
_Rows = Mapping[str, Mapping[str, _Row]]


def column_sets(rows: _Rows) -> dict[str, list[str]]:
    """What a reader may look at: the outcome of the arms, the whole report, report and probes."""
    columns = sorted(rows["healthy"][str(MATRIX_SEEDS[0])])
    outcome = [name for name in columns if name.split(".")[0] in _OUTCOMES and "." in name]
    report = [name for name in columns if name not in PROBES]
    return {"outcome": outcome, "report": report, "report and probes": columns}


def values_of(rows: _Rows, columns: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
    """(classes, seeds, columns) as float64; NaN where a row has no value. Classes in the order of `rows`."""
    cells = [[[by_seed[str(seed)][c] for c in columns] for seed in seeds] for by_seed in rows.values()]
    return np.array(cells, dtype=float)


def _centres(values: np.ndarray) -> np.ndarray:
    """Mean over the seeds that have a value, (classes, columns); NaN where none has.

    >>> _centres(np.array([[[1.0], [3.0], [np.nan]]])).tolist()
    [[2.0]]
    """
    return np.ma.masked_invalid(values).mean(axis=1).filled(np.nan)


def _deviations(values: np.ndarray) -> np.ndarray:
    """Standard deviation over the seeds that have a value, (classes, columns); NaN for fewer than two.

    >>> _deviations(np.array([[[1.0], [3.0], [np.nan]]])).round(3).tolist()
    [[1.414]]
    """
    return np.ma.masked_invalid(values).std(axis=1, ddof=1).filled(np.nan)


def spreads(values: np.ndarray) -> np.ndarray:
    """One spread per column `(columns,)`: that over the seeds of the median class, with a floor.

    _FLOOR times the spread between classes is added in squares. That one is the mean distance of the classes'
    means from the median one, which a single wild class moves little. 0 for a column that never differs.
    """
    middle = _centres(values)
    within = np.nanmedian(_deviations(values), axis=0)
    between = np.nanmean(np.abs(middle - np.nanmedian(middle, axis=0)), axis=0)
    return np.sqrt(within**2 + (_FLOOR * between) ** 2)


def _distances(left: np.ndarray, right: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Root mean square over columns of the capped distance in spreads: (L, columns), (R, columns) -> (L, R).

    Two missing values are equal; a value and a missing one are _CAP apart, as are any two values where the
    spread is 0 and they differ.

    >>> _distances(np.array([[0.0, 1.0]]), np.array([[3.0, 5.0]]), np.array([1.0, 1.0])).round(3).tolist()
    [[3.536]]
    """
    apart = np.abs(left[:, None] - right[None])
    steps = np.divide(apart, spread, out=np.where(apart > 0, _CAP, 0.0), where=spread > 0)
    missing = np.isnan(left)[:, None] != np.isnan(right)[None]
    steps = np.where(missing, _CAP, np.nan_to_num(np.minimum(steps, _CAP)))
    return np.sqrt((steps**2).mean(axis=2))


def predictions(values: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The class whose mean over seeds lies nearest: `values` as of `values_of`, `shown (rows, columns)`."""
    return _distances(shown, _centres(values), spreads(values)).argmin(axis=1)


def _left_out(values: np.ndarray) -> np.ndarray:
    """Confusion counts (true, predicted) when each seed is predicted from the others."""
    classes, seeds = values.shape[:2]
    confusion = np.zeros((classes, classes), dtype=int)
    for seed in range(seeds):
        named = predictions(np.delete(values, seed, axis=1), values[:, seed])
        np.add.at(confusion, (np.arange(classes), named), 1)
    return confusion


def _groups(values: np.ndarray) -> np.ndarray:
    """A group number for each class: those are joined that lie within _Z_LIMIT, or are taken for each other.

    Only the seeds in `values` decide, so that held-out seeds judge groups that they did not make.
    """
    confused = _left_out(values) > 0
    middle = _centres(values)
    joined = (_distances(middle, middle, spreads(values)) < _Z_LIMIT) | (confused & confused.T)
    number = np.arange(len(values))
    for _ in number:  # the smallest number spreads through each connected set
        number = np.where(joined, number[None], len(number)).min(axis=1)
    return number


def classifier(rows: _Rows, columns: Sequence[str]) -> dict[str, Any]:
    """How well the nearest mean row names held-out rows: confusion, accuracy by flaw and by group."""
    known, fresh = (values_of(rows, columns, seeds) for seeds in (MATRIX_SEEDS, HELDOUT_SEEDS))
    classes, number = list(rows), _groups(known)
    true = np.repeat(np.arange(len(classes)), fresh.shape[1])
    named = predictions(known, fresh.reshape(len(true), -1))
    confusion: dict[str, dict[str, int]] = {name: {} for name in classes}
    for a, b in zip(true, named, strict=True):
        confusion[classes[a]][classes[b]] = confusion[classes[a]].get(classes[b], 0) + 1
    members = [[classes[i] for i in np.flatnonzero(number == group)] for group in np.unique(number)]
    return {
        "columns": len(columns),
        "confusion": confusion,
        "accuracy": round(float(np.mean(true == named)), 4),
        "group_accuracy": round(float(np.mean(number[true] == number[named])), 4),
        "groups": [group for group in members if len(group) > 1],
        "classes": len(members),
    }


def _healthy_twin(name: str) -> str:
    """The healthy row that a flaw is held against: that of as many rounds."""
    rounds = HEALTHY_ROWS.get(name) or flawed(name, RunConfig())[0].rounds
    return next(twin for twin, count in HEALTHY_ROWS.items() if count == rounds)


def _separating_columns(
    rows: _Rows, name: str, other: str, columns: Sequence[str], most: int = 3
) -> list[str]:
    """The columns that tell two classes apart, the clearest first, at most `most`.

    A column tells them apart when every seed of the one, held-out seeds included, lies on one side of every
    seed of the other and their means are at least 2 spreads apart; or when one of the two never has a value.
    """
    spread = spreads(values_of(rows, columns, MATRIX_SEEDS))
    left, right = (
        values_of({key: rows[key]}, columns, [*MATRIX_SEEDS, *HELDOUT_SEEDS])[0] for key in (name, other)
    )
    apart = np.abs(_centres(left[None]) - _centres(right[None]))[0]
    steps = np.divide(apart, spread, out=np.full(len(columns), np.inf), where=(spread > 0) & ~np.isnan(apart))
    separating = [
        (-steps[i], column)
        for i, column in enumerate(columns)
        if steps[i] >= 2 and _on_two_sides(left[:, i], right[:, i])
    ]
    return [column for _, column in sorted(separating)[:most]]


def _on_two_sides(left: np.ndarray, right: np.ndarray) -> bool:
    """Whether two sets of numbers do not overlap; a set without any value overlaps with no other."""
    left, right = left[~np.isnan(left)], right[~np.isnan(right)]
    if not len(left) or not len(right):
        return len(left) != len(right)
    return bool(left.min() > right.max() or left.max() < right.min())


# The page -----------------------------------------------------------------------------------------------

_SHOWN = (
    *(f"{name}.{_ARM}" for name in ("gold", "proxy", "kl", "entropy", "length", "unique_ratio")),
    f"unsafe_compliance.{_ARM}",
    f"selection_gap.{_ARM}",
    "coverage",
    "kept_rows",
)
"""Columns of the report that the page shows for every flaw; the results file has all."""


def _trace_tables(content: Mapping[str, Any]) -> dict[str, str]:
    """The parts of docs/signatures.md that are made from the results, by the name of their markers."""
    rows = ordered(content["rows"])
    return {
        "rows": _rows_text(rows, _SHOWN),
        "probes": _table(
            ["probe", "what is measured", "what it decides"],
            [[name, *texts] for name, texts in PROBES.items()],
        ),
        "probed": _rows_text(rows, list(PROBES)),
        "marks": _marks_text(rows),
        "classifier": _classifier_text(content["classifiers"]),
    }


def ordered(rows: _Rows) -> dict[str, Mapping[str, _Row]]:
    """The rows in the order of `_names`: JSON sorts them."""
    return {name: rows[name] for name in _names()}


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    return markdown(head, lines, align="---")


def _rows_text(rows: _Rows, columns: Sequence[str]) -> str:
    """Mean and standard deviation over the matrix seeds of some columns, a line for each class."""
    values = values_of(rows, columns, MATRIX_SEEDS)
    lines = [
        [name, *map(_cell, mean, deviation)]
        for name, mean, deviation in zip(rows, _centres(values), _deviations(values), strict=True)
    ]
    return _table(["flaw", *(column.removesuffix(f".{_ARM}").replace("_", " ") for column in columns)], lines)


def _cell(mean: float, deviation: float) -> str:
    """A mean with its spread.

    >>> _cell(3.0415, 0.4), _cell(64.0, 0.0), _cell(float("nan"), float("nan"))
    ('3.04 ± 0.40', '64', '-')
    """
    if np.isnan(mean):
        return "-"
    return f"{mean:.4g}" if not deviation else f"{mean:.2f} ± {deviation:.2f}"


def _marks_text(rows: _Rows) -> str:
    """Where each flaw shows: against the healthy run of as many rounds, and against its nearest neighbour."""
    sets = column_sets(rows)
    report = [name for name in sets["report"] if name not in sets["outcome"]]
    columns, classes = sets["report and probes"], list(rows)
    values = values_of(rows, columns, MATRIX_SEEDS)
    apart = _distances(_centres(values), _centres(values), spreads(values))
    np.fill_diagonal(apart, np.inf)
    lines = []
    for number, name in enumerate(classes):
        if name in HEALTHY_ROWS:
            continue
        near, twin = classes[apart[number].argmin()], _healthy_twin(name)
        parts = (sets["outcome"], report, list(PROBES))
        shown = [_named(_separating_columns(rows, name, twin, part)) for part in parts]
        shown += [near, _named(_separating_columns(rows, name, near, columns, most=2))]
        lines.append([name, FLAWS[name].id, *shown])
    return _table(
        ["flaw", "id", "outcome", "rest of the report", "probes", "nearest other row", "told apart by"], lines
    )


def _named(columns: Sequence[str]) -> str:
    return ", ".join(column.removesuffix(f".{_ARM}") for column in columns) or "nothing"


def _classifier_text(classifiers: Mapping[str, Mapping[str, Any]]) -> str:
    """Accuracy on held-out seeds for each set of columns, the groups, and every row that was misnamed."""
    lines = [
        [name, str(c["columns"]), f"{c['accuracy']:.0%}", f"{c['group_accuracy']:.0%}", str(c["classes"])]
        for name, c in classifiers.items()
    ]
    head = ["columns", "how many", "rows named rightly", "rows put into the right group", "groups"]
    parts = [_table(head, lines)]
    for name, judgement in classifiers.items():
        together = "; ".join(", ".join(group) for group in judgement["groups"]) or "none"
        wrong = [
            f"{true} as {named}" + (f" ({count} times)" if count > 1 else "")
            for true, counts in judgement["confusion"].items()
            for named, count in counts.items()
            if named != true
        ]
        parts.append(
            f"**{name.capitalize()}.** Not told apart: {together}. Misnamed on held-out seeds: "
            f"{'; '.join(wrong) or 'none'}."
        )
    return "\n\n".join(parts)


def written(page: str, content: Mapping[str, Any]) -> str:
    """The page with the text between its markers (`<!-- rows:start -->` and so on) made anew."""
    for name, text in _trace_tables(content).items():
        page = filled(page, name, text)
    return page


# All rows ------------------------------------------------------------------------------------------------


def classify() -> None:
    """Judge the classifier on the rows; write that into the results file, and the page's tables."""
    content = read("signatures")
    rows = ordered(content["rows"])
    judged = {name: classifier(rows, columns) for name, columns in column_sets(rows).items()}
    seeds = {"matrix": MATRIX_SEEDS, "heldout": HELDOUT_SEEDS}
    write("signatures", content | {"classifiers": judged, "seeds": seeds})
    # As it was stored: JSON sorts, and the page follows the file.
    store.atomic_write(PAGE, written(PAGE.read_text(encoding="utf-8"), read("signatures")))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the missing rows, judge, write the page."""
    parser = argparse.ArgumentParser(prog="python -m docs.studies.signatures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/signatures"), help="where the runs lie")
    out = parser.parse_args(arguments).out
    cells = [(name, str(seed)) for seed in (*MATRIX_SEEDS, *HELDOUT_SEEDS) for name in _names()]
    facts = {"settings": _SETTINGS | {"eval_prompts": _HELDOUT_PROMPTS, "split": "validation"}}
    measure_rows("signatures", cells, lambda name, seed: signature(name, int(seed), out / seed), facts)
    classify()


if __name__ == "__main__":
    main()
