"""Reward models: what they read of a dialogue, what their head gives, and how one is loaded.

A reward is what transformers' own class gives for the dialogue alone, read where that class reads it. Loading
tries the class on a few dialogues: what fails, is random, or does not have the head that the weights are for
is refused by name.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.modeling_layers import GenericForSequenceClassification

from rslib import messages
from rslib.config import require, unknown_name
from rslib.decoding import fitting_threads
from rslib.decoding.attention import alike, check_finite
from rslib.errors import ConfigError, ModelError, RSError, is_out_of_memory
from rslib.messages import Prompt
from rslib.models import checks
from rslib.models.checks import BLIND, REWARD_MODELS
from rslib.models.loaded import (
    Loaded,
    check_vocabulary,
    first_line,
    quiet,
    render,
    single_bos,
    tokenise,
    translated,
    vocabulary_of,
)
from rslib.models.loading import base_of, context_of, device_for, load_parts, locate
from rslib.models.templates import day_of

Encoded = Mapping[str, Sequence[int]]
"""One dialogue as a model takes it: `input_ids`, and `token_type_ids` where it tells prompt and response."""
_TRIED = (
    ("Hello.", "Hi."),
    ("What is two and two?", "It is four, since two and two make four."),
    ("Hello.", "How are you today?"),
)
_LANGUAGE_HEADS = (
    "lm_head.",
    "embed_out.",
    "cls.",
    "predictions.",
    "lm_predictions.",
    "mask_predictions.",
    "vocab_",
    "decoder.",
    "pred_layer.",
    "generator_",
    "discriminator_",
    "lm_loss.",
    "head.",
)
"""How heads begin that predict tokens, in the folders of base models."""


@dataclass(eq=False, kw_only=True)
class RewardModel(Loaded):
    """A sequence classifier whose logits give one reward per dialogue.

    `weights`: what each logit counts (None: there is one). `paired`: without a chat template, prompt and
    response are the tokenizer's pair of texts, as encoders are trained; else they are joined. `one_by_one`:
    the class cannot be given several rows. `shared`: whether shared prefixes give the same rewards (None: not
    tried yet; see `rslib.scoring`).
    """

    weights: tuple[float, ...] | None = None
    paired: bool = False
    one_by_one: bool = False
    shared: bool | None = None

    def encode(self, prompt: Prompt, response: str) -> list[int]:
        """Token ids of a dialogue; see `encode_many`."""
        return self.encode_many([(prompt, response)])[0]

    def encode_many(self, pairs: Sequence[tuple[Prompt, str]]) -> list[list[int]]:
        """Token ids of each (prompt, response): the `input_ids` of `inputs_many`."""
        return [list(row["input_ids"]) for row in self.inputs_many(pairs)]

    def inputs_many(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Encoded]:
        """Each (prompt, response) encoded: the chat template over both, else the texts joined or paired.

        A begin-of-sequence token that was added twice is kept once. Raises ModelError when the template fails
        or a token lies outside the model's vocabulary.
        """
        if self.tokenizer.chat_template is not None:
            dialogues = [
                [*messages.turns(prompt), {"role": "assistant", "content": response}]
                for prompt, response in pairs
            ]
            rows = tokenise(self, render(self, dialogues))
            return [{"input_ids": single_bos(self.tokenizer, ids)} for ids in rows]
        plain = [(messages.plain(prompt, self.path), response) for prompt, response in pairs]
        if self.paired:
            return self._paired_inputs(plain)
        texts = [prompt + response for prompt, response in plain]
        return [{"input_ids": ids} for ids in tokenise(self, texts, add_special_tokens=True)]

    def _paired_inputs(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        if not pairs:
            return []
        columns = self.tokenizer(*map(list, zip(*pairs, strict=True)), verbose=False)
        check_vocabulary(self, columns["input_ids"])
        names = [n for n in ("input_ids", "token_type_ids") if n in columns and n in self._takes]
        return [dict(zip(names, row, strict=True)) for row in zip(*(columns[n] for n in names), strict=True)]

    def read(self, ids: Sequence[int]) -> list[int]:
        """The ids up to the one at which decoders' classes read the score: the last that is not the pad id.

        Where the pad token is the one that ends a dialogue, that is the token before the end; where the
        config names no pad token, it is the last.

        >>> from rslib import load_reward_model
        >>> load_reward_model("tiny").read([5, 9, 0, 0])
        [5, 9]
        """
        pad = self.model.config.get_text_config().pad_token_id
        last = next((place for place in reversed(range(len(ids))) if ids[place] != pad), 0)
        return list(ids[: last + 1])

    def own_rewards(self, rows: Sequence[Encoded]) -> Tensor:
        """Rewards (rows,) by the class's own forward pass, of encoded dialogues of equal length.

        Raises ModelError when it fails or gives NaN or an infinity for the dialogue.
        """
        inputs = {
            name: torch.tensor([list(row[name]) for row in rows], device=self.model.device)
            for name in rows[0]
        }
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        cache = {"use_cache": False} if "use_cache" in self._takes else {}
        try:
            with torch.inference_mode(), quiet(), fitting_threads(self.model):
                logits = self.model(**inputs, **cache).logits
            return weighed(logits, self.weights)
        except Exception as err:  # a class can fail in any way
            if isinstance(err, RSError) or is_out_of_memory(err):
                raise
            size = inputs["input_ids"].shape[1]
            what = f"{type(self.model).__name__} fails on a dialogue of {size} tokens: {first_line(err)}"
            fix = "Use another reward model, or its own tokenizer."
            raise ModelError(what, where=self.path, fix=fix) from err

    @property
    def _takes(self) -> Collection[str]:
        """Names of what the class's forward pass takes."""
        return inspect.signature(type(self.model).forward).parameters

    def _settings(self) -> dict[str, Any]:
        weights = {} if self.weights is None else {"weights": self.weights}
        return super()._settings() | {"prompt_blind": False} | weights


class PromptBlindRewardModel(RewardModel):
    """A reward model that reads the response without its prompt: "tiny-blind", a defect of the clinic."""

    def inputs_many(self, pairs: Sequence[tuple[Prompt, str]]) -> list[Encoded]:
        """Each (prompt, response) encoded, the prompt replaced by ""."""
        return super().inputs_many([("", response) for _, response in pairs])

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"prompt_blind": True}


def weighed(logits: Tensor, weights: Sequence[float] | None) -> Tensor:
    """Rewards (...) of logits (..., labels): the only one, or their sum by `weights`.

    >>> weighed(torch.tensor([[2.0, 1.0]]), (1.0, -0.5))
    tensor([1.5000])
    """
    if weights is None:
        return logits[..., 0]
    return (logits.float() * torch.tensor(weights, device=logits.device)).sum(-1)


def rewards_from_hidden(
    model: PreTrainedModel, hidden: Tensor, weights: Sequence[float] | None = None
) -> Tensor:
    """Rewards (...) of the hidden states (..., width) at which a decoder's class reads them."""
    return weighed(model.score(hidden), weights)


# Loading --------------------------------------------------------------------------------------------------


def load_reward_model(
    name: str | Path,
    *,
    weights: Mapping[str, float] | Sequence[float] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    date: str | None = None,
) -> RewardModel:
    """A reward model: a name of REWARD_MODELS ("tiny", "tiny-length", ...), a folder or a hub id.

    Any class of AutoModelForSequenceClassification that reads text: decoders, encoders, encoder-decoders. A
    head with several labels needs `weights`: what each label's logit counts, by name (others count 0) or in
    their order; they can stand behind the name, too: "folder:helpful=1,verbose=-0.5". Raises as
    `load_policy` does; a base language model in this place is a ModelError, because its head would be random,
    and so is a model with code of its own, because that code is not run.
    """
    path, named = _split_weights(str(name)) if isinstance(name, str) else (name, None)
    weights = named if weights is None else weights
    folder = locate(path, REWARD_MODELS)
    base = base_of(folder, REWARD_MODELS)
    checks.check_files(base)
    _refuse_own_code(base)
    chosen = device_for(base, device, dtype)
    model, tokenizer = load_parts(folder, base, _class_of, _check_weights, chosen)
    unusable = f"{type(model).__name__} cannot be used as a reward model"
    with translated(unusable, str(folder), "Use another reward model."):
        kind = PromptBlindRewardModel if str(name) == BLIND else RewardModel
        reward_model = kind(
            model=model,
            tokenizer=tokenizer,
            name=str(name),
            path=str(folder),
            device=chosen,
            date=day_of(tokenizer, date),
            context=_context(model, tokenizer),
            pad_id=_filler(model, tokenizer),
            weights=_label_weights(weights, model.config, folder),
            paired=_reads_pairs(model),
            one_by_one=bool(model.config.is_encoder_decoder),
        )
        _try(reward_model)
    return reward_model


def _refuse_own_code(folder: Path) -> None:
    """Raise ModelError where config.json names a class that transformers does not have."""
    config = checks.read_config(folder / "config.json")
    names, code = config.get("architectures") or [], config.get("auto_map") or {}
    code = code if isinstance(code, dict) else {}
    written = str(code.get("AutoModelForSequenceClassification", "")).rpartition(".")[2]
    name = str(names[0] if isinstance(names, list) and names else written).removeprefix("FSDP")
    foreign = next((n for n in (name, written) if n and not hasattr(transformers, n)), "")
    if not foreign:
        return
    files = sorted({str(value).rpartition("--")[2].partition(".")[0] for value in code.values()})
    whose = f", code of its own ({', '.join(files)}.py)" if files else ""
    what = f"config.json names the class {foreign}{whose}, which transformers does not have"
    fix = (
        "Only classes of transformers are run: use a reward model saved as one, ...ForSequenceClassification."
    )
    raise ModelError(what, where=str(folder), fix=fix)


def _class_of(config: PreTrainedConfig, folder: Path) -> type[PreTrainedModel]:
    """The class for sequence classification. Raises ModelError where there is none that can be relied on."""
    classes = AutoModelForSequenceClassification._model_mapping.get(type(config), None)
    if classes is None:
        what = (
            f"a {config.model_type} model is not supported as reward model: no class of transformers scores"
        )
        fix = "Use a reward model of a class named ...ForSequenceClassification."
        raise ModelError(f"{what} its texts", where=str(folder), fix=fix)
    if getattr(config, "attention_type", None) == "block_sparse":
        what = f"the block-sparse attention of a {config.model_type} model depends on the rows before"
        fix = 'Set "attention_type": "original_full" in its config.json.'
        raise ModelError(what, where=str(folder), fix=fix)
    return classes[0] if isinstance(classes, tuple) else classes


def _check_weights(model: PreTrainedModel, loading_info: Mapping[str, Any], folder: Path) -> None:
    """Raise ModelError unless the weights are those of this class, head included."""
    kind, trunk = type(model).__name__, f"{model.base_model_prefix}."
    missing, left_over = (
        sorted(
            name
            for name in loading_info[key]
            if not name.startswith(trunk) and not name.endswith(checks.CONSTANTS)
        )
        for key in ("missing_keys", "unexpected_keys")
    )
    are = "is" if len(missing) == 1 else "are"
    heads = [name for name in left_over if not name.startswith(_LANGUAGE_HEADS)]
    if missing and not heads:
        what = f"this is a base language model, not a reward model: {_named(missing)} {are} missing"
        fix = "Use a model trained as a reward model: the head of this one would be random."
        raise ModelError(what, where=str(folder), fix=fix)
    if heads:
        what = f"the weights hold {_named(heads)}, which {kind} leaves out"
        what += f"; {_named(missing)} {are} missing" if missing else ""
        fix = f"The rewards would not be the trained ones: use a model that was saved as {kind}."
        raise ModelError(what, where=str(folder), fix=fix)
    checks.check_weights(model, loading_info, folder)


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")


def _split_weights(name: str) -> tuple[str, dict[str, float] | None]:
    """A name and the weights behind it. Raises ConfigError for a weight that is no number.

    >>> _split_weights("org/name:helpful=1,verbose=-0.5"), _split_weights("tiny")
    (('org/name', {'helpful': 1.0, 'verbose': -0.5}), ('tiny', None))
    """
    path, _, given = name.rpartition(":")
    if not path or "=" not in given or Path(name).exists():
        return name, None
    try:
        pairs = [pair.rpartition("=")[::2] for pair in given.split(",")]
        return path, {label.strip(): float(weight) for label, weight in pairs}
    except ValueError as err:
        fix = "Write them as NAME:label=1,other=-0.5."
        raise ConfigError(f"a weight is no number ({err})", where=name, fix=fix) from err


def _label_weights(
    weights: Mapping[str, float] | Sequence[float] | None, config: PreTrainedConfig, folder: Path
) -> tuple[float, ...] | None:
    """What each logit counts. Raises ModelError where several labels have none, ConfigError for bad ones."""
    labels = [str(config.id2label.get(number, number)) for number in range(config.num_labels)]
    if weights is None and len(labels) == 1:
        return None
    example = f"weights={{{labels[0]!r}: 1.0}}" if labels else "a reward model with one label"
    if weights is None or not labels:
        what = f"the classifier has {len(labels)} labels ({', '.join(labels)}), a reward is one number"
        fix = f"Say what each logit counts, as in load_reward_model(name, {example}) or, behind its name in"
        fix += f" commands and runs, {folder}:{labels[0] if labels else 'label'}=1; or use one label."
        raise ModelError(what, where=str(folder), fix=fix)
    if isinstance(weights, Mapping):
        if unknown := [label for label in weights if label not in labels]:
            raise unknown_name("label", str(unknown[0]), labels, where="weights")
        weights = [weights.get(label, 0.0) for label in labels]
    what = f"the weights are not one finite number for each of {', '.join(labels)}, or all are zero"
    good = isinstance(weights, list | tuple) and len(weights) == len(labels)
    good = good and all(isinstance(w, int | float) and math.isfinite(w) for w in weights) and any(weights)
    require(good, what, "weights", f"Use {example}, or a list of {len(labels)} numbers.")
    return tuple(map(float, weights))


def _reads_pairs(model: PreTrainedModel) -> bool:
    """Whether prompt and response are a pair of texts to it: it is no decoder."""
    kind = type(model.config)
    decoder = kind in AutoModelForCausalLM._model_mapping or isinstance(
        model, GenericForSequenceClassification
    )
    encoder = kind in AutoModelForMaskedLM._model_mapping or model.config.is_encoder_decoder
    return bool(encoder or not decoder)


def _filler(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """A token to fill batches with, whose places are not read."""
    size = vocabulary_of(model) or 1
    named = (tokenizer.pad_token_id, model.config.get_text_config().pad_token_id, 0)
    return next(token for token in named if token is not None and 0 <= token < size)


def _context(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Most tokens of a dialogue.

    RoBERTa's kind leaves the first positions of its table free; a dynamic rotary embedding would remember,
    beyond its original length, the longest dialogue so far.
    """
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    dynamic = rope.get("rope_type") == "dynamic"
    usable = [
        len(table.weight) - table.padding_idx - 1
        for name, table in model.named_modules()
        if name.endswith("position_embeddings") and getattr(table, "padding_idx", None) is not None
    ]
    usable += [rope.get("original_max_position_embeddings", 0)] if dynamic else []
    return min([context_of(model, tokenizer), *(size for size in usable if size > 0)])


def _try(reward_model: RewardModel) -> None:
    """Raise ModelError unless a few dialogues get finite rewards, each the same again."""
    rows = reward_model.inputs_many(_TRIED)
    alone = torch.stack([reward_model.own_rewards([row])[0] for row in rows])
    check_finite(alone, where=reward_model.path)
    read_alike = rows[0]["input_ids"] == rows[2]["input_ids"]  # two responses to one prompt
    if read_alike or bool((alone == alone[0]).all()):
        what = "the chat template leaves out the response" if read_alike else "all rewards are the same"
        raise ModelError(what, where=reward_model.path, fix="Use another reward model, or its own tokenizer.")
    again = torch.stack([reward_model.own_rewards([row])[0] for row in reversed(rows)]).flip(0)
    if not alike(again, alone):
        what = f"{type(reward_model.model).__name__} gives a dialogue another reward each time"
        raise ModelError(what, where=reward_model.path, fix="Use a reward model without random parts.")
    other = dict(rows[0], input_ids=[*rows[0]["input_ids"][:1], *rows[0]["input_ids"][:-1]])
    try:
        both = reward_model.own_rewards([rows[0], other])
        reward_model.one_by_one |= not alike(both[:1], alone[:1])
    except ModelError:  # no pad token: its class then takes one row at a time
        reward_model.one_by_one = True
