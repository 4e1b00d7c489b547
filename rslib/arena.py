"""The arena's methods at equal budget: fixed settings, trial settings, and one run of each within a budget.

Fixed settings are the same in every budget; what a trial changes is a learning rate (a third of the middle
one, the middle one, three times it: the same distances for every method) and one more setting. A ledger ends
each run when its budget is spent; rejection sampling draws its pool in chunks, as large as the budget allows
when the fine-tune must still be paid from it. docs/studies/arena measures all of them.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import io
import json
import textwrap
import tokenize
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rslib import finetuning, rl, selection, tables
from rslib.config import FinetuneConfig, SampleConfig
from rslib.export import best_and_worst
from rslib.finetuning import training_rows
from rslib.ledger import FORWARD, TRAINING, Ledger
from rslib.messages import Prompt
from rslib.models import Policy, RewardModel
from rslib.models.rewards import Encoded
from rslib.pipeline import SEED_STEP
from rslib.prompts import EMBEDDED, load_prompts
from rslib.rl import advantages, loop, losses, methods, rollouts, unified
from rslib.rl import dpo as dpo_module
from rslib.sampling import sample
from rslib.scoring import score
from rslib.selection import select
from rslib.stages import with_gold, with_reference

if TYPE_CHECKING:
    from datasets import Dataset
    from torch import Tensor

N = 16
"""Responses to each prompt wherever a best of n is kept."""
_RATES = (1 / 3, 1.0, 3.0)
"""Trial learning rates, as multiples of a method's middle one."""
_STEPS = 10_000
"""More draws than any budget pays for: it is the budget that ends a run."""
_WARMUP = 5
"""Optimizer steps of warm-up, the fine-tune's own, for the loop as well."""
UNTUNED = {"seed", "batch_size", "gradient_checkpointing", "budget", "budget_unit", "steps", "check_every"}
"""Fields that no one tunes: seeds, memory, and where a run ends."""


@dataclass(frozen=True)
class Task:
    """What a run starts from. `prompts` are in the order of the run's seed; `setting` is the trial's.

    seconds_per_token: of training, from the reference run. heldout: prompts that the loop looks at, where its
    setting says so. notes: measurements of a run that its ledger does not hold.
    """

    policy: Policy
    reward_model: RewardModel
    prompts: Dataset
    ledger: Ledger
    setting: Mapping[str, float]
    seed: int
    out: Path
    seconds_per_token: float = 0.0
    heldout: Dataset | None = None
    notes: dict[str, float] = field(default_factory=dict)

    def sampling(self) -> SampleConfig:
        """How pools are drawn."""
        return SampleConfig(n=N, seed=self.seed)

    def finetune(self) -> FinetuneConfig:
        """How kept rows are fine-tuned on."""
        names = {"learning_rate", "epochs"} & set(self.setting)
        return FinetuneConfig(seed=self.seed, **{name: self.setting[name] for name in names})


def training_prompts(seed: int, count: int) -> Dataset:
    """The training prompts of a seed, in an order of its own."""
    table = load_prompts(EMBEDDED, "train")
    return tables.take(table, np.random.default_rng(seed).permutation(len(table))[:count])


@dataclass(eq=False, kw_only=True)
class LengthCorrected(RewardModel):
    """A reward model less `per_token` for every token of the response.

    What a reward that grows with length, whatever is said, is corrected by: one reward for all that use it,
    selectors and policy gradients alike. Rows go through the class's own pass, where their length is known.
    """

    per_token: float

    @classmethod
    def of(cls, reward_model: RewardModel, per_token: float) -> LengthCorrected:
        """This reward model, corrected; it shares the weights."""
        names = [f.name for f in dataclasses.fields(reward_model)]
        parts = {name: getattr(reward_model, name) for name in names} | {"shared": False}
        return cls(**parts, per_token=per_token)

    def inputs_many(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Encoded]:
        """Each (prompt, response) encoded, with the response's length in tokens."""
        texts = [response for _, response in pairs]
        lengths = map(len, self.tokenizer(texts, add_special_tokens=False)["input_ids"] if texts else [])
        rows = super().inputs_many(pairs)
        return [{**row, _LENGTH: [length]} for row, length in zip(rows, lengths, strict=True)]

    def own_rewards(self, rows: Sequence[Encoded]) -> Tensor:
        """Rewards (rows,) of the class's own forward pass, corrected."""
        plain = [{name: ids for name, ids in row.items() if name != _LENGTH} for row in rows]
        rewards = super().own_rewards(plain)
        lengths = torch.tensor([row[_LENGTH][0] for row in rows], device=rewards.device)
        return rewards - self.per_token * lengths

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"per_token": self.per_token}


_LENGTH = "response_length"


@dataclass(frozen=True)
class Arm:
    """One method. middle: its middle learning rate; second: the other setting of its trials.

    run(task) tunes and returns the policy, counting in the task's ledger; None: nothing is trained.
    settings: the dataclasses whose fields are its hyper-parameters; more: those outside of a dataclass.
    own, shared: the code that is the method's alone, and the code that it needs beside sampling, scoring and
    the training step. corrected: it is given the reward less so much for every token (`LengthCorrected`).
    risks: what goes wrong with it, beside what goes wrong with every use of this reward model.
    """

    name: str
    label: str
    run: Callable[[Task], Policy] | None = None
    middle: float | None = None
    second: tuple[str, tuple[float, float]] | None = None
    settings: Sequence[type] = ()
    more: Sequence[str] = ()
    own: Sequence[Any] = ()
    shared: Sequence[Any] = ()
    corrected: bool = False
    risks: Sequence[str] = ()

    def trials(self, second: float | None = None) -> list[dict[str, float]]:
        """The six settings that are tried first; with `second` given, the three that keep that value of it.

        One empty setting for an arm that is not trained.
        """
        if self.middle is None or self.second is None:
            return [{}]
        name, values = self.second
        rates = [float(f"{self.middle * factor:.2g}") for factor in _RATES]
        tried = values if second is None else (second,)
        return [{"learning_rate": rate, name: value} for rate in rates for value in tried]

    def hyper_parameters(self) -> int:
        """How many settings shape the tuned policy."""
        names = [f.name for kind in self.settings for f in dataclasses.fields(kind)] + list(self.more)
        return sum(name not in UNTUNED for name in names)


# A pool within a budget -------------------------------------------------------------------------------------

_FIRST, _MOST, LEAST = 8, 32, 4
"""Prompts of the first chunk, of the largest and of the smallest; the first tells what a prompt costs."""


def _tokens_of(policy: Policy, kept: Dataset) -> int:
    """Tokens that a fine-tune on these rows reads in one epoch, prompts included."""
    return sum(len(row.ids) for row in training_rows(policy, kept))


def _sample_within_budget(
    task: Task, rows: Callable[[Dataset], Sequence[Dataset]], passes: float, limit: float | None = None
) -> Dataset:
    """A scored pool, prompt-major: chunk after chunk while the next and the fine-tune fit into the budget.

    The fine-tune reads `rows(pool)` `passes` times. `limit`: what may be spent in all when this pool and its
    fine-tune are paid; None: the ledger's own. The first chunk is drawn whatever it costs, for only then is
    known what a prompt costs.
    """
    from datasets import concatenate_datasets

    ledger, n = task.ledger, task.sampling().n
    limit = ledger.limit if limit is None else limit
    # What training on one token costs in the budget's unit; a fine-tune costs no responses.
    price = {"flops": TRAINING * task.policy.parameters, "responses": 0.0, None: 0.0}
    a_token = price.get(ledger.unit, task.seconds_per_token)
    before, pool, count = ledger.spent, None, _FIRST
    while count and (pool is None or len(pool) < len(task.prompts) * n):
        start = 0 if pool is None else len(pool) // n
        prompts = tables.take(task.prompts, range(start, min(start + count, len(task.prompts))))
        chunk = _scored(task.policy, task.reward_model, prompts, task.sampling(), ledger)
        pool = chunk if pool is None else concatenate_datasets([pool, chunk])
        due = a_token * (sum(_tokens_of(task.policy, kept) for kept in rows(pool)) * passes)
        each = (ledger.spent - before + due) / (len(pool) // n)
        fits = (limit - ledger.spent - due) / each if each > 0 else _MOST
        count = int(min(fits, _MOST)) if fits >= LEAST else 0
    return pool


def _scored(
    policy: Policy,
    reward_model: RewardModel,
    prompts: Dataset,
    config: SampleConfig,
    ledger: Ledger,
    reads: int = 1,
) -> Dataset:
    """`config.n` responses to each prompt with their rewards, counted in the ledger; `reads`: of a prompt."""
    responses = sample(policy, prompts, config=config, show_progress=False)
    scored = score(reward_model, responses, show_progress=False)
    tokens = sum(map(len, scored["token_ids"][:]))
    read = reads * sum(map(len, policy.encode_many(prompts["prompt"][:])))
    ledger.sampled(policy.parameters, responses=len(scored), tokens=tokens, prompt_tokens=read)
    ledger.read(reward_model.parameters, tokens + read)
    ledger.held(2)
    return scored


# Rejection sampling, in rounds ----------------------------------------------------------------------------


def best(pool: Dataset, seed: int) -> Dataset:
    """The best response to each prompt."""
    return select(pool, "best_of_n", seed=seed)


def at_random(pool: Dataset, seed: int) -> Dataset:
    """As many random responses to each prompt as the best of n would be."""
    return select(pool, "random", seed=seed, like=best(pool, seed))


def rejection_sampling(task: Task, rounds: int = 1, keep: Callable[[Dataset, int], Dataset] = best) -> Policy:
    """`rounds` rounds that share the budget evenly; each draws fresh prompts from the newest policy."""
    policy, share = task.policy, len(task.prompts) // rounds
    for number in range(1, rounds + 1):
        prompts = tables.take(task.prompts, range(share * (number - 1), share * number))
        part = dataclasses.replace(
            task, policy=policy, prompts=prompts, seed=task.seed + SEED_STEP * (number - 1)
        )
        with task.ledger:
            policy = _round(part, number, task.ledger.limit * number / rounds, keep)
    return policy


def _round(task: Task, number: int, limit: float, keep: Callable[[Dataset, int], Dataset]) -> Policy:
    """One round that may spend until `limit` is reached, what was spent before included."""
    ledger, config = task.ledger, task.finetune()
    pool = _sample_within_budget(task, lambda pool: [keep(pool, task.seed)], config.epochs, limit)
    began = ledger.cpu_seconds
    kept = keep(pool, task.seed)
    out = task.out / str(number)
    tuned = finetuning.finetune(
        task.policy, kept, out, config=config, allow_other_policy=True, show_progress=False
    )
    ledger.trained(task.policy.parameters, _tokens_of(task.policy, kept) * config.epochs)
    task.notes["tuning_seconds"] = task.notes.get("tuning_seconds", 0.0) + ledger.cpu_seconds - began
    return tuned


def served(
    policy: Policy,
    reward_model: RewardModel,
    prompts: Dataset,
    config: SampleConfig,
    *,
    n: int = N,
    ledger: Ledger | None = None,
) -> Dataset:
    """The best of n by reward, `config.n` times for each prompt, with gold; nothing is trained.

    The rows are prompt-major; `ledger` counts what serving them costs.
    """
    ledger = ledger or Ledger()
    drawn = dataclasses.replace(config, n=n * config.n)
    with ledger:
        scored = _scored(policy, reward_model, prompts, drawn, ledger, reads=config.n)
    _, rewards, rows = tables.reward_matrix(scored)
    groups = rows.reshape(len(rows), config.n, n)
    # Of a tie the first, since the responses to a prompt are in no order.
    first_best = rewards.reshape(groups.shape).argmax(axis=2, keepdims=True)
    chosen = np.take_along_axis(groups, first_best, axis=2).ravel()
    return with_gold(with_reference(None, tables.take(scored, chosen)))


# The other road -------------------------------------------------------------------------------------------


def dpo(task: Task) -> Policy:
    """DPO on the best against the worst of n, from one pool."""
    config, passes = task.finetune(), task.finetune().epochs + FORWARD / TRAINING  # those of the reference
    options = {"beta": task.setting["beta"], "config": config, "ledger": task.ledger, "show_progress": False}
    with task.ledger:
        pool = _sample_within_budget(
            task, lambda pool: best_and_worst(pool, seed=task.seed, show=False), passes
        )
        return rl.finetune_dpo(task.policy, pool, task.out / "dpo", **options)


def online(kind: methods.Method, **shape: int) -> Callable[[Task], Policy]:
    """The loop with a method; `shape` are the loop's settings that no trial changes."""

    def run(task: Task) -> Policy:
        ledger, out = task.ledger, task.out / "rl"
        settings = {"steps": _STEPS, "warmup_steps": _WARMUP, "seed": task.seed} | shape | dict(task.setting)
        if ledger.unit:
            settings |= {"budget": ledger.left, "budget_unit": ledger.unit}
        start, loop_settings = (task.policy, task.reward_model, task.prompts), rl.Loop(**settings)
        options = {"heldout": task.heldout, "show_progress": False}
        tuned = rl.train(*start, kind, loop_settings, out=out, **options)
        record = json.loads((out / "training.json").read_text(encoding="utf-8"))
        ledger.add(record["ledger"])
        task.notes["draws"] = len(record["history"])
        return tuned

    return run


def _distilled(task: Task) -> Policy:
    """Variational best-of-n on the prompts of a pool that ranks rewards and takes a third of the budget."""
    with task.ledger:
        pool = _sample_within_budget(task, lambda pool: (), 0.0, task.ledger.limit / 3)
    known = tables.take(task.prompts, range(len(pool) // N))
    method = rl.VariationalBestOfN.of(pool, N)
    return online(method, **_GROUPS)(dataclasses.replace(task, prompts=known))


# All of them ----------------------------------------------------------------------------------------------

_EPOCHS = ("epochs", (3, 6))
_PULL = ("kl_coefficient", (0.05, 0.2))
_SPLIT = ("minibatch", (16, 32))
_GROUPS = {"prompts_per_step": 16, "n": 4, "minibatch": 32}
_SFT = {"middle": 5e-4, "second": _EPOCHS, "settings": (SampleConfig, FinetuneConfig)}
_POOL = (finetuning, _tokens_of, _sample_within_budget)
_LOOP = (loop, rollouts, methods.Method, methods.averaged)
_GRADIENT = (advantages.leave_one_out, losses.policy_gradient)
_POOL_RISKS = ("the pool is stale after the first round",)
_LOOP_RISKS = (
    "KL runs away",
    "entropy collapses within the run",
    "old log-probabilities do not fit the weights",
)
_VALUE_RISKS = ("the value model lags behind the policy",)
_VALUES = (
    advantages.gae,
    advantages.whiten,
    advantages.token_rewards,
    losses.clipped_policy,
    losses.clipped_value,
    rollouts.ValueModel,
)


def _sft_arm(name: str, label: str, run: Callable[[Task], Policy], selector: Callable) -> Arm:
    code = {"own": (selector, rejection_sampling, _round), "shared": _POOL}
    return Arm(name, label, run, **_SFT, **code, risks=_POOL_RISKS)


def _loop_arm(
    kind: methods.Method,
    label: str,
    second: tuple[str, tuple[float, float]],
    own: Sequence[Any],
    name: str = "",
    **shape: int,
) -> Arm:
    """`name`: where it is not the class's."""
    name, settings = name or type(kind).__name__.lower(), (rl.Loop, type(kind))
    risks = (*_LOOP_RISKS, *_VALUE_RISKS) if kind.needs_values else _LOOP_RISKS
    code = {"own": (type(kind), *own), "shared": _LOOP, "risks": risks}
    return Arm(name, label, online(kind, **shape), 3e-4, second, settings=settings, **code)


_ALL = (
    Arm("base", "base"),
    _sft_arm("random", "random control", partial(rejection_sampling, keep=at_random), selection.random),
    _sft_arm("rs1", "RS-1", rejection_sampling, selection.best_of_n),
    _sft_arm("rs3", "RS-3", partial(rejection_sampling, rounds=3), selection.best_of_n),
    Arm("best_of_n", f"best-of-{N} serving", settings=(SampleConfig,), own=(selection.best_of_n,)),
    _loop_arm(rl.OnlineRFT(), "online RFT", ("epochs", (1, 3)), (), prompts_per_step=8, n=N, minibatch=8),
    Arm(
        "dpo",
        "DPO",
        dpo,
        2e-4,
        ("beta", (0.1, 0.5)),
        settings=(SampleConfig, FinetuneConfig),
        more=("beta",),
        own=(dpo, dpo_module, losses.dpo),
        shared=_POOL,
        risks=(*_POOL_RISKS, "chosen responses sink with the rejected ones"),
    ),
    _loop_arm(rl.Reinforce(), "REINFORCE", _PULL, _GRADIENT, **_GROUPS),
    _loop_arm(rl.RLOO(), "RLOO", _PULL, _GRADIENT, **_GROUPS),
    _loop_arm(rl.GRPO(), "GRPO", _PULL, (advantages.group_normalised, losses.grpo), **_GROUPS),
    _loop_arm(rl.PPO(), "PPO", _PULL, _VALUES, prompts_per_step=64, n=1, epochs=2, minibatch=32),
)


_RELATIVES = {
    "raft_pp": ("RAFT++", (unified.best_of_group, unified.ppo)),
    "clip_higher": ("clip-higher", (advantages.group_normalised, unified.ppo)),
    "dr_grpo": ("Dr. GRPO", (advantages.group_normalised, unified.ppo)),
    "gspo": ("GSPO", (advantages.group_normalised, unified.gspo)),
}
"""Name in `unified.VARIANTS` -> label and own code. The others there ask for rewards of 0 and 1."""


def _relatives() -> list[Arm]:
    """Methods without a KL term, and distillation; their second setting is the size of an optimizer step."""
    variants = [
        _loop_arm(unified.VARIANTS[name], label, _SPLIT, own, name, **_GROUPS)
        for name, (label, own) in _RELATIVES.items()
    ]
    vbon = _loop_arm(rl.VariationalBestOfN(N, {}), f"best-of-{N} distillation", _SPLIT, (_distilled,), "vbon")
    return [*variants, dataclasses.replace(vbon, run=_distilled)]


def _corrected(arm: Arm) -> Arm:
    """The same method, given the length-corrected reward."""
    name, label = f"{arm.name}_length", f"{arm.label}, length-corrected"
    more, own = (*arm.more, "per_token"), (*arm.own, LengthCorrected)
    return dataclasses.replace(arm, name=name, label=label, more=more, own=own, corrected=True)


_CORRECTED = tuple(_corrected(arm) for arm in _ALL if arm.name in ("rs1", "best_of_n", "ppo"))
ARMS = {arm.name: arm for arm in (*_ALL, *_relatives(), *_CORRECTED)}
"""Every arm by name, in the order of tables."""
SERVED = ("best_of_n", "best_of_n_length")
"""The arms that serve the best of n."""

# What a method asks of those who read it --------------------------------------------------------------------

_BARE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}


def code_lines(parts: Iterable[Any]) -> int:
    """Lines of modules, classes and functions that hold code: no blank line, comment or docstring."""
    return sum(_code_lines_of(textwrap.dedent(inspect.getsource(part))) for part in parts)


def _code_lines_of(source: str) -> int:
    r"""Lines of a source text that hold code.

    >>> _code_lines_of('def f():\n    "Say it."\n\n    # why\n    return (1,\n            2)\n')
    3
    """
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = {line for t in tokens if t.type not in _BARE for line in range(t.start[0], t.end[0] + 1)}
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))
            and ast.get_docstring(node) is not None
        ):
            lines -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return len(lines)
