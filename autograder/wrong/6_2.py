# %% given
import torch


def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    rewards = torch.where(mask, -coefficient * (logprobs - reference_logprobs), 0.0)
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    return rewards + last * scores[:, None]


def gae(rewards, values, mask, discount, smoothing):
    values, found = torch.where(mask, values, 0.0), torch.zeros_like(values)
    following = ahead = torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + discount * following - values[:, t]
        ahead = torch.where(mask[:, t], delta + discount * smoothing * ahead, 0.0)
        found[:, t], following = ahead, values[:, t]
    return found


def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def clipped_value_loss(values, old_values, returns, clip):
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum((values - returns) ** 2, (near - returns) ** 2) / 2


# %% correct: loops and the other way to write a minimum
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    rewards = torch.zeros_like(logprobs)
    for row, keep in enumerate(mask):
        places = keep.nonzero().flatten().tolist()
        for t in places:
            rewards[row, t] = coefficient * (reference_logprobs[row, t] - logprobs[row, t])
        if places:
            rewards[row, places[-1]] += scores[row]
    return rewards


def gae(rewards, values, mask, discount, smoothing):
    found = [[0.0] * values.shape[1] for _ in values]
    for row, length in enumerate(mask.sum(1).tolist()):
        for t in range(length):
            for k in range(t, length):
                after = float(values[row, k + 1]) if k + 1 < length else 0.0
                delta = float(rewards[row, k]) + discount * after - float(values[row, k])
                found[row][t] += (discount * smoothing) ** (k - t) * delta
    return torch.tensor(found)


def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = (logprobs - old_logprobs).exp()
    low, high = torch.full_like(ratio, 1 - clip), torch.full_like(ratio, 1 + clip)
    held = torch.where(advantages > 0, torch.minimum(ratio, high), torch.maximum(ratio, low))
    return -held * advantages


def clipped_value_loss(values, old_values, returns, clip):
    near = torch.maximum(torch.minimum(values, old_values + clip), old_values - clip)
    return 0.5 * torch.maximum((values - returns).abs(), (near - returns).abs()).square()


# %% correct: the maximum of two losses, a scatter
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    rewards = -coefficient * (logprobs - reference_logprobs).masked_fill(~mask, 0.0)
    lengths = mask.sum(1)
    add = torch.where(lengths > 0, scores, torch.zeros_like(scores))
    return rewards.scatter_add(1, (lengths - 1).clamp(min=0)[:, None], add[:, None])


def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    return torch.maximum(-ratio * advantages, -torch.clip(ratio, 1 - clip, 1 + clip) * advantages)


# %% correct: numpy where no gradient is asked for
import numpy as np


def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    keep = mask.numpy()
    rewards = np.where(keep, -coefficient * (logprobs.numpy() - reference_logprobs.numpy()), 0.0)
    lengths = keep.sum(1)
    rows = np.flatnonzero(lengths)
    rewards[rows, lengths[rows] - 1] += scores.numpy()[rows]
    return rewards


def gae(rewards, values, mask, discount, smoothing):
    keep = mask.numpy().astype(np.float32)
    gains, known = rewards.numpy(), values.numpy() * keep
    after = np.hstack([known[:, 1:], np.zeros((len(known), 1), np.float32)])
    delta, found, ahead = (gains + discount * after - known) * keep, np.zeros_like(known), 0.0
    for t in range(known.shape[1] - 1, -1, -1):
        found[:, t] = ahead = delta[:, t] + discount * smoothing * ahead * keep[:, t]
    return found.astype(np.float32)


def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = (logprobs.double() - old_logprobs.double()).exp()
    beyond = torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
    stop = torch.where(advantages > 0, 1 + clip, 1 - clip).double()
    return -torch.where(beyond, stop, ratio) * advantages


def clipped_value_loss(values, old_values, returns, clip):
    near = torch.clip(values.double(), old_values.double() - clip, old_values.double() + clip)
    return torch.stack([(values - returns) ** 2, (near - returns) ** 2]).amax(0) / 2


# %% correct: a matrix of discounts, lists come back
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    table = []
    for row in range(len(mask)):
        length = int(mask[row].sum())
        line = [0.0] * mask.shape[1]
        for t in range(length):
            line[t] = -coefficient * float(logprobs[row, t] - reference_logprobs[row, t])
        if length:
            line[length - 1] += float(scores[row])
        table.append(line)
    return table


def gae(rewards, values, mask, discount, smoothing):
    known = values * mask
    after = torch.nn.functional.pad(known, (0, 1))[:, 1:]
    delta = (rewards + discount * after - known) * mask
    steps = torch.arange(values.shape[1])
    ahead = steps[None] - steps[:, None]
    weights = torch.where(ahead >= 0, (discount * smoothing) ** ahead.clamp(min=0).float(), 0.0)
    return (delta @ weights.T) * mask


def clipped_value_loss(values, old_values, returns, clip):
    table = torch.zeros_like(values)
    for row in range(values.shape[0]):
        for t in range(values.shape[1]):
            value, old, goal = values[row, t], old_values[row, t], returns[row, t]
            near = min(max(value, old - clip), old + clip)
            table[row, t] = max((value - goal) ** 2, (near - goal) ** 2) / 2
    return table


# %% wrong: paid for straying | idea: KL sign | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    return torch.where(mask, coefficient * (logprobs - reference_logprobs), 0.0) + last * scores[:, None]


# %% wrong: in the last column | idea: last column | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    rewards = torch.where(mask, -coefficient * (logprobs - reference_logprobs), 0.0)
    rewards[:, -1] += scores
    return rewards


# %% wrong: the score on every token | idea: every token | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    return torch.where(mask, scores[:, None] - coefficient * (logprobs - reference_logprobs), 0.0)


# %% wrong: KL on the last token | idea: summed | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    kl = torch.where(mask, logprobs - reference_logprobs, 0.0).sum(1)
    return last * (scores - coefficient * kl)[:, None]


# %% wrong: an empty row keeps its score | idea: F32 | fails at: stays finite | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    rewards = torch.where(mask, -coefficient * (logprobs - reference_logprobs), 0.0)
    rewards[torch.arange(len(mask)), mask.sum(1) - 1] += scores
    return rewards


# %% wrong: the value of the same token | idea: GAE off by one | fails at: looks one token ahead | points: 2.5
def gae(rewards, values, mask, discount, smoothing):
    values, found = torch.where(mask, values, 0.0), torch.zeros_like(values)
    ahead = torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + discount * values[:, t] - values[:, t]
        ahead = torch.where(mask[:, t], delta + discount * smoothing * ahead, 0.0)
        found[:, t] = ahead
    return found


# %% wrong: values from behind the end | idea: bleeds | fails at: looks one token ahead | points: 2.5
def gae(rewards, values, mask, discount, smoothing):
    found = torch.zeros_like(values)
    ahead = torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        following = values[:, t + 1] if t + 1 < values.shape[1] else 0.0
        delta = rewards[:, t] + discount * following - values[:, t]
        ahead = torch.where(mask[:, t], delta + discount * smoothing * ahead, 0.0)
        found[:, t] = ahead
    return found


# %% wrong: one step only | idea: no smoothing | fails at: looks one token ahead | points: 2.5
_right = gae


def gae(rewards, values, mask, discount, smoothing):
    return _right(rewards, values, mask, discount, 0.0)


# %% wrong: no discount | idea: no discount | fails at: looks one token ahead | points: 2.5
_right = gae


def gae(rewards, values, mask, discount, smoothing):
    return _right(rewards, values, mask, 1.0, smoothing)


# %% wrong: returns for advantages | idea: returns | fails at: looks one token ahead | points: 2.5
_right = gae


def gae(rewards, values, mask, discount, smoothing):
    return _right(rewards, values, mask, discount, smoothing) + torch.where(mask, values, 0.0)


# %% wrong: something behind the end | idea: mask | fails at: stops at the last token | points: 2.5
_right = gae


def gae(rewards, values, mask, discount, smoothing):
    return torch.where(mask, _right(rewards, values, mask, discount, smoothing), -values)


# %% wrong: the larger | idea: clip on the wrong side | fails at: clips on the right side | points: 2.5
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    return -torch.maximum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


# %% wrong: clipped both ways | idea: clip on the wrong side | fails at: clips on the right side | points: 2.5
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    return -torch.exp(logprobs - old_logprobs).clamp(1 - clip, 1 + clip) * advantages


# %% wrong: no clip | idea: no clip | fails at: clips on the right side | points: 2.5
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    return -torch.exp(logprobs - old_logprobs) * advantages


# %% wrong: no exp | idea: no ratio | fails at: clips on the right side | points: 2.5
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = logprobs - old_logprobs
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


# %% wrong: old over new | idea: ratio upside down | fails at: clips on the right side | points: 2.5
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(old_logprobs - logprobs)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


# %% wrong: the policy is detached | idea: detached | fails at: lets the gradient through | points: 2.5
_right = clipped_policy_loss


def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    return _right(logprobs.detach(), old_logprobs, advantages, clip)


# %% wrong: the smaller error | idea: smaller error | fails at: takes the larger error | points: 3
def clipped_value_loss(values, old_values, returns, clip):
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.minimum((values - returns) ** 2, (near - returns) ** 2) / 2


# %% wrong: the value is not held | idea: no clip | fails at: takes the larger error | points: 3
def clipped_value_loss(values, old_values, returns, clip):
    return (values - returns) ** 2 / 2


# %% wrong: no half | idea: half | fails at: takes the larger error | points: 3
def clipped_value_loss(values, old_values, returns, clip):
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum((values - returns) ** 2, (near - returns) ** 2)


# %% wrong: no coefficient | idea: KL | fails at: charges KL to the reference | points: 2.5
_right = token_rewards


def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    return _right(scores, logprobs, reference_logprobs, mask, 1.0)


# %% wrong: no penalty | idea: KL | fails at: charges KL to the reference | points: 2.5
_right = token_rewards


def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    return _right(scores, logprobs, reference_logprobs, mask, 0.0)


# %% wrong: on the first token | idea: first token | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    rewards = torch.where(mask, -coefficient * (logprobs - reference_logprobs), 0.0)
    rewards[:, 0] += scores
    return rewards


# %% wrong: the mask is not read | idea: mask | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    return -coefficient * (logprobs - reference_logprobs) + last * scores[:, None]


# %% wrong: never negative | idea: squared | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    gap = reference_logprobs - logprobs
    return torch.where(mask, -coefficient * (gap.exp() - 1 - gap), 0.0) + last * scores[:, None]


# %% wrong: absolute values | idea: squared | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    gap = (reference_logprobs - logprobs).abs()
    return torch.where(mask, -coefficient * gap, 0.0) + last * scores[:, None]


# %% wrong: probabilities are compared | idea: KL | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    gap = logprobs.exp() - reference_logprobs.exp()
    return torch.where(mask, -coefficient * gap, 0.0) + last * scores[:, None]


# %% wrong: the score per token | idea: per length | fails at: charges KL to the reference | points: 2.5
_right = token_rewards


def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    return _right(scores / mask.sum(1).clamp(min=1), logprobs, reference_logprobs, mask, coefficient)


# %% wrong: the score is taken off | idea: score sign | fails at: charges KL to the reference | points: 2.5
_right = token_rewards


def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    return _right(-scores, logprobs, reference_logprobs, mask, coefficient)


# %% wrong: two tokens ahead | idea: GAE off by one | fails at: looks one token ahead | points: 2.5
def gae(rewards, values, mask, discount, smoothing):
    known, found = values * mask, torch.zeros_like(values)
    after = torch.nn.functional.pad(known, (0, 2))[:, 2:]
    ahead = torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + discount * after[:, t] - known[:, t]
        ahead = (delta + discount * smoothing * ahead) * mask[:, t]
        found[:, t] = ahead
    return found


# %% wrong: smoothed without the discount | idea: no discount | fails at: looks one token ahead | points: 2.5
def gae(rewards, values, mask, discount, smoothing):
    known, found = values * mask, torch.zeros_like(values)
    after, ahead = torch.nn.functional.pad(known, (0, 1))[:, 1:], torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        ahead = (rewards[:, t] + discount * after[:, t] - known[:, t] + smoothing * ahead) * mask[:, t]
        found[:, t] = ahead
    return found


# %% wrong: from the front | idea: forwards | fails at: looks one token ahead | points: 2.5
def gae(rewards, values, mask, discount, smoothing):
    known, found = values * mask, torch.zeros_like(values)
    after, ahead = torch.nn.functional.pad(known, (0, 1))[:, 1:], torch.zeros(len(values))
    for t in range(values.shape[1]):
        delta = rewards[:, t] + discount * after[:, t] - known[:, t]
        ahead = (delta + discount * smoothing * ahead) * mask[:, t]
        found[:, t] = ahead
    return found


# %% wrong: without the values | idea: advantage | fails at: looks one token ahead | points: 2.5
_right = gae


def gae(rewards, values, mask, discount, smoothing):
    return _right(rewards, 0 * values, mask, discount, smoothing)


# %% wrong: whitened | idea: advantage | fails at: looks one token ahead | points: 2.5
_right = gae


def gae(rewards, values, mask, discount, smoothing):
    found = _right(rewards, values, mask, discount, smoothing)
    inside = found[mask]
    return torch.where(mask, (found - inside.mean()) / inside.std(correction=0), 0.0)


# %% wrong: a loss that rises | idea: sign | fails at: clips on the right side | points: 2.5
_right = clipped_policy_loss


def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    return -_right(logprobs, old_logprobs, advantages, clip)


# %% wrong: held from minus clip to clip | idea: clip | fails at: clips on the right side | points: 2.5
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    return -torch.minimum(ratio * advantages, ratio.clamp(-clip, clip) * advantages)


# %% wrong: the advantage alone | idea: no ratio | fails at: clips on the right side | points: 2.5
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    return -advantages


# %% wrong: a gradient beyond the clip | idea: gradient | fails at: lets the gradient through | points: 2.5
_right = clipped_policy_loss


def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    value = _right(logprobs, old_logprobs, advantages, clip)
    pushed = -torch.exp(logprobs - old_logprobs) * advantages
    return value.detach() + pushed - pushed.detach()


# %% wrong: the held value alone | idea: held alone | fails at: takes the larger error | points: 3
def clipped_value_loss(values, old_values, returns, clip):
    return (old_values + (values - old_values).clamp(-clip, clip) - returns) ** 2 / 2


# %% wrong: held around 0 | idea: clip | fails at: takes the larger error | points: 3
def clipped_value_loss(values, old_values, returns, clip):
    return torch.maximum((values - returns) ** 2, (values.clamp(-clip, clip) - returns) ** 2) / 2


# %% wrong: not squared | idea: not squared | fails at: takes the larger error | points: 3
def clipped_value_loss(values, old_values, returns, clip):
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum((values - returns).abs(), (near - returns).abs()) / 2


# %% wrong: the mean of both errors | idea: smaller error | fails at: takes the larger error | points: 3
def clipped_value_loss(values, old_values, returns, clip):
    near = old_values + (values - old_values).clamp(-clip, clip)
    return ((values - returns) ** 2 + (near - returns) ** 2) / 4


# %% wrong: the value is detached | idea: detached | fails at: lets the gradient through | points: 3
_right = clipped_value_loss


def clipped_value_loss(values, old_values, returns, clip):
    return _right(values.detach(), old_values, returns, clip)


# %% wrong: numpy for the value | idea: detached | fails at: lets the gradient through | points: 3
import numpy as np


def clipped_value_loss(values, old_values, returns, clip):
    now, old, goal = (x.detach().numpy() for x in (values, old_values, returns))
    return np.maximum((now - goal) ** 2, (np.clip(now, old - clip, old + clip) - goal) ** 2) / 2


# %% wrong: behind the last token | idea: off by one | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    rewards = torch.where(mask, -coefficient * (logprobs - reference_logprobs), 0.0)
    for row, end in enumerate(mask.sum(1).tolist()):
        if 0 < end < mask.shape[1]:
            rewards[row, end] += scores[row]
    return rewards


# %% wrong: the score without the KL | idea: no KL | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    rewards = torch.where(mask, -coefficient * (logprobs - reference_logprobs), 0.0)
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    return torch.where(last, scores[:, None], rewards)


# %% wrong: V undiscounted | idea: no discount | fails at: looks one token ahead | points: 2.5
def gae(rewards, values, mask, discount, smoothing):
    found = torch.zeros_like(rewards)
    for row, end in enumerate(mask.sum(1).tolist()):
        ahead = following = 0.0
        for t in reversed(range(end)):
            ahead = rewards[row, t] + following - values[row, t] + discount * smoothing * ahead
            found[row, t], following = ahead, values[row, t]
    return found


# %% wrong: the recursion begins in the padding | idea: bleeds | fails at: looks one token ahead | points: 2.5
def gae(rewards, values, mask, discount, smoothing):
    found, ahead, following = torch.zeros_like(rewards), 0.0, 0.0
    for t in reversed(range(rewards.shape[1])):
        ahead = rewards[:, t] + discount * following - values[:, t] + discount * smoothing * ahead
        found[:, t], following = ahead, values[:, t]
    return torch.where(mask, found, 0.0)


# %% wrong: rewards overwritten | idea: input changed | fails at: leaves its input as it was | points: 2.5
right = gae


def gae(rewards, values, mask, discount, smoothing):
    rewards[:] = right(rewards, values, mask, discount, smoothing)
    return rewards


# %% wrong: a bound of 1 / (1 + clip) | idea: clip | fails at: clips on the right side | points: 2.5
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 / (1 + clip), 1 + clip) * advantages)


# %% wrong: the clip is typed in | idea: clip | fails at: clips on the right side | points: 2.5
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    return -torch.minimum(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)


# %% wrong: within a share of the old value | idea: clip | fails at: takes the larger error | points: 3
def clipped_value_loss(values, old_values, returns, clip):
    near = torch.minimum(torch.maximum(values, old_values * (1 - clip)), old_values * (1 + clip))
    return torch.maximum((values - returns) ** 2, (near - returns) ** 2) / 2


# %% correct: by cases of the advantage, and a triangle of discounts
def gae(rewards, values, mask, discount, smoothing):
    known = torch.where(mask, values, 0.0)
    ahead = torch.cat([known[:, 1:], torch.zeros_like(known[:, :1])], 1)
    delta = torch.where(mask, rewards + discount * ahead - known, 0.0)
    steps = torch.arange(delta.shape[1])[:, None] - torch.arange(delta.shape[1])
    weights = torch.where(steps >= 0, float(discount * smoothing) ** steps.clamp(min=0), 0.0)
    return torch.where(mask, delta @ weights, 0.0)


def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = (logprobs - old_logprobs).exp()
    return -torch.where(advantages >= 0, ratio.clamp(max=1 + clip), ratio.clamp(min=1 - clip)) * advantages


# %% wrong: a share, upper bound first | idea: clip | fails at: takes the larger error | points: 3
def clipped_value_loss(values, old_values, returns, clip):
    near = torch.maximum(torch.minimum(values, old_values * (1 + clip)), old_values * (1 - clip))
    return torch.maximum((values - returns) ** 2, (near - returns) ** 2) / 2


# %% wrong: no value of the next token | idea: advantage | fails at: looks one token ahead | points: 2.5
def gae(rewards, values, mask, discount, smoothing):
    found, ahead = torch.zeros_like(rewards), torch.zeros(len(rewards))
    for t in reversed(range(rewards.shape[1])):
        error = rewards[:, t] - values[:, t]
        ahead = torch.where(mask[:, t], error + discount * smoothing * ahead, 0.0)
        found[:, t] = ahead
    return found


# %% wrong: held from above alone | idea: clip | fails at: clips on the right side | points: 2.5
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    ratio = (logprobs - old_logprobs).exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(max=1 + clip) * advantages)


# %% wrong: score on padding | idea: last column | fails at: charges KL to the reference | points: 2.5
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    last = mask.cumsum(1) == mask.sum(1, keepdim=True)
    charged = torch.where(mask, -coefficient * (logprobs - reference_logprobs), 0.0)
    return charged + torch.where(last, scores[:, None], 0.0)
