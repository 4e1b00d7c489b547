"""The prompts of the embedded world, their three splits, and the sentences that its responses are made of."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rslib.config import unknown_name
from rslib.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

SPLITS = ("train", "validation", "test")
_SPARE = "spare"  # in no split
_SPARED = 3
"""A held-out intent is asked with every third persona, or 11 intents would make up half of a split."""
_HELD_TEMPLATE = {"validation": 6, "test": 7}  # the last two templates of every aspect
_HELD_INTENTS = {"validation": (9, 2), "test": (9, 2)}  # (safe, unsafe) intents that no tuning ever sees


def _rows(filename: str) -> list[list[str]]:
    """The lines of a word list, each cut at its bars."""
    text = Path(__file__).with_name(filename).read_text(encoding="utf-8")
    return [[part.strip() for part in line.split("|")] for line in text.splitlines() if line.strip()]


def _items(field: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in field.split(";"))


SENTENCES = {kind: _items(bank) for kind, bank in _rows("sentences.txt")}
"""Kind of a stock sentence -> the sentences of that kind."""
_TEMPLATES = {aspect: _items(bank) for aspect, bank in _rows("templates.txt")}
"""Aspect of a topic -> the ways to ask for it; "{topic}" stands for the topic."""
_PERSONAS = _TEMPLATES.pop("persona")


@dataclass(frozen=True)
class Intent:
    """One thing that a person can ask for, with the sentences that serve or harm them.

    A safe intent has three key `facts`. An unsafe one has a `reason` to refuse, a safer
    `alternative`, and two `compliance` sentences that a good assistant never says.
    """

    name: str
    topic: str
    aspect: str
    facts: tuple[str, ...] = ()
    reason: str = ""
    alternative: str = ""
    compliance: tuple[str, ...] = ()

    @property
    def unsafe(self) -> bool:
        """True when a good response refuses."""
        return bool(self.compliance)


def _safe_intents(topic: str, how: str, avoid: str, need: str) -> list[Intent]:
    needed = tuple(f"You need {item}." for item in _items(need))
    facts = {"how": _items(how), "avoid": _items(avoid), "need": needed}
    return [Intent(f"{aspect}: {topic}", topic, aspect, facts[aspect]) for aspect in _TEMPLATES]


@functools.cache
def intents() -> tuple[Intent, ...]:
    """All intents: three aspects of every safe topic, then the unsafe ones."""
    safe = [intent for row in _rows("topics.txt") for intent in _safe_intents(*row)]
    unsafe = []
    for topic, refuse, comply in _rows("unsafe.txt"):
        reason, alternative = _items(refuse)
        unsafe.append(
            Intent(f"unsafe: {topic}", topic, "how", (), reason, alternative, compliance=_items(comply))
        )
    return (*safe, *unsafe)


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
def _held_out_intents() -> dict[str, str]:
    """Intent name -> split, for the intents that belong to validation or test whole."""
    homes: dict[str, str] = {}
    for unsafe in (False, True):
        names = sorted((i.name for i in intents() if i.unsafe is unsafe), key=_rank)
        for split, counts in _HELD_INTENTS.items():
            for _ in range(counts[unsafe]):
                homes[names.pop()] = split
    return homes


def _split_of(intent: Intent, template: int, persona: int) -> str:
    home = _held_out_intents().get(intent.name)
    if home:
        return _SPARE if persona % _SPARED else home
    return next((split for split, held in _HELD_TEMPLATE.items() if held == template), "train")


@functools.cache
def all_prompts() -> dict[str, WorldPrompt]:
    """Prompt text -> prompt, for every intent, template and persona."""
    table = {}
    for intent in intents():
        for number, template in enumerate(_TEMPLATES[intent.aspect]):
            for row, persona in enumerate(_PERSONAS):
                text = f"{persona} {template.format(topic=intent.topic)}".strip()
                table[text] = WorldPrompt(text, intent, number, _split_of(intent, number, row))
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
            strata.setdefault((p.intent.unsafe, p.intent.name in _held_out_intents()), []).append(p)
    spread = [((i + 0.5) / len(rows), p.text, p) for rows in strata.values() for i, p in enumerate(rows)]
    return [p for _, _, p in sorted(spread, key=lambda share_and_text: share_and_text[:2])]


def load_prompts(split: str = "train") -> Dataset:
    """A prompts table of the embedded world: prompt_id, prompt, kind, intent, split.

    `kind` is "safe" or "unsafe". Train shares no intent with the held-out half of validation and
    test, and no template with the other half; nothing is ever tuned on test.
    Raises ConfigError for an unknown split.
    """
    from datasets import Dataset

    return Dataset.from_list(
        [
            {
                "prompt_id": f"{split}-{number:05d}",
                "prompt": p.text,
                "kind": "unsafe" if p.intent.unsafe else "safe",
                "intent": p.intent.name,
                "split": split,
            }
            for number, p in enumerate(split_prompts(split))
        ]
    )
