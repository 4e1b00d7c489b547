"""Exercise 3.2: the exact law of best-of-n on a finite set, and what its bounds mean."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from autograder.choice import Option, Question, Sheet, grade_question
from autograder.exercise import Exercise, Idea, Part, Variant, diagnose, require, same
from autograder.exercises.nb03_1 import NEAR, enumerates, refused, steady, untouched
from autograder.work import Work
from rslib import theory

NAME, MEANING = "best_of_n_law", "meaning"
ENUMERATED, TIES, CERTAIN = "agrees with enumeration", "lets ties share by probability", "is a law"
ORDER, ROUNDS, ONE = (
    "uses the order of the rewards alone",
    "two rounds multiply",
    "gives the policy back at n = 1",
)
REFUSES, QUICK = "refuses what has no answer", "needs no list of all draws"
CLOSE = 0.02
"""A probability that is off by less may come from a simulation."""
TOLERANCE = 1e-5
"""Single precision is enough."""
SIMULATED = (
    "The same input gives another law each time: you draw at random. The law has a short formula; no chance "
    "is needed."
)
ENUMERATES = (
    "5 responses and n = 8 take this long: do you go through every sequence of draws? Each draw more makes "
    "it five times as long, and n = 4,000 would never end. Use F to the power n."
)
OTHERWISE = (
    "This is not how often each response is kept when n are drawn and the best is kept. A response is kept "
    "if nothing better was drawn: the chance that all n draws are at most as good as it is F to the power "
    "n."
)


def by_enumeration(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[float]:
    """The definition: every sequence of n draws; the kept one is any of the best draws, with equal chance."""
    law = np.zeros(len(probs))
    for drawn in itertools.product(range(len(probs)), repeat=n):
        top = max(rewards[i] for i in drawn)
        best = [i for i in drawn if rewards[i] == top]
        for i in best:
            law[i] += math.prod(probs[j] for j in drawn) / len(best)
    return np.round(law, 6).tolist()


def _by_index(probs: Sequence[float], rewards: Sequence[float], n: int, *, last: bool) -> list[float]:
    """Ties go to the first, or the last, response of the list."""
    order = np.argsort(rewards, kind="stable")
    if not last:
        order = len(probs) - 1 - np.argsort(np.asarray(rewards)[::-1], kind="stable")
    law = np.zeros(len(probs))
    law[order] = np.diff(np.append(0.0, np.cumsum(np.asarray(probs)[order])) ** n)
    return law.tolist()


def _law(probs: Sequence[float], rewards: Sequence[float], n: int) -> np.ndarray:
    """As by_enumeration, by the engine's formula: the wrong ideas need it a dozen times a case."""
    return theory.exact_best_of_n_law(np.asarray(probs), np.asarray(rewards), n)


def _equal_shares(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[float]:
    law, rewards = _law(probs, rewards, n), np.asarray(rewards)
    return [float(law[rewards == r].mean()) for r in rewards]


def _to_likeliest(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[float]:
    """What the tied get together goes to the one of them that the policy draws most often."""
    law, p, r = _law(probs, rewards, n), np.asarray(probs), np.asarray(rewards)
    found = np.zeros(len(p))
    for reward in set(rewards):
        tied = np.flatnonzero(r == reward)
        found[tied[p[tied].argmax()]] = law[tied].sum()
    return found.tolist()


def _formulas(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[tuple[str, str, list[float]]]:
    """Laws that other formulas give: (idea, message, law)."""
    p, r = np.asarray(probs), np.asarray(rewards)
    upto = np.array([p[r <= x].sum() for x in r])
    density, drawn = n * p * upto ** (n - 1), 1 - (1 - p) ** n
    rare = "n p F^(n-1) is a density: it holds for rewards without steps. Here F jumps."
    seen = (
        "1 - (1 - p)^n is the chance to be drawn at least once. To be kept, a response must also be the best."
    )
    off = "This is the law of n {} 1 draws: look at the exponent."
    sizes = [
        ("n off by one", off.format(s), _law(probs, rewards, m).tolist())
        for s, m in (("-", n - 1), ("+", n + 1))
        if m > 1
    ]
    scaled = [("density", rare, f) for f in (density, density / density.sum())]
    scaled += [("drawn at least once", seen, f) for f in (drawn, drawn / drawn.sum())]
    return [*sizes, *((idea, text, law.tolist()) for idea, text, law in scaled)]


def _ideas(probs: Sequence[float], rewards: Sequence[float], n: int) -> list[Idea]:
    p, r = np.asarray(probs), np.asarray(rewards)
    upto = np.array([p[r <= x].sum() for x in r])
    tie = "Where rewards tie, {} is always kept. A tie is broken at random among the draws."
    own = (
        "Every response of a tie gets F(level)^n - F(below)^n. They have to share it: does your law sum to 1?"
    )
    by_hand = [
        ("F31", tie.format("the last response of the list"), _by_index(probs, rewards, n, last=True)),
        ("F31", tie.format("the first response of the list"), _by_index(probs, rewards, n, last=False)),
        (
            "equal shares",
            "Tied responses get equal shares here. The one that the policy draws more often is kept more "
            "often.",
            _equal_shares(probs, rewards, n),
        ),
        (
            "F31",
            "The likeliest response of a tie gets all that the tie gets. A tie is broken at random among the "
            "draws.",
            _to_likeliest(probs, rewards, n),
        ),
        ("ties counted twice", own, (upto**n - np.array([p[r < x].sum() for x in r]) ** n).tolist()),
        (
            "F03",
            "This is the worst of n. Look at the direction of the sort.",
            _law(probs, -r, n).tolist(),
        ),
        (
            "argmax",
            "Everything goes to the best response. It is kept only if it is drawn.",
            (p * (r == r.max()) / p[r == r.max()].sum()).tolist(),
        ),
        ("policy unchanged", "This is the policy itself: as if n were 1.", p.tolist()),
        (
            "F38",
            "This is p exp(r), scaled: the aim of a KL-penalised objective. Best-of-n knows no scale of r.",
            (p * np.exp(r) / (p * np.exp(r)).sum()).tolist(),
        ),
        (
            "weights F^n",
            "You weigh each response by F^n and scale. The chance to be the best is a difference of two "
            "powers.",
            (upto**n / (upto**n).sum()).tolist(),
        ),
        (
            "without subtraction",
            "F(level)^n is the chance that nothing better was drawn; the response itself need not have been "
            "drawn.",
            (upto**n).tolist(),
        ),
        (
            "sorted order",
            "The numbers are right and stand in the order of the rewards. Give them in the order of the "
            "input.",
            _law(probs, rewards, n)[np.argsort(r, kind="stable")].tolist(),
        ),
    ]
    return [Idea(*idea) for idea in by_hand + _formulas(probs, rewards, n)]


def _case(rng: np.random.Generator, size: int, n: int, *, tied: bool) -> tuple[list[float], list[float], int]:
    """A law, rewards and n on which no wrong idea gives the right answer."""
    while True:
        probs = np.round(rng.dirichlet(np.full(size, 2.0)), 2)
        probs[-1] = round(1 - probs[:-1].sum(), 2)
        rewards = [float(x) for x in np.round(rng.normal(0, 1.5, size), 2)]
        if tied:
            rewards[int(rng.integers(1, size))] = rewards[0]
        found = probs.tolist(), rewards, n
        right, ideas = _law(*found), _ideas(*found)
        clear = [i for i in ideas if not same(i.value, right, 1e-3)]
        if probs.min() > 0.03 and len(clear) >= len(ideas) - (0 if tied else 5):
            return found


def grade_enumeration(work: Work, rng: np.random.Generator) -> None:
    """Small sets without and with a tie."""
    function = work.function(NAME)
    for tied, n in ((False, 3), (False, 2), (True, 2), (True, 3)):
        probs, rewards, n = _case(rng, 4, n, tied=tied)
        if not tied and list(rewards) == sorted(rewards):
            rewards, probs = rewards[::-1], probs[::-1]
        check, right = TIES if tied else ENUMERATED, by_enumeration(probs, rewards, n)
        got = steady(function, check, SIMULATED, "simulated", probs, rewards, n)
        diagnose(
            check,
            got,
            right,
            ideas=_ideas(probs, rewards, n),
            otherwise=NEAR if same(got, right, CLOSE) else OTHERWISE,
            tolerance=TOLERANCE,
            case=f"{NAME}({probs}, {rewards}, {n})",
        )
        for kind in (list, np.array):
            untouched(work, NAME, kind(probs), kind(rewards), n)


def grade_rules(work: Work, rng: np.random.Generator) -> None:
    """The end n = 1, monotone transforms, permutations, two rounds, empty levels, and refusals."""
    function = work.function(NAME)
    probs, rewards, n = _case(rng, 5, int(rng.integers(2, 4)), tied=True)
    first = function(probs, rewards, n)
    diagnose(
        ONE, function(probs, rewards, 1), probs, otherwise="Best of one is one draw.", tolerance=TOLERANCE
    )
    listed = enumerates(work, function, probs, rewards, 8)
    require(not listed, QUICK, ENUMERATES, idea="enumeration", case="5 responses, n = 8, timed")
    _grade_order(function, probs, rewards, n, first)
    twice = function(np.asarray(function(probs, rewards, 4), float).tolist(), rewards, 4)
    diagnose(
        ROUNDS,
        twice,
        function(probs, rewards, 16),
        ideas=[Idea("rounds add", "Two rounds of 4 come out as one of 8.", function(probs, rewards, 8))],
        otherwise="Best-of-4 of a best-of-4 policy must be best-of-16: F becomes F^4, and then F^16.",
        tolerance=TOLERANCE,
        case=f"best-of-4 twice, {rewards}",
        reveal=False,
    )
    _grade_corners(function, rng)


def _grade_order(function: Callable, probs: list[float], rewards: list[float], n: int, first: object) -> None:
    stretched = [float(np.exp(r) + 3 * r) for r in rewards]
    diagnose(
        ORDER,
        function(probs, stretched, n),
        first,
        otherwise=Idea(
            "F38",
            "A monotone change of the rewards changed your law. Best-of-n only asks which is larger.",
            None,
        ),
        tolerance=TOLERANCE,
        case=f"rewards {rewards}, then exp(r) + 3 r",
        reveal=False,
    )
    back = np.asarray(function(probs[::-1], rewards[::-1], n), float)[::-1]
    diagnose(
        ORDER,
        back.tolist(),
        first,
        otherwise=Idea("F31", "The same set in the reverse order gave another law.", None),
        tolerance=TOLERANCE,
        case=f"{NAME}({probs}, {rewards}, {n}) and reversed",
        reveal=False,
    )


def _grade_corners(function: Callable, rng: np.random.Generator) -> None:
    p = float(rng.uniform(0.2, 0.6))
    for probs, rewards, n, expected, what in (
        (
            [p, 1 - p, 0.0],
            [0.0, 1.0, 2.0],
            3,
            [p**3, 1 - p**3, 0.0],
            "A response that the policy never draws is never kept.",
        ),
        ([p, 1 - p], [2.0, 2.0], 5, [p, 1 - p], "All rewards are equal: nothing is selected."),
        ([1.0], [0.5], 4, [1.0], "One response alone is always kept."),
        ([0.99, 0.01], [0.0, 1.0], 4000, [0.0, 1.0], "With thousands of draws the best response is certain."),
    ):
        diagnose(
            CERTAIN,
            function(probs, rewards, n),
            expected,
            otherwise=what,
            tolerance=TOLERANCE,
            case=f"{NAME}({probs}, {rewards}, {n})",
        )
    for rewards, n, why, idea in (
        ([0.0, math.nan], 2, "A NaN compares false with everything.", "F32"),
        ([0.0, 1.0], 0, "The best of no draw does not exist.", "n < 1"),
    ):
        require(
            refused(function, [0.5, 0.5], rewards, n),
            REFUSES,
            f"{why} Raise a ValueError that says so.",
            idea=idea,
            case=f"{NAME}([0.5, 0.5], {rewards}, {n})",
            expected="ValueError",
        )


QUESTIONS = (
    Question(
        "a",
        "A reward model gives 1 to the 30 % of responses that pass a check and 0 to the rest. How far is "
        "best-of-1024 from the policy, as KL?",
        (
            Option("About 1.2 nats"),
            Option(
                "About 5.9 nats",
                "F39",
                "That is log n - (n - 1) / n at n = 1024, which takes for granted that no two rewards tie.",
            ),
            Option(
                "About 6.9 nats",
                "log n",
                "That is log n alone: it would need a single best response that is one in thousands.",
            ),
            Option(
                "0 nats, for rewards that take two values only",
                "F42",
                "Selection still happens: responses with reward 0 all but vanish.",
            ),
        ),
        (
            Option("Once some draw passes, further draws change nothing, so the formula is an upper bound."),
            Option(
                "The formula log n - (n - 1) / n holds with equality for every reward model and every "
                "policy.",
                "F39",
                "It is reached only without ties, and with no response of a probability worth speaking of.",
            ),
            Option(
                "With 1024 draws the kept response has a probability near 1 / 1024 under the policy.",
                "log n",
                "Here each passing response keeps its share of 30 %: nothing rare is being kept.",
            ),
            Option(
                "KL counts new responses only, and selection never writes a response of its own.",
                "support",
                "KL compares probabilities, and those of the passing responses have grown.",
            ),
        ),
    ),
    Question(
        "b",
        "A team serves best-of-16 and plans best-of-1000. No two of its rewards ever tie. Against one fresh "
        "response, as the reward model judges, how much can it gain?",
        (
            Option("Less than 6 points of win rate"),
            Option(
                "About 62 times the win rate",
                "F14",
                "Cost grows in proportion to n. A win rate cannot: it ends at 1.",
            ),
            Option(
                "As much again as 16 bought over 1",
                "log n",
                "Compare n / (n + 1) at 1, 16 and 1000: the first sixteen bought nearly all there is.",
            ),
            Option(
                "Nothing: a win rate cannot depend on n",
                "F05",
                "From n = 1 to n = 16 it goes from one half to 16/17.",
            ),
        ),
        (
            Option("The win rate is n / (n + 1), while the bill grows in proportion to n itself."),
            Option(
                "The reward of the best grows in proportion to n, and so does the bill.",
                "F14",
                "Look at the curve of this notebook: each doubling buys less.",
            ),
            Option(
                "The win rate is 1 - 1 / n: the fresh response is one of the n that were drawn.",
                "F39",
                "The fresh response is drawn besides the n, and has its chance to be the best of n + 1.",
            ),
            Option(
                "More responses are free, since the reward model reads them and writes none.",
                "F35",
                "The policy writes every one of them, for every request, and the reward model reads them "
                "all.",
            ),
        ),
    ),
    Question(
        "c",
        "Take the law that maximises mean reward - beta x KL(law || policy), which RLHF with PPO aims at, "
        "and best-of-n with the same KL. What is true?",
        (
            Option("The first has at least the mean reward of the second."),
            Option(
                "They are one and the same law, since their KL is the same.",
                "F38",
                "A KL is one number; many laws share it. Compare p exp(r / beta) with a difference of "
                "powers of F.",
            ),
            Option(
                "The second has the higher mean reward, since it takes a maximum.",
                "F38",
                "No law of that KL can beat the maximiser of mean reward minus beta times KL.",
            ),
            Option(
                "Neither can be said to have a KL, since one of them selects.",
                "F36",
                "Both are laws over responses, and every law over the same responses has a KL to the policy.",
            ),
        ),
        (
            Option("It is p exp(r / beta) and feels the scale of r; best-of-n does not."),
            Option(
                "Taking a maximum and training on a reward are two ways to reach one law.",
                "F38",
                "They meet in limits only. Multiply the rewards by ten: one law moves, the other does not.",
            ),
            Option(
                "Best-of-n also uses the size of the rewards, through its average over draws.",
                "F33",
                "Best-of-n asks which draw is highest; by how much plays no part.",
            ),
            Option(
                "Training on a reward needs no policy to start from, so that its KL is free.",
                "F36",
                "The KL to the starting policy is a term of that objective, weighed by beta.",
            ),
        ),
    ),
    Question(
        "d",
        "Llama 2's authors compare rejection sampling with PPO in breadth and in depth. What do they mean "
        "by breadth?",
        (
            Option("How many responses to one prompt are looked at"),
            Option(
                "How many different prompts the training set contains",
                "breadth",
                "Both methods can see the same prompts; the difference lies within one prompt.",
            ),
            Option(
                "How many tokens a response may have before it is cut",
                "breadth",
                "The length limit is a setting of the sampler and says nothing about the method.",
            ),
            Option(
                "How many parameters the fine-tuned policy has",
                "breadth",
                "Both methods were run on policies of the same size.",
            ),
        ),
        (
            Option("Rejection sampling draws K responses to each prompt, where PPO draws one response."),
            Option(
                "PPO draws K responses per prompt in order to estimate how good the average response is.",
                "F36",
                "PPO learns a value function for that, and draws one response per prompt.",
            ),
            Option(
                "Rejection sampling updates its policy after every response, PPO only once in a round.",
                "F19",
                "It is the other way round: within a round, rejection sampling draws from one fixed policy.",
            ),
            Option(
                "Rejection sampling keeps K responses per prompt and trains on all of them.",
                "F02",
                "It draws K and keeps the best; keeping them all would select nothing.",
            ),
        ),
    ),
    Question(
        "e",
        "Two rounds of best-of-16, each learned without any error, equal best-of-n in one go. Which n?",
        (
            Option("n = 256"),
            Option(
                "n = 32",
                "rounds add",
                "The second round starts from a policy that is already the best of 16: every draw stands "
                "for sixteen.",
            ),
            Option(
                "n = 16",
                "F19",
                "Selecting again from the old responses changes nothing; fresh ones come from a better "
                "policy.",
            ),
            Option("No n does it", "F38", "On a finite set it is exact, and your own function shows it."),
        ),
        (
            Option("A round turns F, the reward's distribution, into F to the power 16."),
            Option(
                "Each round adds sixteen responses to the pool that is chosen from.",
                "rounds add",
                "The first sixteen are not kept for the second round; the policy that they taught is.",
            ),
            Option(
                "Each round selects once more from the responses of the first round.",
                "F19",
                "These would be stale samples. Fresh ones are drawn from the new policy.",
            ),
            Option(
                "Each round doubles the mean reward, whatever the policy was like.",
                "F14",
                "A mean reward has no natural zero, so doubling it means nothing.",
            ),
        ),
    ),
    Question(
        "f",
        "A team ships best-of-16: the policy writes 16 responses to each request and the reward model picks "
        "one. What has changed in the policy's weights?",
        (
            Option("Nothing"),
            Option(
                "They are a little nearer to the reward model's",
                "F01",
                "The two models have weights of their own, and here neither is trained.",
            ),
            Option(
                "They were tuned on the best responses",
                "F35",
                "That is the other method: keep the best, then fine-tune. Serving stops at the choice.",
            ),
            Option(
                "They moved by 1.84 nats",
                "F39",
                "That bounds how far the served responses are from the policy. No weight has moved.",
            ),
        ),
        (
            Option("Choosing trains nothing, so every request pays for 16 again."),
            Option(
                "The reward's gradient flows into the policy each time a response is chosen.",
                "F37",
                "A choice among finished texts has no gradient, and no optimiser is running.",
            ),
            Option(
                "Fine-tuning on what users saw is a part of best-of-n at serving time.",
                "F35",
                "It would be a second step, which the team did not take.",
            ),
            Option(
                "A policy learns from the responses that it was not allowed to show.",
                "F44",
                "Nothing is learned from them: they are thrown away.",
            ),
        ),
    ),
)


def sheet(variant: Variant) -> Sheet:
    """The questions in this learner's order."""
    return Sheet("3.2", QUESTIONS, variant)


EXERCISE = Exercise(
    "3.2",
    "The law of best-of-n, and what its bounds mean",
    3,
    15,
    (MEANING, NAME),
    (
        *(Part(f"question {q.id}", 0.5, partial(grade_question, q, MEANING)) for q in QUESTIONS),
        Part("agrees with enumeration", 1.0, grade_enumeration),
        Part("obeys its rules", 1.0, grade_rules),
    ),
    given=sheet,
)
