"""What a strategy takes, counted on paper: memory, FLOPs, dollars, waiting, and when serving costs more.

The bytes and FLOPs a parameter, with their sources, are in `autograder.handouts.nb08_prices`. `parameters`
are the policy's, `judge` the reward model's: 0 where a program judges. `weights` is full, lora or 4bit.
"""

from __future__ import annotations

import math

from autograder.handouts.nb08_2 import Calculator
from autograder.handouts.nb08_prices import PRICES, READS, TRAINED

TRAINING = {"full": 6, "lora": 4, "4bit": 4}
"""FLOPs a parameter and token that is trained on."""
DRAWING, WORKING = PRICES.drawing, PRICES.working
"""Shares of a machine's peak that are reached."""


def memory_gb(parameters: float, judge: float, strategy: str, weights: str) -> float:
    """Gigabytes (1e9 bytes) of weights, gradients and optimiser at the fullest moment.

    Rejection sampling and DPO draw and score before they train. Adapters that are switched off leave the
    reference: only `full` holds one of its own.

    >>> from autograder.handouts.nb08_prices import STRATEGIES
    >>> [memory_gb(7e9, 7e9, name, "full") for name in STRATEGIES]
    [28.0, 112.0, 126.0, 140.0, 252.0]
    >>> [round(memory_gb(7e9, 0, name, "4bit"), 2) for name in STRATEGIES]
    [3.64, 4.34, 4.34, 4.34, 8.68]
    """
    policy, scorer, trained = (
        parameters * READS[weights],
        judge * READS[weights],
        parameters * TRAINED[weights],
    )
    reference = policy if weights == "full" else 0.0
    held = {
        "serve": policy + scorer,
        "rs": max(trained, scorer),
        "dpo": max(reference + trained, scorer),
        "rloo": reference + scorer + trained,
        "ppo": reference + scorer + 2 * trained,
    }
    return held[strategy] / 1e9


def tuning_flops(
    parameters: float,
    judge: float,
    tokens: float,
    prompts: int,
    n: int,
    epochs: int,
    strategy: str,
    weights: str,
) -> tuple[float, float]:
    """FLOPs of tuning once: those of drawing, and those of reading and training.

    `tokens` are those of a prompt and its response. All strategies draw and score n responses to a prompt.
    Then `rs` trains on one of them; `dpo` on two, and reads both once under the reference; `rloo` trains once
    on all n and reads them under the reference; `ppo` too, with a value model that is read and trained alike,
    all `epochs` times.

    >>> strategies = ("serve", "rs", "dpo", "rloo", "ppo")
    >>> [sum(tuning_flops(1, 1, 1, 1, 16, 1, name, "full")) for name in strategies]
    [0, 70, 80, 192, 320]
    >>> tuning_flops(1, 0, 1, 1, 16, 3, "rs", "lora")
    (32, 12)
    """
    train = TRAINING[weights]
    after = {
        "serve": 0,
        "rs": train * epochs,
        "dpo": 2 * (2 + train * epochs),
        "rloo": n * (2 + train),
        "ppo": n * (2 + 2 + 2 * train * epochs),
    }
    drawn, scored = (0, 0) if strategy == "serve" else (2 * n * parameters, 2 * n * judge)
    return drawn * tokens * prompts, (scored + after[strategy] * parameters) * tokens * prompts


def cost(
    drawn: float,
    other: float,
    peak: float,
    hour: float,
    drawing: float = DRAWING,
    working: float = WORKING,
) -> float:
    """Dollars of FLOPs on a machine: drawing reaches one share of its peak, reading and training another.

    >>> cost(3.6e17, 1.44e18, 1e15, 2.0)
    4.0
    """
    return (drawn / drawing + other / working) / peak / 3600 * hour


def wait_seconds(
    parameters: float,
    judge: float,
    tokens: tuple[float, float],
    n: int,
    strategy: str,
    weights: str,
    peak: float,
    bandwidth: float,
) -> float:
    """Seconds until a user sees the first word; `tokens` are those of the prompt and of a response.

    The prompt is read first. Then a step draws a token: it reads the weights once, for one response or for n
    drawn together, and takes that long or as long as its FLOPs do. A tuned policy's words are shown as they
    come. Best-of-n shows nothing before all n are finished and scored.

    >>> round(wait_seconds(8e9, 8e9, (200, 300), 1, "rs", "full", 1e15, 4e12), 6)
    0.012
    >>> round(wait_seconds(8e9, 8e9, (200, 300), 16, "serve", "full", 1e15, 4e12), 6)
    1.528
    """
    prompt, reply = tokens
    flops = WORKING * peak

    def step(rows: int) -> float:
        return max(READS[weights] * parameters / bandwidth, 2 * rows * parameters / flops)

    reading = 2 * prompt * parameters / flops
    if strategy != "serve":
        return reading + step(1)
    return reading + reply * step(n) + 2 * n * (prompt + reply) * judge / flops


def break_even_requests(once: float, serving: float, tuned: float) -> float:
    """Requests after which serving the best of n has cost more than tuning.

    once: dollars that tuning costs beyond setting up the serving. serving, tuned: dollars of one request,
    each way. Infinite where a request to the tuned policy costs no less.

    >>> break_even_requests(4000, 0.005, 0.001), break_even_requests(4000, 0.0, 0.0)
    (1000000.0, inf)
    """
    return once / (serving - tuned) if serving > tuned else math.inf


USE = Calculator(memory_gb, tuning_flops, cost, wait_seconds, break_even_requests)
"""The five together, as `autograder.handouts.nb08_2` takes them."""
