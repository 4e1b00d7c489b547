"""An order of cards, executed as it stands.

A card says what it needs and what it makes. A card whose needs are not there raises ContractError. An order
that can run is run as it stands, also where it is a bad one: what that costs is measured, not asserted.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.exercise import table
from autograder.handouts.ordering import CARDS, Card, N, Size, names_of
from rslib.config import FinetuneConfig, SampleConfig, unknown_name
from rslib.errors import ConfigError, DataError
from rslib.store import RunFolder

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.stages import Checkpoint, Stages

EVALUATION_SEED = 1_000_003
KEPT, EVERYTHING = "what was kept", "every response"
MISSING = {
    "responses": "there are no responses yet",
    "rewards": "no response has a reward yet",
    "kept responses": "nothing has been kept yet",
    "held-out prompts": "no prompts have been held out yet",
    "tuned policy": "no policy has been fine-tuned yet",
    "gold of base": "the base policy has not been measured yet",
    "gold of tuned": "the tuned policy has not been measured yet",
    "value network": "there is no value network, and no card makes one",
    "writing model": "a reward model cannot write: it reads a prompt with a response and gives one number",
}


class ContractError(DataError):
    """A card was reached before something that it needs was there. card, need: which, and what."""

    def __init__(self, card: Card, need: str) -> None:
        super().__init__(f"`{card.name}` cannot start: {MISSING[need]}.")
        self.card, self.need = card.name, need


def walk(order: Sequence[str]) -> Iterator[tuple[Card, frozenset[str]]]:
    """Each card of an order with what is there at its turn.

    Raises ContractError at the first that lacks something, ConfigError for what is no list of cards.
    """
    there = {"prompts"}
    for card in cards(order):
        if lacking := [need for need in card.needs if need not in there]:
            wrong_model = "tuned policy" in lacking and "tuned reward model" in there
            raise ContractError(card, "tuned policy" if wrong_model else lacking[0])
        yield card, frozenset(there)
        there.add(card.makes)


def cards(order: Sequence[str] | str) -> list[Card]:
    """The cards of these names. Raises ConfigError for what is no list of cards, each once."""
    order = names_of(order)
    if not isinstance(order, list | tuple) or not all(isinstance(name, str) for name in order):
        raise ConfigError("an order is a list of card names", fix="Write the names of the cards, one a line.")
    for name in order:
        if name not in CARDS:
            raise unknown_name("card", name, CARDS, where="order")
        if order.count(name) > 1:
            raise ConfigError(
                f"`{name}` stands more than once", where="order", fix="One round, each card once."
            )
    return [CARDS[name] for name in order]


@dataclass(frozen=True)
class Result:
    """What an order did: a line a card, and the measured gold if it came to a comparison.

    gold: arm -> mean, low, high. difference: tuned minus base, as `rslib.evaluation.compare` gives it.
    """

    lines: tuple[tuple[str, str], ...]
    gold: Mapping[str, Mapping[str, float]]
    difference: Mapping[str, Any] | None
    tables: Mapping[str, Any]

    def __repr__(self) -> str:
        return "\n".join(f"{name:11} {text}" for name, text in self.lines)

    def _repr_html_(self) -> str:
        return table("The order, run; 95 % intervals in brackets", self.lines, ("card", "what happened"))


def run(
    order: Sequence[str] | str, folder: str | Path, *, size: Size | None, seed: int, show_progress: bool
) -> Result:
    """As `autograder.handouts.ordering.run`."""
    from rslib.stages import Stages

    if not list(walk(order)):
        fix = "Write the cards that you use into `order` (exercise 1.1), then run this cell again."
        raise ConfigError("the order holds no card yet", where="order", fix=fix)
    with RunFolder(folder, show=show_progress) as opened:
        return _Table(Stages(opened), size or Size(), seed).play(order)


class _Table:
    """The things that the cards have made so far; each method is a card and says in words what it did."""

    def __init__(self, stages: Stages, size: Size, seed: int) -> None:
        from rslib.prompts import load_prompts
        from rslib.tables import take

        self.stages, self.size, self.seed = stages, size, seed
        self.base = stages.models.policy_checkpoint("tiny")
        wanted = size.prompts + size.heldout
        every = load_prompts("tiny", "train", (seed + 1) * wanted)
        self.prompts = take(every, range(seed * wanted, len(every)))
        self.heldout: Dataset | None = None
        self.responses: Dataset | None = None
        self.scored: Dataset | None = None
        self.kept: Dataset | None = None
        self.tuned: Checkpoint | None = None
        self.trained_prompts: set[str] = set()
        self.gold: dict[str, Any] = {}
        self.judged: dict[str, Dataset] = {}
        self.difference: dict[str, Any] | None = None

    def play(self, order: Sequence[str]) -> Result:
        """Every card in turn."""
        lines = [(card.name, getattr(self, card.name)()) for card in cards(order)]
        return Result(tuple(lines), self.gold, self.difference, {"scored": self.scored, "kept": self.kept})

    def split(self) -> str:
        from rslib.tables import take

        first, every = self.size.prompts, len(self.prompts)
        self.heldout = take(self.prompts, range(first, every))
        self.prompts = take(self.prompts, range(first))
        return f"{first} prompts to train on, {every - first} held out"

    def sample(self) -> str:
        config = SampleConfig(n=N, seed=self.seed)
        self.responses = self.stages.sample(self.base, self.prompts, config, "sample")
        return f"{len(self.prompts)} prompts x {N} = {len(self.responses)} responses"

    def score(self) -> str:
        self.scored = self._scored(self.responses, "score")
        rewards = self.scored["reward"][:]
        return f"rewards from {min(rewards):.1f} to {max(rewards):.1f}, mean {statistics.fmean(rewards):.2f}"

    def select(self) -> str:
        self.kept = self.stages.select(self.scored, "best_of_n", {}, self.seed, "select")
        mean = statistics.fmean(self.kept["reward"][:])
        return f"{len(self.kept)} of {len(self.scored)} kept, mean reward {mean:.2f}"

    def finetune(self) -> str:
        rows, which = (self.responses, EVERYTHING) if self.kept is None else (self.kept, KEPT)
        config = FinetuneConfig(seed=self.seed)
        self.tuned = self.stages.finetune(self.base, rows, config, "finetune")
        self.trained_prompts = set(rows["prompt"][:])
        return f"a copy of the policy, trained on {len(rows)} responses ({which})"

    def test_base(self) -> str:
        return self._test("base", self.base)

    def test_tuned(self) -> str:
        return self._test("tuned", self.tuned)

    def _test(self, arm: str, policy: Checkpoint) -> str:
        from rslib.evaluation import arm_metrics
        from rslib.formatting import interval_text
        from rslib.reporting import arm_interval

        self.judged[arm] = self._judged(policy, self.heldout, f"test-{arm}")
        self.gold[arm] = arm_interval(arm_metrics(self.judged[arm]), "gold")
        return f"gold {interval_text(self.gold[arm])} on {len(self.heldout)} held-out prompts"

    def _judged(self, policy: Checkpoint, prompts: Dataset, name: str) -> Dataset:
        from rslib.stages import with_gold

        config = SampleConfig(n=self.size.samples, seed=EVALUATION_SEED)
        responses = self.stages.sample(policy, prompts, config, name)
        return with_gold(self._scored(responses, f"{name}-score"))

    def fresh_gain(self, prompts: Dataset) -> dict[str, Any]:
        """Tuned minus base in gold, on prompts that no card has seen."""
        from rslib.evaluation import compare

        tuned, base = (self._judged(p, prompts, "fresh") for p in (self.tuned, self.base))
        return compare(tuned, base, "gold")

    def _scored(self, responses: Dataset, name: str) -> Dataset:
        return self.stages.score(self.stages.models.reward_checkpoint("tiny"), responses, name)

    def compare(self) -> str:
        from rslib.evaluation import compare

        self.difference = compare(self.judged["tuned"], self.judged["base"], "gold")
        difference, low, high = (self.difference[name] for name in ("difference", "low", "high"))
        text = f"tuned minus base: {difference:+.2f} [{low:+.2f}, {high:+.2f}]"
        overlap = len(self.trained_prompts & set(self.heldout["prompt"][:]))
        if not overlap:
            return text
        return f"{text}; {overlap} of {len(self.heldout)} held-out prompts were trained on"

    def tune_rm(self) -> str:
        return "skipped: no card reads the reward model after this one, and the policy would stay as it was"
