"""Which exercises belong to which item of the topic that the course covers."""

from __future__ import annotations

ITEMS: dict[str, tuple[str, tuple[str, ...]]] = {
    "S1": (
        "Comparison of rejection sampling and RLHF",
        ("3.2", "6.1", "6.2", "6.3", "6.4", "7.1", "7.2", "7.3"),
    ),
    "S2": ("Adoption of rejection sampling in LLMs", ("1.4", "8.4")),
    "S3": ("Analysing a flawed model-improvement pipeline", ("5.1", "5.2", "5.3", "5.4", "6.5")),
    "S4": ("Ordering the steps", ("1.1", "1.2", "1.3")),
    "S5": ("The most direct use of a reward model", ("2.1", "2.2", "2.3", "2.4")),
    "S6": (
        "Evaluating a team's approach",
        ("3.1", "3.3", "3.4", "4.1", "4.2", "4.3", "4.4", "4.5", "9.1", "9.2", "9.3", "9.5"),
    ),
    "S7": ("Choosing an alignment strategy for a startup", ("8.1", "8.2", "8.3")),
    "S8": (
        "Comparing model alignment techniques",
        ("6.3", "6.4", "7.1", "7.2", "7.3", "7.4", "9.4", "9.5", "9.6"),
    ),
}
"""Item -> (its title, ids of its graded exercises)."""
