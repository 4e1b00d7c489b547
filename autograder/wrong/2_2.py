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


def gate(chosen, rejected, floor=0.6):
    p, n, z = pair_accuracy(chosen, rejected), len(chosen), 1.96
    half = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    lower = (p + z**2 / (2 * n) - half) / (1 + z**2 / n)
    return lower, lower > floor


def checked(function):
    """A loss with the refusals that the docstring asks for."""

    def loss(chosen, rejected):
        if chosen.shape != rejected.shape or chosen.numel() == 0:
            raise ValueError("one reward for each side of every pair")
        return function(chosen, rejected)

    return loss


# %% correct: logsigmoid, sign and a formula
pass

# %% correct: logaddexp, a loop, and the quadratic whose root Wilson's end is
@checked
def bt_loss(chosen, rejected):
    return torch.logaddexp(torch.zeros_like(chosen), rejected - chosen).mean()


def pair_accuracy(chosen, rejected):
    pairs = list(zip(chosen.tolist(), rejected.tolist()))
    if not pairs or any(a != a or b != b for a, b in pairs):
        raise ValueError("no pairs, or a NaN among the rewards")
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


def gate(chosen, rejected, floor=0.6):
    p, n = pair_accuracy(chosen, rejected), len(chosen)
    # (p - q)^2 = z^2 q (1 - q) / n, the smaller root q
    w = 1.96**2 / n
    lower = min(np.roots([1 + w, -(2 * p + w), p**2]).real)
    return float(lower), bool(lower > floor)


# %% correct: cross-entropy over the two sides
@checked
def bt_loss(chosen, rejected):
    return F.cross_entropy(torch.stack([chosen, rejected], dim=1), torch.zeros(len(chosen), dtype=torch.long))


# %% wrong: log of sigmoid | idea: underflow | fails at: has the right value where rewards are far apart | points: 3
@checked
def bt_loss(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected)).mean()


# %% wrong: log of one plus exp | idea: underflow | fails at: has the right value where rewards are far apart | points: 3
@checked
def bt_loss(chosen, rejected):
    return torch.log(1 + torch.exp(rejected - chosen)).mean()


# %% wrong: a small number inside the log | idea: clipped | fails at: has the right value where rewards are far apart | points: 3
@checked
def bt_loss(chosen, rejected):
    return -torch.log(torch.sigmoid(chosen - rejected) + 1e-8).mean()


# %% wrong: sign swapped | idea: F03 | fails at: is the mean loss of the pairs | points: 2
@checked
def bt_loss(chosen, rejected):
    return F.softplus(chosen - rejected).mean()


# %% wrong: sum for mean | idea: sum | fails at: is the mean loss of the pairs | points: 2
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected - chosen).sum()


# %% wrong: one loss per pair | idea: one-per-pair | fails at: is the mean loss of the pairs | points: 2
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected - chosen)


# %% wrong: sigmoid forgotten | idea: no-sigmoid | fails at: is the mean loss of the pairs | points: 2
@checked
def bt_loss(chosen, rejected):
    return (rejected - chosen).mean()


# %% wrong: absolute difference | idea: absolute-difference | fails at: is the mean loss of the pairs | points: 2
@checked
def bt_loss(chosen, rejected):
    return F.softplus(-(chosen - rejected).abs()).mean()


# %% wrong: mean of the rewards first | idea: mean-too-early | fails at: is the mean loss of the pairs | points: 2
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected.mean() - chosen.mean())


# %% wrong: log forgotten | idea: no-log | fails at: is the mean loss of the pairs | points: 2
@checked
def bt_loss(chosen, rejected):
    return 1 - torch.sigmoid(chosen - rejected).mean()


# %% wrong: every chosen with every rejected | idea: broadcast | fails at: is the mean loss of the pairs | points: 2
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected[None, :] - chosen[:, None]).mean()


# %% wrong: shapes that broadcast | idea: broadcast | fails at: refuses shapes that differ | points: 3
def bt_loss(chosen, rejected):
    return F.softplus(rejected - chosen).mean()


# %% wrong: the mean of nothing | idea: F32 | fails at: refuses an empty batch | points: 3
def bt_loss(chosen, rejected):
    if chosen.shape != rejected.shape:
        raise ValueError("one reward for each side of every pair")
    return F.softplus(rejected - chosen).mean()


# %% wrong: detached | idea: detached | fails at: lets the gradient through | points: 3
@checked
def bt_loss(chosen, rejected):
    return F.softplus(rejected.detach() - chosen.detach()).mean()


# %% wrong: ties lost | idea: tie-lost | fails at: counts a tie as one half | points: 2
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return float(np.mean(chosen > rejected))


def gate(chosen, rejected, floor=0.6):
    return pair_accuracy(chosen, rejected), pair_accuracy(chosen, rejected) > floor


# %% wrong: ties won | idea: tie-won | fails at: counts a tie as one half | points: 3
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0 or np.isnan(chosen).any() or np.isnan(rejected).any():
        raise ValueError("no pairs, or a NaN among the rewards")
    return float(np.mean(chosen >= rejected))


# %% wrong: share in the wrong order | idea: F03 | fails at: is the share of pairs in the right order | points: 2
def pair_accuracy(chosen, rejected):
    return float(np.mean((chosen < rejected) + 0.5 * (chosen == rejected)))


# %% wrong: NaN counts as a lost pair | idea: F32 | fails at: refuses NaN | points: 3
def pair_accuracy(chosen, rejected):
    if len(chosen) == 0:
        raise ValueError("no pairs")
    return float(np.mean((chosen > rejected) + 0.5 * (chosen == rejected)))


# %% wrong: rewards above zero | idea: zero-point | fails at: is the share of pairs in the right order | points: 2
def pair_accuracy(chosen, rejected):
    return float(np.mean(chosen > 0))


# %% wrong: the accuracy itself | idea: F34 | fails at: finds the lower end of the interval | points: 3
def gate(chosen, rejected, floor=0.6):
    p = pair_accuracy(chosen, rejected)
    return p, p > floor


# %% wrong: width 0 for three of three | idea: wald | fails at: finds the lower end of the interval | points: 3
def gate(chosen, rejected, floor=0.6):
    p, n = pair_accuracy(chosen, rejected), len(chosen)
    lower = p - 1.96 * (p * (1 - p) / n) ** 0.5
    return lower, lower > floor


# %% wrong: the upper end | idea: upper-end | fails at: finds the lower end of the interval | points: 3
def gate(chosen, rejected, floor=0.6):
    p, n, z = pair_accuracy(chosen, rejected), len(chosen), 1.96
    half = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    upper = (p + z**2 / (2 * n) + half) / (1 + z**2 / n)
    return upper, upper > floor


# %% wrong: decides by the accuracy | idea: F34 | fails at: decides by the lower end | points: 3
def gate(chosen, rejected, floor=0.6):
    p, n, z = pair_accuracy(chosen, rejected), len(chosen), 1.96
    half = z * (p * (1 - p) / n + z**2 / (4 * n**2)) ** 0.5
    return (p + z**2 / (2 * n) - half) / (1 + z**2 / n), p > floor
