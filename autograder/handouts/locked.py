"""Parts of exercises whose right answers are not with the questions: they lie in `autograder/keys/`.

Where that folder is, as in a clone of the repository, a check marks them at once. Where it is not, as in the
package that a class gets and in the process that runs a submission, the check notes that there is an answer.
"""

from __future__ import annotations

import importlib
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from autograder.exercise import ANSWERED, NOTED, CheckFailed, Grade, same
from autograder.work import Work, is_column

SENTENCE = "Your answer is noted; it is marked after you have handed in."


def keys(name: str) -> ModuleType | None:
    """The module of keys with this name, or None where the package has no keys."""
    module = f"autograder.keys.{name}"
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name not in ("autograder.keys", module):
            raise
        return None


def locked(answer: str, module: str, function: str, *arguments: Any) -> Grade:
    """A part's grade: `function(*arguments, work, rng)` of a module of keys. answer: the learner's name."""
    return partial(_grade, answer, module, function, arguments)


def _grade(
    answer: str, module: str, function: str, arguments: tuple[Any, ...], work: Work, rng: np.random.Generator
) -> None:
    marking = keys(module)
    if marking is None:
        work.value(answer)
        raise CheckFailed(NOTED, SENTENCE)
    getattr(marking, function)(*arguments, work, rng)


def entry(work: Work, name: str, key: str, what: str, *, blank: Any = "") -> Any:
    """The learner's answer `key` of the dict `name`. Raises CheckFailed where it is not filled in yet.

    what: how a message calls it, such as "entry for team a". blank: what stands there at first. A key in
    capitals is the same key, and a pandas column is read by its labels.
    """
    answers = work.object(name)
    answers = answers.to_dict() if is_column(answers) else work.value(name, dict)
    answer = answers.get(key, answers.get(key.swapcase()))
    if answer is None or answer is ... or same(answer, "") or same(answer, blank):
        raise CheckFailed(ANSWERED, f"`{name}` has no {what} yet.")
    return answer
