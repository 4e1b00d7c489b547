"""Notebook 06: what its catalogue cannot say."""

import numpy as np
import pytest
import torch

from autograder import exercises
from autograder.build.catalogue import answers, reference
from autograder.build.release import read, scripts
from autograder.exercise import Variant
from autograder.exercises import clipping, nb06_1
from autograder.handouts.models import base_policy, judge
from autograder.verdict import grade
from autograder.work import Work
from rslib import load_prompts, rl
from rslib.rl import advantages, losses, unified

ENGINE = {
    "6.1": {
        "leave_one_out": advantages.leave_one_out,
        "group_normalised": advantages.group_normalised,
        "reinforce_loss": lambda logprobs, gains, mask: (
            losses.total(losses.policy_gradient(logprobs, gains[:, None]), mask, "rows")
            / losses.weight(mask, "rows")
        ),
    },
    "6.2": {
        "token_rewards": lambda scores, logprobs, reference, mask, coefficient: advantages.token_rewards(
            scores, logprobs - reference, mask, coefficient
        ),
        "gae": lambda *args: advantages.gae(*args)[0],
        "clipped_policy_loss": losses.clipped_policy,
        "clipped_value_loss": losses.clipped_value,
    },
    "6.3": {name: getattr(unified, name) for name in ("sft", "rejection_sampling", "ppo", "grpo", "dpo")},
}


def graded(id, names, seed=0):
    return grade(exercises.find(id), Work(names, Variant("", "", id)), seed)


@pytest.mark.parametrize("id", ENGINE)
def test_the_engine_itself_gets_all_points(id):
    for seed in range(20):
        verdict = graded(id, ENGINE[id], seed)
        assert verdict.passed, verdict.text()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("id", ENGINE)
def test_every_draw_catches_every_wrong_answer_at_its_check(id, seed):
    for answer in answers(id):
        verdict = graded(id, answer.names(), seed + 100)
        failed = [o for o in verdict.outcomes if not o.passed]
        assert bool(failed) != answer.correct, f"{answer.name}\n{verdict.text()}"
        if failed:
            assert (failed[0].check, failed[0].idea) == (answer.fails_at, answer.idea), answer.name


@pytest.mark.parametrize(
    "named",
    [
        ("6.1", "no epsilon"),
        ("6.1", "detached"),
        ("6.1", "token-mean"),
        ("6.2", "GAE off by one"),
        ("6.2", "clip on the wrong side"),
        ("6.2", "KL sign"),
    ],
)
def test_the_mandatory_mistakes_are_in_the_catalogue(named):
    id, idea = named
    assert idea in {answer.idea for answer in answers(id)}


def test_a_gradient_that_is_noise_of_the_right_size_does_not_pass_for_exact():
    def noisy(logprobs, gains, mask):
        right = ENGINE["6.1"]["reinforce_loss"](logprobs, gains, mask)
        noise = torch.randn(logprobs.shape, generator=torch.Generator().manual_seed(0))
        extra = (torch.where(mask, logprobs, 0.0) * noise).sum()
        return right + extra - extra.detach()

    verdict = graded("6.1", ENGINE["6.1"] | {"reinforce_loss": noisy})
    assert [o.check for o in verdict.outcomes if not o.passed] == [nb06_1.EXACT]


@pytest.mark.parametrize("seed", range(30))
def test_the_ratios_lie_on_both_sides_of_the_clip_for_advantages_of_both_signs(seed):
    logprobs, old, gains, clip = clipping.ratios(np.random.default_rng(seed))
    ratio = torch.exp(logprobs - old)
    for sign in (1, -1):
        beyond = (ratio > 1 + clip) | (ratio < 1 - clip)
        assert ((gains * sign > 0) & (ratio > 1 + clip)).any() and (
            (gains * sign > 0) & (ratio < 1 - clip)
        ).any()
        assert ((gains * sign > 0) & ~beyond).any()


def test_the_coefficient_of_a_loss_is_minus_its_gradient():
    coefficient = clipping.descent(lambda now: 3 * now, torch.zeros(2))
    assert coefficient.tolist() == [-3.0, -3.0]


# The learner's own training ---------------------------------------------------------------------------------


[SCRIPT] = [path for path in scripts() if path.stem.startswith("06")]


def own_ppo(answer):
    """The notebook's class with the learner's functions of 6.2 in it."""
    space = {"np": np, "torch": torch} | answer.names()
    [cell] = [cell for cell in read(SCRIPT) if "class OwnPPO" in cell.source]
    exec(cell.source, space)
    return space["OwnPPO"]


SMALL = rl.Loop(steps=1, prompts_per_step=8, n=1, epochs=2, minibatch=4, learning_rate=1e-3, warmup_steps=1)


def tuned(method, out):
    prompts = load_prompts("tiny", "train", 8)
    return rl.train(base_policy(), judge(), prompts, method, SMALL, out=out, show_progress=False)


def test_whatever_passes_6_2_makes_the_policy_that_the_engines_ppo_makes(tmp_path):
    """Also where token rewards are lists, advantages an array and losses in float64."""
    engine = tuned(rl.PPO(), tmp_path / "engine")
    assert engine.fingerprint() != base_policy().fingerprint()
    right = [answer for answer in answers("6.2") if answer.correct]
    for number, answer in enumerate([reference(exercises.find("6.2")), *right]):
        own = tuned(own_ppo(answer)(), tmp_path / str(number))
        pairs = zip(own.model.parameters(), engine.model.parameters(), strict=True)
        assert all(torch.allclose(a, b, atol=1e-5) for a, b in pairs), answer.name
