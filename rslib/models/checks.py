"""What is checked about a model folder before and after transformers reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from rslib.errors import ModelError
from rslib.models.quiet import first_line

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "spiece.model", "vocab.json", "vocab.txt", "tekken.json")
CONSTANTS = (".masked_bias", ".inv_freq")  # that old checkpoints stored beside their weights
AGAIN = "Copy or download the file again."


def check_files(folder: Path) -> None:
    """Config, weights and vocabulary are there and whole, as far as headers tell."""
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            fix = "Merge it into its base model and save that."
            raise ModelError("this is an adapter, not a whole model", where=str(folder), fix=fix)
        fix = "Name a folder that transformers saved."
        raise ModelError("the folder has no config.json", where=str(folder), fix=fix)
    for name in ("config.json", "generation_config.json"):  # transformers passes over a damaged second one
        if (folder / name).is_file():
            read_config(folder / name)
    for path in weight_files(folder):
        _check_header(path)
    # Without its vocabulary transformers may build an empty tokenizer and say nothing.
    if not any((folder / name).is_file() for name in VOCABULARIES):
        fix = "Save the tokenizer beside the weights: tokenizer.save_pretrained(folder)."
        raise ModelError("the folder has no tokenizer", where=str(folder), fix=fix)


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder. Raises ModelError when it cannot be read or is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as err:
        raise ModelError(f"this is not a readable JSON object ({err})", where=str(path), fix=AGAIN) from err


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a folder, one or its shards. Raises ModelError when there are none."""
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        return [single]
    if index.is_file():
        return [folder / name for name in sorted(set(read_config(index).get("weight_map", {}).values()))]
    if list(folder.glob("pytorch_model*.bin")):
        fix = "Save them as safetensors: model.save_pretrained(folder)."
        raise ModelError("the weights are pickled, which is unsafe to load", where=str(folder), fix=fix)
    raise ModelError(
        "the folder has no model.safetensors", where=str(folder), fix="Use a complete model folder."
    )


def _check_header(path: Path) -> None:
    """A safetensors header lists where each tensor ends: a file cut short or overwritten does not pass."""
    try:
        with safe_open(path, framework="pt"):
            return
    except FileNotFoundError as err:
        raise ModelError("a weight file is missing", where=str(path), fix=AGAIN) from err
    except (SafetensorError, OSError) as err:
        what = f"the weight file is damaged or unreadable ({first_line(err)})"
        raise ModelError(what, where=str(path), fix=AGAIN) from err


def supported_class(auto: Any, config: PreTrainedConfig, folder: Path) -> type[PreTrainedModel]:
    """The model class, if the engine can run it: a decoder whose attention can be replaced."""
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
    raise unsupported(config, folder, reward=auto is AutoModelForSequenceClassification)


def unsupported(config: PreTrainedConfig, folder: Path, *, reward: bool) -> ModelError:
    """The error for an architecture that the engine cannot run in this role."""
    role = "reward model" if reward else "policy"
    head = " with a `score` head" if reward else ""
    fix = f"Use a decoder{head}: Llama, Mistral, Qwen2, Qwen3, GPT-2, GPT-NeoX, Gemma and their like."
    return ModelError(f"a {config.model_type} model is not supported as {role}", where=str(folder), fix=fix)


def _is_decoder(config: PreTrainedConfig) -> bool:
    """Encoders (BERT, DeBERTa, ...) have a masked-language-model class; decoders have none."""
    return type(config) not in AutoModelForMaskedLM._model_mapping


def check_weights(model: PreTrainedModel, found: Mapping[str, Any], folder: Path) -> None:
    """Every weight of the model came from the folder, with its shape, and nothing was left over."""
    missing = sorted(found["missing_keys"])
    left_over = sorted(name for name in found["unexpected_keys"] if not name.endswith(CONSTANTS))
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
