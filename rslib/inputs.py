"""What a run reads: its prompts, in the order of the run, all of them checked before the first token."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import tables
from rslib.config import RunConfig, require
from rslib.errors import ConfigError
from rslib.lengths import Drawing, fit_policy, fit_reward_model
from rslib.messages import frozen
from rslib.models import Policy
from rslib.prompts import EMBEDDED, EVERYDAY, PromptRows, read_prompts, settle

if TYPE_CHECKING:
    from datasets import Dataset

EVALUATION_PROMPTS = 400
"""Embedded prompts that an evaluation uses unless told otherwise."""


@dataclass(frozen=True)
class Inputs:
    """The prompts to train on, in the order of the run, and those to evaluate on.

    `drawings`: how long the policy's responses to each become, once that is known. `show`: say what is left
    out.
    """

    config: RunConfig
    training: PromptRows
    heldout: PromptRows
    drawings: tuple[Drawing, ...] = ()
    show: bool = True

    @classmethod
    def read(cls, config: RunConfig, *, show: bool = True) -> Inputs:
        """The prompts of a run; a set with splits is evaluated on its own test split.

        Raises ConfigError when policy and prompts are the user's own and no evaluation prompts are named, or
        when there are too few. Prompts that cannot be used are refused, see `settled`.
        """
        source = EMBEDDED if isinstance(config.prompts, int) else config.prompts
        known = source in (EMBEDDED, EVERYDAY) or config.policy.startswith(EMBEDDED)
        if config.eval_prompts is None and not known:
            raise ConfigError(
                "no evaluation prompts for a policy and prompts of your own",
                where="RunConfig.eval_prompts",
                fix="Name a prompt file that the run does not train on: --eval-prompts FILE.",
            )
        judged = config.eval_prompts
        if not isinstance(judged, str):
            judged = EVERYDAY if judged is None and source == EVERYDAY else EMBEDDED
        training = _read(source, "train", config, config.limit, show)
        heldout = _read(judged, "test", config, config.eval_limit, show)
        if judged == EMBEDDED and config.eval_limit is None and not isinstance(config.eval_prompts, str):
            heldout = heldout.first(config.eval_prompts or EVALUATION_PROMPTS)
        return cls(config, _in_order(training, config), heldout, show=show)

    def fitted_policy(self, policy: Policy) -> Inputs:
        """These prompts as the policy has room for them (see `rslib.lengths`)."""
        uses = (
            (self.training, self.config.sampling(), "--max-new-tokens"),
            (
                self.heldout,
                self.config.evaluation().sampling(),
                "--max-new-tokens" if self.config.eval_max_new_tokens is None else "--eval-max-new-tokens",
            ),
        )
        pairs = (
            fit_policy(rows, policy, drawn, option=option, too_long=self.config.too_long)
            for rows, drawn, option in uses
        )
        fitted, drawings = zip(*pairs, strict=True)
        return dataclasses.replace(self._settled(*fitted), drawings=drawings)

    def fitted_reward_model(self, reward_model: Any) -> Inputs:
        """These prompts as the reward model has room for them and for the responses to them."""
        pairs = zip((self.training, self.heldout), self.drawings, strict=True)
        fitted = (
            fit_reward_model(rows, reward_model, drawing, too_long=self.config.too_long)
            for rows, drawing in pairs
        )
        return self._settled(*fitted)

    def settled(self) -> Inputs:
        """These prompts without those that cannot be used. Raises as `prompts.settle`."""
        return self._settled(self.training, self.heldout)

    def _settled(self, training: PromptRows, heldout: PromptRows) -> Inputs:
        training, heldout = settle((training, heldout), self.config.too_long, show=self.show)
        return dataclasses.replace(self, training=training, heldout=heldout)

    def slices(self) -> list[Dataset]:
        """The prompts of each round, none in two rounds. Raises ConfigError when there are too few."""
        prompts, rounds = self.training.table, self.config.rounds
        size = len(prompts) // rounds
        fix = "Use fewer rounds, or more prompts."
        require(size >= 1, f"{len(prompts)} prompts are left for {rounds} rounds", "run(...)", fix)
        return [tables.take(prompts, range(i * size, (i + 1) * size)) for i in range(rounds)]

    def shared(self) -> int:
        """How many evaluation prompts are also trained on."""
        trained = set(map(frozen, self.training.table["prompt"][:]))
        return len(trained & set(map(frozen, self.heldout.table["prompt"][:])))

    def contents(self) -> dict[str, str]:
        """What is read, by hashes."""
        uses = {"content of prompts": self.training, "content of eval_prompts": self.heldout}
        return {name: tables.fingerprint(rows.table)[:12] for name, rows in uses.items()}

    def facts(self) -> dict[str, Any]:
        """What the report says of them: where they come from, how many were left out or cut."""
        return {"prompts": self.training.facts(), "evaluation prompts": self.heldout.facts()}


def _read(source: str, split: str, config: RunConfig, limit: int | None, show: bool) -> PromptRows:
    rows = read_prompts(source, split, column=config.column, system=config.system)
    if limit is None and len(rows.table) >= config.rounds:
        return rows  # what cannot be used is named together with what has no room, once the models are known
    return rows.settled(config.too_long, show=show).first(limit)


def _in_order(rows: PromptRows, config: RunConfig) -> PromptRows:
    """The prompts in the order that the run's seed draws; of the embedded ones as many as the rounds use.

    A number in `config.prompts` is the size of a round; all prompts of a file are shared out evenly.
    """
    size = config.prompts if isinstance(config.prompts, int) else len(rows.table) // config.rounds
    require(
        1 <= size * config.rounds <= len(rows.table),
        f"there are {len(rows.table)} prompts, too few for {config.rounds} rounds of {max(1, size)}",
        f"prompts={config.prompts}, rounds={config.rounds}",
        "Use fewer prompts or fewer rounds.",
    )
    if isinstance(config.prompts, int):
        order = np.random.default_rng(config.seed).permutation(len(rows.table))[: size * config.rounds]
    else:  # a prompt's place does not depend on the others, so that removing one moves no other
        keys = [_place(config.seed, prompt_id) for prompt_id in rows.table["prompt_id"][:]]
        order = sorted(range(len(keys)), key=keys.__getitem__)
    return dataclasses.replace(rows, table=tables.take(rows.table, order))


def _place(seed: int, prompt_id: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{prompt_id}".encode()).digest()
