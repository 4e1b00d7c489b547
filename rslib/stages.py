"""The stages one by one: as plain functions on parts of tables, and cached in a run folder.

`pipeline` strings them together, `flaws` replaces single ones, the command line offers each by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib import store, tables, world
from rslib.config import FinetuneConfig, SampleConfig

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy, RewardModel

SMALL_MODEL = 20_000_000
"""Parameters up to which a few models are held at once: loading them again costs more than they weigh."""
HEALTHY = "healthy"
"""The tag of a step without a flaw."""


# The stages as plain functions on parts of tables -------------------------------------------------


def sample_part(policy: Policy, prompts: Dataset, config: SampleConfig) -> Dataset:
    """Responses to some of the prompts; what a response says does not depend on the others."""
    from rslib.sampling import sample_table

    return sample_table(policy, prompts, config)


def score_part(reward_model: RewardModel, responses: Dataset) -> Dataset:
    """Rewards for some of the responses."""
    from rslib.scoring import score

    return score(reward_model, responses, show_progress=False)


def select_rows(scored: Dataset, selector: str, options: Mapping[str, Any], seed: int) -> Dataset:
    """The rows that the selector keeps."""
    from rslib.selection import select

    return select(scored, selector, seed=seed, **options)


def matched_random(scored: Dataset, kept: Dataset, seed: int) -> Dataset:
    """The control: as many rows of each prompt as `kept` has of it, drawn at random from the same pool."""
    from rslib.selection import select

    return select(scored, "random", seed=seed, like=kept)


def finetune_folder(
    policy: Policy, kept: Dataset, out: Path, config: FinetuneConfig, show: bool, **hooks: bool
) -> Policy:
    """Fine-tune into a folder; `hooks` are those of `finetuning.finetune` that show a flaw."""
    from rslib.finetuning import finetune

    return finetune(policy, kept, out, config=config, show_progress=show, **hooks)


def judged(
    policy: Policy,
    prompts: Dataset,
    reward_model: RewardModel,
    config: SampleConfig,
    *,
    reference: Policy | None = None,
) -> Dataset:
    """Responses of `policy` to held-out prompts with `reward`, `reference_logprob` and, where known, gold.

    The rows are prompt-major, `config.n` a prompt. `reference` is the policy to which the KL is measured
    (None: the policy itself, at distance 0). Raises the errors of `sample`, `score` and `reference_logprobs`.
    """
    responses = score_part(reward_model, sample_part(policy, prompts, config))
    return with_gold(with_reference(None if policy is reference else reference, responses))


def with_reference(start: Policy | None, responses: Dataset) -> Dataset:
    """Adds `reference_logprob`, nats under `start`; None says that `start` drew the responses itself."""
    from rslib.scoring import reference_logprobs

    values = responses["logprob"][:] if start is None else reference_logprobs(start, responses)
    return tables.with_column(responses, "reference_logprob", values)


def with_gold(responses: Dataset) -> Dataset:
    """Adds `gold` and `complied` when every prompt is the embedded world's; else the table as it is."""
    if not all(world.knows(prompt) for prompt in set(responses["prompt"][:])):
        return responses
    found = world.judgements(responses)
    table = tables.with_column(responses, "gold", [one.gold for one in found])
    return tables.with_column(
        table, "complied", [one.complied if one.unsafe_prompt else None for one in found]
    )


# Models, loaded when needed and one of a kind at a time -------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """A model: its name, hub id or folder, and its fingerprint."""

    path: str
    fingerprint: str


class Models:
    """Loads models when they are asked for. Large ones are held one at a time, so that memory holds one."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], Any] = {}

    def policy(self, path: str) -> Policy:
        """The policy of this name or folder."""
        from rslib.models import load_policy

        return self._load(("policy", path), load_policy)

    def reward_model(self, path: str) -> RewardModel:
        """The reward model of this name or folder."""
        from rslib.models import load_reward_model

        return self._load(("reward model", path), load_reward_model)

    def policy_checkpoint(self, path: str) -> Checkpoint:
        """The policy's name with its fingerprint."""
        return Checkpoint(path, self.policy(path).fingerprint())

    def reward_checkpoint(self, path: str) -> Checkpoint:
        """The reward model's name with its fingerprint."""
        return Checkpoint(path, self.reward_model(path).fingerprint())

    def _load(self, name: tuple[str, str], load: Callable[[str], Any]) -> Any:
        if name not in self._held:
            small = {k: held for k, held in self._held.items() if held.parameters <= SMALL_MODEL}
            self._held = dict(list(small.items())[-3:])  # the others go before the new one comes
            self._held[name] = load(name[1])
        return self._held[name]


# The stages, cached ---------------------------------------------------------------------------------


class Stages:
    """The five stages, each cached in a run folder under a key of everything that its result depends on.

    `place` names a stage inside the folder ("" is the folder itself); `seconds` and `places` fill as they go.
    `tag` tells the result of a flawed step from that of the healthy one.
    """

    def __init__(self, folder: store.RunFolder, shard_responses: int = store.SHARD_RESPONSES) -> None:
        from rslib.models import pick_device

        self.folder, self.shard_responses, self.models = folder, shard_responses, Models()
        self.device = pick_device().name  # another kind of device rounds differently
        self.seconds: dict[str, float] = {}
        self.places: dict[str, str] = {}

    def sample(
        self,
        policy: Checkpoint,
        prompts: Dataset,
        config: SampleConfig,
        place: str = "",
        *,
        draw: Callable[[Policy, Dataset, SampleConfig], Dataset] = sample_part,
        tag: str = HEALTHY,
    ) -> Dataset:
        """Responses of `policy`: prompt-major, `config.n` rows a prompt."""
        rows = max(1, self.shard_responses // config.n)
        key = {
            "stage": "sample",
            "policy": policy.fingerprint,
            "prompts": tables.fingerprint(prompts),
            "sample": config,
            "shard_prompts": rows,
            "step": tag,
        }
        parts = store.cut(prompts, rows)
        return self._table(
            place, key, parts, lambda part: draw(self.models.policy(policy.path), part, config), config.n
        )

    def score(
        self,
        judge: Checkpoint,
        responses: Dataset,
        place: str = "",
        *,
        mark: Callable[[RewardModel, Dataset], Dataset] = score_part,
        tag: str = HEALTHY,
    ) -> Dataset:
        """The responses with the rewards of `judge`."""
        key = {
            "stage": "score",
            "reward_model": judge.fingerprint,
            "responses": tables.fingerprint(responses),
            "shard_rows": self.shard_responses,
            "step": tag,
        }
        parts = store.cut(responses, self.shard_responses)
        return self._table(place, key, parts, lambda part: mark(self.models.reward_model(judge.path), part))

    def select(
        self,
        scored: Dataset,
        settings: Mapping[str, Any],
        choose: Callable[[Dataset], Dataset],
        place: str = "",
    ) -> Dataset:
        """The rows that `choose` keeps; `settings` are all that its choice depends on beside the rows."""
        key = {"stage": "select", "scored": tables.fingerprint(scored), "settings": settings}
        return self._table(place, key, [scored], choose)

    def reference(self, start: Checkpoint, sampler: Checkpoint, scored: Dataset, place: str) -> Dataset:
        """The rows with `reference_logprob`, nats under `start`."""
        same = start.fingerprint == sampler.fingerprint
        key = {
            "stage": "reference",
            "reference": start.fingerprint,
            "scored": tables.fingerprint(scored),
            "shard_rows": self.shard_responses,
            "same": same,
        }
        parts = store.cut(scored, self.shard_responses)
        return self._table(
            place,
            key,
            parts,
            lambda part: with_reference(None if same else self.models.policy(start.path), part),
        )

    def finetune(
        self,
        parent: Checkpoint,
        kept: Dataset,
        config: FinetuneConfig,
        place: str,
        *,
        tune: Callable[..., Policy],
        tag: str = HEALTHY,
    ) -> Checkpoint:
        """`parent` fine-tuned on the kept rows, as a folder of its own."""
        key = {
            "stage": "finetune",
            "parent": parent.fingerprint,
            "kept": tables.fingerprint(kept),
            "finetune": config,
            "step": tag,
        }
        stage = self._stage(place, key)

        def work(out: Path) -> dict[str, str]:
            tuned = tune(self.models.policy(parent.path), kept, out, config, self.folder.show)
            return {"fingerprint": tuned.fingerprint()}

        outcome = stage.checkpoint(work, label=_label(place))
        self._remember(place, stage, outcome.seconds)
        return Checkpoint(str(stage.folder), outcome.table["fingerprint"])

    def _table(
        self, place: str, key: Mapping[str, Any], parts: Sequence[Dataset], work: Callable, weight: int = 1
    ) -> Dataset:
        stage = self._stage(place, key)
        outcome = stage.table(parts, work, label=_label(place) or key["stage"], weight=weight)
        self._remember(place, stage, outcome.seconds)
        return outcome.table

    def _stage(self, place: str, key: Mapping[str, Any]) -> store.Stage:
        return self.folder.stage(place, {"device": self.device} | dict(key))

    def _remember(self, place: str, stage: store.Stage, seconds: float) -> None:
        self.seconds[place] = seconds
        self.places[place] = stage.folder.relative_to(self.folder.path).as_posix()


def _label(place: str) -> str:
    """How a stage is called in progress lines.

    >>> _label("round-1/finetune-best_of_n")
    'round 1: finetune best_of_n'
    """
    return place.replace("/", ": ").replace("-", " ")
