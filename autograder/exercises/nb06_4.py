"""Exercise 6.4: PPO, RLOO, and PPO without its leash; graded from judged tables and by sampling anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autograder.calibration import threshold
from autograder.exercise import Exercise, Part, require
from autograder.exercises.artefacts import (
    check_changed,
    check_claims,
    gain,
    judged_arms,
    judged_tables,
    tuned_policies,
)
from autograder.handouts.models import base_policy
from autograder.work import Work
from rslib import evaluation, tables

if TYPE_CHECKING:
    from datasets import Dataset

ARMS = ("ppo", "rloo", "ppo_without_kl")
HIDDEN = 100
SEED = 1_000_003
"""Of the responses that the learner judges."""
LEARNED = "{} learned what the reward model likes"
STRAYS = "without the penalty the policy strays"
COMPARISONS = {
    "gold, PPO against base": ("ppo", "base", "gold"),
    "gold, RLOO against base": ("rloo", "base", "gold"),
    "reward, without the penalty against PPO": ("ppo_without_kl", "ppo", "reward"),
    "gold, without the penalty against PPO": ("ppo_without_kl", "ppo", "gold"),
}
"""What the learner compares: first arm, second arm, column."""


def _tables(work: Work, rng: np.random.Generator) -> dict[str, Dataset]:
    """Judged responses of base and arms to hidden prompts, with the KL of each response."""
    arms = judged_arms(work, rng, {"base": base_policy()} | tuned_policies(work, ARMS), HIDDEN)
    return {arm: _with_kl(table) for arm, table in arms.items()}


def _with_kl(table: Dataset) -> Dataset:
    kl = np.array(table["logprob"][:]) - np.array(table["reference_logprob"][:])
    return tables.with_column(table, "kl", kl)


def grade_tuned(work: Work, rng: np.random.Generator) -> None:
    """Three policies of their own, two of which earn more reward than the base policy."""
    check_changed(tuned_policies(work, ARMS))
    arms = _tables(work, rng)
    for arm in ("ppo", "rloo"):
        reward, limit = gain(arms[arm], arms["base"], "reward"), threshold("6.4", arm)
        idea, message = "no signal", "On new prompts its reward is no higher than chance makes it."
        if reward < -limit / 4:
            idea = "sign"
            message = "On new prompts its reward fell: is the sign of the reward, or of the loss, turned?"
        require(reward >= limit, LEARNED.format(arm), message, idea=idea, got=f"{reward:+.2f} reward")


def grade_leash(work: Work, rng: np.random.Generator) -> None:
    """The claims follow from the judged tables, and the policy without a penalty is farther from base."""
    evidence, claims = work.value("evidence", dict), work.value("claims", dict)
    known = {"base": base_policy()} | tuned_policies(work, ARMS)
    check_claims(COMPARISONS, judged_tables(work, known, rng, SEED), evidence, claims)
    arms = _tables(work, rng)
    strays = evaluation.compare(arms["ppo_without_kl"], arms["ppo"], "kl")
    message = (
        "It is no farther from the base policy than PPO with its penalty. Was the coefficient 0, and did it "
        "run as long as the notebook says?"
    )
    got = f"{strays['difference']:+.1f} nats per response"
    require(strays["low"] > 0, STRAYS, message, idea="penalty", got=got)


EXERCISE = Exercise(
    "6.4",
    "On the leash and off it",
    3,
    15,
    ("tuned", "tables", "evidence", "claims"),
    (Part("what was tuned", 1.5, grade_tuned), Part("what the penalty holds", 1.5, grade_leash)),
    measured=True,
    seconds=15,
    needs_torch=True,
)
