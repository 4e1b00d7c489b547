"""Exercise 6.4: PPO and RLOO within a minute, and PPO without its leash; graded by sampling them anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from autograder.calibration import threshold
from autograder.exercise import Exercise, Part, require, short
from autograder.exercises.artefacts import (
    CLAIMS,
    FORM,
    HASH,
    check_evidence,
    gain,
    hidden_prompts,
    judged,
    loaded,
)
from autograder.handouts.models import base_policy
from autograder.work import Work
from rslib import evaluation, tables

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy

ARMS = ("ppo", "rloo", "ppo_without_kl")
HIDDEN = 100
LEARNED = "{} learned what the reward model likes"
STRAYS = "without the penalty the policy strays"
COMPARISONS = {
    "gold, PPO against base": ("ppo", "base", "gold"),
    "gold, RLOO against base": ("rloo", "base", "gold"),
    "reward, without the penalty against PPO": ("ppo_without_kl", "ppo", "reward"),
    "gold, without the penalty against PPO": ("ppo_without_kl", "ppo", "gold"),
}
"""What the learner compares: first arm, second arm, column."""


def _policies(work: Work) -> dict[str, Policy]:
    found = work.value("tuned", dict)
    for arm in ARMS:
        require(arm in found, FORM, f"`tuned` has no entry {arm!r}.", got=short(list(found)))
    return {arm: loaded(work, found[arm], f"tuned[{arm!r}]") for arm in ARMS}


def _tables(work: Work, rng: np.random.Generator) -> dict[str, Dataset]:
    """Judged responses of base and arms to hidden prompts, with the KL of each response."""
    rng = work.class_rng(rng, "held out")
    prompts = tables.take(hidden_prompts(rng), range(HIDDEN))
    seed, policies = int(rng.integers(2**31)), {"base": base_policy()} | _policies(work)
    arm_tables = {arm: judged(policy, prompts, seed) for arm, policy in policies.items()}
    return {arm: _with_kl(table) for arm, table in arm_tables.items()}


def _with_kl(table: Dataset) -> Dataset:
    kl = np.array(table["logprob"][:]) - np.array(table["reference_logprob"][:])
    return tables.with_column(table, "kl", kl)


def grade_tuned(work: Work, rng: np.random.Generator) -> None:
    """Three policies of their own, two of which earn more reward than the base policy."""
    hashes = {"base": base_policy().fingerprint()}
    for arm, policy in _policies(work).items():
        twin = "".join(other for other, known in hashes.items() if known == policy.fingerprint())
        message = (
            f"tuned[{arm!r}] has the very weights of {twin!r}: nothing was tuned between, or a folder "
            f"is named twice."
        )
        require(not twin, HASH, message, idea="F01")
        hashes[arm] = policy.fingerprint()
    arm_tables = _tables(work, rng)
    for arm in ("ppo", "rloo"):
        found, limit = gain(arm_tables[arm], arm_tables["base"], "reward"), threshold("6.4", arm)
        idea, message = "no signal", "On new prompts its reward is no higher than chance makes it."
        if found < -limit / 4:
            idea, message = (
                "sign",
                "On new prompts its reward fell: is the sign of the reward, or of the loss, turned?",
            )
        require(found >= limit, LEARNED.format(arm), message, idea=idea, got=f"{found:+.2f} reward")


def grade_leash(work: Work, rng: np.random.Generator) -> None:
    """The policy without a penalty is farther from base, and the claims follow from the evidence."""
    evidence, claims = work.value("evidence", dict), work.value("claims", dict)
    arm_tables = _tables(work, rng)
    strays = evaluation.compare(arm_tables["ppo_without_kl"], arm_tables["ppo"], "kl")
    message = (
        "It is no farther from the base policy than PPO with its penalty. Was the coefficient 0, and did it "
        "run as long as the notebook says?"
    )
    got = f"{strays['difference']:+.1f} nats per response"
    require(strays["low"] > 0, STRAYS, message, idea="penalty", got=got)
    for name, (first, second, column) in COMPARISONS.items():
        check_evidence(
            name, evidence.get(name), evaluation.compare(arm_tables[first], arm_tables[second], column)
        )
        low, high = evidence[name]["low"], evidence[name]["high"]
        verdict = "higher" if low > 0 else "lower" if high < 0 else "not separable"
        message = f"{name}: the interval of your evidence says something else than the claim."
        require(claims.get(name) == verdict, CLAIMS, message, idea="F34", got=short(claims.get(name)))


EXERCISE = Exercise(
    "6.4",
    "On the leash and off it",
    3,
    15,
    ("tuned", "evidence", "claims"),
    (Part("what was tuned", 1.5, grade_tuned), Part("what the penalty holds", 1.5, grade_leash)),
    measured=True,
)
