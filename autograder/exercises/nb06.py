"""Notebook 06: RLHF from scratch."""

from autograder.checks import graded_by
from autograder.exercise import Exercise, Part
from autograder.exercises import nb06_4
from autograder.handouts import nb06_5

ADVANTAGE = Exercise(
    "6.1",
    "What an advantage is, and the loss that follows it",
    2,
    15,
    ("leave_one_out", "group_normalised", "reinforce_loss"),
    (
        Part("leave one out", 1.0, graded_by("nb06_1", "grade_one_out")),
        Part("normalised in the group", 1.0, graded_by("nb06_1", "grade_normalised")),
        Part("the loss", 1.5, graded_by("nb06_1", "grade_loss")),
    ),
    needs_torch=True,
)
PIECES = Exercise(
    "6.2",
    "The pieces of PPO",
    3,
    20,
    ("token_rewards", "gae", "clipped_policy_loss", "clipped_value_loss"),
    (
        Part("rewards with their KL", 1.0, graded_by("nb06_2", "grade_rewards")),
        Part("advantages", 1.0, graded_by("nb06_2", "grade_advantages")),
        Part("the policy's loss", 1.0, graded_by("nb06_2", "grade_policy")),
        Part("the value's loss", 0.5, graded_by("nb06_2", "grade_value")),
    ),
    needs_torch=True,
)
COEFFICIENT = Exercise(
    "6.3",
    "One number per token",
    3,
    15,
    ("sft", "rejection_sampling", "ppo", "grpo", "dpo"),
    (
        Part("fine-tuning and rejection sampling", 0.5, graded_by("nb06_3", "grade_tuning")),
        Part("PPO", 1.0, graded_by("nb06_3", "grade_ppo")),
        Part("GRPO", 1.0, graded_by("nb06_3", "grade_grpo")),
        Part("DPO", 1.0, graded_by("nb06_3", "grade_dpo")),
    ),
    needs_torch=True,
)
EXERCISES = [ADVANTAGE, PIECES, COEFFICIENT, nb06_4.EXERCISE, nb06_5.EXERCISE]
