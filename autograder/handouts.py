"""What `given` hands out: found without the modules that mark, which the process of a submission lacks."""

from __future__ import annotations

import importlib
from typing import Any

from autograder import choice
from autograder.exercise import Variant

OTHERS = {
    "1.1": ("ordering", "deck"),
    "1.2": ("exercises.nb01_2", "sheet"),
    "1.4": ("exercises.nb01_4", "matching"),
    "2.3": ("exercises.nb02_scorers", "scorers"),
    "3.3": ("exercises.nb03_given", "pool"),
    "3.4": ("exercises.nb03_given", "sweep"),
    "5.1": ("exercises.nb05_1", "Clinic"),
    "5.2": ("exercises.nb05_2", "Team"),
    "5.3": ("exercises.nb05_3", "runs"),
    "7.1": ("exercises.nb07_arena", "given"),
    "7.2": ("exercises.nb07_methods", "given"),
    "7.3": ("exercises.nb07_3", "Audit"),
    "8.2": ("exercises.nb08_2", "Desk"),
}
"""Exercise -> module and function that make what it hands out. Others hand out a plain sheet of questions."""


def handout(variant: Variant) -> Any:
    """What the exercise of a variant hands out, or None if that is nothing."""
    if variant.exercise in OTHERS:
        module, function = OTHERS[variant.exercise]
        return getattr(importlib.import_module(f"autograder.{module}"), function)(variant)
    return choice.sheet(variant.exercise, variant) if variant.exercise in choice.content() else None
