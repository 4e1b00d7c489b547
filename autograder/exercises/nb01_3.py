"""Exercise 1.3: `sample_n` and `score` on plain callables, with right shapes, rows and seeds."""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from autograder.exercise import (
    RUNS,
    CheckFailed,
    Exercise,
    Misconception,
    Part,
    diagnose,
    numbers,
    require,
    same,
)
from autograder.work import SaltedStr, Work
from rslib.errors import ConfigError, RSError

THINGS = ("rice", "a tent", "a lock", "a bicycle", "a cake", "a letter", "a lamp", "a garden", "a shelf")
VERBS = ("cook", "fix", "open", "choose", "clean", "carry", "build", "sell")
Rows = list[dict[str, Any]]
Draw = Callable[[str, int], str]


def some_prompts(rng: np.random.Generator, count: int) -> list[str]:
    """Different prompts, none the beginning of another."""
    every = [f"How do I {verb} {thing}?" for verb in VERBS for thing in THINGS]
    return [every[int(k)] for k in rng.choice(len(every), count, replace=False)]


class Drawer:
    """A policy in one line: the text says for which prompt and with which seed it was drawn."""

    def __init__(self) -> None:
        self.calls: dict[str, tuple[str, int]] = {}

    def __call__(self, prompt: str, seed: int) -> str:
        """The response to a prompt under a seed; ConfigError for a seed that is no whole number."""
        try:
            number = operator.index(seed)
        except TypeError:
            raise ConfigError(f"draw wants a whole number as seed, not a {type(seed).__name__}") from None
        digest = hashlib.sha256(f"{prompt}\x1f{number}".encode()).hexdigest()
        text = f"Take {digest[:6]}, then {digest[6:12]}."
        self.calls[text] = (prompt, number)
        return text

    def __repr__(self) -> str:
        return "draw"

    def seeds(self, rows: Rows) -> list[int]:
        """The seed of each row's response."""
        return [self.calls[row["response"]][1] for row in rows]


def drawn(work: Work, prompts: list[str], n: int, seed: int) -> tuple[Rows, Drawer]:
    """The rows of the learner's `sample_n` as plain dicts of three columns, and the policy that was asked."""
    draw = Drawer()
    rows = work.function("sample_n")(draw, prompts, n, seed)
    case = f"{len(prompts)} prompts, n = {n}"
    diagnose(
        FLAT,
        _length(rows),
        len(prompts) * n,
        ideas=[Misconception("F05", ONE_EACH, len(prompts)), Misconception("one prompt", ONCE, n)],
        otherwise=Misconception("shape", "A row for each response, so prompts times n rows.", None),
        case=case,
    )
    require(len({id(row) for row in rows}) == len(rows), "gives each response a row", ALIAS, idea="alias")
    return [_row(row, draw, case) for row in rows], draw


FLAT = "gives n rows to each prompt"
NESTED = "These are lists inside of a list. A table is one flat list with a row for each response."
ONE_EACH = "That is one row a prompt, so nothing can be chosen. A table has a row for each response."
ONCE = "Only one prompt was served: is the `return` inside of the loop?"
COLUMNS = {"prompt": str, "sample_id": int | np.integer, "response": str}


ALIAS = (
    "Several rows are one and the same dict, so a change to one of them changes all. Make a new dict for "
    "each response."
)


def _length(rows: Any) -> int:
    kind = f"sample_n returns a list of rows, and here came a {type(rows).__name__}."
    require(isinstance(rows, list | tuple), FLAT, kind, idea="shape")
    require(not any(isinstance(row, list | tuple) for row in rows), FLAT, NESTED, idea="nested")
    return len(rows)


def _row(row: Any, draw: Drawer, case: str) -> dict[str, Any]:
    """One row as a plain dict; more columns than the three are nobody's business."""
    fits = isinstance(row, dict) and all(isinstance(row.get(k), kind) for k, kind in COLUMNS.items())
    message = "A row is a dict with the columns prompt (text), sample_id (whole number), response (text)."
    require(fits, "has the three columns", message, idea="shape", case=case, got=row)
    message = "This response was not drawn in this call, or was changed after it."
    known = row["response"] in draw.calls
    require(known, "returns what was drawn", message, idea="stale", case=case, got=row)
    return {"prompt": row["prompt"], "sample_id": int(row["sample_id"]), "response": row["response"]}


def grade_rows(work: Work, rng: np.random.Generator) -> None:
    """Prompt-major rows, each response with the prompt that it was drawn for; n = 1 and no prompts too."""
    for count, n in ((5, 3), (4, 1), (3, 5), (1, 4)):
        prompts = some_prompts(rng, count)
        rows, draw = drawn(work, prompts, n, int(rng.integers(1000)))
        case = f"{count} prompts, n = {n}"
        diagnose(
            "keeps the rows of a prompt together",
            [(prompts.index(row["prompt"]) if row["prompt"] in prompts else -1) for row in rows],
            [at // n for at in range(count * n)],
            ideas=[Misconception("F10", ROUND_ROBIN, [at % count for at in range(count * n)])],
            otherwise=Misconception(
                "F10",
                "Rows stand in the order of the prompts: n rows for the first, then n for the second.",
                None,
            ),
            case=case,
            reveal=False,
        )
        wrong = next((row for row in rows if draw.calls[row["response"]][0] != row["prompt"]), None)
        require(wrong is None, "pairs each response with its prompt", MISPAIRED, idea="F10", case=case)
        diagnose(
            "numbers the responses of a prompt",
            [row["sample_id"] for row in rows],
            [at % n for at in range(count * n)],
            ideas=[
                Misconception("running number", RUNNING_NUMBER, list(range(count * n))),
                Misconception("off by one", FROM_ONE, [at % n + 1 for at in range(count * n)]),
            ],
            otherwise=Misconception(
                "shape", "sample_id counts the responses of one prompt, from 0 to n - 1.", None
            ),
            case=case,
        )
    drawn(work, [], 3, 0)


ROUND_ROBIN = (
    "Row i went to prompt i % M: one response to each prompt, then again. The rows of a prompt do "
    "not stand together, and code that takes n rows at a time would mix prompts."
)
MISPAIRED = "A response stands beside a prompt that it was not drawn for, and will be rewarded as if it were."
RUNNING_NUMBER = (
    "sample_id runs on over all rows. It says which of the n responses to its own prompt a row is."
)
FROM_ONE = "sample_id starts at 1. It starts at 0."


def grade_seeds(work: Work, rng: np.random.Generator) -> None:
    """A response depends on the run's seed, its prompt and its number, and on nothing else."""
    prompts, seed = some_prompts(rng, 5), int(rng.integers(2, 900))
    rows, draw = drawn(work, prompts, 4, seed)
    _all_different(draw.seeds(rows), f"5 prompts, n = 4, seed = {seed}")
    _repeats(work, prompts, seed, rows)
    _fresh_in_another_run(work, prompts, seed)
    _alone(work, prompts, seed, rows)
    _whole_prompt(work, seed)
    _kept_apart(work, prompts[0])
    _in_range(draw.seeds(rows))


OWN, ANEW = "gives every response its own seed", "draws anew with another run seed"


def _all_different(seeds: list[int], case: str) -> None:
    groups = [seeds[at : at + 4] for at in range(0, len(seeds), 4)]
    copies = (
        "All responses of a prompt got one seed, so they are n copies of one text, and there is nothing to "
        "choose from."
    )
    require(any(len(set(group)) > 1 for group in groups), OWN, copies, idea="F06", case=case, got=seeds)
    across = (
        "Several prompts got the same row of seeds. Chance then moves them together: where one is lucky, "
        "all are."
    )
    require(len({tuple(g) for g in groups}) == len(groups), OWN, across, idea="F20", case=case, got=seeds)
    message = (
        "Two responses share a seed. Make it from everything that tells them apart, in a way that keeps "
        "different inputs apart."
    )
    require(len(set(seeds)) == len(seeds), OWN, message, idea="F20", case=case, got=seeds)


def _repeats(work: Work, prompts: list[str], seed: int, rows: Rows) -> None:
    copies = [prompt[:1] + prompt[1:] for prompt in prompts]  # equal texts at another address
    again, _ = drawn(work, copies, 4, seed)
    message = (
        "The same call gave other responses. A seed has to come from the run's seed, not from the clock or "
        "from a generator that was not seeded."
    )
    require(same(again, rows), "repeats with the same seed", message, idea="unseeded")
    with work.other_session(1):
        later, _ = drawn(work, prompts, 4, seed)
    message = (
        "In this session the call repeats, in the next it will not: Python's hash() of a text is salted "
        "anew each time Python starts. hashlib or zlib.crc32 give the same number for ever."
    )
    elsewhere = [_in_session(salt, work, prompts, seed) for salt in (1, 2)]
    stays = same(later, rows) and elsewhere[0] == elsewhere[1]
    require(stays, "repeats in another session", message, idea="hash")


def _in_session(salt: int, work: Work, prompts: list[str], seed: int) -> list[str]:
    """The responses to salted prompts: also `prompt.__hash__()` tells one session from the other."""
    with work.other_session(salt):
        rows, _ = drawn(work, [SaltedStr(prompt) for prompt in prompts], 4, seed)
    return [row["response"] for row in rows]


def _fresh_in_another_run(work: Work, prompts: list[str], seed: int) -> None:
    seen: dict[int, int] = {}
    for run in dict.fromkeys((seed, seed + 1, 0, 1, 11, 111)):
        rows, draw = drawn(work, prompts, 12, run)
        seeds = draw.seeds(rows)
        message = "Two responses share a seed in this run. Does a part lose its say under some run's seed?"
        require(
            len(set(seeds)) == len(seeds), ANEW, message, idea="F20", case=f"5 prompts, n = 12, seed = {run}"
        )
        _nothing_shared(seen, seeds, run)
    seen = {}
    for run in (1, 2):  # so many responses that a run's seed times a round number is caught up with
        rows, draw = drawn(work, prompts[:1], 1100, run)
        _nothing_shared(seen, draw.seeds(rows), run)


def _nothing_shared(seen: dict[int, int], seeds: list[int], run: int) -> None:
    """Add the seeds of a run to those seen; two that met before are more than the chance of 32 bits."""
    shared = [seen[s] for s in seeds if s in seen]
    if len(shared) > 1:
        message = (
            f"Runs with the seeds {shared[0]} and {run} share draws, so the second is not a new run. "
            "Adding numbers, or writing them side by side, lets different inputs meet."
        )
        raise CheckFailed(
            ANEW, message, idea="F20", case=f"{len(seeds)} responses in the run with seed {run}"
        )
    seen |= dict.fromkeys(seeds, run)


def _whole_prompt(work: Work, seed: int) -> None:
    """Prompts that share their length, their beginning, their end, or all of their words."""
    twins = [f"How do I {end}?" for end in ("lock a tent", "tent a lock", "lock a tank", "pick a tent")]
    twins += ["Do how I lock a tent?", "How I do lock a tent?"]
    rows, draw = drawn(work, twins, 4, seed)
    seeds = draw.seeds(rows)
    met = next((k for k, own in enumerate(seeds) if own in seeds[:k]), 0)
    message = (
        "Two prompts that are much alike share a seed. Every character of a prompt counts, and its place: "
        "its length, its first words or a sum over its characters are not enough."
    )
    pair = [rows[k]["prompt"] for k in (seeds.index(seeds[met]), met)]
    require(not met, "reads the whole prompt", message, idea="F20", case=f"{pair[0]!r} and {pair[1]!r}")


def _kept_apart(work: Work, prompt: str) -> None:
    """Prompts that begin or end with a digit: without a separator they meet a run's seed or a number."""
    tricky, seen = [prompt, f"1{prompt}", f"{prompt}1", f"11{prompt}", f"{prompt}11"], {}
    message = (
        "Two different responses share a seed. Prompts may begin or end with a digit: written side by side "
        "without a separator, the end of one part and the beginning of the next cannot be told apart."
    )
    for run in (1, 11):
        rows, draw = drawn(work, tricky, 12, run)
        for row, own in zip(rows, draw.seeds(rows), strict=True):
            who = f"seed = {run}, prompt {row['prompt']!r}, sample_id {row['sample_id']}"
            require(
                own not in seen, "keeps its parts apart", message, idea="F20", case=f"{who}; {seen.get(own)}"
            )
            seen[own] = who


def _in_range(seeds: list[int]) -> None:
    check = "hands draw a seed in its range"
    message = "A seed lies in 0 <= seed < 2**63; this one does not."
    outside = [s for s in seeds if not 0 <= s < 2**63]
    require(not outside, check, message, idea="range", got=outside[:1])
    message = (
        "All these seeds are small. With so few numbers to draw from, two of many responses soon share one."
    )
    require(max(seeds) >= 2**24, check, message, idea="range", got=max(seeds))


def _alone(work: Work, prompts: list[str], seed: int, rows: Rows) -> None:
    check, wanted = "draws whatever else is drawn", _texts(rows)
    message = (
        "Turned round, the list of prompts gave other responses to the same prompts: the seed hangs on the "
        "place in the list. A run that is resumed or split then differs from the whole one."
    )
    for part in (prompts[::-1], prompts[3:]):
        turned, _ = drawn(work, part, 4, seed)
        agrees = all(same(texts, wanted.get(prompt)) for prompt, texts in _texts(turned).items())
        require(agrees, check, message, idea="position")
    more, _ = drawn(work, prompts, 6, seed)
    message = "With n = 6 the first four responses are not those of n = 4: the seed hangs on n."
    first = {prompt: texts[:4] for prompt, texts in _texts(more).items()}
    require(same(first, wanted), check, message, idea="position")


def _texts(rows: Rows) -> dict[str, list[str]]:
    """The responses of each prompt."""
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["prompt"], []).append(row["response"])
    return found


class Judge:
    """A reward model in one line: it reads the prompt and the response."""

    def __init__(self, bad: float | None = None, at: str = "") -> None:
        self.bad, self.at = bad, at

    def __repr__(self) -> str:
        return "reward"

    def __call__(self, prompt: str, response: str) -> float:
        """The reward, between -5 and 5; `bad` for the response `at`."""
        if self.bad is not None and response == self.at:
            return self.bad
        digest = hashlib.sha256(f"{prompt}\x1f{response}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48 * 10 - 5


def some_rows(rng: np.random.Generator) -> Rows:
    """Rows of a responses table, with texts of different lengths; one text stands in three rows.

    Twice it is a response to one prompt, once to another: rewards that are filed by text go wrong there.
    """
    draw, prompts = Drawer(), some_prompts(rng, 4)
    rows = [
        {"prompt": p, "sample_id": k, "response": draw(p, k) + " Well." * int(rng.integers(0, 9))}
        for p in prompts
        for k in range(3)
    ]
    for at in (1, 2, 6):
        rows[at]["response"] = rows[0]["response"][:12] + "."
    return rows


def grade_score(work: Work, rng: np.random.Generator) -> None:
    """A finite reward in every row, for its own prompt and response, and rows as they were."""
    score, judge = work.function("score"), Judge()
    for rows in ((table := some_rows(rng)), table[::-1], table[4:5]):
        _rewards(score(judge, rows), rows, judge)
    zero = Judge(0.0, table[int(rng.integers(len(table)))]["response"])  # a reward like any other
    _rewards(score(zero, table), table, zero)
    require(same(score(judge, []), []), "scores an empty table", "No rows in, no rows out.", idea="edge")
    for bad in (math.nan, math.inf, -math.inf):
        _refuses(score, table, Judge(bad, table[int(rng.integers(len(table)))]["response"]), bad)


def _rewards(scored: Any, rows: Rows, judge: Judge) -> None:
    right = [judge(r["prompt"], r["response"]) for r in rows]
    fits = isinstance(scored, list | tuple) and all(isinstance(r, dict) and "reward" in r for r in scored)
    message = "score returns a list of all the rows, each with one more column, `reward`."
    require(fits and len(scored) == len(rows), "gives every row a reward", message, idea="shape", got=scored)
    kept = same([{k: r.get(k) for k in ("prompt", "sample_id", "response")} for r in scored], rows)
    message = "The rows came back in another order, or changed. Who reads them next counts on their order."
    require(kept, "leaves the rows as they were", message, idea="F09")
    lengths = sorted(range(len(rows)), key=lambda k: len(rows[k]["response"]))
    numbers_got = [r["reward"] for r in scored]
    diagnose(
        "gives each row its own reward",
        numbers_got,
        right,
        ideas=[
            Misconception("F08", BLIND, [judge("", r["response"]) for r in rows]),
            Misconception(
                "F08",
                "Prompt and response changed places.",
                [judge(r["response"], r["prompt"]) for r in rows],
            ),
            Misconception("F09", SHUFFLED, [right[k] for k in lengths]),
            Misconception("F09", SHUFFLED, sorted(right)),
            Misconception("F09", SHUFFLED, sorted(right, reverse=True)),
            Misconception("scale", CHANGED, [r - float(np.mean(right)) for r in right]),
            *(Misconception("scale", CHANGED, [round(r, digits) for r in right]) for digits in range(5)),
            Misconception(
                "F03", "The sign is turned: the best response now has the lowest reward.", [-r for r in right]
            ),
        ],
        otherwise=Misconception("scale", CHANGED, None)
        if _same_order(numbers_got, right)
        else Misconception("F09", OTHER, None),
        tolerance=1e-6,  # float32 will do
        reveal=False,
    )


def _same_order(got: Sequence[Any], right: Sequence[float]) -> bool:
    """Whether the rewards differ from the right ones in their scale only."""
    found = numbers(got)
    if found is None or found.shape != (len(right),):
        return False
    ranks = [np.unique(values, return_inverse=True)[1] for values in (found, right)]
    return bool((ranks[0] == ranks[1]).all())


BLIND = "The reward model saw no prompt. It can then judge the style of a text, never whether it fits."
SHUFFLED = (
    "The right numbers stand on the wrong rows. Scoring a row again would give another number than its own."
)
CHANGED = (
    "The rewards were changed: a mean was taken off, they were rounded, or put on another scale. They stay "
    "as the reward model gave them; who needs differences can take them."
)
OTHER = (
    "These are not the numbers that `reward` gives for these rows, each asked with its own prompt and its "
    "whole response. Rows may share a prompt, and rows may share a response."
)


def _refuses(score: Callable[..., Any], rows: Rows, judge: Judge, bad: float) -> None:
    check, case = "refuses NaN and infinity", f"one reward is {bad}"
    message = (
        "A reward that is not finite went through. NaN compares false with everything, so whether `select` "
        "keeps that row depends on where it stands. Raise ValueError."
    )
    try:
        score(judge, rows)
    except CheckFailed as stopped:
        wanted = isinstance(stopped.__cause__, (ValueError, RSError))
        require(
            stopped.check == RUNS and wanted,
            check,
            f"Raise ValueError. {stopped.message}",
            idea="F32",
            case=case,
        )
        return
    raise CheckFailed(check, message, idea="F32", case=case)


EXERCISE = Exercise(
    "1.3",
    "Sample and score",
    difficulty=2,
    minutes=15,
    names=("sample_n", "score"),
    parts=(
        Part("sample_n: rows", 1.0, grade_rows),
        Part("sample_n: seeds", 2.0, grade_seeds),
        Part("score", 1.0, grade_score),
    ),
)
