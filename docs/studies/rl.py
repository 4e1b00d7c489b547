"""What reinforcement learning reaches on the embedded world, beside one round of rejection sampling.

    python -m docs.studies.rl --seeds 0 1 2 3 4        docs/results/rl.json; finished seeds are kept

Every method starts from the embedded policy, learns from the same prompts and reward model, and is judged
on the same validation prompts, paired. Budgets are not equal here (the arena's matter): the question is
what works, how long it takes, and what happens to PPO without its KL penalty. PPO looks at other training
prompts every four draws and keeps the best weights; without the penalty it goes on to the end. Settings
were chosen with seed 100 on the 300 validation prompts before those that judge.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import rl
from rslib.config import FinetuneConfig
from rslib.evaluation import compare
from rslib.finetuning import finetune
from rslib.models import load_policy, load_reward_model
from rslib.progress import note
from rslib.sampling import sample
from rslib.scoring import score
from rslib.selection import select
from rslib.stages import with_gold, with_reference
from rslib.store import atomic_write, versions
from rslib.tables import take
from rslib.world import load_prompts

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy, RewardModel

FILE = Path("docs/results/rl.json")
JUDGES, SAMPLES = range(300, 700), 2
"""Places of the validation prompts that judge every policy, and responses to each."""
POOL_PROMPTS = 400
"""Prompts of the round of rejection sampling and of DPO's pairs, 16 responses each."""
DPO, DPO_BETA = FinetuneConfig(learning_rate=2e-4, epochs=2), 0.5
LOOKS = 200
"""Further training prompts, for PPO's looks at held-out gold."""
FREE = rl.Loop(steps=40, prompts_per_step=128, n=1, epochs=2, learning_rate=3e-4, kl_coefficient=0.0)
GROUPS = rl.Loop(steps=16, prompts_per_step=32, n=4, kl_coefficient=0.05)
LOOPS: dict[str, tuple[rl.methods.Method, rl.Loop]] = {
    "ppo": (rl.PPO(), replace(FREE, steps=24, kl_coefficient=0.2, check_every=4)),
    "ppo_without_kl": (rl.PPO(), FREE),
    "rloo": (rl.RLOO(), GROUPS),
    "grpo": (rl.GRPO(), GROUPS),
}


def judged(policy: Policy, base: Policy, reward_model: RewardModel, prompts: Dataset) -> Dataset:
    """Scored held-out responses with gold and the base policy's log-probabilities."""
    drawn = sample(policy, prompts, n=SAMPLES, seed=1_000_003, show_progress=False)
    scored = score(reward_model, drawn, show_progress=False)
    return with_gold(with_reference(None if policy is base else base, scored))


def arms(seed: int, out: Path) -> dict[str, Callable[[], Policy]]:
    """How each arm's policy is made; the pool of rejection sampling and DPO is drawn once."""
    base, reward_model = load_policy("tiny"), load_reward_model("tiny")
    everything = load_prompts("train")
    order = np.random.default_rng(seed).permutation(len(everything))
    prompts = take(everything, order[:POOL_PROMPTS])
    looks = take(everything, order[POOL_PROMPTS : POOL_PROMPTS + LOOKS])

    def pool() -> Dataset:
        drawn = sample(base, prompts, n=16, seed=seed, show_progress=False)
        return score(reward_model, drawn, show_progress=False)

    def rejection_sampling() -> Policy:
        kept = select(pool(), "best_of_n", seed=seed, truncated="drop")
        return finetune(base, kept, out / "rs", seed=seed, show_progress=False)

    def dpo() -> Policy:
        config = replace(DPO, seed=seed)
        return rl.finetune_dpo(base, pool(), out / "dpo", beta=DPO_BETA, config=config, show_progress=False)

    def looped(name: str) -> Policy:
        method, loop = LOOPS[name]
        own, told = replace(loop, seed=seed), {"heldout": looks, "show_progress": False}
        return rl.train(base, reward_model, prompts, method, own, out=out / name, **told)

    found: dict[str, Callable[[], Policy]] = {"rs": rejection_sampling, "dpo": dpo}
    return found | {name: (lambda name=name: looped(name)) for name in LOOPS}


def measure(seed: int, out: Path, done: dict[str, Any], keep: Callable[[], None]) -> None:
    """Fill `done` with one entry an arm: gold, reward, KL, seconds, and gold against base and against RS."""
    base, reward_model = load_policy("tiny"), load_reward_model("tiny")
    prompts = take(load_prompts("validation"), JUDGES)
    base_table = judged(base, base, reward_model, prompts)
    tables = {"base": base_table}
    for name, make in arms(seed, out).items():
        if name in done:
            continue
        began, used = time.perf_counter(), time.process_time()
        policy = make()
        seconds = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - used}
        tables[name] = judged(policy, base, reward_model, prompts)
        done[name] = entry(tables[name], base_table) | {k: round(v, 1) for k, v in seconds.items()}
        done["base"] = entry(base_table, base_table)
        note(f"seed {seed}, {name}: gold {done[name]['gold']:.2f}, {seconds['seconds']:.0f} s")
        keep()


def entry(table: Dataset, base: Dataset) -> dict[str, Any]:
    """Means of an arm, and how its gold and reward differ from the base policy's, paired by prompt."""
    kl = np.array(table["logprob"][:]) - np.array(table["reference_logprob"][:])
    means = {name: float(np.mean(table[name][:])) for name in ("gold", "reward")} | {"kl": float(kl.mean())}
    against = {f"{name}_over_base": compare(table, base, name) for name in ("gold", "reward")}
    return {name: round(value, 4) for name, value in means.items()} | against


def settings() -> dict[str, Any]:
    """What the arms were run with, as plain text."""
    loops = {name: f"{method}, {loop}" for name, (method, loop) in LOOPS.items()}
    dpo = f"best against worst of the same pool, beta {DPO_BETA}, {DPO}"
    return loops | {"rs": f"best of 16 of {POOL_PROMPTS} prompts, defaults of finetune", "dpo": dpo}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure what is missing and write the results after every arm."""
    parser = argparse.ArgumentParser(prog="python -m docs.studies.rl", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--file", type=Path, default=FILE)
    options = parser.parse_args(arguments)
    results = json.loads(options.file.read_text(encoding="utf-8"))["results"] if options.file.exists() else {}

    def keep() -> None:
        evaluation = {"prompts": len(JUDGES), "samples_per_prompt": SAMPLES, "split": "validation"}
        body = {"versions": versions(), "evaluation": evaluation, "settings": settings(), "results": results}
        atomic_write(options.file, json.dumps(body, indent=1, sort_keys=True) + "\n")

    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as folder:
            measure(seed, Path(folder), results.setdefault(str(seed), {}), keep)


if __name__ == "__main__":
    main()
