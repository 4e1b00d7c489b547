"""Profiles: runs that make sense on some machine, what they cost on paper, and a pilot that measures it here.

    card = profile("t4")                 names, licences, downloads, memory, minutes: `print(card)`
    ready(card, out)                     shows the card, measures a pilot batch, refuses a long run on a CPU
    rslib.run(card.config, out=out)      the run itself; the same call goes on with a stopped one

The data stand in profiles.toml.
"""

from __future__ import annotations

import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from rslib import tables
from rslib.config import RunConfig, require, unknown_name, with_settings
from rslib.errors import ConfigError
from rslib.finetuning import finetune
from rslib.ledger import FORWARD, TRAINING, peak_memory
from rslib.models import Policy, pick_device
from rslib.pipeline import CONTROL, planned_prompts
from rslib.progress import duration, note
from rslib.sampling import sample
from rslib.scoring import reference_logprobs, score
from rslib.stages import Models

if TYPE_CHECKING:
    from datasets import Dataset

LONG = 30 * 60
"""Seconds that a run may take on a CPU without being asked for in so many words."""
_PILOT_SECONDS, _PILOT_PROMPTS = 3.0, 2  # of the first batch on a CPU, which grows until it takes that long
_PROMPT_TOKENS = 60  # of a prompt of daily life with its template, on paper
_GIB = 1 << 30


# What a profile is ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ModelFacts:
    """What is known of a model before it is downloaded: `parameters`, and the `licence` of its card."""

    parameters: int
    licence: str

    @property
    def megabytes(self) -> float:
        """Size of the download, 1e6 bytes, at 2 bytes a parameter."""
        return 2 * self.parameters / 1e6


@dataclass(frozen=True)
class Profile:
    """The settings of a run, the machine that they are meant for, and what the run needs there on paper.

    `models` holds the facts of those of its models that are known; `memory_gib` and `minutes` are 0 where
    nobody can tell. As text it is the card that is shown before anything is downloaded.
    """

    name: str
    about: str
    machine: str
    memory_gib: float
    minutes: float
    config: RunConfig
    models: Mapping[str, ModelFacts]

    def __str__(self) -> str:
        lines = [f"profile {self.name}: {self.about}"]
        for role in ("policy", "reward_model", "judge"):
            if name := getattr(self.config, role):
                lines.append(f"  {role.replace('_', ' ')}: {name}{self._facts(name)}")
        if self.minutes:
            plan = f"about {self.minutes:g} minutes and {self.memory_gib:g} GiB of memory on {self.machine}"
            lines.append(f"  on paper: {plan}")
        return "\n".join(lines)

    def _facts(self, name: str) -> str:
        if name in self.models:
            facts = self.models[name]
            return f" ({facts.licence}; {facts.megabytes:,.0f} MB to download once)"
        return " (comes along)" if name.startswith("tiny") else " (see its own card for the licence)"


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name("profiles.toml").read_text(encoding="utf-8"))


def names() -> list[str]:
    """The names of all profiles, the smallest first; `custom` is the last."""
    return list(_data()["profiles"])


def profile(name: str, **settings: Any) -> Profile:
    """The profile of this name; `settings` change single fields of its config (`n=8`, `policy="folder"`).

    `custom` has no models of its own. Raises ConfigError for an unknown name or setting, or where `custom` is
    not told its policy and reward model.

    >>> print(profile("t4").config.policy, profile("t4", n=4).config.n)
    HuggingFaceTB/SmolLM2-360M-Instruct 4
    """
    if name not in names():
        raise unknown_name("profile", name, names(), "profile")
    missing = [role for role in ("policy", "reward_model") if name == "custom" and not settings.get(role)]
    require(
        not missing,
        f"the profile 'custom' names no {' and no '.join(missing).replace('_', ' ')}",
        "profile('custom')",
        "Name both, each a folder or a hub id: policy=..., reward_model=...",
    )
    entry = dict(_data()["profiles"][name])
    config = with_settings(RunConfig(**entry.pop("settings")), settings, f"profile('{name}')")
    known = {model: ModelFacts(**facts) for model, facts in _data()["models"].items()}
    return Profile(name=name, config=config, models=known, **entry)


# What it takes here -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """How long a run would take: seconds by stage, measured on `device` with responses of `tokens` tokens.

    `memory_gib` is the most that the pilot held: of the GPU's memory, on a CPU of this process; None where
    the system does not tell.
    """

    seconds: Mapping[str, float]
    device: str
    tokens: float
    memory_gib: float | None

    @property
    def total(self) -> float:
        """Seconds of the whole run."""
        return sum(self.seconds.values())

    def __str__(self) -> str:
        parts = ", ".join(f"{stage} {duration(seconds)}" for stage, seconds in self.seconds.items())
        memory = "" if self.memory_gib is None else f"; at most {self.memory_gib:.1f} GiB of memory so far"
        return (
            f"pilot on {self.device}: about {duration(self.total)} in all ({parts}), "
            f"with {self.tokens:.0f} tokens a response{memory}"
        )


@dataclass(frozen=True)
class _Counts:
    """Rows of a whole run: prompts trained on, responses drawn from them, held-out responses of one arm."""

    prompts: int
    responses: int
    heldout: int
    tuned: int
    rounds: int


def _counts(config: RunConfig, slices: list[Dataset], heldout: Dataset) -> _Counts:
    prompts = sum(map(len, slices))
    return _Counts(
        prompts=prompts,
        responses=prompts * config.n,
        heldout=len(heldout) * config.eval_samples_per_prompt,
        tuned=1 if config.selector == CONTROL else 2,
        rounds=config.rounds,
    )


def pilot(config: RunConfig) -> Estimate:
    """How long the run of `config` would take on this machine, from one batch of every stage.

    On a GPU the batch is a shard of the run, on a CPU as many prompts as take a few seconds. What the batch
    computes is thrown away. Raises the errors of `run`: what could not load or fit is found here.
    """
    models = Models()
    slices, heldout = planned_prompts(config, models)
    counts = _counts(config, slices, heldout)
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    responses, drawing = _first_batch(config, models, slices[0])
    reward_model = models.reward_model(config.reward_model)
    _, scoring = _timed(lambda: score(reward_model, responses, show_progress=False))
    judging, judge_size = _judging(config, models, responses)
    policy, loading = _timed(lambda: models.policy(config.policy))  # from the disk: it was downloaded above
    _, weighing = _timed(lambda: reference_logprobs(policy, responses))
    training, saving = _trained(config, policy, responses)

    rows = len(responses)
    arms = 1 + counts.rounds * counts.tuned
    rate = {"sample": drawing / rows, "score": scoring / rows, "judge": judging / rows}
    larger = [size / policy.parameters for size in (reward_model.parameters, judge_size)]
    loads = 2 + 2 * counts.tuned + larger[0] * (2 + counts.tuned) + larger[1] * (1 + counts.tuned)
    seconds = {
        "sample": rate["sample"] * counts.responses,
        "score": rate["score"] * counts.responses,
        "fine-tune": counts.tuned * (training * counts.prompts * config.n / rows + counts.rounds * saving),
        "evaluate": arms * counts.heldout * sum(rate.values())
        + (arms - 1) * counts.heldout * weighing / rows,
        "load models": loading * counts.rounds * loads,
    }
    tokens = sum(map(len, responses["token_ids"][:])) / rows
    memory = peak_memory(policy.device.name)
    return Estimate(seconds, policy.device.name, tokens, memory and memory / _GIB)


def _first_batch(config: RunConfig, models: Models, prompts: Dataset) -> tuple[Dataset, float]:
    """Responses to the first prompts of the run, and the seconds that drawing them took."""
    policy, settings = models.policy(config.policy), config.sampling(config.seed)
    shard = max(1, config.shard_responses // config.n)
    count = shard if policy.device.name != "cpu" else _PILOT_PROMPTS
    while True:
        batch = tables.take(prompts, range(min(count, len(prompts))))
        responses, seconds = _timed(
            lambda batch=batch: sample(policy, batch, config=settings, show_progress=False)
        )
        if seconds >= _PILOT_SECONDS or len(batch) == len(prompts) or count >= shard:
            return responses, seconds
        count = min(4 * count, shard)


def _judging(config: RunConfig, models: Models, responses: Dataset) -> tuple[float, int]:
    """Seconds that the judge takes for the responses, and its parameters; zeros without one."""
    if config.judge is None:
        return 0.0, 0
    judge = models.reward_model(config.judge)
    return _timed(lambda: score(judge, responses, show_progress=False))[1], judge.parameters


def _trained(config: RunConfig, policy: Policy, responses: Dataset) -> tuple[float, float]:
    """Seconds of fine-tuning on one response of each prompt of the batch, and of saving the policy."""
    rows = tables.take(responses, range(0, len(responses), config.n))
    with tempfile.TemporaryDirectory() as folder:
        _, saving = _timed(lambda: policy.save(Path(folder) / "saved"))
        settings = {"config": config.finetuning(config.seed), "show_progress": False}
        _, seconds = _timed(lambda: finetune(policy, rows, Path(folder) / "tuned", **settings))
    return max(seconds - saving, 0.0), saving


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began = time.perf_counter()
    result = work()
    return result, time.perf_counter() - began


def _on_paper(card: Profile, flops_a_second: float) -> float | None:
    """Seconds of the profile's run at this rate, by FLOPs and at full length; None for unknown models.

    2 FLOPs a parameter and token read, 6 trained on, as `rslib.ledger` counts.
    """
    config, (slices, heldout) = card.config, planned_prompts(card.config)
    named = [config.policy, config.reward_model, config.judge or config.reward_model]
    if not all(name in card.models for name in named) or config.max_new_tokens is None:
        return None
    policy, reward_model, judge = (card.models[name].parameters for name in named)
    counts, length = _counts(config, slices, heldout), config.max_new_tokens + _PROMPT_TOKENS
    judged = (1 + counts.rounds * counts.tuned) * counts.heldout
    read = policy * (counts.responses + 2 * judged) + reward_model * (counts.responses + judged)
    read += judge * judged if config.judge else 0
    trained = policy * counts.prompts * config.epochs * counts.tuned
    return length * (FORWARD * read + TRAINING * trained) / flops_a_second


def _flops_a_second(size: int = 1024) -> float:
    """What products of matrices reach on this CPU."""
    left = torch.ones(size, size)
    _timed(lambda: left @ left)
    return 2 * size**3 / max(min(_timed(lambda: left @ left)[1] for _ in range(3)), 1e-6)


def ready(card: Profile, out: str | Path, *, long: bool = False, show: bool = True) -> Estimate | None:
    """Show the card, measure a pilot batch and return its estimate; None where a run in `out` can go on.

    On a CPU a run of more than LONG seconds is refused unless `long`: on paper before any download,
    then by the pilot. Raises ConfigError for that, and the errors of `pilot`.
    """
    note(str(card), show)
    if (Path(out) / "run.json").is_file():
        note(f"going on with the run in {out}", show)
        return None
    device = pick_device()
    if device.name == "cpu" and (seconds := _on_paper(card, _flops_a_second())):
        note(f"  on this CPU, on paper: about {duration(seconds)}", show)
        _refuse_long(card, seconds, long)
    estimate = pilot(card.config)
    note(str(estimate), show)
    if device.name == "cpu":
        _refuse_long(card, estimate.total, long)
    return estimate


def _refuse_long(card: Profile, seconds: float, long: bool) -> None:
    if seconds > LONG and not long:
        raise ConfigError(
            f"the profile '{card.name}' would take about {duration(seconds)} on this CPU",
            where="profile",
            fix="Use a GPU (Colab: Runtime > Change runtime type), a smaller profile, or --long (long=True).",
        )
