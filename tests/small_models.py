"""Ordinary transformers folders with random weights: small enough to build in a second, real enough to trust.

Tests reach them through the `model_folder` fixture; scripts import `build_model_folder`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    Gemma2Config,
    Gemma3TextConfig,
    GenerationConfig,
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
)

CONTEXT = 256
VOCABULARY = 320
SPECIALS = ("<|pad|>", "<|bos|>", "<|user|>", "<|assistant|>", "<|end|>")
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|user|>{{ m['content'] }}"
    "{% else %}<|assistant|>{{ m['content'] }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_LINES = [
    "How do I bake a loaf of bread? Mix flour, water, salt and yeast, then wait for an hour.",
    "What is the capital of France? The capital of France is Paris.",
    "Sum 12 and 30. The sum of 12 and 30 is 42. I cannot help with that request.",
]

_SHAPE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
}
_GROUPED = {**_SHAPE, "num_key_value_heads": 2, "head_dim": 8}
# A window of 16 tokens and one layer of each kind: sliding attention is exercised by short prompts too.
_SLIDING = {**_GROUPED, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]}
_GEMMA = {**_SLIDING, "query_pre_attn_scalar": 8, "tie_word_embeddings": True}
CONFIGS: dict[str, tuple[type[PreTrainedConfig], dict]] = {
    "llama": (LlamaConfig, _GROUPED),
    "qwen2": (Qwen2Config, {k: v for k, v in _GROUPED.items() if k != "head_dim"}),
    "qwen3": (Qwen3Config, _GROUPED),
    "gpt2": (GPT2Config, {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}),
    "gpt_neox": (GPTNeoXConfig, _SHAPE),
    "gemma2": (Gemma2Config, _GEMMA),
    "gemma3": (Gemma3TextConfig, _GEMMA),
}
ARCHITECTURES = tuple(CONFIGS)


def build_tokenizer(
    *,
    chat_template: str | None = CHAT_TEMPLATE,
    add_bos: bool = False,
    pad_token: str | None = "<|pad|>",
    lines: Iterable[str] = _LINES,
) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer of at most VOCABULARY tokens, trained on `lines`; `<|end|>` ends a turn."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(lines, trainer)
    if add_bos:
        backend.post_processor = processors.TemplateProcessing(
            single="<|bos|> $A", pair="<|bos|> $A $B", special_tokens=[("<|bos|>", SPECIALS.index("<|bos|>"))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|bos|>",
        eos_token="<|end|>",
        pad_token=pad_token,
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        model_max_length=CONTEXT,
    )
    tokenizer.chat_template = chat_template
    return tokenizer


def build_config(arch: str, kind: str, tokenizer: PreTrainedTokenizerFast, **overrides) -> PreTrainedConfig:
    """The architecture's config at small size; `overrides` replace any of its fields."""
    config_class, shape = CONFIGS[arch]
    fields = {
        **shape,
        # The vocabulary is padded past the tokenizer, as real checkpoints do.
        "vocab_size": VOCABULARY + 8,
        # The default 0.02 makes all logits nearly equal: tests would then not notice a wrong attention.
        "initializer_range": 0.15,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        **({"num_labels": 1} if kind == "reward" else {}),
        **overrides,
    }
    return config_class(**fields)


def build_model(config: PreTrainedConfig, kind: str, seed: int = 0) -> PreTrainedModel:
    """Random weights from `seed`, in float32, biases included; torch's global generator is left as it was."""
    auto = AutoModelForSequenceClassification if kind == "reward" else AutoModelForCausalLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = auto.from_config(config, dtype=torch.float32).eval()
        for name, weight in model.named_parameters():
            if weight.ndim == 1 or name.endswith("score.weight"):
                weight.data.add_(0.2 * torch.randn_like(weight))
    return model


def build_model_folder(
    folder: Path,
    arch: str = "llama",
    kind: str = "policy",
    *,
    seed: int = 0,
    max_new_tokens: int = 24,
    tokenizer: PreTrainedTokenizerFast | None = None,
    **overrides,
) -> Path:
    """Write an ordinary transformers folder (safetensors, tokenizer, generation config); returns it."""
    tokenizer = tokenizer or build_tokenizer()
    model = build_model(build_config(arch, kind, tokenizer, **overrides), kind, seed)
    model.generation_config = GenerationConfig(
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
        bos_token_id=model.config.bos_token_id,
        max_new_tokens=max_new_tokens,
    )
    model.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return Path(folder)


@torch.no_grad()
def full_logits(model: PreTrainedModel, ids: list[int]) -> torch.Tensor:
    """Logits (T, V) of one row by an ordinary forward pass on the model's device, handed back on the CPU."""
    return model(torch.tensor([list(ids)], device=model.device)).logits[0].cpu()
