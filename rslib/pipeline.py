"""The road in five lines: sample, score, select, fine-tune, evaluate; then again from the tuned policy.

    report = run(n=16, prompts=400, rounds=2, seed=0, out="runs/x")     # writes runs/x/report.json

`_one_round` is the whole method. Each of its lines is a stage that is cached in the run folder (see `store`),
so a run that was stopped or killed goes on where it was when the same call is made again. Beside every
best-of-n arm stands its control, fine-tuned in the same way on as many random responses of the same pool.

`evaluate` is the façade for notebooks, without a run folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import store, tables
from rslib.config import EvaluateConfig, FinetuneConfig, SampleConfig, require, unknown_name
from rslib.errors import ConfigError
from rslib.progress import note
from rslib.prompts import EMBEDDED, as_prompts, first_rows, load_prompts
from rslib.reporting import Report, round_entry
from rslib.stages import (
    Checkpoint,
    Stages,
    finetune_folder,
    judged,
    matched_random,
    sample_part,
    score_part,
    select_rows,
    with_gold,
)

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy, RewardModel

BASE, CONTROL = "base", "random"
"""Arms of every report: the starting policy, and the matched random control."""
EVALUATION_PROMPTS = 400
SEED_STEP = 10_007
"""Distance between the seeds of two rounds; round 1 has the run's own seed."""


@dataclass(frozen=True)
class RunConfig:
    """A whole run: what it starts from, and the settings of each stage."""

    policy: str = field(default=EMBEDDED, metadata={"help": "'tiny', a local folder, or a hub id"})
    reward_model: str = field(default=EMBEDDED, metadata={"help": "'tiny', a local folder, or a hub id"})
    prompts: int | str = field(
        default=400,
        metadata={"help": "embedded training prompts per round, or a prompt file (split over the rounds)"},
    )
    eval_prompts: int | str | None = field(
        default=None,
        metadata={"help": "embedded test prompts, or a prompt file; None: 400 of the embedded test split"},
    )
    rounds: int = field(
        default=1, metadata={"help": "rounds; each samples fresh prompts from the tuned policy"}
    )
    selector: str = field(default="best_of_n", metadata={"help": "which responses to keep"})
    options: Mapping[str, Any] = field(
        default_factory=dict, metadata={"help": "options of the selector, such as k=2"}
    )
    seed: int = field(
        default=0, metadata={"help": "run seed; every round, prompt and response derives its own"}
    )
    shard_responses: int = field(
        default=store.SHARD_RESPONSES, metadata={"help": "responses per shard: how much a kill can cost"}
    )
    sample: SampleConfig = field(default_factory=SampleConfig)
    finetune: FinetuneConfig = field(default_factory=FinetuneConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)

    def __post_init__(self) -> None:
        for name in ("policy", "reward_model", "prompts", "eval_prompts"):
            if isinstance(getattr(self, name), Path):
                object.__setattr__(self, name, str(getattr(self, name)))
        where = "RunConfig"
        require(self.rounds >= 1, f"rounds is {self.rounds}", f"{where}.rounds", "Use at least one round.")
        shard = self.shard_responses
        require(shard >= 1, f"shard_responses is {shard}", f"{where}.shard_responses", "Use a number >= 1.")
        for name in ("prompts", "eval_prompts"):
            value = getattr(self, name)
            few = isinstance(value, int) and value < 1
            require(not few, f"{name} is {value}", f"{where}.{name}", "Use at least one prompt.")

    @classmethod
    def of(cls, **flat: Any) -> RunConfig:
        """A RunConfig from flat names.

        `n` and `temperature` go to `sample`, `epochs` to `finetune`, `eval_...` to `evaluate`; `seed` is the
        run's. Raises ConfigError for an unknown name, with the closest one.

        >>> RunConfig.of(n=4, epochs=2, eval_samples_per_prompt=1).sample.n
        4
        """
        homes = flat_settings()
        nested: dict[str, dict[str, Any]] = {"": {}, "sample": {}, "finetune": {}, "evaluate": {}}
        for name, value in flat.items():
            if name not in homes:
                raise unknown_name("setting", name, homes, "run(...)")
            part, inner = homes[name]
            nested[part][inner.name] = value
        own = nested.pop("")
        parts = {part: _CONFIGS[part](**given) for part, given in nested.items() if given}
        return cls(**own, **parts)


_CONFIGS = {"sample": SampleConfig, "finetune": FinetuneConfig, "evaluate": EvaluateConfig}


def flat_settings() -> dict[str, tuple[str, dataclasses.Field]]:
    """Every setting of a run by its flat name: name -> (part of RunConfig, field)."""
    found = {f.name: ("", f) for f in dataclasses.fields(RunConfig) if f.name not in _CONFIGS}
    for part, kind in _CONFIGS.items():
        prefix = "eval_" if part == "evaluate" else ""
        for inner in dataclasses.fields(kind):
            if inner.name != "seed" or prefix:
                found[prefix + inner.name] = (part, inner)
    return found


# What a run does at each stage -------------------------------------------------------------------------


def _every_round_its_own(number: int) -> int:
    return number


def _heldout_as_given(slices: Sequence[Dataset], heldout: Dataset) -> Dataset:
    return heldout


@dataclass(frozen=True)
class Steps:
    """What a run does at each stage; `flaws` replaces single steps and leaves the rest.

    `name` goes into the keys of the training stages, so that flawed and healthy results never mix.
    `pool_round` says which round's prompts, policy and seed a round draws its pool with, `seed_round` which
    round's prompts and seed; both are the round itself in a healthy run.
    """

    name: str = "healthy"
    sample: Callable[[Policy, Dataset, SampleConfig], Dataset] = sample_part
    score: Callable[[RewardModel, Dataset], Dataset] = score_part
    select: Callable[[Dataset, str, Mapping[str, Any], int], Dataset] = select_rows
    finetune: Callable[[Policy, Dataset, Path, FinetuneConfig, bool], Policy] = finetune_folder
    heldout: Callable[[Sequence[Dataset], Dataset], Dataset] = _heldout_as_given
    pool_round: Callable[[int], int] = _every_round_its_own
    seed_round: Callable[[int], int] = _every_round_its_own
    scorer: str | None = None  # another reward model for the training pool


HEALTHY = Steps()


# One run -----------------------------------------------------------------------------------------------


@dataclass
class _Run:
    """What the rounds of one run share."""

    config: RunConfig
    steps: Steps
    stages: Stages
    slices: list[Dataset]
    heldout: Dataset
    start: Checkpoint
    scorer: Checkpoint
    judge: Checkpoint

    def seed(self, number: int) -> int:
        """The seed of a round."""
        return self.config.seed + SEED_STEP * (self.steps.seed_round(number) - 1)

    def prompts(self, number: int) -> Dataset:
        """The prompts of a round."""
        return self.slices[self.steps.seed_round(number) - 1]

    def tag(self, step: str) -> str:
        """The flaw's name when it replaces this step, else "healthy"."""
        return self.steps.name if getattr(self.steps, step) is not getattr(HEALTHY, step) else HEALTHY.name


@dataclass
class _Round:
    """The five stages as one round of a run uses them."""

    run: _Run
    number: int
    parent: Checkpoint

    def __post_init__(self) -> None:
        self.seed, self.place = self.run.seed(self.number), f"round-{self.number}/"

    def sample(self, prompts: Dataset, pool_round: int) -> Dataset:
        """The pool, by default from this round's parent."""
        run = self.run
        policy = self.parent if pool_round == self.number else run.start
        config = dataclasses.replace(run.config.sample, seed=run.seed(pool_round))
        place = f"round-{pool_round}/sample"
        return run.stages.sample(policy, prompts, config, place, draw=run.steps.sample, tag=run.tag("sample"))

    def score(self, responses: Dataset) -> Dataset:
        """The pool with its rewards."""
        run = self.run
        place = f"{self.place}score"
        return run.stages.score(run.scorer, responses, place, mark=run.steps.score, tag=run.tag("score"))

    def select(self, scored: Dataset) -> dict[str, Dataset]:
        """What each arm is fine-tuned on: the matched control first, then the run's selector."""
        run, config = self.run, self.run.config
        settings = {"selector": config.selector, "options": dict(config.options), "seed": self.seed}
        tagged = settings | {"step": run.tag("select")}
        kept = run.stages.select(
            scored,
            tagged,
            lambda pool: run.steps.select(pool, config.selector, config.options, self.seed),
            f"{self.place}select-{config.selector}",
        )
        if config.selector == CONTROL:
            return {CONTROL: kept}
        matched = run.stages.select(
            scored,
            tagged | {"matched": tables.fingerprint(kept)},
            lambda pool: matched_random(pool, kept, self.seed),
            f"{self.place}select-{CONTROL}",
        )
        return {CONTROL: matched, config.selector: kept}

    def finetune(self, kept: Mapping[str, Dataset]) -> dict[str, Checkpoint]:
        """Each arm's policy, tuned from this round's parent with the same settings."""
        run = self.run
        config = dataclasses.replace(run.config.finetune, seed=self.seed)
        tuned = {}
        for arm, rows in kept.items():
            flawed = arm == run.config.selector
            tune, tag = (
                (run.steps.finetune, run.tag("finetune")) if flawed else (finetune_folder, HEALTHY.name)
            )
            place = f"{self.place}finetune-{arm}"
            tuned[arm] = run.stages.finetune(self.parent, rows, config, place, tune=tune, tag=tag)
        return tuned

    def evaluate(self, arms: Mapping[str, Checkpoint]) -> dict[str, Dataset]:
        """Held-out responses of each arm, with reward, reference_logprob and, in the embedded world, gold."""
        return {arm: self._judged(arm, policy) for arm, policy in arms.items()}

    def _judged(self, arm: str, policy: Checkpoint) -> Dataset:
        # The starting policy is the same in every round, and so are its held-out responses.
        place = "evaluate-base" if arm == BASE else f"{self.place}evaluate-{arm}"
        run, stages = self.run, self.run.stages
        responses = stages.sample(policy, run.heldout, run.config.evaluate.sampling(), f"{place}-sample")
        scored = stages.score(run.judge, responses, f"{place}-score")
        return with_gold(stages.reference(run.start, policy, scored, f"{place}-reference"))


def _one_round(at: _Round) -> tuple[dict[str, Any], Checkpoint]:
    """One round: the entry of the report, and the policy that the next round starts from."""
    run, pool_round = at.run, at.run.steps.pool_round(at.number)
    prompts = run.prompts(pool_round)

    responses = at.sample(prompts, pool_round)
    scored = at.score(responses)
    kept = at.select(scored)
    tuned = at.finetune(kept)
    arms = at.evaluate({BASE: run.start} | tuned)

    stage_tables = {"prompts": prompts, "samples": responses, "scores": scored}
    entry = round_entry(
        at.number,
        arms,
        n=run.config.sample.n,
        pool=with_gold(scored),  # for the report's curve alone: selection has seen the rewards
        kept=kept,
        provenance=_provenance(at, stage_tables, kept, tuned, arms),
        seed=run.config.seed,
    )
    return entry, tuned[run.config.selector]


def _provenance(
    at: _Round,
    stage_tables: Mapping[str, Dataset],
    kept: Mapping[str, Dataset],
    tuned: Mapping[str, Checkpoint],
    arms: Mapping[str, Dataset],
) -> dict[str, Any]:
    """From prompt to checkpoint by hashes: what the numbers came from. `seconds` alone is wall-clock."""
    run, shared = at.run, f"evaluate-{BASE}"
    mine = [place for place in run.stages.places if place.startswith((at.place, shared))]
    return {name: tables.fingerprint(table) for name, table in stage_tables.items()} | {
        "selection": {arm: tables.fingerprint(rows) for arm, rows in kept.items()},
        "parent": at.parent.fingerprint,
        "child": {arm: checkpoint.fingerprint for arm, checkpoint in tuned.items()},
        "reward_model": run.scorer.fingerprint,
        "evaluation": {
            "prompts": tables.fingerprint(run.heldout),
            "reward_model": run.judge.fingerprint,
            "responses": {arm: tables.fingerprint(table) for arm, table in arms.items()},
        },
        "seeds": {"run": run.config.seed, "round": at.seed, "evaluate": run.config.evaluate.seed},
        "versions": store.versions(),
        "places": {place.removeprefix(at.place): run.stages.places[place] for place in mine},
        "seconds": {place.removeprefix(at.place): run.stages.seconds[place] for place in mine},
    }


def run(
    config: RunConfig | None = None,
    *,
    out: str | Path,
    steps: Steps = HEALTHY,
    show_progress: bool = True,
    **settings: Any,
) -> Report:
    """Run all rounds in the folder `out` and write `report.json`; the same call goes on with a stopped run.

    `settings` are the flat names of RunConfig.of (`n=16, prompts=400, rounds=2, seed=0`), for when no
    `config` is given. Arms of each round: `base` (the starting policy), `random` (the matched control), and
    the selector's.

    Raises ConfigError for bad settings, DataError for bad prompts, RewardError for rewards that are not
    finite, ModelError for models that cannot be loaded, StoreError when the folder cannot be used, when a
    shard was changed, or when the prompts or a model changed since the run began.
    """
    if config is not None and settings:
        fix = "Put them into the RunConfig, or give settings alone."
        raise ConfigError(
            f"both a config and settings were given: {', '.join(settings)}", where="run", fix=fix
        )
    config = config or RunConfig.of(**settings)
    with store.RunFolder(out, show=show_progress) as folder:
        this = _begin(config, steps, folder)
        entries, parent = [], this.start
        for number in range(1, config.rounds + 1):
            entry, parent = _one_round(_Round(this, number, parent))
            entries.append(entry)
        report = Report(entries, _settings(this))
        write_report(report, folder.path)
    return report


def _begin(config: RunConfig, steps: Steps, folder: store.RunFolder) -> _Run:
    """Read the inputs, hold the folder to them, and say what they share."""
    from rslib.selection import check_selector

    check_selector(config.selector, config.options)
    training, heldout = _prompt_sources(config)
    slices = training_slices(training, config)
    stages = Stages(folder, config.shard_responses)
    start = stages.models.policy_checkpoint(config.policy)
    judge = stages.models.reward_checkpoint(config.reward_model)
    scorer = stages.models.reward_checkpoint(steps.scorer) if steps.scorer else judge
    folder.record_inputs(
        {
            "policy": {"source": config.policy, "fingerprint": start.fingerprint},
            "reward model": {"source": config.reward_model, "fingerprint": judge.fingerprint},
            "prompts": _described(config.prompts, training),
            "evaluation prompts": _described(config.eval_prompts, heldout),
        },
        dataclasses.asdict(config) | {"steps": steps.name},
    )
    judged_on = steps.heldout(slices, first_rows(heldout, _heldout_size(config, heldout)))
    shared = {text for part in slices for text in part["prompt"][:]} & set(judged_on["prompt"][:])
    if shared:
        note(f"{len(shared)} evaluation prompts are also trained on: the evaluation flatters", folder.show)
    return _Run(config, steps, stages, slices, judged_on, start, scorer, judge)


def _described(source: int | str | None, table: Dataset) -> dict[str, str]:
    """How run.json names where prompts came from, and the hash of all that is there."""
    name = source if isinstance(source, str) else "the embedded world"
    return {"source": name, "fingerprint": tables.fingerprint(table)}


def _prompt_sources(config: RunConfig) -> tuple[Dataset, Dataset]:
    """All prompts to train on and all to evaluate on; the embedded splits unless files are named.

    Raises ConfigError when policy and prompts are the user's own and no evaluation prompts are named.
    """
    training = EMBEDDED if isinstance(config.prompts, int) else config.prompts
    if config.eval_prompts is None and training != EMBEDDED and not config.policy.startswith(EMBEDDED):
        raise ConfigError(
            "no evaluation prompts for a policy and prompts of your own",
            where="RunConfig.eval_prompts",
            fix="Name a prompt file that the run does not train on: --eval-prompts FILE.",
        )
    heldout = config.eval_prompts if isinstance(config.eval_prompts, str) else EMBEDDED
    return load_prompts(training), load_prompts(heldout, "test")


def _heldout_size(config: RunConfig, heldout: Dataset) -> int:
    if isinstance(config.eval_prompts, str):
        return len(heldout)
    return config.eval_prompts or EVALUATION_PROMPTS


def training_slices(prompts: Dataset, config: RunConfig) -> list[Dataset]:
    """The prompts of each round, none in two rounds, in an order that the run's seed draws.

    A number in `config.prompts` is the size of a round; the prompts of a file are shared out evenly.
    Raises ConfigError when there are too few.
    """
    size = config.prompts if isinstance(config.prompts, int) else len(prompts) // config.rounds
    require(
        1 <= size * config.rounds <= len(prompts),
        f"there are {len(prompts)} prompts, too few for {config.rounds} rounds of {max(1, size)}",
        f"prompts={config.prompts}, rounds={config.rounds}",
        "Use fewer prompts or fewer rounds.",
    )
    order = np.random.default_rng(config.seed).permutation(len(prompts))
    return [tables.take(prompts, order[at * size : (at + 1) * size]) for at in range(config.rounds)]


def _settings(this: _Run) -> dict[str, Any]:
    """What the report says it ran under; no path of this machine and no wall-clock."""
    device = this.stages.models.policy(this.start.path).device
    return {
        "config": dataclasses.asdict(this.config),
        "flaw": None if this.steps is HEALTHY else this.steps.name,
        "policy": {"name": this.start.path, "fingerprint": this.start.fingerprint},
        "reward_model": {"name": this.judge.path, "fingerprint": this.judge.fingerprint},
        "device": {"name": device.name, "dtype": str(device.dtype), "why": device.why},
    }


def write_report(report: Report, out: str | Path) -> Path:
    """Write `out/report.json`: the report and its `report_hash`. Raises StoreError when that is refused."""
    content = json.loads(report.to_json())
    path = store.make_folder(out) / "report.json"
    content = {"report_hash": report_hash(content)} | content
    store.atomic_write(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return path


def report_hash(content: Any) -> str:
    """The sha256 of a report without its wall-clock (every `seconds`) and without this hash itself.

    >>> report_hash({"a": 1, "seconds": 2.5}) == report_hash({"a": 1, "seconds": 9.0, "report_hash": "x"})
    True
    """
    return store.key_of(_timeless(content))


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _timeless(v) for k, v in value.items() if k not in ("seconds", "report_hash")}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


# The façade ---------------------------------------------------------------------------------------


def evaluate(
    tuned: Policy,
    *,
    baseline: Policy,
    reward_model: RewardModel,
    split: str = "test",
    prompts: Dataset | Sequence[str] | None = None,
    config: EvaluateConfig | None = None,
    show_progress: bool = True,
) -> Report:
    """How `tuned` compares with `baseline` on the same held-out prompts, with the same settings and seeds.

    `prompts` default to 400 of the embedded world's `split`. The report has the arms `base` and `tuned`, with
    reward, KL to the baseline and, in the embedded world, gold.
    Raises the errors of `sample` and `score`, ConfigError for an unknown split.
    """
    config = config or EvaluateConfig()
    table = load_prompts(EMBEDDED, split, EVALUATION_PROMPTS) if prompts is None else as_prompts(prompts)
    arms = {}
    for arm, policy in {BASE: baseline, "tuned": tuned}.items():
        note(f"evaluate {arm}: {len(table)} prompts x {config.samples_per_prompt} responses", show_progress)
        arms[arm] = judged(policy, table, reward_model, config.sampling(), reference=baseline)
    settings = {"evaluate": dataclasses.asdict(config), "policy": tuned.name, "baseline": baseline.name}
    return Report([round_entry(1, arms, n=config.samples_per_prompt)], settings)
