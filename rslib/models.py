"""Policies and reward models: an embedded name, a local folder and a hub id take one path to a loaded model.

Loading refuses what would fail in silence later: random heads, wrong weights, thinking templates, damaged
files, a pad token that ends sequences, output heads unknown to the engine. Only safetensors, no remote code.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import json
import os
import platform
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from rslib.config import closest, unknown_name
from rslib.errors import BudgetError, ConfigError, ModelError, StoreError, os_error_number, translate_os_error
from rslib.store import LIBRARIES, canonical_json, make_folder, sha256_of

ASSETS = Path(__file__).parent / "assets"
MANIFEST = ASSETS / "manifest.json"
POLICIES = {"tiny": "tiny-policy"}
REWARD_MODELS = {
    "tiny": "tiny-reward",
    "tiny-unbiased": "tiny-reward-unbiased",
    "tiny-length": "tiny-reward-length",
    "tiny-swapped": "tiny-reward-swapped",
    "tiny-blind": "tiny-reward",
}
BLIND = "tiny-blind"
MAX_NEW_TOKENS = 256  # of a policy whose generation_config names none
SMALL_FILES = 64 << 20  # bytes of weights up to which float32 costs nothing on any device
NO_LIMIT = 1 << 20  # context of a model without positions of its own (ALiBi)
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


# Device -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Device:
    """Where a model runs, in which dtype, and the reason for both."""

    name: str
    dtype: torch.dtype
    why: str


def pick_device(device: str | None = None, dtype: str | None = None) -> Device:
    """Choose device and dtype once; `why` says the reason in words.

    Without `device`: cuda, else mps, else cpu. Without `dtype`: float32 on cpu and mps; on cuda bfloat16
    where the GPU computes it natively (torch's own test counts slow emulation too), else float16.
    Raises ConfigError for an unknown device or dtype, or a device that this machine does not have.

    >>> pick_device("cpu").dtype
    torch.float32
    """
    name, reason = _device_name(device)
    if dtype is not None:
        if dtype not in DTYPES:
            raise unknown_name("dtype", dtype, DTYPES, where="dtype")
        return Device(name, DTYPES[dtype], f"{reason}; {dtype}: asked for")
    if not name.startswith("cuda"):
        return Device(name, torch.float32, f"{reason}; float32: the safe choice on {name}")
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return Device(name, torch.bfloat16, f"{reason}; bfloat16: this GPU computes it natively")
    return Device(name, torch.float16, f"{reason}; float16: this GPU only emulates bfloat16, which is slow")


def _device_name(asked: str | None) -> tuple[str, str]:
    here = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked is None:
        name = next(kind for kind, found in here.items() if found)
        return name, f"{name}: " + ("no accelerator found" if name == "cpu" else "found on this machine")
    kind, _, index = str(asked).partition(":")
    if kind not in here:
        raise unknown_name("device", asked, here, where="device")
    if not here[kind]:
        fix = "Use device='cpu', or leave device out to have the best one chosen."
        raise ConfigError(f"this machine has no {kind} device that torch can use", where="device", fix=fix)
    if index and not (index.isdigit() and int(index) < (torch.cuda.device_count() if kind == "cuda" else 1)):
        raise ConfigError(f"there is no device '{asked}'", where="device", fix=f"Use '{kind}' or '{kind}:0'.")
    return str(asked), f"{asked}: asked for"


# What is loaded ---------------------------------------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class _Loaded:
    """What policies and reward models share."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    path: str
    device: Device
    context: int
    pad_id: int

    @property
    def parameters(self) -> int:
        """Number of parameters; tied ones count once."""
        return sum(weight.numel() for weight in self.model.parameters())

    def fingerprint(self) -> str:
        """The sha256 (hex) of weights, dtype, config and tokenizer: equal ones act alike.

        Hashes tensor bytes in sorted name order, so file format, shards and path do not matter; the same
        weights in another dtype are another model. Stable across processes and through `save`.
        """
        digest = hashlib.sha256()
        for name, tensor in sorted(self.model.state_dict().items()):
            tensor = tensor.detach().cpu().contiguous()
            digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
        digest.update(canonical_json(_config_facts(self.model.config)).encode())
        digest.update(canonical_json(_tokenizer_facts(self.tokenizer)).encode())
        digest.update(canonical_json(self._settings()).encode())
        return digest.hexdigest()

    def _settings(self) -> dict[str, Any]:
        return {"context": self.context}

    def save(self, folder: str | Path) -> None:
        """Write an ordinary transformers folder (safetensors); it appears whole or not at all.

        An older model folder at `folder` is replaced. Raises StoreError when the disk is full or read-only,
        or when `folder` holds something that is not a model.
        """
        with replaced_folder(folder) as new, _quiet():
            self.model.save_pretrained(new)
            self.tokenizer.save_pretrained(new)


@dataclass(eq=False, kw_only=True)
class Policy(_Loaded):
    """A causal language model with its tokenizer.

    `context`: most tokens of prompt and response together. `eos_ids`: tokens that end a response, as
    `generate` takes them (empty: it never ends by itself). `pad_id`: a valid filler that may equal EOS, since
    engines mask by position. `max_new_tokens`: of its generation_config, else 256.
    """

    eos_ids: tuple[int, ...]
    max_new_tokens: int

    def encode(self, prompt: str) -> list[int]:
        """Token ids of a prompt, ready for the policy to continue; see `encode_many`."""
        return self.encode_many([prompt])[0]

    def encode_many(self, prompts: Sequence[str]) -> list[list[int]]:
        """Token ids of each prompt: the chat template up to where the response begins, else plain text.

        Thinking is switched off where the template has that switch. Raises ModelError when the template fails
        or leaves `<think>` before the response, or when a token lies outside the model's vocabulary.
        """
        if self.tokenizer.chat_template is None:
            return [self._without_eos(ids) for ids in _tokenise(self, prompts, add_special_tokens=True)]
        dialogues = [[{"role": "user", "content": prompt}] for prompt in prompts]
        texts = _render(self, dialogues, add_generation_prompt=True)
        for text, prompt in zip(texts, prompts, strict=True):
            if text.count("<think>") > prompt.count("<think>"):
                fix = "Use a model that is not a thinking model, or edit its chat template."
                what = "the chat template puts <think> before the response"
                raise ModelError(what, where=self.path, fix=fix)
        return [_single_bos(self.tokenizer, ids) for ids in _tokenise(self, texts)]

    def _without_eos(self, ids: list[int]) -> list[int]:
        # Some tokenizers close every text; a policy would then start behind the end.
        return ids[:-1] if len(ids) > 1 and ids[-1] in self.eos_ids else ids

    def decode(self, token_ids: Sequence[int]) -> str:
        """The response text of new tokens; special tokens (the end of sequence among them) are left out."""
        return self.tokenizer.decode(
            list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"eos_ids": self.eos_ids, "max_new_tokens": self.max_new_tokens}


@dataclass(eq=False, kw_only=True)
class RewardModel(_Loaded):
    """A decoder with one score per dialogue, read at its last token.

    `pad_id` never equals an end-of-sequence id, so transformers' own pooling finds the same last token.
    `prompt_blind`: the prompt is replaced by "" (a named defect for the clinic).
    """

    prompt_blind: bool = False

    def encode(self, prompt: str, response: str) -> list[int]:
        """Token ids of a dialogue; see `encode_many`."""
        return self.encode_many([(prompt, response)])[0]

    def encode_many(self, pairs: Sequence[tuple[str, str]]) -> list[list[int]]:
        """Token ids of each (prompt, response): the chat template over both turns, else the texts joined.

        A begin-of-sequence token that was added twice is kept once. Raises ModelError when the template fails
        or a token lies outside the model's vocabulary.
        """
        pairs = [("" if self.prompt_blind else prompt, response) for prompt, response in pairs]
        if self.tokenizer.chat_template is None:
            return _tokenise(self, [prompt + response for prompt, response in pairs], add_special_tokens=True)
        dialogues = [
            [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
            for prompt, response in pairs
        ]
        return [_single_bos(self.tokenizer, ids) for ids in _tokenise(self, _render(self, dialogues))]

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"prompt_blind": self.prompt_blind}


def _render(loaded: _Loaded, dialogues: list[list[dict[str, str]]], **options: bool) -> list[str]:
    try:
        return loaded.tokenizer.apply_chat_template(
            dialogues, tokenize=False, return_dict=True, enable_thinking=False, **options
        )
    except Exception as err:  # a template is a program of the model's author: it can fail in any way
        fix = "Repair the tokenizer's chat_template, or use another model."
        raise ModelError(f"the chat template failed: {_first_line(err)}", where=loaded.path, fix=fix) from err


def _tokenise(loaded: _Loaded, texts: Sequence[str], add_special_tokens: bool = False) -> list[list[int]]:
    if not texts:
        return []
    rows = loaded.tokenizer(list(texts), add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    size = loaded.model.get_input_embeddings().num_embeddings
    largest = max((max(ids) for ids in rows if ids), default=0)
    if largest >= size:
        token = loaded.tokenizer.convert_ids_to_tokens(largest)
        fix = "The tokenizer belongs to another model: take both from one folder."
        what = f"token {largest} ({token!r}) is outside the model's vocabulary of {size}"
        raise ModelError(what, where=loaded.path, fix=fix)
    return rows


def _single_bos(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    bos = tokenizer.bos_token_id
    while bos is not None and ids[:2] == [bos, bos]:
        ids = ids[1:]
    return ids


VOLATILE = {"transformers_version", "dtype", "architectures", "use_cache", "output_hidden_states"}


def _config_facts(config: PreTrainedConfig) -> dict[str, Any]:
    """The config without what changes when nothing of the model changes."""
    facts = {**config.to_dict(), "model_type": config.model_type}
    return {k: v for k, v in facts.items() if not k.startswith("_") and k not in VOLATILE}


def _tokenizer_facts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    facts: dict[str, Any] = {"template": tokenizer.chat_template, "special": tokenizer.special_tokens_map}
    if not tokenizer.is_fast:
        return facts | {"vocabulary": tokenizer.get_vocab()}
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    return facts | {k: v for k, v in backend.items() if k not in ("truncation", "padding")}


# The output head --------------------------------------------------------------------------------------------


def hidden_states(model: PreTrainedModel, input_ids: Tensor, **inputs: Any) -> Tensor:
    """The decoder's last hidden states (rows, tokens, width), below the head; `inputs` go to its forward."""
    return model.base_model(input_ids=input_ids, **inputs).last_hidden_state


def logits_from_hidden(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Logits (..., vocabulary) of hidden states (..., width), for any selection of positions.

    Equals `model(...).logits` there: scaled as Granite (`logits_scaling`) and Cohere (`logit_scale`) do,
    capped as Gemma does (`final_logit_softcapping`). `load_policy` checks this equality for each model.
    """
    config = model.config.get_text_config()
    logits = model.get_output_embeddings()(hidden)
    if (divisor := getattr(config, "logits_scaling", None)) is not None:
        logits = logits / divisor
    if (factor := getattr(config, "logit_scale", None)) is not None:
        logits = logits * factor
    if (cap := getattr(config, "final_logit_softcapping", None)) is not None:
        logits = cap * torch.tanh(logits / cap)
    return logits


def rewards_from_hidden(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Rewards (...) of the hidden states (..., width) of each dialogue's last token."""
    return model.score(hidden)[..., 0]


def check_finite(values: Tensor, where: str) -> None:
    """Raise ModelError when logits or rewards hold NaN or an infinity (check before masking with -inf)."""
    if bool(torch.isfinite(values).all()):
        return
    half = values.dtype == torch.float16
    cause = (
        "float16 overflowed, as it does for some models" if half else "the weights are damaged or diverged"
    )
    fix = 'Load with dtype="float32" (or "bfloat16").' if half else "Use another checkpoint."
    raise ModelError(f"the model's values are not finite: {cause}", where=where, fix=fix)


# Loading ----------------------------------------------------------------------------------------------------


def load_policy(name: str | Path, *, device: str | None = None, dtype: str | None = None) -> Policy:
    """Load a policy: an embedded name ("tiny"), a transformers folder, or a hub id ("org/name").

    A hub id is downloaded once and then read from the local cache. Small models run in float32 everywhere.
    Raises ModelError when the folder is missing, incomplete or damaged, or holds no decoder that the engine
    supports; ConfigError for an unknown device or dtype; BudgetError when memory runs out.
    """
    folder = _locate(name, POLICIES)
    _check_files(folder)
    chosen = _device_for(folder, device, dtype)
    model, tokenizer = _load(folder, AutoModelForCausalLM, chosen)
    eos_ids = _eos_ids(model, tokenizer)
    policy = Policy(
        model=model,
        tokenizer=tokenizer,
        name=str(name),
        path=str(folder),
        device=chosen,
        context=_context(model, tokenizer),
        pad_id=_first_int(tokenizer.pad_token_id, model.config.pad_token_id, *eos_ids, 0),
        eos_ids=eos_ids,
        max_new_tokens=_first_int(model.generation_config.max_new_tokens, MAX_NEW_TOKENS),
    )
    _probe_policy(policy)
    return policy


def load_reward_model(
    name: str | Path, *, device: str | None = None, dtype: str | None = None
) -> RewardModel:
    """Load a reward model: a name of REWARD_MODELS ("tiny", "tiny-length", ...), a folder or a hub id.

    It must be a sequence classifier over a decoder with a `score` head and one label. Raises as `load_policy`
    does; a base language model in this place is a ModelError, because its head would be random.
    """
    folder = _locate(name, REWARD_MODELS)
    _check_files(folder)
    chosen = _device_for(folder, device, dtype)
    model, tokenizer = _load(folder, AutoModelForSequenceClassification, chosen)
    if model.config.num_labels != 1:
        what = f"the classifier has {model.config.num_labels} labels, a reward model has one"
        raise ModelError(what, where=str(folder), fix="Use a reward model with num_labels=1.")
    reward_model = RewardModel(
        model=model,
        tokenizer=tokenizer,
        name=str(name),
        path=str(folder),
        device=chosen,
        context=_context(model, tokenizer),
        pad_id=_distinct_pad(model, tokenizer, folder),
        prompt_blind=str(name) == BLIND,
    )
    _probe_reward_model(reward_model)
    return reward_model


def _device_for(folder: Path, device: str | None, dtype: str | None) -> Device:
    chosen = pick_device(device, dtype)
    size = sum(path.stat().st_size for path in _weight_files(folder) if path.is_file())
    if dtype is not None or chosen.dtype == torch.float32 or size > SMALL_FILES:
        return chosen
    where = chosen.why.split("; ")[0]
    return Device(chosen.name, torch.float32, f"{where}; float32: the model is small, so exact costs nothing")


def _locate(name: str | Path, embedded: Mapping[str, str]) -> Path:
    """The local folder of a model; a hub id is downloaded first."""
    text = os.fspath(name)
    if text in embedded:
        folder = ASSETS / embedded[text]
        if problems := verify_assets(embedded[text]):
            fix = "Reinstall rslib, or restore rslib/assets."
            raise ModelError(
                "an embedded model was changed: " + "; ".join(problems), where=str(folder), fix=fix
            )
        return folder
    path = Path(text).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        raise ModelError(
            "this is a file, not a model folder", where=text, fix="Name the folder that holds it."
        )
    near = difflib.get_close_matches(text, embedded, n=1, cutoff=0.6)
    if near or not _may_be_hub_id(text):
        raise _no_such_folder(text, embedded)
    return _download(text, embedded)


def _may_be_hub_id(text: str) -> bool:
    parts = text.split("/")
    if len(parts) > 2 or not all(part and part[0].isalnum() for part in parts) or "\\" in text:
        return False
    return len(parts) == 1 or not Path(parts[0]).is_dir()  # runs/policy beside a folder `runs` means a path


def _no_such_folder(text: str, embedded: Iterable[str], detail: str = "") -> ModelError:
    near = closest(Path(text).name, embedded)
    hint = f"Did you mean '{near}'? " if near else ""
    fix = (
        f"{hint}Embedded models: {', '.join(sorted(embedded))}; else name a transformers folder or a hub id."
    )
    return ModelError(f"no such model folder{detail}", where=text, fix=fix)


def _download(hub_id: str, embedded: Iterable[str]) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
    try:
        with _quiet():
            return Path(snapshot_download(hub_id, allow_patterns=patterns, ignore_patterns=["*/*"]))
    except Exception as err:  # offline, unknown, gated, malformed: the hub client has a class for each
        if os_error_number(err) is not None and isinstance(err, OSError):
            raise translate_os_error(err, where=hub_id) from err
        detail = f", and the hub gave no such model ({_first_line(err)})"
        raise _no_such_folder(hub_id, embedded, detail) from err


def _load(folder: Path, auto: Any, device: Device) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model on its device in eval mode, and tokenizer. Every failure is a ModelError that names the place."""
    with _reading(folder, "config"):
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model_class = _supported_class(auto, config, folder)
    with _reading(folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    with _reading(folder, "weights"):
        model, found = model_class.from_pretrained(
            folder,
            config=config,
            dtype=device.dtype,
            attn_implementation="sdpa" if model_class._supports_sdpa else "eager",
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported below, by name
        )
    _check_weights(model, found, folder)
    return _to_device(model, device, folder).eval().requires_grad_(False), tokenizer


def _to_device(model: PreTrainedModel, device: Device, folder: Path) -> PreTrainedModel:
    try:
        return model.to(device.name)
    except torch.OutOfMemoryError as err:
        what = f"the model does not fit into the memory of {device.name}"
        fix = "Use a smaller model, dtype='float16' or 'bfloat16', or device='cpu'."
        raise BudgetError(what, where=str(folder), fix=fix) from err


@contextlib.contextmanager
def _reading(folder: Path, part: str) -> Iterator[None]:
    """Transformers' failures while it reads `part` become ModelErrors; its noise is held back."""
    try:
        with _quiet():
            yield
    except (
        Exception
    ) as err:  # it raises OSError, ValueError, KeyError, RuntimeError, … depending on the model
        what = f"the {part} cannot be read: {_first_line(err)}"
        fix = "Check that the folder is a complete transformers model that needs no remote code."
        raise ModelError(what, where=str(folder), fix=fix) from err


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hold back reports, progress bars and warnings of transformers and the hub while they work for us."""
    import logging

    hub = logging.getLogger("huggingface_hub")
    level, hub_level = transformers_logging.get_verbosity(), hub.level
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    hub.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers_logging.set_verbosity(level)
        hub.setLevel(hub_level)
        if bars:
            transformers_logging.enable_progress_bar()


# Checks -----------------------------------------------------------------------------------------------------

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")


def _check_files(folder: Path) -> None:
    """Config, weights and vocabulary are there and whole, as far as headers tell."""
    if not (folder / "config.json").is_file():
        adapter = (folder / "adapter_config.json").is_file()
        what = "this is an adapter, not a whole model" if adapter else "the folder has no config.json"
        fix = (
            "Merge it into its base model and save that."
            if adapter
            else "Name a folder that transformers saved."
        )
        raise ModelError(what, where=str(folder), fix=fix)
    _json(folder / "config.json")
    for path in _weight_files(folder):
        _check_header(path)
    # Without its vocabulary transformers may build an empty tokenizer and say nothing.
    if not any((folder / name).is_file() for name in VOCABULARIES):
        fix = "Save the tokenizer beside the weights: tokenizer.save_pretrained(folder)."
        raise ModelError("the folder has no tokenizer", where=str(folder), fix=fix)


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ModelError(
            f"the file is not readable JSON ({err})", where=str(path), fix="Restore it."
        ) from err


def _weight_files(folder: Path) -> list[Path]:
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return [folder / name for name in sorted(set(_json(index).get("weight_map", {}).values()))]
    pickled = bool(list(folder.glob("pytorch_model*.bin")))
    what = (
        "the weights are pickled, which is unsafe to load"
        if pickled
        else "the folder has no model.safetensors"
    )
    fix = (
        "Save them as safetensors: model.save_pretrained(folder)."
        if pickled
        else "Use a complete model folder."
    )
    raise ModelError(what, where=str(folder), fix=fix)


def _check_header(path: Path) -> None:
    """A safetensors header lists where each tensor ends: a file cut short or overwritten does not pass."""
    try:
        with safe_open(path, framework="pt"):
            return
    except FileNotFoundError as err:
        raise ModelError(
            "a weight file is missing", where=str(path), fix="Copy or download it again."
        ) from err
    except (SafetensorError, OSError) as err:
        what = f"the weight file is damaged or unreadable ({_first_line(err)})"
        raise ModelError(what, where=str(path), fix="Copy or download it again.") from err


def _supported_class(auto: Any, config: PreTrainedConfig, folder: Path) -> type[PreTrainedModel]:
    """The model class, if the engine can run it: a decoder whose attention can be replaced."""
    reward = auto is AutoModelForSequenceClassification
    found = auto._model_mapping.get(type(config), None)
    model_class = found[0] if isinstance(found, tuple) else found
    known = (
        model_class is not None
        and not config.is_encoder_decoder
        and model_class.is_backend_compatible()
        and not getattr(model_class, "_is_stateful", False)
        and _is_decoder(config)
    )
    if known:
        return model_class
    role = "reward model" if reward else "policy"
    head = " with a `score` head" if reward else ""
    fix = f"Use a decoder{head}: Llama, Mistral, Qwen2, Qwen3, GPT-2, GPT-NeoX, Gemma and their like."
    raise ModelError(f"a {config.model_type} model is not supported as {role}", where=str(folder), fix=fix)


def _is_decoder(config: PreTrainedConfig) -> bool:
    """Encoders (BERT, DeBERTa, ...) have a masked-language-model class; decoders have none."""
    from transformers import AutoModelForMaskedLM

    return type(config) not in AutoModelForMaskedLM._model_mapping


def _check_weights(model: PreTrainedModel, found: Mapping[str, Any], folder: Path) -> None:
    """Every weight of the model came from the folder, with its shape, and nothing was left over."""
    missing, left_over = sorted(found["missing_keys"]), sorted(found["unexpected_keys"])
    if any(name.startswith("score.") for name in missing):
        what = "this is a base language model, not a reward model: score.weight is missing"
        fix = "Use a model trained as a reward model: the head of this one would be random."
        raise ModelError(what, where=str(folder), fix=fix)
    if any(name.startswith("score.") for name in left_over):
        fix = "Use load_reward_model, or name a language model."
        raise ModelError("this is a reward model, not a policy", where=str(folder), fix=fix)
    shapes = [
        f"{name} {tuple(has)} instead of {tuple(wants)}" for name, has, wants in found["mismatched_keys"]
    ]
    groups = (("missing", missing), ("left over", left_over), ("of another shape", shapes))
    wrong = [f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in groups if names]
    if wrong:
        what = f"the weights do not fit {type(model).__name__}: {'; '.join(wrong)}"
        fix = "config.json and the weights must come from one model."
        raise ModelError(what, where=str(folder), fix=fix)


def _eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """As `generate` decides: generation config, else config; the tokenizer's when both are silent."""
    config = model.config.get_text_config()
    for ids in (model.generation_config.eos_token_id, config.eos_token_id, tokenizer.eos_token_id):
        if ids is not None:
            return tuple(ids) if isinstance(ids, (list, tuple)) else (int(ids),)
    return ()


def _context(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    config = model.config.get_text_config()
    limit = min(int(tokenizer.model_max_length), NO_LIMIT)
    return _first_int(getattr(config, "max_position_embeddings", None), limit)


def _first_int(*values: Any) -> int:
    return int(next(value for value in values if value is not None))


def _distinct_pad(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> int:
    """A pad id that no dialogue contains, written into config and tokenizer.

    transformers pools a reward at the last token that is not the pad id: pad = EOS would be one token early.
    """
    config = model.config.get_text_config()
    ends = {tokenizer.eos_token_id, tokenizer.bos_token_id, *_as_list(config.eos_token_id)}
    used = set(tokenizer.get_vocab().values())
    size = model.get_input_embeddings().num_embeddings
    named = [tokenizer.pad_token_id, config.pad_token_id, tokenizer.unk_token_id]
    padded = [name for name in tokenizer.all_special_tokens if "pad" in name.lower()]
    candidates = [*named, *tokenizer.convert_tokens_to_ids(padded), *range(max(used, default=0) + 1, size)]
    for pad in candidates:
        if pad is not None and pad not in ends and pad < size:
            config.pad_token_id = model.config.pad_token_id = int(pad)
            if pad in used:
                tokenizer.pad_token_id = int(pad)
            return int(pad)
    what = "the reward model has no pad token apart from its end of sequence"
    fix = "Add a pad token to its tokenizer and one row to its embeddings, then save both."
    raise ModelError(what, where=str(folder), fix=fix)


def _as_list(ids: int | Sequence[int] | None) -> list[int]:
    return [] if ids is None else list(ids) if isinstance(ids, (list, tuple)) else [ids]


@torch.no_grad()
def _probe_policy(policy: Policy) -> None:
    """One short forward pass: finite, and the head computes what the engine will compute."""
    ids = torch.tensor([policy.encode("Hello.")], device=policy.device.name)
    expected = policy.model(input_ids=ids).logits
    check_finite(expected, where=policy.path)
    logits = logits_from_hidden(policy.model, hidden_states(policy.model, ids))
    _check_head(logits, expected, policy)


@torch.no_grad()
def _probe_reward_model(reward_model: RewardModel) -> None:
    ids = torch.tensor([reward_model.encode("Hello.", "Hi.")], device=reward_model.device.name)
    expected = reward_model.model(input_ids=ids).logits[:, 0]
    check_finite(expected, where=reward_model.path)
    rewards = rewards_from_hidden(reward_model.model, hidden_states(reward_model.model, ids)[:, -1])
    _check_head(rewards, expected, reward_model)


def _check_head(ours: Tensor, theirs: Tensor, loaded: _Loaded) -> None:
    tolerance = (1e-4 if theirs.dtype == torch.float32 else 2e-2) * max(1.0, float(theirs.abs().max()))
    if float((ours - theirs).abs().max()) > tolerance:
        fix = "Use another architecture, or extend rslib.models.logits_from_hidden."
        raise ModelError("the head of this architecture is not supported", where=loaded.path, fix=fix)


def _first_line(err: BaseException) -> str:
    return next((line.strip() for line in str(err).splitlines() if line.strip()), type(err).__name__)


# Saving -----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def replaced_folder(folder: str | Path) -> Iterator[Path]:
    """A fresh folder that takes the place of `folder` when the block ends well; on an error nothing changes.

    Raises StoreError when the disk is full or read-only, or when `folder` holds anything but a model.
    """
    target = Path(folder).expanduser().resolve()
    new, old = (target.with_name(f".{target.name}.{word}") for word in ("new", "old"))
    try:
        _refuse_foreign(target)
        make_folder(target.parent)
        for leftover in (new, old):
            shutil.rmtree(leftover, ignore_errors=True)
        new.mkdir()
        yield new
        if target.exists():
            target.rename(old)
        new.rename(target)
        shutil.rmtree(old, ignore_errors=True)
    except (OSError, SafetensorError) as err:
        raise translate_os_error(err, where=str(target)) from err
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _refuse_foreign(target: Path) -> None:
    empty = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not empty and not (target / "config.json").is_file():
        what = "there is something here that is not a model, and saving would delete it"
        raise StoreError(what, where=str(target), fix="Choose another folder, or empty this one.")


# Embedded files and the doctor ------------------------------------------------------------------------------


def digest_folder(folder: str | Path) -> dict[str, str]:
    """The sha256 (hex) of each file in `folder`, hidden files left out: what the manifest lists."""
    paths = sorted(
        path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith(".")
    )
    return {path.name: sha256_of(path) for path in paths}


def verify_assets(folder: str | None = None) -> list[str]:
    """Compare the embedded models, or one folder of them, with the manifest: a phrase for each difference."""
    if not MANIFEST.is_file():
        return []
    listed = _json(MANIFEST)["assets"]
    return [text for name in ([folder] if folder else sorted(listed)) for text in _differences(name, listed)]


def _differences(name: str, listed: Mapping[str, Any]) -> list[str]:
    if name not in listed:
        return [f"{name} is not in the manifest"]
    if not (ASSETS / name).is_dir():
        return [f"{name} is missing"]
    wanted, found = listed[name]["files"], digest_folder(ASSETS / name)
    missing = [f"{name}/{file} is missing" for file in sorted(wanted.keys() - found.keys())]
    extra = [f"{name}/{file} does not belong there" for file in sorted(found.keys() - wanted.keys())]
    both = sorted(wanted.keys() & found.keys())
    return missing + extra + [f"{name}/{file} was changed" for file in both if wanted[file] != found[file]]


@dataclass(frozen=True)
class Check:
    """One line of the doctor: what was looked at, whether it is well, and what was found."""

    name: str
    ok: bool
    detail: str


TINY_VOCABULARY = 4096  # a model with so small a vocabulary knows the embedded world only
GIB = 1 << 30
# A prompt with a right and a wrong response, for the embedded world and for models of natural language.
TINY_PAIR = (
    "What are the steps to cook plain rice?",
    "Rinse the rice until the water is clear. Simmer one cup of rice in two cups of water. "
    "Keep the lid on for fifteen minutes.",
    "Ugh, fine. Do not zoom in too far.",
)
PLAIN_PAIR = (
    "A box holds 12 eggs. Two break, and the rest are shared equally by 5 people. How many does each get?",
    "12 eggs minus the 2 that broke leaves 10. Shared by 5 people, each gets 10 / 5 = 2 eggs.",
    "12 eggs plus the 2 that broke makes 14. Shared by 5 people, each gets 14 / 5 = 3 eggs.",
)


def doctor(*, device: str | None = None, reward: str | Path | None = None) -> list[Check]:
    """Look at everything that a run needs; never raises for what it finds.

    Device and dtype with the reason, library versions, memory, disk space, the files of the embedded models
    against their manifest, and both embedded models loaded and tried. `reward` names one more reward model to
    try on a known pair: it must prefer the right response and must not be constant.
    """
    checks = [_try(name, look) for name, look in _surroundings(device).items()]
    checks += [_try(f"files of {name}", lambda name=name: _asset_report(name)) for name in _asset_names()]
    checks.append(_try("policy tiny", lambda: _policy_report(load_policy("tiny", device=device))))
    for name in ["tiny"] if reward is None else ["tiny", reward]:
        checks.append(
            _try(
                f"reward model {name}",
                lambda name=name: _reward_report(load_reward_model(name, device=device)),
            )
        )
    return checks


def _try(name: str, look: Callable[[], tuple[bool, str]]) -> Check:
    try:
        return Check(name, *look())
    except Exception as err:  # the doctor reports whatever is wrong and looks at the rest
        return Check(name, False, " ".join(str(err).split()) or type(err).__name__)


def _surroundings(device: str | None) -> dict[str, Callable[[], tuple[bool, str]]]:
    libraries = {library: lambda library=library: (True, metadata.version(library)) for library in LIBRARIES}
    return {
        "python": lambda: (sys.version_info >= (3, 11), platform.python_version()),
        **libraries,
        "device": lambda: _device_report(pick_device(device)),
        "memory": _memory_report,
        "disk": _disk_report,
    }


def _device_report(device: Device) -> tuple[bool, str]:
    described = f"{device.name}, {str(device.dtype).removeprefix('torch.')} ({device.why})"
    if device.name.startswith("cuda"):
        free, total = torch.cuda.mem_get_info(device.name)
        gpu = torch.cuda.get_device_name(device.name)
        described += f"; {gpu}, {free / GIB:.1f} of {total / GIB:.1f} GiB free"
    return True, f"{described}; {torch.get_num_threads()} CPU threads"


def _memory_report() -> tuple[bool, str]:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").is_file() else []
    except (AttributeError, ValueError, OSError):
        return True, "this system does not tell"
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    if not free:
        return True, f"{total / GIB:.1f} GiB"
    return free[
        0
    ] >= GIB, f"{free[0] / GIB:.1f} of {total / GIB:.1f} GiB available (a tiny run needs about 1)"


def _disk_report() -> tuple[bool, str]:
    free = shutil.disk_usage(Path.cwd()).free
    return free >= GIB, f"{free / GIB:.1f} GiB free in {Path.cwd()} (a tiny run needs less than 1)"


def _asset_names() -> list[str]:
    return sorted({*POLICIES.values(), *REWARD_MODELS.values()})


def _asset_report(folder: str) -> tuple[bool, str]:
    if not MANIFEST.is_file():
        return False, "rslib/assets/manifest.json is missing, so the files cannot be checked"
    problems = verify_assets(folder)
    return not problems, "; ".join(problems) or "all as the manifest lists them"


def _policy_report(policy: Policy) -> tuple[bool, str]:
    facts = f"{policy.parameters:,} parameters, context {policy.context} tokens"
    return True, f"{facts}, fingerprint {policy.fingerprint()[:12]}"


def _reward_report(reward_model: RewardModel) -> tuple[bool, str]:
    vocabulary = reward_model.model.get_input_embeddings().num_embeddings
    prompt, right, wrong = TINY_PAIR if vocabulary <= TINY_VOCABULARY else PLAIN_PAIR
    high, low, other = (_reward(reward_model, prompt, text) for text in (right, wrong, "Hello."))
    if max(high, low, other) - min(high, low, other) < 1e-4:
        return False, f"every response gets the same reward ({high:.4f}): these are not its trained weights"
    verdict = "prefers the right response" if high > low else "prefers the wrong response"
    return high > low, f"{verdict} of a known pair: {high:.3f} right, {low:.3f} wrong"


@torch.no_grad()
def _reward(reward_model: RewardModel, prompt: str, response: str) -> float:
    ids = torch.tensor([reward_model.encode(prompt, response)], device=reward_model.device.name)
    hidden = hidden_states(reward_model.model, ids)[:, -1]
    return float(rewards_from_hidden(reward_model.model, hidden))
