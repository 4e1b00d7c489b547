"""Exercise 8.1: memory, computation, money, and when serving the best of n costs more than one round.

The rules are counted on paper. FLOPs: 2 per parameter and token that is read or drawn, 6 per parameter and
token that is trained on (Kaplan et al. 2020, arXiv 2001.08361, section 2.1). Memory: 2 bytes a parameter of
a model that only reads, in bfloat16; 16 of one that is trained with Adam in mixed precision (weights 2,
gradients 2, a float32 copy with two moments 12; Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from autograder.checks import refuses
from autograder.exercise import Exercise, Misconception, Part, diagnose, require
from autograder.work import Work

READS, TRAINS = 2, 16
"""Bytes a parameter."""
RESIDENT = {"serve": (2, 0), "rs": (0, 1), "dpo": (1, 1), "rloo": (2, 1), "ppo": (2, 2)}
"""Models that only read, and that are trained, in memory at once. Rejection sampling works in stages."""
STRATEGIES = tuple(RESIDENT)

MEMORY, FLOPS, MONEY, EVEN = (
    "adds up the models",
    "adds up the passes",
    "turns FLOPs into money",
    "breaks even",
)
REFUSES, EDGES = "refuses what makes no sense", "copes with nothing"


def memory_gb(parameters: float, strategy: str) -> float:
    """Gigabytes (1e9 bytes) of weights, gradients and optimiser at the fullest moment.

    >>> memory_gb(7e9, "rs"), memory_gb(7e9, "ppo"), memory_gb(7e9, "serve")
    (112.0, 252.0, 28.0)
    """
    reading, trained = RESIDENT[strategy]
    return parameters * (READS * reading + TRAINS * trained) / 1e9


def training_flops(
    parameters: float, tokens: float, prompts: int, n: int, epochs: int, strategy: str
) -> float:
    """FLOPs of tuning once: n responses to each prompt, `tokens` in prompt and response together.

    All strategies draw and score n responses, 2 + 2. Then `rs` trains on one of them; `dpo` on two, and reads
    both once under the reference; `rloo` trains once on all n and reads them under the reference; `ppo` too,
    with a value model that is read and trained alike, all `epochs` times.

    >>> [training_flops(1, 1, 1, 16, 1, name) for name in ("serve", "rs", "dpo", "rloo", "ppo")]
    [0, 70, 80, 192, 320]
    """
    passes = {
        "serve": 0,
        "rs": 4 * n + 6 * epochs,
        "dpo": 4 * n + 2 * (6 * epochs + 2),
        "rloo": n * (4 + 2 + 6),
        "ppo": n * (4 + 2 + 2 + 12 * epochs),
    }
    return passes[strategy] * parameters * tokens * prompts


def cost(flops: float, peak_flops: float, utilisation: float, price_per_hour: float) -> float:
    """What the computation costs on a machine that reaches a share of its peak.

    >>> cost(3.6e18, 1e15, 0.5, 2.0)
    4.0
    """
    return flops / (peak_flops * utilisation) / 3600 * price_per_hour


def break_even_requests(prompts: int, n: int, epochs: int) -> float:
    """Requests after which serving the best of n has cost more than one round of rejection sampling.

    A request costs 2 + 2 for each of n responses, against 2 for the single response of the tuned policy.

    >>> break_even_requests(1000, 16, 3), break_even_requests(0, 16, 3)
    (1322.5806451612902, 0.0)
    """
    return prompts * (4 * n + 6 * epochs) / (4 * n - 2)


def _number(found: Any, check: str) -> float:
    plain = isinstance(found, int | float | np.number) and not isinstance(found, bool)
    require(plain, check, "One number is asked for.", got=found)
    return float(found)


def grade_memory(work: Work, rng: np.random.Generator) -> None:
    """Every strategy; nothing; an unknown name."""
    function, size = work.function("memory_gb"), float(rng.integers(1, 80)) * 1e9
    for strategy, (reading, trained) in RESIDENT.items():
        right, per = memory_gb(size, strategy), size / 1e9
        ideas = [
            Misconception(
                "no optimiser",
                "Gradients and the optimiser are missing: a trained model takes 16 bytes a parameter.",
                per * 2 * (reading + trained),
            ),
            Misconception(
                "no reading",
                "The models that only read are missing: reference, reward model.",
                per * 16 * trained,
            ),
            Misconception(
                "all at once",
                "Rejection sampling works in stages: the reward model is gone when training begins.",
                per * (2 + 16),
            ),
            Misconception(
                "all trained",
                "Reference and reward model are never trained: 2 bytes each.",
                per * 16 * (reading + trained),
            ),
            Misconception("unit", "A gigabyte is 1e9 bytes here.", right * 1e9 / 2**30),
            Misconception("unit", "These are bytes.", right * 1e9),
            Misconception(
                "float32",
                "The models that read are in bfloat16, 2 bytes.",
                per * (4 * reading + 16 * trained),
            ),
            Misconception(
                "value model",
                "PPO trains a second model, the value model.",
                per * (2 * (reading + 1) + 16),
            ),
        ]
        found = _number(function(size, strategy), MEMORY)
        diagnose(
            MEMORY,
            found,
            right,
            ideas=ideas,
            otherwise="Count the models that read and those that are trained.",
            tolerance=1e-6,
            case=f"{strategy}, {size:g} parameters",
        )
    require(
        _number(function(0, "ppo"), EDGES) == 0, EDGES, "No parameters take no memory.", case="0 parameters"
    )
    _refuses(function, (size, "sft"), "An unknown strategy has no memory that anyone knows.")


def _refuses(function: Callable[..., Any], args: tuple, why: str) -> None:
    message = f"{why} Raise a ValueError that says so."
    require(refuses(function, *args), REFUSES, message, idea="silent", case=str(args), expected="ValueError")


def _flops_ideas(
    sizes: tuple[float, float, int, int, int], strategy: str, right: float
) -> list[Misconception]:
    size, tokens, prompts, n, epochs = sizes
    each = size * tokens * prompts
    one_epoch = training_flops(size, tokens, prompts, n, 1, strategy)
    one_response = training_flops(size, tokens, prompts, 1, epochs, strategy)
    unread = 4 * each if strategy == "dpo" else 2 * n * each
    ideas = [
        Misconception("no scoring", "Scoring reads every response once more, at 2.", right - 2 * n * each),
        Misconception(
            "no sampling", "Responses are drawn and scored before the training.", right - 4 * n * each
        ),
        Misconception("epochs", "The epochs are not counted.", one_epoch),
        Misconception("n", "Only one response per prompt is drawn and scored here.", one_response),
        Misconception(
            "trains on all", "One response of a prompt is trained on.", each * (4 * n + 6 * epochs * n)
        ),
        Misconception("no reference", "The reference reads as well.", right - unread),
        Misconception(
            "no value model", "The value model works as the policy does.", each * n * (6 + 6 * epochs)
        ),
        Misconception("prompts", "This is one prompt.", right / prompts),
    ]
    return [idea for idea in ideas if not math.isclose(idea.value, right, rel_tol=1e-9)]


def grade_flops(work: Work, rng: np.random.Generator) -> None:
    """Every strategy with drawn sizes; nothing; the best of nothing."""
    function = work.function("training_flops")
    size, tokens = float(rng.integers(1, 9)) * 1e9, float(rng.integers(200, 900))
    prompts, n, epochs = int(rng.integers(500, 5000)), int(rng.choice([4, 8, 16])), int(rng.integers(2, 5))
    sizes = (size, tokens, prompts, n, epochs)
    for strategy in STRATEGIES:
        right = training_flops(*sizes, strategy)
        diagnose(
            FLOPS,
            _number(function(*sizes, strategy), FLOPS),
            right,
            ideas=_flops_ideas(sizes, strategy, right),
            otherwise="Count the passes of the table.",
            tolerance=1e-6,
            case=f"{strategy}: size {size:g}, tokens {tokens:g}, prompts {prompts}, n {n}, epochs {epochs}",
        )
    nothing = _number(function(size, tokens, 0, n, epochs, "ppo"), EDGES)
    require(nothing == 0, EDGES, "No prompts cost nothing.", case="0 prompts", got=nothing)
    _refuses(function, (size, tokens, prompts, 0, epochs, "rs"), "Nobody keeps the best of 0.")


def grade_money(work: Work, rng: np.random.Generator) -> None:
    """FLOPs over what the machine really does, in hours, times the price."""
    function = work.function("cost")
    flops, peak = float(rng.uniform(1, 9)) * 1e19, float(rng.integers(2, 10)) * 1e14
    share, price = float(rng.uniform(0.2, 0.5)), float(rng.uniform(1, 4))
    right = cost(flops, peak, share, price)
    ideas = [
        Misconception("seconds", "The price is per hour, and these are seconds.", right * 3600),
        Misconception(
            "utilisation", "No machine reaches its peak: the utilisation is missing.", right * share
        ),
        Misconception("utilisation", "A low utilisation makes it dearer, not cheaper.", right * share**2),
        Misconception("minutes", "An hour has 3600 seconds.", right * 60),
        Misconception("price", "The price is missing: these are hours.", right / price),
    ]
    found = _number(function(flops, peak, share, price), MONEY)
    diagnose(MONEY, found, right, ideas=ideas, otherwise="Seconds, hours, money.", tolerance=1e-6)
    free = _number(function(flops, peak, share, 0.0), EDGES)
    require(free == 0, EDGES, "A machine that costs nothing computes for nothing.", case="price 0", got=free)
    _refuses(function, (flops, peak, 0.0, price), "A machine of which nothing is used never ends.")


def grade_even(work: Work, rng: np.random.Generator) -> None:
    """Training once against paying n at every request."""
    function = work.function("break_even_requests")
    prompts, n, epochs = (
        int(rng.integers(500, 9000)),
        int(rng.choice([4, 8, 16, 32])),
        int(rng.integers(1, 5)),
    )
    right = break_even_requests(prompts, n, epochs)
    train = prompts * (4 * n + 6 * epochs)
    ideas = [
        Misconception(
            "tuned is not free",
            "The tuned policy also has to answer: the difference counts.",
            train / (4 * n),
        ),
        Misconception("no scoring", "At serving every response is scored too.", train / (2 * n - 2)),
        Misconception(
            "no sampling",
            "The round draws and scores n responses to each prompt before it trains.",
            prompts * 6 * epochs / (4 * n - 2),
        ),
        Misconception(
            "upside down",
            "This is requests per prompt the wrong way round.",
            prompts * (4 * n - 2) / (4 * n + 6 * epochs),
        ),
        Misconception("one request", "This is one prompt of training.", right / prompts),
        Misconception(
            "trains on all",
            "One response of each prompt is trained on.",
            prompts * (4 * n + 6 * n * epochs) / (4 * n - 2),
        ),
    ]
    found = _number(function(prompts, n, epochs), EVEN)
    case = f"{prompts} prompts, n {n}, {epochs} epochs"
    diagnose(
        EVEN,
        found,
        right,
        ideas=ideas,
        otherwise="Training once = requests * the extra cost of each.",
        tolerance=1e-6,
        case=case,
    )
    none = _number(function(0, n, epochs), EDGES)
    require(
        none == 0, EDGES, "A round without prompts has paid itself back at once.", case="0 prompts", got=none
    )
    single = _number(function(prompts, 1, epochs), EVEN)
    message = (
        "With n = 1 one response is drawn and scored. Scoring alone still costs 2 more than the tuned policy."
    )
    require(
        math.isclose(single, break_even_requests(prompts, 1, epochs)), EVEN, message, idea="n = 1", got=single
    )


EXERCISE = Exercise(
    "8.1",
    "The calculator",
    2,
    15,
    ("memory_gb", "training_flops", "cost", "break_even_requests"),
    (
        Part("memory", 0.75, grade_memory),
        Part("computation", 1.0, grade_flops),
        Part("money", 0.5, grade_money),
        Part("break-even", 0.75, grade_even),
    ),
)
