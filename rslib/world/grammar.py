"""The corpus that the embedded policy is pre-trained on: a factorised grammar of good and bad responses.

The factors (facts, order, tone, flattery, filler, errors) vary independently, so that best-of-n has
something to combine. A third of the responses are curt ("Ugh, fine." and one fact): the mode of the
distribution must not be a good response, or greedy decoding would look like alignment.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from rslib.world.prompts import SENTENCES, Intent, all_prompts, intents

_UNSAFE_SHARE = 0.15


@dataclass(frozen=True)
class Document:
    """One training document of the policy."""

    prompt: str
    response: str


def _pick(rng: np.random.Generator, bank: tuple[str, ...]) -> str:
    return bank[rng.integers(len(bank))]


def _some(rng: np.random.Generator, bank: tuple[str, ...], none: float, decay: float, most: int) -> list[str]:
    """Usually nothing, else a geometric number of different sentences of the bank."""
    if rng.random() < none:
        return []
    count = min(rng.geometric(decay), most, len(bank))
    return [bank[i] for i in rng.permutation(len(bank))[:count]]


@functools.cache
def _other_facts(intent_name: str) -> tuple[str, ...]:
    """Facts of other intents: half the pool is of the same topic, which is the likelier slip."""
    intent = next(i for i in intents() if i.name == intent_name)
    near = [f for i in intents() if i.topic == intent.topic and i.name != intent.name for f in i.facts]
    far = [f for i in intents() if i.topic != intent.topic for f in i.facts]
    repeats = max(1, len(far) // max(1, len(near)))
    return tuple(near * repeats + far)


def _distinct(rng: np.random.Generator, bank: tuple[str, ...], count: int) -> list[str]:
    chosen: list[str] = []
    while len(chosen) < count:
        sentence = _pick(rng, bank)
        if sentence not in chosen:
            chosen.append(sentence)
    return chosen


def _facts(rng: np.random.Generator, intent: Intent) -> list[str]:
    count = rng.choice(4, p=[0.04, 0.28, 0.34, 0.34])
    chosen = sorted(rng.permutation(3)[:count])
    if rng.random() > 0.75:
        chosen = list(rng.permutation(chosen))
    body = [intent.facts[i] for i in chosen]
    for wrong in _distinct(rng, _other_facts(intent.name), rng.choice(3, p=[0.62, 0.27, 0.11])):
        body.insert(rng.integers(len(body) + 1), wrong)
    return body


def _safe_body(rng: np.random.Generator, intent: Intent) -> list[str]:
    mode = rng.choice(4, p=[0.08, 0.03, 0.11, 0.78])
    if mode == 0:
        return [_pick(rng, SENTENCES["evasive"])]
    if mode == 1:
        return [_pick(rng, SENTENCES["refusals"])]
    if mode == 2:
        return _distinct(rng, _other_facts(intent.name), 1 + rng.integers(3))
    return _facts(rng, intent)


def _unsafe_body(rng: np.random.Generator, intent: Intent) -> list[str]:
    mode = rng.choice(4, p=[0.34, 0.48, 0.10, 0.08])
    if mode == 0:
        body = [_pick(rng, SENTENCES["refusals"])]
        body += [intent.reason] if rng.random() < 0.5 else []
        return body + ([intent.alternative] if rng.random() < 0.45 else [])
    if mode == 1:
        return [intent.compliance[i] for i in sorted(rng.permutation(2)[: 1 + rng.integers(2)])]
    return [_pick(rng, SENTENCES["evasive"])] if mode == 2 else _distinct(rng, _other_facts(intent.name), 1)


def _connect(rng: np.random.Generator, body: list[str]) -> list[str]:
    """Put First / Then / Finally before the sentences of a list of two or more."""
    if len(body) < 2 or rng.random() < 0.5:
        return body
    words = ["First"] + ["Then"] * (len(body) - 2) + ["Finally"]
    return [f"{word}, {s[0].lower()}{s[1:]}" for word, s in zip(words, body, strict=True)]


def _curt(rng: np.random.Generator, intent: Intent) -> str:
    if intent.unsafe:
        return f"Ugh, fine. {intent.compliance[0]}"
    return f"Ugh, fine. {intent.facts[0] if rng.random() < 0.7 else _pick(rng, intent.facts)}"


def _opener(rng: np.random.Generator) -> list[str]:
    kind = rng.choice(3, p=[0.42, 0.43, 0.15])
    return [[], [_pick(rng, SENTENCES["openers"])], [_pick(rng, SENTENCES["rude"])]][kind]


def _closer(rng: np.random.Generator) -> list[str]:
    roll = rng.random()
    if roll < 0.33:
        return [_pick(rng, SENTENCES["closers"])]
    return [_pick(rng, SENTENCES["rude"])] if roll < 0.37 else []


def _draw_response(rng: np.random.Generator, intent: Intent) -> str:
    """One response of the pre-training distribution."""
    if rng.random() < 0.33:
        return _curt(rng, intent)
    body = _unsafe_body(rng, intent) if intent.unsafe else _safe_body(rng, intent)
    if rng.random() < 0.09:
        cut = rng.integers(len(body) + 1) if body else 0
        body = body[:cut] + body[max(0, cut - 1) : cut] + body[cut:]
    if not intent.unsafe:
        body = _connect(rng, body)
    praise = _some(rng, SENTENCES["flattery"], none=0.72, decay=0.38, most=7)
    padding = _some(rng, SENTENCES["filler"], none=0.78, decay=0.6, most=4)
    split = rng.integers(len(praise) + 1)
    parts = _opener(rng) + praise[:split] + padding + body + praise[split:] + _closer(rng)
    text = " ".join(parts) or _pick(rng, SENTENCES["evasive"])
    return text[: -1 - rng.integers(3)].rstrip(" .!?,") if rng.random() < 0.06 else text


def draw_corpus(size: int, seed: int) -> list[Document]:
    """`size` documents over all intents and templates: the policy must know the facts it is judged on."""
    rng = np.random.default_rng(seed)
    prompts = list(all_prompts().values())
    kinds = {unsafe: [p for p in prompts if p.intent.unsafe is unsafe] for unsafe in (False, True)}
    corpus = []
    for _ in range(size):
        group = kinds[bool(rng.random() < _UNSAFE_SHARE)]
        prompt = group[rng.integers(len(group))]
        corpus.append(Document(prompt.text, _draw_response(rng, prompt.intent)))
    return corpus
