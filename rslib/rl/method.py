"""What a method is to the loop: rows to train on, and an objective over them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor

from rslib.optimization import Objective
from rslib.rl import losses
from rslib.rl.draws import Draw
from rslib.rl.learner import Learner


class Method(ABC):
    """A policy-gradient method; subclasses are frozen dataclasses whose fields are their hyper-parameters."""

    needs_values: ClassVar[bool] = False
    """Whether the learner trains a value model."""

    def rows(self, draw: Draw) -> list[int]:
        """The rows of a draw that are trained on; all of them unless said otherwise."""
        return list(range(len(draw.rows)))

    @abstractmethod
    def objective(self, learner: Learner, draw: Draw, kl_coefficient: float) -> Objective:
        """The loss of the draw's rows under the learner's current weights."""


def averaged(draw: Draw, mean: str, per_token: Callable[[list[int]], Tensor]) -> Objective:
    """The objective whose losses (rows, T) are `per_token(rows)`, averaged over a batch as `mean` says."""
    return Objective(
        lambda rows: losses.total(per_token(rows), draw.mask[rows], mean),
        lambda rows: losses.weight(draw.mask[rows], mean),
    )
