"""Notebook 08: what its catalogue cannot say."""

import itertools
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from autograder import exercises
from autograder.build.release import instructor, release, scripts
from autograder.exercise import Variant
from autograder.exercises import calculator, nb08_3
from autograder.handouts import nb08_2
from autograder.keys import nb08_2 as keys
from autograder.verdict import grade
from autograder.work import Work
from rslib.ledger import Ledger

IDS = [f"student-{k}" for k in range(60)]
SCRIPT = next(script for script in scripts() if script.name.startswith("08"))


def counted(team, strategy):
    """FLOPs of tuning once, counted pass by pass by the engine's ledger."""
    ledger, size, each = Ledger(), int(team.parameters), nb08_2.TOKENS * team.prompts
    if strategy == "serve":
        return 0.0
    for _ in range(team.n):
        ledger.sampled(size, responses=team.prompts, tokens=each, prompt_tokens=0)
        ledger.read(size, each)
    trained = {
        "rs": (1, team.epochs),
        "dpo": (2, team.epochs),
        "rloo": (team.n, 1),
        "ppo": (team.n, team.epochs),
    }
    rows, epochs = trained[strategy]
    models = 2 if strategy == "ppo" else 1
    for _ in range(rows * (0 if strategy == "rs" else models)):
        ledger.read(size, each)  # the reference, and the value model's first look
    for _ in range(rows * epochs * models):
        ledger.trained(size, each)
    return ledger.flops


def by_brute_force(team):
    """The acceptable strategies, from the ledger's counts and the limits spelled out one by one."""
    fitting = {}
    for strategy in nb08_2.STRATEGIES:
        reading = {"serve": 2, "rs": 0, "dpo": 1, "rloo": 2, "ppo": 2}[strategy]
        trained = {"serve": 0, "rs": 1, "dpo": 1, "rloo": 1, "ppo": 2}[strategy]
        gigabytes = sum([2] * reading + [2 + 2 + 4 + 4 + 4] * trained) * team.parameters / 1e9
        server, request = Ledger(), nb08_2.TOKENS
        for _ in range(team.n if strategy == "serve" else 1):
            server.sampled(int(team.parameters), responses=1, tokens=request, prompt_tokens=0)
            if strategy == "serve":
                server.read(int(team.parameters), request)
        hours = (counted(team, strategy) + server.flops * team.requests) / (1e15 * 0.4) / 3600
        if gigabytes > team.memory or hours * 3.0 > team.budget:
            continue
        if strategy == "serve" and team.slowest < team.n:
            continue
        if strategy != "serve" and not team.trains:
            continue
        if strategy in {"rloo", "ppo"} and not team.rl:
            continue
        fitting[strategy] = hours
    if not fitting:
        return {"none"}
    return {name for name, hours in fitting.items() if hours <= 1.25 * min(fitting.values())}


def test_the_solver_agrees_with_brute_force_over_the_ledger_on_500_random_teams():
    rng, seen = np.random.default_rng(0), Counter()
    for _ in range(500):
        team = keys.random_team(rng)
        assert keys.acceptable(team) == by_brute_force(team), team
        seen[tuple(sorted(keys.acceptable(team)))] += 1
    assert len(seen) >= 5, seen


@pytest.mark.parametrize("strategy", calculator.STRATEGIES)
def test_the_formula_of_computation_is_what_the_ledger_counts(strategy):
    rng = np.random.default_rng(1)
    for _ in range(20):
        team = keys.random_team(rng)
        sizes = (team.parameters, nb08_2.TOKENS, team.prompts, team.n, team.epochs)
        assert calculator.training_flops(*sizes, strategy) == pytest.approx(counted(team, strategy))


def test_every_learner_gets_one_team_of_each_kind_and_none_twice():
    for student in IDS:
        found = list(nb08_2.teams(Variant(student, "2026", "8.2")).values())
        assert len(set(found)) == 6
        assert any(
            all(kind(team) for kind, team in zip(keys.KINDS, order, strict=True))
            for order in itertools.permutations(found)
        )


def test_a_guesser_rarely_decides_a_team_rightly():
    """All six right by guessing: below 1e-6, as one team has a chance below one in ten."""
    rng, passed, asked = np.random.default_rng(0), 0, 0
    words = ((*nb08_2.STRATEGIES, "none"), (*nb08_2.LIMITS, "none"), tuple(nb08_2.CHANGES))
    for student in IDS[:20]:
        for _ in range(20):
            said = {a: tuple(str(rng.choice(part)) for part in words) for a in nb08_2.LETTERS}
            work = Work({"decisions": said}, Variant(student, "2026", "8.2"))
            found = grade(exercises.find("8.2"), work, 0)
            passed, asked = passed + sum(o.passed for o in found.outcomes), asked + 6
    assert passed / asked < 0.1


@pytest.mark.parametrize(
    ("memo", "stated"),
    [
        ("It takes 112 GB and $1,234.50.", [(112.0, "GB"), (1234.5, "$")]),
        ("about 16 gigabytes, 30 dollars, 6,613 requests", [(16.0, "GB"), (30.0, "$"), (6613.0, "")]),
        ("no numbers at all", []),
    ],
)
def test_numbers_of_a_memo_are_read_with_their_units(memo, stated):
    assert nb08_3.stated(memo) == stated


def test_the_memo_is_a_task_that_a_person_marks():
    [cell] = [c for c in instructor(SCRIPT).cells if c.metadata.get("nbgrader", {}).get("task")]
    known = cell.metadata["nbgrader"]
    assert (cell.cell_type, known["points"], known["locked"]) == ("markdown", nb08_3.BY_HAND, True)
    assert not known["grade"] and not known["solution"]
    assert "BEGIN SOLUTION" not in release(SCRIPT)


def test_the_learners_teams_are_those_that_the_solver_sorts():
    decks = json.loads(nb08_2.FILE.read_text(encoding="utf-8"))
    made = json.loads(json.dumps(keys.content()))
    assert decks == made, "run: python -m autograder.keys.nb08_2"


def test_the_years_cost_is_that_of_the_calculator():
    rng = np.random.default_rng(5)
    for _ in range(50):
        team = replace(keys.random_team(rng), n=int(rng.integers(1, 40)), epochs=int(rng.integers(1, 5)))
        for strategy in nb08_2.STRATEGIES:
            sizes = (team.parameters, nb08_2.TOKENS, team.prompts, team.n, team.epochs)
            each = team.parameters * nb08_2.TOKENS * (4 * team.n if strategy == "serve" else 2)
            flops = calculator.training_flops(*sizes, strategy) + team.requests * each
            right = calculator.cost(flops, nb08_2.PEAK, nb08_2.UTILISATION, nb08_2.PRICE)
            assert nb08_2.yearly_cost(team, strategy) == pytest.approx(right)
