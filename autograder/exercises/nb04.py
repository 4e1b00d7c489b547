"""Notebook 04: fine-tune on the best of 16."""

from autograder.checks import graded_by
from autograder.exercise import Exercise, Part
from autograder.exercises import nb04_1, nb04_3, nb04_5
from autograder.handouts import choice

RECIPE = choice.exercise(
    "4.4", "The team's recipe, judged", name="verdicts", difficulty=2, minutes=15, points=0.5
)
BATCH = Exercise(
    "4.2",
    "The batch and its loss",
    3,
    15,
    ("sft_batch", "sft_loss"),
    (
        Part("tokens and padding", 1, graded_by("nb04_2", "grade_tokens")),
        Part("what is learned", 1, graded_by("nb04_2", "grade_labels")),
        Part("the end of a response", 1, graded_by("nb04_2", "grade_ends")),
        Part("the loss", 2, graded_by("nb04_2", "grade_loss")),
    ),
    needs_torch=True,
)
EXERCISES = [nb04_1.EXERCISE, BATCH, nb04_3.EXERCISE, RECIPE, nb04_5.EXERCISE]
