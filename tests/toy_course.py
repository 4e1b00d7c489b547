"""A notebook with one two-part exercise, for tests of the chain from script to mark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autograder import exercises

EXERCISE = '''\
"""The toy's exercise, found by autograder.exercises like those of the course."""

from autograder.exercise import Exercise, Part, require


def doubles(work, rng):
    x = float(rng.uniform(1, 9))
    require(work.function("double")(x) == 2 * x, "doubles", "this is not twice the number")


def keeps_the_sign(work, rng):
    x = -float(rng.uniform(1, 9))
    require(work.function("double")(x) == 2 * x, "keeps the sign", "the sign of the number is lost")


PARTS = (Part("doubles", 1.5, doubles), Part("sign", 0.5, keeps_the_sign))
EXERCISES = [Exercise("90.1", "Twice", 1, 5, ("double",), PARTS)]
'''
SCRIPT = '''\
# %% [markdown]
# # A toy
# rslib {{{{version}}}}

# %%
import autograder.exercises
autograder.exercises.__path__.append({folder!r})

# %% role="setup"

# %% [markdown]
# {{{{card:90.1}}}}

# %% role="predict" name="twice"
guess = ...  # your number
### BEGIN SOLUTION
guess = 4.0
### END SOLUTION
predict("twice", guess)

# %% exercise="90.1" role="answer"
def double(x):
    """Twice x."""
    ### BEGIN SOLUTION
    return 2 * x  # the secret
    ### END SOLUTION

# %% exercise="90.1" role="answer" name="b"
order = []  # your order
### BEGIN SOLUTION
order = ["secret"]
### END SOLUTION

# %% exercise="90.1" role="check"
check("90.1")

# %% [markdown]
# The end.
'''


@contextmanager
def toy_script(folder: Path) -> Iterator[Path]:
    """Write the exercise and the script `90_toy.py` into the folder; this process knows the exercise then."""
    own = folder / "exercises"
    own.mkdir(parents=True)
    (own / "nb90.py").write_text(EXERCISE, encoding="utf-8")
    script = folder / "solutions" / "90_toy.py"
    script.parent.mkdir()
    script.write_text(SCRIPT.format(folder=str(own)), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exercises, "__path__", [*exercises.__path__, str(own)])
        exercises.of_notebook.cache_clear()
        yield script
    exercises.of_notebook.cache_clear()
