"""The decoder within a model, and its head: hidden states, and logits only where they are needed."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rslib.errors import ModelError


def decoder_of(model: PreTrainedModel) -> PreTrainedModel:
    """The part of a model that turns tokens into hidden states; its text part if it also sees."""
    decoder = model.get_decoder()
    if decoder is model or not isinstance(decoder, PreTrainedModel):  # a head of that name, or none of these
        decoder = model.base_model if model.base_model is not model else model.model
    return decoder


def hidden_states(model: PreTrainedModel, input_ids: Tensor, **inputs: Any) -> Tensor:
    """The decoder's last hidden states (rows, tokens, width), below the head; `inputs` go to its forward."""
    return decoder_of(model)(input_ids=input_ids, **inputs).last_hidden_state


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


def alike(values: Tensor, wanted: Tensor) -> bool:
    """Whether logits or rewards are equal up to the rounding of their dtype; NaN and infinity are not."""
    relative = 1e-4 if wanted.dtype == torch.float32 else 2e-2
    bound = relative * max(1.0, float(wanted.abs().max()))
    return bool(torch.isfinite(values).all()) and float((values - wanted).abs().max()) <= bound
