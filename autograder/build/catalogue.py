"""The catalogue of right and wrong answers that keeps the graders honest.

`autograder/wrong/1_3.py` holds whole answers to exercise 1.3, one a cell:

    # %% given                                         code that runs before every answer (imports, fixtures)
    # %% correct: with a loop
    # %% wrong: keeps the lowest | idea: F03 | fails at: keeps the highest
    # %% wrong: two of six | idea: F35 | fails at: question a: answer | points: 4

A correct answer must get all points. A wrong one must fail first at the check that its header names, with
that idea; `points` says what it still earns (0 unless said). The reference is read from solutions/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autograder.exercise import Exercise
from rslib.errors import ConfigError

ROOT = Path(__file__).parents[2]
WRONG = ROOT / "autograder" / "wrong"
SOLUTIONS = ROOT / "solutions"
REGION = re.compile(r"^[ \t]*### (BEGIN|END) SOLUTION[ \t]*\n", re.MULTILINE)


@dataclass(frozen=True)
class Answer:
    """One answer of the catalogue: its code, whether it is right, and what must catch it if it is not."""

    exercise: str
    name: str
    code: str
    correct: bool
    idea: str = ""
    fails_at: str = ""
    points: float = 0.0

    def names(self) -> dict[str, Any]:
        """The variables that the answer's code defines."""
        space: dict[str, Any] = {"__name__": "answer"}
        exec(compile(self.code, f"<{self.exercise}: {self.name}>", "exec"), space)
        return space


def cells(text: str) -> Iterator[tuple[str, str]]:
    """(header, code) of the cells of a percent script; text before the first header belongs to none."""
    parts = re.split(r"^# %%(.*)\n", text, flags=re.MULTILINE)
    yield from ((h.strip(), code) for h, code in zip(parts[1::2], parts[2::2], strict=True))


def source_of(exercise: str) -> Path:
    """The catalogue file of an exercise."""
    return WRONG / f"{exercise.replace('.', '_')}.py"


def answers(exercise: str) -> list[Answer]:
    """Every answer of an exercise's catalogue file. Raises ConfigError for a header that cannot be read."""
    path = source_of(exercise)
    if not path.exists():
        raise ConfigError(f"exercise {exercise} has no catalogue: write {path.name} beside the others")
    parts = list(cells(path.read_text(encoding="utf-8")))
    given = "\n".join(code for header, code in parts if header == "given")
    return [_answer(exercise, header, f"{given}\n{code}") for header, code in parts if header != "given"]


def _answer(exercise: str, header: str, code: str) -> Answer:
    fields = dict(re.findall(r"(?:^|\| )(correct|wrong|idea|fails at|points): ([^|]+?)\s*(?=\||$)", header))
    if "correct" in fields and len(fields) == 1:
        return Answer(exercise, fields["correct"], code, True)
    if "wrong" in fields and "fails at" in fields:
        return Answer(
            exercise,
            fields["wrong"],
            code,
            False,
            fields.get("idea", ""),
            fields["fails at"],
            float(fields.get("points", 0)),
        )
    raise ConfigError(f"catalogue of {exercise}: cannot read the header {header!r}")


def reference(exercise: Exercise) -> Answer:
    """The solution's own answer cells, on top of the catalogue's `given` code."""
    [path] = SOLUTIONS.glob(f"{exercise.notebook}_*.py")
    wanted = f'exercise="{exercise.id}" role="answer"'
    code = "\n".join(code for header, code in cells(path.read_text(encoding="utf-8")) if wanted in header)
    given = "\n".join(c for h, c in cells(source_of(exercise.id).read_text(encoding="utf-8")) if h == "given")
    return Answer(exercise.id, "the reference", f"{given}\n{REGION.sub('', code)}", True)
