"""The works: sampling (W1), scoring (W2), fine-tuning (W3) on random weights, and a whole round (W4).

Random weights cost what trained ones cost. Lengths are forced upon everybody: row r of W1 stops after
exactly limits[r] tokens, geometric with a mean of a third of the maximum, because ragged ends are where
engines differ. EOS is switched off for all.
"""

from __future__ import annotations

import copy
import io
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    LlamaConfig,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from docs.studies.bench.measuring import Way, Work
from rslib.config import FinetuneConfig, SampleConfig
from rslib.decoding import decode, run_batches, shared_attention
from rslib.errors import ModelError, RSError
from rslib.finetuning import TokenRow, language_model_objective, next_token_nll
from rslib.models import quiet
from rslib.optimization import fit
from rslib.scoring import token_rewards

PAD, CONTEXT = 0, 512
SHAPES = {  # hidden size, layers, heads, intermediate size, vocabulary
    "0.1 M": (32, 2, 4, 64, 256),
    "2 M": (192, 4, 6, 512, 1024),
    "25 M": (512, 8, 8, 1376, 4096),
    "124 M": (768, 12, 12, 2048, 50257),
}
SAMPLING_TARGETS = {"2 M": 7.0, "25 M": 5.0, "124 M": 3.0}
GENERATE_BATCHES = (64, 128, 512)


@dataclass(frozen=True)
class Size:
    """How much work: a model's shape, prompts, responses per prompt, longest prompt, most new tokens."""

    model: str
    prompts: int = 32
    n: int = 16
    prompt: int = 32
    new: int = 64

    def __str__(self) -> str:
        fewer = "" if self.prompts == Size.prompts else f", {self.prompts} prompts"
        return f"{self.model}, prompt {self.prompt}, new {self.new}{fewer}"


@dataclass(frozen=True)
class Rows:
    """The same rows for everybody: prompts (shortest first), and per row the length of its response."""

    prompts: list[list[int]]
    n: int
    lengths: list[int]

    @classmethod
    def of(cls, size: Size, seed: int = 0) -> Rows:
        """Random rows; the same every time."""
        rng, vocabulary = np.random.default_rng(seed), SHAPES[size.model][-1]
        widths = np.sort(rng.integers(size.prompt // 2, size.prompt + 1, size=size.prompts))
        prompts = [rng.integers(1, vocabulary, size=width).tolist() for width in widths]
        lengths = np.minimum(size.new, rng.geometric(3 / size.new, size=size.prompts * size.n))
        return cls(prompts, size.n, lengths.tolist())

    @property
    def owner(self) -> list[int]:
        """The prompt of each row."""
        return [prompt for prompt in range(len(self.prompts)) for _ in range(self.n)]

    def dialogues(self, vocabulary: int) -> list[list[int]]:
        """Prompt and a random response, one per row."""
        rng = np.random.default_rng(1)
        pairs = zip(self.owner, self.lengths, strict=True)
        return [[*self.prompts[p], *rng.integers(1, vocabulary, size=length).tolist()] for p, length in pairs]


def random_model(shape: str, kind: str = "policy") -> PreTrainedModel:
    """A Llama of the given shape; the same weights every time."""
    hidden, layers, heads, intermediate, vocabulary = SHAPES[shape]
    config = LlamaConfig(
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        vocab_size=vocabulary,
        max_position_embeddings=CONTEXT,
        initializer_range=0.08,  # the usual 0.02 leaves all logits nearly equal
        tie_word_embeddings=kind == "policy",
        pad_token_id=PAD,
        eos_token_id=None,  # left out, it would be 2, and `generate` would end rows before their length
        num_labels=1,
    )
    auto = AutoModelForCausalLM if kind == "policy" else AutoModelForSequenceClassification
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = auto.from_config(config, dtype=torch.float32)
    return model.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _padded(
    sequences: Sequence[Sequence[int]], side: str, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, sequences))
    gaps = [[PAD] * (width - len(ids)) for ids in sequences]
    filled = [
        [*gap, *ids] if side == "left" else [*ids, *gap] for gap, ids in zip(gaps, sequences, strict=True)
    ]
    ids = torch.tensor(filled, device=device)
    return ids, (ids != PAD).long()


# W1: sampling ------------------------------------------------------------------------------------------


class _StopAt(StoppingCriteria):
    """Row r of `generate` stops at total length ends[r]."""

    def __init__(self, ends: torch.Tensor) -> None:
        self.ends = ends

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **options: Any) -> torch.Tensor:
        return input_ids.shape[1] >= self.ends


def generate_rows(
    model: PreTrainedModel, rows: Rows, batch: int, temperature: float = 1.0
) -> list[list[int]]:
    """The responses of transformers' `generate`, `batch` rows at a time, prompts padded on the left."""
    found: list[list[int]] = []
    for start in range(0, len(rows.lengths), batch):
        part = slice(start, start + batch)
        ids, mask = _padded([rows.prompts[p] for p in rows.owner[part]], "left", model.device)
        lengths = torch.tensor(rows.lengths[part], device=model.device)
        settings = GenerationConfig(
            **({"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {}),
            max_new_tokens=int(lengths.max()),
            pad_token_id=PAD,
            eos_token_id=None,
        )
        stop = StoppingCriteriaList([_StopAt(lengths + ids.shape[1])])
        with torch.inference_mode():
            drawn = model.generate(
                input_ids=ids, attention_mask=mask, generation_config=settings, stopping_criteria=stop
            )
        new = drawn[:, ids.shape[1] :].tolist()
        found += [tokens[:length] for tokens, length in zip(new, lengths.tolist(), strict=True)]
    return found


def engine_rows(
    model: PreTrainedModel, rows: Rows, batch: int = 512, temperature: float = 1.0
) -> list[list[int]]:
    """The responses of the engine, `batch` rows at a time."""
    owner, config = rows.owner, SampleConfig(temperature=temperature)

    def run(part: slice) -> list[list[int]]:
        prompts = range(owner[part.start], owner[part.stop - 1] + 1)
        drawn = decode(
            model,
            [rows.prompts[p] for p in prompts],
            [p - prompts.start for p in owner[part]],
            seeds=range(part.start, part.stop),
            limits=rows.lengths[part],
            config=config,
            eos_ids=(),
            context=CONTEXT,
        )
        return [drawn.tokens[at, :length].tolist() for at, length in enumerate(rows.lengths[part])]

    with shared_attention(model):
        batches = run_batches(run, owner, [1] * len(owner), batch)
        return [ids for _, found in batches for ids in found]


def best_batch(act: Callable[[int], object], sizes: Sequence[int], rows: int) -> int:
    """The batch size with which `act` is fastest: a peer is measured in its best configuration."""
    seconds = {}
    for size in [s for s in sizes if s <= rows] or [rows]:
        began = perf_counter()
        act(size)
        seconds[size] = perf_counter() - began
    return min(seconds, key=seconds.__getitem__)


def sampling_work(size: Size, seed: int = 0) -> Work:
    """W1: n responses to each prompt, beside the best configuration of `generate`."""
    model, rows = random_model(size.model), Rows.of(size, seed)
    few = Rows(rows.prompts[:4], 4, [min(length, 24) for length in rows.lengths[:16]])

    def check() -> None:
        if engine_rows(model, few, temperature=0.0) != generate_rows(model, few, 16, temperature=0.0):
            raise _differ("greedy tokens", size)

    batch = best_batch(lambda b: generate_rows(model, rows, b), GENERATE_BATCHES, len(rows.lengths))
    target = SAMPLING_TARGETS.get(size.model)
    peer = Way(f"generate, batch {batch}", lambda: generate_rows(model, rows, batch), target=target)
    return Work("W1 sampling", str(size), Way("ours", lambda: engine_rows(model, rows)), [peer], check)


# W2: scoring -------------------------------------------------------------------------------------------


def padded_rewards(model: PreTrainedModel, rows: Sequence[Sequence[int]], batch: int = 64) -> np.ndarray:
    """Rewards of the model's own forward pass, padded on the right, `batch` rows at a time."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(rows), batch):
            ids, mask = _padded(rows[start : start + batch], "right", model.device)
            found.append(model(input_ids=ids, attention_mask=mask).logits[:, 0].double().cpu())
    return torch.cat(found).numpy()


def scoring_work(size: Size) -> Work:
    """W2: rewards of n responses per prompt, beside padded batches in given and in sorted order."""
    model, rows = random_model(size.model, "reward"), Rows.of(size)
    dialogues = rows.dialogues(SHAPES[size.model][-1])
    by_length = sorted(dialogues, key=len)

    def ours() -> np.ndarray:
        return token_rewards(model, rows.owner, dialogues)

    def check() -> None:
        if not np.allclose(ours(), padded_rewards(model, dialogues), atol=1e-4):
            raise _differ("rewards", size)

    long = size.prompt >= 256
    name, target = "padded, batch 64", 7.5 if long else None
    peers = [
        Way(name, lambda: padded_rewards(model, dialogues), target=target),
        Way(
            f"{name}, sorted by length",
            lambda: padded_rewards(model, by_length),
            target=None if long else 1.5,
        ),
    ]
    return Work("W2 scoring", str(size), Way("ours", ours), peers, check)


# W3: fine-tuning ---------------------------------------------------------------------------------------


def tuning_work(size: Size) -> Work:
    """W3: one epoch over (prompt, response) pairs, 16 a batch, beside TRL (if installed) and a plain loop."""
    model = random_model(size.model)
    rows = Rows.of(size)
    pairs = [
        TokenRow(ids, len(rows.prompts[p]))
        for p, ids in zip(rows.owner, rows.dialogues(SHAPES[size.model][-1]), strict=True)
    ]
    config = FinetuneConfig(learning_rate=1e-4, epochs=1, batch_tokens=_tokens_of_16(pairs))
    lengths = [len(row.ids) for row in pairs]

    def ours(tuned: PreTrainedModel) -> None:
        fit(tuned, language_model_objective(tuned, pairs, PAD), lengths, config, show_progress=False)

    def copied() -> tuple[PreTrainedModel]:
        return (copy.deepcopy(model),)

    def check() -> None:
        with torch.no_grad():
            mine, theirs = next_token_nll(model, pairs[:16], PAD).mean(), _padded_loss(model, pairs[:16])
        if not torch.isclose(mine, theirs, atol=1e-4):
            raise _differ("loss", size)

    target = 1.7 if size.prompt >= 256 else None
    peers = [Way("plain loop, padded, batch 16", lambda tuned: _plain_epoch(tuned, pairs), copied, target)]
    if find_spec("trl"):
        peers.insert(0, _trl_epoch(model, pairs))
    return Work("W3 fine-tuning", str(size), Way("ours", ours, copied), peers, check)


def _tokens_of_16(rows: Sequence[TokenRow]) -> int:
    """A token budget that makes as many steps as batches of 16 rows do."""
    return int(16 * np.mean([len(row.ids) for row in rows]))


def _labelled(rows: Sequence[TokenRow], device: torch.device) -> dict[str, torch.Tensor]:
    ids, mask = _padded([row.ids for row in rows], "right", device)
    labels = torch.where(mask.bool(), ids, -100)
    for row, source in enumerate(rows):
        labels[row, : source.first_target] = -100
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def _padded_loss(model: PreTrainedModel, rows: Sequence[TokenRow]) -> torch.Tensor:
    return model(**_labelled(rows, model.device)).loss


def _batches_of_16(rows: Sequence[TokenRow]) -> Iterator[list[TokenRow]]:
    order = np.random.default_rng(0).permutation(len(rows))
    return ([rows[i] for i in order[start : start + 16]] for start in range(0, len(rows), 16))


def _plain_epoch(model: PreTrainedModel, rows: Sequence[TokenRow]) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-4)
    for batch in _batches_of_16(rows):
        _padded_loss(model, batch).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)


def _trl_epoch(model: PreTrainedModel, rows: Sequence[TokenRow]) -> Way:
    """One epoch of TRL's trainer on the same rows; making the trainer is not timed."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from rslib.models import load_policy

    labels = [[-100] * row.first_target + list(row.ids[row.first_target :]) for row in rows]
    table = Dataset.from_dict({"input_ids": [list(row.ids) for row in rows], "labels": labels})
    options: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(),
        "per_device_train_batch_size": 16,
        "num_train_epochs": 1,
        "learning_rate": 1e-4,
        "max_length": None,
        "bf16": False,
        "gradient_checkpointing": False,
        "use_cpu": model.device.type == "cpu",
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "logging_strategy": "no",
        "save_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
    }
    tokenizer = load_policy("tiny").tokenizer

    def trainer() -> tuple[SFTTrainer]:
        with quiet():
            settings = SFTConfig(**options)
            tuned = copy.deepcopy(model)
            return (SFTTrainer(tuned, args=settings, train_dataset=table, processing_class=tokenizer),)

    def epoch(ready: SFTTrainer) -> None:
        with quiet(), redirect_stdout(io.StringIO()):  # it prints its own summary
            ready.train()

    return Way("TRL SFTTrainer, fp32, batch 16", epoch, trainer, target=3.0)


# W4: a whole round -------------------------------------------------------------------------------------


def round_work() -> Work:
    """W4: the command `run` on the embedded models, start-up included, in a folder of its own."""

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "rslib", "run", "--out", str(Path(folder) / "run")]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise ModelError(f"the round failed: {done.stderr.strip()[-500:]}", where=" ".join(command[1:]))

    return Work("W4 a whole round", "embedded models, 400 prompts x 16", Way("ours", ours))


def _differ(what: str, size: Size) -> RSError:
    return ModelError(
        f"the {what} differ from the peer's", where=str(size), fix="Do not trust the times: find out why."
    )


def _cases(make: Callable[[Size], Work], *sizes: Size) -> dict[str, Callable[[], Work]]:
    return {str(size): partial(make, size) for size in sizes}


WORKS: dict[str, dict[str, Callable[[], Work]]] = {
    "W1": _cases(
        sampling_work,
        Size("2 M", prompt=32, new=64),
        Size("2 M", prompt=32, new=128),
        Size("2 M", prompt=256, new=64),
        Size("25 M", prompt=32, new=64),
        Size("25 M", prompt=256, new=64),
        Size("124 M", prompts=4, prompt=32, new=64),
    ),
    "W2": _cases(scoring_work, Size("2 M", prompt=32), Size("2 M", prompt=256)),
    "W3": _cases(tuning_work, Size("2 M", n=8, prompt=32), Size("2 M", n=8, prompt=256)),
    "W4": {"embedded models": round_work},
}
"""Work -> case -> how to set it up; models are made when a case's turn comes."""
