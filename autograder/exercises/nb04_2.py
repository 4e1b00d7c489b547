"""Exercise 4.2: the batch that supervised fine-tuning reads, and its loss."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from autograder.checks import assert_inputs_unchanged
from autograder.exercise import (
    RUNS,
    CheckFailed,
    Exercise,
    Misconception,
    Part,
    diagnose,
    require,
    same,
    short,
)
from autograder.work import Work

FORM = "returns three tensors of one shape"
INPUT = "puts the tokens in order, padded on the right"
MASK = "marks the real tokens"
PROMPT = "learns the response alone"
PAD = "never learns padding"
END = "ends what finished, and only that"
LONG = "refuses a row that is too long"
LOSS = "is the mean over all response tokens"
STABLE = "stays finite where logits are large"
NOTHING = "is finite on a batch with nothing to learn"
GRADIENT = "hands a gradient to the response's tokens alone"

IGNORED = -100
KEYS = ("input_ids", "labels", "attention_mask")
Rows = list[list[int]]


class Case:
    """Prompts, responses and how they finished, with the special tokens; a batch as the exercise wants it."""

    def __init__(self, rng: np.random.Generator, pad_id: int, eos_id: int, rows: int = 5) -> None:
        self.pad_id, self.eos_id = pad_id, eos_id
        self.prompts = [[7, *rng.integers(10, 40, rng.integers(2, 6)).tolist()] for _ in range(rows)]
        self.responses = [rng.integers(10, 40, rng.integers(2, 9)).tolist() for _ in range(rows)]
        self.reasons = ["eos", "eos", "length", *(["eos"] * (rows - 3))]
        self.responses[0].append(eos_id)  # drawn; row 1 finished too, but comes without its end token
        self.prompts[1][1:1] = self.prompts[1][-1:] = [eos_id]  # chat templates put end tokens into prompts
        if rows > 5:  # empty responses: one finished at once, one was cut before it began
            self.responses[4:6], self.reasons[5] = [[], []], "length"
        self.responses[3].insert(1, pad_id if pad_id != eos_id else 9)  # a real token that looks like padding

    def call(self, function: Any, max_length: int = 64) -> dict[str, np.ndarray]:
        """The learner's batch as arrays, checked for form."""
        found = function(self.prompts, self.responses, self.reasons, self.pad_id, self.eos_id, max_length)
        return _plain(found, len(self.prompts))

    def ended(self) -> Rows:
        """The responses, each with an honest end."""
        whole = []
        for ids, reason in zip(self.responses, self.reasons, strict=True):
            has = bool(ids) and ids[-1] == self.eos_id
            whole.append([*ids, self.eos_id] if reason == "eos" and not has else list(ids))
        return whole

    def text(self) -> str:
        """The case as text."""
        return (
            f"prompts = {self.prompts}, responses = {self.responses}, finish_reasons = {self.reasons}, "
            f"pad_id = {self.pad_id}, eos_id = {self.eos_id}"
        )


def _plain(found: Any, rows: int) -> dict[str, np.ndarray]:
    message = (
        f"A dict with {', '.join(KEYS)} is asked for, three tensors (rows, longest row) of whole numbers."
    )
    fits = isinstance(found, Mapping) and all(isinstance(found.get(k), torch.Tensor) for k in KEYS)
    require(fits, FORM, message, got=short(found))
    arrays = {key: found[key].detach().cpu().numpy() for key in KEYS}
    got = f"{len(arrays['labels'])} rows"
    require(len(arrays["labels"]) == rows, FORM, "Every prompt gets a row.", idea="F27", got=got)
    shapes = {a.shape for a in arrays.values()}
    whole = arrays["input_ids"].dtype.kind in "iu" and arrays["labels"].dtype.kind in "iu"
    require(
        len(shapes) == 1 and arrays["labels"].ndim == 2 and whole,
        FORM,
        message,
        got=f"shapes {sorted(shapes)}",
    )
    return arrays | {"attention_mask": arrays["attention_mask"].astype(int)}


def _right(rows: Sequence[Sequence[int]], filler: int, width: int | None = None) -> np.ndarray:
    width = width or max(map(len, rows))
    return np.array([[*row, *[filler] * (width - len(row))] for row in rows])


def _left(rows: Sequence[Sequence[int]], filler: int) -> np.ndarray:
    width = max(map(len, rows))
    return np.array([[*[filler] * (width - len(row)), *row] for row in rows])


def _whole(case: Case, responses: Rows) -> Rows:
    return [[*p, *r] for p, r in zip(case.prompts, responses, strict=True)]


def _cases(rng: np.random.Generator) -> list[Case]:
    """Pad apart from end, and pad equal to end, as many real tokenizers have it."""
    return [Case(rng, 0, 2), Case(rng, 2, 2), Case(rng, 3, 1, rows=6)]


def grade_tokens(work: Work, rng: np.random.Generator) -> None:
    """input_ids and attention_mask; what the end of a response should be is another part's business."""
    function = work.function("sft_batch")
    for case in _cases(rng):
        got = case.call(function)
        rows = _rows_meant(case, got)
        whole = _whole(case, rows)
        expected = _right(whole, case.pad_id)
        ideas = [
            Misconception("F28", "Padding stands on the left.", _left(whole, case.pad_id)),
            Misconception(
                "F23", "Padding is filled with another token than pad_id.", _right(whole, case.eos_id)
            ),
            Misconception("F23", "Padding is filled with -100, which is no token.", _right(whole, IGNORED)),
            Misconception("F22", "The prompts are missing.", _right(rows, case.pad_id)),
        ]
        diagnose(
            INPUT,
            got["input_ids"],
            expected,
            ideas=ideas,
            case=case.text(),
            reveal=False,
            otherwise="Each row is the prompt, then the response, then padding up to the longest row.",
        )
        mask = _mask(case, rows)
        by_id = (expected != case.pad_id).astype(int)
        ideas = [
            Misconception(
                "F23", "The mask asks which tokens equal pad_id: a real token can look like padding.", by_id
            ),
            Misconception("F23", "The mask calls padding real.", np.ones_like(mask)),
            Misconception(
                "F22",
                "The mask hides the prompt. It is not learned, but it has to be read.",
                _late(case, mask),
            ),
        ]
        diagnose(
            MASK,
            got["attention_mask"],
            mask,
            ideas=ideas,
            case=case.text(),
            reveal=False,
            otherwise="The mask is 1 on every real token and 0 on padding.",
        )


def _late(case: Case, mask: np.ndarray) -> np.ndarray:
    """The mask without the prompts."""
    starts = np.array([len(prompt) for prompt in case.prompts])
    return np.where(np.arange(mask.shape[1])[None] < starts[:, None], 0, mask)


def _end_variants(case: Case) -> list[Rows]:
    """The responses with the right end, as given, always ended, and with two ends."""
    end = [case.eos_id]
    strip = [r[:-1] if r and r[-1] == case.eos_id else list(r) for r in case.responses]
    twice = [[*r, *end] if f == "eos" else list(r) for r, f in zip(case.responses, case.reasons, strict=True)]
    return [case.ended(), case.responses, strip, [[*r, *end] for r in strip], twice]


def _rows_meant(case: Case, got: dict[str, np.ndarray]) -> Rows:
    """The responses whose ends explain the tokens, and the mask as well where pad and end are one token."""
    laid_out = [
        r for r in _end_variants(case) if same(got["input_ids"], _right(_whole(case, r), case.pad_id))
    ]
    masked = [r for r in laid_out if same(got["attention_mask"], _mask(case, r))]
    return next(iter(masked + laid_out), case.ended())


def _mask(case: Case, responses: Rows) -> np.ndarray:
    return _right([[1] * len(row) for row in _whole(case, responses)], 0)


def grade_labels(work: Work, rng: np.random.Generator) -> None:
    """Labels: -100 on prompts and padding, by position."""
    function = work.function("sft_batch")
    for case in _cases(rng):
        got = case.call(function)
        learned = [row[row != IGNORED].tolist() for row in got["labels"]]
        rows = next((r for r in _end_variants(case) if learned == r), case.ended())
        whole, mute = _whole(case, rows), [[IGNORED] * len(p) for p in case.prompts]
        expected = _right([[*m, *r] for m, r in zip(mute, rows, strict=True)], IGNORED)
        full = _right(whole, case.pad_id)
        by_id = np.where(expected == case.pad_id, IGNORED, expected)
        shifted = np.concatenate([expected[:, 1:], np.full((len(expected), 1), IGNORED)], axis=1)
        unmuted = _right([[*m, *r] for m, r in zip(mute, rows, strict=True)], case.pad_id)
        ideas = [
            Misconception("F22", "The prompt's tokens are learned too.", _right(whole, IGNORED)),
            Misconception("F22", "Nothing is masked: prompts and padding are learned too.", full),
            Misconception("F23", "Padding is learned: its labels are pad_id instead of -100.", unmuted),
            Misconception(
                "F23",
                "Labels were masked wherever the token equals pad_id. Where pad and end are one "
                "token, the real end is masked with it, and nobody learns to stop. Mask by position.",
                by_id,
            ),
            Misconception(
                "F23",
                "Labels were masked wherever the token equals pad_id, prompts are learned.",
                np.where(full == case.pad_id, IGNORED, full),
            ),
            Misconception(
                "shift twice",
                "The labels are shifted already. The loss does that: they would be shifted twice.",
                shifted,
            ),
            *_edge_ideas(case),
        ]
        check = PAD if (got["labels"][_padding(case, got)] != IGNORED).any() else PROMPT
        diagnose(
            check,
            got["labels"],
            expected,
            ideas=ideas,
            case=case.text(),
            reveal=False,
            otherwise="Labels repeat the response's tokens at their own places and are -100 elsewhere.",
        )


def _edge_ideas(case: Case) -> list[Misconception]:
    """Labels that begin one place too late or too early, or that leave the end out."""
    rows, ignored = case.ended(), [IGNORED]

    def labels(mute: int, learned: Rows) -> np.ndarray:
        pairs = zip(case.prompts, learned, strict=True)
        return _right([[*ignored * (len(p) + mute), *r] for p, r in pairs], IGNORED)

    early = [[p[-1], *r] for p, r in zip(case.prompts, rows, strict=True)]
    endless = [[IGNORED if token == case.eos_id else token for token in r] for r in rows]
    late = "The first token of each response is not learned: the mask of the prompt is one place too long."
    soon = "The last token of each prompt is learned: the mask of the prompt is one place too short."
    return [
        Misconception("off by one", late, labels(0, [[*ignored, *r[1:]] if r else [] for r in rows])),
        Misconception("off by one", soon, labels(-1, early)),
        Misconception(
            "F24",
            "The end token is in the row and not learned, so stopping is never taught.",
            labels(0, endless),
        ),
    ]


def _padding(case: Case, got: dict[str, np.ndarray]) -> np.ndarray:
    """Which places lie behind the longest row that this prompt and response could fill."""
    lengths = [len(p) + len(r) + 1 for p, r in zip(case.prompts, case.responses, strict=True)]
    return np.arange(got["labels"].shape[1])[None] >= np.array(lengths)[:, None]


def grade_ends(work: Work, rng: np.random.Generator) -> None:
    """The end token, and rows that do not fit."""
    function = work.function("sft_batch")
    for case in _cases(rng):
        found = case.call(function)
        real = (found["labels"] != IGNORED) | (found["attention_mask"] == 1)
        got = [
            _behind(prompt, row, at)
            for prompt, row, at in zip(case.prompts, found["input_ids"], real, strict=True)
        ]
        right, as_given, none, always, twice = _end_variants(case)
        ideas = [
            Misconception(
                "F25", "A response that was cut gets an end token: that teaches to stop in mid-air.", always
            ),
            Misconception("F24", "No response keeps its end token, so stopping is never learned.", none),
            Misconception(
                "F24", "A finished response came without its end token and did not get one.", as_given
            ),
            Misconception("F24", "A response that had its end token got a second one.", twice),
        ]
        diagnose(
            END,
            got,
            right,
            ideas=ideas,
            case=case.text(),
            reveal=False,
            otherwise="Look at the last tokens of each response.",
        )
    _check_long(function, Case(rng, 0, 2))
    late = Case(rng, 0, 2)  # the longest row is one whose end token has to be appended, and that counts
    late.responses[1] = rng.integers(10, 40, 20).tolist()
    _check_long(function, late)
    case = Case(rng, 0, 2)
    assert_inputs_unchanged(work, "sft_batch", case.prompts, case.responses, case.reasons, 0, 2, 64)


def _behind(prompt: list[int], row: np.ndarray, real: np.ndarray) -> list[int]:
    """The tokens behind the prompt, up to the last one that the batch calls real or learns."""
    return row[len(prompt) : int(np.flatnonzero(real).max(initial=-1)) + 1].tolist()


def _check_long(function: Any, case: Case) -> None:
    """A row longer than max_length is an error that names it; one that just fits is not."""
    lengths = [len(row) for row in _whole(case, case.ended())]
    longest = max(lengths)
    try:
        case.call(function, longest)
    except CheckFailed as wrong:
        if not isinstance(wrong.__cause__, ValueError):
            raise
        message = "A row of exactly max_length tokens, its end included, fits. It was refused."
        raise CheckFailed(LONG, message, idea="off by one", case=case.text(), got=wrong.message) from wrong
    told = f"{case.text()}, max_length = {longest - 1}"
    try:
        got = case.call(function, longest - 1)
    except CheckFailed as wrong:
        if wrong.check != RUNS:
            raise
        message = "The error is to be a ValueError that names the row, counted from 0."
        told_rows = re.findall(r"\d+", str(wrong.__cause__))
        names = any(str(k) in told_rows for k, n in enumerate(lengths) if n == longest)
        require(
            isinstance(wrong.__cause__, ValueError) and names, LONG, message, case=told, got=wrong.message
        )
        return
    width = got["input_ids"].shape[1]
    message = (
        "The row was cut in silence, and what it lost is the end of the response: its stop was never taught."
        if width < longest
        else "A row that is longer than max_length went through."
    )
    raise CheckFailed(LONG, message, idea="F25", case=told, got=f"{width} columns")


# The loss -------------------------------------------------------------------------------------------------


def _labels(rng: np.random.Generator, rows: int, width: int, vocabulary: int) -> np.ndarray:
    """Rows whose responses differ much in length, so that a mean of means is another number."""
    labels = np.full((rows, width), IGNORED)
    for k in range(rows):
        first = int(rng.integers(1, 4))
        length = (1, width - first, 3)[k % 3]
        labels[k, first : first + length] = rng.integers(0, vocabulary, min(length, width - first))
    return labels


def _nll(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Negative log-likelihoods `(B, T - 1)` (0 where ignored) and the mask of the targets."""
    scores, targets = logits[:, :-1], labels[:, 1:]
    top = scores.max(-1, keepdims=True)
    logprobs = scores - top - np.log(np.exp(scores - top).sum(-1, keepdims=True))
    mask = targets != IGNORED
    picked = np.take_along_axis(logprobs, np.where(mask, targets, 0)[..., None], -1)[..., 0]
    return np.where(mask, -picked, 0.0), mask


def _loss_ideas(logits: np.ndarray, labels: np.ndarray) -> list[Misconception]:
    losses, mask = _nll(logits, labels)
    unshifted, at = _nll(
        np.concatenate([logits, logits[:, :1]], 1),
        np.concatenate([np.full((len(labels), 1), IGNORED), labels], 1),
    )
    behind, seen = _nll(logits[:, ::-1], labels[:, ::-1])  # the logits of t + 1 against token t
    mean = losses.sum() / mask.sum()
    per_row = losses.sum(1) / np.maximum(mask.sum(1), 1)
    return [
        Misconception(
            "sequence mean",
            "This is the mean of the rows' means: a short response weighs as much as a long one. "
            "Count tokens, not rows.",
            per_row[mask.any(1)].mean(),
        ),
        Misconception(
            "no shift",
            "Token t is predicted from itself. The model at position t predicts token t + 1.",
            unshifted.sum() / max(1, at.sum()),
        ),
        Misconception(
            "F23",
            "The sum is divided by all positions, padding and prompts among them.",
            losses.sum() / mask.size,
        ),
        Misconception(
            "F23",
            "The sum is divided by all positions, padding and prompts among them.",
            losses.sum() / labels.size,
        ),
        Misconception(
            "sum", "This is the sum. A batch with more tokens would take a larger step.", losses.sum()
        ),
        Misconception(
            "sum per row",
            "This is the sum over tokens, divided by the number of rows.",
            losses.sum() / len(labels),
        ),
        Misconception("F03", "The sign is turned round: this loss rewards unlikely tokens.", -mean),
        Misconception(
            "no shift",
            "The shift goes the wrong way: the logits at t see token t.",
            behind.sum() / max(1, seen.sum()),
        ),
        Misconception(
            "unit", "This is in bits. Nats are asked for: the natural logarithm.", mean / np.log(2)
        ),
        Misconception(
            "unit", "This is the perplexity, exp of the mean. The mean itself is asked for.", np.exp(mean)
        ),
    ]


def grade_loss(work: Work, rng: np.random.Generator) -> None:
    """sft_loss(logits, labels)."""
    function = work.function("sft_loss")
    for rows in (3, 4, 6):
        table = rng.normal(0, 2, (30, 30))  # a toy model: the next token depends on the last one
        labels = _labels(rng, rows, 9, 30)
        ids = np.where(labels == IGNORED, rng.integers(0, 30, labels.shape), labels)
        logits = table[ids]
        losses, mask = _nll(logits, labels)
        diagnose(
            LOSS,
            _number(function(torch.tensor(logits), torch.tensor(labels))),
            losses.sum() / mask.sum(),
            ideas=_loss_ideas(logits, labels),
            otherwise="Not the mean over the response tokens. Compute two rows by hand.",
            tolerance=1e-4,
            case=f"labels = {short(labels)}",
        )
    _check_gradient(function, rng)
    _check_extremes(function, rng)
    logits, labels = torch.tensor(rng.normal(size=(3, 8, 12))), torch.tensor(_labels(rng, 3, 8, 12))
    assert_inputs_unchanged(work, "sft_loss", logits, labels)


def _number(found: Any) -> float:
    try:
        return float(found.detach() if isinstance(found, torch.Tensor) else found)
    except (TypeError, ValueError):
        raise CheckFailed(
            FORM, "The loss is one number: a tensor without dimensions.", got=short(found)
        ) from None


def _check_gradient(function: Any, rng: np.random.Generator) -> None:
    labels = torch.tensor(_labels(rng, 3, 8, 12))
    leaf = torch.tensor(rng.normal(size=(3, 8, 12)), requires_grad=True)
    loss = function(leaf * 1.0, labels)  # a result, not a leaf: the learner gets this very tensor
    message = "No gradient comes back: the loss was detached, or computed outside torch."
    flows = isinstance(loss, torch.Tensor) and loss.requires_grad
    if flows:
        loss.backward()
    require(flows and leaf.grad is not None, GRADIENT, message, idea="detached", got=short(loss))
    moved = leaf.grad.abs().sum(-1) > 0
    wanted = torch.cat([labels[:, 1:] != IGNORED, torch.zeros(3, 1, dtype=torch.bool)], 1)
    message = (
        "Positions that predict a prompt token or padding get a gradient, or some response token gets none."
    )
    require(
        bool((moved == wanted).all()), GRADIENT, message, idea="F22", case=f"labels = {short(labels.numpy())}"
    )


def _check_extremes(function: Any, rng: np.random.Generator) -> None:
    labels = _labels(rng, 3, 8, 12)
    logits = (rng.normal(size=(3, 8, 12)) * 1e4).astype(np.float32)
    losses, mask = _nll(logits.astype(float), labels)
    got = _number(function(torch.tensor(logits), torch.tensor(labels)))
    message = "Logits of a few thousand give inf or NaN: exp overflows. Use log_softmax or cross_entropy."
    close = math.isclose(got, losses.sum() / mask.sum(), rel_tol=1e-3)
    require(math.isfinite(got) and close, STABLE, message, idea="overflow", got=short(got))
    empty = np.full((2, 5), IGNORED)
    try:
        got = _number(function(torch.tensor(rng.normal(size=(2, 5, 12))), torch.tensor(empty)))
    except CheckFailed as wrong:
        if wrong.check == RUNS and isinstance(wrong.__cause__, ValueError):
            return
        raise
    message = "A batch without one response token gives NaN, and one NaN in the weights is there for good."
    require(math.isfinite(got), NOTHING, message, idea="F32", case="all labels are -100", got=short(got))
    message = "A batch without one response token has nothing to teach: its loss is 0."
    require(got == 0, NOTHING, message, case="all labels are -100", got=short(got))


EXERCISE = Exercise(
    "4.2",
    "The batch and its loss",
    3,
    15,
    ("sft_batch", "sft_loss"),
    (
        Part("tokens and padding", 1, grade_tokens),
        Part("what is learned", 1, grade_labels),
        Part("the end of a response", 1, grade_ends),
        Part("the loss", 2, grade_loss),
    ),
)
