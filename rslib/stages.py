"""The five stages, each cached in a run folder; and the walk from a policy to its judged responses.

`pipeline` strings the stages together, the command line offers each by itself.

Four places may hold a result already, asked in this order: the stage's own folder (`store`); a folder of the
same stage beside it, for prompts that have not changed (`reuse`); what the same fine-tune has left in its
folder (training.json, in `finetuning`); and, where RSLIB_RESULTS names a folder, the results that graders
share (`cache.recalled`).
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib import store, world
from rslib.config import FinetuneConfig, RunConfig, SampleConfig
from rslib.decoding import forked, forks_for, is_small
from rslib.errors import ConfigError
from rslib.finetuning import finetune, spelt_by
from rslib.messages import frozen
from rslib.models import Policy, RewardModel, load_policy, load_reward_model, pick_device
from rslib.progress import note
from rslib.reuse import reusing, set_aside
from rslib.reward_functions import RewardFunction, load_reward_function, names_function
from rslib.sampling import sample
from rslib.scoring import reference_logprobs, score
from rslib.selection import select
from rslib.tables import fingerprint, with_column

if TYPE_CHECKING:
    from datasets import Dataset

Scorer = RewardModel | RewardFunction | Callable[..., float]
"""What gives a response its reward: a reward model, or fn(prompt, response, reference)."""

# Judged responses, without a run folder ---------------------------------------------------------------


def judged(
    policy: Policy,
    prompts: Dataset,
    reward_model: Scorer,
    config: SampleConfig,
    *,
    reference: Policy | None = None,
    judge: Scorer | None = None,
    too_long: str = "error",
) -> Dataset:
    """Responses of `policy` to held-out prompts with `reward`, `reference_logprob` and, where known, gold.

    The rows are prompt-major, `config.n` a prompt. `reference` is the policy to which the KL is measured
    (None: the policy itself, at distance 0). What `judge`, which did not select, makes of the responses is
    the column `judge`; a function is given prompt, response and the prompt's `reference` (or None). Unless
    too_long is "error", a response that has no room in their contexts is scored by its beginning.
    Raises the errors of `sample`, `score` and `reference_logprobs`, RewardError for a judge's NaN.
    """
    responses = sample(policy, prompts, config=config, show_progress=False)
    settings = {"too_long": too_long if too_long == "error" else "truncate", "show_progress": False}
    scored = score(reward_model, responses, **settings)
    if judge is not None:
        scored = with_column(scored, "judge", score(judge, responses, **settings)["reward"][:])
    return with_gold(with_reference(None if policy is reference else reference, scored))


def with_reference(reference: Policy | None, responses: Dataset) -> Dataset:
    """The responses with `reference_logprob`, nats under `reference`; None: the policy that drew them.

    Raises ConfigError where the two have other tokens, so that there is no KL between them.
    """
    if reference is not None and spelt_by(reference, responses) == []:
        fix = "Name the policy that it was tuned from, or one with the same tokenizer."
        raise ConfigError("the baseline has other tokens than the policy", where=reference.path, fix=fix)
    logprobs = responses["logprob"][:] if reference is None else reference_logprobs(reference, responses)
    return with_column(responses, "reference_logprob", logprobs)


def with_gold(responses: Dataset) -> Dataset:
    """The responses with `gold` and `complied`, if every prompt is the embedded world's; else as they are.

    `complied` is None where the prompt is safe.
    """
    if not all(isinstance(p, str) and world.knows(p) for p in set(map(frozen, responses["prompt"][:]))):
        return responses
    judgements = world.judgements(responses)
    table = with_column(responses, "gold", [judgement.gold for judgement in judgements])
    complied = [judgement.complied if judgement.unsafe_prompt else None for judgement in judgements]
    return with_column(table, "complied", complied)


# Models, loaded when needed ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Checkpoint:
    """A model: its name, hub id or folder, its fingerprint, and in words the dtype that it was loaded in.

    A reward function is called module:function and has no dtype.
    """

    path: str
    fingerprint: str
    dtype: str = ""


class Models:
    """Loads models when they are asked for. Large ones are held one at a time, so that memory holds one.

    device, dtype, date, and for policies context: as `load_policy` takes them. `functions`: reward functions
    by name, also those that a caller gave and no name imports.
    """

    def __init__(
        self,
        *,
        device: str | None = None,
        dtype: str | None = None,
        context: int | None = None,
        date: str | None = None,
    ) -> None:
        # Another kind of device rounds differently; so does another dtype, which a fingerprint holds.
        self.device = pick_device(device, dtype).name.partition(":")[0]
        self.options, self.context = {"device": device, "dtype": dtype, "date": date}, context
        self._held: dict[tuple[str, str], Any] = {}
        self.functions: dict[str, RewardFunction] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Without the models: another process loads its own."""
        return self.__dict__ | {"_held": {}, "functions": {}}

    def policy(self, path: str) -> Policy:
        """The policy of this name or folder."""
        return self._load(("policy", path), partial(load_policy, context=self.context))

    def reward_model(self, path: str) -> RewardModel | RewardFunction:
        """The reward model of this name or folder, or the reward function module:function."""
        return self.reward_function(path) or self._load(("reward model", path), load_reward_model)

    def reward_function(self, path: str | None) -> RewardFunction | None:
        """The reward function of this name; None: it is no function's."""
        if path and path not in self.functions and names_function(path):
            self.functions[path] = load_reward_function(path)
        return self.functions.get(path)

    def policy_checkpoint(self, path: str) -> Checkpoint:
        """The policy's name with its fingerprint."""
        return _checkpoint(path, self.policy(path))

    def reward_checkpoint(self, path: str) -> Checkpoint:
        """The reward model's name with its fingerprint."""
        return _checkpoint(path, self.reward_model(path))

    def _load(self, name: tuple[str, str], load: Callable[..., Any]) -> Any:
        if name not in self._held:
            # The large ones go before the new one comes; three small ones may stay.
            small = [(k, model) for k, model in self._held.items() if is_small(model.model)]
            self._held = dict(small[-3:])
            self._held[name] = load(name[1], **self.options)
        return self._held[name]


def _checkpoint(path: str, model: Policy | RewardModel | RewardFunction) -> Checkpoint:
    dtype = "" if isinstance(model, RewardFunction) else str(model.device.dtype).removeprefix("torch.")
    return Checkpoint(path, model.fingerprint(), dtype)


# The stages, cached -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelWork:
    """What a stage does with a part of its table: `function` of a model, the part and the settings.

    `load` names a method of Models, `path` the model (None: the function is given None).
    """

    models: Models
    load: str
    path: str | None
    function: Callable[..., Dataset]
    settings: Mapping[str, Any]

    def __call__(self, part: Dataset) -> Dataset:
        """The table that the part becomes."""
        return self.function(self.model(), part, **self.settings)

    @property
    def travels(self) -> bool:
        """Whether another process can do it: not what a flaw replaces, nor a function, which has its own."""
        return not inspect.ismethod(self.function) and self.models.reward_function(self.path) is None

    def model(self) -> Any:
        """The model, loaded when it is not held."""
        return None if self.path is None else getattr(self.models, self.load)(self.path)


def _side_by_side(
    work: Callable[[Dataset], Dataset], parts: Mapping[int, Dataset]
) -> Iterator[tuple[int, Dataset, float]]:
    """As `store.in_turn`, in the order in which forks finish the parts, where a small model works on them."""
    plain = isinstance(work, ModelWork) and work.travels and work.path is not None
    count, numbers, done = forks_for(work.model().model) if plain else 1, list(parts), set()

    def run(number: int) -> tuple[bytes, float, list[Warning]]:
        with warnings.catch_warnings(record=True) as given:
            [(_, table, seconds)] = store.in_turn(work, {number: parts[number]})
        return store.table_bytes(table), seconds, [each.message for each in given]

    if count > 1 and len(numbers) > 1:
        for place, (content, seconds, given) in forked(run, numbers, count):
            done.add(numbers[place])
            for warning in given:  # said here, where whoever calls can hear it
                warnings.warn(warning, stacklevel=2)
            yield numbers[place], store.table_from(content), seconds
        note("forks were lost: this process goes on", len(done) < len(numbers))
    yield from store.in_turn(work, {number: part for number, part in parts.items() if number not in done})


class Stages:
    """The five stages, each cached in a run folder under a key of everything that its result depends on.

    `place` names a stage inside the folder ("" is the folder itself). `work` does the stage's work: by
    default the public function of that name, else one with its signature. The key holds its qualified name:
    code outside the package counts by that alone, so what is edited there wants another name. `seconds` and
    `places` fill as the stages go. `models`: what loads them, and where. `too_long`: of responses, see
    `rslib.lengths`. `reuse`: take rows from stages on other prompts (see `rslib.reuse`). `each`: who works on
    the parts of a table (see `_side_by_side`, `rslib.cluster`). `drawing`: settings of `sample` beside its
    config (backend, vllm_url).
    """

    def __init__(
        self,
        folder: store.RunFolder,
        shard_responses: int = RunConfig.shard_responses,
        *,
        models: Models | None = None,
        too_long: str = "error",
        reuse: bool = False,
        each: Callable[..., Iterator[tuple[int, Dataset, float]]] = _side_by_side,
        **drawing: Any,
    ) -> None:
        self.drawing, self.too_long, self.reuse, self.each = drawing, too_long, reuse, each
        self.folder, self.shard_responses = folder, shard_responses
        self.models = models or Models()
        self.device = self.models.device
        self.seconds: dict[str, float] = {}
        self.places: dict[str, str] = {}

    def sample(
        self,
        policy: Checkpoint,
        prompts: Dataset,
        config: SampleConfig,
        place: str = "",
        work: Callable[..., Dataset] = sample,
    ) -> Dataset:
        """Responses of `policy`: prompt-major, `config.n` rows a prompt."""
        shard_prompts = max(1, self.shard_responses // config.n)
        key = {
            "policy": policy.fingerprint,
            "prompts": fingerprint(prompts),
            "sample": config,
            "shard_prompts": shard_prompts,
            "backend": self.drawing.get("backend"),
            "code": work.__qualname__,
        }
        settings = {"config": config, "show_progress": False} | self.drawing
        draw = ModelWork(self.models, "policy", policy.path, work, settings)
        parts = store.cut(prompts, shard_prompts)
        content = "prompts" if work is sample else ""  # a flaw's work may look at the other rows
        return self._table("sample", place, key, parts, draw, weight=config.n, content=content)

    def score(
        self,
        reward_model: Checkpoint,
        responses: Dataset,
        place: str = "",
        work: Callable[..., Dataset] = score,
    ) -> Dataset:
        """The responses with their rewards."""
        key = {
            "reward_model": reward_model.fingerprint,
            "responses": fingerprint(responses),
            "shard_rows": self.shard_responses,
            "code": work.__qualname__,
        }
        if function := self.models.reward_function(reward_model.path):
            function.remember(self.folder.path)
        content = "responses" if work is score else ""
        # Not in the key: where all responses fit, both ways give the same.
        plain = self.too_long == "error" or work is not score
        settings = {"show_progress": False} | ({} if plain else {"too_long": "truncate"})
        weigh = ModelWork(self.models, "reward_model", reward_model.path, work, settings)
        parts = store.cut(responses, self.shard_responses)
        return self._table("score", place, key, parts, weigh, content=content)

    def select(
        self,
        scored: Dataset,
        selector: str,
        options: Mapping[str, Any],
        seed: int,
        place: str = "",
        work: Callable[..., Dataset] = select,
    ) -> Dataset:
        """The rows that the selector keeps."""
        key = {
            "scored": fingerprint(scored),
            "selector": selector,
            "options": {name: _fact(value) for name, value in options.items()},
            "seed": seed,
            "code": work.__qualname__,
        }
        return self._table(
            "select", place, key, [scored], lambda pool: work(pool, selector, seed=seed, **options)
        )

    def finetune(
        self,
        parent: Checkpoint,
        kept: Dataset,
        config: FinetuneConfig,
        place: str = "",
        work: Callable[..., Policy] = finetune,
    ) -> Checkpoint:
        """`parent` fine-tuned on the kept rows, as a folder of its own."""
        key = {
            "parent": parent.fingerprint,
            "kept": fingerprint(kept),
            "finetune": config,
            "code": work.__qualname__,
        }
        stage = self._stage("finetune", place, key)

        def tune_into(out: Path) -> dict[str, str]:
            policy = self.models.policy(parent.path)
            # The road knows that `parent` drew the rows.
            known = {"allow_other_policy": True} if work is finetune else {}
            tuned = work(policy, kept, out, config=config, show_progress=self.folder.show, **known)
            return {"fingerprint": tuned.fingerprint()}

        record = stage.checkpoint(tune_into, label=_label(place) or "finetune")
        self._remember(place, stage, record["seconds"])
        return Checkpoint(str(stage.folder), record["fingerprint"])

    def judged(
        self,
        policy: Checkpoint,
        prompts: Dataset,
        reward_model: Checkpoint,
        config: SampleConfig,
        place: str,
        *,
        reference: Checkpoint,
        judge: Checkpoint | None = None,
    ) -> Dataset:
        """As the function `judged`; its steps are cached at `place`-sample, -score, -judge and -reference."""
        responses = self.sample(policy, prompts, config, f"{place}-sample")
        scored = self.score(reward_model, responses, f"{place}-score")
        itself = policy.fingerprint == reference.fingerprint
        key = {
            "reference": reference.fingerprint,
            "scored": fingerprint(scored),
            "shard_rows": self.shard_responses,
            "same": itself,
        }
        weigh = ModelWork(self.models, "policy", None if itself else reference.path, with_reference, {})
        parts = store.cut(scored, self.shard_responses)
        table = self._table("reference", f"{place}-reference", key, parts, weigh, content="scored")
        if judge is not None:
            scored_by_judge = self.score(judge, responses, f"{place}-judge")
            table = with_column(table, "judge", scored_by_judge["reward"][:])
        return with_gold(table)

    def _table(
        self,
        name: str,
        place: str,
        key: Mapping[str, Any],
        parts: Sequence[Dataset],
        work: Callable[[Dataset], Dataset],
        weight: int = 1,
        content: str = "",
    ) -> Dataset:
        """The stage's table. `content`: of the key, the input's hash, where prompts are independent."""
        stage, label = self._stage(name, place, key), _label(place) or name
        each = self.each
        if content and self.reuse:
            set_aside(stage, content)
            each = reusing(each, stage, parts, content, weight=weight, label=label)
        table, seconds = stage.table(parts, work, label=label, weight=weight, each=each)
        self._remember(place, stage, seconds)
        return table

    def _stage(self, name: str, place: str, key: Mapping[str, Any]) -> store.Stage:
        return self.folder.stage(place, {"stage": name, "device": self.device} | dict(key))

    def _remember(self, place: str, stage: store.Stage, seconds: float) -> None:
        self.seconds[place] = seconds
        self.places[place] = stage.folder.relative_to(self.folder.path).as_posix()


def _fact(value: Any) -> Any:
    """What a key holds of a selector's option: a table counts by its content."""
    return fingerprint(value) if hasattr(value, "column_names") else value


def _label(place: str) -> str:
    """How a stage is called in progress lines.

    >>> _label("round-1/finetune-best_of_n")
    'round 1: finetune best_of_n'
    """
    return place.replace("/", ": ").replace("-", " ")
