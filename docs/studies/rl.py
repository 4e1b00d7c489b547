"""What reinforcement learning reaches on the embedded world, beside one round of rejection sampling.

    python -m docs.studies.rl --seeds 0 1 2 3 4        docs/results/rl.json; finished arms are kept

Every method starts from the embedded policy, learns from the same prompts and reward model, and is judged
on the same validation prompts, paired. Budgets are not equal here (the arena's matter): the question is
what works, how long it takes, and what happens to PPO without its KL penalty. PPO looks at other training
prompts every four draws and keeps the best weights; without the penalty it goes on to the end. Settings
were chosen with seed 100 on the 300 validation prompts before those that judge.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from docs.studies.results import RESULTS, markdown, mean_and_range, measure_rows
from rslib import arena, rl
from rslib.config import FinetuneConfig, SampleConfig
from rslib.evaluation import compare
from rslib.ledger import Ledger
from rslib.models import load_policy, load_reward_model
from rslib.selection import select
from rslib.stages import judged
from rslib.tables import take
from rslib.world import load_prompts

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy

_JUDGES, _SAMPLES = range(300, 700), 2
"""Places of the validation prompts that judge every policy, and responses to each."""
_POOL_PROMPTS = 400
"""Prompts of the round of rejection sampling and of DPO's pairs, 16 responses each."""
_LOOKS = 200
"""Further training prompts, for PPO's looks at held-out gold."""


@dataclass(frozen=True)
class _Candidate:
    """A method as this study runs it: `run(task)` tunes, with `setting` beside the method's own defaults."""

    label: str
    run: Callable[[arena.Task], Policy]
    setting: Mapping[str, float] = field(default_factory=dict)


def _whole_best(pool: Dataset, seed: int) -> Dataset:
    """The best response to each prompt among those that were not cut."""
    return select(pool, "best_of_n", seed=seed, truncated="drop")


def _loop(label: str, method: rl.methods.Method, settings: Mapping[str, float]) -> _Candidate:
    return _Candidate(label, arena.online(method, warmup_steps=rl.Loop.warmup_steps), settings)


_GROUPS = {"steps": 16, "prompts_per_step": 32, "n": 4, "kl_coefficient": 0.05}
_SINGLES = {"prompts_per_step": 128, "n": 1, "epochs": 2, "learning_rate": 3e-4}
_DPO = {"learning_rate": 2e-4, "epochs": 2, "beta": 0.5}
CANDIDATES = {
    "base": _Candidate("base", lambda task: task.policy),
    "rs": _Candidate("one round of best-of-16", partial(arena.rejection_sampling, keep=_whole_best)),
    "dpo": _Candidate("DPO, best against worst", arena.dpo, _DPO),
    "rloo": _loop("RLOO", rl.RLOO(), _GROUPS),
    "grpo": _loop("GRPO", rl.GRPO(), _GROUPS),
    "ppo": _loop("PPO", rl.PPO(), {**_SINGLES, "steps": 24, "kl_coefficient": 0.2, "check_every": 4}),
    "ppo_without_kl": _loop(
        "PPO, KL coefficient 0", rl.PPO(), {**_SINGLES, "steps": 40, "kl_coefficient": 0.0}
    ),
}
"""The methods in the order of the page."""


def evaluated(policy: Policy, base: Policy, places: Sequence[int] = _JUDGES) -> Dataset:
    """Scored responses to validation prompts with gold and the base policy's log-probabilities."""
    config = SampleConfig(n=_SAMPLES, seed=1_000_003)
    prompts = take(load_prompts("validation"), places)
    return judged(policy, prompts, load_reward_model("tiny"), config, reference=base)


@cache
def _base_table() -> Dataset:
    base = load_policy("tiny")
    return evaluated(base, base)


def tune(name: str, seed: int, out: Path, prompts: int = _POOL_PROMPTS) -> Policy:
    """The policy of a candidate that learns from the first `prompts` training prompts of the seed."""
    table, candidate = arena.training_prompts(seed, _POOL_PROMPTS + _LOOKS), CANDIDATES[name]
    task = arena.Task(
        load_policy("tiny"),
        load_reward_model("tiny"),
        take(table, range(prompts)),
        Ledger(),
        candidate.setting,
        seed,
        out=out,
        heldout=take(table, range(_POOL_PROMPTS, _POOL_PROMPTS + _LOOKS)),
    )
    return candidate.run(task)


def measure(seed: str, name: str) -> dict[str, Any]:
    """Gold, reward and KL of a candidate, seconds, and gold and reward against base, paired by prompt."""
    began, used = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        policy = tune(name, int(seed), Path(folder))
    seconds = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}
    costs = {} if name == "base" else {unit: round(value, 1) for unit, value in seconds.items()}
    return _entry(evaluated(policy, load_policy("tiny")), _base_table()) | costs


def _entry(table: Dataset, base: Dataset) -> dict[str, Any]:
    """Means of a candidate, and how its gold and reward differ from the base policy's, paired by prompt."""
    against = {f"{name}_over_base": compare(table, base, name) for name in ("gold", "reward")}
    return {name: round(value, 4) for name, value in outcomes(table).items()} | against


def outcomes(table: Dataset) -> dict[str, float]:
    """Mean gold, reward and KL to the base policy (nats) of evaluated responses."""
    kl = np.array(table["logprob"][:]) - np.array(table["reference_logprob"][:])
    return {name: float(np.mean(table[name][:])) for name in ("gold", "reward")} | {"kl": float(kl.mean())}


def _facts() -> dict[str, Any]:
    """What the candidates were run with and judged on."""
    settings = {name: dict(c.setting) for name, c in CANDIDATES.items() if name != "base"}
    settings["rs"] = asdict(FinetuneConfig()) | {"prompts": _POOL_PROMPTS, "n": arena.N}
    evaluation = {"prompts": len(_JUDGES), "samples_per_prompt": _SAMPLES, "split": "validation"}
    return {"evaluation": evaluation, "settings": settings}


# The page -------------------------------------------------------------------------------------------------

_Seeds = Sequence[Mapping[str, Any]]


def page_text(content: Mapping[str, Any]) -> str:
    """What each method reached from the base policy, and what PPO does without its penalty."""
    seeds, evaluation = list(content["results"].values()), content["evaluation"]
    rows = [[c.label, *_method_row([seed[name] for seed in seeds])] for name, c in CANDIDATES.items()]
    head = ["", "gold", "gold over base", "reward over base", "KL, nats", "processor seconds"]
    text = (
        f"Mean over {len(seeds)} seeds, the range of the seeds in brackets; each judged on "
        f"{evaluation['prompts']} prompts of the {evaluation['split']} split, "
        f"{evaluation['samples_per_prompt']} responses each. PPO reaches the gold of the round of best-of-16 "
        f"in {reached(seeds)} of {len(seeds)} seeds. Without its penalty the reward stands above base in "
        f"{without_kl(seeds, 'reward', 1)} and gold below base in {without_kl(seeds, 'gold', -1)} of "
        f"{len(seeds)} seeds by more than the 95 % interval."
    )
    return markdown(head, rows) + "\n\n" + text


def _method_row(entries: _Seeds) -> list[str]:
    """The cells of one method's row; how it differs from base is empty for base itself."""
    is_base = not any(entry["gold_over_base"]["difference"] for entry in entries)
    over = [[entry[f"{name}_over_base"]["difference"] for entry in entries] for name in ("gold", "reward")]
    gold, kl, seconds = ([entry.get(name) for entry in entries] for name in ("gold", "kl", "cpu_seconds"))
    return [mean_and_range(gold), *("" if is_base else mean_and_range(v) for v in (*over, kl, seconds))]


def reached(seeds: _Seeds) -> int:
    """In how many seeds PPO has the gold of one round of best-of-16."""
    return sum(seed["ppo"]["gold"] >= seed["rs"]["gold"] for seed in seeds)


def without_kl(seeds: _Seeds, name: str, sign: int) -> int:
    """In how many seeds PPO without its penalty stands above (1) or below (-1) base, interval and all."""
    over = [seed["ppo_without_kl"][f"{name}_over_base"] for seed in seeds]
    return sum(interval["low"] > 0 if sign > 0 else interval["high"] < 0 for interval in over)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing; the results are written after every arm."""
    parser = argparse.ArgumentParser(prog="python -m docs.studies.rl", description=__doc__)
    parser.add_argument("--seeds", nargs="+", default=list("01234"))
    parser.add_argument("--folder", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    cells = [(seed, name) for seed in options.seeds for name in CANDIDATES]
    measure_rows("rl", cells, measure, _facts(), "results", options.folder)


if __name__ == "__main__":
    main()
