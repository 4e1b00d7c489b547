"""Exercise 1.3: `sample_n` and `score` on plain callables, with right shapes, rows and seeds."""

from __future__ import annotations

import hashlib
import math
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from autograder.checks import Ideas, Learner, Rng, graded
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
from autograder.work import SaltedStr, kind_of
from rslib.errors import ConfigError, RSError

IDEAS = Ideas("""
no list (shape): sample_n returns a list of rows, and here came a {kind}.
nested: These are lists inside of a list. A table is one flat list with a row for each response.
one row a prompt (F05): That is one row a prompt, so nothing can be chosen. A table has a row for each
    response.
one prompt: Only one prompt was served: is the `return` inside of the loop?
rows (shape): A row for each response, so prompts times n rows.
drawn anew: {draws} draws for {responses} responses: a response that came before was left out, or drawn again.
    Chance writes a text twice where it is probable, and each time is one of the n; without the repeats,
    rare responses come too often.
alias: Several rows are one and the same dict, so a change to one of them changes all. Make a new dict for
    each response.
columns (shape): A row is a dict with the columns prompt (text), sample_id (whole number), response (text).
stale: This response was not drawn in this call, or was changed after it.
round robin (F10): Row i went to prompt i % M: one response to each prompt, then again. The rows of a prompt
    do not stand together, and code that takes n rows at a time would mix prompts.
order (F10): Rows stand in the order of the prompts: n rows for the first, then n for the second.
mispaired (F10): A response stands beside a prompt that it was not drawn for, and will be rewarded as if it
    were.
running number: sample_id runs on over all rows. It says which of the n responses to its own prompt a row is.
off by one: sample_id starts at 1. It starts at 0.
number (shape): sample_id counts the responses of one prompt, from 0 to n - 1.

copies (F06): All responses of a prompt got one seed, so they are n copies of one text, and there is nothing
    to choose from.
across prompts (F20): Several prompts got the same row of seeds. Chance then moves them together: where one is
    lucky, all are.
shared seed (F20): Two responses share a seed. Make it from everything that tells them apart, in a way that
    keeps different inputs apart.
unseeded: The same call gave other responses. A seed has to come from the run's seed, not from the clock or
    from a generator that was not seeded.
hash: In this session the call repeats, in the next it will not: Python's hash() of a text is salted anew each
    time Python starts. hashlib or zlib.crc32 give the same number for ever.
shared in a run (F20): Two responses share a seed in this run. Does a part lose its say under some run's seed?
shared by runs (F20): Runs with the seeds {first} and {second} share draws, so the second is not a new run.
    Adding numbers, xor, or writing them side by side lets different inputs meet.
run ignored (F20): Runs with the seeds {first} and {second} draw the same responses: the run's seed has no
    part in yours.
place (position): Turned round, the list of prompts gave other responses to the same prompts: the seed hangs
    on the place in the list. A run that is resumed or split then differs from the whole one.
n (position): With n = 6 the first four responses are not those of n = 4: the seed hangs on n.
part of a prompt (F20): Two prompts that are much alike share a seed. Every character of a prompt counts, and
    its place: its length, its first words or a sum over its characters are not enough, nor is a text without
    its capitals or blanks.
side by side (F20): Two different responses share a seed. Prompts may begin or end with a digit: written side
    by side without a separator, the end of one part and the beginning of the next cannot be told apart.
range: A seed lies in 0 <= seed < 2**63; this one does not.
small (range): All these seeds are small. With so few numbers to draw from, two of many responses soon share
    one.

no reward (shape): score returns a list of all the rows, each with one more column, `reward`.
other rows (F09): The rows came back in another order, or changed. Who reads them next counts on their order.
blind (F08): The reward model saw no prompt. It can then judge the style of a text, never whether it fits.
swapped (F08): Prompt and response changed places.
by length / ascending / descending (F09): The right numbers stand on the wrong rows. Scoring a row again would
    give another number than its own.
changed (scale): The rewards were changed: a mean was taken off, they were rounded, or put on another scale.
    They stay as the reward model gave them; who needs differences can take them.
turned (F03): The sign is turned: the best response now has the lowest reward.
other rewards (F09): These are not the numbers that `reward` gives for these rows, each asked with its own
    prompt and its whole response. Rows may share a prompt, and rows may share a response.
edge: No rows in, no rows out.
not finite (F32): `reward` gave a number that is not finite, and there was no ValueError. NaN compares false
    with everything, so whether `select` keeps such a row depends on where it stands; infinity wins or loses
    whatever was written.
other error (F32): Raise ValueError. {message}
""")
FLAT, OWN = "gives n rows to each prompt", "gives every response its own seed"
ANEW, ALONE = "draws anew with another run seed", "draws whatever else is drawn"
RANGE, FINITE = "hands draw a seed in its range", "refuses NaN and infinity"
REWARDED = "gives every row a reward"
THINGS = ("rice", "a tent", "a lock", "a bicycle", "a cake", "a letter", "a lamp", "a garden", "a shelf")
VERBS = ("cook", "fix", "open", "choose", "clean", "carry", "build", "sell")
COLUMNS = {"prompt": str, "sample_id": int | np.integer, "response": str}
Rows = list[dict[str, Any]]


# What is drawn --------------------------------------------------------------------------------------------


def some_prompts(rng: Rng, count: int) -> list[str]:
    """Different prompts, none the beginning of another."""
    every = [f"How do I {verb} {thing}?" for verb in VERBS for thing in THINGS]
    return [every[int(k)] for k in rng.choice(len(every), count, replace=False)]


def some_run(rng: Rng) -> tuple[list[str], int]:
    """Five prompts, and the seed of a run."""
    return some_prompts(rng, 5), int(rng.integers(2, 900))


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


class Parrot:
    """A policy that says everything three times."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, prompt: str, seed: int) -> str:
        """The response to this prompt, or to the one before."""
        self.calls += 1
        return f"Take {(self.calls - 1) // 3}."

    def __repr__(self) -> str:
        return "draw"


def drawn(sample_n: Learner, prompts: list[str], n: int, seed: int) -> tuple[Rows, list[tuple[str, int]]]:
    """The learner's rows as plain dicts of three columns, and (prompt, seed) of each row's draw."""
    draw, case = Drawer(), f"{len(prompts)} prompts, n = {n}"
    rows = sample_n(draw, prompts, n, seed)
    require(isinstance(rows, list | tuple), FLAT, IDEAS.filled("no list", kind=kind_of(rows)))
    inner = [item for row in rows if isinstance(row, list | tuple) for item in row]
    require(not any(isinstance(item, dict | list | tuple) for item in inner), FLAT, IDEAS["nested"])
    diagnose(
        FLAT,
        len(rows),
        len(prompts) * n,
        ideas=IDEAS.of({"one row a prompt": len(prompts), "one prompt": n}),
        otherwise=IDEAS["rows"],
        case=case,
    )
    require(len({id(row) for row in rows}) == len(rows), "gives each response a row", IDEAS["alias"])
    plain = [_row(row, draw, case) for row in rows]
    return plain, [draw.calls[row["response"]] for row in plain]


def _row(row: Any, draw: Drawer, case: str) -> dict[str, Any]:
    """One row as a plain dict; more columns than the three are nobody's business."""
    fits = isinstance(row, dict) and all(isinstance(row.get(k), kind) for k, kind in COLUMNS.items())
    require(fits, "has the three columns", IDEAS["columns"], case=case, got=row)
    require(row["response"] in draw.calls, "returns what was drawn", IDEAS["stale"], case=case, got=row)
    return {"prompt": row["prompt"], "sample_id": int(row["sample_id"]), "response": row["response"]}


def seeds_of(sample_n: Learner, prompts: list[str], n: int, seed: int) -> list[int]:
    """The seeds of the responses, in the order of the rows."""
    return [number for _, number in drawn(sample_n, prompts, n, seed)[1]]


def responses_of(sample_n: Learner, prompts: list[str], n: int, seed: int) -> dict[str, list[str]]:
    """The responses to each prompt."""
    responses: dict[str, list[str]] = {}
    for row in drawn(sample_n, prompts, n, seed)[0]:
        responses.setdefault(row["prompt"], []).append(row["response"])
    return responses


# Rows -----------------------------------------------------------------------------------------------------


def lays_out_rows(sample_n: Learner, rng: Rng) -> None:
    """Prompt-major rows, each response with the prompt that it was drawn for; n = 1 and no prompts too."""
    for count, n in ((5, 3), (4, 1), (3, 5), (1, 4)):
        prompts, numbered = some_prompts(rng, count), range(count * n)
        rows, draws = drawn(sample_n, prompts, n, int(rng.integers(1000)))
        case = f"{count} prompts, n = {n}"
        diagnose(
            "keeps the rows of a prompt together",
            [(prompts.index(row["prompt"]) if row["prompt"] in prompts else -1) for row in rows],
            [row // n for row in numbered],
            ideas=IDEAS.of({"round robin": [row % count for row in numbered]}),
            otherwise=IDEAS["order"],
            case=case,
            reveal=False,
        )
        paired = [prompt for prompt, _ in draws] == [row["prompt"] for row in rows]
        require(paired, "pairs each response with its prompt", IDEAS["mispaired"], case=case)
        diagnose(
            "numbers the responses of a prompt",
            [row["sample_id"] for row in rows],
            [row % n for row in numbered],
            ideas=IDEAS.of({"running number": list(numbered), "off by one": [r % n + 1 for r in numbered]}),
            otherwise=IDEAS["number"],
            case=case,
        )
    drawn(sample_n, [], 3, 0)


def keeps_repeats(sample_n: Learner, rng: Rng) -> None:
    """A response that comes again is a response like any other."""
    draw, prompts = Parrot(), some_prompts(rng, 3)
    rows = sample_n(draw, prompts, 4, int(rng.integers(1000)))
    idea, case = (
        IDEAS.filled("drawn anew", draws=draw.calls, responses=12),
        "3 prompts, n = 4, some draws alike",
    )
    require(len(rows) == draw.calls == 12, "keeps every draw", idea, case=case, got=f"{len(rows)} rows")


# Seeds: a response depends on the run's seed, its prompt and its number, and on nothing else ----------------


def check_distinct(sample_n: Learner, check: str, idea: str, prompts: list[str], n: int, *runs: int) -> None:
    """CheckFailed with this idea if two responses of these runs, named by their seeds, share a seed."""
    seen: dict[int, str] = {}
    for run in runs:
        for row, (_, seed) in zip(*drawn(sample_n, prompts, n, run), strict=True):
            response = f"seed = {run}, prompt {row['prompt']!r}, sample_id {row['sample_id']}"
            few = idea == "shared in a run" and run > 1 and max(seen, default=0) < 2**24  # 0 and 1 tell more
            why = IDEAS["small" if few else idea]
            require(seed not in seen, check, why, case=f"{response}; {seen.get(seed)}")
            seen[seed] = response


def own_seeds(sample_n: Learner, rng: Rng) -> None:
    """No two responses share a seed."""
    prompts, run = some_run(rng)
    seeds, case = seeds_of(sample_n, prompts, 4, run), f"5 prompts, n = 4, seed = {run}"
    groups = [tuple(seeds[start : start + 4]) for start in range(0, len(seeds), 4)]
    some_differ, groups_differ = any(len(set(g)) > 1 for g in groups), len(set(groups)) == len(groups)
    require(some_differ, OWN, IDEAS["copies"], case=case, got=seeds)
    require(groups_differ, OWN, IDEAS["across prompts"], case=case, got=seeds)
    check_distinct(sample_n, OWN, "shared seed", prompts, 4, run)


def repeats(sample_n: Learner, rng: Rng) -> None:
    """The same call gives the same responses, in this session and in another."""
    prompts, seed = some_run(rng)
    rows, _ = drawn(sample_n, prompts, 4, seed)
    copies = [prompt[:1] + prompt[1:] for prompt in prompts]  # equal texts at another address
    again, _ = drawn(sample_n, copies, 4, seed)
    require(same(again, rows), "repeats with the same seed", IDEAS["unseeded"])
    with sample_n.work.other_session(1):
        later, _ = drawn(sample_n, prompts, 4, seed)
    first, second = (_in_session(salt, sample_n, prompts, seed) for salt in (1, 2))
    require(same(later, rows) and first == second, "repeats in another session", IDEAS["hash"])


def _in_session(salt: int, sample_n: Learner, prompts: list[str], seed: int) -> list[str]:
    """The responses to salted prompts: also `prompt.__hash__()` tells one session from the other."""
    with sample_n.work.other_session(salt):
        rows, _ = drawn(sample_n, [SaltedStr(prompt) for prompt in prompts], 4, seed)
    return [row["response"] for row in rows]


def fresh_in_another_run(sample_n: Learner, rng: Rng) -> None:
    """Runs with different seeds share no draws."""
    prompts, seed = some_run(rng)
    seen: dict[int, int] = {}
    for run in dict.fromkeys((seed, seed + 1, 0, 1, 11, 111)):
        check_distinct(sample_n, ANEW, "shared in a run", prompts, 12, run)
        _check_fresh(seen, seeds_of(sample_n, prompts, 12, run), run)
    seen = {}
    for run in (1, 2):  # so many responses that a run's seed times a round number is caught up with
        _check_fresh(seen, seeds_of(sample_n, prompts[:1], 1100, run), run)


def _check_fresh(seen: dict[int, int], seeds: list[int], run: int) -> None:
    """Add the seeds of a run to those seen; two that met before are more than the chance of 32 bits."""
    shared = [seen[seed] for seed in seeds if seed in seen]
    if len(shared) > 1:
        idea = _why_shared(shared, seeds, run)
        case = f"{len(seeds)} responses in the run with seed {run}"
        raise CheckFailed(ANEW, idea.message, idea=idea.id, case=case)
    seen |= dict.fromkeys(seeds, run)


def _why_shared(shared: list[int], seeds: list[int], run: int) -> Misconception:
    """The idea that explains why a run shares these seeds, named by the runs that had them, with others."""
    if len(shared) == len(seeds) and len(set(shared)) == 1:
        return IDEAS.filled("run ignored", first=shared[0], second=run)
    if max(seeds) < 2**24 and 10 * len(shared) < len(seeds):
        return IDEAS["small"]
    return IDEAS.filled("shared by runs", first=shared[0], second=run)


def depends_on_nothing_else(sample_n: Learner, rng: Rng) -> None:
    """The other prompts, their order and n play no part."""
    prompts, seed = some_run(rng)
    wanted = responses_of(sample_n, prompts, 4, seed)
    for part in (prompts[::-1], prompts[3:]):
        turned = responses_of(sample_n, part, 4, seed)
        agrees = all(same(responses, wanted.get(prompt)) for prompt, responses in turned.items())
        require(agrees, ALONE, IDEAS["place"])
    more = responses_of(sample_n, prompts, 6, seed)
    require(same({p: responses[:4] for p, responses in more.items()}, wanted), ALONE, IDEAS["n"])


def reads_whole_prompts(sample_n: Learner, rng: Rng) -> None:
    """Prompts that share their length, their beginning, their end, or all of their words."""
    twins = [f"How do I {end}?" for end in ("lock a tent", "tent a lock", "lock a tank", "pick a tent")]
    twins += ["Do how I lock a tent?", "How I do lock a tent?", "how do I lock a tent?"]
    twins += [f"{twins[0]} ", f" {twins[0]}", twins[0].replace(" do ", "  do ")]
    run = int(rng.integers(2, 900))
    check_distinct(sample_n, "reads the whole prompt", "part of a prompt", twins, 4, run)


def keeps_parts_apart(sample_n: Learner, rng: Rng) -> None:
    """Prompts that begin or end with a digit: without a separator they meet a run's seed or a number."""
    [prompt] = some_prompts(rng, 1)
    tricky = [prompt, f"1{prompt}", f"{prompt}1", f"11{prompt}", f"{prompt}11"]
    check_distinct(sample_n, "keeps its parts apart", "side by side", tricky, 12, 1, 11)


def in_range(sample_n: Learner, rng: Rng) -> None:
    """Seeds of up to 63 bits, and not all of them small."""
    prompts, seed = some_run(rng)
    seeds = seeds_of(sample_n, prompts, 4, seed)
    outside = [seed for seed in seeds if not 0 <= seed < 2**63]
    require(not outside, RANGE, IDEAS["range"], got=outside[:1])
    require(max(seeds) >= 2**24, RANGE, IDEAS["small"], got=max(seeds))


# Rewards --------------------------------------------------------------------------------------------------


class Judge:
    """A reward model in one line: it reads the prompt and the response."""

    def __init__(self, bad: float | None = None, response: str = "") -> None:
        self.bad, self.response = bad, response

    def __repr__(self) -> str:
        return "reward"

    def __call__(self, prompt: str, response: str) -> float:
        """The reward, between -5 and 5; `bad` for one response."""
        if self.bad is not None and response == self.response:
            return self.bad
        digest = hashlib.sha256(f"{prompt}\x1f{response}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48 * 10 - 5


def some_rows(rng: Rng) -> Rows:
    """Rows of a responses table, with texts of different lengths; one text stands in three rows.

    Twice it is a response to one prompt, once to another: rewards that are filed by text go wrong there.
    """
    draw, prompts = Drawer(), some_prompts(rng, 4)
    rows = [
        {"prompt": p, "sample_id": k, "response": draw(p, k) + " Well." * int(rng.integers(0, 9))}
        for p in prompts
        for k in range(3)
    ]
    for k in (1, 2, 6):
        rows[k]["response"] = rows[0]["response"][:12] + "."
    return rows


def judging(bad: float, rows: Rows, rng: Rng) -> Judge:
    """A reward model that gives this reward to the response of some row."""
    return Judge(bad, rows[int(rng.integers(len(rows)))]["response"])


def rewards_rows(score: Learner, rng: Rng) -> None:
    """Each row has the reward of its own prompt and response, and the rows are as they were."""
    table = some_rows(rng)
    for rows in (table, table[::-1], table[4:5]):
        _check_rewards(score, Judge(), rows)
    _check_rewards(score, judging(0.0, table, rng), table)  # a reward like any other
    require(same(score(Judge(), []), []), "scores an empty table", IDEAS["edge"])


def _check_rewards(score: Learner, judge: Judge, rows: Rows) -> None:
    scored, right = score(judge, rows), [judge(row["prompt"], row["response"]) for row in rows]
    fits = isinstance(scored, list | tuple) and all(isinstance(r, dict) and "reward" in r for r in scored)
    require(fits and len(scored) == len(rows), REWARDED, IDEAS["no reward"], got=scored)
    unchanged = same([{column: row.get(column) for column in COLUMNS} for row in scored], rows)
    require(unchanged, "leaves the rows as they were", IDEAS["other rows"])
    got = [row["reward"] for row in scored]
    diagnose(
        "gives each row its own reward",
        got,
        right,
        ideas=list(_reward_slips(judge, rows, right)),
        otherwise=IDEAS["changed" if _same_order(got, right) else "other rewards"],
        tolerance=1e-6,  # float32 will do
        reveal=False,
    )


def _reward_slips(judge: Judge, rows: Rows, right: list[float]) -> Iterator[Misconception]:
    """The ideas that give wrong rewards; a rounded reward may tie with another."""
    lengths = sorted(range(len(rows)), key=lambda k: len(rows[k]["response"]))
    yield from IDEAS.of(
        {
            "blind": [judge("", row["response"]) for row in rows],
            "swapped": [judge(row["response"], row["prompt"]) for row in rows],
            "by length": [right[k] for k in lengths],
            "ascending": sorted(right),
            "descending": sorted(right, reverse=True),
            "turned": [-reward for reward in right],
        }
    )
    for digits in range(5):
        yield from IDEAS.of({"changed": [round(reward, digits) for reward in right]})


def _same_order(got: Sequence[Any], right: Sequence[float]) -> bool:
    """Whether the rewards rank the rows as the right ones do, ties included: their scale alone differs."""
    rewards = numbers(got)
    if rewards is None or rewards.shape != (len(right),):
        return False
    ranks, right_ranks = (np.unique(values, return_inverse=True)[1] for values in (rewards, right))
    return np.array_equal(ranks, right_ranks)


def refuses_what_is_not_finite(score: Learner, rng: Rng) -> None:
    """A ValueError, or an error of the engine's, is the right answer to NaN and to infinity."""
    rows = some_rows(rng)
    for bad in (math.nan, math.inf, -math.inf):
        idea, case = IDEAS["not finite"], f"one reward is {bad}"
        try:
            score(judging(bad, rows, rng), rows)
        except CheckFailed as failed:
            if failed.check == RUNS and isinstance(failed.__cause__, (ValueError, RSError)):
                continue
            idea = IDEAS.filled("other error", message=failed.message)
        raise CheckFailed(FINITE, idea.message, idea=idea.id, case=case)


EXERCISE = Exercise(
    "1.3",
    "Sample and score",
    difficulty=2,
    minutes=15,
    names=("sample_n", "score"),
    parts=(
        Part("sample_n: rows", 1.0, graded("sample_n", IDEAS, lays_out_rows, keeps_repeats)),
        Part(
            "sample_n: seeds",
            2.0,
            graded(
                "sample_n",
                IDEAS,
                own_seeds,
                repeats,
                fresh_in_another_run,
                depends_on_nothing_else,
                reads_whole_prompts,
                keeps_parts_apart,
                in_range,
            ),
        ),
        Part("score", 1.0, graded("score", IDEAS, rewards_rows, refuses_what_is_not_finite)),
    ),
)
