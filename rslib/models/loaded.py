"""What was loaded: where it runs, encode, decode, logits, fingerprint, save; and the policy."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from rslib import messages
from rslib.cache import canonical_json, make_folder
from rslib.config import DATE, unknown_name
from rslib.decoding.attention import hidden_states, logits_from_hidden
from rslib.decoding.sampler import token_logprobs
from rslib.errors import (
    BudgetError,
    ConfigError,
    ModelError,
    RSError,
    StoreError,
    is_out_of_memory,
    translate_os_error,
)
from rslib.messages import Prompt
from rslib.models import templates

_CHECKED = 256  # tokens at the end of a response whose log-probabilities are checked
_VOLATILE = {"transformers_version", "dtype", "architectures", "use_cache", "output_hidden_states"}


# Where a model runs --------------------------------------------------------------------------------------

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Device:
    """Where a model runs, in which dtype, and the reason for both.

    `stored`: the dtype of the checkpoint, in which what is tuned from it is saved; None: there is none.
    """

    name: str
    dtype: torch.dtype
    why: str
    stored: torch.dtype | None = None


def pick_device(
    device: str | None = None, dtype: str | None = None, stored: torch.dtype | None = None
) -> Device:
    """Device and dtype of a model that is stored in the dtype `stored`; `why` says the reason in words.

    device "auto" or None: cuda, else mps, else cpu. dtype "auto" or None: float32 on cpu and mps, and where
    the checkpoint is float32; on cuda else the checkpoint's, but float16 where the GPU only emulates bfloat16
    (torch's own test counts that, and it is slow). Nothing else counts, so what is tuned runs as its start.
    Raises ConfigError for an unknown device or dtype, or a device that this machine does not have.

    >>> pick_device("cpu").dtype, pick_device("cpu", "bfloat16").dtype
    (torch.float32, torch.bfloat16)
    """
    name, reason = _device_name(None if device == "auto" else device)
    chosen, why = _dtype_on(name, dtype, stored)
    return Device(name, chosen, f"{reason}; {str(chosen).removeprefix('torch.')}: {why}", stored)


def _dtype_on(name: str, asked: str | None, stored: torch.dtype | None) -> tuple[torch.dtype, str]:
    """The dtype of a model on this device, and why."""
    if asked not in (None, "auto"):
        if asked not in _DTYPES:
            raise unknown_name("dtype", asked, ["auto", *_DTYPES], where="dtype")
        return _DTYPES[asked], "asked for"
    if not name.startswith("cuda"):
        return torch.float32, f"the safe choice on {name}"
    if stored in (torch.float32, torch.float16):
        return stored, "the weights are stored in it"
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return torch.bfloat16, "this GPU computes it natively"
    return torch.float16, "this GPU only emulates bfloat16, which is slow"


def _device_name(asked: str | None) -> tuple[str, str]:
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if asked is None:
        name = next(kind for kind, present in available.items() if present)
        return name, f"{name}: " + ("no accelerator found" if name == "cpu" else "found on this machine")
    kind, _, index = str(asked).partition(":")
    if kind not in available:
        raise unknown_name("device", asked, ["auto", *available], where="device")
    if not available[kind]:
        fix = "Use device='cpu', or leave device out to have the best one chosen."
        raise ConfigError(f"this machine has no {kind} device that torch can use", where="device", fix=fix)
    if index and not (index.isdigit() and int(index) < (torch.cuda.device_count() if kind == "cuda" else 1)):
        raise ConfigError(f"there is no device '{asked}'", where="device", fix=f"Use '{kind}' or '{kind}:0'.")
    return str(asked), f"{asked}: asked for"


# What was loaded ------------------------------------------------------------------------------------------


@dataclass(eq=False, kw_only=True)
class Loaded:
    """What policies and reward models share. `date` (YYYY-MM-DD): the day that the chat template prints."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    name: str
    path: str
    device: Device
    context: int
    pad_id: int
    date: str = DATE

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

    def identity(self) -> list[str]:
        """All of the model that decides its results: its fingerprint, and where it runs in which dtype."""
        return [self.fingerprint(), self.device.name, str(self.device.dtype), str(self.device.stored)]

    def _settings(self) -> dict[str, Any]:
        return {"context": self.context} | ({"date": self.printed_date} if self.printed_date else {})

    @property
    def printed_date(self) -> str | None:
        """The day that the chat template prints; None: it prints none."""
        return self.date if templates.prints_date(self.tokenizer) else None

    def save(self, folder: str | Path, record: Mapping[str, Any] | None = None) -> None:
        """Write an ordinary transformers folder (safetensors); it appears whole or not at all.

        `record`, how the weights came to be, is written beside them as training.json.
        An older model folder at `folder` is replaced. Raises StoreError when the disk is full or read-only,
        or when `folder` holds something that is not a model.
        """
        with replaced_folder(folder) as new, quiet():
            self.model.save_pretrained(new)
            if self.printed_date:
                self.tokenizer.init_kwargs[templates.SAVED_DATE] = self.printed_date
            self.tokenizer.save_pretrained(new)
            if record is not None:
                (new / "training.json").write_text(canonical_json(record) + "\n", encoding="utf-8")


@dataclass(eq=False, kw_only=True)
class Policy(Loaded):
    """A causal language model with its tokenizer.

    `context`: most tokens of prompt and response together. `eos_ids`: tokens that end a response, as
    `generate` takes them, and `end_id`, with which a turn ends in the chat template and which text from
    elsewhere is taught (empty and None: it never ends by itself). `pad_id`: a valid filler that may equal
    EOS, since engines mask by position. `max_new_tokens`: of its generation_config, else 256.
    """

    eos_ids: tuple[int, ...]
    end_id: int | None
    max_new_tokens: int

    def encode(self, prompt: Prompt) -> list[int]:
        """Token ids of a prompt, ready for the policy to continue; see `encode_many`."""
        return self.encode_many([prompt])[0]

    def encode_many(self, prompts: Sequence[Prompt]) -> list[list[int]]:
        """Token ids of each prompt: the chat template up to where the response begins, else plain text.

        A prompt is a text, which is one user's turn, or a conversation (see `rslib.messages`). Thinking is
        switched off where the template has a switch for it. Raises ModelError when the template fails, leaves
        out a turn or leaves a thought open before the response, or when a token is none of the vocabulary.
        """
        if self.tokenizer.chat_template is None:
            texts = [messages.plain(prompt, self.path) for prompt in prompts]
            return [self._without_eos(ids) for ids in tokenise(self, texts, add_special_tokens=True)]
        texts = render(self, [messages.turns(prompt) for prompt in prompts], add_generation_prompt=True)
        for text, prompt in zip(texts, prompts, strict=True):
            templates.check_no_open_thought(text, messages.turns(prompt)[-1]["content"], self.path)
        return [single_bos(self.tokenizer, ids) for ids in tokenise(self, texts)]

    def _without_eos(self, ids: list[int]) -> list[int]:
        # Some tokenizers close every text; a policy would then start behind the end.
        return ids[:-1] if len(ids) > 1 and ids[-1] in self.eos_ids else ids

    def encode_response(self, response: str, *, ended: bool = True) -> list[int]:
        """Token ids of a response from elsewhere; `ended`: with the token that ends a turn.

        Raises ModelError for a token outside the model's vocabulary.
        """
        ids = tokenise(self, [response])[0]
        closed = not ended or self.end_id is None or (ids and ids[-1] in self.eos_ids)
        return ids if closed else [*ids, self.end_id]

    @torch.no_grad()
    def own_logprobs(self, prompt: Sequence[int], token_ids: Sequence[int]) -> Tensor:
        """Log-probabilities (tokens,) in nats by the model's own forward pass over this row alone."""
        row = torch.tensor([[*prompt, *token_ids[:-1]]], device=self.model.device)
        hidden = hidden_states(self.model, row, use_cache=False)[0, -len(token_ids) :]
        tokens = torch.tensor(list(token_ids), device=hidden.device)
        return token_logprobs(logits_from_hidden(self.model, hidden), tokens).cpu()

    @property
    def tolerance(self) -> float:
        """Nats a token, on average, by which stored log-probabilities may differ from its own."""
        return 1e-3 if self.model.dtype == torch.float32 else 5e-2

    def logprob_difference(self, row: Mapping[str, Any]) -> float:
        """Mean absolute difference (nats a token) between a row's stored log-probabilities and its own.

        Of the last _CHECKED tokens of the response; infinite where not each token has one.
        """
        ids, stored = row["token_ids"], row["token_logprobs"]
        if len(ids) != len(stored):
            return math.inf
        start = max(0, len(ids) - _CHECKED)
        own = self.own_logprobs([*self.encode(row["prompt"]), *ids[:start]], ids[start:])
        return float((own.double() - torch.tensor(stored[start:], dtype=torch.float64)).abs().mean())

    def decode(self, token_ids: Sequence[int]) -> str:
        """The response text of new tokens; special tokens (the end of sequence among them) are left out."""
        return self.tokenizer.decode(
            list(token_ids), skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"eos_ids": self.eos_ids, "max_new_tokens": self.max_new_tokens}


def render(loaded: Loaded, dialogues: list[list[dict[str, str]]], **options: bool) -> list[str]:
    """The text of each dialogue by the chat template.

    Raises ModelError when the template fails, or leaves out a turn of a conversation.
    """
    if not dialogues:
        return []
    asked = templates.settings(loaded.tokenizer, loaded.date)
    try:
        rendered = loaded.tokenizer.apply_chat_template(
            dialogues, tokenize=False, return_dict=True, **asked, **options
        )
    except Exception as err:  # a template is a program of the model's author: it can fail in any way
        for dialogue in dialogues if len(dialogues) > 1 else ():
            render(loaded, [dialogue], **options)  # the first that fails is named
        fix = "Repair the tokenizer's chat_template, use another model, or change the prompt."
        what, where = f"the chat template failed: {first_line(err)}", _place(loaded, dialogues[0])
        raise ModelError(what, where=where, fix=fix) from err
    for text, dialogue in zip(rendered, dialogues, strict=True):
        _check_no_turn_is_lost(text, dialogue, _place(loaded, dialogue))
    return rendered


def _place(loaded: Loaded, dialogue: list[dict[str, str]]) -> str:
    """The model's folder, and the beginning of the dialogue."""
    return f"{loaded.path}, at {messages.shown(dialogue)[:60]!r}"


def _check_no_turn_is_lost(text: str, dialogue: list[dict[str, str]], where: str) -> None:
    """Templates may pass over a system turn, cut old ones, or look for parts in a text, without a word."""
    # Of the assistant's old turns templates cut the thinking, as they should.
    asked = [message for message in dialogue if message["role"] != "assistant"]
    for message in asked:
        if message["content"].strip().casefold() not in text.casefold():
            what = f"the chat template leaves out a {message['role']}'s turn"
            fix = "Use a model whose template renders it, or prompts without such a turn (or --system)."
            raise ModelError(what, where=where, fix=fix)


def tokenise(loaded: Loaded, texts: Sequence[str], add_special_tokens: bool = False) -> list[list[int]]:
    """Token ids of each text. Raises ModelError for a token outside the model's vocabulary."""
    if not texts:
        return []
    rows = loaded.tokenizer(list(texts), add_special_tokens=add_special_tokens, verbose=False)["input_ids"]
    check_vocabulary(loaded, rows)
    return rows


def check_vocabulary(loaded: Loaded, rows: Sequence[Sequence[int]]) -> None:
    """Raise ModelError for a token that has no row in the model's embedding."""
    size = vocabulary_of(loaded.model)
    largest = max((max(ids) for ids in rows if ids), default=0)
    if size is not None and largest >= size:
        token = loaded.tokenizer.convert_ids_to_tokens(largest)
        fix = "The tokenizer belongs to another model: take both from one folder."
        what = f"token {largest} ({token!r}) is outside the model's vocabulary of {size}"
        raise ModelError(what, where=loaded.path, fix=fix)


def vocabulary_of(model: PreTrainedModel) -> int | None:
    """Rows of the model's embedding; None where its tokens have no table of their own."""
    try:
        weight = getattr(model.get_input_embeddings(), "weight", None)
    except NotImplementedError:
        return None
    return None if weight is None else len(weight)


def single_bos(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """The ids with a begin-of-sequence token that was added twice kept once."""
    bos = tokenizer.bos_token_id
    while bos is not None and ids[:2] == [bos, bos]:
        ids = ids[1:]
    return ids


def _config_facts(config: PreTrainedConfig) -> dict[str, Any]:
    """The config without what changes when nothing of the model changes."""
    facts = {**config.to_dict(), "model_type": config.model_type}
    return {k: v for k, v in facts.items() if not k.startswith("_") and k not in _VOLATILE}


def _tokenizer_facts(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    facts: dict[str, Any] = {"template": tokenizer.chat_template, "special": tokenizer.special_tokens_map}
    if not tokenizer.is_fast:
        return facts | {"vocabulary": tokenizer.get_vocab()}
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    return facts | {k: v for k, v in backend.items() if k not in ("truncation", "padding")}


# Saving, and transformers' noise


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
        if old.exists() and not target.exists():  # a kill came between the two renames below
            old.rename(target)
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


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A block in which transformers and the hub show no reports, progress bars and warnings."""
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


@contextlib.contextmanager
def translated(what: str, where: str, fix: str) -> Iterator[None]:
    """A block that makes no noise, in which whatever fails becomes one of our errors, which names the place.

    That is a BudgetError where memory ran out, else a ModelError of `what`: transformers and the classes of
    models raise OSError, ValueError, KeyError, RuntimeError, as it comes.
    """
    try:
        with quiet():
            yield
    except RSError:
        raise
    except Exception as err:
        if is_out_of_memory(err):
            fix = "Use a smaller model, dtype='float16' or 'bfloat16', or device='cpu'."
            raise BudgetError(f"{what}: memory ran out", where=where, fix=fix) from err
        raise ModelError(f"{what}: {type(err).__name__}: {first_line(err)}", where=where, fix=fix) from err


def first_line(err: BaseException) -> str:
    """The first line of an error's message that is not blank, else the name of its class."""
    return next((line.strip() for line in str(err).splitlines() if line.strip()), type(err).__name__)
