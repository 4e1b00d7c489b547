# %% given
import numpy as np
import torch
import torch.nn.functional as F


def bt_loss(chosen, rejected):
    if chosen.shape != rejected.shape or chosen.numel() == 0:
        raise ValueError("one reward for each side of every pair")
    return -F.logsigmoid(chosen - rejected).mean()


def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return float(np.mean((np.sign(chosen - rejected) + 1) / 2))


def checked(function):
    """A loss with the refusals that the docstring asks for."""

    def loss(chosen, rejected):
        if chosen.shape != rejected.shape or chosen.numel() == 0:
            raise ValueError("one reward for each side of every pair")
        return function(chosen, rejected)

    return loss


# %% correct: logsigmoid and sign
pass


# %% correct: logaddexp and a loop
@checked
def bt_loss(chosen, rejected):
    return torch.logaddexp(torch.zeros_like(chosen), rejected - chosen).mean()


def pair_accuracy(chosen, rejected):
    pairs = list(zip(chosen.tolist(), rejected.tolist()))
    if not pairs or any(a != a or b != b for a, b in pairs):
        raise ValueError("no pairs, or a NaN among the rewards")
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


# %% correct: cross-entropy over the two sides
@checked
def bt_loss(chosen, rejected):
    return F.cross_entropy(torch.stack([chosen, rejected], dim=1), torch.zeros(len(chosen), dtype=torch.long))


# %% correct: by hand with the larger of two, a float64 count
@checked
def bt_loss(chosen, rejected):
    worse = rejected - chosen
    return (worse.clamp(min=0) + torch.log1p(torch.exp(-worse.abs()))).mean()


def pair_accuracy(chosen, rejected):
    if not chosen.size or not (np.isfinite(chosen).all() and np.isfinite(rejected).all()):
        raise ValueError("no pairs, or a reward that is not finite")
    return np.heaviside(chosen - rejected, 0.5).mean()


# %% correct: float64 inside, tensors for the accuracy
@checked
def bt_loss(chosen, rejected):
    both = torch.stack([chosen, rejected]).double()
    return (torch.logsumexp(both, 0) - both[0]).mean()


def pair_accuracy(chosen, rejected):
    first, second = torch.as_tensor(chosen), torch.as_tensor(rejected)
    if not len(first) or first.isnan().any() or second.isnan().any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return ((first > second).double() + 0.5 * (first == second).double()).mean()


# %% wrong: log of sigmoid | idea: underflow | fails at: is right where rewards are far apart | points: 2
@checked
def bt_loss(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected)).mean()


# %% wrong: log of one plus exp | idea: underflow | fails at: is right where rewards are far apart | points: 2
@checked
def bt_loss(chosen, rejected):
    return torch.log(1 + torch.exp(rejected - chosen)).mean()


# %% wrong: an epsilon in the log | idea: clipped | fails at: is right where rewards are far apart | points: 2
@checked
def bt_loss(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected) + 1e-8).mean()


# %% wrong: sign swapped | idea: F03 | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return F.softplus(chosen - rejected).mean()


# %% wrong: sum for mean | idea: sum | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected - chosen).sum()


# %% wrong: one loss per pair | idea: one-per-pair | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected - chosen)


# %% wrong: sigmoid forgotten | idea: no-sigmoid | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return (rejected - chosen).mean()


# %% wrong: absolute difference | idea: absolute-difference | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return F.softplus(-(chosen - rejected).abs()).mean()


# %% wrong: mean of the rewards first | idea: mean-too-early | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected.mean() - chosen.mean())


# %% wrong: log forgotten | idea: no-log | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return 1 - torch.sigmoid(chosen - rejected).mean()


# %% wrong: every chosen with every rejected | idea: broadcast | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected[None, :] - chosen[:, None]).mean()


# %% wrong: shapes that broadcast | idea: broadcast | fails at: refuses shapes that differ | points: 2
def bt_loss(chosen, rejected):
    return F.softplus(rejected - chosen).mean()


# %% wrong: the mean of nothing | idea: F32 | fails at: refuses an empty batch | points: 2
def bt_loss(chosen, rejected):
    if chosen.shape != rejected.shape:
        raise ValueError("one reward for each side of every pair")
    return F.softplus(rejected - chosen).mean()


# %% wrong: detached | idea: detached | fails at: lets the gradient through | points: 2
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected.detach() - chosen.detach()).mean()


# %% wrong: ties lost | idea: tie-lost | fails at: counts a tie as one half | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return float(np.mean(chosen > rejected))


# %% wrong: ties won | idea: tie-won | fails at: counts a tie as one half | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return float(np.mean(chosen >= rejected))


# %% wrong: share in the wrong order | idea: F03 | fails at: is the share in the right order | points: 2
def pair_accuracy(chosen, rejected):
    return float(np.mean((chosen < rejected) + 0.5 * (chosen == rejected)))


# %% wrong: NaN counts as a lost pair | idea: F32 | fails at: refuses NaN | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0:
        raise ValueError("no pairs")
    return float(np.mean((chosen > rejected) + 0.5 * (chosen == rejected)))


# %% wrong: rewards above zero | idea: zero-point | fails at: is the share in the right order | points: 2
def pair_accuracy(chosen, rejected):
    return float(np.mean(chosen > 0))


# %% wrong: float64 alone | idea: underflow | fails at: is right where rewards are very far apart | points: 2
@checked
def bt_loss(chosen, rejected):
    return -torch.log(torch.sigmoid((chosen - rejected).double())).mean()


# %% wrong: a where | idea: underflow | fails at: has the right slope where rewards are far apart | points: 2
@checked
def bt_loss(chosen, rejected):
    worse = rejected - chosen
    near = torch.log1p(torch.exp(worse))
    return torch.where(worse > 0, worse + torch.log1p(torch.exp(-worse)), near).mean()


# %% wrong: the rejected side is detached | idea: detached | fails at: lets the gradient through | points: 2
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected.detach() - chosen).mean()


# %% wrong: a clamped difference | idea: clipped | fails at: is right where rewards are far apart | points: 2
@checked
def bt_loss(chosen, rejected):
    return F.softplus((rejected - chosen).clamp(-50, 50)).mean()


# %% wrong: a list of one | idea: one-per-pair | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected - chosen).mean(dim=0, keepdim=True)


# %% wrong: nearly equal is equal | idea: near-tie | fails at: is the share in the right order | points: 2
_accuracy = pair_accuracy


def pair_accuracy(chosen, rejected):
    return _accuracy(np.round(chosen, 1), np.round(rejected, 1))


# %% wrong: pairs with NaN are dropped | idea: F32 | fails at: refuses NaN | points: 2
_accuracy = pair_accuracy


def pair_accuracy(chosen, rejected):
    whole = ~(np.isnan(chosen) | np.isnan(rejected))
    return _accuracy(chosen[whole], rejected[whole])


# %% correct: the mean of a float32 array
def pair_accuracy(chosen, rejected):
    pair = np.asarray([chosen, rejected], dtype=np.float32)
    if pair.size == 0 or np.isnan(pair).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return (0.5 + 0.5 * np.sign(pair[0] - pair[1])).astype(np.float32).mean()


# %% correct: the loss in plain operations of torch, the share by torch in float32
@checked
def bt_loss(chosen, rejected):
    return F.binary_cross_entropy_with_logits(chosen - rejected, torch.ones_like(chosen))


def pair_accuracy(chosen, rejected):
    gap = torch.tensor(chosen, dtype=torch.float32) - torch.tensor(rejected, dtype=torch.float32)
    if gap.numel() == 0 or torch.isnan(gap).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return torch.where(gap == 0, 0.5, (gap > 0).float()).mean()


# %% correct: log_softmax, a fraction
@checked
def bt_loss(chosen, rejected):
    return -torch.log_softmax(torch.stack((chosen, rejected)), dim=0)[0].mean()


def pair_accuracy(chosen, rejected):
    from fractions import Fraction

    twice = 0
    for a, b in zip(chosen, rejected, strict=True):
        if np.isnan(a) or np.isnan(b):
            raise ValueError("NaN")
        twice += int(a > b) + int(a >= b)
    if not len(chosen):
        raise ValueError("no pairs")
    return float(Fraction(twice, 2 * len(chosen)))


# %% wrong: no minus | idea: minus-forgotten | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return F.logsigmoid(chosen - rejected).mean()


# %% wrong: a hinge | idea: hinge | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return (1 - chosen + rejected).clamp(min=0).mean()


# %% wrong: in bits | idea: log2 | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected - chosen).mean() / np.log(2)


# %% wrong: the chosen side alone | idea: pointwise | fails at: is the mean loss | points: 1
@checked
def bt_loss(chosen, rejected):
    return F.softplus(-chosen).mean()


# %% wrong: a number without its gradient | idea: detached | fails at: lets the gradient through | points: 2
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected - chosen).mean().item()


# %% wrong: a count of pairs | idea: count | fails at: is the share in the right order | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return float(np.sum((chosen > rejected) + 0.5 * (chosen == rejected)))


# %% wrong: the means compared | idea: mean-too-early | fails at: is the share in the right order | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return float(chosen.mean() > rejected.mean())


# %% wrong: ties left out | idea: tie-dropped | fails at: counts a tie as one half | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    decided = chosen != rejected
    return float((chosen > rejected)[decided].mean())


# %% wrong: no pairs give zero | idea: F32 | fails at: refuses no pairs | points: 2
def pair_accuracy(chosen, rejected):
    if np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("a NaN among the rewards")
    return float(np.mean((chosen > rejected) + 0.5 * (chosen == rejected))) if len(chosen) else 0.0


# %% correct: a cross-entropy of two classes
def bt_loss(chosen, rejected):
    if chosen.shape != rejected.shape or chosen.nelement() < 1:
        raise ValueError("one reward for each side of every pair")
    logits = torch.stack([chosen, rejected], dim=-1).reshape(-1, 2)
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


# %% wrong: near rewards tie | idea: near-tie | fails at: is the share in the right order | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return float(np.where(np.isclose(chosen, rejected), 0.5, chosen > rejected).mean())


# %% wrong: each reward alone | idea: pointwise | fails at: is the mean loss | points: 1
bt_loss = checked(lambda chosen, rejected: -(F.logsigmoid(chosen) + F.logsigmoid(-rejected)).mean())


# %% wrong: a margin of one | idea: margin | fails at: is the mean loss | points: 1
bt_loss = checked(lambda chosen, rejected: F.softplus(rejected - chosen + 1).mean())


# %% wrong: per cent | idea: count | fails at: is the share in the right order | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return 50 * float(np.mean(np.sign(chosen - rejected) + 1))


# %% wrong: the mean chance | idea: no-order | fails at: is the share in the right order | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return float(np.mean(1 / (1 + np.exp(rejected - chosen))))


# %% wrong: each with each, shares | idea: broadcast | fails at: is the share in the right order | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return float(np.mean((np.sign(chosen[:, None] - rejected[None]) + 1) / 2))
