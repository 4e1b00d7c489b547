"""Every measured panel of exercise 6.5 with its flaw, which metrics decide, and the decks.

    python -m autograder.keys.nb06_panels     writes both rl_panels.json from docs/results/rl_flaws.json

A test holds the files together. Diagnoses are marked as those of 5.1 are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from autograder.handouts.nb06_5 import NAME
from autograder.handouts.nb06_panels import FILE, GROUPS, METRICS, PANELS
from autograder.keys.nb05_1 import Marking
from autograder.keys.nb05_panels import RESULTS, Keys
from rslib.cache import atomic_write

KEYS = Keys(
    PANELS,
    RESULTS / "rl_flaws.json",
    {metric: metric for metric in METRICS},
    Path(__file__).with_name("rl_panels.json"),
    ("0", "1", "2"),  # healthy runs have more
    65,
    [metric for metric in METRICS if metric not in GROUPS["outcome"]],
)
decisive = KEYS.decisive
_MARKING = Marking(NAME, KEYS)
cases, grade_stage, grade_healthy = _MARKING.cases, _MARKING.grade_stage, _MARKING.grade_healthy


def content() -> dict[str, Any]:
    """What the learners' file holds."""
    from rslib.rl.flaws import FLAWS

    return KEYS.content({n: {"id": n, "description": FLAWS[n].description} for n in PANELS.names()})


def main() -> None:
    """Write the package's copies anew."""
    KEYS.cut_anew()
    atomic_write(FILE, json.dumps(content(), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
