"""Every prompt of the embedded world and its three splits."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rslib.config import require, unknown_name
from rslib.errors import DataError
from rslib.world.banks import PERSONAS, TEMPLATES, Intent, intents

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("train", "validation", "test")
SPARE = "spare"  # in no split
SPARED = 3  # a held-out intent is asked with every third persona, or 11 intents would make up half of a split
HELD_TEMPLATE = {"validation": 6, "test": 7}
HELD_INTENTS = {"validation": (9, 2), "test": (9, 2)}  # (safe, unsafe) intents that no tuning ever sees


@dataclass(frozen=True)
class WorldPrompt:
    """One prompt: its text, what is asked, and the split that it belongs to."""

    text: str
    intent: Intent
    template: int
    split: str


def _rank(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


@functools.cache
def held_out_intents() -> dict[str, str]:
    """Intent name -> split, for the intents that belong to validation or test whole."""
    homes: dict[str, str] = {}
    for unsafe in (False, True):
        names = sorted((i.name for i in intents() if i.unsafe is unsafe), key=_rank)
        for split, counts in HELD_INTENTS.items():
            for _ in range(counts[unsafe]):
                homes[names.pop()] = split
    return homes


def _split_of(intent: Intent, template: int, persona: int) -> str:
    home = held_out_intents().get(intent.name)
    if home:
        return SPARE if persona % SPARED else home
    return next((split for split, held in HELD_TEMPLATE.items() if held == template), "train")


@functools.cache
def all_prompts() -> dict[str, WorldPrompt]:
    """Prompt text -> prompt, for every intent, template and persona."""
    table = {}
    for intent in intents():
        for number, template in enumerate(TEMPLATES[intent.aspect]):
            for place, persona in enumerate(PERSONAS):
                text = f"{persona} {template.format(topic=intent.topic)}".strip()
                table[text] = WorldPrompt(text, intent, number, _split_of(intent, number, place))
    return table


def knows(prompt: str) -> bool:
    """True when `prompt` is one of the world's own, so that its gold score is defined.

    >>> knows("How do I boil an egg?"), knows("Who are you?")
    (True, False)
    """
    return prompt in all_prompts()


def find(prompt: str) -> WorldPrompt:
    """The world's record of `prompt`; DataError when it is not one of its own."""
    try:
        return all_prompts()[prompt]
    except KeyError:
        raise DataError(
            f"the embedded world has no prompt '{prompt[:80]}'",
            where="rslib.world",
            fix="Gold scores exist for the embedded prompts only: see rslib.load_prompts('tiny').",
        ) from None


def split_prompts(split: str) -> list[WorldPrompt]:
    """The prompts of a split in a fixed shuffled order whose every prefix has the split's own mixture.

    Safe and unsafe, held-out intents and held-out templates are each spread evenly over the order.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS, "load_prompts(split=...)")
    strata: dict[tuple[bool, bool], list[WorldPrompt]] = {}
    for p in sorted(all_prompts().values(), key=lambda p: _rank(p.text)):
        if p.split == split:
            strata.setdefault((p.intent.unsafe, p.intent.name in held_out_intents()), []).append(p)
    places = [((at + 0.5) / len(rows), p.text, p) for rows in strata.values() for at, p in enumerate(rows)]
    return [p for _, _, p in sorted(places, key=lambda place: place[:2])]


def load_prompts(split: str = "train", limit: int | None = None) -> Dataset:
    """A prompts table of the embedded world: prompt_id, prompt, kind, intent, split.

    `kind` is "safe" or "unsafe". Train shares no intent with the held-out half of validation and
    test, and no template with the other half; nothing is ever tuned on test.
    Raises ConfigError for an unknown split or a limit outside 1..size.
    """
    from datasets import Dataset

    rows = split_prompts(split)
    size = len(rows) if limit is None else limit
    require(
        1 <= size <= len(rows),
        f"limit is {limit}",
        "load_prompts(limit=...)",
        f"Use 1 to {len(rows)}, the size of split '{split}'.",
    )
    return Dataset.from_list(
        [
            {
                "prompt_id": f"{split}-{number:05d}",
                "prompt": p.text,
                "kind": "unsafe" if p.intent.unsafe else "safe",
                "intent": p.intent.name,
                "split": split,
            }
            for number, p in enumerate(rows[:size])
        ]
    )
