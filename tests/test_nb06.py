"""Notebook 06: what its catalogue cannot say."""

import ast
import json
import re

import numpy as np
import pytest
import torch

from autograder import exercises
from autograder.build.catalogue import answers, reference
from autograder.build.release import read, scripts
from autograder.exercise import Variant
from autograder.exercises import clipping, nb06_1
from autograder.handouts import nb05_panels
from autograder.handouts import nb06_panels as panels
from autograder.handouts.models import base_policy, judge
from autograder.keys import nb06_panels as marking
from autograder.keys.nb05_panels import DECKS
from autograder.keys.nb06_panels import KEYS as keys
from autograder.verdict import grade
from autograder.work import Work
from docs.studies import signatures
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
        gaps = torch.cat([(a - b).detach().abs().flatten() for a, b in pairs])
        # Tuning moves a weight by 1.7e-3 on average; another order of sums by 2e-9.
        assert gaps.mean() < 1e-6, answer.name


# The diagnosis ----------------------------------------------------------------------------------------------

CLASSES, METRICS = (nb05_panels.HEALTHY, *panels.PANELS.names()), list(panels.METRICS)
IDS = [f"student-{k}" for k in range(100)]


def points_of(student, answer):
    """A reader's share of the points: `answer(case)` gives (flaw, metric)."""
    variant = Variant(student, "2026", "6.5")
    found = {letter: answer(case) for letter, case in marking.cases(variant).items()}
    return grade(exercises.find("6.5"), Work({"found_flaws": found}, variant), 0).points / 3.5


def test_the_panels_of_6_5_are_those_of_the_measured_flaws():
    measured = json.loads(keys.results.read_text(encoding="utf-8"))["rows"]
    assert keys.cut(measured) == keys.rows(), "run: python -m autograder.keys.nb06_panels"
    learners = json.loads(panels.FILE.read_text(encoding="utf-8"))
    assert learners == json.loads(json.dumps(marking.content())), "run: python -m autograder.keys.nb06_panels"


def test_no_panel_of_6_5_is_a_measured_run_and_each_deck_has_one_of_every_stage():
    for number in range(DECKS):
        deck, flaws, _ = keys.dealt(number)
        assert not [
            run for run in deck["runs"] if panels.PANELS.run_of(run) in keys.rows()[flaws[0]].values()
        ]
        inside = [sum(flaw in stage for flaw in flaws) for stage in panels.STAGES.values()]
        assert inside == [1] * 5 and flaws.count(nb05_panels.HEALTHY) == 1


@pytest.mark.parametrize("flaw", panels.PANELS.names())
def test_every_rl_flaw_has_a_metric_that_it_alone_explains(flaw):
    assert keys.decisive(flaw)


def named(run, seed):
    """The class whose mean panel of the other seeds lies nearest."""
    others = [other for other in keys.seeds if other != seed]
    values = signatures.values_of(keys.rows(), METRICS, others)
    shown = np.array([[run[metric] for metric in METRICS]], dtype=float)
    return list(keys.rows())[int(signatures.predictions(values, shown)[0])]


def test_an_expert_names_at_least_95_percent_of_the_runs_from_other_seeds():
    right = [named(keys.rows()[name][seed], seed) == name for name in CLASSES for seed in keys.seeds]
    assert np.mean(right) >= 0.95


def test_an_expert_gets_95_percent_of_the_points_and_the_solution_all_of_them():
    def expert(case):
        flaw = named(case.run, case.seed)
        return flaw, "" if flaw == nb05_panels.HEALTHY else min(keys.decisive(flaw))

    [cell] = [c for c in read(SCRIPT) if c.exercise == "6.5" and c.role == "answer"]
    rules = re.search(r"READ = (\{.*?\n\})", cell.source, flags=re.DOTALL)[1]

    def solution(case):
        fits = [
            (flaw, metric)
            for flaw, (metric, low, high) in ast.literal_eval(rules).items()
            if case.run[metric] is not None and low <= case.run[metric] <= high
        ]
        return fits[0] if fits else (nb05_panels.HEALTHY, "")

    assert np.mean([points_of(student, expert) for student in IDS]) >= 0.95
    assert {points_of(student, solution) for student in IDS} == {1.0}


@pytest.mark.long
def test_whoever_guesses_among_rl_flaws_and_metrics_hardly_ever_passes():
    """Half of the points passes. 7,000 guesses with at most one: below 1e-3, with 99 % confidence."""
    rng, passed = np.random.default_rng(0), 0
    for k in range(7000):
        passed += (
            points_of(IDS[k % 100], lambda case: (str(rng.choice(CLASSES)), str(rng.choice(METRICS)))) >= 0.5
        )
    assert passed <= 1


def test_a_reader_of_outcomes_and_logs_alone_does_not_pass():
    """Gold, reward, KL, length and entropy: what people look at. Half of the points passes."""
    outcomes = METRICS[:5]

    def reader(case):
        others = [seed for seed in keys.seeds if seed != case.seed]
        values = signatures.values_of(keys.rows(), outcomes, others)
        shown = np.array([[case.run[metric] for metric in outcomes]], dtype=float)
        flaw = list(keys.rows())[int(signatures.predictions(values, shown)[0])]
        return flaw, "" if flaw == nb05_panels.HEALTHY else min(keys.decisive(flaw))

    assert np.mean([points_of(student, reader) for student in IDS]) < 0.5


def test_two_flaws_change_no_outcome_as_the_notebook_says():
    rows, outcomes = keys.rows(), panels.GROUPS["outcome"]
    for flaw in ("no_end_penalty", "cut_rewarded"):
        for seed in keys.seeds:
            right = rows[nb05_panels.HEALTHY][seed]
            assert all(rows[flaw][seed][name] == right[name] for name in outcomes)
