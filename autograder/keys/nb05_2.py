"""The healthy code of exercise 5.2, what is planted in it, and how mending is marked.

python -m autograder.keys.nb05_2     writes autograder/handouts/team.txt: the code of team.txt here, flawed
"""

from __future__ import annotations

import itertools
import operator
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from autograder.exercise import UNREADABLE, require, same, short
from autograder.handouts.nb05_2 import FILE
from autograder.work import Work
from rslib.cache import atomic_write

SOURCE = Path(__file__).with_name("team.txt").read_text(encoding="utf-8").removesuffix("\n")
"""The code without a flaw."""

FORM, MENDED, UNBROKEN = "gives a batch of ids and labels", "is mended", "leaves what was right"


@dataclass(frozen=True)
class Plant:
    """A flaw that can stand in the team's code: the healthy text, the flawed one, what mending shows."""

    idea: str
    healthy: str
    flawed: str
    check: str


PLANTS: dict[str, Plant] = {
    "role": Plant(
        "F26", '{"role": "assistant"', '{"role": "user"', "stores the answer as the assistant's turn"
    ),
    "table": Plant("F27", "for row in kept]", "for row in scored]", "trains on what was kept"),
    "mask": Plant("F22", "[IGNORED] * len(asked) + answered + end", "list(ids)", "learns the response alone"),
    "end": Plant(
        "F25", ' if finish_reason == "eos" else []', "", "learns an end only where the response finished"
    ),
    "seed": Plant("F20", " + 1_000 * number", "", "draws anew in every round"),
}
PLANTED = ("mask", "role", "seed")
"""The flaws in the team's code as learners get it. One copy for all: two would show where they differ."""


def flawed(names: tuple[str, ...]) -> str:
    """The code with these flaws.

    >>> flawed(("seed",)).count("1_000 * number")
    0
    """
    text = SOURCE
    for name in names:
        text = text.replace(PLANTS[name].healthy, PLANTS[name].flawed)
    return text


# Watching the code run ------------------------------------------------------------------------------------


class Fakes:
    """A policy and a reward that can be read off: a response is a number, and some are cut."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.prompts = [f"p{k}?" for k in rng.permutation(90)[:5].tolist()]
        self.n, self.salt = 6, int(rng.integers(1, 10_000))
        self.drawn: dict[str, list[tuple[str, str]]] = {prompt: [] for prompt in self.prompts}
        self.asked: list[int] = []

    def policy(self, prompt: str, seed: int) -> tuple[list[int], str]:
        """Tokens that spell a number which prompt and seed decide; every third response is cut."""
        number = random.Random(f"{self.salt} {prompt} {int(seed)}").randrange(10_000)
        text, reason = f"{number:04d}", "length" if number % 3 == 0 else "eos"
        self.asked.append(int(seed))
        self.drawn[prompt].append((text, reason))
        return [ord(letter) for letter in text], reason

    def reward(self, prompt: str, response: str) -> float:
        """The number itself."""
        return float(response)

    def best(self, *, finished: bool) -> list[str]:
        """The best response of each prompt, among the finished ones or among all that were drawn."""
        usable = (
            [t for t, reason in rows if reason == "eos" or not finished] for rows in self.drawn.values()
        )
        return [max(texts) for texts in usable if texts]


def _round(work: Work, fakes: Fakes, run_seed: int = 3, number: int = 0) -> Any:
    return work.function("one_round")(fakes.policy, fakes.reward, fakes.prompts, fakes.n, run_seed, number)


def _tables(result: Any, name: str, depth: int) -> list[Any]:
    """Ids and labels as plain lists: rows of whole numbers (depth 1), or tables of them (2)."""
    try:
        parts = [np.asarray(part) for part in itertools.islice(result, 3)]  # it may have no end
    except UNREADABLE:
        parts = []
    good = len(parts) == 2 and all(part.ndim == depth and part.dtype.kind in "iu" for part in parts)
    message = f"`{name}` returns two lists of whole numbers, ids and labels, of one length."
    require(good and parts[0].shape == parts[1].shape, FORM, message, got=short(result))
    return [part.tolist() for part in parts]


# What must hold -------------------------------------------------------------------------------------------


def check_table(work: Work, rng: np.random.Generator) -> None:
    """As many rows as prompts, the best of each; cut ones may have been left out before."""
    fakes = Fakes(rng)
    ids, _ = _tables(_round(work, fakes), "one_round", 2)
    total = sum(map(len, fakes.drawn.values()))
    got = f"{len(ids)} rows, of {total} that were drawn for {len(fakes.prompts)} prompts"
    message = "The trainer gets every row that was drawn: what `keep_best` kept is computed and never used."
    require(len(ids) != total, PLANTS["table"].check, message, idea="F27", got=got)
    texts = ["".join(chr(token) for token in row if token > 1) for row in ids]
    best = [
        right for right in (fakes.best(finished=False), fakes.best(finished=True)) if len(right) == len(texts)
    ]
    message = "The best responses reach the batch with their first or last letter missing."
    cut = any(all(_all_but_one(*pair) for pair in zip(texts, right, strict=True)) for right in best)
    require(not cut, PLANTS["table"].check, message, idea="cut", got=got)
    fits = any(all(map(operator.contains, texts, right)) for right in best)
    message = "The rows of the batch are not the best of each prompt, in the order of the prompts."
    require(fits, PLANTS["table"].check, message, idea="F04", got=got)


def _all_but_one(text: str, response: str) -> bool:
    """Whether a row's text ends in a response that has lost its first or its last letter."""
    return response not in text and text.endswith((response[:-1], response[1:]))


def check_role(work: Work, rng: np.random.Generator) -> None:
    """Two turns: the prompt is the user's, the response the assistant's."""
    text = f"{int(rng.integers(100, 1000))}"
    row = {"prompt": "p7?", "sample": 0, "tokens": [ord(letter) for letter in text], "finish_reason": "eos"}
    stored = work.function("conversation")(row | {"reward": 1.0})
    turns = isinstance(stored, list | tuple) and all(isinstance(turn, dict) for turn in stored)
    pairs = [(turn.get("role"), turn.get("content")) for turn in stored] if turns else []
    message = (
        "The response is not stored as what the assistant said: training on this would teach the policy to "
        "ask, and not to answer."
    )
    case = f"prompt 'p7?', response {text!r}"
    if pairs[1:] == [("assistant", text)]:
        message = "The prompt is not stored as what the user asked."
    right = pairs == [("user", "p7?"), ("assistant", text)]
    require(right, PLANTS["role"].check, message, idea="F26", case=case, got=short(stored))


def _example(
    work: Work, rng: np.random.Generator, reason: str
) -> tuple[list[int], list[int], list[list[int]]]:
    """Tokens of a prompt and of a response, and the learner's ids and labels of the two."""
    asked, answered = (f"{int(rng.integers(10, 10_000))}" for _ in range(2))
    stored = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
    tables = _tables(work.function("example")(stored, reason), "example", 1)
    return [ord(letter) for letter in asked], [ord(letter) for letter in answered], tables


def _misplaced(asked: list[int], answered: list[int], ids: list[int], labels: list[int]) -> tuple[str, str]:
    """Idea and message where ids are not prompt and response, or labels not at their tokens; else empty."""
    whole = asked + answered
    if labels[: len(whole)] == whole and ids[: len(asked)] == [-100] * len(asked):
        return "order", "Ids and labels have changed places: the ids come first."
    if ids[: len(answered)] == answered and len(ids) < len(whole):
        return "no prompt", "The prompt is not among the ids: nothing tells the policy what was asked."
    if ids[: len(whole)] != whole:
        return "order", "The tokens do not stand in their order: the prompt comes first, then the response."
    right = [-100] * len(asked) + ids[len(asked) :]
    if labels in (right[1:] + [-100], [-100] + right[:-1]):
        return "shifted", "The labels are shifted by a place. Each label stands at its own token."
    return "", ""


def check_mask(work: Work, rng: np.random.Generator) -> None:
    """Labels: -100 on the prompt, the tokens themselves on the response."""
    asked, answered, (ids, labels) = _example(work, rng, "eos")
    case = f"a prompt of {len(asked)} tokens, a response of {len(answered)}"
    idea, message = _misplaced(asked, answered, ids, labels)
    got = labels if idea == "shifted" else ids
    require(not idea, PLANTS["mask"].check, message, idea=idea, case=case, got=got)
    of_prompt = labels[: len(asked)]
    message = "Tokens of the prompt have labels: the loss teaches the policy to write the user's questions."
    if set(of_prompt) == {of_prompt[0]} != {asked[0]}:
        message = (
            f"The prompt has the label {of_prompt[0]}, and that is a token too: it is learned. See IGNORED."
        )
    free = of_prompt == [-100] * len(asked)
    require(free, PLANTS["mask"].check, message, idea="F22", case=case, got=labels)
    message = "Tokens of the response are not learned as they are: the mask covers too much, or is shifted."
    end = len(asked) + len(answered)
    require(
        labels[len(asked) : end] == answered,
        PLANTS["mask"].check,
        message,
        idea="mask",
        case=case,
        got=labels,
    )


def check_end(work: Work, rng: np.random.Generator) -> None:
    """An end is learned after a finished response, and after no other."""
    for reason, wanted in (("length", []), ("eos", [1])):
        asked, answered, (ids, labels) = _example(work, rng, reason)
        if _misplaced(asked, answered, ids, labels)[0]:
            continue
        end = len(asked) + len(answered)
        message = "A response that was cut at the length limit is trained with an end, as if it had finished."
        cut = reason == "length" and (ids[end:] or 1 in labels)
        require(not cut, PLANTS["end"].check, message, idea="F25", case=reason, got=labels)
        message = "A finished response lost its end: the policy would never learn to stop."
        if ids[end:] == wanted:
            message = "The end stands among the ids and is not learned: the policy would never learn to stop."
        whole = ids[end:] == wanted and labels[end:] == wanted
        require(whole, PLANTS["end"].check, message, idea="F24", case=reason, got=labels)


def check_seed(work: Work, rng: np.random.Generator) -> None:
    """Every round of every run draws with seeds of its own; the same round draws the same again."""
    asked: dict[int, list[list[int]]] = {}
    for run_seed in (int(rng.integers(3, 50)), 2, 1, 0):
        asked[run_seed] = [_seeds(work, run_seed, number) for number in range(3)]
        _check_rounds(run_seed, list(map(set, asked[run_seed])))
    message = "Two runs with different seeds draw with the same seeds, in one round or another."
    for first, second in itertools.combinations(asked.values(), 2):
        shared = sorted(set().union(*first) & set().union(*second))[:4]
        require(not shared, PLANTS["seed"].check, message, idea="shared", got=shared)
    message = "The same round of the same run draws with other seeds the second time: nobody can repeat it."
    require(_seeds(work, 1, 1) == asked[1][1], PLANTS["seed"].check, message, idea="unseeded")


def _seeds(work: Work, run_seed: int, number: int) -> list[int]:
    """The seeds that a round draws with, in the order in which it asks for them."""
    fakes = Fakes(np.random.default_rng(1))
    _round(work, fakes, run_seed, number)
    return fakes.asked


def _check_rounds(run_seed: int, rounds: Sequence[set[int]]) -> None:
    """No two rounds of a run share a seed."""
    message = (
        "Rounds draw with the same seeds: on prompts that come again, a round would see what it has seen."
    )
    if len(set(map(frozenset, rounds))) == len(rounds):
        message = (
            "Each round begins with another seed, and yet two rounds share seeds: look at what `draw` makes "
            "of the seed for each sample."
        )
    repeated = sorted(next((a & b for a, b in itertools.combinations(rounds, 2) if a & b), ()))[:4]
    case = f"rounds 0 to 2 of the run with seed {run_seed}"
    require(not repeated, PLANTS["seed"].check, message, idea="F20", case=case, got=repeated)


def check_kept(work: Work, rng: np.random.Generator) -> None:
    """Functions that were right: of equal rewards the first is kept, and padding stands right, unlearned."""
    value = float(rng.normal())
    rows = [
        {"prompt": "p7?", "sample": k, "tokens": [53 + k], "finish_reason": "eos", "reward": reward}
        for k, reward in enumerate((value - 1, value, value))
    ]
    kept = work.function("keep_best")(rows)
    message = "`keep_best` was right and is not any more: of equal rewards it keeps the first."
    require(same(kept, [rows[1]]), UNBROKEN, message, idea="broken", got=short(kept))
    examples = [([54, 55, 1], [-100, 55, 1]), ([56, 57, 58, 59], [-100, -100, 58, 59])]
    tables = _tables(work.function("batch")(examples), "batch", 2)
    message = (
        "`batch` was right and is not any more: it pads on the right with 0, and padding is not learned."
    )
    right = [[[54, 55, 1, 0], [56, 57, 58, 59]], [[-100, 55, 1, -100], [-100, -100, 58, 59]]]
    require(tables == right, UNBROKEN, message, idea="broken", got=short(tables))


CHECKS: dict[str, Callable[[Work, np.random.Generator], None]] = {
    "role": check_role,
    "table": check_table,
    "mask": check_mask,
    "end": check_end,
    "seed": check_seed,
    "kept": check_kept,
}


def _as_planted(name: str, work: Work, rng: np.random.Generator) -> bool:
    """Whether the learner's code does just what the planted flaw does: nobody has found it yet."""
    if name == "mask":
        asked, _, (ids, labels) = _example(work, rng, "eos")
        return labels == ids and ids[: len(asked)] == asked
    if name == "role":
        row = {"prompt": "p7?", "sample": 0, "tokens": [ord("5")], "finish_reason": "eos", "reward": 1.0}
        user = {"role": "user"}
        return same(work.function("conversation")(row), [user | {"content": "p7?"}, user | {"content": "5"}])
    asked = []
    for number in (0, 1):
        fakes = Fakes(np.random.default_rng(1))
        _round(work, fakes, 7, number)
        asked.append(fakes.asked)
    return asked[0] == asked[1]


def grade_plant(which: int, work: Work, rng: np.random.Generator) -> None:
    """The flaw of this number is mended, and what was right is right.

    Of a flaw that is still there as it was planted nothing is said but that: its name would be the answer.
    """
    message = (
        "A flaw of the code as it was given is still there. Read each function against its docstring, with "
        "one row in mind."
    )
    require(not _as_planted(PLANTED[which], work, rng), MENDED, message, idea="left")
    CHECKS[PLANTED[which]](work, rng)
    for name, check in CHECKS.items():
        if name not in PLANTED:
            check(work, rng)


def main() -> None:
    """Write the learners' file anew."""
    atomic_write(FILE, flawed(PLANTED) + "\n")


if __name__ == "__main__":
    main()
