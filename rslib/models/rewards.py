"""Reward models: what they read of a dialogue, and how one is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import AutoModelForSequenceClassification, PreTrainedModel, PreTrainedTokenizerBase

from rslib import messages
from rslib.config import DATE
from rslib.errors import ModelError
from rslib.messages import Prompt
from rslib.models import checks
from rslib.models.checks import BLIND, REWARD_MODELS
from rslib.models.loaded import Loaded, render, single_bos, tokenise
from rslib.models.loading import as_list, context_of, device_for, load_parts, locate, probe, real_ids


@dataclass(eq=False, kw_only=True)
class RewardModel(Loaded):
    """A decoder with one score per dialogue, read at its last token.

    `pad_id` never equals an end-of-sequence id, so transformers' own pooling finds the same last token.
    """

    def encode(self, prompt: Prompt, response: str) -> list[int]:
        """Token ids of a dialogue; see `encode_many`."""
        return self.encode_many([(prompt, response)])[0]

    def encode_many(self, pairs: Sequence[tuple[Prompt, str]]) -> list[list[int]]:
        """Token ids of each (prompt, response): the chat template over both turns, else the texts joined.

        A begin-of-sequence token that was added twice is kept once. Raises ModelError when the template fails
        or a token lies outside the model's vocabulary.
        """
        if self.tokenizer.chat_template is None:
            texts = [messages.plain(prompt, self.path) + response for prompt, response in pairs]
            return tokenise(self, texts, add_special_tokens=True)
        dialogues = [
            [*messages.turns(prompt), {"role": "assistant", "content": response}]
            for prompt, response in pairs
        ]
        return [single_bos(self.tokenizer, ids) for ids in tokenise(self, render(self, dialogues))]

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"prompt_blind": False}


class PromptBlindRewardModel(RewardModel):
    """A reward model that reads the response without its prompt: "tiny-blind", a defect of the clinic."""

    def encode_many(self, pairs: Sequence[tuple[str, str]]) -> list[list[int]]:
        """Token ids of each (prompt, response), the prompt replaced by ""."""
        return super().encode_many([("", response) for _, response in pairs])

    def _settings(self) -> dict[str, Any]:
        return super()._settings() | {"prompt_blind": True}


def rewards_from_hidden(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Rewards (...) of the hidden states (..., width) of each dialogue's last token."""
    return model.score(hidden)[..., 0]


def load_reward_model(
    name: str | Path, *, device: str | None = None, dtype: str | None = None, date: str = DATE
) -> RewardModel:
    """A reward model: a name of REWARD_MODELS ("tiny", "tiny-length", ...), a folder or a hub id.

    It must be a sequence classifier over a decoder with a `score` head and one label. Raises as `load_policy`
    does; a base language model in this place is a ModelError, because its head would be random.
    """
    folder = locate(name, REWARD_MODELS)
    checks.check_files(folder)
    chosen = device_for(folder, device, dtype)
    class_of = partial(checks.supported_class, AutoModelForSequenceClassification)
    model, tokenizer = load_parts(folder, class_of, checks.check_weights, chosen)
    if not hasattr(model, "score"):
        raise checks.unsupported(model.config, folder, reward=True)
    if model.config.num_labels != 1:
        what = f"the classifier has {model.config.num_labels} labels, a reward model has one"
        raise ModelError(what, where=str(folder), fix="Use a reward model with num_labels=1.")
    kind = PromptBlindRewardModel if str(name) == BLIND else RewardModel
    reward_model = kind(
        model=model,
        tokenizer=tokenizer,
        name=str(name),
        path=str(folder),
        device=chosen,
        date=date,
        context=context_of(model, tokenizer),
        pad_id=_distinct_pad(model, tokenizer, folder),
    )
    _probe_reward_model(reward_model)
    return reward_model


def _distinct_pad(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> int:
    """A pad id that no dialogue contains, written into config and tokenizer.

    transformers pools a reward at the last token that is not the pad id: pad = EOS would be one token early.
    """
    config = model.config.get_text_config()
    ends = {tokenizer.eos_token_id, tokenizer.bos_token_id, *as_list(config.eos_token_id)}
    used = set(tokenizer.get_vocab().values())
    size = model.get_input_embeddings().num_embeddings
    named = [tokenizer.pad_token_id, config.pad_token_id, tokenizer.unk_token_id]
    padded = [name for name in tokenizer.all_special_tokens if "pad" in name.lower()]
    candidates = [*named, *tokenizer.convert_tokens_to_ids(padded), *range(max(used, default=0) + 1, size)]
    for pad in real_ids(model, candidates):
        if pad not in ends:
            config.pad_token_id = model.config.pad_token_id = pad
            if pad in used:
                tokenizer.pad_token_id = pad
            return pad
    what = "the reward model has no pad token apart from its end of sequence"
    fix = "Add a pad token to its tokenizer and one row to its embeddings, then save both."
    raise ModelError(what, where=str(folder), fix=fix)


def _probe_reward_model(reward_model: RewardModel) -> None:
    ids = reward_model.encode("Hello.", "Hi.")
    probe(reward_model, ids, lambda hidden: rewards_from_hidden(reward_model.model, hidden[:, -1:]))
