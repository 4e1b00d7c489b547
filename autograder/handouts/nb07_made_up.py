"""Parts of methods that nobody has seen, for exercise 7.2: `describe` is tried on them.

A learner's function counts their lines and fields, so they lie where its process can read them.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Draws:
    """Settings of a made-up method."""

    n: int = 4
    temperature: float = 1.0
    seed: int = 0
    batch_size: int = 8


@dataclass(frozen=True)
class Search:
    """Settings of another one."""

    width: int = 4
    depth: int = 2
    patience: int = 3
    steps: int = 9
    temperature: float = 0.5
    names: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class Pull:
    """Three settings, one of which nobody tunes."""

    strength: float = 0.1
    temperature: float = 1.0
    budget: float = 1.0


def weigh(values: list[float]) -> list[float]:
    """Shares that sum to 1.

    Of nothing: nothing.
    """
    # A sum of 0 would divide by 0.
    total = sum(values) or 1.0

    return [value / total for value in values]


def clip(value: float, width: float) -> float:
    """A value within `width` of 1."""
    low, high = (
        1 - width,
        1 + width,
    )
    return min(max(value, low), high)


class Memory:
    """What was seen.

    It forgets nothing.
    """

    def __init__(self) -> None:
        """Empty at first."""
        self.seen: list[float] = []  # oldest first

    def add(self, value: float) -> None:
        """One more."""
        self.seen.append(value)
