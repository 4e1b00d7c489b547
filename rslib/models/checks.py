"""What is checked about a model folder before and after transformers reads it, embedded ones included."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)

from rslib.cache import read_json, sha256_of
from rslib.errors import ModelError
from rslib.models.loaded import first_line

ASSETS = Path(__file__).parents[1] / "assets"
MANIFEST = ASSETS / "manifest.json"
POLICIES = {"tiny": "tiny-policy", "tiny-arithmetic": "tiny-arithmetic"}
REWARD_MODELS = {
    "tiny": "tiny-reward",
    "tiny-unbiased": "tiny-reward-unbiased",
    "tiny-length": "tiny-reward-length",
    "tiny-swapped": "tiny-reward-swapped",
    "tiny-blind": "tiny-reward",
}
BLIND = "tiny-blind"
_VOCABULARIES = (
    "tokenizer.json",
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "tekken.json",
)
CONSTANTS = (".masked_bias", ".inv_freq", ".position_ids")  # that old checkpoints stored beside their weights
_ORIGINAL = "original_max_position_embeddings"
_AGAIN = "Copy or download the file again."


def digest_folder(folder: str | Path) -> dict[str, str]:
    """The sha256 (hex) of each file in `folder`, hidden files left out."""
    paths = sorted(
        path for path in Path(folder).iterdir() if path.is_file() and not path.name.startswith(".")
    )
    return {path.name: sha256_of(path) for path in paths}


def verify_assets(folder: str | None = None) -> list[str]:
    """Differences of the embedded models, or of one folder of them, from the manifest: a phrase for each."""
    if not MANIFEST.is_file():
        return []
    listed = read_json(MANIFEST)["assets"]
    return [text for name in ([folder] if folder else sorted(listed)) for text in _differences(name, listed)]


def _differences(name: str, listed: Mapping[str, Any]) -> list[str]:
    if name not in listed:
        return [f"{name} is not in the manifest"]
    if not (ASSETS / name).is_dir():
        return [f"{name} is missing"]
    listed_files, files = listed[name]["files"], digest_folder(ASSETS / name)
    missing = [f"{name}/{file} is missing" for file in sorted(listed_files.keys() - files.keys())]
    extra = [f"{name}/{file} does not belong there" for file in sorted(files.keys() - listed_files.keys())]
    both = sorted(listed_files.keys() & files.keys())
    changed = [f"{name}/{file} was changed" for file in both if files[file] != listed_files[file]]
    return missing + extra + changed


def check_files(folder: Path) -> None:
    """Raise ModelError unless config, weights and vocabulary are there and whole, as far as headers tell."""
    _refuse_quantised(folder)
    if not (folder / "config.json").is_file():
        fix = "Name a folder that transformers saved."
        raise ModelError("the folder has no config.json", where=str(folder), fix=fix)
    for name in ("config.json", "generation_config.json"):  # transformers passes over a damaged second one
        if (folder / name).is_file():
            read_config(folder / name)
    for path in _weight_files(folder):
        _check_header(path)
    if not has_tokenizer(folder):
        fix = "Save the tokenizer beside the weights: tokenizer.save_pretrained(folder)."
        raise ModelError("the folder has no tokenizer", where=str(folder), fix=fix)


def is_adapter(folder: Path) -> bool:
    """Whether peft saved an adapter there, alone or beside the weights of its model."""
    return (folder / "adapter_config.json").is_file()


def has_tokenizer(folder: Path) -> bool:
    """Whether a vocabulary lies there: without one transformers may build an empty tokenizer silently."""
    return any((folder / name).is_file() for name in _VOCABULARIES)


def _refuse_quantised(folder: Path) -> None:
    """Raise ModelError for weights in a form that cannot be trained on, with a way to those that can."""
    config = read_config(folder / "config.json") if (folder / "config.json").is_file() else {}
    parts = [config, config.get("text_config") or {}]
    named = [part[key] for part in parts for key in ("quantization_config", "quantization") if part.get(key)]
    method = str(named[0].get("quant_method", "MLX")) if named else ""
    packed = next(folder.glob("*.gguf"), None) or ("gguf" in folder.name.lower())
    if method or (packed and not list(folder.glob("*.safetensors"))):
        raise quantised(method or "GGUF", folder, named[0] if named else {})


def quantised(method: str, where: Path, settings: Mapping[str, Any]) -> ModelError:
    """The error for a model that is quantised by this method."""
    bits = next((f" in {n} bit" for n in (4, 8) if settings.get(f"load_in_{n}bit")), "")
    what = f"the weights are quantised ({method}{bits}): they cannot be tuned, nor read exactly"
    fix = "Use the checkpoint that it was made from, in float32, bfloat16 or float16"
    ways = _WAYS_BACK.get(method)
    fix += f"; or write such a one: {ways}, then save_pretrained of it and of the tokenizer" if ways else ""
    return ModelError(what, where=str(where), fix=f"{fix}.")


_WAYS_BACK = {
    "bitsandbytes": "AutoModelForCausalLM.from_pretrained(FOLDER).dequantize() (package bitsandbytes)",
    "fp8": "AutoModelForCausalLM.from_pretrained(FOLDER, quantization_config=FineGrainedFP8Config("
    "dequantize=True))",
    "mxfp4": "AutoModelForCausalLM.from_pretrained(FOLDER, quantization_config=Mxfp4Config(dequantize=True))",
    "compressed-tensors": "AutoModelForCausalLM.from_pretrained(FOLDER, quantization_config="
    "CompressedTensorsConfig(dequantize=True)) (package compressed-tensors)",
    "GGUF": "AutoModelForCausalLM.from_pretrained(FOLDER, gguf_file=FILE, dtype='float32') (package gguf)",
}
"""How transformers gives weights that can be tuned, by the way in which they are quantised."""


def read_config(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder. Raises ModelError when it cannot be read or is none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as err:
        raise ModelError(f"this is not a readable JSON object ({err})", where=str(path), fix=_AGAIN) from err


def _weight_files(folder: Path) -> list[Path]:
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


def stored_dtype(folder: Path) -> str:
    """The dtype of a checkpoint, as transformers has it: config.json's, else that of most of its weights.

    "bfloat16", "float16", or "float32" for all others. The embedded models are packed in float16, and their
    config.json names float32, in which they are measured.
    """
    config = read_config(folder / "config.json")
    parts = [config, config.get("text_config") or {}]
    named = [part.get(key) for part in parts for key in ("dtype", "torch_dtype")]
    dtype = next(filter(None, named), None) or _most_of_the_weights(_weight_files(folder))
    return dtype if dtype in ("bfloat16", "float16") else "float32"


def _most_of_the_weights(paths: Iterable[Path]) -> str | None:
    counts: Counter[str] = Counter()
    for path in paths:
        with safe_open(path, framework="pt") as weights:
            for name in weights.keys():
                weight = weights.get_slice(name)
                counts[weight.get_dtype()] += math.prod(weight.get_shape())
    return {"BF16": "bfloat16", "F16": "float16"}.get(max(counts, key=counts.__getitem__, default=""))


def _check_header(path: Path) -> None:
    """Raise ModelError for a file cut short or overwritten: a header lists where each tensor ends."""
    try:
        with safe_open(path, framework="pt"):
            return
    except FileNotFoundError as err:
        raise ModelError("a weight file is missing", where=str(path), fix=_AGAIN) from err
    except (SafetensorError, OSError) as err:
        what = f"the weight file is damaged or unreadable ({first_line(err)})"
        raise ModelError(what, where=str(path), fix=_AGAIN) from err


def supported_class(auto: Any, config: PreTrainedConfig, folder: Path) -> type[PreTrainedModel]:
    """The model class, if the engine can run it: a decoder whose attention can be replaced."""
    classes = auto._model_mapping.get(type(config), None)
    model_class = classes[0] if isinstance(classes, tuple) else classes
    supported = (
        model_class is not None
        and not config.is_encoder_decoder
        and model_class.is_backend_compatible()
        and not getattr(model_class, "_is_stateful", False)
        and type(config) not in AutoModelForMaskedLM._model_mapping  # encoders, such as BERT, have one
    )
    if supported:
        return model_class
    raise _unsupported(config, folder, reward=auto is AutoModelForSequenceClassification)


def attention_can_be_replaced(model: PreTrainedModel) -> bool:
    """Whether the engine's attention may stand in for the model's own, in every layer.

    A rotary embedding that depends on the length of a row does not fit rows that are computed in two parts.
    """
    rope_types = {part.get("rope_type") for part in _rope_parts(model.config.get_text_config())}
    by_length = rope_types & {"dynamic", "longrope"}
    return type(model).is_backend_compatible() and not getattr(model, "_is_stateful", False) and not by_length


def _rope_parts(config: PreTrainedConfig) -> list[Mapping[str, Any]]:
    """The settings of a rotary embedding, and those of each layer type where they differ."""
    rope = getattr(config, "rope_parameters", None) or {}
    return [rope, *(part for part in rope.values() if isinstance(part, Mapping))]


def _unsupported(config: PreTrainedConfig, folder: Path, *, reward: bool) -> ModelError:
    """The error for an architecture that the engine cannot run in this role."""
    role = "reward model" if reward else "policy"
    head = " with a `score` head" if reward else ""
    fix = f"Use a decoder{head}: Llama, Mistral, Qwen2, Qwen3, GPT-2, GPT-NeoX, Gemma and their like."
    return ModelError(f"a {config.model_type} model is not supported as {role}", where=str(folder), fix=fix)


def check_weights(model: PreTrainedModel, loading_info: Mapping[str, Any], folder: Path) -> None:
    """Raise ModelError unless every weight came from the folder, with its shape, and none was left over."""
    missing = sorted(loading_info["missing_keys"])
    left_over = sorted(name for name in loading_info["unexpected_keys"] if not name.endswith(CONSTANTS))
    if any(name.startswith("score.") for name in left_over):
        fix = "Use load_reward_model, or name a language model."
        raise ModelError("this is a reward model, not a policy", where=str(folder), fix=fix)
    shapes = [
        f"{name} {tuple(has)} instead of {tuple(wants)}"
        for name, has, wants in loading_info["mismatched_keys"]
    ]
    groups = (("missing", missing), ("left over", left_over), ("of another shape", shapes))
    wrong = [f"{len(names)} {kind} ({', '.join(names[:3])})" for kind, names in groups if names]
    if wrong:
        what = f"the weights do not fit {type(model).__name__}: {'; '.join(wrong)}"
        fix = "config.json and the weights must come from one model."
        raise ModelError(what, where=str(folder), fix=fix)


def check_rotary(decoder: PreTrainedModel, context: int, where: str) -> None:
    """Raise ModelError where the angles of all rows of a batch would depend on the longest of them."""
    for module in decoder.modules():
        kinds = getattr(module, "rope_type", None)
        for kind in kinds.values() if isinstance(kinds, Mapping) else [kinds]:
            length = _length_of_same_angles(module, kind)
            if length is None or context <= length:
                continue
            what = f"rotary scaling '{kind}' changes the angles of all rows once one passes {length} tokens"
            fix = f"Ask for a shorter context: load_policy(..., context={length}) or --context {length} for a"
            fix += f' policy, "model_max_length": {length} in tokenizer_config.json for any model.'
            raise ModelError(f"{what}; the context is {context}", where=where, fix=fix)


def _length_of_same_angles(module: Any, kind: str | None) -> int | None:
    """Tokens up to which a rotary embedding keeps its angles; None: it always does."""
    if kind == "longrope":
        return min(part[_ORIGINAL] for part in _rope_parts(module.config) if part.get(_ORIGINAL))
    return int(module.original_max_seq_len) if kind and "dynamic" in kind else None
