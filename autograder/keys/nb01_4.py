"""Exercise 1.4: which system used rejection sampling where in its recipe, and with how many responses.

The systems are described in the notebook in words of our own, each with its source. Roles and numbers are two
lists that hold for all systems, so a learner meets them once.
"""

from __future__ import annotations

from dataclasses import dataclass

from autograder.handouts.choice import LETTERS
from autograder.keys.questions import Option, Question

ROLES = {
    "serving": (
        "while serving: the reader gets the best one, no policy is trained on it",
        "Serving the best of n ends with the reader and leaves the policy as it is. Here what was kept goes "
        "on: into training, or before people who compare.",
    ),
    "then_ppo": (
        "fine-tuning, version after version; PPO was put on top in the end",
        "This place is for versions that followed each other and for PPO after the last of them. This "
        "description has no such sequence.",
    ),
    "then_dpo": (
        "fine-tuning data for one stage; DPO follows in the same recipe",
        "This place is for a recipe in which DPO comes next. This description does not go on with DPO.",
    ),
    "compared": (
        "one round of fine-tuning, as one of several methods side by side",
        "This place is for one method of several that learn from the same data, side by side. This "
        "description is of one recipe.",
    ),
    "labels": (
        "collecting: better responses for people to compare in pairs",
        "Preference data come about when people compare two responses. Here nobody is asked to compare the "
        "responses in order to label them.",
    ),
    "checked": (
        "fine-tuning on responses with the right result, without a reward model",
        "A result that a program checks stands in for the reward model there. Here a reward model chose.",
    ),
}
COUNTS = {
    "16": ("16", "16 is the number of another description, and a common one. Read this one for its own."),
    "64": ("64", "64 is the number of another description. Read this one for its own, if it gives any."),
    "100": (
        "100",
        "A figure's axis or another paper's setting is not this recipe's number. Read the text again.",
    ),
    "10 to 30": ("10 to 30", "A range stands in another description. This one gives none."),
    "not stated": ("not stated", "The description gives a number. Look for it."),
}


@dataclass(frozen=True)
class System:
    """A system of the reading list and where it stands on the two lists."""

    name: str
    role: str
    count: str


SYSTEMS = (
    System("WebGPT, 2021", "serving", "64"),
    System("Llama 2-Chat, versions 1 to 5, 2023", "then_ppo", "not stated"),
    System("Llama 3, 2024", "then_dpo", "10 to 30"),
    System("AlpacaFarm's expert iteration, 2023", "compared", "16"),
    System("the helpfulness pairs of HH-RLHF, second tranche, 2022", "labels", "16"),
    System("RFT on GSM8K, 2023", "checked", "100"),
)


def _options(table: dict[str, tuple[str, str]], key: str) -> tuple[Option, ...]:
    """The key first, then all others with why they do not fit this system."""
    others = (
        Option(text, _idea(table, key, name), feedback)
        for name, (text, feedback) in table.items()
        if name != key
    )
    return (Option(table[key][0]), *others)


def _idea(table: dict[str, tuple[str, str]], key: str, chosen: str) -> str:
    """F35 where serving and training were confused, either way."""
    if table is COUNTS:
        return "n"
    return "F35" if "serving" in (key, chosen) else "role"


QUESTIONS = tuple(
    Question(id, s.name, _options(ROLES, s.role), _options(COUNTS, s.count), shared=True)
    for id, s in zip(LETTERS.lower(), SYSTEMS, strict=False)
)
