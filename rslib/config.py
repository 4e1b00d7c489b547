"""Settings of each stage and of a whole run: frozen dataclasses, checked at birth.

The command line derives its options from their fields; `help` says there what a field means.
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import math
import numbers
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rslib.errors import ConfigError

_Config = TypeVar("_Config")

DATE = "2024-07-26"
"""The day that chat templates print unless another is asked for: with today's, a run would change overnight.

Llama 3.1's template prints it where it is told none.
"""


def require(ok: bool, what: str, where: str, fix: str) -> None:
    """Raise ConfigError unless `ok`."""
    if not ok:
        raise ConfigError(what, where=where, fix=fix)


def closest(name: str, known: Iterable[str]) -> str:
    """The known name nearest in spelling to `name`, or "" when nothing is near.

    >>> closest("best_of", ["best_of_n", "random", "worst"])
    'best_of_n'
    """
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return matches[0] if matches else ""


def unknown_name(kind: str, name: str, known: Iterable[str], where: str) -> ConfigError:
    """The error for a misspelt name, with the closest known one."""
    known = sorted(known)
    near = closest(name, known)
    hint = f"Did you mean '{near}'? " if near else ""
    return ConfigError(f"unknown {kind} '{name}'", where=where, fix=f"{hint}Known: {', '.join(known)}.")


def with_settings(config: _Config, settings: Mapping[str, Any], where: str) -> _Config:
    """The config with some fields changed; a misspelt name is a ConfigError with the closest known one."""
    names = [f.name for f in dataclasses.fields(config)]
    for name in settings:
        if name not in names:
            raise unknown_name("setting", name, names, where)
    return dataclasses.replace(config, **settings)


def _check(config: Any, name: str, ok: bool, fix: str) -> None:
    """Raise ConfigError with the field's value unless `ok`."""
    require(ok, f"{name} is {getattr(config, name)}", f"{type(config).__name__}.{name}", fix)


def _at_least(config: Any, least: float, *names: str) -> None:
    for name in names:
        _check(config, name, getattr(config, name) >= least, f"Use a number >= {least}.")


def _setting(default: Any, text: str) -> Any:
    """A field of a config with its default and what the command line says of it."""
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class SampleConfig:
    """How responses are drawn."""

    n: int = _setting(16, "responses per prompt")
    temperature: float = _setting(1.0, "0 means greedy (argmax)")
    top_k: int = _setting(0, "keep the k likeliest tokens; 0 keeps all")
    top_p: float = _setting(1.0, "keep the smallest set of tokens with this mass")
    min_new_tokens: int = _setting(0, "no end-of-sequence before this many tokens")
    max_new_tokens: int | None = _setting(None, "None: the policy's own default")
    batch_size: int = _setting(512, "responses in flight; halved when memory runs out")
    seed: int = _setting(0, "run seed; each response derives its own")

    def __post_init__(self) -> None:
        _check(self, "n", self.n >= 1, "Draw at least one response: n >= 1.")
        usable = math.isfinite(self.temperature) and self.temperature >= 0
        fix = "Use a finite temperature >= 0 (0 is greedy, 1 is the policy itself)."
        _check(self, "temperature", usable, fix)
        _check(self, "top_k", self.top_k >= 0, "Use 0 (off) or a positive number.")
        _check(self, "top_p", 0 < self.top_p <= 1, "Use a number in (0, 1].")
        _at_least(self, 0, "min_new_tokens")
        least, longest = max(1, self.min_new_tokens), self.max_new_tokens
        fix = f"Use at least {least} (min_new_tokens is {self.min_new_tokens})."
        _check(self, "max_new_tokens", longest is None or longest >= least, fix)
        _at_least(self, 1, "batch_size")


_SMALL_POLICY = 10_000_000
"""Parameters below which a policy takes, and needs, a much higher learning rate."""


def rate_by_size(rate: float | None, parameters: int, small: float, large: float) -> float:
    """The learning rate that is given; without one `small` below _SMALL_POLICY parameters, else `large`.

    >>> rate_by_size(None, 900_000, 5e-4, 1e-5), rate_by_size(3e-3, 900_000, 5e-4, 1e-5)
    (0.0005, 0.003)
    """
    return rate or (small if parameters < _SMALL_POLICY else large)


LORA_INSTALL = 'pip install "rslib-course[peft]", or leave lora out: then all weights are trained.'
"""What to do where LoRA is asked for and peft is missing."""


@dataclass(frozen=True)
class LoraSettings:
    """Low-rank adapters, trained in place of all weights.

    The learning rate of a rank is that of any other as long as `alpha` stays (Schulman et al. 2025, "LoRA
    Without Regret"). layers: names of modules, as peft takes them; (): all linear layers except the head,
    and the experts of a mixture where peft can adapt them.
    Raises ConfigError for a rank that is no whole number >= 1, an alpha that is not finite or not > 0.
    """

    rank: int = 16
    alpha: float = 32.0
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        whole = not isinstance(self.rank, bool) and isinstance(self.rank, numbers.Integral)
        _check(self, "rank", whole and self.rank >= 1, "Use a whole number >= 1, such as 16.")
        usable = isinstance(self.alpha, numbers.Real) and math.isfinite(self.alpha) and self.alpha > 0
        _check(self, "alpha", usable, "Use a finite number > 0, such as 32.")
        listed = isinstance(self.layers, (list, tuple)) and all(isinstance(name, str) for name in self.layers)
        _check(self, "layers", listed, 'Use a tuple of names, such as ("q_proj", "v_proj").')
        values = {"rank": int(self.rank), "alpha": float(self.alpha), "layers": tuple(self.layers)}
        for name, value in values.items():  # so that equal settings have equal keys
            object.__setattr__(self, name, value)


@dataclass(frozen=True)
class FinetuneConfig:
    """How a policy is fine-tuned on selected responses.

    lora: a rank or LoraSettings. Adapters take ten times the learning rate that all weights take.
    """

    learning_rate: float | None = _setting(
        None, "None: 5e-4 for a policy below 10 M parameters, else 1e-5; with LoRA ten times that"
    )
    epochs: int = _setting(3, "passes over the selected rows")
    batch_tokens: int = _setting(1536, "tokens in one step, padding included")
    warmup_steps: int = _setting(5, "linear warm-up, then cosine to zero")
    weight_decay: float = _setting(0.01, "AdamW, on matrices only")
    max_grad_norm: float = _setting(1.0, "gradients are clipped to this norm")
    seed: int = _setting(0, "order of the batches")
    lora: int | LoraSettings | None = _setting(
        None, "rank of LoRA adapters, such as 16 (extra peft); None: all weights are trained"
    )
    gradient_checkpointing: bool = _setting(
        False, "compute activations anew in the backward pass: less memory, about a third more time"
    )

    def __post_init__(self) -> None:
        if self.lora is not None and not isinstance(self.lora, LoraSettings):
            object.__setattr__(self, "lora", LoraSettings(self.lora))
        installed = self.lora is None or importlib.util.find_spec("peft") is not None
        require(installed, "LoRA needs the package peft", "FinetuneConfig.lora", LORA_INSTALL)
        rate = self.learning_rate
        usable = rate is None or (math.isfinite(rate) and rate > 0)
        _check(self, "learning_rate", usable, "Use a finite number > 0.")
        _at_least(self, 1, "epochs", "batch_tokens")
        _at_least(self, 0, "warmup_steps", "weight_decay")
        _check(self, "max_grad_norm", self.max_grad_norm > 0, "Use a number > 0.")

    def for_model(self, parameters: int) -> FinetuneConfig:
        """These settings with a learning rate: the given one, else that of the model's size."""
        small, large = (5e-4, 1e-5) if self.lora is None else (5e-3, 1e-4)
        return dataclasses.replace(
            self, learning_rate=rate_by_size(self.learning_rate, parameters, small, large)
        )

    def of_all_weights(self, method: str) -> FinetuneConfig:
        """These settings. Raises ConfigError with LoRA, which `method` does not have."""
        fix = "Leave lora out: it is there for rslib.finetune and for runs."
        require(self.lora is None, f"{method} trains all weights", "FinetuneConfig.lora", fix)
        return self


TOO_LONG = ("error", "drop", "truncate")
"""What can happen to prompts that do not fit; see `rslib.lengths`."""
_TOO_LONG_HELP = (
    "what happens to prompts that do not fit the models' contexts: error, drop, or truncate (cuts the "
    "beginning); drop leaves out those that are empty, stand twice or are not UTF-8, too"
)


@dataclass(frozen=True)
class EvaluateConfig:
    """How a policy is judged: the same sampling for every arm."""

    samples_per_prompt: int = _setting(4, "responses per evaluation prompt")
    temperature: float = _setting(1.0, "sampling temperature of the evaluation")
    max_new_tokens: int | None = _setting(None, "None: the policy's own default")
    batch_size: int = _setting(512, "responses in flight")
    seed: int = _setting(1_000_003, "kept apart from the run seed")
    too_long: str = _setting("error", _TOO_LONG_HELP)

    def __post_init__(self) -> None:
        _at_least(self, 1, "samples_per_prompt")
        _check(self, "too_long", self.too_long in TOO_LONG, f"Use {', '.join(TOO_LONG)}.")
        self.sampling()  # its own checks cover the shared fields

    def sampling(self) -> SampleConfig:
        """The sampling settings that every arm shares."""
        shared = {"temperature", "max_new_tokens", "batch_size", "seed"}
        return SampleConfig(n=self.samples_per_prompt, **{name: getattr(self, name) for name in shared})


# A whole run ------------------------------------------------------------------------------------------


def _setting_of(kind: type, name: str) -> Any:
    """A field of RunConfig that is a stage's setting: default and help are those of `kind`'s field."""
    inner = kind.__dataclass_fields__[name]
    return field(default=inner.default, metadata=dict(inner.metadata) | {"kind": kind, "name": name})


def _inherited(kind: type, name: str) -> Any:
    """A field of RunConfig that is a setting of the evaluation, and as that of sampling unless it is set."""
    return field(default=None, metadata={"help": f"None: as {name}", "kind": kind, "name": name})


@dataclass(frozen=True)
class RunConfig:
    """A whole run: what it starts from, and the settings of its stages under flat names.

    Those of the evaluation begin with `eval_`. Raises ConfigError for values out of range.

    >>> RunConfig(n=4, eval_samples_per_prompt=1).sampling(seed=7).n
    4
    """

    policy: str = _setting("tiny", "'tiny', a local folder, or a hub id")
    reward_model: str = _setting(
        "tiny",
        "'tiny', a local folder, a hub id, or module:function; what labels count stands behind a name: "
        "FOLDER:helpful=1,verbose=-0.5",
    )
    judge: str | None = _setting(
        None, "a second reward model that scores the held-out responses beside the first and never selects"
    )
    prompts: int | str = _setting(
        400, "embedded training prompts per round, or a prompt file (split over the rounds)"
    )
    eval_prompts: int | str | None = _setting(
        None, "embedded test prompts, or a prompt file; None: 400 of the embedded test split"
    )
    column: str = _setting("prompt", "the column of a file or data set that holds the prompts")
    system: str | None = _setting(None, "the system turn of every prompt that has none")
    too_long: str = _setting("error", _TOO_LONG_HELP)
    limit: int | None = _setting(None, "only the first so many prompts of the file or set in `prompts`")
    eval_limit: int | None = _setting(None, "only the first so many prompts of the evaluation's file or set")
    rounds: int = _setting(1, "rounds; each samples fresh prompts from the tuned policy")
    selector: str = _setting("best_of_n", "which responses to keep")
    options: Mapping[str, Any] = field(
        default_factory=dict, metadata={"help": "options of the selector, such as k=2"}
    )
    seed: int = _setting(0, "run seed; every round, prompt and response derives its own")
    shard_responses: int = _setting(512, "responses per shard: how much a kill can cost")
    device: str = _setting("auto", "auto, cpu, cuda, cuda:1 or mps")
    dtype: str = _setting(
        "auto", "auto (the checkpoint's on a GPU, else float32), float32, bfloat16, float16"
    )
    context: int | None = _setting(
        None, "most tokens of prompt and response together; None: all that the policy allows"
    )
    date: str | None = _setting(
        None, f"the day that a chat template prints, if any; None: the one that the model has, else {DATE}"
    )
    n: int = _setting_of(SampleConfig, "n")
    temperature: float = _setting_of(SampleConfig, "temperature")
    top_k: int = _setting_of(SampleConfig, "top_k")
    top_p: float = _setting_of(SampleConfig, "top_p")
    min_new_tokens: int = _setting_of(SampleConfig, "min_new_tokens")
    max_new_tokens: int | None = _setting_of(SampleConfig, "max_new_tokens")
    batch_size: int = _setting_of(SampleConfig, "batch_size")
    learning_rate: float | None = _setting_of(FinetuneConfig, "learning_rate")
    epochs: int = _setting_of(FinetuneConfig, "epochs")
    batch_tokens: int = _setting_of(FinetuneConfig, "batch_tokens")
    warmup_steps: int = _setting_of(FinetuneConfig, "warmup_steps")
    weight_decay: float = _setting_of(FinetuneConfig, "weight_decay")
    max_grad_norm: float = _setting_of(FinetuneConfig, "max_grad_norm")
    lora: int | LoraSettings | None = _setting_of(FinetuneConfig, "lora")
    gradient_checkpointing: bool = _setting_of(FinetuneConfig, "gradient_checkpointing")
    eval_samples_per_prompt: int = _setting_of(EvaluateConfig, "samples_per_prompt")
    eval_temperature: float = _setting_of(EvaluateConfig, "temperature")
    eval_max_new_tokens: int | None = _inherited(EvaluateConfig, "max_new_tokens")
    eval_batch_size: int | None = _inherited(EvaluateConfig, "batch_size")
    eval_seed: int = _setting_of(EvaluateConfig, "seed")

    def __post_init__(self) -> None:
        for name in ("policy", "reward_model", "judge", "prompts", "eval_prompts"):
            if isinstance(getattr(self, name), Path):
                object.__setattr__(self, name, str(getattr(self, name)))
        named = isinstance(self.policy, str)
        _check(
            self, "policy", named, "Name it: an embedded one, a folder (`path` of a loaded one), a hub id."
        )
        dated = self.date is None or re.fullmatch(r"\d{4}-\d\d-\d\d", str(self.date))
        _check(self, "date", bool(dated), f"Write it as {DATE}.")
        _check(self, "rounds", self.rounds >= 1, "Use at least one round.")
        _at_least(self, 1, "shard_responses")
        for name in ("prompts", "eval_prompts"):
            count = getattr(self, name)
            _check(self, name, not isinstance(count, int) or count >= 1, "Use at least one prompt.")
        for name in ("reward_model", "judge"):
            fix = "Give a function to run(...), or name it: 'module:function'."
            _check(self, name, not callable(getattr(self, name)), fix)
        self.sampling(), self.evaluation()  # their own checks cover their fields
        object.__setattr__(self, "lora", self.finetuning().lora)  # one form of equal settings

    def sampling(self, seed: int = 0) -> SampleConfig:
        """The settings of the sample stage with a round's seed."""
        return SampleConfig(**self._settings_of(SampleConfig), seed=seed)

    def finetuning(self, seed: int = 0) -> FinetuneConfig:
        """The settings of the fine-tune stage with a round's seed."""
        return FinetuneConfig(**self._settings_of(FinetuneConfig), seed=seed)

    def evaluation(self) -> EvaluateConfig:
        """The settings of the evaluation, which has a seed of its own; limits are those of sampling."""
        settings = self._settings_of(EvaluateConfig)
        for name in ("max_new_tokens", "batch_size"):
            settings[name] = getattr(self, name) if settings[name] is None else settings[name]
        return EvaluateConfig(**settings, too_long=self.too_long)

    def _settings_of(self, kind: type | None) -> dict[str, Any]:
        """The fields of one stage by the names that they have there; None: the run's own."""
        fields = [f for f in dataclasses.fields(self) if f.metadata.get("kind") is kind]
        return {f.metadata.get("name", f.name): getattr(self, f.name) for f in fields}

    def grouped(self) -> dict[str, Any]:
        """The settings as report.json holds them, grouped by stage; a stage's seed is derived, so 0 there."""
        groups = {"sample": self.sampling(), "finetune": self.finetuning(), "evaluate": self.evaluation()}
        return self._settings_of(None) | {name: dataclasses.asdict(group) for name, group in groups.items()}
