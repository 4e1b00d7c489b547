"""The road: sample, score, select, fine-tune, evaluate; then again from the tuned policy.

    report = run(n=16, prompts=400, rounds=2, seed=0, out="runs/x")     # writes runs/x/report.json

The first six lines of `_one_round` are the whole method. Their stages are cached in the run folder, so a run
that was stopped or killed goes on where it was when the same call is made again. Beside every best-of-n arm
stands its control, fine-tuned in the same way on as many random responses of the same pool.

`evaluate` compares two policies without a run folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rslib import tables
from rslib.cache import atomic_write, key_of, make_folder, versions
from rslib.config import EvaluateConfig, RunConfig, with_settings
from rslib.errors import ConfigError
from rslib.finetuning import finetune
from rslib.inputs import EVALUATION_PROMPTS, Inputs
from rslib.lengths import fit_all
from rslib.models import Policy
from rslib.progress import note
from rslib.prompts import EMBEDDED, list_rows, load_prompts
from rslib.reporting import Report, round_entry
from rslib.reward_functions import RewardFunction
from rslib.sampling import logprobs_agree, sample
from rslib.scoring import score
from rslib.selection import check_selector, select
from rslib.stages import Checkpoint, Models, Scorer, Stages, judged, with_gold
from rslib.store import RunFolder

if TYPE_CHECKING:
    from datasets import Dataset

BASE, CONTROL = "base", "random"
"""Arms of every report: the starting policy, and the matched random control."""
SEED_STEP = 10_007
"""Distance between the seeds of two rounds; round 1 has the run's own seed."""


# One round --------------------------------------------------------------------------------------------


@dataclass
class Run:
    """What the rounds of one run share.

    `slices`: the prompts of each round; `input_facts`: what the report says of all prompts.
    """

    config: RunConfig
    stages: Stages
    slices: Sequence[Dataset]
    heldout: Dataset
    input_facts: Mapping[str, Any]
    start: Checkpoint
    reward_model: Checkpoint
    judge: Checkpoint | None = None


class Round:
    """One round of a run: the five stages, cached, and below them the work of each.

    The work of a stage is the public function of its name. A stage's key names the code that did its work, so
    a subclass that replaces one method (see `flaws`) shares all other results.
    """

    name = "healthy"

    # The work of each stage, on a part of its table or on a policy: what a flaw replaces
    sample_part = staticmethod(sample)
    score_part = staticmethod(score)
    select_rows = staticmethod(select)
    finetune_policy = staticmethod(finetune)

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        self.run, self.number, self.parent = run, number, parent
        self.seed = run.config.seed + SEED_STEP * (number - 1)
        self.prompts, self.heldout = run.slices[number - 1], run.heldout
        self.scorer = run.reward_model
        self.place = f"round-{number}/"

    # The five stages, cached

    def sample(self) -> Dataset:
        """The pool: responses of this round's parent to its prompts."""
        config = self.run.config.sampling(self.seed)
        return self.run.stages.sample(
            self.parent, self.prompts, config, f"{self.place}sample", self.sample_part
        )

    def check_logprobs(self, responses: Dataset) -> dict[str, Any] | None:
        """Whether the pool's log-probabilities are its policy's own; None where a flaw drew it."""
        if self.sample_part is not sample:
            return None
        return logprobs_agree(self.run.stages.models.policy(self.parent.path), responses)

    def score(self, responses: Dataset) -> Dataset:
        """The pool with its rewards."""
        return self.run.stages.score(self.scorer, responses, f"{self.place}score", self.score_part)

    def select(self, scored: Dataset) -> dict[str, Dataset]:
        """What each arm is fine-tuned on: the matched control first, then the run's selector."""
        stages, selector, place = self.run.stages, self.run.config.selector, f"{self.place}select-"
        options = self.run.config.options
        kept = stages.select(scored, selector, options, self.seed, f"{place}{selector}", self.select_rows)
        if selector == CONTROL:
            return {CONTROL: kept}
        # The control: as many rows of each prompt as were kept of it, drawn at random from the same pool.
        control = stages.select(scored, "random", {"like": kept}, self.seed, f"{place}{CONTROL}")
        return {CONTROL: control, selector: kept}

    def finetune(self, kept: Mapping[str, Dataset]) -> dict[str, Checkpoint]:
        """Each arm's policy, tuned from this round's parent with the same settings."""
        config = self.run.config.finetuning(self.seed)
        work = {self.run.config.selector: self.finetune_policy}  # the control is tuned by the plain function
        return {
            arm: self.run.stages.finetune(
                self.parent, rows, config, f"{self.place}finetune-{arm}", work.get(arm, finetune)
            )
            for arm, rows in kept.items()
        }

    def evaluate(self, arms: Mapping[str, Checkpoint]) -> dict[str, Dataset]:
        """Held-out responses of each arm: reward, reference_logprob; the judge's score, gold."""
        run, config = self.run, self.run.config.evaluation().sampling()
        # The starting policy is the same in every round, and so are its held-out responses.
        places = {arm: f"evaluate-{arm}" if arm == BASE else f"{self.place}evaluate-{arm}" for arm in arms}
        return {
            arm: run.stages.judged(
                policy,
                self.heldout,
                run.reward_model,
                config,
                places[arm],
                reference=run.start,
                judge=run.judge,
            )
            for arm, policy in arms.items()
        }


def _one_round(round_: Round) -> tuple[dict[str, Any], Checkpoint]:
    """One round: the entry of the report, and the policy that the next round starts from."""
    responses = round_.sample()
    agreement = round_.check_logprobs(responses)
    scored = round_.score(responses)
    kept = round_.select(scored)
    tuned = round_.finetune(kept)
    arms = round_.evaluate({BASE: round_.run.start} | tuned)

    config = round_.run.config
    entry = round_entry(
        round_.number,
        arms,
        n=config.n,
        pool=with_gold(scored),  # gold comes after selection, for the report's curve alone
        kept=kept,
        provenance=_provenance(round_, {"samples": responses, "scores": scored}, kept, tuned, arms)
        | {"logprobs": agreement},
        seed=config.seed,
    )
    return entry, tuned[config.selector]


def _provenance(
    round_: Round,
    pool: Mapping[str, Dataset],
    kept: Mapping[str, Dataset],
    tuned: Mapping[str, Checkpoint],
    arms: Mapping[str, Dataset],
) -> dict[str, Any]:
    """From prompt to checkpoint by hashes: what the numbers came from. `seconds` alone is wall-clock."""
    config, stages, place = round_.run.config, round_.run.stages, round_.place
    used = [name for name in stages.places if name.startswith((place, f"evaluate-{BASE}"))]
    return {
        "prompts": tables.fingerprint(round_.prompts),
        **_fingerprints(pool),
        "selection": _fingerprints(kept),
        "parent": round_.parent.fingerprint,
        "child": {arm: checkpoint.fingerprint for arm, checkpoint in tuned.items()},
        "reward_model": round_.scorer.fingerprint,
        "evaluation": {
            "prompts": tables.fingerprint(round_.heldout),
            "reward_model": round_.run.reward_model.fingerprint,
            **({"judge": round_.run.judge.fingerprint} if round_.run.judge else {}),
            "responses": _fingerprints(arms),
        },
        "seeds": {"run": config.seed, "round": round_.seed, "evaluate": config.eval_seed},
        "versions": versions(),
        "places": {name.removeprefix(place): stages.places[name] for name in used},
        "seconds": {name.removeprefix(place): stages.seconds[name] for name in used},
    }


def _fingerprints(named: Mapping[str, Dataset]) -> dict[str, str]:
    return {name: tables.fingerprint(table) for name, table in named.items()}


# One run ----------------------------------------------------------------------------------------------


def run(
    config: RunConfig | None = None,
    *,
    out: str | Path,
    kind: type[Round] = Round,
    stages: Callable[..., Stages] = Stages,
    show_progress: bool = True,
    **settings: Any,
) -> Report:
    """The report of all rounds, also written to `out`/report.json; the same call goes on with a stopped run.

    `settings` change single fields of `config` (`n=16, prompts=400, rounds=2, seed=0`); `kind` is Round or a
    subclass, `stages` makes the cached stages (see `rslib.cluster`). `reward_model` and `judge` may also be
    functions (see `rslib.reward_functions`). Arms of each round: `base` (the starting policy), `random` (the
    matched control), and the selector's.

    Raises ConfigError for bad settings, DataError for bad prompts, RewardError for rewards that are not
    finite, ModelError for models that cannot be loaded, StoreError when the folder cannot be used, when a
    shard was changed, or when a model changed since the run began. Prompts may change: what was done for
    those that stay is used again.
    """
    given = {role: settings[role] for role in ("reward_model", "judge") if callable(settings.get(role))}
    functions = {role: RewardFunction.of(function) for role, function in given.items()}
    names = {role: function.name for role, function in functions.items()}
    config = with_settings(config or RunConfig(), settings | names, "run(...)")
    with RunFolder(out, show=show_progress) as folder:
        shared = _begin(config, kind, stages, folder, functions.values())
        entries, parent = [], shared.start
        for number in range(1, config.rounds + 1):
            round_ = kind(shared, number, parent)
            entry, parent = _one_round(round_)
            entries.append(entry)
        report = Report(entries, _settings(shared, kind))
        write_report(report, folder.path)
    return report


def _begin(
    config: RunConfig,
    kind: type[Round],
    make_stages: Callable[..., Stages],
    folder: RunFolder,
    functions: Iterable[RewardFunction],
) -> Run:
    """Read the inputs, hold the folder to them, and say what the rounds share."""
    check_selector(config.selector, config.options)
    inputs = Inputs.read(config, show=folder.show)
    models = Models(**{name: getattr(config, name) for name in ("device", "dtype", "context", "date")})
    models.functions |= {function.name: function for function in functions}
    # Prompts of a file may change between runs; what did not is used again. Embedded ones never change.
    reuse = isinstance(config.prompts, str) or isinstance(config.eval_prompts, str)
    options = {"models": models, "too_long": config.too_long, "reuse": reuse}
    stages = make_stages(folder, config.shard_responses, **options)
    start = models.policy_checkpoint(config.policy)
    inputs = inputs.fitted_policy(models.policy(config.policy))
    reward_model = models.reward_checkpoint(config.reward_model)
    inputs = inputs.fitted_reward_model(models.reward_model(config.reward_model))
    judge = models.reward_checkpoint(config.judge) if config.judge else None
    if judge:
        inputs = inputs.fitted_reward_model(models.reward_model(config.judge))
    if judge and judge.fingerprint == reward_model.fingerprint:
        raise ConfigError(
            "the judge is the reward model that selects",
            where=f"judge={config.judge}",
            fix="Name another one, or leave it out: its score would be the reward once more.",
        )
    named = {"policy": start, "reward model": reward_model} | ({"judge": judge} if judge else {})
    folder.record_inputs(
        {
            name: {"source": f"{model.path} in {model.dtype}", "fingerprint": model.fingerprint}
            for name, model in named.items()
            if model.path not in models.functions
        },
        dataclasses.asdict(config) | {"round": kind.name} | inputs.contents() | _codes(named, models),
    )
    if overlap := inputs.shared():
        text = f"{overlap} evaluation prompts are also trained on: the evaluation flatters"
        note(text, folder.show)
    heldout = inputs.heldout.table
    return Run(config, stages, inputs.slices(), heldout, inputs.facts(), start, reward_model, judge)


def _codes(named: Mapping[str, Checkpoint], models: Models) -> dict[str, str]:
    """Fingerprints of functions, which may be mended while a run is on its way: what they said is redone."""
    functions = {role: model for role, model in named.items() if model.path in models.functions}
    return {f"code of the {role}": model.fingerprint[:12] for role, model in functions.items()}


def planned_prompts(config: RunConfig, models: Models | None = None) -> tuple[list[Dataset], Dataset]:
    """The prompts of each round of a run with this config, and those of its evaluation. Raises as `run`.

    What has no room in the models' contexts is known only with `models`, which loads them.
    """
    inputs = Inputs.read(config, show=False)
    if models is None:
        inputs = inputs.settled()
    else:
        inputs = inputs.fitted_policy(models.policy(config.policy))
        inputs = inputs.fitted_reward_model(models.reward_model(config.reward_model))
    return inputs.slices(), inputs.heldout.table


# The report -------------------------------------------------------------------------------------------


def _settings(run: Run, kind: type[Round]) -> dict[str, Any]:
    """What the report says it ran under; no path of this machine and no wall-clock."""
    policy = run.stages.models.policy(run.start.path)
    device, date = policy.device, {"date": policy.printed_date} if policy.printed_date else {}
    return {
        "config": run.config.grouped() | {"date": policy.date},
        "flaw": None if kind is Round else kind.name,
        "policy": {"name": run.start.path, "fingerprint": run.start.fingerprint} | date,
        "reward_model": {"name": run.reward_model.path, "fingerprint": run.reward_model.fingerprint},
        "inputs": run.input_facts,
        "device": {"name": device.name, "dtype": str(device.dtype), "why": device.why},
    }


def write_report(report: Report, out: str | Path) -> Path:
    """Write `out/report.json`: the report and its `report_hash`. Raises StoreError when that is refused."""
    content = json.loads(report.to_json())
    path = make_folder(out) / "report.json"
    content = {"report_hash": report_hash(content)} | content
    atomic_write(path, json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
    return path


def report_hash(content: Any) -> str:
    """The sha256 of a report without its wall-clock (every `seconds`) and without this hash itself.

    >>> report_hash({"a": 1, "seconds": 2.5}) == report_hash({"a": 1, "seconds": 9.0, "report_hash": "x"})
    True
    """
    return key_of(_timeless(content))


def _timeless(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _timeless(v) for k, v in value.items() if k not in ("seconds", "report_hash")}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


# Two policies, compared -------------------------------------------------------------------------------


def evaluate(
    tuned: Policy,
    *,
    baseline: Policy,
    reward_model: Scorer,
    split: str = "test",
    prompts: Dataset | Sequence[str] | None = None,
    config: EvaluateConfig | None = None,
    judge: Scorer | None = None,
    show_progress: bool = True,
    **settings: Any,
) -> Report:
    """How `tuned` compares with `baseline` on the same held-out prompts, with the same settings and seeds.

    `prompts` default to 400 of the embedded world's `split`. The report has the arms `base` and `tuned`, with
    reward, KL to the baseline and, in the embedded world, gold. `judge`, which did not select, scores the
    same responses beside them: a second reward model, or fn(prompt, response, reference) -> float.
    `settings` change single fields of `config` (EvaluateConfig); too_long is what becomes of prompts without
    room, as in `sample`, and unless it is "error" a response without room is scored by its beginning.
    Raises the errors of `sample` and `score`, ConfigError for an unknown split.
    """
    config = with_settings(config or EvaluateConfig(), settings, "evaluate")
    rows = list_rows(load_prompts(EMBEDDED, split, EVALUATION_PROMPTS) if prompts is None else prompts)
    limits = {"option": "max_new_tokens", "too_long": config.too_long}
    table = fit_all(rows, (baseline, tuned), (reward_model, judge), config.sampling(), **limits).table
    arms = {}
    for arm, policy in {BASE: baseline, "tuned": tuned}.items():
        note(f"evaluate {arm}: {len(table)} prompts x {config.samples_per_prompt} responses", show_progress)
        others = {"reference": baseline, "judge": judge, "too_long": config.too_long}
        arms[arm] = judged(policy, table, reward_model, config.sampling(), **others)
    functions = {"reward function": reward_model, "judge": judge}
    named = {role: RewardFunction.of(by).name for role, by in functions.items() if callable(by)}
    return comparison(arms, config, policy=tuned.name, baseline=baseline.name, **named)


def comparison(arms: Mapping[str, Dataset], config: EvaluateConfig, **names: str) -> Report:
    """The report of judged responses, by arm; `names`: what it says of policy, baseline and functions."""
    settings = {"evaluate": dataclasses.asdict(config), **names}
    return Report([round_entry(1, arms, n=config.samples_per_prompt)], settings)
