"""The one table of facts that notebooks share: the team's recipe, and what each method costs on paper.

Prose reads `{{fact:passes.rs|d}}` from TABLE; graders call `facts.passes("ppo", n=1, epochs=4)`. No notebook
counts by itself, so no two can differ. Exercise 8.1 asks for these formulas, so cells do not import them.

A forward pass, to draw or to read, is 2 FLOPs per parameter and token, a training pass 6 (Kaplan et al. 2020,
arXiv 2001.08361, section 2.1); all models are equally large. Drawing gives the log-probabilities of what is
drawn, so they cost nothing more; an implementation that computes them anew adds 2 to each response.
"""

from __future__ import annotations

from typing import Any

from rslib.errors import ConfigError
from rslib.ledger import FORWARD, TRAINING

TEAM = {"n": 16, "epochs": 3}
"""The recipe of notebooks 03, 04 and 08: responses to each prompt, and epochs on the kept ones."""
RESIDENT = {"serve": (2, 0), "rs": (0, 1), "dpo": (1, 1), "rloo": (2, 1), "ppo": (2, 2)}
"""Method -> models that only read, and models that are trained, in memory at the fullest moment.

Rejection sampling works in stages and holds one model at a time; PPO holds reference, reward model, policy
and value model.
"""
_READ, _TRAIN = int(FORWARD), int(TRAINING)


def passes(method: str, n: int = TEAM["n"], epochs: int = TEAM["epochs"]) -> int:
    """FLOPs per parameter and token for one prompt with n responses, tuned for so many epochs.

    Each method draws and scores n responses (2 + 2). Then `rs` trains on one of them; `dpo` on two, read once
    under the reference; `rloo` once on all n, read under the reference; `ppo` on all n with policy and value
    model, read under the reference and the value model. Nothing is tuned where best-of-n is served (`serve`).
    Raises ConfigError for an unknown method.

    >>> [passes(method, n=16, epochs=1) for method in RESIDENT]
    [0, 70, 80, 192, 320]
    >>> passes("rs", n=16, epochs=3), passes("ppo", n=1, epochs=4)
    (82, 56)
    """
    counts = {
        "serve": 0,
        "rs": 2 * _READ * n + _TRAIN * epochs,
        "dpo": 2 * _READ * n + 2 * (_TRAIN * epochs + _READ),
        "rloo": n * (3 * _READ + _TRAIN),
        "ppo": n * (4 * _READ + 2 * _TRAIN * epochs),
    }
    if method not in counts:
        raise ConfigError(f"unknown method {method!r}", where="facts.passes", fix=f"Use one of {[*counts]}.")
    return counts[method]


def request(n: int = 1) -> int:
    """FLOPs per parameter and token of one request: one response drawn, or n > 1 drawn and scored.

    >>> request(), request(16)
    (2, 64)
    """
    return _READ if n == 1 else 2 * _READ * n


def break_even(prompts: int, n: int = TEAM["n"], epochs: int = TEAM["epochs"]) -> float:
    """Requests after which serving the best of n has cost more than one round on so many prompts.

    >>> round(break_even(400), 1)
    529.0
    """
    return prompts * passes("rs", n, epochs) / (2 * _READ * n - _READ)


TABLE: dict[str, Any] = {
    "team": TEAM,
    "passes": {method: passes(method) for method in RESIDENT},
    "passes_of_4": {method: passes(method, n=4) for method in RESIDENT},
    "ppo": {"n1_epochs4": passes("ppo", n=1, epochs=4), "n4_epochs4": passes("ppo", n=4, epochs=4)},
    "request": {"best_of_n": request(TEAM["n"]), "one": request()},
    "round_of_400": {"flops": 400 * passes("rs"), "break_even": break_even(400)},
}
"""What prose reads: `{{fact:round_of_400.flops|,d}}`. Without a word `n` is 16 and `epochs` 3."""
