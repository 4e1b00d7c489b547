"""The loop that every method shares: sample, score, shape the reward, take a few steps, evaluate, again.

What is left out of large systems: several devices, a separate generation engine, off-policy correction (the
old log-probabilities are measured with the training pass itself).
"""

from __future__ import annotations

import copy
import dataclasses
import io
import math
import pickle
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rslib import tables
from rslib.cache import atomic_write, key_of, make_folder, versions
from rslib.code_facts import facts_of
from rslib.config import FinetuneConfig, SampleConfig, rate_by_size, require
from rslib.errors import RewardError, StoreError
from rslib.evaluation import compare, verdict
from rslib.finetuning import tuned_once
from rslib.ledger import TIMES, Ledger
from rslib.progress import Progress, note
from rslib.reward_functions import RewardFunction
from rslib.rl.advantages import mixed_groups
from rslib.rl.methods import Method
from rslib.rl.rollouts import Learner, Rollouts
from rslib.sampling import sample
from rslib.scoring import score
from rslib.stages import judged, with_gold

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy, RewardModel

_STEP_SEEDS = 1_000_003
"""Distance between the sampling seeds of two runs; every step has its own in between."""
_MOST_BATCHES = 20
"""Batches that a step draws at most in search of prompts whose rewards differ."""
_HELDOUT_SAMPLES, _HELDOUT_SEED = 2, 2_000_003
"""Responses to each held-out prompt, and their seed: kept apart from those of training and of evaluations."""


@dataclass(frozen=True)
class Loop:
    """What all methods have in common. KL is in nats per response, rewards are in standard deviations."""

    steps: int = 16  # each samples rollouts from the newest policy
    prompts_per_step: int = 32
    n: int = 4  # responses to each prompt of a step
    epochs: int = 1  # passes over the rollouts of a step
    minibatch: int = 32  # responses in one optimizer step
    learning_rate: float | None = None  # None: 2e-4 for a policy below 10 M parameters, else 1e-6
    warmup_steps: int = 10  # optimizer steps of warm-up
    kl_coefficient: float = 0.1  # reward that one nat of KL costs
    missing_eos_penalty: float = 1.0  # taken off a response that was cut
    normalise_rewards: bool = True  # by mean and standard deviation of the first step
    mixed_groups: bool = False  # draw on until no prompt of a step has equal rewards (dynamic sampling)
    max_kl: float | None = None  # stop when the KL of a step is above this
    check_every: int = 0  # steps between evaluations on held-out prompts; 0: none
    budget: float | None = None  # stop at the step that ends nearest to it
    budget_unit: str = "responses"  # what is counted: see `ledger.UNITS`
    seed: int = 0  # prompts, responses and minibatches derive theirs

    def __post_init__(self) -> None:
        for name in ("steps", "prompts_per_step", "n", "epochs", "minibatch"):
            value = getattr(self, name)
            require(value >= 1, f"{name} is {value}", f"Loop.{name}", "Use a number >= 1.")
        for name in ("warmup_steps", "kl_coefficient", "missing_eos_penalty", "check_every"):
            value = getattr(self, name)
            good = math.isfinite(value) and value >= 0
            require(good, f"{name} is {value}", f"Loop.{name}", "Use a number >= 0.")
        for name in ("learning_rate", "max_kl", "budget"):
            value = getattr(self, name)
            good = value is None or (math.isfinite(value) and value > 0)
            require(good, f"{name} is {value}", f"Loop.{name}", "Use a finite number > 0, or None.")

    def optimizer(self, parameters: int) -> FinetuneConfig:
        """The optimizer's settings for a policy of this size."""
        rate = rate_by_size(self.learning_rate, parameters, 2e-4, 1e-6)
        return FinetuneConfig(learning_rate=rate, warmup_steps=self.warmup_steps, seed=self.seed)


def train(
    policy: Policy,
    reward_model: RewardModel | RewardFunction | Callable[..., float],
    prompts: Dataset,
    method: Method,
    loop: Loop | None = None,
    *,
    out: str | Path,
    heldout: Dataset | None = None,
    show_progress: bool = True,
) -> Policy:
    """A copy of `policy`, tuned by `method` and written to the folder `out`, its history as training.json.

    A function may stand in the place of the reward model (see `rslib.reward_functions`). The reference is
    `policy` itself. The run stops after `loop.steps` steps, when the KL of a step passes
    `max_kl`, when held-out gold (the reward, where no gold is known) falls by more than its 95 % interval,
    or at the step that ends nearest to where `budget` is spent. With `check_every` the weights of the best
    evaluation on `heldout` are the result; the first is that of `policy` itself, so a run that only does harm
    gives back what it was given.
    A run that was stopped from outside goes on where it was when the same call is made again: its state lies
    beside `out`. The ledger, in training.json, then holds what all calls have spent.

    Raises ConfigError when there are fewer prompts than one step needs or an evaluation without `heldout`,
    ModelError when the loss stops being finite, BudgetError when memory runs out on a single response,
    StoreError when `out` cannot be written or another run's state lies there.
    """
    loop = loop or Loop()
    _check(loop, prompts, heldout)
    if not hasattr(reward_model, "inputs_many"):
        reward_model = RewardFunction.of(reward_model)
    run = _Run(policy, reward_model, prompts, method, loop, heldout, _state_path(out))
    tuned = tuned_once("rl", policy, run.facts(), lambda: _trained(run, show_progress), Path(out))
    run.state.unlink(missing_ok=True)  # the result is written
    return tuned


def _trained(run: _Run, show_progress: bool) -> tuple[Any, dict[str, Any]]:
    """The trained module, and what training.json says."""
    loop, method = run.loop, run.method
    run.restore()
    with Progress(loop.steps, type(method).__name__, "steps", show=show_progress) as progress:
        progress.advance(run.step, cached=True)
        while not run.finished():
            run.advance()
            progress.advance()
    note(f"{type(method).__name__}: {run.why}", show_progress)
    return run.result(), run.record()


def _check(loop: Loop, prompts: Dataset, heldout: Dataset | None) -> None:
    fix = "Give more prompts, or fewer a step."
    what = f"{len(prompts)} prompts for steps of {loop.prompts_per_step}"
    require(loop.prompts_per_step <= len(prompts), what, "rl.train", fix)
    blind = loop.check_every and heldout is None
    require(not blind, "evaluations on held-out prompts without any", "Loop.check_every", "Pass heldout=.")


class _Run:
    """One training run: what it holds, and one step of it."""

    def __init__(
        self,
        start: Policy,
        reward_model: RewardModel | RewardFunction,
        prompts: Dataset,
        method: Method,
        loop: Loop,
        heldout: Dataset | None,
        state: Path,
    ) -> None:
        self.start, self.reward_model, self.prompts = start, reward_model, prompts
        self.judged_by = reward_model.fingerprint()  # before a function is asked, which may count its calls
        self.method, self.loop, self.state = method, loop, state
        self.ledger = Ledger(loop.budget_unit, loop.budget) if loop.budget else Ledger()
        steps = loop.steps * loop.epochs * math.ceil(loop.prompts_per_step * loop.n / loop.minibatch)
        config = loop.optimizer(start.parameters)
        self.learner = Learner(start, config, steps, with_values=method.needs_values)
        self.stopping = _EarlyStopping(heldout, reward_model, loop.seed)
        self.step, self.why = 0, f"all {loop.steps} steps done"
        self.batches = 0  # drawn so far: one a step, but for dynamic sampling
        # Mean and standard deviation of the first step's rewards; the later ones are measured by them too, so
        # that a reward that rises is seen to rise.
        self.scale: tuple[float, float] | None = None if loop.normalise_rewards else (0.0, 1.0)
        self.history: list[dict[str, float]] = []

    # What the run is

    def key(self) -> dict[str, Any]:
        """All that the result depends on; of a method's own functions a hash of their code."""
        settings = dataclasses.asdict(self.method).items()
        return {
            "method": type(self.method).__name__,
            "settings": {name: key_of(facts_of(v)) if callable(v) else v for name, v in settings},
            "loop": dataclasses.asdict(self.loop),
            "policy": self.start.fingerprint(),
            "reward_model": self.judged_by,
            "prompts": tables.fingerprint(self.prompts),
        }

    def facts(self) -> dict[str, Any] | None:
        """`key` with what evaluations and scores depend on; None where the same call may end elsewhere.

        So may a budget of time, and a method that is not the engine's own: its code is in no key.
        """
        settings = dataclasses.asdict(self.method).values()
        plain = all(isinstance(value, int | float | str | None) for value in settings)
        timed = self.loop.budget is not None and self.loop.budget_unit in TIMES
        if not plain or timed or not type(self.method).__module__.startswith("rslib.rl."):
            return None
        heldout = tables.fingerprint(self.stopping.heldout) if self.loop.check_every else None
        return self.key() | {"heldout": heldout, "judge": self.reward_model.identity()}

    def finished(self) -> bool:
        """Whether to stop; `why` says the reason."""
        last, limit = (self.history[-1] if self.history else {}), self.loop.max_kl
        # Less than half a step is left: one step more would end further from the budget than this one did.
        half_a_step = self.ledger.spent / self.step / 2 if self.step else 0.0
        if self.ledger.left <= half_a_step and self.ledger.unit:
            self.why = f"stopped after {self.step} steps: the budget of {self.ledger.unit} is spent"
        elif limit is not None and last.get("kl", 0.0) > limit:
            self.why = f"stopped after {self.step} steps: KL {last['kl']:.2f} is above {limit:g} nats"
        elif self.stopping.fell:
            self.why = f"stopped after {self.step} steps: held-out {self.stopping.metric} fell"
        else:
            return self.step >= self.loop.steps
        return True

    # One step

    def advance(self) -> None:
        """One step: sample, train, note what was seen, evaluate, save."""
        with self.ledger:  # its clocks run here alone: neither notes nor evaluations are what a method costs
            self.learner.refresh()
            rollouts = self.sample()
            losses = self.train(rollouts)
        self.history.append(self.row(rollouts, losses))
        self.step += 1
        if self.loop.check_every and self.step % self.loop.check_every == 0:
            self.learner.refresh()
            self.stopping.evaluate(self.learner.policy, self.learner.model)
        self.save()

    def sample(self) -> Rollouts:
        """Fresh scored responses of the newest policy."""
        loop, learner = self.loop, self.learner
        scored = self.mixed_batch() if loop.mixed_groups else self.batch()
        raw = np.array(scored["reward"][:])
        if self.scale is None:
            self.scale = (float(raw.mean()), float(raw.std()) or 1.0)
        cut = tables.finish_reasons(scored) == "length"
        rewards = shaped(raw, cut, self.scale, loop)
        # The log-probabilities are measured with the weights that are trained (`master`), in the training
        # pass: those of the sampler may differ in rounding, and every ratio would start off 1.
        rollouts = Rollouts.of(learner.master, self.start, scored, loop.n, rewards)
        self.count(rollouts)
        return rollouts

    def batch(self) -> Dataset:
        """Scored responses to the next prompts."""
        prompts = self.next_prompts()
        config = SampleConfig(n=self.loop.n, seed=self.loop.seed * _STEP_SEEDS + self.batches)
        self.batches += 1
        responses = sample(self.learner.policy, prompts, config=config, show_progress=False)
        return score(self.reward_model, responses, show_progress=False)

    def mixed_batch(self) -> Dataset:
        """As many prompts as a step has, all with unequal rewards, out of as many batches as that takes.

        The responses that are left out are counted, too. Raises RewardError where there are too few.
        """
        n, scored, kept = self.loop.n, [], torch.empty(0)
        while len(kept) < self.loop.prompts_per_step and len(scored) < _MOST_BATCHES:
            scored.append(self.batch())
            rewards = torch.tensor([reward for table in scored for reward in table["reward"][:]])
            kept = mixed_groups(rewards.view(-1, n)).nonzero()[: self.loop.prompts_per_step, 0]
        what = f"only {len(kept)} prompts have unequal rewards in {len(scored)} batches"
        fix = "Use prompts that the policy gets right now and then, a larger n, or mixed_groups=False."
        if len(kept) < self.loop.prompts_per_step:
            raise RewardError(what, where=f"step {self.step}", fix=fix)
        table, rows = tables.stack(scored), (kept[:, None] * n + torch.arange(n)).flatten().tolist()
        left_out = tables.take(table, sorted(set(range(len(table))) - set(rows)))
        tokens = sum(map(len, left_out["token_ids"][:]))
        read = sum(map(len, self.learner.policy.encode_many(left_out["prompt"][::n])))
        self.count_drawn(len(left_out), tokens, read)
        return tables.take(table, rows)

    def count_drawn(self, responses: int, tokens: int, prompt_tokens: int) -> None:
        """Count what sampling and scoring cost."""
        counts = {"responses": responses, "tokens": tokens, "prompt_tokens": prompt_tokens}
        self.ledger.sampled(self.learner.policy.parameters, **counts)
        self.ledger.read(self.reward_model.parameters, tokens + prompt_tokens)

    def count(self, rollouts: Rollouts) -> None:
        """Count what the rollouts cost: sampling, scoring, and the passes that measure log-probabilities."""
        self.count_drawn(len(rollouts.rows), int(rollouts.mask.sum()), rollouts.prompt_tokens())
        parameters, values = self.learner.policy.parameters, self.learner.value_model is not None
        self.ledger.read(parameters, (2 + values) * rollouts.tokens())
        self.ledger.held(3 + values)

    def next_prompts(self) -> Dataset:
        """The prompts of the next batch: each pass over them in an order of its own."""
        size = self.loop.prompts_per_step
        epoch, slot = divmod(self.batches, len(self.prompts) // size)
        order = np.random.default_rng([self.loop.seed, epoch]).permutation(len(self.prompts))
        return tables.take(self.prompts, order[slot * size : (slot + 1) * size])

    def train(self, rollouts: Rollouts) -> list[float]:
        """The losses of the optimizer steps on these rollouts."""
        objective = self.method.objective(self.learner, rollouts, self.loop.kl_coefficient)
        losses, parameters = [], self.learner.policy.parameters * len(self.learner.trained)
        for rows in self.minibatches(self.method.rows(rollouts)):
            losses.append(self.learner.optimizer.step(objective, rows))
            self.ledger.trained(parameters, rollouts.tokens(rows))
        return losses

    def minibatches(self, rows: list[int]) -> Iterator[list[int]]:
        """The rows in random batches, once an epoch."""
        rng = np.random.default_rng([self.loop.seed, 1, self.step])
        for _ in range(self.loop.epochs):
            order = rng.permutation(rows).tolist()
            for start in range(0, len(order), self.loop.minibatch):
                yield order[start : start + self.loop.minibatch]

    def row(self, rollouts: Rollouts, losses: list[float]) -> dict[str, float]:
        """One row of the history; gold is noted where it is known, and used for nothing."""
        table = with_gold(rollouts.table)
        rewards = np.array(table["reward"][:]).reshape(-1, self.loop.n)
        metrics = {
            "step": self.step,
            "reward": float(rewards.mean()),
            # Means over prompts: of rewards 0 and 1 the shares of those all right, and not all wrong.
            "lowest_reward": float(rewards.min(1).mean()),
            "highest_reward": float(rewards.max(1).mean()),
            "kl": float(rollouts.kl.mean()),
            "entropy": float(-rollouts.logprobs.sum()) / len(rollouts.rows),
            "length": float(rollouts.mask.sum()) / len(rollouts.rows),
            "truncation_rate": float((tables.finish_reasons(table) == "length").mean()),
            "loss": float(np.mean(losses)),
        }
        gold = {"gold": float(np.mean(table["gold"][:]))} if "gold" in table.column_names else {}
        return metrics | gold

    # What is left for the next call, and at the end

    def save(self) -> None:
        """Write what the next step depends on."""
        content = {name: getattr(self, name) for name in ("step", "batches", "scale", "history")}
        content |= {"learner": self.learner.state(), "stopping": self.stopping.state()}
        content["ledger"] = self.ledger.to_dict()
        _write_state(self.state, self.key(), content)

    def restore(self) -> None:
        """Go on where an earlier call was stopped, if it was; else evaluate the start."""
        content = _read_state(self.state, self.key())
        if content is not None:
            self.step, self.batches, self.history = (content[name] for name in ("step", "batches", "history"))
            self.scale = tuple(content["scale"])
            self.ledger.restore(content["ledger"])
            self.learner.restore(content["learner"])
            self.stopping.restore(content["stopping"])
        elif self.loop.check_every:
            self.stopping.evaluate(self.learner.policy, self.learner.model)

    def result(self) -> torch.nn.Module:
        """The trained module, with the best weights that an evaluation on held-out prompts has seen."""
        if self.stopping.best is not None:
            self.learner.model.load_state_dict(self.stopping.best)
        return self.learner.model

    def record(self) -> dict[str, Any]:
        """What training.json says."""
        outcome = {"why": self.why, "history": self.history, "looks": self.stopping.means}
        return self.key() | outcome | {"ledger": self.ledger.to_dict()}


def shaped(raw: np.ndarray, cut: np.ndarray, scale: tuple[float, float], loop: Loop) -> np.ndarray:
    """Rewards (B,) as methods see them: (raw - mean) / sd, minus the penalty where a response was cut.

    >>> penalised = Loop(missing_eos_penalty=0.5)
    >>> shaped(np.array([3.0, 1.0]), np.array([False, True]), (1.0, 2.0), penalised).tolist()
    [1.0, -0.5]
    """
    mean, sd = scale
    return (raw - mean) / sd - loop.missing_eos_penalty * cut


class _EarlyStopping:
    """Mean gold of each evaluation on held-out prompts, the best weights, and whether it has clearly fallen.

    Empty while nothing was evaluated. The reward stands in where no gold is known. `fell`: below the best by
    more than its 95 % interval.
    """

    def __init__(
        self, heldout: Dataset | None, reward_model: RewardModel | RewardFunction, seed: int
    ) -> None:
        self.heldout, self.reward_model = heldout, reward_model
        self.config = SampleConfig(n=_HELDOUT_SAMPLES, seed=_HELDOUT_SEED + seed)
        self.means: list[float] = []
        self.best: dict[str, torch.Tensor] | None = None
        self.best_table: Dataset | None = None
        self.fell, self.metric = False, "gold"

    def evaluate(self, policy: Policy, model: torch.nn.Module) -> None:
        """Judge `policy`; keep the weights of `model` if they are the best so far."""
        table = judged(policy, self.heldout, self.reward_model, self.config)
        self.metric = "gold" if "gold" in table.column_names else "reward"
        mean = float(np.mean(table[self.metric][:]))
        if not self.means or mean > max(self.means):
            self.best_table, self.best = table, copy.deepcopy(model.state_dict())
        else:
            self.fell = verdict(compare(table, self.best_table, self.metric)) == "lower"
        self.means.append(mean)

    def state(self) -> dict[str, Any]:
        """Everything that the next evaluation depends on."""
        table = self.best_table.to_dict() if self.best_table is not None else None
        return {"means": self.means, "best": self.best, "fell": self.fell, "table": table}

    def restore(self, state: dict[str, Any]) -> None:
        """The inverse of `state`."""
        from datasets import Dataset

        self.means, self.best, self.fell = state["means"], state["best"], state["fell"]
        self.best_table = Dataset.from_dict(state["table"]) if state["table"] is not None else None


# The state of a run between two steps ----------------------------------------------------------------------


def _state_path(out: str | Path) -> Path:
    """The file `.NAME.state` beside the folder NAME of a run: what the next call goes on from."""
    target = Path(out).expanduser().resolve()
    return target.with_name(f".{target.name}.state")


def _write_state(path: Path, key: dict[str, Any], content: dict[str, Any]) -> None:
    """Replace the file, whole or not at all. Raises StoreError when the disk refuses."""
    make_folder(path.parent)
    buffer = io.BytesIO()
    torch.save({"key": _state_key(key), "content": content}, buffer)
    atomic_write(path, buffer.getvalue())


def _read_state(path: Path, key: dict[str, Any]) -> dict[str, Any] | None:
    """What the last step left, or None. Raises StoreError for another run's state or a damaged file."""
    if not path.exists():
        return None
    fix = "Delete it to begin anew, or choose another folder."
    try:
        state = torch.load(path, weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, RuntimeError, KeyError) as error:
        raise StoreError("this state cannot be read", where=str(path), fix=fix) from error
    if state["key"] != _state_key(key):
        what = "a run with other settings, or of another version of rslib, left its state here"
        raise StoreError(what, where=str(path), fix=fix)
    return state["content"]


def _state_key(key: dict[str, Any]) -> str:
    return key_of(key | {"versions": versions()})
