# %% given
import shutil
from pathlib import Path

import numpy as np

import rslib
from autograder.exercises.artefacts import judged
from autograder.exercises.nb06_4 import COMPARISONS
from autograder.experiments.nb06 import quick
from autograder.handouts.models import base_policy, judge
from rslib import evaluation
from rslib.stages import with_gold  # noqa: F401 (the cell of the solution uses it)
from rslib.tables import with_column

policy, reward_model, made = base_policy(), judge(), quick()
runs = made["ppo"].parent
heldout = rslib.load_prompts("tiny", "validation", 100)
tuned = {arm: str(made[arm]) for arm in ("ppo", "rloo", "ppo_without_kl")}
LOOPS, prompts = dict.fromkeys(tuned, (None, None)), None


class rl:
    """Stands for the module where an answer trains: it hands out the short runs that were made."""

    @staticmethod
    def train(policy, reward_model, prompts, method, loop, *, out, show_progress=True):
        return shutil.copytree(made[Path(out).name.removeprefix("6-")], out, dirs_exist_ok=True)


def drawn(folders, prompts=heldout, seed=1_000_003):
    """Judged tables of the base policy and of these; what was measured for one answer serves the next."""
    policies = {"base": policy} | {arm: rslib.load_policy(folder) for arm, folder in folders.items()}
    return {arm: judged(one, prompts, seed) for arm, one in policies.items()}


def compared(tables):
    """Evidence and claims of these tables."""
    found = {name: evaluation.compare(tables[a], tables[b], c) for name, (a, b, c) in COMPARISONS.items()}
    return found, {name: evaluation.verdict(one) for name, one in found.items()}


tables = drawn(tuned)
evidence, claims = compared(tables)

# %% correct: paths, and numbers without the rest
tuned = {arm: made[arm] for arm in tuned}
keys = ("difference", "low", "high")
evidence = {name: {key: np.float64(one[key]) for key in keys} for name, one in evidence.items()}

# %% correct: verdicts by hand
signs = {name: (one["low"] > 0) - (one["high"] < 0) for name, one in evidence.items()}
claims = {name: {1: "higher", -1: "lower", 0: "not separable"}[sign] for name, sign in signs.items()}

# %% correct: claims with a capital letter and blanks
claims = {name: f" {claim.capitalize()} " for name, claim in claims.items()}

# %% correct: more than what was asked for
tuned = tuned | {"another": tuned["ppo"]}
evidence, claims = evidence | {"note": None}, claims | {"note": "none"}

# %% wrong: nothing was tuned | idea: F01 | fails at: the policy changed
policy.save(runs / "copy")
tuned = tuned | {"ppo": str(runs / "copy")}

# %% wrong: one folder for two arms | idea: F01 | fails at: the policy changed
tuned = tuned | {"ppo_without_kl": tuned["ppo"]}

# %% wrong: the reward model's folder | idea: F01 | fails at: hands in tables, folders and numbers
reward_model.save(runs / "reward")
tuned = tuned | {"ppo": str(runs / "reward")}

# %% wrong: one draw | idea: no signal | fails at: ppo learned what the reward model likes | points: 1.5
tuned = tuned | {"ppo": str(made["one_draw"])}
tables = drawn(tuned)
evidence, claims = compared(tables)

# %% wrong: exchanged | idea: penalty | fails at: without the penalty the policy strays | points: 1.5
tuned = tuned | {"ppo": tuned["ppo_without_kl"], "ppo_without_kl": tuned["ppo"]}
tables = drawn(tuned)
evidence, claims = compared(tables)

# %% wrong: an arm is missing | fails at: hands in tables, folders and numbers
tuned = {"ppo": tuned["ppo"], "rloo": tuned["rloo"]}

# %% wrong: typed numbers | idea: F50 | fails at: the comparisons are those of the judged tables | points: 1.5
evidence = evidence | {"gold, PPO against base": {"difference": 9.0, "low": 8.3, "high": 9.7}}

# %% wrong: no interval | idea: F34 | fails at: every difference has its interval | points: 1.5
evidence = {name: {"difference": one["difference"]} for name, one in evidence.items()}

# %% wrong: the opposite claims | idea: F34 | fails at: the claims follow from the evidence | points: 1.5
turned = {"higher": "lower", "lower": "higher", "not separable": "higher"}
claims = {name: turned[claim] for name, claim in claims.items()}

# %% wrong: words of one's own | idea: F34 | fails at: the claims follow from the evidence | points: 1.5
claims = dict.fromkeys(claims, "better")

# %% wrong: nothing is separable | idea: F34 | fails at: the claims follow from the evidence | points: 1.5
claims = dict.fromkeys(claims, "not separable")

# %% wrong: turned round | idea: sign | fails at: the comparisons are those of the judged tables | points: 1.5
name = "gold, PPO against base"
mine = evidence[name]
evidence = evidence | {name: {"difference": -mine["difference"], "low": -mine["high"], "high": -mine["low"]}}

# %% wrong: errors for intervals | idea: F34 | fails at: every difference has its interval | points: 1.5
evidence = {
    name: {"difference": one["difference"], "low": one["standard_error"], "high": one["standard_error"]}
    for name, one in evidence.items()
}

# %% wrong: an interval without width | idea: F34 | fails at: every difference has its interval | points: 1.5
evidence = {
    name: one | {"low": one["difference"], "high": one["difference"]} for name, one in evidence.items()
}

# %% wrong: the folder of the base policy | fails at: the policy changed | idea: F01
policy.save(runs / "copy")
tuned = tuned | {"rloo": str(runs / "copy"), "ppo": str(runs / "copy")}

# %% wrong: a folder that is not there | idea: F01 | fails at: hands in tables, folders and numbers
tuned = tuned | {"rloo": str(runs / "nowhere")}

# %% wrong: the policies themselves | fails at: hands in tables, folders and numbers
tuned = {arm: rslib.load_policy(folder) for arm, folder in tuned.items()}

# %% correct: fewer prompts, and the tables of all that was tuned
tuned = tuned | {"another": tuned["ppo"]}
tables = drawn(tuned, heldout.select(range(70)))
evidence, claims = compared(tables)

# %% correct: tables without the columns that nobody asked for
tables = {
    arm: table.remove_columns(["reference_logprob"]) if "reference_logprob" in table.column_names else table
    for arm, table in tables.items()
}

# %% wrong: another seed | idea: seed | fails at: each judged table was drawn by its policy | points: 1.5
tables = drawn(tuned, seed=0)
evidence, claims = compared(tables)

# %% wrong: another for base | idea: seed | fails at: each judged table was drawn by its policy | points: 1.5
tables = tables | {"base": drawn({}, seed=6)["base"]}
evidence, claims = compared(tables)

# %% wrong: training prompts | idea: F18 | fails at: each judged table was drawn by its policy | points: 1.5
tables = drawn(tuned, rslib.load_prompts("tiny", "train", 100))
evidence, claims = compared(tables)

# %% wrong: one response each | idea: F21 | fails at: each judged table was drawn by its policy | points: 1.5
tables = {arm: table.select(range(0, len(table), 2)) for arm, table in tables.items()}
evidence, claims = compared(tables)

# %% wrong: too few prompts | idea: F21 | fails at: each judged table was drawn by its policy | points: 1.5
tables = {arm: table.select(range(40)) for arm, table in tables.items()}
evidence, claims = compared(tables)

# %% wrong: one table for two | idea: F49 | fails at: each judged table was drawn by its policy | points: 1.5
tables = tables | {"rloo": tables["ppo"]}
evidence, claims = compared(tables)

# %% wrong: rewards | idea: F16 | fails at: the comparisons are those of the judged tables | points: 1.5
both = {name: (tables[first], tables[second]) for name, (first, second, _) in COMPARISONS.items()}
evidence = {name: evaluation.compare(*pair, "reward") for name, pair in both.items()}
claims = {name: evaluation.verdict(one) for name, one in evidence.items()}

# %% wrong: gold is reward | idea: F16 | fails at: each judged table was drawn by its policy | points: 1.5
tables = {arm: with_column(table, "gold", table["reward"][:]) for arm, table in tables.items()}
evidence, claims = compared(tables)

# %% wrong: other tables | idea: F50 | fails at: the comparisons are those of the judged tables | points: 1.5
evidence, claims = compared(drawn(tuned, heldout.select(range(80))))

# %% wrong: no tables | fails at: hands in tables, folders and numbers | points: 1.5
tables = {}
