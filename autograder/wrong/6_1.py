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


# %% correct: pure Python, lists come back
def leave_one_out(rewards):
    table = [[float(reward) for reward in row] for row in rewards]
    found = []
    for row in table:
        rests = [row[:k] + row[k + 1 :] for k in range(len(row))]
        found.append([reward - (sum(rest) / len(rest) if rest else 0.0) for reward, rest in zip(row, rests)])
    return found


def group_normalised(rewards, epsilon=1e-4):
    found = []
    for row in rewards.tolist():
        mean = sum(row) / len(row)
        variance = sum((reward - mean) ** 2 for reward in row) / (len(row) - 1)
        found.append([(reward - mean) / (variance**0.5 + epsilon) for reward in row])
    return found


def reinforce_loss(logprobs, advantages, mask):
    total = torch.zeros(())
    for row in range(mask.shape[0]):
        for t in range(mask.shape[1]):
            if bool(mask[row, t]):
                total = total - advantages[row] * logprobs[row, t]
    return total / mask.shape[0]


# %% correct: numpy in float32, nan_to_num, a product of matrices
def leave_one_out(rewards):
    table = rewards.numpy().astype(np.float32)
    if table.shape[1] == 1:
        return table.copy()
    keep = ~np.eye(table.shape[1], dtype=bool)
    return np.stack([table[:, k] - table[:, keep[k]].mean(1) for k in range(table.shape[1])], axis=1)


def group_normalised(rewards, epsilon=1e-4):
    table = rewards.numpy().astype(np.float32)
    return (table - table.mean(1, keepdims=True)) / (
        table.std(1, ddof=1, keepdims=True) + np.float32(epsilon)
    )


def reinforce_loss(logprobs, advantages, mask):
    kept = torch.nan_to_num(logprobs, neginf=0.0).masked_fill(~mask, 0.0).double()
    return -(advantages.double() @ kept.sum(1)) / mask.shape[0]


# %% correct: one advantage for every token
def reinforce_loss(logprobs, advantages, mask):
    spread = advantages[:, None].expand_as(logprobs)[mask]
    return -(spread * logprobs[mask]).sum() / len(logprobs)


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


# %% wrong: the rewards themselves | idea: no baseline | fails at: leaves its own reward out | points: 2.5
def leave_one_out(rewards):
    return rewards.clone()


# %% wrong: the median of the others | idea: median | fails at: leaves its own reward out | points: 2.5
def leave_one_out(rewards):
    others = [torch.cat([rewards[:, :k], rewards[:, k + 1 :]], 1) for k in range(rewards.shape[1])]
    medians = [torch.quantile(rest, 0.5, dim=1) if rest.shape[1] else 0 * rewards[:, 0] for rest in others]
    return rewards - torch.stack(medians, 1)


# %% wrong: against the best | idea: own baseline | fails at: leaves its own reward out | points: 2.5
def leave_one_out(rewards):
    return rewards - rewards.max(1, keepdim=True).values


# %% wrong: over all other rows | idea: F29 | fails at: leaves its own reward out | points: 2.5
_right = leave_one_out


def leave_one_out(rewards):
    return _right(rewards.reshape(1, -1)).reshape(rewards.shape)


# %% wrong: divided as GRPO does | idea: scaled | fails at: leaves its own reward out | points: 2.5
def leave_one_out(rewards):
    return group_normalised(rewards)


# %% wrong: nothing for one response | idea: own baseline | fails at: copes with one response | points: 2.5
_right = leave_one_out


def leave_one_out(rewards):
    return _right(rewards) if rewards.shape[1] > 1 else torch.zeros_like(rewards)


# %% wrong: leave one out, then divided | idea: own baseline | fails at: divides by the spread | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return leave_one_out(rewards) / (rewards.std(1, keepdim=True) + epsilon)


# %% wrong: over the variance | idea: variance | fails at: divides by the spread | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.var(1, keepdim=True) + epsilon)


# %% wrong: along the prompts | idea: axis | fails at: divides by the spread | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return (rewards - rewards.mean(0)) / (rewards.std(0) + epsilon)


# %% wrong: the whole batch at once | idea: F29 | fails at: divides by the spread | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return (rewards - rewards.mean()) / (rewards.std() + epsilon)


# %% wrong: rows are added up | idea: sum | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -(torch.where(mask, logprobs, 0.0).sum(1) * advantages).sum()


# %% wrong: probabilities | idea: probability | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -(torch.where(mask, logprobs.exp(), 0.0).sum(1) * advantages).mean()


# %% wrong: the last token alone | idea: last token | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    rows = torch.arange(len(mask))
    return -(logprobs[rows, mask.sum(1) - 1] * advantages).mean()


# %% wrong: without the advantages | idea: no advantage | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -torch.where(mask, logprobs, 0.0).sum(1).mean()


# %% wrong: squared advantages | idea: squared | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -(torch.where(mask, logprobs, 0.0).sum(1) * advantages**2).mean()


# %% wrong: one loss for each row | idea: per row | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -torch.where(mask, logprobs, 0.0).sum(1) * advantages


# %% wrong: its own still in the sum | idea: own baseline | fails at: leaves its own reward out | points: 2.5
def leave_one_out(rewards):
    return rewards - rewards.sum(1, keepdim=True) / max(rewards.shape[1] - 1, 1)


# %% wrong: the baseline alone | idea: baseline | fails at: leaves its own reward out | points: 2.5
def leave_one_out(rewards):
    return (rewards.sum(1, keepdim=True) - rewards) / max(rewards.shape[1] - 1, 1)


# %% wrong: overwrites its rewards | idea: input changed | fails at: leaves its input as it was | points: 2.5
def leave_one_out(rewards):
    rewards -= (rewards.sum(1, keepdim=True) - rewards) / max(rewards.shape[1] - 1, 1)
    return rewards


# %% wrong: epsilon under the root | idea: epsilon | fails at: adds epsilon to the spread | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.var(1, keepdim=True) + epsilon).sqrt()


# %% wrong: an epsilon of its own | idea: no epsilon | fails at: adds epsilon to the spread | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-8)


# %% wrong: scaled alone | idea: not centred | fails at: divides by the spread | points: 2.5
def group_normalised(rewards, epsilon=1e-4):
    return rewards / (rewards.std(1, keepdim=True) + epsilon)


# %% wrong: the mask turned round | idea: mask | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -(advantages * torch.where(mask, 0.0, logprobs).sum(1)).mean()


# %% wrong: advantages centred again | idea: centred | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -((advantages - advantages.mean()) * torch.where(mask, logprobs, 0.0).sum(1)).mean()


# %% wrong: exp of the sum | idea: probability | fails at: sums tokens, averages rows | points: 2
def reinforce_loss(logprobs, advantages, mask):
    return -(advantages * torch.where(mask, logprobs, 0.0).sum(1).exp()).mean()


# %% wrong: made anew from numpy | idea: detached | fails at: lets the gradient through | points: 2
def reinforce_loss(logprobs, advantages, mask):
    sums = np.where(mask.numpy(), logprobs.detach().numpy(), 0.0).sum(1)
    return torch.tensor(-(sums * advantages.numpy()).mean(), requires_grad=True)
