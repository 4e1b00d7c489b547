"""Exercise 4.2: the batch that supervised fine-tuning reads, and its loss."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from autograder.checks import Agrees, Ideas, Learner, Rng, Unchanged, graded, refuses
from autograder.exercise import RUNS, UNREADABLE, CheckFailed, diagnose, require, same, short, words_of

IDEAS = Ideas("""
tokens (): Each row is the prompt, then the response, then padding up to the longest row.
left (F28): Padding stands on the left.
filled with another (F23): Padding is filled with another token than pad_id.
filled with -100 (F23): Padding is filled with -100, which is no token.
no prompts (F22): The prompts are missing.
response first: The response stands before its prompt. It is read from left to right: the prompt comes first.
to max_length: Every row is padded to max_length. Pad to the longest row: the rest is computed for nothing.
mask (): The mask is 1 on every real token and 0 on padding.
mask by id (F23): The mask asks which tokens equal pad_id: a real token can look like padding.
all real (F23): The mask calls padding real.
hidden prompt (F22): The mask hides the prompt. It is not learned, but it has to be read.

labels (): Labels repeat the response's tokens at their own places and are -100 elsewhere.
prompts learned (F22): The prompt's tokens are learned too.
everything learned (F22): Nothing is masked: prompts and padding are learned too.
padding learned (F23): Padding is learned: its labels are pad_id instead of -100.
labels by id (F23): Labels were masked wherever the token equals pad_id. Where pad and end are one token, the
    real end is masked with it, and nobody learns to stop. Mask by position.
by id, with prompts (F23): Labels were masked wherever the token equals pad_id, prompts are learned.
shift twice: The labels are shifted already. The loss does that: they would be shifted twice.
late (off by one): The first token of each response is not learned: the mask of the prompt is one place too
    long.
early (off by one): The last token of each prompt is learned: the mask of the prompt is one place too short.
end not learned (F24): The end token is in the row and not learned, so stopping is never taught.

ends (): Look at the last tokens of each response.
always (F25): A response that was cut gets an end token: that teaches to stop in mid-air.
never (F24): No response keeps its end token, so stopping is never learned.
as given (F24): A finished response came without its end token and did not get one.
twice (F24): A response that had its end token got a second one.
just fits (off by one): A row of exactly max_length tokens, its end included, fits. It was refused.
unnamed (): The error is to be a ValueError that names the row, counted from 0.
cut in silence (F25): The row was cut in silence, and what it lost is the end of the response: its stop was
    never taught.
end not counted (off by one): A row went through that exceeds max_length by the end that was appended. The
    end is a token of the row: count it.
went through (F25): A row that is longer than max_length went through.

loss (): Not the mean over the response tokens. Compute two rows by hand.
sequence mean: This is the mean of the rows' means: a short response weighs as much as a long one. Count
    tokens, not rows.
no shift: Token t is predicted from itself. The model at position t predicts token t + 1.
all targets (F23): The sum is divided by all positions, padding and prompts among them.
all positions (F23): The sum is divided by all positions, padding and prompts among them.
sum: This is the sum. A batch with more tokens would take a larger step.
sum per row: This is the sum over tokens, divided by the number of rows.
sign (F03): The sign is turned round: this loss rewards unlikely tokens.
no logarithm: This is the mean probability with a minus. Its logarithm is missing.
one minus (no logarithm): This is the mean of one minus the probability. Its logarithm is missing.
over positions: The softmax runs over the positions. At each position it runs over the vocabulary.
over rows (over positions): The softmax runs over the rows of the batch. At each position it runs over the
    vocabulary.
last left out (off by one): The token at the last position is left out. Only -100 is not learned.
prompts as token 0 (F22): Places with -100 count as token 0: prompts and padding are learned as that token.
likeliest token: This is the loss of the token that the model finds likeliest, not of the one in the labels.
shifted twice: The labels are shifted twice: the logits at t are held against token t + 2.
raw logits: The logits themselves are averaged: their softmax is missing.
softmax twice: Probabilities went in where logits belong: the softmax is taken twice.
token 0 skipped (F23): Response tokens with the id 0 are left out. Only -100 is not learned.
wrong way (no shift): The shift goes the wrong way: the logits at t see token t.
bits (unit): This is in bits. Nats are asked for: the natural logarithm.
perplexity (unit): This is the perplexity, exp of the mean. The mean itself is asked for.
detached: No gradient comes back: the loss was detached, or computed outside torch.
gradient elsewhere (F22): Positions that predict a prompt token or padding get a gradient, or some response
    token gets none.
overflow: Logits of a few thousand give inf or NaN: exp overflows. Use log_softmax or cross_entropy.
NaN (F32): A batch without one response token gives NaN, and one NaN in the weights is there for good.
not 0 (): A batch without one response token has nothing to teach: its loss is 0.
""")
FORM = "returns three tensors of one shape"
INPUT, MASK = "puts the tokens in order, padded on the right", "marks the real tokens"
PROMPT, PAD = "learns the response alone", "never learns padding"
END, LONG = "ends what finished, and only that", "refuses a row that is too long"
LOSS, STABLE = "is the mean over all response tokens", "stays finite where logits are large"
NOTHING = "is finite on a batch with nothing to learn"
GRADIENT = "hands a gradient to the response's tokens alone"
IGNORED, MAX_LENGTH = -100, 64
KEYS = ("input_ids", "labels", "attention_mask")
Rows = list[list[int]]
Arrays = dict[str, np.ndarray]


# The batch ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """Token ids of prompts and responses, how each response finished, and the two special tokens."""

    prompts: Rows
    responses: Rows
    reasons: list[str]
    pad_id: int
    eos_id: int

    def args(self, max_length: int = MAX_LENGTH) -> tuple:
        """The arguments of sft_batch."""
        return self.prompts, self.responses, self.reasons, self.pad_id, self.eos_id, max_length

    def whole(self, responses: Rows) -> Rows:
        """Each prompt with its response."""
        return [[*p, *r] for p, r in zip(self.prompts, responses, strict=True)]

    def labels(self, responses: Rows, shift: int = 0) -> Rows:
        """-100 for each token of a prompt, and `shift` more, then the response."""
        pairs = zip(self.prompts, responses, strict=True)
        return [[*[IGNORED] * (len(p) + shift), *r] for p, r in pairs]

    def ends(self) -> dict[str, Rows]:
        """The responses with the right end, and as wrong ideas end them."""
        end, finished = [self.eos_id], [reason == "eos" for reason in self.reasons]
        bare = [r[:-1] if r[-1:] == end else r for r in self.responses]
        given = list(zip(self.responses, finished, strict=True))
        return {
            "right": [[*r, *end] if f and r[-1:] != end else r for r, f in given],
            "as given": self.responses,
            "never": bare,
            "always": [[*r, *end] for r in bare],
            "twice": [[*r, *end] if f else r for r, f in given],
        }

    def compare(self, check: str, got: Any, right: Any, otherwise: str, slips: Mapping[str, Any]) -> None:
        """CheckFailed with the first row that is not right, whole; slips: name of idea -> what it gives."""
        try:
            diagnose(check, got, right, ideas=IDEAS.of(slips), otherwise=IDEAS[otherwise])
        except CheckFailed as failed:
            rows = [(_plain(mine), _plain(ours)) for mine, ours in zip(got, right, strict=False)]
            row = next((k for k, (mine, ours) in enumerate(rows) if mine != ours), 0)
            told = {"case": self._told(row), "got": str(rows[row][0]), "expected": str(rows[row][1])}
            raise CheckFailed(check, failed.message, idea=failed.idea, **told) from None

    def _told(self, row: int) -> str:
        """One row of the batch in words; every token of it."""
        facts = f"prompt {self.prompts[row]}, response {self.responses[row]}, {self.reasons[row]!r}"
        return f"row {row}: {facts}; pad_id {self.pad_id}, eos_id {self.eos_id}"


def _plain(row: Any) -> list[int]:
    """A row of token ids as plain numbers."""
    return [int(value) for value in row]


def some_batch(rng: Rng, pad_id: int = 0, eos_id: int = 2, rows: int = 5) -> Batch:
    """A batch in which tokens lie where wrong ideas stumble; with six rows, two responses are empty."""
    prompts = [[7, *rng.integers(10, 40, rng.integers(2, 6)).tolist()] for _ in range(rows)]
    responses = [rng.integers(10, 40, rng.integers(2, 9)).tolist() for _ in range(rows)]
    reasons = ["eos", "eos", "length", *(["eos"] * (rows - 3))]
    responses[0].append(eos_id)  # drawn; row 1 finished too, but comes without its end token
    prompts[1][1:1] = prompts[1][-1:] = [eos_id]  # chat templates put end tokens into prompts
    if rows > 5:  # one finished at once, one was cut before it began
        responses[4:6], reasons[5] = [[], []], "length"
    responses[3].insert(1, pad_id if pad_id != eos_id else 9)  # a real token that looks like padding
    return Batch(prompts, responses, reasons, pad_id, eos_id)


def built(sft_batch: Learner, rng: Rng) -> Iterator[tuple[Batch, Arrays]]:
    """Batches and what the learner makes of them: pad apart from end, and both one token, as is common."""
    for batch in (some_batch(rng), some_batch(rng, 2, 2), some_batch(rng, 3, 1, rows=6)):
        yield batch, arrays(sft_batch, batch)


def arrays(sft_batch: Learner, batch: Batch, max_length: int = MAX_LENGTH) -> Arrays:
    """The learner's batch as arrays, checked for form."""
    result = sft_batch(*batch.args(max_length))
    message = (
        f"A dict with {', '.join(KEYS)} is asked for, three tensors (rows, longest row) of whole numbers."
    )
    fits = isinstance(result, Mapping) and all(isinstance(result.get(key), Tensor) for key in KEYS)
    require(fits, FORM, message, got=short(result))
    try:
        tables = {key: result[key].detach().cpu().numpy() for key in KEYS}
    except UNREADABLE:  # sparse, or without values
        raise CheckFailed(FORM, message, got=short(result)) from None
    labels, shapes = tables["labels"], {table.shape for table in tables.values()}
    complete = labels.ndim > 0 and len(labels) == len(batch.prompts)
    require(
        complete,
        FORM,
        "Every prompt gets a row.",
        idea="F27",
        got=f"{len(labels) if labels.ndim else 0} rows",
    )
    whole = all(tables[key].dtype.kind in "iu" for key in ("input_ids", "labels"))
    good = len(shapes) == 1 and labels.ndim == 2 and whole
    require(good, FORM, message, got=f"shapes {sorted(shapes)}")
    return tables | {"attention_mask": tables["attention_mask"].astype(int)}


def padded(rows: Sequence[Sequence[int]], filler: int) -> np.ndarray:
    """Rows of one length, filled on the right."""
    width = max(map(len, rows))
    return np.array([[*row, *[filler] * (width - len(row))] for row in rows])


def real_tokens(rows: Rows) -> np.ndarray:
    """The right mask of rows."""
    return padded([[1] * len(row) for row in rows], 0)


def meant(batch: Batch, got: Arrays) -> Rows:
    """The responses whose ends explain the tokens, and the mask as well where pad and end are one token."""
    ends = batch.ends().values()
    laid_out = [r for r in ends if same(got["input_ids"], padded(batch.whole(r), batch.pad_id))]
    masked = [r for r in laid_out if same(got["attention_mask"], real_tokens(batch.whole(r)))]
    return next(iter(masked + laid_out), batch.ends()["right"])


def check_tokens(sft_batch: Learner, rng: Rng) -> None:
    """input_ids and attention_mask; what the end of a response should be is another part's business."""
    for batch, got in built(sft_batch, rng):
        responses = meant(batch, got)
        rows = batch.whole(responses)
        right, mask = padded(rows, batch.pad_id), real_tokens(rows)
        slips = {
            "left": padded([row[::-1] for row in rows], batch.pad_id)[:, ::-1],
            "filled with another": padded(rows, batch.eos_id),
            "filled with -100": padded(rows, IGNORED),
            "no prompts": padded(responses, batch.pad_id),
            "response first": padded(
                [[*r, *p] for p, r in zip(batch.prompts, responses, strict=True)], batch.pad_id
            ),
            "to max_length": padded([*rows, [0] * MAX_LENGTH], batch.pad_id)[:-1],
        }
        batch.compare(INPUT, got["input_ids"], right, "tokens", slips)
        slips = {
            "mask by id": (right != batch.pad_id).astype(int),
            "all real": np.ones_like(mask),
            "hidden prompt": mask * (padded(batch.labels(responses), 0) != IGNORED),
        }
        batch.compare(MASK, got["attention_mask"], mask, "mask", slips)


def check_labels(sft_batch: Learner, rng: Rng) -> None:
    """Labels: -100 on prompts and padding, by position."""
    for batch, got in built(sft_batch, rng):
        labels = got["labels"]
        learned = [row[row != IGNORED].tolist() for row in labels]
        ends = batch.ends()
        responses = next((r for r in ends.values() if learned == r), ends["right"])
        right = padded(batch.labels(responses), IGNORED)
        longest = np.array([len(row) + 1 for row in batch.whole(batch.responses)])
        padding = np.arange(labels.shape[1])[None] >= longest[:, None]
        check = PAD if (labels[padding] != IGNORED).any() else PROMPT
        batch.compare(check, labels, right, "labels", label_slips(batch, responses, right))


def label_slips(batch: Batch, responses: Rows, right: np.ndarray) -> dict[str, np.ndarray]:
    """Labels that are masked too little, by id instead of by place, or one place off."""
    whole, ended = batch.whole(responses), batch.ends()["right"]
    everything = padded(whole, batch.pad_id)
    late = [[IGNORED, *r[1:]] if r else [] for r in ended]
    early = [[p[-1], *r] for p, r in zip(batch.prompts, ended, strict=True)]
    endless = [[IGNORED if token == batch.eos_id else token for token in r] for r in ended]
    return {
        "prompts learned": padded(whole, IGNORED),
        "everything learned": everything,
        "padding learned": padded(batch.labels(responses), batch.pad_id),
        "labels by id": np.where(right == batch.pad_id, IGNORED, right),
        "by id, with prompts": np.where(everything == batch.pad_id, IGNORED, everything),
        "shift twice": np.concatenate([right[:, 1:], np.full((len(right), 1), IGNORED)], axis=1),
        "late": padded(batch.labels(late), IGNORED),
        "early": padded(batch.labels(early, -1), IGNORED),
        "end not learned": padded(batch.labels(endless), IGNORED),
    }


def check_ends(sft_batch: Learner, rng: Rng) -> None:
    """The tokens behind each prompt, up to the last one that the batch calls real or learns."""
    for batch, got in built(sft_batch, rng):
        real = (got["labels"] != IGNORED) | (got["attention_mask"] == 1)
        lasts = [int(np.flatnonzero(row).max(initial=-1)) for row in real]
        rows = zip(batch.prompts, got["input_ids"], lasts, strict=True)
        behind = [row[len(prompt) : last + 1].tolist() for prompt, row, last in rows]
        ends = batch.ends()
        slips = {name: ends[name] for name in ("always", "never", "as given", "twice")}
        batch.compare(END, behind, ends["right"], "ends", slips)


def check_length(sft_batch: Learner, rng: Rng) -> None:
    """Rows that are too long by one token and that just fit: their end drawn, to be appended, or none."""
    for row in range(3):
        batch = some_batch(rng)
        batch.responses[row][:0] = rng.integers(10, 40, 20).tolist()  # longer than any other by far
        refuses_too_long(sft_batch, batch)


def refuses_too_long(sft_batch: Learner, batch: Batch) -> None:
    """A row longer than max_length is an error that names it; one that just fits is not."""
    lengths = [len(row) for row in batch.whole(batch.ends()["right"])]
    longest = max(lengths)
    try:
        arrays(sft_batch, batch, longest)
    except CheckFailed as failed:
        refused = isinstance(failed.__cause__, ValueError)
        require(not refused, LONG, IDEAS["just fits"], case=failed.case, got=failed.message)
        raise
    case = sft_batch.call(batch.args(longest - 1))
    try:
        width = arrays(sft_batch, batch, longest - 1)["input_ids"].shape[1]
    except CheckFailed as failed:
        if failed.check != RUNS:
            raise
        numbers = re.findall(r"\d+", words_of(failed.__cause__))
        named = any(str(k) in numbers for k, length in enumerate(lengths) if length == longest)
        good = isinstance(failed.__cause__, ValueError) and named
        require(good, LONG, IDEAS["unnamed"], case=case, got=failed.message)
        return
    drawn = max(len(row) for row in batch.whole(batch.responses))
    idea = "cut in silence" if width < longest else "end not counted" if drawn < longest else "went through"
    require(False, LONG, IDEAS[idea], case=case, got=f"{width} columns")


# The loss -------------------------------------------------------------------------------------------------


def some_labels(rng: Rng, rows: int, width: int, vocabulary: int) -> Tensor:
    """Rows whose responses differ much in length, so that a mean of means is another number; no id is 0."""
    labels = np.full((rows, width), IGNORED)
    for k in range(rows):
        first = int(rng.integers(1, 4))
        length = (1, width - first, 3)[k % 3]
        labels[k, first : first + length] = rng.integers(0, vocabulary, min(length, width - first)).clip(1)
    return torch.tensor(labels)


def toy_model(rng: Rng, *, rows: int) -> tuple[Tensor, Tensor]:
    """Logits (B, 9, 30) of a model whose next token depends on the last one, and labels (B, 9)."""
    table, labels = torch.tensor(rng.normal(0, 2, (30, 30))), some_labels(rng, rows, 9, 30)
    prompts = torch.tensor(rng.integers(0, 30, tuple(labels.shape)))
    return table[torch.where(labels == IGNORED, prompts, labels)], labels


def any_logits(rng: Rng, *, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Logits (3, 8, 12) of this size, and labels (3, 8)."""
    return torch.tensor(scale * rng.normal(size=(3, 8, 12))), some_labels(rng, 3, 8, 12)


def nll(logits: Tensor, targets: Tensor) -> Tensor:
    """Negative log-likelihoods (B, T) in nats, 0 where a target is ignored."""
    return cross_entropy(logits.double().transpose(1, 2), targets, reduction="none", ignore_index=IGNORED)


def mean_nll(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean over the targets that are not ignored."""
    return nll(logits, targets).sum() / (targets != IGNORED).sum()


def right_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The logits at t are held against token t + 1."""
    return mean_nll(logits[:, :-1], labels[:, 1:])


def with_zeros(rng: Rng) -> tuple[Tensor, Tensor]:
    """Logits and labels of which about half of the learned ones are token 0."""
    logits, labels = toy_model(rng, rows=3)
    return logits, torch.where(labels > 15, 0, labels)


def zero_slips(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """What comes of token 0 when it is taken for padding."""
    return {"token 0 skipped": right_loss(logits, torch.where(labels == 0, IGNORED, labels))}


def loss_slips(logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """What wrong means, wrong shifts and wrong units give."""
    losses, mask = nll(logits[:, :-1], labels[:, 1:]), labels[:, 1:] != IGNORED
    picked = logits[:, :-1].gather(-1, labels[:, 1:, None].clamp(min=0))[..., 0]
    mean, per_row = losses.sum() / mask.sum(), losses.sum(1) / mask.sum(1).clamp(min=1)
    return {
        "sequence mean": per_row[mask.any(1)].mean(),
        "no shift": mean_nll(logits, labels),
        "all targets": losses.sum() / mask.numel(),
        "all positions": losses.sum() / labels.numel(),
        "sum": losses.sum(),
        "sum per row": losses.sum() / len(labels),
        "sign": -mean,
        "wrong way": mean_nll(logits[:, 1:], labels[:, :-1]),
        "bits": mean / math.log(2),
        "perplexity": mean.exp(),
        "no logarithm": -((-losses).exp() * mask).sum() / mask.sum(),
        "one minus": ((1 - (-losses).exp()) * mask).sum() / mask.sum(),
        "over positions": _softmax_over(1, logits, labels),
        "over rows": _softmax_over(0, logits, labels),
        "last left out": mean_nll(logits[:, :-2], labels[:, 1:-1]),
        "shifted twice": mean_nll(logits[:, :-2], labels[:, 2:]),
        "raw logits": -(picked * mask).sum() / mask.sum(),
        "softmax twice": mean_nll(logits[:, :-1].softmax(-1), labels[:, 1:]),
        "prompts as token 0": nll(logits[:, :-1], labels[:, 1:].clamp(min=0)).mean(),
        "likeliest token": -(logits[:, :-1].double().log_softmax(-1).amax(-1) * mask).sum() / mask.sum(),
    }


def _softmax_over(axis: int, logits: Tensor, labels: Tensor) -> Tensor:
    """The mean of what a softmax over another axis than the vocabulary gives."""
    targets = labels[:, 1:]
    logarithms = logits[:, :-1].double().log_softmax(axis)
    picked = -logarithms.gather(-1, targets[..., None].clamp(min=0))[..., 0]
    return picked[targets != IGNORED].mean()


def one_number(result: Any, *_: Any) -> float:
    """A loss as a number."""
    try:
        return float(result.detach() if isinstance(result, Tensor) else result)
    except UNREADABLE:
        message = "The loss is one number: a tensor without dimensions."
        raise CheckFailed(FORM, message, got=short(result)) from None


def check_gradient(sft_loss: Learner, rng: Rng) -> None:
    """A gradient for the positions that predict a token of a response, and for no others."""
    logits, labels = any_logits(rng)
    leaf = logits.requires_grad_()
    loss = sft_loss(leaf * 1.0, labels)  # a result, not a leaf: the learner gets this very tensor
    flows = isinstance(loss, Tensor) and loss.requires_grad
    if flows:
        loss.backward()
    require(flows and leaf.grad is not None, GRADIENT, IDEAS["detached"], got=short(loss))
    moved = leaf.grad.abs().sum(-1) > 0
    right = torch.cat([labels[:, 1:] != IGNORED, torch.zeros(3, 1, dtype=torch.bool)], 1)
    case = f"labels = {short(labels.numpy())}"
    require((moved == right).all(), GRADIENT, IDEAS["gradient elsewhere"], case=case)


def check_nothing(sft_loss: Learner, rng: Rng) -> None:
    """The loss of no tokens is 0, or a ValueError."""
    args = torch.tensor(rng.normal(size=(2, 5, 12))), torch.full((2, 5), IGNORED)
    if refuses(sft_loss, *args):
        return
    loss, case = one_number(sft_loss(*args)), "all labels are -100"
    require(math.isfinite(loss), NOTHING, IDEAS["NaN"], case=case, got=short(loss))
    require(loss == 0, NOTHING, IDEAS["not 0"], case=case, got=short(loss))


# The exercise ---------------------------------------------------------------------------------------------


def is_the_mean(rows: int) -> Agrees:
    """The check of the loss on so many rows."""
    draw = partial(toy_model, rows=rows)
    return Agrees(LOSS, draw, right_loss, "loss", loss_slips, tolerance=1e-4, apart=0.002, of=one_number)


def large_logits(rng: Rng) -> tuple[Tensor, Tensor]:
    """Logits of some ten thousand in float32, and labels."""
    logits, labels = any_logits(rng, scale=1e4)
    return logits.float(), labels


grade_ends = graded(
    "sft_batch", IDEAS, check_ends, check_length, Unchanged(lambda rng: some_batch(rng).args())
)
grade_loss = graded(
    "sft_loss",
    IDEAS,
    *map(is_the_mean, (3, 4, 6)),
    Agrees(LOSS, with_zeros, right_loss, "loss", zero_slips, tolerance=1e-4, apart=0.002, of=one_number),
    check_gradient,
    Agrees(STABLE, large_logits, right_loss, "overflow", tolerance=1e-3, of=one_number),
    check_nothing,
    Unchanged(any_logits),
)
grade_tokens = graded("sft_batch", IDEAS, check_tokens)
grade_labels = graded("sft_batch", IDEAS, check_labels)
