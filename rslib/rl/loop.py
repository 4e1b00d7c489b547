"""The loop that every method shares: draw, score, shape the reward, take a few steps, look, again.

What is left out of large systems: several devices, a separate generation engine, off-policy correction (the
old log-probabilities are measured with the training pass itself), and prompts that are dropped for being
too easy.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import tables
from rslib.config import FinetuneConfig, SampleConfig, rate_by_size, require
from rslib.finetuning import tuned_once
from rslib.ledger import TIMES, Ledger
from rslib.progress import Progress, note
from rslib.rl.draws import Draw, as_draw
from rslib.rl.heldout import Watch
from rslib.rl.learner import Learner
from rslib.rl.method import Method
from rslib.rl.resume import State
from rslib.sampling import sample_table
from rslib.scoring import score
from rslib.stages import with_gold

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy, RewardModel

STEP_SEEDS = 1_000_003
"""Distance between the sampling seeds of two runs; every step has its own in between."""


@dataclass(frozen=True)
class Loop:
    """What all methods have in common. KL is in nats per response, rewards are in standard deviations."""

    steps: int = field(default=16, metadata={"help": "draws; each is sampled from the newest policy"})
    prompts_per_step: int = field(default=32, metadata={"help": "prompts of one draw"})
    n: int = field(default=4, metadata={"help": "responses to each of them"})
    epochs: int = field(default=1, metadata={"help": "passes over each draw"})
    minibatch: int = field(default=32, metadata={"help": "responses in one optimizer step"})
    learning_rate: float | None = field(
        default=None, metadata={"help": "None: 2e-4 for a policy below 10 M parameters, else 1e-6"}
    )
    warmup_steps: int = field(default=10, metadata={"help": "optimizer steps of warm-up"})
    kl_coefficient: float = field(default=0.1, metadata={"help": "reward that one nat of KL costs"})
    missing_eos_penalty: float = field(default=1.0, metadata={"help": "taken off a response that was cut"})
    normalise_rewards: bool = field(
        default=True, metadata={"help": "by mean and standard deviation of the first draw"}
    )
    max_kl: float | None = field(default=None, metadata={"help": "stop when a draw's KL is above this"})
    check_every: int = field(default=0, metadata={"help": "steps between looks at held-out prompts; 0: none"})
    budget: float | None = field(default=None, metadata={"help": "stop at the step that ends nearest to it"})
    budget_unit: str = field(default="responses", metadata={"help": "what is counted: see ledger.UNITS"})
    seed: int = field(default=0, metadata={"help": "prompts, responses and minibatches derive theirs"})

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
    reward_model: RewardModel,
    prompts: Dataset,
    method: Method,
    loop: Loop | None = None,
    *,
    out: str | Path,
    heldout: Dataset | None = None,
    show_progress: bool = True,
) -> Policy:
    """Tune a copy of `policy` by `method` and write it to the folder `out`, its history as training.json.

    The reference is `policy` itself. The run stops after `loop.steps` draws, when a draw's KL passes
    `max_kl`, when held-out gold (the reward, where no gold is known) falls by more than its 95 % interval,
    or at the step that ends nearest to where `budget` is spent. With `check_every` the weights of the best
    look at `heldout` are the result; the first look is at `policy` itself, so a run that only does harm gives
    back what it was given.
    A run that was stopped from outside goes on where it was when the same call is made again: its state lies
    beside `out`. The ledger, in training.json, then holds what all calls have spent.

    Raises ConfigError when there are fewer prompts than one draw needs or a look without `heldout`,
    ModelError when the loss stops being finite, BudgetError when memory runs out on a single response,
    StoreError when `out` cannot be written or another run's state lies there.
    """
    loop = loop or Loop()
    _check(loop, prompts, heldout)
    run = _Run(policy, reward_model, prompts, method, loop, heldout, State.of(out))
    facts = run.facts() if run.repeats() else None
    tuned = tuned_once("rl", policy, facts, lambda: _trained(run, show_progress), Path(out))
    run.state.discard()
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
    many = loop.prompts_per_step
    fix = "Give more prompts, or draw fewer at a time."
    require(many <= len(prompts), f"{len(prompts)} prompts for draws of {many}", "rl.train", fix)
    blind = loop.check_every and heldout is None
    require(not blind, "looks at held-out prompts without any", "Loop.check_every", "Pass heldout=.")


class _Run:
    """One training run: what it holds, and one step of it."""

    def __init__(
        self,
        start: Policy,
        reward_model: RewardModel,
        prompts: Dataset,
        method: Method,
        loop: Loop,
        heldout: Dataset | None,
        state: State,
    ) -> None:
        self.start, self.reward_model, self.prompts = start, reward_model, prompts
        self.method, self.loop, self.state = method, loop, state
        self.ledger = Ledger(loop.budget_unit, loop.budget) if loop.budget else Ledger()
        self.learner = Learner(
            start,
            loop.optimizer(start.parameters),
            self._optimizer_steps(),
            with_values=method.needs_values,
        )
        self.watch = Watch(heldout, reward_model, loop.seed) if loop.check_every else None
        self.step, self.why = 0, f"all {loop.steps} steps done"
        self.scale: tuple[float, float] | None = None if loop.normalise_rewards else (0.0, 1.0)
        self.history: list[dict[str, float]] = []

    def _optimizer_steps(self) -> int:
        loop = self.loop
        return loop.steps * loop.epochs * math.ceil(loop.prompts_per_step * loop.n / loop.minibatch)

    def key(self) -> dict[str, Any]:
        """All that the result depends on."""
        return {
            "method": type(self.method).__name__,
            "settings": dataclasses.asdict(self.method),
            "loop": dataclasses.asdict(self.loop),
            "policy": self.start.fingerprint(),
            "reward_model": self.reward_model.fingerprint(),
            "prompts": tables.fingerprint(self.prompts),
        }

    def facts(self) -> dict[str, Any]:
        """`key` with what the looks and the scores depend on."""
        heldout = tables.fingerprint(self.watch.heldout) if self.watch is not None else None
        return self.key() | {"heldout": heldout, "judge": self.reward_model.identity()}

    def repeats(self) -> bool:
        """Whether the same call gives the same result: a method of the engine's, no budget of time."""
        plain = all(isinstance(v, int | float | str | None) for v in dataclasses.asdict(self.method).values())
        timed = self.loop.budget is not None and self.loop.budget_unit in TIMES
        return plain and not timed and type(self.method).__module__.startswith("rslib.rl.")

    def finished(self) -> bool:
        """Whether to stop; `why` says the reason."""
        last, limit = (self.history[-1] if self.history else {}), self.loop.max_kl
        half_a_step = self.ledger.spent / self.step / 2 if self.step else 0.0
        if self.ledger.left <= half_a_step and self.ledger.unit:
            self.why = f"stopped after {self.step} steps: the budget of {self.ledger.unit} is spent"
        elif limit is not None and last.get("kl", 0.0) > limit:
            self.why = f"stopped after {self.step} steps: KL {last['kl']:.2f} is above {limit:g} nats"
        elif self.watch is not None and self.watch.falling:
            self.why = f"stopped after {self.step} steps: held-out {self.watch.column} fell"
        else:
            return self.step >= self.loop.steps
        return True

    def advance(self) -> None:
        """One step: draw, train, note what was seen, save; the clock runs for the first two."""
        with self.ledger:
            self.learner.refresh()
            draw = self.draw()
            losses = self.train(draw)
        self.history.append(self.seen(draw, losses))
        self.step += 1
        if self.watch is not None and self.step % self.loop.check_every == 0:
            self.learner.refresh()
            self.watch.look(self.learner.policy, self.learner.model)
        self.save()

    def draw(self) -> Draw:
        """Fresh scored responses of the newest policy."""
        loop, learner = self.loop, self.learner
        config = SampleConfig(n=loop.n, seed=loop.seed * STEP_SEEDS + self.step)
        drawn = sample_table(learner.policy, self.slice(), config)
        scored = score(self.reward_model, drawn, show_progress=False)
        raw = np.array(scored["reward"][:])
        if self.scale is None:
            self.scale = (float(raw.mean()), float(raw.std()) or 1.0)
        cut = tables.finish_reasons(scored) == "length"
        draw = as_draw(learner.master, self.start, scored, loop.n, shaped(raw, cut, self.scale, loop))
        drawn_tokens, prompt_tokens = int(draw.mask.sum()), draw.prompt_tokens()
        self.ledger.sampled(
            learner.policy.parameters, responses=len(raw), tokens=drawn_tokens, prompt_tokens=prompt_tokens
        )
        self.ledger.read(self.reward_model.parameters, drawn_tokens + prompt_tokens)
        learner.count_read(self.ledger, draw)
        return draw

    def slice(self) -> Dataset:
        """The prompts of this step: each pass over them in an order of its own."""
        many = self.loop.prompts_per_step
        turn, place = divmod(self.step, len(self.prompts) // many)
        order = np.random.default_rng([self.loop.seed, turn]).permutation(len(self.prompts))
        return tables.take(self.prompts, order[place * many : (place + 1) * many])

    def train(self, draw: Draw) -> list[float]:
        """The optimizer steps of one draw; their losses."""
        objective = self.method.objective(self.learner, draw, self.loop.kl_coefficient)
        losses = []
        for rows in self.minibatches(self.method.rows(draw)):
            losses.append(self.learner.step(objective, rows))
            self.learner.count_trained(self.ledger, draw, rows)
        return losses

    def minibatches(self, rows: list[int]) -> Iterator[list[int]]:
        """The rows in random batches, once an epoch."""
        rng = np.random.default_rng([self.loop.seed, 1, self.step])
        for _ in range(self.loop.epochs):
            order = rng.permutation(rows).tolist()
            for at in range(0, len(order), self.loop.minibatch):
                yield order[at : at + self.loop.minibatch]

    def seen(self, draw: Draw, losses: list[float]) -> dict[str, float]:
        """One row of the history; gold is noted where it is known, and used for nothing."""
        table = with_gold(draw.table)
        tokens = float(draw.mask.sum())
        found = {
            "step": self.step,
            "reward": float(np.mean(draw.table["reward"][:])),
            "kl": float(draw.kl.mean()),
            "entropy": float(-draw.logprobs.sum()) / len(draw.rows),
            "length": tokens / len(draw.rows),
            "truncation_rate": float((tables.finish_reasons(draw.table) == "length").mean()),
            "loss": float(np.mean(losses)),
        }
        return found | ({"gold": float(np.mean(table["gold"][:]))} if "gold" in table.column_names else {})

    def save(self) -> None:
        """Write what the next step depends on."""
        watch = self.watch.state() if self.watch is not None else None
        own = {name: getattr(self, name) for name in ("step", "scale", "history")}
        parts = {"ledger": self.ledger.to_dict(), "learner": self.learner.state(), "watch": watch}
        self.state.write(self.key(), own | parts)

    def restore(self) -> None:
        """Go on where an earlier call was stopped, if it was; else take the first look."""
        found = self.state.read(self.key())
        if found is None:
            if self.watch is not None:
                self.watch.look(self.learner.policy, self.learner.model)
            return
        self.step, self.history = found["step"], found["history"]
        self.scale = tuple(found["scale"])
        self.ledger.restore(found["ledger"])
        self.learner.restore(found["learner"])
        if self.watch is not None:
            self.watch.restore(found["watch"])

    def result(self) -> Any:
        """The trained module, with the best weights that a look at held-out prompts has seen."""
        if self.watch is not None and self.watch.best is not None:
            self.learner.model.load_state_dict(self.watch.best)
        return self.learner.model

    def record(self) -> dict[str, Any]:
        """What training.json says."""
        looks = self.watch.looks if self.watch is not None else []
        known = self.key() | {"why": self.why, "history": self.history, "looks": looks}
        return known | {"ledger": self.ledger.to_dict()}


def shaped(raw: np.ndarray, cut: np.ndarray, scale: tuple[float, float], loop: Loop) -> np.ndarray:
    """Rewards (B,) as methods see them: (raw - mean) / sd, minus the penalty where a response was cut.

    >>> penalised = Loop(missing_eos_penalty=0.5)
    >>> shaped(np.array([3.0, 1.0]), np.array([False, True]), (1.0, 2.0), penalised).tolist()
    [1.0, -0.5]
    """
    mean, sd = scale
    return (raw - mean) / sd - loop.missing_eos_penalty * cut
