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
from autograder.exercise import UNREADABLE, CheckFailed, numbers, require, short
from autograder.handouts.models import base_policy, judge
from autograder.work import Work
from rslib import evaluation, store, tables, world
from rslib.errors import ModelError, RSError
from rslib.evaluation import verdict
from rslib.progress import Progress
from rslib.prompts import load_prompts

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy

LEARNERS_HELDOUT = 150
"""Validation prompts that the notebook evaluates on; the grader takes others."""
HIDDEN_PROMPTS, HIDDEN_SAMPLES = 120, 2
RESCORED = 48
WEIGHED = 32
"""Rows of a pool whose log-probabilities are computed again."""
FEWEST_JUDGED = 60
"""Held-out prompts that a learner's judged table has at least."""
REMEMBERED = 40

FORM = "hands in tables, folders and numbers"
POOL = "the pool is 16 responses to each training prompt"
RESCORE = "stored rewards are what the reward model says"
SUBSET = "kept rows come from the pool"
HASH = "the policy changed"
OWN_ROWS = "each policy learned its own rows"
AGREES = "the numbers agree with a new measurement"
JUDGED = "each judged table was drawn by its policy"
COMPARED = "the comparisons are those of the judged tables"
INTERVAL = "every difference has its interval"
CLAIMS = "the claims follow from the evidence"


# Measuring ------------------------------------------------------------------------------------------------


class memoize:
    """Keep the last results of a function of models, tables and values; equal contents are computed once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function: Callable[..., Any] = function
        self.results: dict[tuple, Any] = {}

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The function's result for these arguments, computed where it is not known."""
        key = self.key(*args, **options)
        return self.results[key] if key in self.results else self.keep(key, self.function(*args, **options))

    def key(self, *args: Any, **options: Any) -> tuple:
        """What results are kept by; hashes models and tables whole."""
        return (*map(_key, args), *((name, _key(value)) for name, value in sorted(options.items())))

    def keep(self, key: tuple, result: Any) -> Any:
        """Keep a result, which is returned; the oldest go."""
        while len(self.results) >= REMEMBERED:
            self.results.pop(next(iter(self.results)))
        self.results[key] = result
        return result


def _key(value: Any) -> Any:
    if hasattr(value, "fingerprint"):
        return value.fingerprint()
    return tables.fingerprint(value) if hasattr(value, "column_names") else value


def hidden_prompts(rng: np.random.Generator) -> Dataset:
    """A window of the validation prompts that the notebook leaves; every window has the split's mixture."""
    table = load_prompts("tiny", "validation")
    spare = len(table) - LEARNERS_HELDOUT
    rows = LEARNERS_HELDOUT + (int(rng.integers(spare)) + np.arange(HIDDEN_PROMPTS)) % spare
    return tables.take(table, rows)


def training_window(seed: int, count: int) -> Dataset:
    """So many prompts of the training split from a place of chance; every window has its mixture."""
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
    """Judged responses of these policies to hidden prompts, alike for a class.

    As many policies are judged at once as a small model has cores.
    """
    from rslib.decoding import forked, forks_for

    rng = work.class_rng(rng, "held out")
    table, seed = tables.take(hidden_prompts(rng), range(prompts)), int(rng.integers(2**31))
    keys = {arm: judged.key(policy, table, seed) for arm, policy in policies.items()}
    arms = {arm: judged.results[key] for arm, key in keys.items() if key in judged.results}
    new = [arm for arm in policies if arm not in arms]
    count = forks_for(judge().model)  # which loads the judge before there are forks
    with Progress(len(new), "the check draws anew", "policies", show=bool(new)) as progress:
        if min(count, len(new)) > 1:
            contents = forked(
                lambda arm: store.table_bytes(judged.function(policies[arm], table, seed)), new, count
            )
            for number, content in contents:
                arms[new[number]] = judged.keep(keys[new[number]], store.table_from(content))
                progress.advance()
        for arm in new:
            if arm not in arms:  # no forks, or one was lost
                arms[arm] = judged(policies[arm], table, seed)
                progress.advance()
    return {arm: arms[arm] for arm in policies}


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
    training = _prompts("train")
    foreign = [text for text in set(pool["prompt"][:]) if text not in training]
    message = "Some prompts of the pool are not from the training split: what is tuned on cannot judge."
    require(not foreign, POOL, message, idea="F18", got=short(foreign[:2]))
    distinct = len(set(zip(pool["prompt_id"][:], pool["response"][:], strict=True))) / len(pool)
    message = "Most responses of a prompt are the same text: look at the temperature and the seeds."
    require(distinct > 0.4, POOL, message, idea="F06", got=f"unique ratio {distinct:.2f}")


@cache
def _prompts(split: str) -> frozenset[str]:
    """The texts of all prompts of a split."""
    return frozenset(load_prompts("tiny", split)["prompt"][:])


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


def mistyped(table: Dataset, policy: Policy) -> int:
    """Rows whose response is not what their tokens spell; all of them where some are no tokens."""
    try:
        texts = [policy.decode(ids) for ids in table["token_ids"][:]]
    except (IndexError, *UNREADABLE):
        return len(table)
    return sum(text != response for text, response in zip(texts, table["response"][:], strict=True))


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
        if not folder.is_dir():
            raise ModelError("there is no such folder")
        files = [*folder.glob("*")]
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
    require("token_ids" in pool.column_names, FORM, "The pool has no token_ids: these are no rows of sample.")
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


def ends_of(comparison: Mapping[str, Any], message: str) -> tuple[float, float, float]:
    """Difference, low and high of a comparison. CheckFailed with the message where one is no number."""
    values = [plain_number(comparison.get(key)) for key in ("difference", "low", "high")]
    known = all(value is not None for value in values)
    require(known, INTERVAL, message, idea="F34", got=short(dict(comparison)))
    difference, low, high = values
    return difference, low, high


def plain_number(value: Any) -> float | None:
    """A finite number as a float; None for anything else."""
    array = None if isinstance(value, bool | list | tuple) else numbers(value)
    if array is None or array.size != 1 or not np.isfinite(array).all():
        return None
    return float(array.reshape(()))


def is_near(difference: float, width: float, ours: Mapping[str, Any]) -> bool:
    """Whether two measurements, whose standard errors are known, differ by less than five of the errors."""
    allowed = 5 * np.hypot(ours["standard_error"], width / 4)
    return bool(abs(difference - ours["difference"]) <= allowed)


def check_compared(
    name: str, handed: Any, arms: Mapping[str, Dataset], first: str, second: str, column: str = "gold"
) -> None:
    """A comparison that is handed in is that of two of the judged tables: first minus second, in a column.

    A wrong difference is told by what it is: turned round, another column's, another arm's.
    """
    message = f"{name}: what evaluation.compare gives is asked for, the difference with its interval."
    require(isinstance(handed, Mapping), FORM, message, got=short(handed))
    difference, low, high = ends_of(handed, f"{name}: difference, low and high are asked for.")
    ours = evaluation.compare(arms[first], arms[second], column)
    got = f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"
    if not _equal(difference, ours["difference"]):
        idea, message = next(
            (
                (idea, text)
                for value, idea, text in _readings(arms, first, second, column)
                if _equal(difference, value)
            ),
            ("F50", "Your judged tables give another difference."),
        )
        raise CheckFailed(COMPARED, f"{name}: {message}", idea=idea, got=got)
    share = (high - low) / float(ours["high"] - ours["low"])  # an interval by hand is 0.8 to 1.2 as wide
    separate = any(
        abs(high - low - wide) < 1e-4 * wide for wide in _unpaired(arms[first], arms[second], column)
    )
    fits = low < difference < high and 0.6 < share < 1.7
    message = f"{name}: an interval lies around its difference, and has the width that the prompts give it."
    if 0.4 < share < 0.6:
        message += " One standard error to either side is about half of that."
    require(fits, INTERVAL, message, idea="F34", got=got)
    message = f"{name}: This is the interval of two separate samples. The tables are paired by prompt."
    require(not separate or abs(share - 1) < 0.02, INTERVAL, message, idea="F34", got=got)


def _unpaired(first: Dataset, second: Dataset, column: str) -> list[float]:
    """Widths of 95 % intervals that take two tables for separate samples, of responses or of prompts."""
    widths = []
    for ddof in (0, 1):
        for by_prompt in (False, True):
            samples = [_numbers_of(table, column, by_prompt=by_prompt) for table in (first, second)]
            widths.append(2 * 1.96 * float(np.sqrt(sum(s.var(ddof=ddof) / len(s) for s in samples))))
    return widths


def _numbers_of(table: Dataset, column: str, *, by_prompt: bool) -> np.ndarray:
    """A column's numbers, or their mean for each prompt."""
    values = np.array(table[column][:], float)
    return np.array([values[rows].mean() for rows in tables.groups(table).values()]) if by_prompt else values


def _readings(
    arms: Mapping[str, Dataset], first: str, second: str, column: str
) -> list[tuple[float, str, str]]:
    """What wrong comparisons give: (difference, idea, message)."""
    other = "reward" if column == "gold" else "gold"
    in_other = gain(arms[first], arms[second], other)
    judge = "The reward is what was maximised, so it cannot judge; gold can." if other == "reward" else ""
    column_message = f"This is the difference in {other}, not in {column}. {judge}".strip()
    turned = (
        f"The sign is turned round: {first} minus {second} is asked for, positive where {first} is higher."
    )
    readings = [
        (-gain(arms[first], arms[second], column), "sign", turned),
        (in_other, "F16", column_message),
        (-in_other, "F16", f"{column_message} The sign is turned round as well."),
    ]
    for left in arms:
        for right in arms:
            if left != right and (left, right) not in ((first, second), (second, first)):
                text = f"This is the comparison of {left} with {right}."
                readings.append((gain(arms[left], arms[right], column), "F49", text))
    return readings


def _equal(first: float, second: float) -> bool:
    """Whether two differences are one, up to rounding to two decimals."""
    return abs(first - second) <= 0.0051


def judged_tables(
    work: Work, policies: Mapping[str, Policy], rng: np.random.Generator, run_seed: int | None = None
) -> dict[str, Dataset]:
    """The learner's `tables`, one for each of these arms, after `check_judged` of each."""
    handed = work.object("tables")
    message = "`tables` is a dict from arm to judged table."
    require(isinstance(handed, Mapping), FORM, message, got=short(handed))
    for arm in policies:
        require(arm in handed, FORM, f"`tables` has no entry {arm!r}.", got=short(list(handed)))
        check_judged(f"tables[{arm!r}]", handed[arm], arm, policies, rng, run_seed)
    return {arm: handed[arm] for arm in policies}


def check_judged(
    name: str,
    table: Any,
    arm: str,
    policies: Mapping[str, Policy],
    rng: np.random.Generator,
    run_seed: int | None = None,
) -> None:
    """A table of held-out responses was drawn by the policy of its arm, and holds its gold and its rewards.

    policies: of every arm, the base policy as "base". run_seed: the seed that the task asks for, if it does.
    """
    columns = getattr(table, "column_names", ())
    wanted = ("prompt", "prompt_id", "response", "token_ids", "finish_reason", "logprob", "reward", "gold")
    missing = [column for column in wanted if column not in columns]
    message = f"{name} is to be a table of `judged`. Columns that are missing: {', '.join(missing)}."
    require(not missing and len(table), FORM, message, got=short(table))
    check_columns(name, table, "gold", "logprob")
    _check_held_out(name, table)
    if run_seed is not None and "seed" in columns:
        _check_seed(name, table, run_seed)
    _check_drawn_by(name, table, arm, policies, rng)
    gold, right = np.array(table["gold"][:], dtype=float), world.gold_scores(table)
    message = f"The gold of {name} is not what the judge says of these responses."
    if np.allclose(gold, np.array(table["reward"][:], dtype=float)):
        message = f"The column gold of {name} holds the rewards. What selected cannot judge."
    require(np.allclose(gold, right, atol=1e-6), JUDGED, message, idea="F16")
    check_rescored(table, rng)


def check_columns(name: str, table: Any, *columns: str) -> None:
    """A scored table with these columns besides, all of numbers."""
    try:
        tables.check_scored(table)
        for column in columns:
            tables.finite_column(table, column)
    except (RSError, AttributeError, *UNREADABLE) as error:
        raise CheckFailed(FORM, f"{name} is not a scored table: {error}") from None


def _check_held_out(name: str, table: Dataset) -> None:
    """Enough prompts, all of them from the validation split, with equally many responses."""
    foreign = set(table["prompt"][:]) - _prompts("validation")
    message = f"{name} has prompts that are not held out. A policy is not judged on what it was tuned on."
    require(not foreign, JUDGED, message, idea="F18", got=f"{len(foreign)} prompts")
    counts = {len(rows) for rows in tables.groups(table).values()}
    prompts = len(tables.groups(table))
    message = f"{name} is to hold two responses to each held-out prompt, none left out."
    require(prompts >= FEWEST_JUDGED and counts == {2}, JUDGED, message, idea="F21", got=f"{prompts} prompts")


def _check_seed(name: str, table: Dataset, run_seed: int) -> None:
    from rslib.sampling import response_seed

    seeds = [response_seed(run_seed, *row_id) for row_id in row_ids(table)]
    message = f"{name} was drawn with another seed than {run_seed:_}: one seed serves all arms."
    require(list(table["seed"][:]) == seeds, JUDGED, message, idea="seed")


def _check_drawn_by(
    name: str, table: Dataset, arm: str, policies: Mapping[str, Policy], rng: np.random.Generator
) -> None:
    policy = policies[arm]
    message = f"Responses of {name} are not what their tokens spell: they were edited after drawing."
    require(not mistyped(table, policy), JUDGED, message, idea="F27")
    rows = some_rows(table, rng)
    off = off_by(rows, policy)
    if off < 0.1:
        return
    drawer = next((other for other, known in policies.items() if off_by(rows, known) < 0.1), None)
    message = f"The responses of {name} were not drawn by the policy {arm!r}"
    message += f" but by {drawer!r}." if drawer else "."
    raise CheckFailed(JUDGED, message, idea="F49", got=f"log-probabilities differ by {off:.1f} nats")


def check_claims(
    comparisons: Mapping[str, tuple[str, str, str]], arms: Mapping[str, Dataset], evidence: Any, claims: Any
) -> None:
    """Each comparison (first arm, second arm, column) is that of the tables; the claim says what it says."""
    for name, (first, second, column) in comparisons.items():
        require(name in evidence, FORM, f"`evidence` has no comparison {name!r}.", got=short(list(evidence)))
        check_compared(name, evidence[name], arms, first, second, column)
        check_claim(name, claims.get(name), evidence[name])


def check_claim(name: str, claim: Any, comparison: Mapping[str, Any]) -> None:
    """The claim is what the interval of the comparison supports, in whatever case it is written."""
    message = f"{name}: the interval of your evidence says something else than the claim."
    require(word_of(claim) == verdict(comparison), CLAIMS, message, idea="F34", got=short(claim))


def word_of(claim: Any) -> str:
    """A learner's words in small letters, with single blanks for hyphens too; "" for what is no text."""
    return (
        " ".join(claim.replace("-", " ").replace("_", " ").split()).casefold()
        if isinstance(claim, str)
        else ""
    )
