"""How good is a policy, and is the difference real? Pure functions on tables; no model is loaded here.

The tables are responses of each arm (`base`, `random`, `best_of_n`, ...) on the *same* held-out prompts,
with the column `reward` and, where the data offer them: `gold` (float), `judge` (float, by what did not
select), `complied` (bool or None, unsafe prompts only), `logprob`, `reference_logprob` (nats),
`token_ids`, `finish_reason`, `intent`.

Every number comes with its 95 % interval. A prompt is the unit: rows of one prompt are averaged first, and
prompts that share an `intent` are resampled together, because they rise and fall together. The shares of
safe and unsafe prompts (`kind`) are fixed by a split, so differences between kinds are no part of an error.

    arm_metrics(responses)               every metric of one arm, each with its interval
    compare(first, second, column)       the difference of two arms, paired by prompt
    comparisons(arms)                    all pairs of arms
    verdict(difference)                  "higher", "lower" or "not separable"
    claim(difference, first, second)     the sentence that the verdict supports
    selection_gap(pool, kept), selection_panel(pool, kept), selection_table(pool, kept)
    best_of_n_table(pool, ns), reward_histogram(pool, kept)
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import tables, theory
from rslib.errors import DataError
from rslib.formatting import ends_text, signed
from rslib.tables import TableRows

if TYPE_CHECKING:
    from datasets import Dataset

_COMPARED = {"gold": "gold", "proxy": "reward", "judge": "judge", "unsafe_compliance": "complied"}
"""Compared metrics and the table column that each one averages."""
OPEN = "not separable"
"""The verdict on a difference whose interval holds 0."""


@dataclass(frozen=True)
class _Design:
    """How the prompts were drawn: a cluster `(M,)` varies together, strata `(M,)` have fixed shares."""

    clusters: np.ndarray
    strata: np.ndarray

    def __getitem__(self, prompts: np.ndarray) -> _Design:
        return _Design(self.clusters[prompts], self.strata[prompts])

    def within(self, values: np.ndarray) -> np.ndarray:
        """The values `(M,)` without the differences between strata, around the same mean.

        A split holds its share of unsafe prompts fixed, so that a resample with more of them than the split
        has would count a spread that no other draw of prompts can show. A stratum of one cluster stays.
        """
        centred = values.copy()
        for stratum in np.unique(self.strata):
            part = self.strata == stratum
            if len(np.unique(self.clusters[part])) > 1:
                centred[part] += values.mean() - values[part].mean()
        return centred

    @property
    def size(self) -> int:
        """Number of clusters."""
        return len(np.unique(self.clusters))


def _rows(table: Dataset) -> TableRows:
    """A responses table as arrays. Raises DataError when it is empty."""
    rows = tables.rows_of(table)
    if not rows.size:
        raise DataError("the responses table is empty", where="evaluation", fix="Sample and score first.")
    return rows


def _scored(table: Dataset) -> TableRows:
    """As `_rows`, checked as `tables.check_scored` does."""
    tables.check_scored(table)
    return _rows(table)


def _design(rows: TableRows) -> _Design:
    """How the prompts of a table were drawn.

    Without the column `intent`, or with one value in all of it, every prompt is a cluster of its own; without
    `kind` all are of one stratum.
    """
    return _Design(*(_labels(rows, name) for name in ("intent", "kind")))


def _labels(rows: TableRows, name: str) -> np.ndarray:
    """The column as a number for each prompt `(M,)`."""
    value_of: dict[int, Any] = {}
    if name in rows:
        value_of = dict(zip(rows.prompt.tolist(), rows.values(name), strict=True))
    names = [value_of.get(prompt) for prompt in range(len(rows.prompt_ids))]
    if None in names or len(set(names)) < 2:
        return np.arange(len(names)) if name == "intent" else np.zeros(len(names), dtype=int)
    return np.unique(names, return_inverse=True)[1]


def _truncated(rows: TableRows) -> np.ndarray | None:
    """1.0 where the response hit the token limit `(rows,)`; None without the column `finish_reason`."""
    if "finish_reason" not in rows:
        return None
    return np.array([reason == "length" for reason in rows.values("finish_reason")], dtype=float)


def _unique_ratios(rows: TableRows) -> np.ndarray:
    """Distinct response texts / responses of each prompt `(M,)`."""
    distinct = set(zip(rows.prompt.tolist(), rows.values("response"), strict=True))
    kinds = np.bincount([prompt for prompt, _ in distinct], minlength=len(rows.prompt_ids))
    return kinds / np.bincount(rows.prompt, minlength=len(rows.prompt_ids))


def _interval(values: np.ndarray, design: _Design, seed: int) -> dict[str, float] | None:
    """Mean and 95 % interval of per-prompt `values (M,)`; NaN prompts left out; None when none is left.

    One cluster alone has a mean and no interval: `low` and `high` are None.
    """
    known = ~np.isnan(values)
    if not known.any():
        return None
    design, values = design[known], values[known]
    ends = theory.bootstrap_interval(design.within(values), clusters=design.clusters, seed=seed)
    low, high = (_or_none(end) for end in ends)
    return {"mean": float(values.mean()), "low": low, "high": high}


def _intervals(
    columns: Mapping[str, np.ndarray | None], rows: TableRows, design: _Design, seed: int
) -> dict[str, dict[str, float] | None]:
    """`_interval` of the mean over prompts of each column `(rows,)`; None for a column that is None."""
    return {
        name: None if column is None else _interval(rows.prompt_means(column), design, seed)
        for name, column in columns.items()
    }


def _or_none(value: float) -> float | None:
    """NaN, which theory gives where one cluster alone tells nothing about the spread, as JSON's null."""
    return None if math.isnan(value) else value


def _row_metrics(rows: TableRows) -> dict[str, np.ndarray | None]:
    """The per-row value of each metric that is a mean over rows; None where the columns do not offer it."""
    logprob, reference = rows.numbers("logprob"), rows.numbers("reference_logprob")
    both = logprob is not None and reference is not None
    judge = {"judge": rows.numbers("judge")} if "judge" in rows else {}
    return judge | {
        "gold": rows.numbers("gold"),
        "proxy": rows.numbers("reward"),
        "kl": logprob - reference if both else None,
        "entropy": -logprob if logprob is not None else None,
        "length": rows.lengths,
        "words": rows.words,
        "truncation_rate": _truncated(rows),
        "unsafe_compliance": rows.numbers("complied", gaps=True),
    }


NO_GAP = {"mean": 0.0, "low": 0.0, "high": 0.0}
"""The selection gap of an arm that selected nothing, such as base."""


def arm_metrics(
    responses: Dataset, *, gap: Mapping[str, float] | None = NO_GAP, seed: int = 0
) -> dict[str, Any]:
    """Every metric of one arm on its held-out responses; `formatting.METRICS` explains each name.

    `gold` and `proxy` are `{mean, low, high}`, the others plain numbers whose intervals stand in
    `intervals`. A metric that the columns do not offer is None (`judge`: absent). `gap` is the arm's
    `selection_gap`; None means that it is not known (no pool). `seed` draws the bootstrap.

    Raises RewardError without a finite `reward`, DataError for an empty table or gaps in a numeric column.
    """
    rows = _scored(responses)
    design = _design(rows)
    intervals = _intervals(_row_metrics(rows), rows, design, seed)
    intervals["unique_ratio"] = _interval(_unique_ratios(rows), design, seed)
    intervals["selection_gap"] = dict(gap) if gap else None
    plain = {name: interval["mean"] if interval else None for name, interval in intervals.items()}
    return plain | {
        "gold": intervals.pop("gold"),
        "proxy": intervals.pop("proxy"),
        "prompts": len(rows.prompt_ids),
        "responses": rows.size,
        "clusters": design.size,
        "intervals": intervals,
    }


def compare(
    first: Dataset, second: Dataset, column: str = "gold", *, seed: int = 0
) -> dict[str, float | int | None]:
    """Mean over prompts of `first - second` in `column`, paired by prompt_id: interval, standard error, z.

    Pairing removes what both arms share: hard prompts are hard for both. Rows where `column` is null (safe
    prompts have no `complied`) are left out. The interval is a bootstrap over clusters of prompts, 95 %.

    Raises DataError when the prompts differ, when a table lacks the column, or when no row has a value.
    """
    values = []
    for rows in map(_rows, (first, second)):
        numbers = rows.numbers(column, gaps=column == "complied")
        if numbers is None:
            raise DataError(
                f"no values in column '{column}'", where="compare", fix="Compare a column both arms have."
            )
        values.append(dict(zip(rows.prompt_ids, rows.prompt_means(numbers), strict=True)))
    left, right = values
    if left.keys() != right.keys():
        odd = sorted(left.keys() ^ right.keys())
        what = f"{len(odd)} prompts stand in one arm only (first: '{odd[0]}')"
        raise DataError(what, where="compare", fix="Evaluate both arms on the same prompts.")
    differences = np.array([left[key] - right[key] for key in left])
    return _paired(differences, _design(_rows(first)), seed)


def comparisons(arms: Mapping[str, Dataset], *, seed: int = 0) -> list[dict[str, Any]]:
    """Every later arm against every earlier one, in each metric of _COMPARED that both arms have.

    `[{first, second, metric: what compare gives, ...}, ...]`. Raises as `compare`.
    """
    entries = []
    for position, first in enumerate(arms):
        for second in list(arms)[:position]:
            pair = arms[first], arms[second]
            entry: dict[str, Any] = {"first": first, "second": second}
            for metric, column in _COMPARED.items():
                if all(column in _rows(table) for table in pair):
                    entry[metric] = compare(*pair, column, seed=seed)
            entries.append(entry)
    return entries


def _paired(differences: np.ndarray, design: _Design, seed: int) -> dict[str, float | int | None]:
    """What is known about a mean difference from per-prompt `differences (M,)`; NaN prompts are left out."""
    known = ~np.isnan(differences)
    interval = _interval(differences, design, seed)
    if interval is None:
        raise DataError("no prompt has a value in both arms", where="compare", fix="Compare another column.")
    design = design[known]
    error = _or_none(theory.standard_error(design.within(differences[known]), clusters=design.clusters))
    return {
        "difference": interval["mean"],
        "low": interval["low"],
        "high": interval["high"],
        "standard_error": error,
        "z": interval["mean"] / error if error else None,
        "prompts": int(known.sum()),
        "clusters": design.size,
    }


def verdict(interval: Mapping[str, Any], above: str = "higher", below: str = "lower") -> str:
    """What an interval of a difference supports: `above` 0, `below` 0, or "not separable" from it.

    An end on 0, or no interval (`low` is None), leaves it open.

    >>> verdict({"low": 2.0, "high": 2.6}), verdict({"low": -0.1, "high": 0.3}), verdict({"low": None})
    ('higher', 'not separable', 'not separable')
    """
    if interval["low"] is None:
        return OPEN
    if interval["low"] > 0:
        return above
    return below if interval["high"] < 0 else OPEN


def claim(difference: Mapping[str, Any], first: str, second: str, unit: str = "gold") -> str:
    """One sentence about a difference, worded by its interval and by nothing else: see `verdict`.

    `difference` is what `compare` gives, or an interval {mean, low, high} of first minus second.

    >>> claim({"mean": 1.2, "low": 0.9, "high": 1.5}, "PPO", "RS-1")
    'PPO beats RS-1 by +1.20 gold [+0.90, +1.50].'
    >>> claim({"mean": 0.1, "low": -0.2, "high": 0.4}, "PPO", "RS-1")
    'PPO is not separable from RS-1: +0.10 gold [-0.20, +0.40].'
    """
    size = difference["difference"] if "difference" in difference else difference["mean"]
    numbers = f"{signed(size)} {unit} {_told_ends(difference)}"
    words = {"higher": f"beats {second} by", "lower": f"falls behind {second} by"}
    return f"{first} {words.get(verdict(difference), f'is not separable from {second}:')} {numbers}."


def _told_ends(difference: Mapping[str, Any]) -> str:
    """The ends; with more digits where two would round away on which side of 0 the interval lies.

    >>> _told_ends({"low": 0.0021, "high": 1.304}), _told_ends({"low": -0.0021, "high": 1.304})
    ('[+0.0021, +1.3]', '[+0.00, +1.30]')
    """
    low, high = difference["low"], difference["high"]
    if verdict(difference) == OPEN or min(abs(low), abs(high)) >= 0.005:
        return ends_text(difference, "+")
    return f"[{low:+.2g}, {high:+.2g}]"


def selection_gap(pool: Dataset, kept: Dataset, *, seed: int = 0) -> dict[str, float]:
    """Mean reward of `kept` minus mean reward of the `pool` it came from, `{mean, low, high}`.

    0 for a random pick, and falling to 0 when the responses of a prompt are all alike: the signal that
    selection hands to fine-tuning. Raises RewardError without rewards, DataError when `kept` has prompts
    that `pool` has not.
    """
    every, chosen = _scored(pool), _scored(kept)
    number_of = {prompt_id: number for number, prompt_id in enumerate(every.prompt_ids)}
    foreign = [prompt_id for prompt_id in chosen.prompt_ids if prompt_id not in number_of]
    if foreign:
        what = f"{len(foreign)} kept prompts are not in the pool (first: '{foreign[0]}')"
        raise DataError(what, where="selection_gap", fix="Pass the pool that the rows were selected from.")
    prompts = len(every.prompt_ids)
    chosen_prompt = np.array([number_of[prompt_id] for prompt_id in chosen.prompt_ids])[chosen.prompt]
    high, low = chosen.numbers("reward"), every.numbers("reward")
    # Each prompt's influence on the two means (the delta method), so that selectors which keep several rows
    # of one prompt and none of another are treated rightly.
    influence = np.bincount(chosen_prompt, high - high.mean(), prompts) / chosen.size
    influence -= np.bincount(every.prompt, low - low.mean(), prompts) / every.size
    return _interval(high.mean() - low.mean() + prompts * influence, _design(every), seed)


def _decidable_fraction(rows: TableRows) -> float:
    """Share of prompts whose rewards are not all equal; one response alone is not decidable."""
    rewards = rows.numbers("reward")
    first = rewards[np.unique(rows.prompt, return_index=True)[1]]
    return float((np.bincount(rows.prompt, rewards != first[rows.prompt]) > 0).mean())


def reward_length_correlation(scored: Dataset) -> float | None:
    """Correlation of reward and length in tokens within prompts, -1 to 1.

    Each response is taken as its distance from its prompt's mean, so that long prompts with good rewards do
    not count as length bias. None without `token_ids` or without any spread. Raises RewardError without
    rewards.
    """
    rows = _scored(scored)
    lengths, reward = rows.lengths, rows.numbers("reward")
    if lengths is None:
        return None
    apart = [values - rows.prompt_means(values)[rows.prompt] for values in (lengths, reward)]
    spread = math.sqrt(float((apart[0] ** 2).sum() * (apart[1] ** 2).sum()))
    return float((apart[0] * apart[1]).sum()) / spread if spread > 0 else None


def selection_panel(pool: Dataset, kept: Dataset) -> dict[str, float | int | None]:
    """The signature of one selection, from the training pool alone; `formatting.METRICS` explains each name.

    These describe the pool and the kept rows completely, so they are no estimates and have no intervals.
    Raises RewardError without rewards, DataError for empty tables.
    """
    every, chosen = _scored(pool), _scored(kept)
    return {
        "pool_rows": every.size,
        "kept_rows": chosen.size,
        "coverage": len(set(chosen.prompt_ids) & set(every.prompt_ids)) / len(every.prompt_ids),
        "decidable_fraction": _decidable_fraction(every),
        "pool_reward": float(every.numbers("reward").mean()),
        "kept_reward": float(chosen.numbers("reward").mean()),
        "pool_unique_ratio": float(_unique_ratios(every).mean()),
        "kept_unique_ratio": len(set(chosen.values("response"))) / chosen.size,
        "reward_length_correlation": reward_length_correlation(pool),
    }


def selection_table(pool: Dataset, kept: Dataset, *, seed: int = 0) -> dict[str, Any]:
    """Chosen and rejected responses side by side, and what looks wrong about them.

    `{"rows": {"chosen": {reward, length, truncation_rate, rows}, "rejected": ...}, "warnings": [sentence,
    ...]}`; each metric is `{mean, low, high}` over prompts, or None. Chosen are the kept rows, rejected the
    pool's other rows (no entry when all were kept). Warns when more than 20 % of a row's responses are
    truncated. Raises RewardError without rewards.
    """
    taken = {key[:2] for key in tables.rows_of(kept).keys}
    left_over = [row for row, key in enumerate(tables.rows_of(pool).keys) if key[:2] not in taken]
    groups = {"chosen": kept} | ({"rejected": pool.select(left_over)} if left_over else {})
    rows = {name: _group_summary(table, seed) for name, table in groups.items()}
    return {"rows": rows, "warnings": list(_selection_warnings(rows))}


def _group_summary(table: Dataset, seed: int) -> dict[str, Any]:
    """Mean reward, length and truncation rate of a table, with intervals over prompts."""
    rows = _scored(table)
    columns = {"reward": rows.numbers("reward"), "length": rows.lengths, "truncation_rate": _truncated(rows)}
    return _intervals(columns, rows, _design(rows), seed) | {"rows": rows.size}


def _selection_warnings(rows: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, row in rows.items():
        rate = row["truncation_rate"]
        if rate and rate["mean"] > 0.2:
            yield (
                f"{rate['mean']:.0%} of the {name} responses are truncated: raise max_new_tokens, "
                "or select with truncated='drop'."
            )


def best_of_n_table(pool: Dataset, ns: Sequence[int] | None = None, *, seed: int = 0) -> dict[str, Any]:
    """Expected reward, and gold, of the best of n responses by reward, for each n, from one scored pool.

    `{"pool_size", "prompts", "peak_n", "rows": [{n, proxy, gold, below_peak}, ...]}`. The estimate is
    unbiased: the mean over all subsets of size n of a prompt's N responses, `theory.best_of_n_curve`.
    `ns` defaults to the powers of two up to N. `peak_n` is the n of the highest mean gold; None without
    gold. `below_peak` is gold at n minus gold at the peak, paired over prompts. A peak picked and judged on
    the same prompts would profit from its own noise, so each half of the clusters is judged at the peak of
    the other half.

    Raises DataError for a ragged pool, ConfigError for an n outside 1..N.
    """
    rows = _rows(pool)
    _, rewards, row_index = tables.reward_matrix(pool)
    size = rewards.shape[1]
    ns = list(ns) if ns is not None else sorted({2**k for k in range(size.bit_length())} | {size})
    gold, design = rows.numbers("gold"), _design(rows)
    curves = {"proxy": theory.best_of_n_curve(rewards, ns)}
    if gold is not None:
        curves["gold"] = theory.best_of_n_curve(rewards, ns, gold[row_index])
    table = [
        {"n": n} | {name: _interval(curve[i], design, seed) for name, curve in curves.items()}
        for i, n in enumerate(ns)
    ]
    below = _below_peak(curves["gold"], design, seed) if gold is not None else [None] * len(ns)
    for entry, paired in zip(table, below, strict=True):
        entry |= {"gold": entry.get("gold"), "below_peak": paired}
    peak = max(table, key=lambda entry: entry["gold"]["mean"])["n"] if gold is not None else None
    return {"pool_size": size, "prompts": len(rows.prompt_ids), "peak_n": peak, "rows": table}


def _below_peak(curve: np.ndarray, design: _Design, seed: int) -> list[dict[str, float | int | None]]:
    """For each n, gold minus gold at the peak that the other half chose; `curve` is `(ns, M)`."""
    names = np.unique(design.clusters)
    half = np.isin(design.clusters, np.random.default_rng(seed).permutation(names)[: len(names) // 2])
    peak = np.empty(curve.shape[1])
    for mine, other in ((half, ~half), (~half, half)):
        chooser = other if other.any() else mine
        peak[mine] = curve[curve[:, chooser].mean(axis=1).argmax()][mine]
    return [_paired(row - peak, design, seed) for row in curve]


def reward_histogram(pool: Dataset, kept: Dataset, *, seed: int = 0) -> dict[str, Any]:
    """Where the rewards of the pool and of the kept rows lie: share of responses per bin, with intervals.

    `{"edges": [bins + 1 numbers], "pool": [{mean, low, high}, ...], "kept": [...], "pool_rows",
    "kept_rows"}`. There are about as many equally wide bins as the square root of the kept rows, 8 to 24,
    over the pool's 0.5 to 99.5 % range; rarer rewards go to the outer bins. Shares are means over prompts.
    Raises RewardError without rewards.
    """
    arm_tables = {"pool": _scored(pool), "kept": _scored(kept)}
    low, high = np.quantile(arm_tables["pool"].numbers("reward"), [0.005, 0.995])
    bins = int(np.clip(math.sqrt(len(kept)), 8, 24))
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    histogram: dict[str, Any] = {"edges": edges.tolist()}
    for name, rows in arm_tables.items():
        bin_of = np.clip(np.searchsorted(edges, rows.numbers("reward"), side="right") - 1, 0, bins - 1)
        design = _design(rows)
        shares = [rows.prompt_means((bin_of == number).astype(float)) for number in range(bins)]
        histogram[name] = [_interval(share, design, seed) for share in shares]
        histogram[f"{name}_rows"] = rows.size
    return histogram
