"""A program as the judge: rejection sampling with a checker beside its controls and GRPO, at equal samples.

    python -m docs.studies.verifiable --seeds 0 1 2 3 4            docs/results/verifiable.json
    python -m docs.studies.verifiable --variants --seeds 0 1 2     docs/results/variants.json

Finished arms stay.

All arms start from the embedded policy of arithmetic and draw as many responses to the same training
problems. Rejection sampling draws them in rounds, from the newest policy, and tunes it on right responses
with different paths; its controls tune on as many random ones, and on all. GRPO draws in small steps. Two
arms are judged by the checker that can be fooled, and every arm is measured by the exact one. Settings were
chosen with seed 100 on validation problems; test problems are used for the table alone. The variants get a
sixth of the responses, the settings of GRPO, and the exact checker.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from autograder.exercises.kept_rows import keep
from docs.studies.results import DOCS, filled, markdown, measure_rows, read, signed_interval, write
from rslib import rl
from rslib.build import solved_figures
from rslib.cache import read_json
from rslib.finetuning import finetune
from rslib.intervals import over_both, over_seeds, verdict_of
from rslib.models import load_policy
from rslib.rl.unified import VARIANTS
from rslib.sampling import sample
from rslib.scoring import score
from rslib.tables import reward_matrix, take
from rslib.world import arithmetic

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy
    from rslib.rl.methods import Method

PROBLEMS, N, ROUNDS = 400, 8, 3
"""Training problems of a round, responses to each, rounds: GRPO draws the same number of responses."""
JUDGED, SAMPLES = 400, 16
"""Test problems, and responses to each."""
_PATHS = 4
"""Different right paths that are kept of one problem at most."""
_TUNING = {"epochs": 8, "learning_rate": 1e-3}
_ALL = _TUNING | {"epochs": 2}
"""For a round's responses all together: about as many steps as eight epochs of the right ones."""
_STEP = {"prompts_per_step": 50, "minibatch": 100, "learning_rate": 5e-4, "kl_coefficient": 0.0}
_PILOT_SEED, _PILOT_JUDGED = 100, 200
TRIED: dict[str, list[dict[str, Any]]] = {
    "right responses": [
        {"learning_rate": rate, "epochs": epochs}
        for rate, epochs in [
            *((2e-4, 2), (2e-4, 4), (5e-4, 2), (5e-4, 4), (5e-4, 8)),
            *((1e-3, 2), (1e-3, 4), (1e-3, 8), (2e-3, 4)),
            *((5e-4, 16), (1e-3, 16)),  # added when the best of the others lay at the edge
            (5e-4, 24),  # added when the best of these did
        ]
    ],
    "GRPO": [{"learning_rate": rate} for rate in (2e-4, 5e-4, 1e-3)],
}
"""Settings of which the one with the highest pass@1 on validation problems was taken."""
_TEST_SEED = 5_000_011
_VARIANT_PROBLEMS, _VARIANT_SAMPLES, _POOL = 200, 8, 4
"""Of the table of variants: training problems, responses to each test problem and in distillation's pool."""


def right_paths(scored: Dataset, most: int = _PATHS) -> np.ndarray:
    """Rows that the checker accepts, one for each path of equations, at most `most` for a problem."""
    paths = list(map(arithmetic.equations, scored["response"][:]))
    return np.array(keep(scored["prompt_id"][:], scored["reward"][:], paths, most))


def _random_rows(scored: Dataset, seed: int) -> np.ndarray:
    """As many rows as `right_paths` keeps, right or not."""
    count = len(right_paths(scored))
    return np.sort(np.random.default_rng([seed, 1]).permutation(len(scored))[:count])


_KEPT = {
    "right": lambda scored, seed: right_paths(scored),
    "random": _random_rows,
    "all": lambda scored, seed: np.arange(len(scored)),
}


def figures(policy: Policy, problems: Dataset, n: int, seed: int) -> dict[str, Any]:
    """What responses to the problems are like, measured by the exact checker.

    Shares of right ones (pass@1, pass@n and by problem), of problems with all or none right, of right ones by
    true equations, of last lines that name several numbers; entropy in nats a token; tokens.
    """
    drawn = sample(policy, problems, n=n, seed=seed, show_progress=False)
    return _figures(score(arithmetic.correct, drawn, show_progress=False))


def _figures(scored: Dataset) -> dict[str, Any]:
    texts, logprobs = scored["response"][:], scored["token_logprobs"][:]
    return solved_figures(scored) | {
        "by_problem": [round(share, 4) for share in reward_matrix(scored)[1].mean(1).tolist()],
        "several_numbers": float(np.mean([arithmetic.several(text) for text in texts])),
        "entropy": -sum(map(sum, logprobs)) / sum(map(len, logprobs)),
        "tokens": float(np.mean([len(tokens) for tokens in logprobs])),
    }


def rejection_sampling(
    policy: Policy,
    problems: Dataset,
    check: Callable[..., float],
    kept: str,
    tuning: Mapping[str, Any],
    seed: int,
    home: Path,
    rounds: int = ROUNDS,
) -> tuple[Policy, list[dict[str, Any]]]:
    """The policy after all rounds, and the figures of what each round drew."""
    history = []
    for number in range(rounds):
        drawn = sample(policy, problems, n=N, seed=seed * ROUNDS + number, show_progress=False)
        scored = score(check, drawn, show_progress=False)
        rows = _KEPT[kept](scored, seed)
        exact = _figures(score(arithmetic.correct, drawn, show_progress=False))
        history.append({name: value for name, value in exact.items() if name != "by_problem"})
        history[-1]["kept"] = len(rows)
        out = home / f"round-{number}"
        policy = finetune(policy, take(scored, rows), out, seed=seed, show_progress=False, **tuning)
    return policy, history


def reinforced(
    policy: Policy,
    problems: Dataset,
    check: Callable[..., float],
    method: Method,
    setting: Mapping[str, Any],
    seed: int,
    home: Path,
    responses: int = PROBLEMS * N * ROUNDS,
) -> tuple[Policy, list[dict[str, Any]]]:
    """The policy after so many responses in small steps, and the figures of each third of these.

    With mixed groups the last step may overshoot.
    """
    steps = responses // (N * setting["prompts_per_step"])
    budget = responses if setting.get("mixed_groups") else None
    plain = {"normalise_rewards": False, "missing_eos_penalty": 0.0}
    loop = rl.Loop(steps=steps, n=N, seed=seed, budget=budget, **plain, **setting)
    tuned = rl.train(policy, check, problems, method, loop, out=home / "rl", show_progress=False)
    history = read_json(home / "rl" / "training.json")["history"]
    return tuned, [_third(steps) for steps in np.array_split(history, ROUNDS) if len(steps)]


def _third(steps: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Figures of the responses of some steps, by the checker that the policy learned from."""
    mean = {name: float(np.mean([step[name] for step in steps])) for name in steps[0]}
    return {
        "pass_at_1": mean["reward"],
        f"pass_at_{N}": mean["highest_reward"],
        "all_right": mean["lowest_reward"],
        "all_wrong": 1 - mean["highest_reward"],
        "entropy": mean["entropy"] / mean["length"],
    }


@cache
def _policy() -> Policy:
    return load_policy("tiny-arithmetic")


def _problems(seed: int, count: int = PROBLEMS) -> Dataset:
    """The training problems of a seed."""
    table = arithmetic.load_problems("train")
    return take(table, np.random.default_rng(seed).permutation(len(table))[:count])


ARMS = {
    "base": None,
    "right responses": ("right", arithmetic.correct),
    "random responses": ("random", arithmetic.correct),
    "all responses": ("all", arithmetic.correct),
    "GRPO": ("grpo", arithmetic.correct),
    "right responses, fooled checker": ("right", arithmetic.mentioned),
    "GRPO, fooled checker": ("grpo", arithmetic.mentioned),
}
"""What the table calls an arm -> how it tunes, and the checker that it learns from."""


def measure(
    arm: str, seed: str, split: str = "test", judged: int = JUDGED, setting: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """One arm with one seed: figures on held-out problems, and of what its rounds drew."""
    policy, history, number = _policy(), [], int(seed)
    with tempfile.TemporaryDirectory() as folder:
        if ARMS[arm]:
            kind, check = ARMS[arm]
            given = (policy, _problems(number), check)
            if kind == "grpo":
                method, step = rl.GRPO(), _STEP | (setting or {})
                policy, history = reinforced(*given, method, step, number, Path(folder))
            else:
                tuning = setting or (_ALL if kind == "all" else _TUNING)
                policy, history = rejection_sampling(*given, kind, tuning, number, Path(folder))
        problems = arithmetic.load_problems(split, judged)
        return figures(policy, problems, SAMPLES, _TEST_SEED + number) | {"rounds": history}


def pilot(arm: str, index: str) -> dict[str, Any]:
    """A setting that was tried, and what it reached on validation problems."""
    setting = TRIED[arm][int(index)]
    reached = measure(arm, str(_PILOT_SEED), "validation", _PILOT_JUDGED, setting)
    return setting | {name: round(reached[name], 3) for name in ("pass_at_1", f"pass_at_{SAMPLES}")}


METHODS: dict[str, tuple[Method, bool]] = {
    "GRPO": (rl.GRPO(), False),
    "RAFT": (VARIANTS["raft"], False),
    "RAFT++": (VARIANTS["raft_pp"], False),
    "Reinforce-Rej": (VARIANTS["reinforce_rej"], False),
    "clip-higher": (VARIANTS["clip_higher"], False),
    "clip-higher, dynamic sampling": (VARIANTS["clip_higher"], True),
    "Dr. GRPO": (VARIANTS["dr_grpo"], False),
    "GSPO": (VARIANTS["gspo"], False),
    "MaxRL": (VARIANTS["maxrl"], False),
}
"""What the table of variants calls a method -> the method, and whether it draws until groups are mixed."""
ROUND, DISTILLED = "rejection sampling, one round", "best-of-4 distillation"
_VARIANT_ARMS = ("base", ROUND, *METHODS, DISTILLED)


def _variant(arm: str, seed: str) -> dict[str, Any]:
    """One method with one seed, tuned on as many responses as one round draws."""
    number, check, responses = int(seed), arithmetic.correct, _VARIANT_PROBLEMS * N
    policy, problems = _policy(), _problems(number, _VARIANT_PROBLEMS)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        if arm == ROUND:
            given = (policy, problems, check, "right", _TUNING)
            policy, _ = rejection_sampling(*given, number, home, rounds=1)
        elif arm == DISTILLED:
            drawn = sample(policy, problems, n=_POOL, seed=number, show_progress=False)
            pool = score(check, drawn, show_progress=False)
            method = rl.VariationalBestOfN.of(pool, _POOL)
            given = (policy, problems, check, method, _STEP)
            policy, _ = reinforced(*given, number, home, responses - len(pool))
        elif arm in METHODS:
            method, mixed = METHODS[arm]
            given = (policy, problems, check, method, _STEP | {"mixed_groups": mixed})
            policy, _ = reinforced(*given, number, home, responses)
        asked = arithmetic.load_problems("test", JUDGED)
        return figures(policy, asked, _VARIANT_SAMPLES, _TEST_SEED + number)


# The page -------------------------------------------------------------------------------------------------


def gained(
    rows: Mapping[str, Mapping[str, Any]], arm: str, over: str, seeds: Sequence[str]
) -> dict[str, Any]:
    """pass@1 of an arm minus another's, `{mean, low, high, verdict}`, for other seeds and other problems."""
    shares = [np.array([rows[name][seed]["by_problem"] for seed in seeds]) for name in (arm, over)]
    difference = shares[0] - shares[1]
    by_problem = difference.mean(0)
    error = float(by_problem.std(ddof=1) / len(by_problem) ** 0.5)
    interval = over_both(difference.mean(1).tolist(), error, len(by_problem))
    return interval | {"verdict": verdict_of(interval)}


def _means(rows: Mapping[str, Any], arm: str, name: str, seeds: Sequence[str]) -> float:
    return float(np.mean([rows[arm][seed][name] for seed in seeds]))


def _columns(n: int) -> dict[str, str]:
    """Figure -> the head of its column, of n responses to each problem."""
    return {
        "pass_at_1": "pass@1",
        f"pass_at_{n}": f"pass@{n}",
        "sound_of_right": "right by a true path",
        "several_numbers": "several numbers",
        "entropy": "entropy, nats a token",
        "all_right": "all right",
        "all_wrong": "none right",
    }


def _arms_table(rows: Mapping[str, Any], arms: Sequence[str], n: int) -> str:
    """The figures of each arm, and what it gained over base."""
    seeds, columns = sorted(rows["base"]), _columns(n)
    table = []
    for arm in arms:
        cells = [f"{_means(rows, arm, name, seeds):.3f}" for name in columns]
        gain = gained(rows, arm, "base", seeds)
        table.append([arm, "" if arm == "base" else signed_interval(gain, "mean"), *cells])
    return markdown(["arm", "pass@1 over base", *columns.values()], table)


def _rounds_table(rows: Mapping[str, Any]) -> str:
    """What each third of an arm's responses to training problems was like."""
    seeds, columns = sorted(rows["base"]), {**_columns(N), "kept": "rows kept"}
    table = []
    for arm, history in ((arm, [rows[arm][seed]["rounds"] for seed in seeds]) for arm in ARMS):
        for number, drawn in enumerate(zip(*history, strict=True), 1):
            means = {name: float(np.mean([one[name] for one in drawn])) for name in drawn[0]}
            means.setdefault(f"pass_at_{N}", 1 - means["all_wrong"])  # of N draws; GRPO noted one of them
            cells = [f"{means[name]:.{3 * (name != 'kept')}f}" if name in means else "" for name in columns]
            table.append([f"{arm}, third {number}", *cells])
    return markdown(["drawn by", *columns.values()], table)


def text(content: Mapping[str, Any]) -> str:
    """The tables of docs/verifiable.md."""
    rows = content["rows"]
    answers = [
        [question, signed_interval(gain, "mean"), gain["verdict"]]
        for question, gain in differences(rows).items()
    ]
    return "\n\n".join(
        (
            _arms_table(rows, list(ARMS), SAMPLES),
            markdown(["difference", "interval", "that it is above 0"], answers),
            _rounds_table(rows),
        )
    )


def variants_text(content: Mapping[str, Any]) -> str:
    """The table of the methods that were measured, and how many seeds it rests on."""
    rows = content["rows"]
    seeds = len(rows["base"])
    others = (
        "other seeds and other problems" if seeds > 1 else "other problems alone, since there is one seed"
    )
    note = f"Seeds: {seeds}. The intervals, 95 %, are for {others}."
    return f"{_arms_table(rows, [arm for arm in _VARIANT_ARMS if arm in rows], _VARIANT_SAMPLES)}\n\n{note}"


_FOOLED, _EXPLOITED = "right responses, fooled checker", "GRPO, fooled checker"
_QUESTIONS = (
    ("right responses", "base"),
    ("right responses", "random responses"),
    ("right responses", "all responses"),
    ("right responses", "GRPO"),
    (_FOOLED, "right responses"),
    (_EXPLOITED, "GRPO"),
)
_SHARES = (
    ("GRPO", "right responses", f"pass_at_{SAMPLES}"),
    (_FOOLED, "base", "several_numbers"),
    (_EXPLOITED, _FOOLED, "several_numbers"),
)
"""Differences in other figures, which are known by seed alone."""


def differences(rows: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Each question's interval and verdict, by "figure: arm over other"."""
    seeds = sorted(rows["base"])
    asked = {f"pass@1: {arm} over {other}": gained(rows, arm, other, seeds) for arm, other in _QUESTIONS}
    for arm, other, name in _SHARES:
        interval = over_seeds([rows[arm][seed][name] - rows[other][seed][name] for seed in seeds])
        question = f"{_columns(SAMPLES)[name]}: {arm} over {other}"
        asked[question] = interval | {"verdict": verdict_of(interval)}
    return asked


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the arms that are missing, and write the page's tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs="+", default=["0", "1", "2", "3", "4"])
    parser.add_argument("--variants", action="store_true", help="the second table, of GRPO's relatives")
    options = parser.parse_args(arguments)
    facts = {"problems": PROBLEMS, "n": N, "rounds": ROUNDS, "tuning": _TUNING, "all": _ALL, "grpo": _STEP}
    if options.variants:
        cells = [(arm, seed) for seed in options.seeds for arm in _VARIANT_ARMS]
        measure_rows("variants", cells, _variant, facts | {"problems": _VARIANT_PROBLEMS, "rounds": 1})
        _fill("variants", variants_text(read("variants")))
        return
    tried = [(arm, str(index)) for arm, settings in TRIED.items() for index in range(len(settings))]
    measure_rows("verifiable_pilot", tried, pilot, {})
    measure_rows("verifiable", [(arm, seed) for seed in options.seeds for arm in ARMS], measure, facts)
    content = read("verifiable")
    content["differences"] = differences(content["rows"])
    write("verifiable", content)
    _fill("verifiable", text(content))


def _fill(name: str, tables: str) -> None:
    page = DOCS / "verifiable.md"
    page.write_text(filled(page.read_text(encoding="utf-8"), name, tables), encoding="utf-8")


if __name__ == "__main__":
    main()
