# %% given
import torch
import torch.nn.functional as F


def whole(response, reason, eos_id):
    response = list(response)
    if reason == "eos" and (not response or response[-1] != eos_id):
        response.append(eos_id)
    return response


def fits(rows, max_length):
    for number, ids in enumerate(rows):
        if len(ids) > max_length:
            raise ValueError(f"row {number}: {len(ids)} tokens")


def build(prompts, responses, pad_id, max_length, label_of=lambda p, r: [-100] * len(p) + r, fill=-100):
    rows = [list(p) + r for p, r in zip(prompts, responses)]
    fits(rows, max_length)
    width = max(len(r) for r in rows)
    return {
        "input_ids": torch.tensor([r + [pad_id] * (width - len(r)) for r in rows]),
        "labels": torch.tensor(
            [(ids := label_of(list(p), r)) + [fill] * (width - len(ids)) for p, r in zip(prompts, responses)]
        ),
        "attention_mask": torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in rows]),
    }


def ended(responses, reasons, eos_id):
    return [whole(r, f, eos_id) for r, f in zip(responses, reasons)]


def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    return build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length)


def sft_loss(logits, labels):
    logprobs = torch.log_softmax(logits[:, :-1], dim=-1)
    targets = labels[:, 1:]
    mask = targets != -100
    picked = logprobs.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(picked * mask).sum() / max(1, int(mask.sum()))


# %% correct: lists and log_softmax


# %% correct: pad_sequence and cross_entropy over what is learned
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    responses = ended(responses, finish_reasons, eos_id)
    rows = [torch.tensor(list(p) + r) for p, r in zip(prompts, responses)]
    fits(rows, max_length)
    labels = [row.clone() for row in rows]
    for row, p in zip(labels, prompts):
        row[: len(p)] = -100
    pad = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(rows, batch_first=True, padding_value=pad_id),
        "labels": pad(labels, batch_first=True, padding_value=-100),
        "attention_mask": pad([torch.ones(len(r), dtype=torch.bool) for r in rows], batch_first=True),
    }


def sft_loss(logits, labels):
    keep = labels[:, 1:] != -100
    if not keep.any():
        return logits.sum() * 0
    return F.cross_entropy(logits[:, :-1][keep], labels[:, 1:][keep])


# %% correct: a batch with nothing to learn is an error
def sft_loss(logits, labels):
    if (labels[:, 1:] == -100).all():
        raise ValueError("there is no response token in this batch")
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:])


# %% correct: token by token, in a mapping that is no dict
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    from collections import UserDict

    return UserDict(build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length))


def sft_loss(logits, labels):
    losses = [
        logits[row, at - 1].logsumexp(0) - logits[row, at - 1, labels[row, at]]
        for row in range(len(labels))
        for at in range(1, labels.shape[1])
        if labels[row, at] != -100
    ]
    return torch.stack(losses).mean() if losses else 0


# %% wrong: padded left | idea: F28 | fails at: puts the tokens in order, padded on the right | points: 2
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    batch = build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length)
    for row in range(len(prompts)):
        shift = int((batch["attention_mask"][row] == 0).sum())
        for key in batch:
            batch[key][row] = batch[key][row].roll(shift)
    return batch


# %% wrong: the mask asks for pad_id | idea: F23 | fails at: marks the real tokens | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    batch = build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length)
    return batch | {"attention_mask": (batch["input_ids"] != pad_id).long()}


# %% wrong: the prompt is learned | idea: F22 | fails at: learns the response alone | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    responses = ended(responses, finish_reasons, eos_id)
    return build(prompts, responses, pad_id, max_length, lambda p, r: p + r)


# %% wrong: padding is learned | idea: F23 | fails at: never learns padding | points: 3
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    return build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length, fill=pad_id)


# %% wrong: labels masked by id | idea: F23 | fails at: learns the response alone | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    batch = build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length)
    batch["labels"][batch["input_ids"] == pad_id] = -100
    return batch


# %% wrong: labels shifted | idea: shift twice | fails at: learns the response alone | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    batch = build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length)
    labels = batch["labels"].roll(-1, dims=1)
    labels[:, -1] = -100
    return batch | {"labels": labels}


# %% wrong: cut responses get an end | idea: F25 | fails at: ends what finished, and only that | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    return build(prompts, ended(responses, ["eos"] * len(prompts), eos_id), pad_id, max_length)


# %% wrong: no response has an end | idea: F24 | fails at: ends what finished, and only that | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    bare = [r[:-1] if r and r[-1] == eos_id else list(r) for r in responses]
    return build(prompts, bare, pad_id, max_length)


# %% wrong: responses as they come | idea: F24 | fails at: ends what finished, and only that | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    return build(prompts, [list(r) for r in responses], pad_id, max_length)


# %% wrong: two ends | idea: F24 | fails at: ends what finished, and only that | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    twice = [list(r) + [eos_id] * (f == "eos") for r, f in zip(responses, finish_reasons)]
    return build(prompts, twice, pad_id, max_length)


# %% wrong: long rows are cut | idea: F25 | fails at: refuses a row that is too long | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    batch = build(prompts, ended(responses, finish_reasons, eos_id), pad_id, 10**6)
    return {key: tensor[:, :max_length] for key, tensor in batch.items()}


# %% wrong: length before the end | idea: off by one | fails at: refuses a row that is too long | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    fits([list(p) + list(r) for p, r in zip(prompts, responses)], max_length)
    return build(prompts, ended(responses, finish_reasons, eos_id), pad_id, 10**6)


# %% wrong: mean of means | idea: sequence mean | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    rows = [F.cross_entropy(logits[k, :-1], labels[k, 1:]) for k in range(len(labels))]
    return torch.stack(rows).mean()


# %% wrong: no shift | idea: no shift | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


# %% wrong: divided by all positions | idea: F23 | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none").mean()


# %% wrong: the sum | idea: sum | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="sum")


# %% wrong: the sign | idea: F03 | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    return -F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:])


# %% wrong: NaN for nothing | idea: F32 | fails at: is finite on a batch with nothing to learn | points: 3
def sft_loss(logits, labels):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:])


# %% wrong: softmax | idea: overflow | fails at: stays finite where logits are large | points: 3
def sft_loss(logits, labels):
    probabilities = logits[:, :-1].exp() / logits[:, :-1].exp().sum(-1, keepdim=True)
    mask = labels[:, 1:] != -100
    picked = probabilities.gather(-1, labels[:, 1:].clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(picked.log() * mask).sum() / mask.sum().clamp(min=1)


# %% wrong: detached | idea: detached | fails at: hands a gradient to the response's tokens alone | points: 3
def sft_loss(logits, labels):
    keep = labels[:, 1:] != -100
    return F.cross_entropy(logits[:, :-1][keep].detach(), labels[:, 1:][keep]) if keep.any() else 0.0


# %% wrong: nothing to learn costs 1 | fails at: is finite on a batch with nothing to learn | points: 3
def sft_loss(logits, labels):
    keep = labels[:, 1:] != -100
    return F.cross_entropy(logits[:, :-1][keep], labels[:, 1:][keep]) if keep.any() else 1.0


# %% correct: positions against lengths, whole numbers of another width, nothing for an empty batch
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    responses = ended(responses, finish_reasons, eos_id)
    fits([list(p) + r for p, r in zip(prompts, responses)], max_length)
    starts = torch.tensor([len(p) for p in prompts])[:, None]
    ends = starts + torch.tensor([len(r) for r in responses])[:, None]
    at = torch.arange(int(ends.max()))[None]
    ids = torch.full((len(prompts), at.shape[1]), pad_id, dtype=torch.int32)
    for row, (p, r) in enumerate(zip(prompts, responses)):
        ids[row, : len(p) + len(r)] = torch.tensor([*p, *r])
    labels = ids.masked_fill((at < starts) | (at >= ends), -100)
    return {"input_ids": ids, "labels": labels, "attention_mask": (at < ends).int()}


def sft_loss(logits, labels):
    losses = F.cross_entropy(logits.double()[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
    return losses.sum() / (labels[:, 1:] >= 0).sum().clamp(min=1)


# %% wrong: ends appended in place | idea: input changed | fails at: leaves its input as it was | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    for response, reason in zip(responses, finish_reasons):
        if reason == "eos" and response[-1:] != [eos_id]:
            response.append(eos_id)
    return build(prompts, responses, pad_id, max_length)


# %% wrong: labels overwritten | idea: input changed | fails at: leaves its input as it was | points: 3
def sft_loss(logits, labels):
    targets = labels[:, 1:]
    learned = targets != -100
    targets[~learned] = 0
    picked = torch.log_softmax(logits[:, :-1], -1).gather(-1, targets[..., None])[..., 0]
    return -(picked * learned).sum() / learned.sum().clamp(min=1)


# %% wrong: starts late | idea: off by one | fails at: learns the response alone | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    responses = ended(responses, finish_reasons, eos_id)
    return build(prompts, responses, pad_id, max_length, lambda p, r: [-100] * len(p + r[:1]) + r[1:])


# %% wrong: starts early | idea: off by one | fails at: learns the response alone | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    responses = ended(responses, finish_reasons, eos_id)
    return build(prompts, responses, pad_id, max_length, lambda p, r: [-100] * (len(p) - 1) + p[-1:] + r)


# %% wrong: the end token is not learned | idea: F24 | fails at: learns the response alone | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    batch = build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length)
    batch["labels"][batch["labels"] == eos_id] = -100
    return batch


# %% wrong: prompt by its end token | fails at: learns the response alone | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    def label_of(p, r):
        mute = p.index(eos_id) + 1 if eos_id in p else len(p)
        return [-100] * mute + (p + r)[mute:]

    return build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length, label_of)


# %% wrong: the mask hides the prompt | idea: F22 | fails at: marks the real tokens | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    batch = build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length)
    return batch | {"attention_mask": (batch["labels"] != -100).long()}


# %% wrong: refuses what fits | idea: off by one | fails at: refuses a row that is too long | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    return build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length - 1)


# %% wrong: long rows are skipped | idea: F27 | fails at: returns three tensors of one shape | points: 4
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    pairs = list(zip(prompts, ended(responses, finish_reasons, eos_id)))
    pairs = [(p, r) for p, r in pairs if len(p) + len(r) <= max_length]
    return build([p for p, _ in pairs], [r for _, r in pairs], pad_id, max_length)


# %% wrong: new leaf | idea: detached | fails at: hands a gradient to the response's tokens alone | points: 3
def sft_loss(logits, labels):
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).detach(), labels[:, 1:].flatten())
    return loss.requires_grad_()


# %% wrong: shifted back | idea: no shift | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    return F.cross_entropy(logits[:, 1:].flatten(0, 1), labels[:, :-1].flatten())


# %% wrong: in bits | idea: unit | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()) / 0.6931471805599453


# %% wrong: the perplexity | idea: unit | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()).exp()


# %% wrong: float labels | fails at: returns three tensors of one shape | points: 2
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    batch = build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length)
    return batch | {"labels": batch["labels"].float()}


# %% wrong: wide | idea: to max_length | fails at: puts the tokens in order, padded on the right | points: 3
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    batch = build(prompts, ended(responses, finish_reasons, eos_id), pad_id, max_length)
    fill = {"input_ids": pad_id, "labels": -100, "attention_mask": 0}
    return {k: F.pad(v, (0, max_length - v.shape[1]), value=fill[k]) for k, v in batch.items()}


# %% wrong: short labels | fails at: returns three tensors of one shape | points: 2
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    responses = ended(responses, finish_reasons, eos_id)
    batch = build(prompts, responses, pad_id, max_length)
    return batch | {
        "labels": torch.nn.utils.rnn.pad_sequence(
            [torch.tensor(r) for r in responses], batch_first=True, padding_value=-100
        )
    }


# %% wrong: leading | fails at: puts the tokens in order, padded on the right | points: 2
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    responses = [[eos_id, *r] for r in ended(responses, finish_reasons, eos_id)]
    return build(prompts, responses, pad_id, max_length)


# %% wrong: swap | idea: response first | fails at: puts the tokens in order, padded on the right | points: 2
def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    responses = ended(responses, finish_reasons, eos_id)
    return build(responses, [list(p) for p in prompts], pad_id, max_length)


# %% wrong: no log | idea: no logarithm | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    probs = logits[:, :-1].softmax(-1)
    targets = labels[:, 1:]
    mask = targets != -100
    picked = probs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
    return -(picked * mask).sum() / mask.sum().clamp(min=1)


# %% wrong: mean over zeros | idea: F23 | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    targets = labels[:, 1:].clamp(min=0)
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), targets, reduction="none")
    return (losses * (labels[:, 1:] != -100)).mean()


# %% wrong: zeros | idea: F22 | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:].clamp(min=0))


# %% wrong: argmax | idea: likeliest token | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    targets = labels[:, 1:]
    mask = targets != -100
    return -(logits[:, :-1].log_softmax(-1).amax(-1) * mask).sum() / mask.sum().clamp(min=1)


# %% wrong: a loss for each row | fails at: returns three tensors of one shape | points: 3
def sft_loss(logits, labels):
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
    return losses.sum(1) / (labels[:, 1:] != -100).sum(1).clamp(min=1)


# %% correct: labels rolled to the left
def sft_loss(logits, labels):
    target = torch.roll(labels, -1, dims=1)
    target[:, -1] = -100
    loss = F.cross_entropy(logits.transpose(1, 2), target, reduction="none")
    return loss.sum() / max(int((target != -100).sum()), 1)


# %% wrong: two shifts | idea: shifted twice | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    targets = labels[:, 2:].flatten()
    total = F.cross_entropy(logits[:, :-2].flatten(0, 1), targets, reduction="sum")
    return total / (targets != -100).sum().clamp(min=1)


# %% wrong: logits averaged | idea: raw logits | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    targets = labels[:, 1:]
    mask = targets != -100
    picked = logits[:, :-1].gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(picked * mask).sum() / max(1, int(mask.sum()))


# %% wrong: softmax twice | idea: softmax twice | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    targets = labels[:, 1:].flatten()
    total = F.cross_entropy(logits[:, :-1].softmax(-1).flatten(0, 1), targets, reduction="sum")
    return total / (targets != -100).sum().clamp(min=1)


# %% wrong: token 0 is padding | idea: F23 | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    targets = labels[:, 1:].flatten()
    targets = torch.where(targets == 0, -100, targets)
    total = F.cross_entropy(logits[:, :-1].flatten(0, 1), targets, reduction="sum")
    return total / (targets != -100).sum().clamp(min=1)


# %% wrong: 1 - p | idea: no logarithm | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    probabilities, targets = logits[:, :-1].softmax(-1), labels[:, 1:]
    mask = targets != -100
    picked = probabilities.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return ((1 - picked) * mask).sum() / mask.sum().clamp(min=1)


# %% wrong: softmax over T | idea: over positions | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    logprobs, targets = logits[:, :-1].log_softmax(1), labels[:, 1:]
    mask = targets != -100
    picked = logprobs.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(picked * mask).sum() / mask.sum().clamp(min=1)


# %% wrong: last cut off | idea: off by one | fails at: is the mean over all response tokens | points: 3
def sft_loss(logits, labels):
    logprobs, targets = torch.log_softmax(logits[:, :-2], dim=-1), labels[:, 1:-1]
    mask = targets != -100
    picked = logprobs.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return -(picked * mask).sum() / mask.sum().clamp(min=1)


# %% wrong: what just fits | idea: off by one | fails at: refuses a row that is too long | points: 4
_known = sft_batch


def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    for row, (prompt, response) in enumerate(zip(prompts, responses)):
        if len(prompt) + len(response) >= max_length:
            raise ValueError(f"row {row}")
    return _known(prompts, responses, finish_reasons, pad_id, eos_id, max_length)


# %% wrong: room for an end | idea: off by one | fails at: refuses a row that is too long | points: 4
_known = sft_batch


def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    for row, (prompt, response) in enumerate(zip(prompts, responses)):
        if len(prompt) + len(response) + 1 > max_length:
            raise ValueError(f"row {row}")
    return _known(prompts, responses, finish_reasons, pad_id, eos_id, max_length)


# %% wrong: no cut row at the limit | idea: off by one | fails at: refuses a row that is too long | points: 4
_known = sft_batch


def sft_batch(prompts, responses, finish_reasons, pad_id, eos_id, max_length):
    for row, (prompt, response) in enumerate(zip(prompts, responses)):
        if finish_reasons[row] == "length" and len(prompt) + len(response) >= max_length:
            raise ValueError(f"row {row}")
    return _known(prompts, responses, finish_reasons, pad_id, eos_id, max_length)
