# %% given
import numpy as np

from autograder.experiments.nb04 import SETTINGS as _SETTINGS
from autograder.experiments.nb04 import quick
from autograder.handouts.models import base_policy, judge
from rslib import evaluation, tables
from rslib.stages import with_gold, with_reference

rslib = quick()
runs = rslib.folder
policy, reward_model = base_policy(), judge()
SETTINGS = {name: _SETTINGS[name] for name in ("epochs", "learning_rate")}
LIKE_STEPS = {"epochs": 1, "batch_tokens": 5000}
heldout = rslib.load_prompts("tiny", "validation", 80)


def draw(tuned, prompts, n, seed):
    return rslib.score(reward_model, rslib.sample(tuned, prompts, n=n, seed=seed))


def judged(tuned):
    drawn = rslib.sample(tuned, heldout, n=2, seed=1_000_003)
    start = None if tuned.fingerprint() == policy.fingerprint() else policy
    return with_gold(with_reference(start, rslib.score(reward_model, drawn)))


def tune(start, rows, **settings):
    return rslib.finetune(start, rows, "", seed=0, **(SETTINGS | settings))


pool = draw(policy, rslib.load_prompts("tiny", "train", 128), n=16, seed=0)
kept = {"best": rslib.select(pool, "best_of_n", truncated="drop")}
kept["random"] = rslib.select(pool, "random", like=kept["best"], truncated="drop")
kept["all"] = rslib.select(pool, "all", truncated="drop")


def outcome(kept):
    """Folders and comparisons of the arms tuned on these rows."""
    made = {arm: tune(policy, rows, **(LIKE_STEPS if arm == "all" else {})) for arm, rows in kept.items()}
    sets = {"base": judged(policy)} | {arm: judged(one) for arm, one in made.items()}
    compared = {arm: evaluation.compare(sets["best"], sets[arm]) for arm in ("base", "random", "all")}
    return {arm: one.path for arm, one in made.items()}, compared


tuned, result = outcome(kept)

# %% correct: the same, by a function

# %% correct: only the numbers, folders as paths
from pathlib import Path

KEYS = ("difference", "low", "high")
result = {arm: {key: float(found[key]) for key in KEYS} for arm, found in result.items()}
tuned = {arm: Path(folder) for arm, folder in tuned.items()}

# %% wrong: the worst | idea: F03 | fails at: the best are the best of each prompt | points: 1
kept = kept | {"best": rslib.select(pool, "worst", truncated="drop")}
tuned, result = outcome(kept)

# %% wrong: a random pick as the best | idea: F04 | fails at: the best are the best of each prompt | points: 1
kept = kept | {"best": rslib.select(pool, "random", seed=7, truncated="drop")}
tuned, result = outcome(kept)

# %% wrong: nothing was tuned | idea: F01 | fails at: the policy changed | points: 2
policy.save(runs / "copy")
tuned = tuned | {"best": str(runs / "copy")}

# %% wrong: the reward model's folder | idea: F01 | fails at: hands in tables, folders and numbers | points: 2
reward_model.save(runs / "reward")
tuned = tuned | {"best": str(runs / "reward")}

# %% wrong: one policy for two arms | idea: F01 | fails at: the policy changed | points: 2
tuned = tuned | {"best": tuned["random"]}

# %% wrong: folders exchanged | idea: F18 | fails at: each policy learned its own rows | points: 2
tuned = tuned | {"best": tuned["all"], "all": tuned["best"]}

# %% wrong: tuned on other prompts | idea: F18 | fails at: each policy learned its own rows | points: 4
others = rslib.load_prompts("tiny", "train", 256).select(range(128, 256))
elsewhere = rslib.select(draw(policy, others, n=16, seed=0), "best_of_n", truncated="drop")
tuned, result = outcome(kept | {"best": elsewhere})

# %% wrong: typed numbers | idea: F50 | fails at: the numbers agree with a new measurement | points: 3
result = {arm: {"difference": 6.0, "low": 5.4, "high": 6.6} for arm in result}

# %% wrong: no interval | idea: F34 | fails at: every difference has its interval | points: 3
result = {arm: {"difference": found["difference"]} for arm, found in result.items()}

# %% wrong: everything is the best | idea: F02 | fails at: the best are the best of each prompt | points: 3
kept = kept | {"best": pool.select(range(len(pool)))}

# %% wrong: the best of the table | idea: F29 | fails at: the best are the best of each prompt | points: 3
kept = kept | {"best": rslib.select(pool, "top_fraction", fraction=1 / 16, truncated="drop")}

# %% wrong: the control is the best | idea: F49 | fails at: the control is a random pick | points: 2
kept = kept | {"random": kept["best"]}

# %% wrong: rewards of noise | idea: F50 | fails at: stored rewards are what the reward model says | points: 3
pool = tables.with_column(pool, "reward", np.random.default_rng(0).normal(size=len(pool)))

# %% wrong: rewards moved | idea: F09 | fails at: stored rewards are what the reward model says | points: 3
pool = tables.with_column(pool, "reward", np.roll(pool["reward"][:], 1))

# %% wrong: kept from another pool | idea: F27 | fails at: kept rows come from the pool | points: 2
pool = draw(policy, rslib.load_prompts("tiny", "train", 128), n=16, seed=1)

# %% wrong: responses typed into the pool | idea: F27 | fails at: the pool was drawn by the policy | points: 2
best_row = int(np.argmax(pool["reward"][:]))
texts = pool["response"][:]
typed = [texts[best_row] + " " * (k % 2) if k % 16 == 0 else text for k, text in enumerate(texts)]
pool = rslib.score(reward_model, tables.with_column(pool, "response", typed))
kept = {"best": rslib.select(pool, "best_of_n", truncated="drop")}
kept["random"] = rslib.select(pool, "random", like=kept["best"], truncated="drop")
kept["all"] = rslib.select(pool, "all", truncated="drop")

# %% wrong: drawn by the tuned policy | idea: F19 | fails at: the pool was drawn by the policy | points: 2
pool = draw(rslib.load_policy(tuned["best"]), rslib.load_prompts("tiny", "train", 128), n=16, seed=0)
kept = {"best": rslib.select(pool, "best_of_n", truncated="drop")}
kept["random"] = rslib.select(pool, "random", like=kept["best"], truncated="drop")
kept["all"] = rslib.select(pool, "all", truncated="drop")
