"""Rejection sampling fine-tuning as one road: sample, score, select, fine-tune, evaluate.

The public names below load on first use, so that `import rslib` stays quick: torch, transformers, datasets
and matplotlib are imported by the stage that needs them.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING

from rslib import errors

if TYPE_CHECKING:
    from rslib.browser import browse
    from rslib.finetuning import finetune
    from rslib.models import load_policy, load_reward_model
    from rslib.pipeline import evaluate, run
    from rslib.profiles import profile
    from rslib.prompts import load_prompts
    from rslib.reward_functions import RewardFunction
    from rslib.sampling import sample
    from rslib.scoring import score
    from rslib.selection import select

# torch's threads wait for each other by spinning, unless this is set before torch is loaded. Beside another
# busy process that takes tens of times as long as the work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"

__all__ = [
    "RewardFunction",
    "__version__",
    "browse",
    "errors",
    "evaluate",
    "finetune",
    "load_policy",
    "load_prompts",
    "load_reward_model",
    "profile",
    "run",
    "sample",
    "score",
    "select",
]

_HOME = {
    "browse": "browser",
    "load_policy": "models",
    "load_reward_model": "models",
    "sample": "sampling",
    "score": "scoring",
    "RewardFunction": "reward_functions",
    "select": "selection",
    "finetune": "finetuning",
    "load_prompts": "prompts",
    "evaluate": "pipeline",
    "run": "pipeline",
    "profile": "profiles",
}
_MODULES = ("evaluation", "page", "plots", "profiles", "rl", "slider", "tables", "theory", "world")


def __getattr__(name: str) -> object:
    """Load a public name, or one of the modules worth naming (`rslib.theory`), on first use (PEP 562)."""
    if name in _HOME:
        value = getattr(importlib.import_module(f"rslib.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"rslib.{name}")
    raise AttributeError(f"module 'rslib' has no attribute '{name}'; public names: {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
