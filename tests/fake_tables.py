"""Hand-made scored tables for the tests of evaluation, plots and report: no model, known truths."""

import numpy as np
from datasets import Dataset

WORDS = "boil the water then add salt <b>stir</b> slowly & wait until it is done".split()


def scored(prompts=40, n=4, *, gold=0.0, seed=0, kl=0.0, reward_bias=0.0, comply=0.5, intents=20):
    """Responses of one arm: gold ~ N(gold + intent effect, 1), reward = gold + noise + bias x length."""
    rng = np.random.default_rng(seed)
    hardness = np.random.default_rng(12345).normal(size=intents)  # the same prompts are hard in every arm
    rows = []
    for place in range(prompts):
        intent = place % intents
        for sample_id in range(n):
            length = int(rng.integers(3, 20))
            value = gold + hardness[intent] + rng.normal()
            unsafe = intent % 4 == 3
            logprob = -float(rng.gamma(length, 0.5))
            rows.append(
                {
                    "prompt_id": f"p{place:05d}",
                    "prompt": f"How do I do task {place}?",
                    "kind": "unsafe" if unsafe else "safe",
                    "intent": f"i{intent}",
                    "sample_id": sample_id,
                    "response": " ".join(rng.choice(WORDS, length)),
                    "token_ids": rng.integers(4, 99, length).tolist(),
                    "logprob": logprob,
                    "reference_logprob": logprob - kl - (0.3 * float(rng.normal()) if kl else 0.0),
                    "finish_reason": "length" if rng.random() < 0.05 else "eos",
                    "reward": value + reward_bias * length + 0.5 * float(rng.normal()),
                    "gold": value,
                    "complied": bool(rng.random() < comply) if unsafe else None,
                }
            )
    return Dataset.from_list(rows)


def best_rows(pool, n):
    """The row with the highest reward of each prompt, n rows per prompt in order."""
    best = np.array(pool["reward"]).reshape(-1, n).argmax(axis=1)
    return pool.select((np.arange(len(best)) * n + best).tolist())


def arms(prompts=40, n=4):
    """Three arms on the same prompts: random equals base in truth, best-of-n is 2 gold points better."""
    return {
        "base": scored(prompts, n, gold=1.0, seed=1),
        "random": scored(prompts, n, gold=1.0, seed=2, kl=0.8),
        "best_of_n": scored(prompts, n, gold=3.0, seed=3, kl=1.5, comply=0.1),
    }


def pool_and_kept(prompts=40, n=16):
    """A training pool, and what two selectors keep of it."""
    pool = scored(prompts, n, gold=1.0, seed=4, reward_bias=0.05)
    random = pool.select(range(3, prompts * n, n))
    return pool, {"random": random, "best_of_n": best_rows(pool, n)}
