"""Notebook 08: what its catalogue cannot say."""

import itertools
import json
import math
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest

from autograder import exercises
from autograder.build.release import instructor, release, scripts
from autograder.exercise import Variant
from autograder.exercises import calculator, facts, nb08_1, nb08_3
from autograder.handouts import nb08_2, nb08_prices
from autograder.keys import nb08_2 as keys
from autograder.verdict import grade
from autograder.work import Work
from rslib.ledger import Ledger

IDS = [f"student-{k}" for k in range(30)]
SCRIPT = next(script for script in scripts() if script.name.startswith("08"))
BYTES = {"full": (2, 2 + 2 + 4 + 4 + 4), "lora": (2, 2 + 0.1), "4bit": (0.52, 0.52 + 0.1)}


def counted(team, strategy, weights):
    """FLOPs of drawing and of everything else, counted pass by pass by the engine's ledger."""
    drawing, other, size, each = Ledger(), Ledger(), int(team.parameters), 500 * team.prompts
    if strategy == "serve":
        return 0.0, 0.0
    for _ in range(team.n):
        drawing.sampled(size, responses=team.prompts, tokens=each, prompt_tokens=0)
        other.read(int(team.judge), each)
    trained = {
        "rs": (1, team.epochs),
        "dpo": (2, team.epochs),
        "rloo": (team.n, 1),
        "ppo": (team.n, team.epochs),
    }
    texts, epochs = trained[strategy]
    models = 2 if strategy == "ppo" else 1
    for _ in range(texts * (0 if strategy == "rs" else models)):
        other.read(size, each)  # the reference, and the value model's first look
    for _ in range(texts * epochs * models):
        other.trained(size, each)
        if weights != "full":
            other.flops -= 2 * size * each  # a frozen weight has no gradient of its own
    return drawing.flops, other.flops


def in_memory(team, strategy, weights):
    """Gigabytes, model by model: the largest of the stages."""
    reads, trained = (b * team.parameters for b in BYTES[weights])
    judge = BYTES[weights][0] * team.judge
    beside = [reads] if weights == "full" else []
    stages = {
        "serve": [[reads, judge]],
        "rs": [[reads], [judge], [trained]],
        "dpo": [[reads], [judge], [*beside, trained]],
        "rloo": [[*beside, judge, trained]],
        "ppo": [[*beside, judge, trained, trained]],
    }
    return max(map(sum, stages[strategy])) / 1e9


def waiting(team, strategy, weights):
    """Seconds until the first word, token by token: the whole batch takes a step together."""
    speed, rows = 0.4 * team.server.peak, team.n if strategy == "serve" else 1
    seconds = 2 * team.parameters * 200 / speed
    for _ in range(300 if strategy == "serve" else 1):
        fetching = BYTES[weights][0] * team.parameters / team.server.bandwidth
        computing = sum(2 * team.parameters for _ in range(rows)) / speed
        seconds += max(fetching, computing)
    for _ in range(team.n if strategy == "serve" else 0):
        seconds += 2 * team.judge * (200 + 300) / speed
    return seconds


def by_brute_force(team):
    """The acceptable strategies and their weights, from the counts above and the limits one by one."""
    fitting, held = {}, {}
    for strategy in ("serve", "rs", "dpo", "rloo", "ppo"):
        machine = team.server if strategy == "serve" else team.trainer
        small = [w for w in BYTES if 1.25 * in_memory(team, strategy, w) <= machine.gigabytes]
        if not small:
            continue
        weights = small[0]
        drawn, other = counted(team, strategy, weights)
        served = Ledger()
        for _ in range(team.n if strategy == "serve" else 1):
            served.sampled(int(team.parameters), responses=1, tokens=500, prompt_tokens=0)
        scored = 2 * team.judge * 500 * team.n if strategy == "serve" else 0
        tuning = (drawn / 0.1 + other / 0.4) / team.trainer.peak / 3600 * team.trainer.hour
        each = (served.flops / 0.1 + scored / 0.4) / team.server.peak / 3600 * team.server.hour
        weeks = {"serve": 1, "rs": 2, "dpo": 3, "rloo": 6, "ppo": 10}[strategy]
        year = team.comparisons * team.label + 4000 * weeks + tuning + team.requests * each
        if year > team.budget or waiting(team, strategy, weights) > team.wait:
            continue
        if strategy != "serve" and not team.trains:
            continue
        if strategy in {"rloo", "ppo"} and not team.rl:
            continue
        if dict(zip(nb08_2.STRATEGIES, team.wins, strict=True))[strategy] < team.needed:
            continue
        fitting[strategy], held[strategy] = year, weights
    good = {name for name, year in fitting.items() if year <= 1.25 * min(fitting.values())}
    return good or {"none"}, {name: held[name] for name in good}


def test_the_solver_agrees_with_brute_force_over_the_ledger_on_500_random_teams():
    rng, answers, weights = np.random.default_rng(0), Counter(), Counter()
    for _ in range(500):
        team = keys.random_team(rng)
        good, held = by_brute_force(team)
        assert keys.acceptable(team) == good, team
        assert {name: keys.weights_of(team, name) for name in held} == held, team
        answers[tuple(sorted(good))] += 1
        weights.update(held.values())
    assert len(answers) >= 5, answers
    assert set(weights) == set(BYTES), weights


@pytest.mark.parametrize("strategy", nb08_prices.STRATEGIES)
def test_what_a_strategy_takes_is_what_brute_force_counts(strategy):
    rng = np.random.default_rng(1)
    for weights in BYTES:
        team = keys.random_team(rng)
        machine = team.server.peak, team.server.bandwidth
        sizes = (500, team.prompts, team.n, team.epochs, strategy, weights)
        found = (
            calculator.tuning_flops(team.parameters, team.judge, *sizes),
            calculator.memory_gb(team.parameters, team.judge, strategy, weights),
            calculator.wait_seconds(
                team.parameters, team.judge, (200, 300), team.n, strategy, weights, *machine
            ),
        )
        right = [count(team, strategy, weights) for count in (counted, in_memory, waiting)]
        assert found[0] == pytest.approx(right[0])
        assert found[1:] == pytest.approx(tuple(right[1:]))


def test_strategies_are_those_of_the_table_of_facts():
    assert tuple(facts.RESIDENT) == nb08_prices.STRATEGIES
    assert {"n": 16, "epochs": 3} == facts.TEAM
    assert (nb08_2.decks()[0][0].n, nb08_2.decks()[0][0].epochs) == (16, 3)


def test_sixteen_responses_are_one_batch():
    """On a GPU the best of 16 takes less than twice as long as the best of 1; on a phone far longer."""

    def times(name, size):
        machine = nb08_prices.MACHINES[name]
        args = ("serve", "full", machine.peak, machine.bandwidth)
        one, many = (calculator.wait_seconds(size, size, (200, 300), n, *args) for n in (1, 16))
        return many / one

    assert times("one H100", 8e9) < 2
    assert times("a phone", 1e9) > 2


def test_the_labels_and_people_of_the_notebooks_shop_dwarf_its_computation():
    machine = nb08_prices.MACHINES["one H100"]
    shop = nb08_2.Team(
        "A support bot", 8e9, 8e9, 20_000, 1.0, machine, machine, 1e6, 2.0, True, True, (70,) * 5, 60, 1e5
    )
    row = nb08_2.rows(shop, calculator.USE)["rs"]
    assert row.labels > row.people > 50 * row.tuning
    assert 1e6 < nb08_2.even(shop, calculator.USE) < 1e7
    equal = replace(nb08_prices.PRICES, weeks=tuple((name, 1.0) for name in nb08_2.STRATEGIES))
    assert 1e4 < nb08_2.even(shop, calculator.USE, equal) < 1e5  # "tens of thousands of requests"


def test_every_number_that_is_counted_with_stands_in_the_table_of_facts_with_its_source():
    text = repr(nb08_prices.Facts())
    said = {number.value for number in nb08_3.stated(text)}
    machines = [asdict(machine) for machine in nb08_prices.MACHINES.values() if machine.name != "eight H100"]
    numbers = {m["gigabytes"] for m in machines} | {m["hour"] for m in machines} - {0.0}
    numbers |= {m["peak"] / 1e12 for m in machines} | {4000.0, 200.0, 300.0, 40.0, 10.0, 2.0, 16.0, 0.52, 0.1}
    assert numbers <= said, numbers - said
    assert all(len(source) > 10 for _, source in nb08_prices.FACTS)


def test_the_measured_share_of_drawing_is_that_of_the_committed_result():
    from pathlib import Path

    job = json.loads((Path(__file__).parents[1] / "docs/results/gpu-h100.json").read_text())["job B"]
    speed = job["recorded"]["tokens_per_s"]
    assert speed == pytest.approx(115_000, rel=0.01)
    assert 2 * 0.494e9 * speed / nb08_prices.MACHINES["one H100"].peak == pytest.approx(0.12, abs=0.01)


def test_every_learner_gets_one_team_of_each_kind_and_of_each_story():
    for student in IDS:
        known = list(nb08_2.teams(Variant(student, "2026", "8.2")).values())
        assert {team.story for team in known} == set(nb08_2.STORIES)
        fits = [[bool(kind(team)) for team in known] for kind in keys.KINDS]
        orders = itertools.permutations(range(6))
        assert any(all(fits[k][team] for k, team in enumerate(order)) for order in orders)


def test_a_story_tells_every_limit_and_no_answer():
    for team in itertools.chain(*nb08_2.decks()):
        story = nb08_2.told(team)
        assert "{" not in story
        assert all(f"{name} {won}" in story for name, won in zip(nb08_2.STRATEGIES, team.wins, strict=True))
        for value in (f"{team.wait:g} s", nb08_2.dollars(team.budget), team.trainer.name, str(team.needed)):
            assert value in story
        assert ("no new weights" in story) != team.trains
        assert ("Nobody can run an RL loop" in story) != team.rl


def test_a_guesser_rarely_decides_a_team_rightly():
    """All six right by guessing: below 1e-9, as one team has a chance below one in thirty."""
    rng, passed, asked = np.random.default_rng(0), 0, 0
    names = ((*nb08_2.STRATEGIES, "none"), (*nb08_2.WEIGHTS, "none"), (*nb08_2.LIMITS, "none"))
    for student in IDS[:20]:
        for _ in range(20):
            guess = {
                letter: tuple(str(rng.choice(part)) for part in (*names, tuple(nb08_2.CHANGES)))
                for letter in nb08_2.LETTERS
            }
            work = Work({"decisions": guess}, Variant(student, "2026", "8.2"))
            outcomes = grade(exercises.find("8.2"), work, 0).outcomes
            passed, asked = passed + sum(o.passed for o in outcomes), asked + 6
    assert passed / asked < 1 / 30


def test_a_team_for_which_nothing_fits_is_told_so_of_a_change():
    letter, team = next(
        (k, t) for k, t in nb08_2.teams(Variant("", "", "8.2")).items() if keys.acceptable(t) == {"none"}
    )
    [limit] = keys.deciding(team)
    wrong = [name for name in nb08_2.CHANGES if name not in keys.flipping(team)]
    for change in wrong:
        work = Work({"decisions": {letter: ("none", "none", limit, change)}}, Variant("", "", "8.2"))
        outcome = grade(exercises.find("8.2"), work, 0).outcomes["abcdef".index(letter)]
        assert (outcome.check, "acceptable" in outcome.message) == ("flips", False)
        assert "fits" in outcome.message


@pytest.mark.parametrize("seed", range(40))
def test_inputs_are_found_that_tell_all_ideas_of_the_calculator_apart(seed):
    work = Work(asdict(calculator.USE), Variant("", "", "8.1"))
    for part in nb08_1.EXERCISE.parts:  # the reference has no ValueErrors of its own, and fails there alone
        outcome = grade(replace(nb08_1.EXERCISE, parts=(part,)), work, seed).outcomes[0]
        assert outcome.check in ("", nb08_1.REFUSES, "copes with nothing"), outcome


@pytest.mark.parametrize("rounded", [float, math.ceil, math.floor, lambda exact: math.floor(exact) + 1])
def test_requests_may_be_whole_ones_whatever_is_drawn(rounded):
    """Seeds with few requests, where a whole one is far from the exact number, are about 1 in 20."""

    def break_even_requests(once, serving, tuned):
        if min(once, serving, tuned) < 0:
            raise ValueError("a negative amount")
        return rounded(once / (serving - tuned)) if serving > tuned else math.inf

    work = Work({"break_even_requests": break_even_requests}, Variant("", "", "8.1"))
    exercise = replace(nb08_1.EXERCISE, parts=nb08_1.EXERCISE.parts[-1:])
    assert [seed for seed in range(200) if not grade(exercise, work, seed).passed] == []


@pytest.mark.parametrize(
    ("memo", "numbers"),
    [
        ("It takes 112 GB and $1,234.50.", [(112.0, "GB"), (1234.5, "$")]),
        ("about 16 gigabytes, 30 dollars, 6,613 requests", [(16.0, "GB"), (30.0, "$"), (6613.0, "")]),
        ("$2.8k, 2.8 thousand dollars, USD 83,903", [(2800.0, "$"), (2800.0, "$"), (83903.0, "$")]),
        ("three cards of 80 GB, 0.112 TB, 500MB", [(80.0, "GB"), (112.0, "GB"), (0.5, "GB")]),
        ("1.4 M requests, 1.4 million, 1B, 2e6", [(1.4e6, ""), (1.4e6, ""), (1e9, ""), (2e6, "")]),
        ("83 903 dollars for a 7B model", [(83903.0, "$"), (7e9, "")]),
        ("no numbers at all", []),
    ],
)
def test_numbers_of_a_memo_are_read_with_their_units(memo, numbers):
    assert [(n.value, n.kind) for n in nb08_3.stated(memo)] == numbers


@pytest.mark.parametrize(
    ("text", "right", "is_near"),
    [
        ("$28k", 28_313, True),
        ("$28k", 28_900, False),
        ("3 M", 3.15e6, True),
        ("1 M", 1.4e6, False),
        ("112", 112.4, True),
        ("100", 112.4, False),
        ("3", math.inf, False),
    ],
)
def test_a_number_is_near_another_as_people_round(text, right, is_near):
    [number] = nb08_3.stated(text)
    assert number.is_near(right) is is_near


@pytest.mark.parametrize(
    ("memo", "says"),
    [
        ("Serving is free on the phone, so tuning never pays for itself.", True),
        ("It does not pay for itself.", True),
        ("There is no break-even.", True),
        ("It breaks even soon.", False),
    ],
)
def test_a_break_even_that_never_comes_is_said_in_words(memo, says):
    assert nb08_3._says("break_even_requests", memo, math.inf) is says


def test_the_model_solution_decides_every_learners_six_teams():
    """On a sample of learners, and its memo agrees with the calculator."""
    from autograder.build import catalogue

    codes = {id: catalogue.reference(exercises.find(id)).code for id in ("8.2", "8.3")}
    for student in IDS[:6]:
        variant = Variant(student, "2026", "8.2")
        for id, code in codes.items():
            space = {"DESK": nb08_2.Desk(variant), "VARIANT": variant, "__name__": "answer"}
            code = code.replace('given("8.2")', "DESK").replace('Variant("", "", "8.2")', "VARIANT")
            exec(compile(code, id, "exec"), space)
            work = Work(space, replace(variant, exercise=id))
            assert grade(exercises.find(id), work, 0).passed, (student, id)


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


def test_a_notebook_takes_no_dollars_of_a_story_or_of_the_text_for_mathematics():
    # JupyterLab sets what stands between two $ as a formula, also behind a backslash.
    assert "mathjax_ignore" in nb08_2.Desk(Variant("08", "ada"))._repr_html_()
    told = [cell.source for path in scripts() for cell in instructor(path).cells if cell.cell_type != "code"]
    assert not [text for text in told if "\\$" in text]
