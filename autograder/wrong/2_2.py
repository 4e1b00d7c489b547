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
