# %% given
import torch


def sft(logprobs):
    return torch.ones_like(logprobs)


def rejection_sampling(logprobs, kept):
    return kept[:, None] * torch.ones_like(logprobs)


def ppo(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    too_far = (advantages > 0) & (ratio > 1 + clip) | (advantages < 0) & (ratio < 1 - clip)
    return torch.where(too_far, 0.0, ratio * advantages)


def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    pull = torch.exp(reference_logprobs - logprobs) - 1
    return ppo(logprobs, old_logprobs, advantages, clip) + kl_coefficient * pull


def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return beta * torch.sigmoid(-beta * margin)


# %% correct: by automatic differentiation
def _pulled(loss, logprobs):
    leaf = logprobs.detach().clone().requires_grad_(True)
    loss(leaf).sum().backward()
    return -leaf.grad


def _clipped(now, old, advantages, clip):
    ratio = torch.exp(now - old)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


def sft(logprobs):
    return _pulled(lambda now: -now, logprobs)


def ppo(logprobs, old_logprobs, advantages, clip):
    return _pulled(lambda now: _clipped(now, old_logprobs, advantages, clip), logprobs)


def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    def loss(now):
        gap = reference_logprobs - now
        return _clipped(now, old_logprobs, advantages, clip) + kl_coefficient * (gap.exp() - 1 - gap)

    return _pulled(loss, logprobs)


def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    def loss(now):
        margin = now - reference_chosen - rejected + reference_rejected
        return -torch.nn.functional.logsigmoid(beta * margin)

    return _pulled(loss, chosen)


# %% correct: by cases, arrays come back
import numpy as np


def rejection_sampling(logprobs, kept):
    return np.repeat(kept.numpy()[:, None].astype(float), logprobs.shape[1], axis=1)


def ppo(logprobs, old_logprobs, advantages, clip):
    ratio, gain = np.exp((logprobs - old_logprobs).numpy()), advantages.numpy()
    pushed = np.where(gain > 0, ratio <= 1 + clip, ratio >= 1 - clip)
    return torch.from_numpy(ratio * gain * pushed)


def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - rejected) - (reference_chosen - reference_rejected)
    return beta * (1 - torch.sigmoid(beta * margin))


# %% correct: a number stands for every token, numpy, the other way to write the pull
import numpy as np


def sft(logprobs):
    return 1


def rejection_sampling(logprobs, kept):
    return kept[:, None].float()


def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    pull = np.expm1((reference_logprobs - logprobs).numpy())
    return ppo(logprobs, old_logprobs, advantages, clip).numpy() + kl_coefficient * pull


def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    with np.errstate(over="ignore"):
        margin = (chosen - reference_chosen - rejected + reference_rejected).double().numpy()
        return (beta / (1 + np.exp(beta * margin))).astype(np.float32)


# %% correct: pure Python, token by token
import math


def sft(logprobs):
    return [[1.0 for _ in row] for row in logprobs]


def rejection_sampling(logprobs, kept):
    return [[1.0 if keep else 0.0] * len(row) for row, keep in zip(logprobs.tolist(), kept.tolist())]


def _of_token(now, old, gain, clip):
    ratio = math.exp(now - old)
    if (gain > 0 and ratio > 1 + clip) or (gain < 0 and ratio < 1 - clip):
        return 0.0
    return ratio * gain


def ppo(logprobs, old_logprobs, advantages, clip):
    rows = zip(logprobs.tolist(), old_logprobs.tolist(), advantages.tolist())
    return [[_of_token(*token, clip) for token in zip(*row)] for row in rows]


def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    found = torch.tensor(ppo(logprobs, old_logprobs, advantages, clip))
    return found + kl_coefficient * (torch.exp(reference_logprobs - logprobs) - 1)


# %% correct: booleans, a difference of two parts
def sft(logprobs):
    return logprobs == logprobs


def rejection_sampling(logprobs, kept):
    return kept.unsqueeze(1).expand_as(logprobs)


def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    likelier = reference_logprobs.exp() / logprobs.exp()
    return ppo(logprobs, old_logprobs, advantages, clip) - kl_coefficient * (1 - likelier)


# %% wrong: the log-probability itself | idea: logprob | fails at: gives every token 1 | points: 3
def sft(logprobs):
    return logprobs


# %% wrong: everything is kept | idea: F02 | fails at: gives 1 to kept responses alone | points: 3
def rejection_sampling(logprobs, kept):
    return torch.ones_like(logprobs)


# %% wrong: the rejected go down | idea: negatives | fails at: gives 1 to kept responses alone | points: 3
def rejection_sampling(logprobs, kept):
    return torch.where(kept[:, None], 1.0, -1.0) * torch.ones_like(logprobs)


# %% wrong: the worst for the best | idea: F03 | fails at: gives 1 to kept responses alone | points: 3
def rejection_sampling(logprobs, kept):
    return (~kept)[:, None] * torch.ones_like(logprobs)


# %% wrong: no clip | idea: no clip | fails at: is 0 beyond the clip | points: 2.5
_grpo_part = ppo


def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    pull = torch.exp(reference_logprobs - logprobs) - 1
    return _grpo_part(logprobs, old_logprobs, advantages, clip) + kl_coefficient * pull


def ppo(logprobs, old_logprobs, advantages, clip):
    return torch.exp(logprobs - old_logprobs) * advantages


# %% wrong: 0 outside the clip | idea: clip on the wrong side | fails at: is 0 beyond the clip | points: 1.5
def ppo(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    return torch.where((ratio > 1 + clip) | (ratio < 1 - clip), 0.0, ratio * advantages)


# %% wrong: the held ratio is pushed | idea: held | fails at: is 0 beyond the clip | points: 1.5
def ppo(logprobs, old_logprobs, advantages, clip):
    return torch.exp(logprobs - old_logprobs).clamp(1 - clip, 1 + clip) * advantages


# %% wrong: driven away | idea: KL sign | fails at: pulls towards the reference | points: 2.5
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    pull = 1 - torch.exp(reference_logprobs - logprobs)
    return ppo(logprobs, old_logprobs, advantages, clip) + kl_coefficient * pull


# %% wrong: the plain difference | idea: KL | fails at: pulls towards the reference | points: 2.5
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    return ppo(logprobs, old_logprobs, advantages, clip) + kl_coefficient * (reference_logprobs - logprobs)


# %% wrong: the clear pairs | idea: certain | fails at: weighs a pair by its doubt | points: 2.5
def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return beta * torch.sigmoid(beta * margin)


# %% wrong: no reference | idea: no reference | fails at: weighs a pair by its doubt | points: 2.5
def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    return beta * torch.sigmoid(-beta * (chosen - rejected))


# %% wrong: beta inside alone | idea: no beta | fails at: weighs a pair by its doubt | points: 2.5
def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return torch.sigmoid(-beta * margin)


# %% wrong: overflows | idea: overflow | fails at: weighs a pair by its doubt | points: 2.5
def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return beta * torch.exp(-beta * margin) / (1 + torch.exp(-beta * margin))


# %% wrong: likely tokens count more | idea: probability | fails at: gives every token 1 | points: 3
def sft(logprobs):
    return logprobs.exp()


# %% wrong: it unlearns | idea: sign | fails at: gives every token 1 | points: 3
def sft(logprobs):
    return -torch.ones_like(logprobs)


# %% wrong: already averaged | idea: averaged | fails at: gives every token 1 | points: 3
def sft(logprobs):
    return torch.ones_like(logprobs) / logprobs.shape[1]


# %% wrong: the kept weigh more | idea: divided | fails at: gives 1 to kept responses alone | points: 3
def rejection_sampling(logprobs, kept):
    return kept[:, None] * torch.ones_like(logprobs) / kept.float().mean()


# %% wrong: the kept by logprob | idea: by logprob | fails at: gives 1 to kept responses alone | points: 3
def rejection_sampling(logprobs, kept):
    return kept[:, None] * logprobs


# %% wrong: a ratio upside down | idea: no ratio | fails at: is 0 beyond the clip | points: 1.5
def ppo(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    too_far = torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
    return torch.where(too_far, 0.0, advantages / ratio)


# %% wrong: the ratio is left out | idea: no ratio | fails at: is 0 beyond the clip | points: 1.5
def ppo(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    too_far = torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
    return torch.where(too_far, 0.0, advantages)


# %% wrong: a clip upside down | idea: clip on the wrong side | fails at: is 0 beyond the clip | points: 1.5
def ppo(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    too_far = torch.where(advantages > 0, ratio < 1 - clip, ratio > 1 + clip)
    return torch.where(too_far, 0.0, ratio * advantages)


# %% wrong: PPO alone | idea: KL | fails at: pulls towards the reference | points: 2.5
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    return ppo(logprobs, old_logprobs, advantages, clip)


# %% wrong: the value of the KL | idea: KL | fails at: pulls towards the reference | points: 2.5
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    gap = reference_logprobs - logprobs
    return ppo(logprobs, old_logprobs, advantages, clip) - kl_coefficient * (gap.exp() - 1 - gap)


# %% wrong: pulled even at the reference | idea: KL | fails at: pulls towards the reference | points: 2.5
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    pull = torch.exp(reference_logprobs - logprobs)
    return ppo(logprobs, old_logprobs, advantages, clip) + kl_coefficient * pull


# %% wrong: the pull upside down | idea: KL | fails at: pulls towards the reference | points: 2.5
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    pull = 1 - torch.exp(logprobs - reference_logprobs)
    return ppo(logprobs, old_logprobs, advantages, clip) + kl_coefficient * pull


# %% wrong: no pull where the clip holds | idea: KL | fails at: pulls towards the reference | points: 2.5
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    part = ppo(logprobs, old_logprobs, advantages, clip)
    pull = torch.exp(reference_logprobs - logprobs) - 1
    return torch.where(part == 0, 0.0, part + kl_coefficient * pull)


# %% wrong: beta in front alone | idea: no beta | fails at: weighs a pair by its doubt | points: 2.5
def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return beta * torch.sigmoid(-margin)


# %% wrong: the loss itself | idea: loss | fails at: weighs a pair by its doubt | points: 2.5
def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -torch.nn.functional.logsigmoid(beta * margin)


# %% wrong: all pairs alike | idea: constant | fails at: weighs a pair by its doubt | points: 2.5
def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    return torch.full_like(chosen, beta)


# %% wrong: the references exchanged | idea: no reference | fails at: weighs a pair by its doubt | points: 2.5
def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    margin = (chosen - reference_rejected) - (rejected - reference_chosen)
    return beta * torch.sigmoid(-beta * margin)


# %% wrong: the mean of the kept | idea: divided | fails at: gives 1 to kept responses alone | points: 3
def rejection_sampling(logprobs, kept):
    return (kept / kept.sum())[:, None] * torch.ones_like(logprobs)


# %% wrong: the two products | idea: products | fails at: is 0 beyond the clip | points: 1.5
def ppo(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    return torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)


# %% wrong: good ones held alone | idea: clip on the wrong side | fails at: is 0 beyond the clip | points: 1.5
def ppo(logprobs, old_logprobs, advantages, clip):
    ratio = torch.exp(logprobs - old_logprobs)
    return torch.where((advantages > 0) & (ratio > 1 + clip), 0.0, ratio * advantages)


# %% wrong: d turned round | idea: KL | fails at: pulls towards the reference | points: 2.5
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    pull = torch.exp(logprobs - reference_logprobs) - 1
    return ppo(logprobs, old_logprobs, advantages, clip) + kl_coefficient * pull


# %% wrong: the KL to the policy that drew | idea: KL | fails at: pulls towards the reference | points: 2.5
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    pull = torch.exp(old_logprobs - logprobs) - 1
    return ppo(logprobs, old_logprobs, advantages, clip) + kl_coefficient * pull


# %% wrong: the slope of the sigmoid | idea: loss | fails at: weighs a pair by its doubt | points: 2.5
right = dpo


def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    doubt = right(chosen, rejected, reference_chosen, reference_rejected, beta) / beta
    return beta * doubt * (1 - doubt)


# %% correct: pure Python's exp, pair by pair
import math


def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    parts = [part.tolist() for part in (chosen, rejected, reference_chosen, reference_rejected)]
    margins = [(best - of_best) - (worst - of_worst) for best, worst, of_best, of_worst in zip(*parts)]
    return [beta / (1 + math.exp(beta * margin)) for margin in margins]


# %% wrong: the derivative by the logit | idea: probability | fails at: gives every token 1 | points: 3
def sft(logprobs):
    return 1 - logprobs.exp()
