"""One path from a name to a loaded model: embedded, local folder, or hub id."""

from __future__ import annotations

import contextlib
import difflib
import errno
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from rslib.cache import read_json
from rslib.config import closest, require
from rslib.decoding.attention import (
    CHUNKED,
    SCALED_BY_PLACE,
    alike,
    check_finite,
    decoder_of,
    hidden_states,
    logits_from_hidden,
)
from rslib.decoding.passes import try_engine
from rslib.errors import ModelError, translate_os_error
from rslib.models import checks
from rslib.models.checks import POLICIES
from rslib.models.loaded import (
    Device,
    Loaded,
    Policy,
    first_line,
    pick_device,
    quiet,
    render,
    translated,
)
from rslib.models.templates import check_opening, day_of, end_of_turn
from rslib.progress import note

_MAX_NEW_TOKENS = 256  # of a policy whose generation_config names none
_FULL_OR_CLOSED = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}
_TRIED = 1000  # token ids that a trial draws from
_OF_BASE = "base_model.model."  # before the names of weights in an adapter
_NO_LIMIT = 1 << 20  # context of a model without positions of its own (ALiBi)


def load_policy(
    name: str | Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    context: int | None = None,
    date: str | None = None,
) -> Policy:
    """A policy: an embedded name ("tiny"), a transformers folder, or a hub id ("org/name").

    context: most tokens of prompt and response together (None: all that model and tokenizer allow). date: the
    day that the chat template prints, if it prints one (None: the one with which the folder was tuned, else
    rslib.config.DATE).
    An adapter of peft is merged into the model that it was trained on (extra `peft`).
    A hub id is downloaded once and then read from the local cache. `pick_device` chooses device and dtype.
    Raises ModelError when the folder is missing, incomplete or damaged, or holds no decoder that the engine
    supports; ConfigError for an unknown device or dtype; BudgetError when memory runs out.
    """
    folder = locate(name, POLICIES)
    base = base_of(folder, POLICIES)
    checks.check_files(base)
    chosen = device_for(base, device, dtype)
    class_of = partial(checks.supported_class, AutoModelForCausalLM)
    model, tokenizer = load_parts(folder, base, class_of, checks.check_weights, chosen)
    if context is not None:
        require(context > 0, f"context is {context}", "load_policy", "Use a number of tokens above 0.")
        tokenizer.model_max_length = context  # where transformers keeps it, so it is saved with the tokenizer
    eos_ids, text = _eos_ids(model, tokenizer), model.config.get_text_config()
    new_tokens = model.generation_config.max_new_tokens
    policy = Policy(
        model=model,
        tokenizer=tokenizer,
        name=str(name),
        path=str(folder),
        device=chosen,
        context=context_of(model, tokenizer),
        pad_id=_real_ids(model, [tokenizer.pad_token_id, text.pad_token_id, *eos_ids, 0])[0],
        eos_ids=eos_ids,
        end_id=None,
        date=day_of(tokenizer, date),
        max_new_tokens=int(_MAX_NEW_TOKENS if new_tokens is None else new_tokens),
    )
    _find_end_of_turn(policy)
    _probe_policy(policy)
    _note_unheeded(model.generation_config, policy.path)
    return policy


_UNHEEDED = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "suppress_tokens": None,
    "bad_words_ids": None,
}
"""Settings of `generate` that change which tokens are drawn and are not applied, with the value of none."""


def _note_unheeded(settings: GenerationConfig, where: str) -> None:
    """Say which settings of its own a policy is sampled without."""
    asked = {name: getattr(settings, name, None) for name in _UNHEEDED}
    ignored = [name for name, value in asked.items() if value not in (None, _UNHEEDED[name])]
    if ignored:
        note(f"{where}: sampled without the {', '.join(ignored)} of its generation_config")


def _find_end_of_turn(policy: Policy) -> None:
    """Fill in `end_id`, and let a response end with it too."""
    rendered = None
    if policy.tokenizer.chat_template is not None:

        def rendered(turns: list[dict[str, str]], **options: bool) -> str:
            return render(policy, [turns], **options)[0]

        check_opening(rendered, policy.path)
    end = end_of_turn(policy.tokenizer, rendered, policy.eos_ids)
    policy.end_id = next(iter(_real_ids(policy.model, [end])), None)
    policy.eos_ids += tuple({policy.end_id} - {None, *policy.eos_ids})


def device_for(folder: Path, device: str | None, dtype: str | None) -> Device:
    """Where the model of `folder` runs and in which dtype."""
    return pick_device(device, dtype, getattr(torch, checks.stored_dtype(folder)))


def locate(name: str | Path, embedded: Mapping[str, str]) -> Path:
    """The local folder of a model; a hub id is downloaded first."""
    if not isinstance(name, (str, os.PathLike)):
        what = f"a model is named by a text, not by a {type(name).__name__}"
        fix = "Name an embedded model, a folder or a hub id; the folder of a loaded one is its `path`."
        raise ModelError(what, where="load_policy, load_reward_model", fix=fix)
    text = os.fspath(name).removeprefix("https://huggingface.co/")
    if text in embedded:
        folder = checks.ASSETS / embedded[text]
        if problems := checks.verify_assets(embedded[text]):
            fix = "Reinstall rslib, or restore rslib/assets."
            what = f"an embedded model was changed: {'; '.join(problems)}"
            raise ModelError(what, where=str(folder), fix=fix)
        return folder
    path = Path(text).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.exists():
        fix = "Name the folder that holds it."
        if path.suffix.lower() == ".gguf":
            raise checks.quantised("GGUF", path, {})
        raise ModelError("this is a file, not a model folder", where=text, fix=fix)
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
    fix = f"{hint}Embedded: {', '.join(sorted(embedded))}; else name a transformers folder or a hub id."
    return ModelError(f"no such model folder{detail}", where=text, fix=fix)


def _download(hub_id: str, embedded: Iterable[str]) -> Path:
    from huggingface_hub import snapshot_download

    def fetch(local: bool) -> Path:
        patterns = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model"]
        with quiet():
            folder = snapshot_download(
                hub_id, allow_patterns=patterns, ignore_patterns=["*/*"], local_files_only=local
            )
        return Path(folder)

    with contextlib.suppress(Exception):  # whatever is wrong with the local copy, the hub has a whole one
        folder = fetch(local=True)
        if not checks.is_adapter(folder):
            checks.check_files(folder)
        return folder
    note(f"downloading {hub_id} from the hub", show=True)
    try:
        return fetch(local=False)
    except Exception as err:  # offline, unknown, gated, malformed: the hub client has a class for each
        if isinstance(err, OSError) and err.errno in _FULL_OR_CLOSED:
            raise translate_os_error(err, where=hub_id) from err
        detail = f", and the hub gave no such model ({first_line(err)})"
        lost = re.search("offline|connection", f"{type(err).__name__} {err}", re.I)
        error = _no_such_folder(hub_id, embedded, detail)
        fix = f"Connect, or unset HF_HUB_OFFLINE. {error.fix}" if lost else error.fix
        raise ModelError(error.what, where=error.where, fix=fix) from err


def load_parts(
    folder: Path,
    base: Path,
    class_of: Callable[[PreTrainedConfig, Path], type[PreTrainedModel]],
    check_weights: Callable[[PreTrainedModel, Mapping[str, Any], Path], None],
    device: Device,
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Model on its device in eval mode, and tokenizer. Every failure is a ModelError that names the place.

    `base` holds the model; `folder` is the same, or holds an adapter for it, which is merged.
    `class_of` and `check_weights` refuse configs and weights that do not fit the role.
    """
    with _reading(base, "config"):
        config = AutoConfig.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    adapter = _adapter_weights(folder)
    if (head := adapter.get(f"{_OF_BASE}score.weight")) is not None:
        config.num_labels = len(head)
    model_class = class_of(config, base)
    with _reading(base, "config"):
        text = config.get_text_config()
    text_alone = text is not config and isinstance(text, model_class.config_class)
    tokenizer = _tokenizer(folder if checks.has_tokenizer(folder) else base)
    with _reading(base, "weights"):
        model, loading_info = model_class.from_pretrained(
            base,
            config=text if text_alone else config,
            dtype=device.dtype,
            attn_implementation=_attention_of(model_class, text if text_alone else config),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported below, by name
        )
    if text_alone:  # what is left over belongs to the parts that see and hear
        loading_info["unexpected_keys"] = set()
    if brought := {name for name in loading_info["missing_keys"] if _OF_BASE + name in adapter}:
        loading_info["missing_keys"] -= brought  # a head, in the place of the base model's own
        loading_info["unexpected_keys"] -= {"lm_head.weight"}
    check_weights(model, loading_info, base)
    with _reading(base, "weights"):
        model = model.to(device.name).eval()
    return _merged(model, folder, adapter) if adapter else model, tokenizer


def _tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    with _reading(folder, "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        # Models that see used to keep their template in this file, which tokenizers do not read.
        if tokenizer.chat_template is None and (folder / "chat_template.json").is_file():
            tokenizer.chat_template = read_json(folder / "chat_template.json")["chat_template"]
    return tokenizer


def base_of(folder: Path, embedded: Mapping[str, str]) -> Path:
    """The folder of the model itself: of an adapter that of the model that it was trained on."""
    if not checks.is_adapter(folder):
        return folder
    if (folder / "config.json").is_file():  # which of the two is meant, transformers and peft answer unlike
        fix = (
            "Move adapter_config.json and adapter_model.safetensors into a folder of their own, and name it."
        )
        what = "the folder holds an adapter beside the weights of its base model"
        raise ModelError(what, where=str(folder), fix=fix)
    name = checks.read_config(folder / "adapter_config.json").get("base_model_name_or_path")
    try:
        return locate(name or "", embedded)
    except ModelError as err:
        what = f"the model of this adapter, '{name}', is not there ({err.what})"
        fix = "Write where it is into base_model_name_or_path of adapter_config.json."
        raise ModelError(what, where=str(folder), fix=fix) from err


def _adapter_weights(folder: Path) -> dict[str, Tensor]:
    """The weights of an adapter, by their names; none where the folder holds no adapter."""
    if not checks.is_adapter(folder):
        return {}
    if not (folder / "adapter_model.safetensors").is_file():
        fix = "Save it again with a current version of peft; pickled weights are unsafe to load."
        raise ModelError("the adapter has no adapter_model.safetensors", where=str(folder), fix=fix)
    with _reading(folder, "adapter"):
        return load_file(folder / "adapter_model.safetensors")


def _peft(folder: Path) -> Any:
    try:
        import peft
    except ImportError as err:
        what = f"the folder holds an adapter, and peft cannot be imported ({err})"
        raise ModelError(what, where=str(folder), fix='pip install "rslib-course[peft]"') from err
    return peft


def _merged(model: PreTrainedModel, folder: Path, weights: dict[str, Tensor]) -> PreTrainedModel:
    """The model with an adapter in its weights.

    Raises ModelError without peft, for an adapter of another model, and for one that weights cannot take up.
    """
    fix = "Use the whole model, or an adapter of its weights, such as LoRA."
    with translated("the adapter cannot be merged", str(folder), fix):
        peft = _peft(folder)
        adapted = peft.get_peft_model(model, peft.PeftConfig.from_pretrained(folder)).eval()
        if not hasattr(adapted, "merge_and_unload"):
            raise ModelError("the adapter changes no weights: it adds tokens", where=str(folder), fix=fix)
        named = peft.get_peft_model_state_dict(adapted, save_embedding_layers=False)
        result = peft.set_peft_model_state_dict(adapted, dict(weights))
        if differing := sorted({*(named.keys() - weights.keys()), *result.unexpected_keys}):
            what = f"the adapter is not of this model: {len(differing)} weights differ ({differing[0]})"
            raise ModelError(what, where=str(folder), fix="Name its own model in adapter_config.json.")
        ids = torch.arange(1, 8, device=model.device)[None]
        with torch.no_grad():
            wanted = adapted(input_ids=ids).logits
            merged = adapted.merge_and_unload()
            same = alike(merged(input_ids=ids).logits, wanted)
    if not same:  # as where the weight of an adapted layer is another layer's too
        what = "merged into the weights, the adapter acts otherwise than beside them"
        raise ModelError(what, where=str(folder), fix="Use one whose layers share no weights.")
    return merged.requires_grad_(True)  # as every model is loaded; adapters freeze it


def _attention_of(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> str | dict[str, str]:
    """Which of its attentions a model takes: sdpa, unless its scores are capped, which sdpa leaves out.

    Where the text is one of several parts, the choice is its own.
    """
    text = config.get_text_config()
    capped = getattr(text, "attn_logit_softcapping", None)
    chosen = "sdpa" if model_class._supports_sdpa and not capped else "eager"
    parts = [name for name in config.sub_configs if getattr(config, name, None) is text]
    return {name: chosen for name in parts} or chosen


def _reading(folder: Path, part: str) -> AbstractContextManager[None]:
    """A block in which transformers reads `part` of a folder."""
    fix = "Check that the folder is a complete transformers model that needs no remote code."
    return translated(f"the {part} cannot be read", str(folder), fix)


def _eos_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> tuple[int, ...]:
    """Ids that end a response, as `generate` decides: generation config, else config, else tokenizer."""
    config = model.config.get_text_config()
    for ids in (model.generation_config.eos_token_id, config.eos_token_id, tokenizer.eos_token_id):
        if real := _real_ids(model, ids if isinstance(ids, (list, tuple)) else [ids]):
            return tuple(real)
    return ()


def _real_ids(model: PreTrainedModel, ids: Iterable[int | None]) -> list[int]:
    """Those ids that have a row in the embedding; old configs write -1 for none."""
    size = model.get_input_embeddings().num_embeddings
    return [token for token in ids if token is not None and 0 <= token < size]


def context_of(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Most tokens that the model reads at once."""
    config = model.config.get_text_config()
    limits = [tokenizer.model_max_length, getattr(config, "max_position_embeddings", None), _NO_LIMIT]
    if CHUNKED in (getattr(config, "layer_types", None) or ()):
        limits.append(config.attention_chunk_size)
    if getattr(config, SCALED_BY_PLACE, False):  # from there on queries are scaled by their place
        limits.append(config.floor_scale - 1)
    return min(int(limit) for limit in limits if limit is not None and limit > 0)  # XLNet writes -1


def _probe_policy(policy: Policy) -> None:
    ids = policy.encode("Hello.")
    if not ids:
        fix = "Repair the tokenizer, or its chat_template."
        raise ModelError("tokenizer and chat template make no token of a prompt", where=policy.path, fix=fix)
    if policy.encode("Hello.") != ids:
        what = "the chat template renders the same prompt otherwise each time"
        raise ModelError(what, where=policy.path, fix="Take what is random out of its chat_template.")
    probe(policy, ids, lambda hidden: logits_from_hidden(policy.model, hidden))


@torch.no_grad()
def probe(loaded: Loaded, ids: list[int], head: Callable[[Tensor], Tensor]) -> None:
    """Raise ModelError unless a model's values are finite and the engine's are the same.

    A short forward pass compares `head` of the decoder's hidden states with what the model says, and
    `try_engine` the hidden states.
    """
    model, where = loaded.model, loaded.path
    checks.check_rotary(decoder_of(model), loaded.context, where)
    fix = "Use another architecture, or the version of transformers that wrote the checkpoint."
    with translated(f"{type(model).__name__} does not run here", where, fix):
        inputs = torch.tensor([ids], device=loaded.device.name)
        theirs = model(input_ids=inputs).logits
        check_finite(theirs, where=where)
        ours = head(hidden_states(model, inputs))
        if ours.shape != theirs.shape or not alike(ours, theirs):
            fix = "Use another architecture, or extend rslib.models.logits_from_hidden."
            raise ModelError("the head of this architecture is not supported", where=where, fix=fix)
        rows = min(_TRIED, model.get_input_embeddings().num_embeddings)
        try_engine(model, sorted(set(range(rows)) - set(loaded.tokenizer.all_special_ids)), where)
