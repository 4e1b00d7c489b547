"""The ledger of one method: what it has spent, and when its budget is gone.

FLOPs are counted on paper: 2 per parameter and token read, 6 per parameter and token trained on (Kaplan et
al. 2020, arXiv 2001.08361, section 2.1; attention over short contexts is left out). Seconds are wall-clock;
CPU seconds are what this process used of its processor, which other processes hardly change.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rslib.config import require, unknown_name

FORWARD, TRAINING = 2.0, 6.0
"""FLOPs per parameter and token."""
UNITS = ("responses", "flops", "seconds", "cpu_seconds")
"""What a budget may be counted in."""
TIMES = ("seconds", "cpu_seconds")
"""Units in which no two runs spend alike."""


def peak_memory(device: str = "cpu") -> int | None:
    """The most bytes that this process has held, on a GPU in tensors; None where the system does not tell."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.max_memory_allocated(device)
    try:
        import resource
    except ImportError:  # not a Unix
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@dataclass
class Ledger:
    """The account of a run. `unit` and `limit` are its budget; without a unit nothing is ever spent.

    responses, sampled_tokens: drawn from a policy for training. trained_tokens: learned or read in training
    passes, once per epoch. flops: of all passes. models: the most models held at once. `seconds` and
    `cpu_seconds` run while the ledger is entered (`with ledger:`).

    >>> ledger = Ledger("responses", 20)
    >>> ledger.sampled(10, responses=16, tokens=400, prompt_tokens=0)
    >>> ledger.spent, ledger.left, int(ledger.flops)
    (16.0, 4.0, 8000)
    """

    unit: str | None = None
    limit: float = float("inf")
    clock: Callable[[], float] = field(default=time.perf_counter, repr=False)
    responses: int = 0
    sampled_tokens: int = 0
    trained_tokens: int = 0
    flops: float = 0.0
    models: int = 0
    _before: tuple[float, float] = field(default=(0.0, 0.0), repr=False)
    _since: tuple[float, float] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.unit is not None and self.unit not in UNITS:
            raise unknown_name("budget", self.unit, UNITS, "Ledger")
        require(self.limit > 0, f"the budget is {self.limit}", "Ledger.limit", "Use a number > 0.")

    def __enter__(self) -> Ledger:
        """Start the clocks; time outside of the block (an evaluation, say) is not counted."""
        self._since = self.clock(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._before, self._since = (self.seconds, self.cpu_seconds), None

    @property
    def seconds(self) -> float:
        """Wall-clock inside of the blocks."""
        return self._before[0] + (self.clock() - self._since[0] if self._since else 0.0)

    @property
    def cpu_seconds(self) -> float:
        """Processor time of this process inside of the blocks."""
        return self._before[1] + (time.process_time() - self._since[1] if self._since else 0.0)

    def sampled(self, parameters: int, *, responses: int, tokens: int, prompt_tokens: int) -> None:
        """Count responses that a policy drew for training: `tokens` of theirs, prompts read once each."""
        self.responses += responses
        self.sampled_tokens += tokens
        self.read(parameters, tokens + prompt_tokens)

    def read(self, parameters: int, tokens: int) -> None:
        """Count a forward pass: scoring, reference or value passes."""
        self.flops += FORWARD * parameters * tokens

    def trained(self, parameters: int, tokens: int) -> None:
        """Count a forward and backward pass."""
        self.trained_tokens += tokens
        self.flops += TRAINING * parameters * tokens

    def held(self, models: int) -> None:
        """Note how many models a step holds in memory."""
        self.models = max(self.models, models)

    def restore(self, entries: Mapping[str, Any]) -> None:
        """Take over what an earlier run had spent (`to_dict`)."""
        for name in ("responses", "sampled_tokens", "trained_tokens", "flops", "models"):
            setattr(self, name, entries[name])
        self._before = entries["seconds"], entries["cpu_seconds"]

    def add(self, entries: Mapping[str, Any]) -> None:
        """Count what a part of the run has spent by a ledger of its own (`to_dict`).

        >>> whole, part = Ledger(), Ledger()
        >>> for ledger in (whole, part):
        ...     ledger.sampled(10, responses=16, tokens=400, prompt_tokens=0)
        >>> whole.add(part.to_dict())
        >>> whole.responses, int(whole.flops)
        (32, 16000)
        """
        before = self.to_dict()
        sums = {name: before[name] + entries[name] for name in before if name not in ("unit", "models")}
        self.restore(sums | {"models": max(before["models"], entries["models"])})

    @property
    def spent(self) -> float:
        """What was spent, in the budget's unit (0.0 without one)."""
        return float(getattr(self, self.unit)) if self.unit else 0.0

    @property
    def left(self) -> float:
        """What is left, in the budget's unit; never below 0."""
        return max(0.0, float(self.limit) - self.spent)

    def to_dict(self) -> dict[str, float | int | str | None]:
        """The entries as plain data."""
        names = ("unit", "responses", "sampled_tokens", "trained_tokens", "flops", "models")
        times = {name: round(getattr(self, name), 2) for name in ("seconds", "cpu_seconds")}
        return {name: getattr(self, name) for name in names} | times
