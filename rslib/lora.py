"""LoRA: low-rank adapters, trained beside frozen weights and then merged into them (extra `peft`).

A layer W becomes W + (alpha / rank) B A, of which A and B alone are trained (Hu et al. 2021,
arXiv:2106.09685). B starts at 0, so the first loss is that of the policy itself.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from transformers import PreTrainedModel

from rslib.config import LORA_INSTALL, LoraSettings
from rslib.errors import ConfigError
from rslib.models import quiet
from rslib.progress import note


class Adapted:
    """A copy of a model with float32 adapters on its layers, all its own weights frozen in their dtype.

    `seed` draws the adapters. Raises ConfigError without peft, or when the layers are not there.
    """

    def __init__(self, model: PreTrainedModel, settings: LoraSettings, seed: int) -> None:
        try:
            from peft import LoraConfig
            from peft.tuners.lora import LoraModel
        except ImportError as err:
            raise ConfigError(
                f"peft cannot be imported ({err})", where="FinetuneConfig.lora", fix=LORA_INSTALL
            ) from err
        layers: Any = list(settings.layers) or "all-linear"
        asked = LoraConfig(r=settings.rank, lora_alpha=settings.alpha, target_modules=layers)
        self.model = copy.deepcopy(model).requires_grad_(False)
        with quiet(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                self._tuner = LoraModel(self.model, asked, "default")
            except ValueError as err:  # peft's sentence lists what is not there
                fix = "Name layers as model.named_modules() does, or leave `layers` out: all linear ones."
                raise ConfigError(
                    f"the layers cannot be adapted: {err}", where="LoraSettings.layers", fix=fix
                ) from err
        self.adapters = [weight for weight in self.model.parameters() if weight.requires_grad]
        for weight in self.adapters:
            weight.data = weight.data.float()

    def say(self, show: bool) -> None:
        """How much of the model is trained, as a line."""
        count, whole = (sum(w.numel() for w in some) for some in (self.adapters, self.model.parameters()))
        note(f"LoRA: {count:,} of {whole:,} weights are trained, the others are frozen", show)

    def merged(self) -> PreTrainedModel:
        """The model without adapters, their products added to its weights; `self` is used up."""
        with quiet():
            return self._tuner.merge_and_unload()
