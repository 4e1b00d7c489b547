"""Exercise 8.1: memory, computation, money, and when serving the best of n costs more than one round."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from autograder.checks import Agrees, Corner, Ideas, Refuses, Rng, graded
from autograder.exercise import Exercise, Part, require
from autograder.exercises import calculator
from autograder.exercises.calculator import RESIDENT, STRATEGIES

IDEAS = Ideas("""
memory (): Count the models that read and those that are trained.
no optimiser: Gradients and the optimiser are missing: a trained model takes 16 bytes a parameter.
no reading: The models that only read are missing: reference, reward model.
all at once: Rejection sampling works in stages: the reward model is gone when training begins.
all trained: Reference and reward model are never trained: 2 bytes each.
gigabyte (unit): A gigabyte is 1e9 bytes here.
bytes (unit): These are bytes.
float32: The models that read are in bfloat16, 2 bytes.
value model: PPO trains a second model, the value model.
no parameters (): No parameters take no memory.
unknown (silent): An unknown strategy has no memory that anyone knows. Raise a ValueError that says so.

passes (): Count the passes of the table.
unscored (no scoring): Scoring reads every response once more, at 2.
undrawn (no sampling): Responses are drawn and scored before the training.
epochs: The epochs are not counted.
n: Only one response per prompt is drawn and scored here.
trains on all: One response of a prompt is trained on.
no reference: The reference reads as well.
no value model: The value model works as the policy does.
prompts: This is one prompt.
no prompts (): No prompts cost nothing.
n = 0 (silent): Nobody keeps the best of 0. Raise a ValueError that says so.

money (): Seconds, hours, money.
seconds: The price is per hour, and these are seconds.
utilisation: No machine reaches its peak: the utilisation is missing.
cheaper (utilisation): A low utilisation makes it dearer, not cheaper.
minutes: An hour has 3600 seconds.
price: The price is missing: these are hours.
free (): A machine that costs nothing computes for nothing.
unused (silent): A machine of which nothing is used never ends. Raise a ValueError that says so.

even (): Training once = requests * the extra cost of each.
tuned is not free: The tuned policy also has to answer: the difference counts.
served unscored (no scoring): At serving every response is scored too.
no sampling: The round draws and scores n responses to each prompt before it trains.
upside down: This is requests per prompt the wrong way round.
one request: This is one prompt of training.
tuned on all (trains on all): One response of each prompt is trained on.
no round (): A round without prompts has paid itself back at once.
n = 1: With n = 1 one response is drawn and scored. Scoring alone still costs 2 more than the tuned policy.
""")
REFUSES, NOTHING = "refuses what makes no sense", "copes with nothing"


def number(check: str) -> Callable[..., float]:
    """What turns a result into a float; it fails this check where it is no number."""

    def of(result: Any, *_: Any) -> float:
        plain = isinstance(result, int | float | np.number) and not isinstance(result, bool)
        require(plain, check, "One number is asked for.", got=result)
        return float(result)

    return of


def agrees(check: str, *args: Any) -> Agrees:
    """Agrees on one number, to a millionth."""
    return Agrees(check, *args, tolerance=1e-6, of=number(check))


def costs_nothing(otherwise: str, *args: Any) -> Corner:
    """The check that the answer is 0."""
    return Corner(NOTHING, args, 0.0, otherwise, tolerance=0.0, of=number(NOTHING))


# Memory ---------------------------------------------------------------------------------------------------


def size(rng: Rng, *, strategy: str) -> tuple[float, str]:
    """Parameters of a model, and the strategy."""
    return float(rng.integers(1, 80)) * 1e9, strategy


def memory_slips(parameters: float, strategy: str) -> dict[str, float]:
    """What wrong sums of models give, in gigabytes."""
    (reading, trained), each = RESIDENT[strategy], parameters / 1e9
    right = calculator.memory_gb(parameters, strategy)
    return {
        "no optimiser": each * 2 * (reading + trained),
        "no reading": each * 16 * trained,
        "all at once": each * (2 + 16),
        "all trained": each * 16 * (reading + trained),
        "gigabyte": right * 1e9 / 2**30,
        "bytes": right * 1e9,
        "float32": each * (4 * reading + 16 * trained),
        "value model": each * (2 * (reading + 1) + 16),
    }


# Computation ----------------------------------------------------------------------------------------------

Sizes = tuple[float, float, int, int, int, str]


def sizes(rng: Rng, *, strategy: str) -> Sizes:
    """Parameters, tokens, prompts, n, epochs and the strategy."""
    parameters, tokens = float(rng.integers(1, 9)) * 1e9, float(rng.integers(200, 900))
    prompts, n, epochs = int(rng.integers(500, 5000)), int(rng.choice([4, 8, 16])), int(rng.integers(2, 5))
    return parameters, tokens, prompts, n, epochs, strategy


def flops_slips(
    parameters: float, tokens: float, prompts: int, n: int, epochs: int, strategy: str
) -> dict[str, float]:
    """What wrong counts of passes give."""
    each = parameters * tokens * prompts
    right = calculator.training_flops(parameters, tokens, prompts, n, epochs, strategy)
    return {
        "unscored": right - 2 * n * each,
        "undrawn": right - 4 * n * each,
        "epochs": calculator.training_flops(parameters, tokens, prompts, n, 1, strategy),
        "n": calculator.training_flops(parameters, tokens, prompts, 1, epochs, strategy),
        "trains on all": each * (4 * n + 6 * epochs * n),
        "no reference": right - (4 if strategy == "dpo" else 2 * n) * each,
        "no value model": each * n * (6 + 6 * epochs),
        "prompts": right / prompts,
    }


# Money, and serving against training ----------------------------------------------------------------------


def machine(rng: Rng) -> tuple[float, float, float, float]:
    """FLOPs, peak, utilisation, price an hour."""
    flops, peak = float(rng.uniform(1, 9)) * 1e19, float(rng.integers(2, 10)) * 1e14
    return flops, peak, float(rng.uniform(0.2, 0.5)), float(rng.uniform(1, 4))


def cost_slips(flops: float, peak: float, utilisation: float, price: float) -> dict[str, float]:
    """What wrong units give, and a utilisation that is forgotten or turned."""
    right = calculator.cost(flops, peak, utilisation, price)
    return {
        "seconds": right * 3600,
        "utilisation": right * utilisation,
        "cheaper": right * utilisation**2,
        "minutes": right * 60,
        "price": right / price,
    }


def round_sizes(rng: Rng) -> tuple[int, int, int]:
    """Prompts, n, epochs."""
    return int(rng.integers(500, 9000)), int(rng.choice([4, 8, 16, 32])), int(rng.integers(1, 5))


def even_slips(prompts: int, n: int, epochs: int) -> dict[str, float]:
    """What wrong costs of a request, or of the round, give."""
    training, extra = prompts * (4 * n + 6 * epochs), 4 * n - 2
    return {
        "tuned is not free": training / (4 * n),
        "served unscored": training / (2 * n - 2),
        "no sampling": prompts * 6 * epochs / extra,
        "upside down": prompts * extra / (4 * n + 6 * epochs),
        "one request": training / extra / prompts,
        "tuned on all": prompts * (4 * n + 6 * n * epochs) / extra,
    }


# The exercise ---------------------------------------------------------------------------------------------

MEMORY, FLOPS, MONEY, EVEN = (
    "adds up the models",
    "adds up the passes",
    "turns FLOPs into money",
    "breaks even",
)
grade_memory = graded(
    "memory_gb",
    IDEAS,
    *(
        agrees(MEMORY, partial(size, strategy=strategy), calculator.memory_gb, "memory", memory_slips)
        for strategy in STRATEGIES
    ),
    costs_nothing("no parameters", 0, "ppo"),
    Refuses(REFUSES, (7e9, "sft"), "unknown"),
)
grade_flops = graded(
    "training_flops",
    IDEAS,
    *(
        agrees(FLOPS, partial(sizes, strategy=strategy), calculator.training_flops, "passes", flops_slips)
        for strategy in STRATEGIES
    ),
    costs_nothing("no prompts", 7e9, 500.0, 0, 8, 2, "ppo"),
    Refuses(REFUSES, (7e9, 500.0, 1000, 0, 2, "rs"), "n = 0"),
)
grade_cost = graded(
    "cost",
    IDEAS,
    agrees(MONEY, machine, calculator.cost, "money", cost_slips),
    costs_nothing("free", 3e19, 5e14, 0.4, 0.0),
    Refuses(REFUSES, (3e19, 5e14, 0.0, 2.0), "unused"),
)
grade_even = graded(
    "break_even_requests",
    IDEAS,
    agrees(EVEN, round_sizes, calculator.break_even_requests, "even", even_slips),
    costs_nothing("no round", 0, 8, 2),
    Corner(EVEN, (3000, 1, 2), calculator.break_even_requests(3000, 1, 2), "n = 1", 1e-9, number(EVEN)),
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
        Part("money", 0.5, grade_cost),
        Part("break-even", 0.75, grade_even),
    ),
)
