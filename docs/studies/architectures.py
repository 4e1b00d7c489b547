"""Which classes of policies and of reward models run as transformers runs them: `make architectures`.

A small folder with random weights is built of every class of AutoModelForCausalLM that its config can make
small, and loaded as any user's folder is. What loads must be exact: greedy tokens equal `generate`, stored
log-probabilities equal the model's own forward pass, and so does the loss of fine-tuning. What does not load
must be refused when it is loaded, by an error that says why. The same of every class of
AutoModelForSequenceClassification: its rewards must be those of its own forward pass (tests/small_heads.py).
Writes docs/results/architectures.json and docs/architectures.md.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import CONFIG_MAPPING, GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CLASSES

import rslib
from docs.studies.results import DOCS, write
from rslib.cache import atomic_write
from rslib.errors import RSError
from rslib.finetuning import TokenRow, language_model_objective
from rslib.models import Policy, load_policy, quiet
from rslib.models.loaded import first_line
from rslib.progress import Progress
from tests import small_heads
from tests.small_models import build_tokenizer

PAGE = DOCS / "architectures.md"
TOLERANCE = 1e-4
"""Nats by which a log-probability and a mean loss may differ from the model's own, in float32."""
_PROMPTS = ("Hi", "What is the capital of France?", "How do I bake bread, and how long must I wait for it?")
_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_NEW_TOKENS = 20
_LARGEST = 8_000_000  # parameters of a small model

# Every size that a config may name -------------------------------------------------------------------

_SIZES = {
    4: "num_attention_heads n_head n_heads num_heads decoder_attention_heads encoder_attention_heads "
    "num_experts num_local_experts n_routed_experts moe_num_experts mamba_n_heads",
    2: "num_hidden_layers n_layer n_layers num_layers decoder_layers encoder_layers num_key_value_heads "
    "num_experts_per_tok moe_k",
    32: "hidden_size d_model n_embd embed_dim word_embed_proj_dim hidden_dim emb_dim embedding_size",
    64: "intermediate_size decoder_ffn_dim encoder_ffn_dim ffn_dim ffn_hidden_size dim_ff n_inner dff d_ff "
    "intermediate_size_mlp moe_intermediate_size shared_expert_intermediate_size",
    8: "head_dim dim_head qk_rope_head_dim qk_nope_head_dim v_head_dim mamba_d_state state_size",
    16: "sliding_window qk_head_dim q_lora_rank kv_lora_rank mamba_d_head",
    1: "n_group topk_group n_shared_experts first_k_dense_replace mamba_n_groups mm_tokens_per_image "
    "bos_token_id",
    14: "patch_size",
    28: "image_size",
    256: "max_position_embeddings n_positions",
    320: "vocab_size vocab_size_per_layer_input",
    0: "pad_token_id",
}
SMALL = {name: value for value, names in _SIZES.items() for name in names.split()} | {"eos_token_id": 4}
"""A value for every size, at its smallest; windows are shorter than the longest row."""
_LATENT = {"num_key_value_heads": 4}  # of latent attention, which gives each head keys of its own
_MORE: dict[str, dict[str, Any]] = {
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "mamba2": {"num_heads": 8, "head_dim": 8, "expand": 2, "n_groups": 1},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 16},
    "roc_bert": {"pronunciation_vocab_size": 20, "shape_vocab_size": 20},
    "reformer": {"is_decoder": True},
    "moshi": {"sliding_window": 256},  # its context: behind a window its forward and its generate differ
    "zaya": {"num_experts_per_tok": 1},
    "falcon_h1": {"mamba_d_ssm": 64},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"]},
}
"""What single classes need beside."""


def small_config(kind: type[PreTrainedConfig], **more: Any) -> PreTrainedConfig:
    """A config of this kind with all its sizes small, its parts' too, and every kind of layer that it names.

    Raises whatever the class raises for sizes that do not fit it.
    """
    names, default = set(inspect.signature(kind).parameters), kind()
    fields = {name: value for name, value in SMALL.items() if name in names}
    if "qk_rope_head_dim" in names:
        fields |= {name: value for name, value in _LATENT.items() if name in names}
    if layers := _layers_with_all_kinds(default):
        fields["num_hidden_layers"] = layers
    for name in sorted(names.intersection(getattr(kind, "sub_configs", None) or ())):
        if (part := getattr(default, name)) is not None:
            fields[name] = small_config(type(part)).to_dict()
    return kind(**fields | _MORE.get(kind.model_type, {}) | more)


def _layers_with_all_kinds(config: PreTrainedConfig) -> int:
    """How many layers of the config as it comes hold every kind of layer that it has; 0: it names none."""
    types = getattr(config, "layer_types", None) or []
    return max([2, *(types.index(each) + 1 for each in set(types))]) if types else 0


def save_small(folder: Path, kind: type[PreTrainedModel], config: PreTrainedConfig, seed: int = 0) -> Path:
    """Write a folder with random weights, which are large enough that a wrong attention shows; returns it.

    Raises ValueError for a model that is not small, and whatever the class raises.
    """
    if not isinstance(config, kind.config_class):  # of a model that sees, whose text part this is
        config = config.get_text_config()
    with torch.device("meta"):
        parameters = sum(weight.numel() for weight in kind(config).parameters())
    if parameters > _LARGEST:
        raise ValueError(f"{parameters:,} parameters at the smallest sizes that its config names")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = kind(config)
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.data.normal_(0, 2 / weight.shape[-1] ** 0.5)
            elif weight.is_floating_point():
                weight.data.add_(0.05 * torch.randn_like(weight))
    if model.can_generate():
        ends = {name: SMALL[f"{name}_token_id"] for name in ("eos", "pad", "bos")}
        model.generation_config = GenerationConfig(
            **{f"{name}_token_id": token for name, token in ends.items()}
        )
    with quiet():
        model.save_pretrained(folder)
        lines = [text for text in _PROMPTS for _ in range(5)]
        build_tokenizer(chat_template=_TEMPLATE, lines=lines).save_pretrained(folder)
    return folder


# One class -------------------------------------------------------------------------------------------


def trial(model_type: str, folder: Path) -> dict[str, Any]:
    """What comes of the class of `model_type`: `result` is exact, differs, refused, error, or not built."""
    row = {"class": CLASSES[model_type], "model_type": model_type}
    try:
        kind = getattr(transformers, row["class"])
        save_small(folder, kind, small_config(CONFIG_MAPPING[model_type]))
    except Exception as err:  # a class that is not made for these sizes may fail in any way
        return row | {"result": "not built", "why": first_line(err)[:160]}
    try:
        measured = compare(load_policy(folder, device="cpu"))
    except RSError as err:
        return row | {"result": "refused", "why": err.what}
    except Exception as err:  # this is what must not happen
        return row | {"result": "error", "why": f"{type(err).__name__}: {first_line(err)[:160]}"}
    same = measured["tokens"] == 1 and max(measured["logprob"], measured["loss"]) <= TOLERANCE
    return row | {"result": "exact" if same else "differs"} | measured


def compare(policy: Policy) -> dict[str, float]:
    """`tokens`: share of greedy responses that equal `generate`; `logprob`, `loss`: largest differences."""
    options = {"max_new_tokens": _NEW_TOKENS, "show_progress": False}
    greedy = rslib.sample(policy, _PROMPTS, n=1, temperature=0.0, **options)
    drawn = rslib.sample(policy, _PROMPTS, n=3, **options)
    same = [row["token_ids"] == generated(policy, policy.encode(row["prompt"])) for row in greedy]
    wanted = [_own_logprobs(policy, policy.encode(row["prompt"]), row["token_ids"]) for row in drawn]
    stored = [torch.tensor(logprobs) for logprobs in drawn["token_logprobs"][:]]
    own = [
        TokenRow([*policy.encode(row["prompt"]), *row["token_ids"]], len(policy.encode(row["prompt"])))
        for row in drawn
    ]
    objective = language_model_objective(policy.model, own, policy.pad_id)
    everything = range(len(own))
    with torch.no_grad():
        loss = float(objective.loss_sum(everything)) / objective.weight(everything)
    return {
        "tokens": sum(same) / len(same),
        "logprob": _rounded(max(float((a - b).abs().max()) for a, b in zip(stored, wanted, strict=True))),
        "loss": _rounded(abs(loss + float(torch.cat(wanted).mean()))),
    }


def generated(policy: Policy, prompt: list[int], new: int = _NEW_TOKENS) -> list[int]:
    """What transformers' own `generate` continues with, greedily, at most `new` tokens."""
    ids = torch.tensor([prompt], device=policy.model.device)
    out = policy.model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=new,
        eos_token_id=list(policy.eos_ids),
        pad_token_id=policy.pad_id,
    )
    return out[0, len(prompt) :].tolist()


@torch.no_grad()
def _own_logprobs(policy: Policy, prompt: list[int], tokens: list[int]) -> torch.Tensor:
    """Log-probabilities of the tokens by the model's own forward pass over this row alone."""
    logits = policy.model(input_ids=torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
    return -cross_entropy(logits.float(), torch.tensor(tokens), reduction="none")


def _rounded(value: float) -> float:
    return float(f"{value:.0e}")


_HEAD = """# Which architectures run

Written by `make architectures`: a folder with random weights of every class of AutoModelForCausalLM and
AutoModelForSequenceClassification, as small as its config allows, was loaded and used under transformers
{transformers}.

- **exact**: every greedy response equals that of `generate` (tokens: the share that does), and the stored
  log-probabilities and the loss of fine-tuning lie within {tolerance:g} nats of the model's own forward pass
  (logprob, loss: the largest difference seen); every reward, with a chat template and without, equals that of
  the class's own forward pass over the dialogue alone, to the same {tolerance:g} (reward).
- **refused**: by an error when it is loaded, whose first line is given.
- **not built**: its config cannot be made small in this way, so nothing is known.

A checkpoint may have settings that its class does not have by itself: each is tried when it is loaded.
"""


# All of them -----------------------------------------------------------------------------------------


def trials(model_types: Iterable[str], show: bool = False) -> list[dict[str, Any]]:
    """A row for each, in the order of the names of their classes."""
    names = sorted(model_types, key=lambda name: (CLASSES[name].lower(), name))
    rows = []
    with Progress(len(names), "architectures", unit="classes", show=show) as progress:
        for name in names:
            with tempfile.TemporaryDirectory() as folder:
                rows.append(trial(name, Path(folder) / "model"))
            progress.advance()
    return rows


def page(content: Mapping[str, Any]) -> str:
    """docs/architectures.md."""
    parts = [
        _section("Policies", content["policies"], "tokens logprob loss".split()),
        _section("Reward models", content["rewards"], ["reward"]),
    ]
    return "\n".join([_HEAD.format(**content, tolerance=TOLERANCE), *parts])


def _section(title: str, rows: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> str:
    counts = Counter(row["result"] for row in rows)
    total = ", ".join(f"{count} {result}" for result, count in counts.most_common())
    lines = [f"## {title}: {total}", "", f"| class | model_type | result | {' | '.join(measures)} |"]
    lines.append("|---|---|---|" + "---:|" * len(measures))
    for row in (row for row in rows if row["result"] in ("exact", "differs")):
        cells = [f"{row[name]:g}" if name in row else "" for name in measures]
        lines.append(f"| {row['class']} | {row['model_type']} | {row['result']} | {' | '.join(cells)} |")
    lines += ["", "| class | model_type | result | why |", "|---|---|---|---|"]
    for row in (row for row in rows if row["result"] not in ("exact", "differs")):
        why = row["why"].replace("|", "\\|")
        lines.append(f"| {row['class']} | {row['model_type']} | {row['result']} | {why} |")
    return "\n".join([*lines, ""])


def main(names: Sequence[str]) -> None:
    """Try these model types, or all of them and write what came of it."""
    rows = trials(names or CLASSES, show=True)
    if names:
        for row in rows:
            print(row)
        return
    content = {"policies": rows, "rewards": small_heads.of_all(), "transformers": transformers.__version__}
    write("architectures", content)
    atomic_write(PAGE, page(content))
    print(page(content))


if __name__ == "__main__":
    main(sys.argv[1:])
