"""Every head of transformers that scores a text, built small with random weights: exact, or refused and why.

`make architectures` writes the table. Exact: `rslib.score` gives what the class's own forward pass gives for
each dialogue alone, with a chat template and without. The model types are those of
AutoModelForSequenceClassification.
"""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from datasets import Dataset
from tokenizers import processors
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from rslib.errors import RSError
from rslib.models import load_reward_model, quiet
from rslib.scoring import score
from tests.small_models import VOCABULARY, build_tokenizer

MODEL_TYPES = tuple(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES)
TEXTS = (
    ("Hi", "One."),
    ("Hi", ""),
    ("Hi", "Mix flour, water, salt and yeast, then wait."),
    ("Sum 12 and 30.", "42 is the answer.<|end|>"),
    ("Sum 12 and 30.", "42!"),
)
"""Prompts and responses that are scored; one response holds the token that ends a turn."""
EXACT = 1e-4
_LARGEST = 30_000_000  # parameters of a model that is still built
_WIDTHS = dict.fromkeys(
    "hidden_size d_model n_embd dim emb_dim embedding_size word_embed_proj_dim true_hidden_size "
    "intra_bottleneck_size word_embedding_size d_latents".split(),
    32,
)
_INNER = dict.fromkeys(
    "intermediate_size d_ff encoder_ffn_dim decoder_ffn_dim hidden_dim n_inner dff ffn_dim d_inner "
    "ffn_hidden_size".split(),
    48,
)
_DEPTHS = dict.fromkeys(
    "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_encoder_layers "
    "num_decoder_layers".split(),
    2,
)
_HEADS = dict.fromkeys(
    "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads "
    "num_self_attention_heads num_cross_attention_heads".split(),
    4,
)
_HEAD = dict.fromkeys("head_dim d_kv kv_channels attention_head_size v_head_dim".split(), 8)
_LENGTHS = dict.fromkeys("max_position_embeddings n_positions n_ctx max_seq_len".split(), 256)
_EXPERTS = {
    "num_experts": 2,
    "num_local_experts": 2,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
}
_LATENT = {"q_lora_rank": 8, "kv_lora_rank": 8, "qk_nope_head_dim": 4, "qk_rope_head_dim": 4}
_OTHER = {
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY + 8,
    "type_vocab_size": 2,
    "initializer_range": 0.15,  # the default makes all rewards nearly equal: an error would not be seen
    "init_std": 0.15,
    "attention_window": 16,
    "num_latents": 8,
    "num_blocks": 1,
    "num_self_attends_per_block": 1,
    "block_sizes": [1, 1],
    "axial_pos_shape": [16, 16],
    "axial_pos_embds_dim": [16, 16],
    "image_size": 28,
    "entity_emb_size": 16,
    "entity_vocab_size": 20,
}
_SIZES = _WIDTHS | _INNER | _DEPTHS | _HEADS | _HEAD | _LENGTHS | _EXPERTS | _LATENT | _OTHER
_ALWAYS = {"num_labels": 1, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 4}
_TEXT = {name: value for name, value in _SIZES.items() if name in inspect.signature(
    transformers.LlamaConfig).parameters} | {"pad_token_id": 0}  # fmt: skip
_VISION = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 28,
    "patch_size": 14,
}
_LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 4,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_WHOLE_ATTENTION = {"attention_type": "original_full"}
_ROPE = {"rope_type": "default", "rope_theta": 1e4}
SPECIAL: dict[str, dict[str, Any]] = {
    "big_bird": _WHOLE_ATTENTION,
    "bigbird_pegasus": _WHOLE_ATTENTION,
    "cohere_compass_text": {"rope_parameters": dict.fromkeys(("full_attention", "sliding_attention"), _ROPE)},
    "esmc": {"num_key_value_heads": 4},
    "gemma3": {"text_config": _TEXT, "vision_config": _VISION, "mm_tokens_per_image": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 8},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_d_state": 4},
    "layoutlmv3": {"coordinate_size": 5, "shape_size": 6},
    "lilt": {"hidden_size": 48},
    "modernvbert": {"text_config": _TEXT, "vision_config": _VISION},
    "qwen3_5": {
        "text_config": _TEXT | _LINEAR,
        "vision_config": {"hidden_size": 32, "intermediate_size": 48, "depth": 1, "num_heads": 2}
        | {"out_hidden_size": 32},
    },
    "qwen3_5_text": _LINEAR,
    "qwen3_next": _LINEAR,
    "t5": {"decoder_start_token_id": 0},
    "t5gemma": {"encoder": _TEXT, "decoder": _TEXT},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"]},
}
"""What a model type needs beside the sizes."""


def small_config(model_type: str, **settings: Any) -> PreTrainedConfig:
    """The type's config at small size; `settings` replace any of its fields."""
    kind = transformers.CONFIG_MAPPING[model_type]
    names = set(inspect.signature(kind.__init__).parameters)
    for base in kind.__mro__:
        names |= set(getattr(base, "__annotations__", {}))
    sizes = {name: value for name, value in _SIZES.items() if name in names}
    return kind(**sizes | _ALWAYS | SPECIAL.get(model_type, {}) | settings)


def small_reward_model(model_type: str, folder: Path, tokenizer: Any, **settings: Any) -> Path:
    """A folder with a small classifier of random weights. Raises MemoryError when it is not small."""
    config = small_config(model_type, **settings)
    with torch.device("meta"):
        size = sum(w.numel() for w in AutoModelForSequenceClassification.from_config(config).parameters())
    if size > _LARGEST:
        raise MemoryError(f"{size:,} parameters")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
        for weight in model.parameters():
            if weight.ndim == 1:
                weight.data.add_(0.2 * torch.randn_like(weight))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def pair_tokenizer() -> Any:
    """A tokenizer without a chat template that encodes two texts as a pair, as those of encoders do."""
    tokenizer = build_tokenizer(chat_template=None)
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<|bos|> $A <|end|>",
        pair="<|bos|> $A <|end|> $B:1 <|end|>:1",
        special_tokens=[("<|bos|>", 1), ("<|end|>", 4)],
    )
    tokenizer.init_kwargs["model_input_names"] = tokenizer.model_input_names = [
        "input_ids",
        "token_type_ids",
        "attention_mask",
    ]
    return tokenizer


def responses() -> Dataset:
    """TEXTS as a table of responses."""
    return Dataset.from_list(
        [
            {"prompt_id": prompt, "prompt": prompt, "sample_id": number, "response": response}
            for number, (prompt, response) in enumerate(TEXTS)
        ]
    )


def own_rewards(folder: Path, *, pair: bool) -> np.ndarray:
    """What transformers' own class and tokenizer give for each of TEXTS alone, by no code of the engine."""
    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        rewards = [_own_reward(model, tokenizer, *texts, pair=pair) for texts in TEXTS]
    return np.array(rewards)


def _own_reward(model: PreTrainedModel, tokenizer: Any, prompt: str, response: str, *, pair: bool) -> float:
    options = {"return_tensors": "pt"}
    if tokenizer.chat_template:
        turns = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        inputs = tokenizer.apply_chat_template(turns, return_dict=True, **options)
    else:
        inputs = (
            tokenizer([prompt], [response], **options) if pair else tokenizer(prompt + response, **options)
        )
    if not pair:
        inputs.pop("token_type_ids", None)
    with torch.no_grad():
        return float(model(**inputs).logits[0, 0])


def verdict(model_type: str, folder: Path, tokenizer: Any) -> dict[str, Any]:
    """What becomes of a small reward model: `result` is exact, wrong, refused or not built."""
    row = {"class": MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES[model_type], "model_type": model_type}
    try:
        with quiet():
            small_reward_model(model_type, folder, tokenizer)
    except Exception as err:  # a config or a class of transformers can fail in any way
        return row | {"result": "not built", "why": " ".join(str(err).split())[:160]}
    try:
        reward_model = load_reward_model(folder, device="cpu")
        rewards = score(reward_model, responses(), show_progress=False)["reward"][:]
    except RSError as err:
        return row | {"result": "refused", "why": err.what}
    difference = float(np.abs(np.array(rewards) - own_rewards(folder, pair=reward_model.paired)).max())
    return row | {"result": "exact" if difference <= EXACT else "wrong", "reward": float(f"{difference:.0e}")}


def of_all(model_types: Sequence[str] = MODEL_TYPES) -> list[dict[str, Any]]:
    """The row of each type, without a chat template; of a type that is exact then with one."""
    rows = []
    with tempfile.TemporaryDirectory() as root:
        for model_type in model_types:
            row = verdict(model_type, Path(root) / model_type, pair_tokenizer())
            if row["result"] == "exact":
                chat = verdict(model_type, Path(root) / f"{model_type}-chat", build_tokenizer())
                row = chat | {"reward": max(row["reward"], chat.get("reward", 0.0))}
            rows.append(row)
    return sorted(rows, key=lambda row: (row["class"].lower(), row["model_type"]))
