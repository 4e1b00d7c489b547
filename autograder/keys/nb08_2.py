"""The solver of exercise 8.2, and teams of every kind.

python -m autograder.keys.nb08_2     writes autograder/handouts/teams.json, which holds teams alone
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from autograder.exercise import CheckFailed, require
from autograder.exercises.artefacts import word_of
from autograder.exercises.calculator import USE
from autograder.handouts import nb08_2
from autograder.handouts.locked import entry
from autograder.handouts.nb08_2 import CHANGES, FILE, LIMITS, Row, Team, larger, packed, teams
from autograder.handouts.nb08_prices import MACHINES, ROOM, STRATEGIES, WEIGHTS
from autograder.keys.written import fields
from autograder.work import Work
from rslib.cache import atomic_write

DECKS = 40
NEAR = 1.25
"""A strategy within this factor of the cheapest one that fits is as good an answer."""
FORM, FITS, HOLDS, DECIDES, FLIPS = (
    "names a strategy, weights, a limit and a change",
    "fits the limits",
    "holds the weights",
    "names the limit",
    "flips",
)


@cache
def rows(team: Team) -> dict[str, Row]:
    """What every strategy takes for a team."""
    return nb08_2.rows(team, USE)


def broken(team: Team, strategy: str) -> set[str]:
    """The limits that a strategy breaks."""
    row = rows(team)[strategy]
    rules = {
        "memory": not row.weights,
        "budget": row.total > team.budget,
        "latency": row.wait > team.wait,
        "permission": strategy != "serve" and not team.trains,
        "skill": strategy in ("rloo", "ppo") and not team.rl,
        "quality": row.wins < team.needed,
    }
    return {limit for limit, is_broken in rules.items() if is_broken}


def acceptable(team: Team) -> set[str]:
    """The strategies that break no limit and cost at most NEAR times the cheapest of those, or {"none"}."""
    fitting = {s: rows(team)[s].total for s in STRATEGIES if not broken(team, s)}
    if not fitting:
        return {"none"}
    return {s for s, total in fitting.items() if total <= NEAR * min(fitting.values())}


FREED: dict[str, Callable[[Team], Team]] = {
    "memory": lambda t: larger(t, float("inf")),
    "budget": lambda t: replace(t, budget=float("inf")),
    "latency": lambda t: replace(t, wait=float("inf")),
    "permission": lambda t: replace(t, trains=True),
    "skill": lambda t: replace(t, rl=True),
    "quality": lambda t: replace(t, needed=0),
}


def deciding(team: Team) -> set[str]:
    """The limits without which the acceptable strategies would be others, or {"none"}."""
    now = acceptable(team)
    return {k for k, free in FREED.items() if acceptable(free(team)) != now} or {"none"}


def flipping(team: Team) -> set[str]:
    """The changes after which nothing that is acceptable now is acceptable any more, or {"nothing"}.

    For a team for which nothing fits these are the changes after which something does.
    """
    now = acceptable(team)
    return {k for k, (_, change) in CHANGES.items() if not acceptable(change(team)) & now} or {"nothing"}


def weights_of(team: Team, strategy: str) -> str:
    """The weights that the answer names: the first of full, lora, 4bit that fits, or "none"."""
    return "none" if strategy == "none" else rows(team)[strategy].weights


# Teams ----------------------------------------------------------------------------------------------------

RANGES: dict[str, dict[str, Any]] = {
    "A support bot": {
        "parameters": (3e9, 8e9, 14e9),
        "comparisons": (2_000, 5_000),
        "trainer": ("one L4", "one H100"),
        "requests": (1e5, 1e6, 1e7, 1e8),
    },
    "A mathematics tutor": {
        "parameters": (3e9, 8e9, 32e9),
        "comparisons": (0,),
        "trainer": ("one L4", "one H100", "eight H100"),
        "requests": (1e5, 1e6, 1e7),
    },
    "An app on the phone": {
        "parameters": (1e9,),
        "judge": (1e9, 8e9),
        "comparisons": (10_000, 20_000),
        "trainer": ("one L4", "one H100"),
        "server": ("a phone",),
        "requests": (1e6, 1e7, 1e8),
    },
    "A hospital": {
        "parameters": (8e9, 32e9, 70e9),
        "comparisons": (1_000, 2_000),
        "label": (5.0, 10.0),
        "trainer": ("one H100", "eight H100"),
        "requests": (1e5, 1e6),
        "trains": (True, False),
    },
    "A law firm": {
        "parameters": (32e9, 70e9),
        "comparisons": (500, 1_000),
        "label": (10.0, 20.0),
        "trainer": ("one H100", "eight H100"),
        "requests": (1e4, 1e5),
    },
    "A shopping search": {
        "parameters": (1e9, 3e9, 8e9),
        "comparisons": (20_000, 50_000),
        "label": (0.25, 0.5),
        "trainer": ("one L4", "one H100"),
        "requests": (1e7, 1e8, 1e9),
    },
}
"""What is drawn for each story. Unless said, a judge is as large as the policy, and the trainer serves."""
ANY: dict[str, Any] = {
    "label": (0.5, 1.0),
    "wait": (1.0, 2.0, 5.0, 30.0),
    "trains": (True, True, True, False),
    "rl": (True, True, False),
    "needed": (55, 58, 60, 62, 65),
    "budget": (10_000.0, 20_000.0, 40_000.0, 80_000.0, 200_000.0),
}


def random_team(rng: np.random.Generator, story: str | None = None) -> Team:
    """Any team of a story, or of any."""
    story = str(rng.choice(list(RANGES))) if story is None else story
    drawn = {k: v[int(rng.integers(len(v)))] for k, v in (ANY | RANGES[story]).items()}
    checked = story == "A mathematics tutor"
    drawn = {"judge": 0.0 if checked else drawn["parameters"], "server": drawn["trainer"]} | drawn
    drawn |= {name: MACHINES[drawn[name]] for name in ("trainer", "server")}
    best = int(rng.integers(62, 73))
    below = (0, rng.integers(3, 12), rng.integers(3, 14), rng.integers(1, 8), rng.integers(0, 5))
    return Team(story=story, wins=tuple(best - int(k) for k in below), **drawn)


def _nothing_fits(team: Team) -> bool:
    single = deciding(team) - {"none"}
    return acceptable(team) == {"none"} and len(single) == 1 and flipping(team) != {"nothing"}


def _is_frozen(team: Team) -> bool:
    return not team.trains and acceptable(team) == {"serve"}


def _cannot_wait(team: Team) -> bool:
    now = acceptable(team)
    return "rs" in now and "serve" not in now and "latency" in deciding(team)


def _is_worth_a_loop(team: Team) -> bool:
    return bool(acceptable(team) & {"rloo", "ppo"})


def _asks_for_wins(team: Team) -> bool:
    able = team.trains and not team.rl and rows(team)["rloo"].weights
    return bool(able) and acceptable(team) != {"none"} and "quality" in deciding(team)


def _is_free(team: Team) -> bool:
    return acceptable(team) != {"none"} and deciding(team) == {"none"} and flipping(team) != {"nothing"}


KINDS = (_nothing_fits, _is_frozen, _cannot_wait, _is_worth_a_loop, _asks_for_wins, _is_free)
"""What a learner's six teams are like, one of each, so that everybody's six are as hard."""


def six(rng: np.random.Generator) -> list[Team]:
    """A team of each kind and of each story; which story has which kind is drawn."""
    stories = rng.permutation(list(RANGES))
    chosen = []
    for kind, story in zip(KINDS, stories, strict=True):
        tries = (random_team(rng, str(story)) for _ in range(2000))
        team = next(filter(kind, tries), None)
        if team is None:  # this story has no such team
            return six(rng)
        chosen.append(team)
    return sorted(chosen, key=lambda team: list(RANGES).index(team.story))


def content() -> list[list[list[Any]]]:
    """What teams.json holds."""
    rng = np.random.default_rng(82)
    return [[packed(team) for team in six(rng)] for _ in range(DECKS)]


# Marking --------------------------------------------------------------------------------------------------


def grade_team(letter: str, work: Work, rng: np.random.Generator) -> None:
    """An acceptable strategy, the weights that fit, a limit that decides, a change that flips."""
    answer = entry(work, "decisions", letter, f"entry for team {letter}", blank=("", "", "", ""))
    words = fields(answer, "strategy", "weights", "limit", "change")
    words = ["none" if word is None else word for word in words] if isinstance(words, list) else []
    good = len(words) == 4 and all(isinstance(word, str) for word in words)
    form = f"decisions[{letter!r}] is (strategy, weights, limit, change), four words of the lists."
    require(good, FORM, form, got=answer)
    lists = ((*STRATEGIES, "none"), (*WEIGHTS, "none"), (*LIMITS, "none"), tuple(CHANGES))
    names = [
        {_bare(name): name for name in known}.get(_bare(word))
        for word, known in zip(words, lists, strict=True)
    ]
    for word, name in zip(words, names, strict=True):
        require(name is not None, FORM, form, got=word)
    strategy, weights, limit, change = names
    decision, team = (strategy, weights, limit, change), teams(work.variant)[letter]
    try:
        _check(decision, team)
    except CheckFailed as failed:
        if not _is_right(decision, replace(team, label=0.0)):
            raise
        message = (
            f"{failed.message} If labels cost nothing, it would be right: they belong to the first year."
        )
        raise CheckFailed(failed.check, message, idea="labels", got=failed.got) from None


def _bare(word: str) -> str:
    """A word without blanks and hyphens, in small letters, a sign of multiplication as an x."""
    return re.sub(r"[*×]", "x", word_of(word)).replace(" ", "")


def _check(decision: tuple[str, str, str, str], team: Team) -> None:
    """CheckFailed where one of the four words is wrong for a team."""
    strategy, weights, limit, change = decision
    _check_strategy(strategy, team)
    _check_weights(weights, strategy, team)
    _check_limit(limit, team)
    _check_change(change, team)


def _is_right(decision: tuple[str, str, str, str], team: Team) -> bool:
    """Whether all four words are right for a team."""
    try:
        _check(decision, team)
    except CheckFailed:
        return False
    return True


def _check_strategy(strategy: str, team: Team) -> None:
    right = acceptable(team)
    if strategy in right:
        return
    if strategy == "none":
        raise CheckFailed(FITS, "There is a strategy that breaks no limit.", idea="gives up", got=strategy)
    limits = [limit for limit in LIMITS if limit in broken(team, strategy)]
    if limits:
        message = f"It breaks a limit: {LIMITS[limits[0]]}."
        if limits[0] == "memory" and "memory" not in broken(larger(team, ROOM), strategy):
            message += " What `memory_gb` says would fit; the machine has to hold a quarter more."
        raise CheckFailed(FITS, message, idea=MISCONCEPTIONS.get(limits[0], limits[0]), got=strategy)
    message = "It fits, and another that fits costs less than four fifths of it in the first year."
    raise CheckFailed(FITS, message, idea="dearer", got=strategy)


MISCONCEPTIONS = {"latency": "F35", "permission": "F01", "skill": "F36"}
"""What leads to a strategy that breaks these limits; of the others the limit is the idea's name."""


def _check_weights(weights: str, strategy: str, team: Team) -> None:
    right = weights_of(team, strategy)
    if weights == right:
        return
    if "none" in (weights, right):
        message = "A strategy has weights, and `none` has none: the two go together."
        raise CheckFailed(HOLDS, message, idea="weights", got=weights)
    if WEIGHTS.index(weights) < WEIGHTS.index(right):
        message = "These weights do not fit the machine, with a quarter more for what else is in memory."
        raise CheckFailed(HOLDS, message, idea="memory", got=weights)
    message = "These fit, and so does an earlier one of full, lora, 4bit."
    raise CheckFailed(HOLDS, message, idea="smaller than needed", got=weights)


def _check_limit(limit: str, team: Team) -> None:
    right = deciding(team)
    if limit == "none":
        message = "There is a limit that decides: without it, other strategies would be acceptable."
        require(limit in right, DECIDES, message, idea="limit", got=limit)
    message = "Without this limit the same strategies would be acceptable, so it is not what decides."
    if acceptable(team) == {"none"}:
        message = "Without this limit still nothing would fit, so it is not what decides."
    require(limit in right, DECIDES, message, idea="limit", got=limit)


def _check_change(change: str, team: Team) -> None:
    now, right = acceptable(team), flipping(team)
    if change == "nothing":
        message = "One of the changes does change the answer."
        if now == {"none"}:
            message = "After one of the changes something fits."
        require(change in right, FLIPS, message, idea="flip", got=change)
    message = "After this change, something that was acceptable still is."
    if now == {"none"}:
        message = "After this change still nothing fits."
    require(change in right, FLIPS, message, idea="flip", got=change)


def main() -> None:
    """Write the learners' file anew."""
    lines = ",\n".join(json.dumps(deck) for deck in content())
    atomic_write(FILE, f"[{lines}]\n")


if __name__ == "__main__":
    main()
