"""Fine-tuning on selected responses: the plain next-token loss, on the response only, with an honest end.

The end-of-sequence token is learned only where the policy really produced it: a response that was cut
(finish_reason "length") is never taught as finished (flaws F24 and F25 of docs/glossary.md). The steps
themselves are those of `optimization`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch

from rslib.cache import key_of, recalled, versions
from rslib.config import FinetuneConfig, with_settings
from rslib.errors import ConfigError, DataError, ModelError, RSError
from rslib.models import Policy, hidden_states, load_policy, logits_from_hidden
from rslib.optimization import Adapted, Objective, Optimizer, fit
from rslib.tables import check_selected, rows_of

if TYPE_CHECKING:
    from datasets import Dataset

_CHECKED = 8  # rows of which it is checked that the policy drew them

# Rows: what is read and what is learned -----------------------------------------------------------


@dataclass(frozen=True)
class TokenRow:
    """One token sequence; tokens from position `first_target` on are learned, the ones before only read."""

    ids: Sequence[int]
    first_target: int


def training_rows(policy: Policy, kept: Dataset) -> list[TokenRow]:
    """One TokenRow per kept row: the prompt is read, the response is learned.

    The sampled token ids are used where they still spell the response. Text from elsewhere (another
    tokenizer, an edited row, no token_ids) is tokenised anew, with an end token unless it was cut.
    Raises DataError for an empty table, an empty response, or a row that does not fit the context.
    """
    check_selected(kept)
    name = rows_of(kept).row_name
    return [
        _training_row(policy, row, f"{name(number)} of the selected rows") for number, row in enumerate(kept)
    ]


def _training_row(policy: Policy, row: dict, where: str) -> TokenRow:
    try:
        prompt, response = policy.encode(row["prompt"]), _response_ids(policy, row)
    except ModelError as err:
        raise ModelError(err.what, where=f"{err.where}, {where}", fix=err.fix) from err
    ids = [*prompt, *response]
    if not response:
        raise DataError("a selected response is empty", where=where, fix="Drop it before fine-tuning.")
    if len(ids) > policy.context:
        raise DataError(
            f"prompt and response have {len(ids)} tokens, the context holds {policy.context}",
            where=where,
            fix="Select shorter responses or use a model with a longer context.",
        )
    return TokenRow(ids, first_target=len(prompt))


def spelt_by(policy: Policy, responses: Dataset) -> list[dict] | None:
    """Rows, of _CHECKED with tokens, whose text the policy's tokens spell; None where none has tokens."""
    if "token_ids" not in responses.column_names or not len(responses):
        return None
    step = -(-len(responses) // _CHECKED)
    rows = [row for row in responses.select(range(0, len(responses), step)) if row["token_ids"]]
    return [row for row in rows if policy.decode(row["token_ids"]) == row["response"]] if rows else None


def _check_drawn_by(policy: Policy, kept: Dataset) -> None:
    """Raise ConfigError where tokens or their log-probabilities are another policy's, in _CHECKED rows."""
    rows = spelt_by(policy, kept)
    if rows is None or "token_logprobs" not in kept.column_names:
        return  # text from elsewhere
    off = max(map(policy.logprob_difference, rows), default=math.inf)
    if off <= policy.tolerance:
        return
    why = (
        f"their log-probabilities are off by {off:.2g} nats a token"
        if rows
        else "their tokens spell other texts"
    )
    fix = (
        "Tune the policy that drew them, in the same dtype; or say allow_other_policy=True if this is meant."
    )
    raise ConfigError(f"the rows are by another policy: {why}", where=f"finetune, {policy.path}", fix=fix)


def _response_ids(policy: Policy, row: dict) -> list[int]:
    sampled = row.get("token_ids")
    if sampled and policy.decode(sampled) == row["response"]:
        return list(sampled)
    return policy.encode_response(row["response"], ended=row.get("finish_reason") != "length")


# The loss: masks and log-likelihood ---------------------------------------------------------------


def pad_right(rows: Sequence[Sequence[int]], pad_id: int, device: str) -> torch.Tensor:
    """Token ids (B, T). Under a causal mask no real token sees padding on its right, so no mask is needed."""
    ids = [torch.tensor(row, dtype=torch.int64) for row in rows]
    return torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=pad_id).to(device)


def target_mask(rows: Sequence[TokenRow], width: int) -> torch.Tensor:
    """(B, T - 1) booleans: position t is True where the model at t must predict a learned token t + 1."""
    position = torch.arange(1, width)
    first = torch.tensor([max(1, row.first_target) for row in rows])[:, None]
    length = torch.tensor([len(row.ids) for row in rows])[:, None]
    return (position >= first) & (position < length)


def next_token_nll(model: torch.nn.Module, rows: Sequence[TokenRow], pad_id: int) -> torch.Tensor:
    """Negative log-likelihood in nats of every learned token, shape (targets,).

    Logits are computed only where there is a target, which is what saves memory on large vocabularies.
    """
    ids = pad_right([row.ids for row in rows], pad_id, str(model.device))
    mask = target_mask(rows, ids.shape[1]).to(ids.device)
    hidden = hidden_states(model, ids, use_cache=False)[:, :-1][mask]
    logits = logits_from_hidden(model, hidden).float()
    return torch.nn.functional.cross_entropy(logits, ids[:, 1:][mask], reduction="none")


def _count_targets(rows: Sequence[TokenRow]) -> int:
    """Learned tokens of a batch.

    >>> _count_targets([TokenRow([5, 6, 7], first_target=1), TokenRow([5, 6], first_target=0)])
    3
    """
    return sum(max(0, len(row.ids) - max(1, row.first_target)) for row in rows)


def language_model_objective(model: torch.nn.Module, rows: Sequence[TokenRow], pad_id: int) -> Objective:
    """Mean negative log-likelihood of the learned tokens (nats per token)."""
    return Objective(
        loss_sum=lambda batch: next_token_nll(model, [rows[i] for i in batch], pad_id).sum(),
        weight=lambda batch: max(1, _count_targets([rows[i] for i in batch])),
    )


# The stage ----------------------------------------------------------------------------------------


def finetune(
    policy: Policy,
    kept: Dataset,
    out: str | Path,
    *,
    config: FinetuneConfig | None = None,
    allow_other_policy: bool = False,
    show_progress: bool = True,
    **settings: Any,
) -> Policy:
    """A copy of `policy`, fine-tuned on the rows of `kept` and written to the folder `out`.

    `kept` is a selected table (prompt, response, token_ids, finish_reason); `policy` is left as it is.
    `settings` change single fields of `config`.
    Weights are stepped on in float32, on a GPU the passes run in the policy's dtype, and the folder has the
    dtype of the policy's own: that is rounded to once, at the end. With `lora=16`, or LoraSettings, adapters
    are trained in place of the weights and merged into them: the folder is a plain one.
    The same call with the same folder again finds its result there.
    Raises DataError for an empty table or a row that does not fit the context, ModelError when the loss
    stops being finite, StoreError when `out` cannot be written, ConfigError for bad settings and, unless
    allow_other_policy, for rows that another policy has drawn: their log-probabilities are not this one's.
    """
    rows = training_rows(policy, kept)
    if not allow_other_policy:
        _check_drawn_by(policy, kept)
    config = with_settings(config or FinetuneConfig(), settings, where="finetune")
    return finetune_rows(policy, rows, out, config=config, show_progress=show_progress)


def finetune_rows(
    policy: Policy,
    rows: Sequence[TokenRow],
    out: str | Path,
    *,
    config: FinetuneConfig | None = None,
    show_progress: bool = True,
    train: Callable[..., tuple[torch.nn.Module, list[float]]] | None = None,
    workers: int = 1,
) -> Policy:
    """As `finetune`, on rows of token ids that say themselves which of them are learned.

    train: does what `trained` does, perhaps elsewhere, on as many workers (see `rslib.cluster`).
    """
    if Path(out).resolve() == Path(policy.path).resolve():
        fix = "Name another folder: the policy that is tuned stays as it is."
        raise ConfigError(
            "the tuned policy would overwrite the one that it starts from", where=str(out), fix=fix
        )
    config = (config or FinetuneConfig()).for_model(policy.parameters)

    def tune() -> tuple[torch.nn.Module, dict]:
        model, losses = (train or trained)(policy, rows, config, show_progress=show_progress)
        record = {"parent": policy.fingerprint(), "rows": len(rows), "targets": _count_targets(rows)}
        return model, record | {"settings": dataclasses.asdict(config), "losses": losses}

    facts = {"rows": [[row.first_target, row.ids] for row in rows], "settings": config, "workers": workers}
    return tuned_once("finetune", policy, facts, tune, Path(out))


def trained(
    policy: Policy,
    rows: Sequence[TokenRow],
    config: FinetuneConfig,
    *,
    show_progress: bool,
    kind: type[Optimizer] = Optimizer,
) -> tuple[torch.nn.Module, list[float]]:
    """A copy of the policy's model, trained on the rows, and the loss before every step.

    It is in float32; with LoRA it is in the policy's dtype, and the adapters are merged.
    """
    adapted = Adapted(policy.model, config.lora, config.seed) if config.lora else None
    if adapted:
        adapted.say(show_progress)
    model = adapted.model if adapted else trainable_copy(policy)
    objective = language_model_objective(model, rows, policy.pad_id)
    options = {"compute_dtype": policy.device.dtype, "show_progress": show_progress, "kind": kind}
    losses = fit(model, objective, [len(row.ids) for row in rows], config, **options)
    return adapted.merged() if adapted else model, losses


def trainable_copy(policy: Policy) -> torch.nn.Module:
    """A float32 copy of the policy's model whose weights take gradients."""
    return copy.deepcopy(policy.model).float().requires_grad_(True)


# A tuned folder: the same call finds its result ---------------------------------------------------


def tuned_once(
    kind: str,
    policy: Policy,
    facts: Any,
    tune: Callable[[], tuple[torch.nn.Module, dict]],
    out: Path,
) -> Policy:
    """`policy` tuned into the folder `out`; `tune` is called only if no folder holds this call's result.

    kind, facts: of the call; with the policy, all that its result depends on. facts None: the same call may
    give another result, so it is made each time. tune gives a trained copy of the policy's model and what
    training.json says. A result is looked for in `out`, where an earlier call that was the same may have left
    it, and where `rslib.cache` keeps results. It is saved in the dtype that the policy is stored in.
    """
    if facts is None:
        model, record = tune()
    else:
        call = {"policy": policy.identity(), "facts": facts}
        key = key_of({"kind": kind, "call": call, "versions": versions()})
        if (tuned := _left_in(out, key, policy)) is not None:
            return _ready(tuned, policy)
        model, record = recalled(kind, lambda: call, tune, _encoded, partial(_decoded, policy))
        record = record | {"call": key}
    tuned = _tuned(policy, model, out)
    # What transformers keeps in float32 whatever the dtype.
    exact = [*(model._keep_in_fp32_modules or []), *(model._keep_in_fp32_modules_strict or [])]
    _cast(model, lambda name: torch.float32 if any(part in name for part in exact) else _stored(policy))
    tuned.save(out, record=record | {"weights": tuned.fingerprint()})
    return _ready(tuned, policy)


def _stored(policy: Policy) -> torch.dtype:
    return policy.device.stored or policy.device.dtype


def _ready(tuned: Policy, policy: Policy) -> Policy:
    """The tuned policy as it is used: each weight in the dtype that the policy's has, without gradients."""
    dtypes = {name: value.dtype for name, value in policy.model.state_dict().items()}
    _cast(tuned.model.requires_grad_(False), dtypes.__getitem__)
    return tuned


def _cast(model: torch.nn.Module, dtype_of: Callable[[str], torch.dtype]) -> None:
    """Give what a checkpoint holds another dtype; rotary frequencies, which it does not hold, stay exact."""
    for name, value in model.state_dict(keep_vars=True).items():
        if value.is_floating_point():
            value.data = value.data.to(dtype_of(name))


def _left_in(out: Path, key: str, policy: Policy) -> Policy | None:
    """The tuned policy that the same call left in `out`; None if none did, or it was changed since."""
    try:
        record = json.loads((out / "training.json").read_text(encoding="utf-8"))
        if record.get("call") != key:
            return None
        dtype = str(_stored(policy)).removeprefix("torch.")
        model = load_policy(out, device=policy.device.name, dtype=dtype).model
    except (OSError, ValueError, AttributeError, RSError):
        return None
    tuned = _tuned(policy, model, out)
    return tuned if tuned.fingerprint() == record.get("weights") else None


def _tuned(policy: Policy, model: torch.nn.Module, out: Path) -> Policy:
    return dataclasses.replace(policy, model=model, name=str(out), path=str(out))


def _encoded(result: tuple[torch.nn.Module, dict]) -> bytes:
    """A line with the record, then the weights."""
    model, record = result
    weights = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    return json.dumps(record).encode() + b"\n" + safetensors.torch.save(weights)


def _decoded(policy: Policy, content: bytes) -> tuple[torch.nn.Module, dict]:
    """The inverse of `_encoded`."""
    record, _, weights = content.partition(b"\n")
    model = copy.deepcopy(policy.model).float()
    model.load_state_dict(safetensors.torch.load(weights), strict=False)  # tied weights are saved once
    return model, json.loads(record)
