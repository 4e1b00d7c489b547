"""LoRA: low-rank adapters, trained beside frozen weights and then merged into them (extra `peft`).

A layer W becomes W + (alpha / rank) B A, of which A and B alone are trained (Hu et al. 2021,
arXiv:2106.09685). B starts at 0, so the first loss is that of the policy itself.
"""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

import torch
from transformers import PreTrainedModel

from rslib.config import LORA_INSTALL, LoraSettings, require
from rslib.errors import BudgetError, ConfigError, is_out_of_memory
from rslib.models import quiet
from rslib.progress import note


class Adapted:
    """A copy of a model with float32 adapters on its layers, all its own weights frozen in their dtype.

    `seed` draws the adapters. Raises ConfigError without peft, for layers that are not there or whose weight
    is another layer's too, BudgetError when memory runs out.
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
            except (RuntimeError, MemoryError) as err:
                if not is_out_of_memory(err):
                    raise
                what = f"adapters of rank {settings.rank} do not fit into memory"
                fix = "Use a smaller rank: 8 to 64 are usual."
                raise BudgetError(what, where="LoraSettings.rank", fix=fix) from err
        self._refuse_shared_weights()
        self.adapters = [weight for weight in self.model.parameters() if weight.requires_grad]
        for weight in self.adapters:
            weight.data = weight.data.float()

    def _refuse_shared_weights(self) -> None:
        """Merged into a tied weight, an adapter of the one layer would act in the other, untrained."""
        named = list(self.model.named_parameters(remove_duplicate=False))
        owners = Counter(id(weight) for _, weight in named)
        shared = [name for name, weight in named if owners[id(weight)] > 1 and ".base_layer." in name]
        require(
            not shared,
            f"{shared[0].replace('.base_layer', '') if shared else ''} is the weight of another layer too",
            "LoraSettings.layers",
            "Name layers whose weights are theirs alone: tied embeddings and heads are not.",
        )

    def say(self, show: bool) -> None:
        """How much of the model is trained, as a line."""
        count, whole = (sum(w.numel() for w in some) for some in (self.adapters, self.model.parameters()))
        note(f"LoRA: {count:,} of {whole:,} weights are trained, the others are frozen", show)

    def merged(self) -> PreTrainedModel:
        """The model without adapters, their products added to its weights; `self` is used up."""
        with quiet():
            return self._tuner.merge_and_unload()
