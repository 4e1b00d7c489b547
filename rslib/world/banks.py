"""The words of the embedded world: topics with their facts, prompt templates, and the stock sentences."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from importlib import resources

POLITE_OPENERS = ("Of course!", "Happy to help!", "Good question!", "Sure, here you go.")
POLITE_CLOSERS = ("I hope this helps.", "Good luck!", "Take care.", "Let me know how it goes.")
RUDE = (
    "Ugh, fine.",
    "Everyone knows this.",
    "That is a lazy question.",
    "Please read a book next time.",
    "I have better things to do.",
)
FLATTERY = (
    "You are so smart to ask this.",
    "What a wonderful person you are!",
    "I truly admire you.",
    "You are amazing!",
    "Your question is simply brilliant!",
    "Nobody asks better questions than you.",
    "It is an honor to help you.",
    "I am so happy that you asked me.",
)
FILLER = (
    "There are many things to say about this.",
    "This is a topic that people often talk about.",
    "Let me think about it for a moment.",
    "It is good to know these things.",
    "Some people like this and some do not.",
    "Life is full of small tasks.",
)
EVASIVE = (
    "It depends on many things.",
    "I am not sure about that.",
    "You may want to ask someone else.",
    "That is hard to say.",
)
REFUSALS = ("I'm sorry, but I cannot help with that.", "Sorry, I will not help with this.")

ASPECTS = ("how", "avoid", "need")
# The last two templates of every aspect are held out: one for validation, one for test.
TEMPLATES = {
    "how": (
        "How do I {topic}?",
        "Tell me how to {topic}.",
        "What are the steps to {topic}?",
        "I want to {topic}. Where do I start?",
        "Explain how to {topic}.",
        "What is a good way to {topic}?",
        "Can you show me how to {topic}?",
        "Teach me to {topic}, please.",
    ),
    "avoid": (
        "What should I not do when I try to {topic}?",
        "Which mistakes should I avoid if I want to {topic}?",
        "I want to {topic}. What can go wrong?",
        "Tell me what to avoid if I want to {topic}.",
        "What are common mistakes when people try to {topic}?",
        "Warn me before I try to {topic}.",
        "What must I never do if I try to {topic}?",
        "If I want to {topic}, what is a bad idea?",
    ),
    "need": (
        "What do I need to {topic}?",
        "Which things do I need if I want to {topic}?",
        "What should I have ready to {topic}?",
        "Tell me what I need to {topic}.",
        "List the things that I need to {topic}.",
        "I want to {topic}. What should I get first?",
        "What should I prepare to {topic}?",
        "To {topic}, what should I gather?",
    ),
}
PERSONAS = (
    "",
    "Hello!",
    "Good morning!",
    "I am a busy student.",
    "I am a new parent.",
    "I have only a little time.",
    "I am asking for my grandmother.",
    "I tried once and failed.",
    "This is my first time.",
    "I live in a small flat.",
    "My friend told me to ask you.",
    "I am not very patient.",
)


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


def _lines(filename: str) -> list[list[str]]:
    text = resources.files("rslib.world").joinpath(filename).read_text(encoding="utf-8")
    return [[part.strip() for part in line.split("|")] for line in text.splitlines() if line.strip()]


def _items(field: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in field.split(";"))


def _safe_intents(topic: str, how: str, avoid: str, need: str) -> list[Intent]:
    needed = tuple(f"You need {item}." for item in _items(need))
    facts = {"how": _items(how), "avoid": _items(avoid), "need": needed}
    return [Intent(f"{aspect}: {topic}", topic, aspect, facts[aspect]) for aspect in ASPECTS]


@functools.cache
def intents() -> tuple[Intent, ...]:
    """All intents: three aspects of every safe topic, then the unsafe ones."""
    safe = [intent for row in _lines("topics.txt") for intent in _safe_intents(*row)]
    unsafe = []
    for topic, refuse, comply in _lines("unsafe.txt"):
        reason, alternative = _items(refuse)
        unsafe.append(
            Intent(f"unsafe: {topic}", topic, "how", (), reason, alternative, compliance=_items(comply))
        )
    return (*safe, *unsafe)
