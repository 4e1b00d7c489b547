"""What `given` hands out: found without the modules that mark, which the process of a submission lacks."""

from __future__ import annotations

import importlib
from typing import Any

from autograder.exercise import Variant
from autograder.handouts import choice

OTHERS = {
    "1.1": ("ordering", "deck"),
    "1.2": ("nb01_2", "sheet"),
    "1.4": ("nb01_4", "matching"),
    "2.3": ("nb02_scorers", "scorers"),
    "3.3": ("nb03_given", "pool"),
    "3.4": ("nb03_given", "sweep"),
    "5.1": ("nb05_1", "Clinic"),
    "5.2": ("nb05_2", "Team"),
    "5.3": ("nb05_3", "runs"),
    "6.5": ("nb06_5", "Clinic"),
    "7.1": ("nb07_arena", "given"),
    "7.2": ("nb07_methods", "given"),
    "7.3": ("nb07_3", "Audit"),
    "8.2": ("nb08_2", "Desk"),
}
"""Exercise -> module and function that make what it hands out. Others hand out a plain sheet of questions."""


def handout(variant: Variant) -> Any:
    """What the exercise of a variant hands out, or None if that is nothing."""
    if variant.exercise in OTHERS:
        module, function = OTHERS[variant.exercise]
        return getattr(importlib.import_module(f"autograder.handouts.{module}"), function)(variant)
    return choice.sheet(variant.exercise, variant) if variant.exercise in choice.content() else None
