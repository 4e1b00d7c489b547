"""Fine-tuning on selected responses: the plain next-token loss, on the response only, with an honest end.

The end-of-sequence token is learned only where the policy really produced it: a response that was cut
(finish_reason "length") is never taught as finished (flaws F24 and F25 of docs/glossary.md).
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch

from rslib.config import FinetuneConfig
from rslib.errors import DataError
from rslib.memo import recalled
from rslib.models import Policy
from rslib.store import key_of, versions
from rslib.tables import check_selected
from rslib.training import Optimiser, TokenRow, count_targets, fit, language_model_objective, plan

if TYPE_CHECKING:
    from datasets import Dataset


def finetune(
    policy: Policy,
    kept: Dataset,
    out: str | Path,
    *,
    config: FinetuneConfig | None = None,
    train_on_prompt: bool = False,
    drop_eos: bool = False,
    show_progress: bool = True,
    **overrides: float,
) -> Policy:
    """Fine-tune a copy of `policy` on the rows of `kept` and write it to the folder `out`.

    `kept` is a selected table (prompt, response, token_ids, finish_reason); `policy` is left as it is.
    `overrides` change single fields of `config`. `train_on_prompt` and `drop_eos` exist to show two
    flaws (F22, F24). Weights are trained and saved in float32; on a GPU the passes run in the policy's dtype.
    The same call with the same folder again finds its result there.
    Raises DataError for an empty table or a row that does not fit the context, ModelError when the loss
    stops being finite, StoreError when `out` cannot be written.
    """
    settings = Optimiser.of(_configured(config, overrides), policy.parameters)
    rows = training_rows(policy, kept, train_on_prompt=train_on_prompt, drop_eos=drop_eos)

    def tune() -> tuple[torch.nn.Module, dict]:
        model, losses = finetune_rows(policy, rows, settings, show_progress=show_progress)
        record = {"parent": policy.fingerprint(), "rows": len(rows), "targets": count_targets(rows)}
        return model, record | {"settings": dataclasses.asdict(settings), "losses": losses}

    facts = {"rows": [[row.first_target, row.ids] for row in rows], "settings": settings}
    return tuned_once("finetune", policy, facts, tune, Path(out))


def _configured(config: FinetuneConfig | None, overrides: dict[str, float]) -> FinetuneConfig:
    return dataclasses.replace(config or FinetuneConfig(), **overrides)


def training_rows(
    policy: Policy, kept: Dataset, *, train_on_prompt: bool = False, drop_eos: bool = False
) -> list[TokenRow]:
    """One TokenRow per kept row: the prompt is read, the response is learned.

    The sampled token ids are used where they still spell the response. Text from elsewhere (another
    tokenizer, an edited row, no token_ids) is tokenised anew, with an end token unless it was cut.
    """
    check_selected(kept)
    return [_training_row(policy, row, train_on_prompt, drop_eos) for row in kept]


def _training_row(policy: Policy, row: dict, train_on_prompt: bool, drop_eos: bool) -> TokenRow:
    prompt = policy.encode(row["prompt"])
    response = _response_ids(policy, row)
    if drop_eos and response and response[-1] in policy.eos_ids:
        response = response[:-1]
    found = TokenRow([*prompt, *response], first_target=1 if train_on_prompt else len(prompt))
    where = f"prompt_id {row.get('prompt_id')}, sample_id {row.get('sample_id')}"
    if not response:
        raise DataError("a selected response is empty", where=where, fix="Drop it before fine-tuning.")
    if len(found.ids) > policy.context:
        raise DataError(
            f"prompt and response have {len(found.ids)} tokens, the context holds {policy.context}",
            where=where,
            fix="Select shorter responses or use a model with a longer context.",
        )
    return found


def _response_ids(policy: Policy, row: dict) -> list[int]:
    sampled = row.get("token_ids")
    if sampled and policy.decode(sampled) == row["response"]:
        return list(sampled)
    ids = list(policy.tokenizer(row["response"], add_special_tokens=False)["input_ids"])
    return ids if row.get("finish_reason") == "length" else [*ids, *policy.eos_ids[:1]]


def finetune_rows(
    policy: Policy, rows: list[TokenRow], settings: Optimiser, *, show_progress: bool = True
) -> tuple[torch.nn.Module, list[float]]:
    """Train a float32 copy of the policy's model; returns it with every step's loss (nats per token)."""
    model = copy.deepcopy(policy.model).float()
    model.requires_grad_(True)
    losses = fit(
        model,
        plan([len(row.ids) for row in rows], settings),
        language_model_objective(model, rows, policy.pad_id),
        settings,
        compute_dtype=policy.device.dtype,
        show_progress=show_progress,
    )
    return model, losses


def tuned_once(
    kind: str, policy: Policy, facts: Any, tune: Callable[[], tuple[torch.nn.Module, dict]], out: Path
) -> Policy:
    """`policy` tuned into the folder `out`; `tune` is called only if no folder holds this call's result.

    kind, facts: of the call; with the policy, all that its result depends on. tune gives a trained float32
    copy of the policy's model and what training.json says. A result is looked for in `out`, where an earlier
    call that was the same may have left it, and where `rslib.memo` keeps results.
    """
    call = {"policy": policy.identity(), "facts": facts}
    key = key_of({"kind": kind, "call": call, "versions": versions()})
    done = _finished(policy, out, key)
    if done is not None:
        return done

    def decoded(content: bytes) -> tuple[torch.nn.Module, dict]:
        record, _, weights = content.partition(b"\n")
        return _with_weights(policy, weights), json.loads(record)

    model, record = recalled(kind, lambda: call, tune, _encoded, decoded)
    return save_tuned(policy, model, record | {"call": key}, out)


def _encoded(found: tuple[torch.nn.Module, dict]) -> bytes:
    """A line with the record, then the weights."""
    model, record = found
    weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    return json.dumps(record).encode() + b"\n" + safetensors.torch.save(weights)


def _with_weights(policy: Policy, weights: bytes) -> torch.nn.Module:
    """A float32 copy of the policy's model with these weights."""
    model = copy.deepcopy(policy.model).float()
    model.load_state_dict(safetensors.torch.load(weights), strict=False)  # tied weights are saved once
    return model


def _finished(policy: Policy, out: Path, key: str) -> Policy | None:
    """The tuned policy that the same call left in `out`; None if none did, or it was changed since."""
    try:
        record = json.loads((out / "training.json").read_text(encoding="utf-8"))
        if record.get("call") != key:
            return None
        model = _with_weights(policy, (out / "model.safetensors").read_bytes())
    except (OSError, ValueError, AttributeError, RuntimeError, safetensors.SafetensorError):
        return None
    tuned = dataclasses.replace(policy, model=model, name=str(out), path=str(out))
    return _ready(policy, tuned) if tuned.fingerprint() == record.get("weights") else None


def save_tuned(policy: Policy, model: torch.nn.Module, record: dict, out: Path) -> Policy:
    """Write the tuned model as a transformers folder with its training record; returns it as a Policy."""
    tuned = dataclasses.replace(policy, model=model, name=str(out), path=str(out))
    tuned.save(out, record=record | {"weights": tuned.fingerprint()})
    return _ready(policy, tuned)


def _ready(policy: Policy, tuned: Policy) -> Policy:
    """A tuned policy in the dtype of the one that it came from, without gradients."""
    tuned.model.to(policy.device.dtype)
    tuned.model.requires_grad_(False)
    return tuned
