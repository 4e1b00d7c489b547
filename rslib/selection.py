"""The select stage: which responses are fine-tuned on.

    select(scored, "top_k_per_prompt", k=2, seed=0)    a scored table in, a selected table out
    SELECTORS                                          name -> rule; its keywords are the options

Rows that must not reach a rule are refused or dropped first: rewards that are NaN or infinite, and truncated
responses where the caller says so.
"""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import selectors, tables
from rslib.config import closest, unknown_name
from rslib.errors import ConfigError, DataError
from rslib.progress import note
from rslib.selectors import Pool

if TYPE_CHECKING:
    from datasets import Dataset

Selector = Callable[..., np.ndarray]
"""(pool, *, options) -> kept rows, each once, in any order."""

SELECTORS: dict[str, Selector | str] = {
    "best_of_n": selectors.best_of_n,
    "top_k_per_prompt": selectors.top_k_per_prompt,
    "unique": selectors.unique,
    "top_fraction": selectors.top_fraction,
    "threshold": selectors.threshold,
    "percentile": selectors.percentile,
    "decidable": selectors.decidable,
    "random": selectors.random,
    "random_overall": selectors.random_overall,
    "worst": selectors.worst,
    "all": selectors.everything,
    "acceptance": "rslib.more_selectors:acceptance",
    "soft_best_of_n": "rslib.more_selectors:soft_best_of_n",
    "ensemble": "rslib.more_selectors:ensemble",
    "length_controlled": "rslib.more_selectors:length_controlled",
    "reference": "rslib.more_selectors:reference",
    "replay": "rslib.more_selectors:replay",
}
"""Name -> selector, or where it is loaded from; its keyword arguments are the options."""

_WIDENERS = {
    "reference": "rslib.more_selectors:add_references",
    "replay": "rslib.more_selectors:merge_rounds",
}
"""Name -> where to load what puts further rows into the pool before that selector looks at it."""


def selector_of(name: str) -> Selector:
    """The function of a name in SELECTORS."""
    selector = SELECTORS[name]
    return pkgutil.resolve_name(selector) if isinstance(selector, str) else selector


def select(
    scored: Dataset,
    selector: str = "best_of_n",
    *,
    seed: int = 0,
    on_nan: str = "raise",
    truncated: str = "keep",
    **options: Any,
) -> Dataset:
    """The rows of a scored table that the selector keeps, as a table; prompts in the order of `scored`.

    best_of_n, worst, all, random(k, like), random_overall(count), top_k_per_prompt(k), unique(k),
    top_fraction(fraction), threshold(minimum), percentile(percentile, round, rise), acceptance(beta),
    soft_best_of_n(temperature, k), ensemble(rewards, combine, penalty), length_controlled(within),
    decidable(tolerance), reference(references), replay(earlier, k): each has a docstring (`selector_of`).

    on_nan     "raise": a reward that is missing, NaN or infinite is an error. "drop": such rows are left out
               and a printed line says how many.
    truncated  "keep", or "drop": responses with finish_reason "length" are left out first. A prompt of which
               no row is left drops out; a printed line counts rows and prompts.

    Raises ConfigError for an unknown selector or option (with the closest name) or a missing one, DataError
    ("no reward column: run score first") as `tables.check_scored` and when nothing is left or kept,
    RewardError for NaN and infinite rewards.
    """
    check_selector(selector, options)
    if selector in _WIDENERS:
        widen = pkgutil.resolve_name(_WIDENERS[selector])
        scored = widen(scored, **{name: options.pop(name) for name in _options_of(widen)})
    pool = Pool(usable_rows(scored, on_nan=on_nan, truncated=truncated), seed)
    rows = selector_of(selector)(pool, **options)
    if not len(rows):
        span = f"{pool.rewards.min():.4g} to {pool.rewards.max():.4g}"
        raise DataError(
            f"the selector '{selector}' kept none of {len(pool)} rows",
            where=f"rewards from {span}",
            fix="Loosen its options.",
        )
    return tables.take(pool.table, rows[np.lexsort((rows, pool.prompts[rows]))])


def check_selector(selector: str, options: Mapping[str, Any] | None = None) -> None:
    """Raise ConfigError for an unknown selector, an unknown option, or a missing one.

    >>> check_selector("top_k_per_prompt", {"k": 2})
    """
    if selector not in SELECTORS:
        raise unknown_name("selector", selector, SELECTORS, "select")
    known = _options_of(selector_of(selector))
    if selector in _WIDENERS:
        known |= _options_of(pkgutil.resolve_name(_WIDENERS[selector]))
    given = set(options or {}) - {"on_nan", "truncated"}
    where = f"select(scored, '{selector}', ...)"
    allowed = f"Options of '{selector}': {', '.join(known) or 'none'}."
    for name in sorted(given - set(known)):
        near = closest(name, known)
        hint = f"Did you mean '{near}'? " if near else ""
        raise ConfigError(f"unknown option '{name}'", where=where, fix=hint + allowed)
    for name, option in known.items():
        if option.default is inspect.Parameter.empty and name not in given:
            raise ConfigError(f"the option '{name}' is missing", where=where, fix=f"Give it. {allowed}")


def _options_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {name: option for name, option in parameters.items() if option.kind is option.KEYWORD_ONLY}


def usable_rows(scored: Dataset, *, on_nan: str, truncated: str) -> Dataset:
    """The checked table without the rows that `on_nan` and `truncated` drop; see `select` for both.

    A printed line counts what is dropped. Raises as `select`.
    """
    for name, value, known in (
        ("on_nan", on_nan, ("raise", "drop")),
        ("truncated", truncated, ("keep", "drop")),
    ):
        if value not in known:
            raise unknown_name(f"value of {name}", str(value), known, "select")
    tables.check_scored(scored, finite=on_nan == "raise")
    if on_nan == "drop":
        scored = _without(scored, ~np.isfinite(tables.reward_column(scored)), "without a finite reward")
    if truncated == "drop":
        scored = _without(scored, tables.finish_reasons(scored) == "length", "cut at the length limit")
    return scored


def _without(table: Dataset, bad: np.ndarray, what: str) -> Dataset:
    if not bad.any():
        return table
    if bad.all():
        fix = "Mend the stage before, or keep these rows."
        raise DataError(f"all {len(bad)} responses are {what}", where="select", fix=fix)
    lost = sum(bool(bad[rows].all()) for rows in tables.groups(table).values())
    also = f"; {lost} prompts have none left" if lost else ""
    note(f"select: dropped {int(bad.sum())} of {len(bad)} responses {what}{also}")
    return tables.take(table, np.flatnonzero(~bad))
