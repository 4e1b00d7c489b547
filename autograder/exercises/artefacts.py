"""What exercises do with a learner's artefacts: tables and policies are measured anew, and numbers compared.

A grader and its experiment measure with the same code. A check that several exercises make has its name here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.calibration import threshold
from autograder.exercise import CheckFailed, require, short
from autograder.handouts.models import base_policy, judge
from autograder.work import Work
from rslib import evaluation, tables
from rslib.errors import RSError
from rslib.evaluation import verdict
from rslib.progress import Progress

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy

LEARNERS_HELDOUT = 150
"""Validation prompts that the notebook evaluates on; the grader takes others."""
HIDDEN_PROMPTS, HIDDEN_SAMPLES = 120, 2
RESCORED = 48
WEIGHED = 32
"""Rows of a pool whose log-probabilities are computed again."""
REMEMBERED = 40

FORM = "hands in tables, folders and numbers"
POOL = "the pool is 16 responses to each training prompt"
RESCORE = "stored rewards are what the reward model says"
SUBSET = "kept rows come from the pool"
HASH = "the policy changed"
OWN_ROWS = "each policy learned its own rows"
AGREES = "the numbers agree with a new measurement"
INTERVAL = "every difference has its interval"
CLAIMS = "the claims follow from the evidence"


# Measuring ------------------------------------------------------------------------------------------------


def memoize(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the last results of a function of models, tables and values; equal contents are computed once."""
    results: dict[tuple, Any] = {}

    def called(*args: Any, **options: Any) -> Any:
        key = (*map(_key, args), *((name, _key(value)) for name, value in sorted(options.items())))
        if key not in results:
            while len(results) >= REMEMBERED:
                results.pop(next(iter(results)))
            results[key] = function(*args, **options)
        return results[key]

    return called


def _key(value: Any) -> Any:
    if hasattr(value, "fingerprint"):
        return value.fingerprint()
    return tables.fingerprint(value) if hasattr(value, "column_names") else value


def hidden_prompts(rng: np.random.Generator) -> Dataset:
    """A window of the validation prompts that the notebook leaves; every window has the split's mixture."""
    from rslib.prompts import load_prompts

    table = load_prompts("tiny", "validation")
    spare = len(table) - LEARNERS_HELDOUT
    rows = LEARNERS_HELDOUT + (int(rng.integers(spare)) + np.arange(HIDDEN_PROMPTS)) % spare
    return tables.take(table, rows)


def training_window(seed: int, count: int) -> Dataset:
    """So many prompts of the training split from a place of chance; every window has its mixture."""
    from rslib.prompts import load_prompts

    table = load_prompts("tiny")
    start = int(np.random.default_rng(seed).integers(len(table)))
    return tables.take(table, (start + np.arange(count)) % len(table))


@memoize
def judged(policy: Policy, prompts: Dataset, seed: int) -> Dataset:
    """Two responses to each prompt with reward, gold and the log-probability under the base policy."""
    from rslib import stages
    from rslib.config import SampleConfig

    itself = policy.fingerprint() == base_policy().fingerprint()
    config = SampleConfig(n=HIDDEN_SAMPLES, seed=seed)
    return stages.judged(policy, prompts, judge(), config, reference=None if itself else base_policy())


def judged_arms(
    work: Work, rng: np.random.Generator, policies: Mapping[str, Policy], prompts: int = HIDDEN_PROMPTS
) -> dict[str, Dataset]:
    """Judged responses of the base policy (as "base") and of these to hidden prompts, alike for a class."""
    rng = work.class_rng(rng, "held out")
    table = tables.take(hidden_prompts(rng), range(prompts))
    seed = int(rng.integers(2**31))
    arms, judged_by_arm = {"base": base_policy()} | policies, {}
    with Progress(len(arms), "the check draws anew", "policies") as progress:
        for arm, policy in arms.items():
            judged_by_arm[arm] = judged(policy, table, seed)
            progress.advance()
    return judged_by_arm


def gain(first: Dataset, second: Dataset, column: str) -> float:
    """Mean difference of two judged tables, paired by prompt."""
    return float(evaluation.compare(first, second, column)["difference"])


@memoize
def own_rows(before: Policy, after: Policy, kept: Dataset, pool: Dataset) -> float:
    """How much more likely tuning made the kept rows than their neighbours in the pool, nats per response.

    The neighbour of a kept row is the finished row of its prompt with the nearest reward, of those that say
    something else than what was kept. So 0 where nothing was tuned, and about 0 where the tuning was on other
    rows, even on better ones. 0 as well where no row has a neighbour.
    """
    from rslib.scoring import reference_logprobs

    rows = neighbours(kept, pool)
    if not len(rows):
        return 0.0
    table = tables.take(pool, rows.ravel())
    change = np.subtract(reference_logprobs(after, table), reference_logprobs(before, table)).reshape(-1, 2)
    return float((change[:, 0] - change[:, 1]).mean())


def neighbours(kept: Dataset, pool: Dataset) -> np.ndarray:
    """Rows of the pool, `(pairs, 2)`: a kept one, and the finished one nearest to it in reward, each once."""
    chosen, ids = set(row_ids(kept)), row_ids(pool)
    texts, rewards = pool["response"][:], tables.reward_column(pool)
    finished, pairs = tables.finish_reasons(pool) == "eos", []
    for rows in tables.groups(pool).values():
        kept_rows = [row for row in rows if ids[row] in chosen]
        kept_texts = {texts[row] for row in kept_rows}
        others = [row for row in rows if finished[row] and texts[row] not in kept_texts]
        for row in kept_rows[: len(others)]:
            pairs.append((row, min(others, key=lambda other, row=row: abs(rewards[other] - rewards[row]))))
            others.remove(pairs[-1][1])
    return np.array(pairs, dtype=int).reshape(-1, 2)


def row_ids(table: Dataset) -> list[tuple[str, int]]:
    """What names each row: (prompt_id, sample_id)."""
    return list(zip(table["prompt_id"][:], table["sample_id"][:], strict=True))


# Pools ----------------------------------------------------------------------------------------------------


def check_pool(pool: Dataset, fewest: int, n: int) -> None:
    """Training prompts only, n responses to each, drawn and not typed."""
    counts = [len(rows) for rows in tables.groups(pool).values()]
    require(
        len(counts) >= fewest and set(counts) == {n},
        POOL,
        f"It takes {n} responses to each of at least {fewest} prompts.",
        idea="F05",
        got=f"{len(counts)} prompts with {min(counts)} to {max(counts)} responses",
    )
    training = _training_prompts()
    foreign = [text for text in set(pool["prompt"][:]) if text not in training]
    message = "Some prompts of the pool are not from the training split: what is tuned on cannot judge."
    require(not foreign, POOL, message, idea="F18", got=short(foreign[:2]))
    distinct = len(set(zip(pool["prompt_id"][:], pool["response"][:], strict=True))) / len(pool)
    message = "Most responses of a prompt are the same text: look at the temperature and the seeds."
    require(distinct > 0.4, POOL, message, idea="F06", got=f"unique ratio {distinct:.2f}")


@cache
def _training_prompts() -> frozenset[str]:
    from rslib.prompts import load_prompts

    return frozenset(load_prompts("tiny")["prompt"][:])


def check_rescored(pool: Dataset, rng: np.random.Generator) -> None:
    """Some prompts' rows are scored again; the stored reward must be that reward."""
    from rslib.scoring import score

    groups = list(tables.groups(pool).values())
    some = rng.permutation(len(groups))[: max(1, RESCORED // len(groups[0]))]
    rows = tables.take(pool, np.concatenate([groups[k] for k in some]))
    stored = tables.reward_column(rows)
    again = tables.reward_column(score(judge(), rows, show_progress=False))
    off = int((abs(stored - again) > 1e-2).sum())
    elsewhere = np.isclose(stored[:, None], again[None], atol=1e-2).any(axis=1).mean()
    idea, message = "F50", "Scored again by the reward model `tiny`, these rows get other rewards."
    if abs(stored + again).max() < 1e-2:
        idea, message = "F03", "Every stored reward has the wrong sign."
    elif elsewhere > 0.8:
        idea, message = "F09", "The stored rewards occur, but on other rows: they were moved after scoring."
    require(not off, RESCORE, message, idea=idea, got=f"{off} of {len(rows)} rows differ")


def some_rows(pool: Dataset, rng: np.random.Generator) -> Dataset:
    """WEIGHED rows of a pool, at random."""
    return tables.take(pool, np.sort(rng.choice(len(pool), min(WEIGHED, len(pool)), replace=False)))


def off_by(rows: Dataset, policy: Policy) -> float:
    """How far the stored log-probabilities are from what a policy gives at temperature 1, nats, at most."""
    from rslib.scoring import reference_logprobs

    return float(abs(reference_logprobs(policy, rows) - np.array(rows["logprob"][:])).max())


# Policies -------------------------------------------------------------------------------------------------


@memoize
def _load(path: str, written: int) -> Policy:
    from rslib.models import load_policy

    return load_policy(path)


def loaded(work: Work, path: Any, name: str) -> Policy:
    """The policy in a folder that the learner names."""
    require(
        isinstance(path, str | Path), FORM, f"`{name}` should be the folder of a policy.", got=short(path)
    )
    folder = work.model_folder(path)
    try:
        files = [*folder.glob("*")] if folder.is_dir() else []
        return _load(str(folder), max((file.stat().st_mtime_ns for file in files), default=0))
    except (RSError, OSError, ValueError) as error:  # a path may be too long, or hold a null character
        message = f"`{name}` does not hold a policy: {error}"
        raise CheckFailed(FORM, message, idea="F01", got=str(path)) from None


def tuned_policies(work: Work, arms: Sequence[str]) -> dict[str, Policy]:
    """The policies whose folders the learner's `tuned` names, by arm."""
    folders = work.value("tuned", dict)
    for arm in arms:
        require(arm in folders, FORM, f"`tuned` has no entry {arm!r}.", got=short(list(folders)))
    return {arm: loaded(work, folders[arm], f"tuned[{arm!r}]") for arm in arms}


def check_changed(policies: Mapping[str, Policy]) -> None:
    """No policy has the weights of the base policy, or of another."""
    names = {base_policy().fingerprint(): "base"}
    for name, policy in policies.items():
        twin = names.setdefault(policy.fingerprint(), name)
        message = (
            f"The policies {name!r} and {twin!r} have the very same weights: nothing was tuned between, the "
            "optimiser got another model, or the wrong folder is named."
        )
        require(twin == name, HASH, message, idea="F01")


def check_own_rows(before: Policy, after: Policy, kept: Dataset, pool: Dataset, name: str) -> None:
    """The tuning made the kept rows more likely than others of the same reward."""
    inside = set(row_ids(pool)).issuperset(row_ids(kept))
    require(inside, SUBSET, f"Rows that `{name}` should have learned are not in the pool.", idea="F27")
    if not len(neighbours(kept, pool)):
        return  # everything was kept, so there is nothing to tell it from
    learned = own_rows(before, after, kept, pool)
    message = (
        f"`{name}` did not learn the rows that were kept for it: they became no more likely than others of "
        "the same reward. It was tuned on other rows, or another folder is named."
    )
    got = f"{learned:+.1f} nats per response"
    require(learned >= threshold("4.3", "own_rows"), OWN_ROWS, message, idea="F18", got=got)


# Comparisons ----------------------------------------------------------------------------------------------


def check_evidence(name: str, comparison: Any, ours: Mapping[str, Any]) -> None:
    """A comparison that is handed in agrees with a new measurement, and its interval has its width."""
    known = isinstance(comparison, Mapping)
    require(known, FORM, f"`evidence` has no comparison {name!r}.", got=short(comparison))
    difference, low, high = ends_of(comparison, f"{name}: difference, low and high are asked for.")
    width, got = float(ours["high"] - ours["low"]), f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"
    fits = low < difference < high and width / 4 < high - low < width * 3
    message = f"{name}: an interval lies around its difference, and has the width that the prompts give it."
    require(fits, INTERVAL, message, idea="F34", got=got)
    message = f"{name}: your policies, measured again, differ by another amount."
    require(is_near(difference, high - low, ours), AGREES, message, idea="F50", got=got)


def ends_of(comparison: Mapping[str, Any], message: str) -> tuple[float, float, float]:
    """Difference, low and high of a comparison. CheckFailed with the message where one is no number."""
    values = [comparison.get(key) for key in ("difference", "low", "high")]
    plain = all(isinstance(value, int | float | np.number) and np.isfinite(value) for value in values)
    require(plain, INTERVAL, message, idea="F34", got=short(dict(comparison)))
    difference, low, high = map(float, values)
    return difference, low, high


def is_near(difference: float, width: float, ours: Mapping[str, Any]) -> bool:
    """Whether two measurements, whose standard errors are known, differ by less than five of the errors."""
    allowed = 5 * np.hypot(ours["standard_error"], width / 4)
    return bool(abs(difference - ours["difference"]) <= allowed)


def check_claims(
    comparisons: Mapping[str, tuple[str, str, str]], arms: Mapping[str, Dataset], evidence: Any, claims: Any
) -> None:
    """Each comparison (first arm, second arm, column) has its evidence, and the claim says what that says."""
    for name, (first, second, column) in comparisons.items():
        check_evidence(name, evidence.get(name), evaluation.compare(arms[first], arms[second], column))
        message = f"{name}: the interval of your evidence says something else than the claim."
        right = claims.get(name) == verdict(evidence[name])
        require(right, CLAIMS, message, idea="F34", got=short(claims.get(name)))
