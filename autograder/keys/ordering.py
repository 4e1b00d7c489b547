"""The right order of exercise 1.1, what any other does, and what three orders are worth.

trace("split sample score ...".split())    what each card finds and makes; nothing is computed
python -m autograder.keys.ordering         measures three orders for docs/results/orders.json
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.handouts.ordering import CARDS, Card, N, Size, names_of
from autograder.ordering_run import EVERYTHING, KEPT, ContractError, _Table, walk
from rslib.cache import atomic_write, versions
from rslib.store import RunFolder

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "orders.json"
RIGHT = ("split", "sample", "score", "select", "finetune", "test_base", "test_tuned", "compare")
STRANGE = {"tune_rm": "F01", "advantage": "F36", "rewrite": "F37"}
"""Cards that belong to no round of this method -> the misconception behind each."""


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
        return tuple(CARDS[name] for name in STRANGE if name in self.order)


def trace(order: Sequence[str]) -> Trace:
    """Follow the cards. Raises what `walk` raises."""
    trained_on, leaked, made = "", False, set()
    for card, there in walk(order):
        if card.name == "finetune":
            trained_on = KEPT if "kept responses" in there else EVERYTHING
        leaked = leaked or (card.name == "sample" and "held-out prompts" not in there)
        made.add(card.makes)
    return Trace(tuple(names_of(order)), trained_on, leaked, "report" in made)


def idea_of(broken: ContractError, order: Sequence[str]) -> str:
    """The misconception behind a broken contract, or ""."""
    before = order[: list(order).index(broken.card)]
    wrong_model = broken.need == "tuned policy" and "tune_rm" in before
    return STRANGE["tune_rm"] if wrong_model else STRANGE.get(broken.card, "")


MEASURED = {
    "best_of_n": RIGHT,
    "train_on_all": ("split", "sample", "finetune", "score", "select", "test_base", "test_tuned", "compare"),
    "sample_before_split": (
        "sample", "split", "score", "select", "finetune", "test_base", "test_tuned", "compare",
    ),
}  # fmt: skip
COMMAND = "python -m autograder.keys.ordering"


def quoted(name: str) -> str:
    """What an order of MEASURED gained, in words; "" where the result files are not installed."""
    if not RESULTS.is_file():
        return ""
    content = json.loads(RESULTS.read_text(encoding="utf-8"))
    measured, right = (content["orders"][order] for order in (name, "best_of_n"))
    return (
        f"Measured in {len(content['seeds'])} runs: {_gain(measured['gain'])} over base on its held-out "
        f"prompts. The method as it should be: {_gain(right['gain'])}."
    )


def _gain(gain: Mapping[str, float]) -> str:
    return f"{gain['mean']:+.2f} gold ({gain['low']:+.2f} to {gain['high']:+.2f})"


def measure(size: Size, seeds: Sequence[int], folder: Path) -> dict[str, Any]:
    """Each order's gain on its held-out prompts and on fresh ones: mean and range, and every run."""
    orders: dict[str, Any] = {}
    for name, order in MEASURED.items():
        runs = [_measured_run(order, size, seed, folder / f"{seed}") for seed in seeds]
        orders[name] = {"order": list(order), "runs": runs}
        for kind in ("gain", "fresh"):
            gains = [result[kind]["difference"] for result in runs]
            orders[name][kind] = {"mean": statistics.fmean(gains), "low": min(gains), "high": max(gains)}
        print(f"{name}: {_gain(orders[name]['gain'])}, fresh {_gain(orders[name]['fresh'])}", flush=True)
    settings = {"command": COMMAND, "n": N, "size": vars(size), "seeds": list(seeds)}
    return settings | {"orders": orders, "versions": versions()}


def _measured_run(order: Sequence[str], size: Size, seed: int, folder: Path) -> dict[str, Any]:
    from rslib.prompts import load_prompts
    from rslib.stages import Stages
    from rslib.tables import take

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
    options = parser.parse_args(argv)
    content = measure(Size(options.prompts, options.prompts), range(options.seeds), options.folder)
    atomic_write(RESULTS, json.dumps(content, indent=1, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
