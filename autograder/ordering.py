"""One round of rejection sampling fine-tuning as cards, executed in the order that a learner gives.

    trace("split sample score ...".split())    what each card finds and makes; nothing is computed
    run(order, "runs/01/order")                the same, with the embedded models
    python -m autograder.ordering              measures three orders for docs/results/orders.json

A card says what it needs and what it makes. A card whose needs are not there raises ContractError. An order
that can run is run as it stands, also where it is a bad one: what that costs is measured, not asserted.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autograder.exercise import Variant, table
from rslib.config import FinetuneConfig, SampleConfig, unknown_name
from rslib.errors import ConfigError, DataError
from rslib.store import RunFolder, atomic_write, versions

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.stages import Checkpoint, Stages

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "orders.json"
N = 16
EVALUATION_SEED = 1_000_003
KEPT, EVERYTHING = "what was kept", "every response"


@dataclass(frozen=True)
class Card:
    """One step: its name, what it does in words, the slots that it needs and the one that it makes.

    idea: the misconception behind a card that belongs to no round of this method.
    """

    name: str
    does: str
    needs: tuple[str, ...]
    makes: str
    idea: str = ""


METHOD = (
    Card("split", "set some prompts aside: they are held out", ("prompts",), "held-out prompts"),
    Card(
        "sample",
        f"the base policy writes {N} responses to each prompt that is not held out",
        ("prompts",),
        "responses",
    ),
    Card("score", "the reward model gives each response a reward", ("responses",), "rewards"),
    Card(
        "select", "for each prompt, keep the response with the highest reward", ("rewards",), "kept responses"
    ),
    Card(
        "finetune", "train a copy of the base policy on the responses at hand", ("responses",), "tuned policy"
    ),
    Card(
        "test_base",
        "the base policy responds to the held-out prompts; gold judges",
        ("held-out prompts",),
        "gold of base",
    ),
    Card(
        "test_tuned",
        "the tuned policy responds to the held-out prompts; gold judges",
        ("held-out prompts", "tuned policy"),
        "gold of tuned",
    ),
    Card(
        "compare",
        "gold of tuned minus gold of base, prompt by prompt, with an interval",
        ("gold of base", "gold of tuned"),
        "report",
    ),
)
DISTRACTORS = (
    Card(
        "tune_rm",
        "train the reward model on the kept responses",
        ("kept responses",),
        "tuned reward model",
        "F01",
    ),
    Card(
        "advantage",
        "a value network turns each reward into an advantage",
        ("value network",),
        "advantages",
        "F36",
    ),
    Card(
        "rewrite",
        "the reward model writes a better version of each response",
        ("writing model",),
        "texts",
        "F37",
    ),
)
CARDS = {card.name: card for card in (*METHOD, *DISTRACTORS)}
RIGHT = tuple(card.name for card in METHOD)
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
    """A card was reached before something that it needs was there. card, need, idea: which, what, and why."""

    def __init__(self, card: Card, need: str, idea: str = "") -> None:
        super().__init__(f"`{card.name}` cannot start: {MISSING[need]}.")
        self.card, self.need, self.idea = card.name, need, idea or card.idea


@dataclass(frozen=True)
class Trace:
    """What an order does, card by card, without computing anything.

    trained_on: KEPT or EVERYTHING, "" if nothing was fine-tuned. leaked: whether prompts that are held out
    later were sampled for training. finished: whether it came to a comparison.
    """

    order: tuple[str, ...]
    trained_on: str
    leaked: bool
    finished: bool

    @property
    def strangers(self) -> tuple[Card, ...]:
        """The cards of the order that belong to another method."""
        return tuple(card for card in DISTRACTORS if card.name in self.order)


def trace(order: Sequence[str]) -> Trace:
    """Follow the cards.

    Raises ContractError at the first that lacks something, ConfigError for what is no list of cards.
    """
    there, trained_on, leaked = {"prompts"}, "", False
    for card in _cards(order):
        if lacking := [need for need in card.needs if need not in there]:
            wrong_model = "tuned policy" in lacking and "tuned reward model" in there
            raise ContractError(
                card, "tuned policy" if wrong_model else lacking[0], "F01" if wrong_model else ""
            )
        if card.name == "finetune":
            trained_on = KEPT if "kept responses" in there else EVERYTHING
        leaked = leaked or (card.name == "sample" and "held-out prompts" not in there)
        there.add(card.makes)
    return Trace(tuple(order), trained_on, leaked, "report" in there)


def _cards(order: Sequence[str]) -> list[Card]:
    if not isinstance(order, list | tuple) or not all(isinstance(name, str) for name in order):
        raise ConfigError("an order is a list of card names", fix='Write order = ["split", ...].')
    for name in order:
        if name not in CARDS:
            raise unknown_name("card", name, CARDS, where="order")
        if order.count(name) > 1:
            raise ConfigError(
                f"`{name}` stands more than once", where="order", fix="One round, each card once."
            )
    return [CARDS[name] for name in order]


@dataclass(frozen=True)
class Deck:
    """The cards in one learner's order."""

    names: tuple[str, ...]

    def __repr__(self) -> str:
        return "\n".join(f"{name:11} {CARDS[name].does}" for name in self.names)

    def _repr_html_(self) -> str:
        rows = [(name, CARDS[name].does) for name in self.names]
        return table("Eleven cards", rows, ("card", "what it does"))


def deck(variant: Variant) -> Deck:
    """All cards, shuffled for this learner."""
    names = list(CARDS)
    return Deck(tuple(names[int(k)] for k in variant.rng("cards").permutation(len(names))))


# Run an order with the embedded models ----------------------------------------------------------------------


@dataclass(frozen=True)
class Size:
    """How large a run is: prompts to train on, held-out prompts, and responses to each of those."""

    prompts: int = 96
    heldout: int = 100
    samples: int = 4


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


def run(order: Sequence[str], folder: str | Path, *, size: Size | None = None, seed: int = 0) -> Result:
    """Execute the cards on the embedded models; finished stages in `folder` are not repeated.

    Raises what `trace` raises, before anything is computed.
    """
    from rslib.stages import Stages

    if not trace(order).order:
        raise ConfigError("the order is empty", where="run(order, ...)", fix="Fill in the order first.")
    with RunFolder(folder, show=False) as opened:
        return _Table(Stages(opened), size or Size(), seed).play(order)


class _Table:
    """The things that the cards have made so far; each method is a card and says in words what it did."""

    def __init__(self, stages: Stages, size: Size, seed: int) -> None:
        from rslib.pipeline import load_prompts
        from rslib.schema import take

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
        lines = [(card.name, getattr(self, card.name)()) for card in _cards(order)]
        return Result(tuple(lines), self.gold, self.difference, {"scored": self.scored, "kept": self.kept})

    def split(self) -> str:
        from rslib.schema import take

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
        from rslib.stages import select_rows

        settings = {"selector": "best_of_n", "seed": self.seed}
        self.kept = self.stages.select(
            self.scored, settings, lambda pool: select_rows(pool, "best_of_n", {}, self.seed), "select"
        )
        mean = statistics.fmean(self.kept["reward"][:])
        return f"{len(self.kept)} of {len(self.scored)} kept, mean reward {mean:.2f}"

    def finetune(self) -> str:
        from rslib.stages import finetune_folder

        rows, which = (self.responses, EVERYTHING) if self.kept is None else (self.kept, KEPT)
        config = FinetuneConfig(seed=self.seed)
        self.tuned = self.stages.finetune(self.base, rows, config, "finetune", tune=finetune_folder)
        self.trained_prompts = set(rows["prompt"][:])
        return f"a copy of the policy, trained on {len(rows)} responses ({which})"

    def test_base(self) -> str:
        return self._test("base", self.base)

    def test_tuned(self) -> str:
        return self._test("tuned", self.tuned)

    def _test(self, arm: str, policy: Checkpoint) -> str:
        from rslib.evaluation import arm_interval, arm_metrics, interval_text

        self.judged[arm] = self._judged(policy, self.heldout, f"test-{arm}")
        self.gold[arm] = arm_interval(arm_metrics(self.judged[arm]), "gold")
        return f"gold {interval_text(self.gold[arm])} on {len(self.heldout)} held-out prompts"

    def _judged(self, policy: Checkpoint, prompts: Dataset, place: str) -> Dataset:
        from rslib.stages import with_gold

        config = SampleConfig(n=self.size.samples, seed=EVALUATION_SEED)
        responses = self.stages.sample(policy, prompts, config, place)
        return with_gold(self._scored(responses, f"{place}-score"))

    def fresh_gain(self, prompts: Dataset) -> dict[str, Any]:
        """Tuned minus base in gold, on prompts that no card has seen."""
        from rslib.evaluation import compare

        tuned, base = (self._judged(p, prompts, "fresh") for p in (self.tuned, self.base))
        return compare(tuned, base, "gold")

    def _scored(self, responses: Dataset, place: str) -> Dataset:
        return self.stages.score(self.stages.models.reward_checkpoint("tiny"), responses, place)

    def compare(self) -> str:
        from rslib.evaluation import compare

        self.difference = found = compare(self.judged["tuned"], self.judged["base"], "gold")
        overlap = len(self.trained_prompts & set(self.heldout["prompt"][:]))
        text = f"tuned minus base: {found['difference']:+.2f} [{found['low']:+.2f}, {found['high']:+.2f}]"
        return text + (
            f"; {overlap} of {len(self.heldout)} held-out prompts were trained on" if overlap else ""
        )

    def tune_rm(self) -> str:
        return "skipped: no card reads the reward model after this one, and the policy would stay as it was"


# What three orders are worth, for docs/results --------------------------------------------------------------

MEASURED = {
    "best_of_n": RIGHT,
    "train_on_all": ("split", "sample", "finetune", "score", "select", "test_base", "test_tuned", "compare"),
    "sample_before_split": (
        "sample", "split", "score", "select", "finetune", "test_base", "test_tuned", "compare",
    ),
}  # fmt: skip
COMMAND = "python -m autograder.ordering"


def quoted(name: str) -> str:
    """What an order of MEASURED gained, in words; "" where the result files are not installed."""
    if not RESULTS.is_file():
        return ""
    content = json.loads(RESULTS.read_text(encoding="utf-8"))
    own, right = content["orders"][name], content["orders"]["best_of_n"]
    text = (
        f"Measured in {len(content['seeds'])} runs: {_gain(own['gain'])} over base on its held-out prompts."
    )
    return f"{text} The method as it should be: {_gain(right['gain'])}."


def _gain(found: Mapping[str, float]) -> str:
    return f"{found['mean']:+.2f} gold ({found['low']:+.2f} to {found['high']:+.2f})"


def measure(size: Size, seeds: Sequence[int], folder: Path) -> dict[str, Any]:
    """Each order's gain on its held-out prompts and on fresh ones: mean and range, and every run."""
    found: dict[str, Any] = {}
    for name, order in MEASURED.items():
        runs = [_measured_run(order, size, seed, folder / f"{seed}") for seed in seeds]
        found[name] = {"order": list(order), "runs": runs}
        for kind in ("gain", "fresh"):
            gains = [one[kind]["difference"] for one in runs]
            found[name][kind] = {"mean": statistics.fmean(gains), "low": min(gains), "high": max(gains)}
        print(f"{name}: {_gain(found[name]['gain'])}, fresh {_gain(found[name]['fresh'])}", flush=True)
    settings = {"command": COMMAND, "n": N, "size": vars(size), "seeds": list(seeds)}
    return settings | {"orders": found, "versions": versions()}


def _measured_run(order: Sequence[str], size: Size, seed: int, folder: Path) -> dict[str, Any]:
    from rslib.pipeline import load_prompts
    from rslib.schema import take
    from rslib.stages import Stages

    every = load_prompts("tiny", "train")
    fresh = take(every, range(len(every) - (seed + 1) * size.heldout, len(every) - seed * size.heldout))
    with RunFolder(folder, show=False) as opened:
        table = _Table(Stages(opened), size, seed)
        result = table.play(order)
        gains = {"gain": dict(result.difference or {}), "fresh": table.fresh_gain(fresh)}
    return gains | {"gold": dict(result.gold), "lines": dict(result.lines)}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the three orders and write docs/results/orders.json."""
    parser = argparse.ArgumentParser(prog=COMMAND, description="What three orders are worth.")
    parser.add_argument("--prompts", type=int, default=120, help="prompts to train on, and as many held out")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each order")
    parser.add_argument("--folder", type=Path, default=Path("runs/orders"), help="where the stages are kept")
    said = parser.parse_args(argv)
    content = measure(Size(said.prompts, said.prompts), range(said.seeds), said.folder)
    atomic_write(RESULTS, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
