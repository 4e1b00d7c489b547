"""Settings of each stage: frozen dataclasses, checked at birth. The CLI derives its options from them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from rslib.errors import ConfigError


def require(ok: bool, what: str, where: str, fix: str) -> None:
    """Raise ConfigError unless `ok`."""
    if not ok:
        raise ConfigError(what, where=where, fix=fix)


def closest(name: str, known: Iterable[str]) -> str:
    """The known name nearest in spelling to `name`, or "" when nothing is near.

    >>> closest("best_of", ["best_of_n", "random", "worst"])
    'best_of_n'
    """
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return found[0] if found else ""


def unknown_name(kind: str, name: str, known: Iterable[str], where: str) -> ConfigError:
    """The error for a misspelt name, with the closest known one."""
    known = sorted(known)
    near = closest(name, known)
    hint = f"Did you mean '{near}'? " if near else ""
    return ConfigError(f"unknown {kind} '{name}'", where=where, fix=f"{hint}Known: {', '.join(known)}.")


@dataclass(frozen=True)
class SampleConfig:
    """How responses are drawn."""

    n: int = field(default=16, metadata={"help": "responses per prompt"})
    temperature: float = field(default=1.0, metadata={"help": "0 means greedy (argmax)"})
    top_k: int = field(default=0, metadata={"help": "keep the k likeliest tokens; 0 keeps all"})
    top_p: float = field(default=1.0, metadata={"help": "keep the smallest set of tokens with this mass"})
    min_new_tokens: int = field(default=0, metadata={"help": "no end-of-sequence before this many tokens"})
    max_new_tokens: int | None = field(default=None, metadata={"help": "None: the policy's own default"})
    batch_size: int = field(
        default=512, metadata={"help": "responses in flight; halved when memory runs out"}
    )
    seed: int = field(default=0, metadata={"help": "run seed; each response derives its own"})

    def __post_init__(self) -> None:
        where = "SampleConfig"
        require(self.n >= 1, f"n is {self.n}", f"{where}.n", "Draw at least one response: n >= 1.")
        require(
            math.isfinite(self.temperature) and self.temperature >= 0,
            f"temperature is {self.temperature}",
            f"{where}.temperature",
            "Use a finite temperature >= 0 (0 is greedy, 1 is the policy itself).",
        )
        require(
            self.top_k >= 0, f"top_k is {self.top_k}", f"{where}.top_k", "Use 0 (off) or a positive number."
        )
        require(0 < self.top_p <= 1, f"top_p is {self.top_p}", f"{where}.top_p", "Use a number in (0, 1].")
        require(
            self.min_new_tokens >= 0,
            f"min_new_tokens is {self.min_new_tokens}",
            f"{where}.min_new_tokens",
            "Use a number >= 0.",
        )
        longest = self.max_new_tokens
        require(
            longest is None or longest >= max(1, self.min_new_tokens),
            f"max_new_tokens is {longest}",
            f"{where}.max_new_tokens",
            f"Use at least {max(1, self.min_new_tokens)} (min_new_tokens is {self.min_new_tokens}).",
        )
        require(self.batch_size >= 1, f"batch_size is {self.batch_size}", f"{where}.batch_size", "Use >= 1.")


SMALL_POLICY = 10_000_000
"""Parameters below which a policy takes, and needs, a much higher learning rate."""


def rate_by_size(rate: float | None, parameters: int, small: float, large: float) -> float:
    """The learning rate that is given; without one `small` below SMALL_POLICY parameters, else `large`.

    >>> rate_by_size(None, 900_000, 5e-4, 1e-5), rate_by_size(3e-3, 900_000, 5e-4, 1e-5)
    (0.0005, 0.003)
    """
    return rate or (small if parameters < SMALL_POLICY else large)


@dataclass(frozen=True)
class FinetuneConfig:
    """How a policy is fine-tuned on selected responses."""

    learning_rate: float | None = field(
        default=None, metadata={"help": "None: 5e-4 for a policy below 10 M parameters, else 1e-5"}
    )
    epochs: int = field(default=3, metadata={"help": "passes over the selected rows"})
    batch_tokens: int = field(default=1536, metadata={"help": "tokens in one step, padding included"})
    warmup_steps: int = field(default=5, metadata={"help": "linear warm-up, then cosine to zero"})
    weight_decay: float = field(default=0.01, metadata={"help": "AdamW, on matrices only"})
    max_grad_norm: float = field(default=1.0, metadata={"help": "gradients are clipped to this norm"})
    seed: int = field(default=0, metadata={"help": "order of the batches"})

    def __post_init__(self) -> None:
        where = "FinetuneConfig"
        rate = self.learning_rate
        require(
            rate is None or (math.isfinite(rate) and rate > 0),
            f"learning_rate is {rate}",
            f"{where}.learning_rate",
            "Use a finite number > 0.",
        )
        for name in ("epochs", "batch_tokens"):
            value = getattr(self, name)
            require(value >= 1, f"{name} is {value}", f"{where}.{name}", "Use a number >= 1.")
        for name in ("warmup_steps", "weight_decay"):
            value = getattr(self, name)
            require(value >= 0, f"{name} is {value}", f"{where}.{name}", "Use a number >= 0.")
        require(self.max_grad_norm > 0, f"max_grad_norm is {self.max_grad_norm}", where, "Use a number > 0.")

    def for_model(self, parameters: int) -> FinetuneConfig:
        """These settings with a learning rate: the given one, else that of the model's size."""
        return replace(self, learning_rate=rate_by_size(self.learning_rate, parameters, 5e-4, 1e-5))


@dataclass(frozen=True)
class EvaluateConfig:
    """How a policy is judged: the same sampling for every arm."""

    samples_per_prompt: int = field(default=4, metadata={"help": "responses per evaluation prompt"})
    temperature: float = field(default=1.0, metadata={"help": "sampling temperature of the evaluation"})
    max_new_tokens: int | None = field(default=None, metadata={"help": "None: the policy's own default"})
    batch_size: int = field(default=512, metadata={"help": "responses in flight"})
    seed: int = field(default=1_000_003, metadata={"help": "kept apart from the run seed"})

    def __post_init__(self) -> None:
        require(
            self.samples_per_prompt >= 1,
            f"samples_per_prompt is {self.samples_per_prompt}",
            "EvaluateConfig.samples_per_prompt",
            "Use a number >= 1.",
        )
        self.sampling()  # its own checks cover the shared fields

    def sampling(self) -> SampleConfig:
        """The sampling settings that every arm shares."""
        return SampleConfig(
            n=self.samples_per_prompt,
            temperature=self.temperature,
            max_new_tokens=self.max_new_tokens,
            batch_size=self.batch_size,
            seed=self.seed,
        )
