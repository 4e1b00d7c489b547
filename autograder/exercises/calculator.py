"""What a strategy costs, counted on paper.

FLOPs: 2 per parameter and token that is read or drawn, 6 per parameter and token that is trained on (Kaplan
et al. 2020, arXiv 2001.08361, section 2.1). Memory: 2 bytes a parameter of a model that only reads, in
bfloat16; 16 of one that is trained with Adam in mixed precision (weights 2, gradients 2, a float32 copy with
two moments 12; Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1).
"""

from __future__ import annotations

from autograder.exercises import facts

READS, TRAINS = 2, 16
"""Bytes a parameter."""
RESIDENT = facts.RESIDENT
"""Models that only read, and that are trained, in memory at once. Rejection sampling works in stages."""
STRATEGIES = tuple(RESIDENT)


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
    return facts.passes(strategy, n, epochs) * parameters * tokens * prompts


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
    return facts.break_even(prompts, n, epochs)
