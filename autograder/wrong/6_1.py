# %% given
import numpy as np
import torch


def leave_one_out(rewards):
    n = rewards.shape[1]
    return rewards.clone() if n == 1 else (rewards - rewards.mean(1, keepdim=True)) * n / (n - 1)


def group_normalised(rewards, epsilon=1e-4):
    centred = rewards - rewards.mean(1, keepdim=True)
    return centred if rewards.shape[1] == 1 else centred / (rewards.std(1, keepdim=True) + epsilon)


def reinforce_loss(logprobs, advantages, mask):
    return -(advantages * torch.where(mask, logprobs, 0.0).sum(1)).mean()


# %% correct: a matrix of baselines, numpy, a loop
def leave_one_out(rewards):
    n = rewards.shape[1]
    others = (1 - torch.eye(n)) / max(n - 1, 1)
    return rewards - rewards @ others


def group_normalised(rewards, epsilon=1e-4):
    table = rewards.double().numpy()
    spread = np.array([row.std(ddof=1) if len(row) > 1 else 0.0 for row in table])
    return torch.from_numpy((table - table.mean(1, keepdims=True)) / (spread[:, None] + epsilon))


def reinforce_loss(logprobs, advantages, mask):
    rows = [(row[keep]).sum() * weight for row, keep, weight in zip(logprobs, mask, advantages)]
    return -torch.stack(rows).mean()


# %% correct: safer on equal rewards, masked_fill, an einsum
def group_normalised(rewards, epsilon=1e-4):
    spread = rewards.std(1, keepdim=True) if rewards.shape[1] > 1 else torch.zeros(len(rewards), 1)
    scaled = (rewards - rewards.mean(1, keepdim=True)) / (spread + epsilon)
    return torch.where(spread > 1e-6, scaled, torch.zeros_like(scaled))


def reinforce_loss(logprobs, advantages, mask):
    kept = logprobs.masked_fill(~mask, 0.0)
    return torch.einsum("bt,b->", kept, -advantages) / len(mask)


# %% wrong: its own in the baseline | idea: own baseline | fails at: leaves its own reward out | points: 2.5
def leave_one_out(rewards):
    return rewards - rewards.mean(1, keepdim=True)


# %% wrong: the baseline over all prompts | idea: F29 | fails at: leaves its own reward out | points: 2.5
def leave_one_out(rewards):
    return rewards - rewards.mean()


# %% wrong: down the columns | idea: axis | fails at: leaves its own reward out | points: 2.5
_right = leave_one_out


def leave_one_out(rewards):
    return _right(rewards.T).T


# %% wrong: upside down | idea: sign | fails at: leaves its own reward out | points: 2.5
_right = leave_one_out


def leave_one_out(rewards):
    return -_right(rewards)


# %% wrong: others over n | idea: n for n - 1 | fails at: leaves its own reward out | points: 2.5
def leave_one_out(rewards):
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / rewards.shape[1]


# %% wrong: NaN for one response | idea: F32 | fails at: copes with one response | points: 2.5
def leave_one_out(rewards):
    n = rewards.shape[1]
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / torch.tensor(float(n - 1))


# %% wrong: no epsilon | idea: no epsilon | fails at: gives 0 for equal rewards | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return (rewards - rewards.mean(1, keepdim=True)) / rewards.std(1, keepdim=True)


# %% wrong: undivided | idea: not scaled | fails at: divides by the spread | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return rewards - rewards.mean(1, keepdim=True)


# %% wrong: of the batch | idea: F29 | fails at: divides by the spread | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std() + epsilon)


# %% wrong: over n | idea: ddof | fails at: divides by the spread | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True, correction=0) + epsilon)


# %% wrong: the mean over tokens | idea: token-mean | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -(torch.where(mask, logprobs, 0.0) * advantages[:, None]).sum() / mask.sum()


# %% wrong: means of rows | idea: sequence-mean | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    rows = torch.where(mask, logprobs, 0.0).sum(1) / mask.sum(1).clamp(min=1)
    return -(rows * advantages).mean()


# %% wrong: a loss that rises | idea: sign | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return (torch.where(mask, logprobs, 0.0).sum(1) * advantages).mean()


# %% wrong: padding is summed | idea: mask | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -(logprobs.sum(1) * advantages).mean()


# %% wrong: multiplied by the mask | idea: mask | fails at: reads the mask | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -((logprobs * mask).sum(1) * advantages).mean()


# %% wrong: detached | idea: detached | fails at: lets the gradient through | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -(torch.where(mask, logprobs.detach(), 0.0).sum(1) * advantages).mean()


# %% wrong: through numpy | idea: detached | fails at: lets the gradient through | points: 2
def reinforce_loss(logprobs, advantages, mask):
    kept = np.where(mask.numpy(), logprobs.detach().numpy(), 0.0)
    return torch.tensor(-(kept.sum(1) * advantages.numpy()).mean())


# %% wrong: a gradient of something else | idea: gradient | fails at: has the exact gradient | points: 2
def reinforce_loss(logprobs, advantages, mask):
    kept = torch.where(mask, logprobs, 0.0)
    return -((kept.detach() + 0.5 * (kept - kept.detach())).sum(1) * advantages).mean()
