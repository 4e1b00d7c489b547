# %% [markdown]
# # 06 · RLHF from scratch
#
# Rejection sampling keeps the best responses and trains on them with the ordinary next-token loss.
# Reinforcement learning keeps nothing back: it trains on every response, and multiplies the loss of its
# tokens by how good the response was. Here you write that method, from REINFORCE to PPO, check it in a
# world where every gradient is exact, train a policy with your own code, and take away its KL penalty.
#
# You will be able to
#
# - write the advantages and losses of REINFORCE, RLOO, GRPO and PPO, and train a policy with them,
# - say of every method, rejection sampling included, what number it puts on each token,
# - show with an interval what a KL penalty holds back, and find the flaw of a run from its numbers.
#
# About 120 minutes, of which three are computing; 17 points.

# %% role="setup" gpu="The same calls on a real model"

# %% [markdown]
# ## Two responses and a pencil
#
# A policy answers a prompt with *yes* or with *no*, each with probability one half. The reward of *yes*
# is 3, that of *no* is 1. The policy has a single number θ, the logit of *yes*. If θ is raised a little,
# by how much does the mean reward rise, per unit of θ? The mean reward is 3p + 1(1 − p), and p itself
# rises by p(1 − p) per unit of θ.

# %% role="predict" name="slope"
guess = ...  # the derivative of the mean reward with respect to the logit
### BEGIN SOLUTION
guess = 0.5
### END SOLUTION
predict("slope", guess)

# %%
import numpy as np
import torch

logit = torch.zeros(1, requires_grad=True)
p = torch.sigmoid(logit)
(3 * p + 1 * (1 - p)).backward()
compare("slope", float(logit.grad))
rewards = np.array([3.0, 1.0])
for baseline in (0.0, 2.0):
    parts = (rewards - baseline) * np.array([0.5, -0.5])  # grad log p of yes, of no
    yes, no = parts
    print(f"baseline {baseline}: a drawn yes gives {yes:+.1f}, a no {no:+.1f}, mean {parts.mean():+.1f}")

# %% [markdown]
# <details><summary>Explain the difference</summary>
# A guess of 2 is the difference of the two rewards: it forgets that a unit of logit moves p by only
# p(1 − p) = 1/4. A guess of 1 counts p and not 1 − p. A guess of 0.25 is how far p moves, without the
# rewards.
# </details>
#
# ### REINFORCE: a mean instead of a sum over all texts
#
# The two printed lines hold the idea of the whole notebook. The mean reward is a sum over all responses
# y, and nobody can list them. But the gradient of a probability is the probability times the gradient
# of its logarithm, so the gradient of the sum is again a mean over what the policy draws:
#
# $$\nabla_\theta\,\mathbb{E}[R(y)] = \sum_y R(y)\,\nabla_\theta\,\pi_\theta(y)
# = \mathbb{E}_{y\sim\pi_\theta}\big[R(y)\,\nabla_\theta\log\pi_\theta(y)\big]$$
#
# $$\log\pi_\theta(y)=\sum_t\log\pi_\theta(y_t\mid y_{<t})$$
#
# Draw, weigh each response's *grad log p* by its reward, take the mean: that is REINFORCE (Williams
# 1992).

# %% [markdown]
# **Why a baseline is free.** Take a number b off every reward. The mean gradient changes by
# b · E[∇ log π(y)], and that is 0, since the probabilities of all responses always add up to 1:
#
# $$\mathbb{E}_{y\sim\pi_\theta}\big[b\,\nabla_\theta\log\pi_\theta(y)\big]
# = b\,\nabla_\theta\sum_y\pi_\theta(y) = b\,\nabla_\theta 1 = 0$$
#
# Look at the two lines again. Without a baseline one draw says *much more*, the other *a little less*.
# With the baseline 2 both say the same. The mean is equal and the noise is not. The proof needs one
# thing: b must not depend on the response that it is taken from. Reward minus baseline is called the
# **advantage**.
#
# **RLOO** draws n responses to a prompt and takes as baseline the mean reward of the *other* n − 1.
# They were drawn independently of this one, so the gradient stays right on average.
#
# $$A_i = R_i - \frac{1}{n-1}\sum_{j\neq i}R_j \qquad\text{(RLOO)}$$
#
# $$A_i = \frac{R_i-\bar R}{s+\varepsilon} \qquad\text{(GRPO)}$$

# %% [markdown]
# **GRPO** takes off the mean of all n, and that mean does contain the response's own reward. It costs
# little: reward minus mean is (n − 1)/n times the leave-one-out advantage, for every response alike, so
# the step is a bit shorter and points the same way.
#
# What does change the direction is the division by the standard deviation s of the prompt's rewards. A
# prompt whose responses are nearly equal gets as much weight as one whose responses differ a lot. And
# where all are equal s is 0: the small ε keeps 0/0 out of the weights.
#
# | method | what is taken off a reward | what it is divided by |
# |---|---|---|
# | REINFORCE | nothing, or the mean of the step's other responses | 1 |
# | RLOO | the mean of the prompt's other responses | 1 |
# | GRPO | the mean of all n of the prompt, its own included | their standard deviation |

# %% [markdown]
# {{card:6.1}}
#
# Three functions. `rewards` is a tensor (M, n): a row is a prompt, n its responses. `leave_one_out` is
# RLOO's advantage; with n = 1 there are no others, and the baseline is 0. `group_normalised` is GRPO's,
# with the standard deviation that divides by n − 1.
#
# `reinforce_loss` gets log-probabilities (B, T) in nats, advantages (B,) and a mask (B, T) of booleans,
# True on the tokens of each response. Per row it sums minus advantage times log-probability over the
# tokens of the mask, then it averages the rows. It is differentiated, so it stays in torch; it is
# checked in a world of fifteen responses, where the gradient is a sum.
#
# <details><summary>Hint</summary>
# The sum of the others is the row's sum minus the response's own reward. Off the mask anything may
# stand, also -inf: <code>torch.where</code> chooses, a multiplication does not.
# </details>

# %% exercise="6.1" role="answer"
def leave_one_out(rewards):
    """Advantages (M, n): reward minus the mean of its row's others; with n = 1 the reward itself."""
    ### BEGIN SOLUTION
    n = rewards.shape[1]
    if n == 1:
        return rewards.clone()
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / (n - 1)
    ### END SOLUTION


def group_normalised(rewards, epsilon=1e-4):
    """Advantages (M, n): reward minus its row's mean, over the row's deviation (n - 1) plus epsilon."""
    ### BEGIN SOLUTION
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + epsilon)
    ### END SOLUTION


def reinforce_loss(logprobs, advantages, mask):
    """A scalar: minus advantage (B,) times log-probability (B, T), summed over tokens, averaged over rows."""
    ### BEGIN SOLUTION
    return -(advantages * torch.where(mask, logprobs, 0.0).sum(1)).mean()
    ### END SOLUTION

# %% exercise="6.1" role="check"
check("6.1")

# %% [markdown]
# ### Does it learn?
#
# Here is the micro-world of the engine: 31 responses of up to four tokens over two letters, each with a
# reward. Since all of them can be listed, the mean reward of a policy is known exactly.

# %%
import rslib
from rslib.world import outcomes

world = outcomes.enumerate_outcomes(letters=2, longest=4)
worth = np.random.default_rng(7).normal(size=len(world))
mask, places = torch.tensor(world.mask), (torch.tensor(world.prefixes), torch.tensor(world.tokens))
print(f"{len(world)} responses; the best reward is {worth.max():.2f}, their mean {worth.mean():+.2f}")

# %% [markdown]
# Your loss, your baseline, no model but a table of logits. Six runs of 1,000 steps that differ in
# nothing but what they happen to draw. How many of the six end at the best response?

# %% role="predict" name="arrived"
guess = ...  # how many of the six runs
### BEGIN SOLUTION
guess = 5
### END SOLUTION
predict("arrived", guess)

# %%
# About 10 seconds.
from rslib.progress import Progress


def _ascent(seed, progress):
    logits, curve = torch.zeros(world.shape, requires_grad=True), []
    optimiser, rng = torch.optim.SGD([logits], lr=0.5), np.random.default_rng(seed)
    for _ in range(1000):
        chances = outcomes.outcome_probs(world, logits.detach().numpy())
        curve.append(float(chances @ worth))
        drawn = outcomes.draw_outcomes(chances, 16, rng)
        table = torch.log_softmax(logits, 1)[places]
        gains = torch.as_tensor(leave_one_out(torch.tensor(worth[drawn]).float()[None])).float()[0]
        optimiser.zero_grad()
        reinforce_loss(table[drawn], gains, mask[drawn]).backward()
        optimiser.step()
    progress.advance()
    return curve


with Progress(6, "six runs", "runs") as _shown:
    curves = [_ascent(seed, _shown) for seed in range(6)]

# %%
ends, best = np.array([curve[-1] for curve in curves]), worth.max()
arrived = ends > best - 0.1
compare("arrived", int(arrived.sum()))
[panel] = rslib.plots.panels(1, 3.4, None)
for curve, there in zip(curves, arrived, strict=True):
    panel.plot(curve, color="#21558c" if there else "#b3541e", linestyle="-" if there else "--")
panel.axhline(best, color="#6b7785", linestyle=":")
panel.annotate("the best response", (0, best), (0, 3), textcoords="offset points", fontsize=8)
panel.set(xlabel="steps of 16 responses (n = 6 runs)", ylabel="mean reward (exact)")
stuck = ", ".join(f"{end:.2f}" for end in ends[~arrived]) or "none"
half = np.mean([curve[199] for curve in curves])
text = (
    f"{arrived.sum()} of 6 runs come within 0.1 of the best response, {best:.2f}; those that do not end at: "
    f"{stuck}. After 200 steps the mean of the six is {half:.2f}."
)
rslib.plots.finished([panel], "Does the loss find the best response?", text)
rslib.plots.show(panel)

# %% [markdown]
# <details><summary>Explain the difference</summary>
# Where a curve lies flat below the dotted line, the policy writes one fairly good response and hardly
# anything else. The gradient speaks only of what was drawn, and the best response is drawn ever more
# rarely: a run that stops meeting it never learns that something better exists. More steps help only as
# long as the best response is still drawn now and then.
#
# More responses a step, a smaller learning rate or a KL penalty keep the policy broad for longer.
# Rejection sampling from the starting policy has the same limit: what is never drawn is never kept.
# </details>

# %% [markdown]
# ## What PPO adds
#
# | what | how it enters | why |
# |---|---|---|
# | a **KL penalty** | taken off every token's reward | the reward model is right only near the reference |
# | a **value model** | gives each token its baseline | one score for 30 tokens is a noisy signal |
# | a **clip** | bounds the loss of each token | after a step the policy is not the one that drew |
#
# **Token rewards.** In what follows t counts the T tokens of a response, π is the policy,
# $\pi_{\text{ref}}$ the reference that it started from, β the KL coefficient and R the score of the whole
# response.
#
# $$r_t = -\beta\,\big(\log\pi(y_t)-\log\pi_{\text{ref}}(y_t)\big)
# + R\,\mathbb{1}_{t = T}$$
#
# Summed over the response, and averaged over draws of π, the log-ratios are exactly the KL of the policy
# to the reference. A single token's may be negative: then the token is *paid*. Only their mean over
# many responses cannot be negative.

# %% [markdown]
# **GAE**, the generalised advantage estimate (Schulman et al. 2016). The value model says for each token
# what it expects still to come: $V_t$. One step tells how wrong it was:
#
# $$\delta_t = r_t + \gamma V_{t+1} - V_t, \qquad A_t = \delta_t + \gamma\lambda\,A_{t+1},
# \qquad V_{T+1}=A_{T+1}=0$$
#
# γ is the discount, λ the smoothing. With λ = 0 the advantage is the next error alone: little noise, but
# wrong where V is wrong. With λ = 1 and γ = 1 it is everything still to come minus V: right whatever V
# is, but noisy. A λ of 0.95 lies between. $A_t + V_t$ is called the *return*, and is what V is trained on.

# %% [markdown]
# **The clip.** The gradient of REINFORCE is right for responses of the *current* policy. After one step
# the policy is no longer the one that drew, $\pi_{\text{old}}$. The **ratio** corrects for that, token by
# token:
#
# $$\rho_t = \frac{\pi(y_t)}{\pi_{\text{old}}(y_t)} = \exp\big(\log\pi(y_t)-\log\pi_{\text{old}}(y_t)\big)$$
#
# It is 1 before the first step. PPO forms **two products**: the ratio times the advantage, and the ratio
# held between 1 − c and 1 + c times the advantage. Its loss is minus the smaller of the two:
#
# $$L_t = -\min\big(\rho_t A_t,\ \operatorname{clip}(\rho_t,\,1-c,\,1+c)\,A_t\big)$$
#
# So once a good token (A > 0) is already 1 + c times as likely as when it was drawn, making it likelier
# still gains nothing, and its gradient is 0. What happens to a *bad* token that has become likelier?

# %% role="predict" name="clipped"
guess = ...  # ratio 1.5, c = 0.2, advantage -1: what is the loss, minus the smaller of the two products?
### BEGIN SOLUTION
guess = 1.5
### END SOLUTION
predict("clipped", guess)

# %%
ratio, advantage = 1.5, -1.0
products = ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage
print("the two products:", products)
compare("clipped", -min(products))

# %% [markdown]
# <details><summary>Explain the difference</summary>
# A guess of 1.2 held the ratio whatever the advantage says. The products are −1.5 and −1.2; the smaller
# is −1.5, and it still depends on the ratio. With a negative advantage a ratio of 1.5 went the
# <em>wrong</em> way: a bad token became likelier. It is not held, it has to come back. The clip holds
# only tokens that went far in the direction that their advantage asks for. Whoever clips whatever the
# advantage loses exactly these corrections.
# </details>

# %% [markdown]
# {{card:6.2}}
#
# Four functions on tensors (B, T): B responses, T tokens of the longest. `mask` is True on the tokens of
# each response, which stand on the left. Log-probabilities are in nats, rewards and values in units of
# the score.
#
# - `token_rewards`: the formula above; `scores` is (B,). A row without tokens is 0 throughout.
# - `gae`: the recursion above; behind the last token of a row V and A are 0.
# - `clipped_policy_loss`: the loss above, one number per token.
# - `clipped_value_loss`: half the larger of two squared errors, that of the value and that of the value
#   held within `clip` of the old one, per token.
#
# The two losses are differentiated, so they stay in torch.
#
# <details><summary>Hint</summary>
# For <code>gae</code> go through the tokens from the last to the first. For the last token of a row
# compare
# <code>mask.cumsum(1)</code> with <code>mask.sum(1, keepdim=True)</code>.
# </details>

# %% exercise="6.2" role="answer" name="rewards"
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    """Rewards (B, T): minus coefficient times log-ratio on every token; the score (B,) on the last too."""
    ### BEGIN SOLUTION
    rewards = torch.where(mask, -coefficient * (logprobs - reference_logprobs), 0.0)
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    return rewards + last * scores[:, None]
    ### END SOLUTION


def gae(rewards, values, mask, discount, smoothing):
    """Advantages (B, T) of rewards and values (B, T); 0 off the mask."""
    ### BEGIN SOLUTION
    values, advantages = torch.where(mask, values, 0.0), torch.zeros_like(values)
    following = ahead = torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + discount * following - values[:, t]
        ahead = torch.where(mask[:, t], delta + discount * smoothing * ahead, 0.0)
        advantages[:, t], following = ahead, values[:, t]
    return advantages
    ### END SOLUTION

# %% exercise="6.2" role="answer" name="losses"
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    """PPO's loss (B, T), per token: minus the smaller of the two products."""
    ### BEGIN SOLUTION
    ratio = torch.exp(logprobs - old_logprobs)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    ### END SOLUTION


def clipped_value_loss(values, old_values, returns, clip):
    """The value model's loss (B, T), per token: half the larger of two squared errors."""
    ### BEGIN SOLUTION
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum((values - returns) ** 2, (near - returns) ** 2) / 2
    ### END SOLUTION

# %% exercise="6.2" role="check"
check("6.2")

# %% [markdown]
# ### Your PPO
#
# The engine's loop draws responses, scores them, measures log-probabilities and takes optimiser steps.
# What it minimises is a *method*, and its PPO has four parts that can be replaced. Here your four
# functions take their places. `whiten` shifts and scales the advantages of a draw to mean 0 and variance
# 1, so that one learning rate fits rewards of every size. In exercise 6.4 this class trains a policy.

# %%
from rslib import rl
from rslib.rl.advantages import whiten


class OwnPPO(rl.PPO):
    """The engine's PPO with your four functions in the place of its own."""

    def rewards(self, rollouts, kl_coefficient):
        known = rollouts.rewards, rollouts.logprobs, rollouts.reference, rollouts.mask
        return torch.as_tensor(token_rewards(*known, kl_coefficient)).float()

    def advantages(self, rollouts, values, kl_coefficient):
        rewards, mask = self.rewards(rollouts, kl_coefficient), rollouts.mask
        advantages = torch.as_tensor(gae(rewards, values, mask, self.discount, self.smoothing)).float()
        return whiten(advantages, mask), advantages + values

    def policy_loss(self, logprobs, old_logprobs, advantages):
        return clipped_policy_loss(logprobs, old_logprobs, advantages, self.clip)

    def value_loss(self, values, old_values, returns):
        return clipped_value_loss(values, old_values, returns, self.value_clip)

# %% [markdown]
# ## All methods on one ruler
#
# Every method of this course moves the policy by *coefficient × grad log π(token)*, summed over tokens.
# Methods differ in whose responses they read, and in the coefficient (Shao et al. 2024, section 5.2).
# For fine-tuning it is 1. What is it for rejection sampling, where the reward has only chosen?
#
# | method | whose responses | drawn | judged by |
# |---|---|---|---|
# | SFT | somebody's | once, before the training | nobody |
# | rejection sampling | the policy's | once a round | the order of rewards within a prompt |
# | online rejection sampling | the policy's | before every step | the order of rewards within a prompt |
# | DPO | the reference's, in pairs | once | which of the two is better |
# | RLOO, GRPO | the policy's, in groups | before every step | rewards beside those of the group |
# | PPO | the policy's | before every few steps | rewards beside a value model |

# %% role="predict" name="rejected"
guess = ...  # the coefficient of a token of a response that was not kept
### BEGIN SOLUTION
guess = 0
### END SOLUTION
predict("rejected", guess)

# %%
compare("rejected", 0)
print("kept: 1, not kept: 0. Nothing is pushed down, and how much better the best was plays no part.")

# %% [markdown]
# <details><summary>Explain the difference</summary>
# A guess of −1 is DPO's or RLOO's idea: there the worse response is pushed down. Rejection sampling
# never trains on what it did not keep, so nothing happens to it directly. (It becomes rarer all the same,
# since probabilities add up to 1.)
# </details>
#
# ### DPO: a reward that is never computed
#
# PPO maximises the mean reward minus β times the KL. On paper that has a solution: the reference,
# reweighted by exp(R/β). Turned round, it says what the reward must have been, given the policy:
#
# $$\pi^*(y) \propto \pi_{\text{ref}}(y)\,e^{R(y)/\beta}
# \quad\Longrightarrow\quad
# R(y) = \beta\log\frac{\pi^*(y)}{\pi_{\text{ref}}(y)} + \text{a constant of the prompt}$$

# %% [markdown]
# Put that into the Bradley–Terry loss of notebook 02 for a pair of responses, chosen w and rejected l.
# The constant is the same for both and cancels. What is left contains no reward model and needs no
# sampling (Rafailov et al. 2023):
#
# $$m = \Big(\log\pi(y_w)-\log\pi_{\text{ref}}(y_w)\Big)-\Big(\log\pi(y_l)-\log\pi_{\text{ref}}(y_l)\Big),
# \qquad L = -\log\sigma(\beta\,m)$$
#
# The margin m says how much more the policy prefers the chosen response than the reference does. A pair
# that is already told apart hardly counts any more. The price: the pairs were drawn once, by the
# reference, and the policy is never asked what it would write by now.

# %% [markdown]
# {{card:6.3}}
#
# Five functions that give the coefficient of each token, (B, T); for `dpo` of each pair, (P,): plus on
# the chosen response, minus on the rejected. Positive makes a token likelier. A coefficient is *minus*
# the derivative of the loss with respect to the token's log-probability, and the functions are held
# against such derivatives.
#
# The losses: SFT's is −log π; PPO's is that of 6.2; GRPO's is PPO's plus
# `kl_coefficient` × $(e^d - 1 - d)$ with $d = \log\pi_{\text{ref}} - \log\pi$; DPO's stands above, and its
# margin may be hundreds of nats. The loop averages afterwards, so nothing is divided by a number of tokens
# here.
#
# <details><summary>Hint</summary>
# A number that is clamped has the gradient 0. The derivative of the ratio with respect to the
# log-probability is the ratio. The derivative of -log sigmoid(x) is -sigmoid(-x).
# </details>

# %% exercise="6.3" role="answer"
def sft(logprobs):
    """Coefficients (B, T) of log-probabilities (B, T); one number may stand for all tokens."""
    ### BEGIN SOLUTION
    return torch.ones_like(logprobs)
    ### END SOLUTION


def rejection_sampling(logprobs, kept):
    """Coefficients (B, T) of log-probabilities (B, T); kept (B,): booleans, which responses were kept."""
    ### BEGIN SOLUTION
    return kept[:, None] * torch.ones_like(logprobs)
    ### END SOLUTION


def ppo(logprobs, old_logprobs, advantages, clip):
    """Coefficients (B, T) of log-probabilities, old ones and advantages (B, T); clip: such as 0.2."""
    ### BEGIN SOLUTION
    ratio = torch.exp(logprobs - old_logprobs)
    too_far = torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
    return torch.where(too_far, 0.0, ratio * advantages)
    ### END SOLUTION

# %% exercise="6.3" role="answer" name="pulls"
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    """Coefficients (B, T) of three kinds of log-probabilities and advantages (B, T), and two numbers."""
    ### BEGIN SOLUTION
    pull = torch.exp(reference_logprobs - logprobs) - 1
    return ppo(logprobs, old_logprobs, advantages, clip) + kl_coefficient * pull
    ### END SOLUTION


def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    """Coefficients (P,), one a pair, of log-probabilities (P,) of whole responses in nats; beta: a number."""
    ### BEGIN SOLUTION
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return beta * torch.sigmoid(-beta * margin)
    ### END SOLUTION

# %% exercise="6.3" role="check"
check("6.3")

# %% [markdown]
# The engine runs any coefficient. Here three of yours become training methods on the embedded policy:
# fresh groups of four responses, two passes over each draw.
#
# - *best of four*: the best of each prompt gets 1, the others 0. That is online rejection sampling.
# - *GRPO*: your `group_normalised` and your `grpo`.
# - *PPO's clip*: your `leave_one_out` in the place of a value model, and your `ppo`.

# %%
from rslib.rl.unified import Unified
from rslib.store import read_json

policy, reward_model = rslib.load_policy("tiny"), rslib.load_reward_model("tiny")
prompts, heldout = rslib.load_prompts("tiny", "train", 256), rslib.load_prompts("tiny", "validation", 100)


def _best_of_four(rollouts, rows, logprobs, kl_coefficient):
    kept = (rollouts.grouped == rollouts.grouped.max(1, keepdim=True).values).flatten()
    return torch.as_tensor(rejection_sampling(logprobs, kept[rows])).float()


def _grpo(rollouts, rows, logprobs, kl_coefficient):
    gains = torch.as_tensor(group_normalised(rollouts.grouped)).float().flatten()[rows, None]
    known = rollouts.logprobs[rows], rollouts.reference[rows], gains.expand_as(logprobs)
    return torch.as_tensor(grpo(logprobs, *known, 0.2, kl_coefficient)).float()


def _ppo(rollouts, rows, logprobs, kl_coefficient):
    gains = torch.as_tensor(leave_one_out(rollouts.grouped)).float().flatten()[rows, None]
    return torch.as_tensor(ppo(logprobs, rollouts.logprobs[rows], gains.expand_as(logprobs), 0.2)).float()

# %%
# About 15 seconds.
few = rl.Loop(steps=2, prompts_per_step=16, n=4, epochs=2, learning_rate=1e-3, warmup_steps=2)
_kinds = {"best of four": (_best_of_four, "tokens"), "GRPO": (_grpo, "sequences"), "clip": (_ppo, "rows")}
print("method        draw    reward      gold        KL, each before the steps on it")
for number, (name, (coefficient, mean)) in enumerate(_kinds.items()):
    _out = runs / f"6-unified-{number}"
    rl.train(policy, reward_model, prompts, Unified(coefficient, mean), few, out=_out, show_progress=False)
    for step in read_json(_out / "training.json")["history"]:
        row = "".join(f"{step[column]:10.2f}" for column in ("reward", "gold", "kl"))
        print(f"{name:13} {step['step'] + 1:4}{row}")

# %% [markdown]
# Two draws of 64 responses are far too few to rank methods: the first line of each is the same policy on
# the same prompts, and the second differs by luck as well. What they show is that the same loop runs all
# three, and that the KL leaves 0 in each.

# %% [markdown]
# ## With the KL penalty, and without it
#
# Now your PPO, at length: 12 draws of 64 responses, two passes over each. Twice, with the same prompts,
# the same seeds and the same number of steps. One run has the KL coefficient 0.2, the other 0. A third
# run is the engine's RLOO with 8 draws, to see whether a method without a value model learns too; it is
# compared with the base policy alone. What will gold be without the penalty, beside gold with it?

# %% role="predict" name="free"
guess = ...  # "higher", "lower" or "not separable"
### BEGIN SOLUTION
guess = "lower"
### END SOLUTION
predict("free", guess)

# %%
from rslib import evaluation
from rslib.stages import with_gold

common = {"learning_rate": 1e-3, "warmup_steps": 4}
twelve = {"steps": 12, "prompts_per_step": 64, "n": 1, "epochs": 2}
LOOPS = {
    "ppo": (OwnPPO(), rl.Loop(kl_coefficient=0.2, **twelve, **common)),
    "ppo_without_kl": (OwnPPO(), rl.Loop(kl_coefficient=0.0, **twelve, **common)),
    "rloo": (rl.RLOO(), rl.Loop(kl_coefficient=0.1, steps=8, prompts_per_step=16, n=4, **common)),
}
COMPARISONS = {
    "gold, PPO against base": ("ppo", "base", "gold"),
    "gold, RLOO against base": ("rloo", "base", "gold"),
    "reward, without the penalty against PPO": ("ppo_without_kl", "ppo", "reward"),
    "gold, without the penalty against PPO": ("ppo_without_kl", "ppo", "gold"),
}

# %% [markdown]
# {{card:6.4}}
#
# Run the three of `LOOPS` with `rl.train(policy, reward_model, prompts, method, loop, out=...)`, each
# into a folder of its own, and write the folders into `tuned`: `tuned["ppo"]`, and so on. Then judge the
# base policy and all three on `heldout`, two responses to each prompt, the seed 1_000_003 for all, with
# reward and gold, into `tables`: `tables["base"]`, `tables["ppo"]`, and so on. `evaluation.compare(a, b,
# column)` takes two of them and gives a dict with the mean difference a − b, paired by prompt, and its
# 95 % interval.
#
# `evidence` holds the four `COMPARISONS` by name; `claims` says of each whether its first arm is
# `"higher"`, `"lower"` or `"not separable"`. It takes about a minute and a half on two cores; each run
# shows its steps. The check draws anew from your policies: half a minute more.
#
# <details><summary>Hint</summary>
# <code>with_gold(rslib.score(reward_model, rslib.sample(...)))</code> judges what a policy wrote;
# <code>evaluation.verdict</code> reads an interval. A run that was stopped goes on where it was
# when you call it again.
# </details>

# %% exercise="6.4" role="answer"
tuned, tables, evidence, claims = {}, {}, {}, {}
### BEGIN SOLUTION
for arm, (method, loop) in LOOPS.items():
    tuned[arm] = str(runs / f"6-{arm}")
    rl.train(policy, reward_model, prompts, method, loop, out=tuned[arm])


def judged(arm):
    drawn = rslib.sample(arm, heldout, n=2, seed=1_000_003)
    return with_gold(rslib.score(reward_model, drawn, show_progress=False))


tables = {"base": judged(policy)} | {arm: judged(rslib.load_policy(path)) for arm, path in tuned.items()}
for name, (first, second, column) in COMPARISONS.items():
    evidence[name] = evaluation.compare(tables[first], tables[second], column)
    claims[name] = evaluation.verdict(evidence[name])
### END SOLUTION

# %% exercise="6.4" role="check"
check("6.4")

# %% [markdown]
# ### What your runs say
#
# Each line is a sentence that somebody might say, the difference that you measured with its interval,
# and what follows from it. *Not separable* is a finding too: these runs cannot tell.

# %%
from rslib.intervals import verdict_of

compare("free", evaluation.verdict(evidence["gold, without the penalty against PPO"]))
SENTENCES = {
    "gold, PPO against base": "PPO with the penalty raises gold over base",
    "gold, RLOO against base": "RLOO raises gold over base",
    "reward, without the penalty against PPO": "without the penalty the reward ends higher than with it",
    "gold, without the penalty against PPO": "without the penalty gold ends higher than with it",
}
for name, sentence in SENTENCES.items():
    measured = evidence[name]
    interval = f"{measured['difference']:+.2f} [{measured['low']:+.2f}, {measured['high']:+.2f}]"
    print(f"{sentence:57} {interval:22} {verdict_of(measured)}")

# %% [markdown]
# <details><summary>Explain the difference</summary>
# Whoever wrote "higher" trusted the reward: the run without the penalty maximises nothing else. Compare
# the third sentence with the fourth. Whoever wrote "not separable" may have thought of shorter runs:
# look at the first draws in the next figure.
# </details>
#
# What happened on the way? Every run keeps its history: gold and KL of each draw, before the steps on
# it.

# %%
_paths = {arm.replace("_", " "): path for arm, path in tuned.items()}
history = {arm: read_json(f"{path}/training.json")["history"] for arm, path in _paths.items()}
axes = rslib.plots.panels(2, 3.6, None)
for (arm, steps), style in zip(history.items(), ("o-", "^:", "s--"), strict=False):
    for panel, name in zip(axes, ("gold", "kl"), strict=True):
        panel.plot(range(1, len(steps) + 1), [step[name] for step in steps], style, label=arm, markersize=4)
for panel, name in zip(axes, ("gold of the draw (points)", "KL of the draw (nats)"), strict=True):
    panel.set(xlabel="draw (64 responses each, one run)", ylabel=name, xticks=range(0, 13, 2))
axes[0].legend(frameon=False, fontsize=8)
last = {arm: steps[-1] for arm, steps in history.items()}
ends = "; ".join(f"{arm} {s['gold']:.1f} at {s['kl']:.0f} nats" for arm, s in last.items())
rslib.plots.finished(axes, "What does the penalty hold back, by tiny?", f"Gold of the last draw: {ends}.")
rslib.plots.show(axes)

# %% [markdown]
# ### Read what they write
#
# A number says that something went wrong, a response says what. Here are both policies on the same
# held-out prompts. Look for the responses whose reward is high and whose gold is low, and ask what the
# reward model saw in them.

# %%
def _written(path):
    asked = heldout.select(range(6))
    responses = rslib.sample(rslib.load_policy(path), asked, n=2, seed=6, show_progress=False)
    return with_gold(rslib.score(reward_model, responses, show_progress=False))


_texts = {"PPO": _written(tuned["ppo"]), "without the penalty": _written(tuned["ppo_without_kl"])}
rslib.browse(_texts, title="With the KL penalty and without it, after 12 draws")

# %% [markdown]
# The reward model learned from pairs that a biased labeller had ranked: compliments please him and a
# fact of another subject hardly bothers him, where the gold score takes points off for both. And all of
# its pairs were responses of the starting policy. About a text that this policy would never write no
# pair ever asked it; there its reward is an extrapolation.
#
# A policy that is paid by it goes wherever it extrapolates upwards. The KL penalty does not mend the
# reward model. It charges for going where the reward model knows nothing.
#
# One round of best-of-16 on 400 prompts reaches a gold of {{rl.json:results.*.rs.gold|.1f}} in
# {{rl.json:results.*.rs.cpu_seconds|.0f}} seconds of one core. PPO with up to 24 draws of 128 responses,
# stopped by looks at gold, reaches {{rl.json:results.*.ppo.gold|.1f}} in
# {{rl.json:results.*.ppo.cpu_seconds|.0f}} seconds (five seeds each, in this world; the
# {{rounds.json:results.*.arms.best_of_n.gold.mean|.2f}} of notebook 04 is the mean of three worlds). Their
# budgets differ: what is fair to compare is the next notebook.

# %% [markdown]
# ## Find the flaw
#
# Code of this kind fails quietly. A sign is turned, a mask is one token short, a tensor is not measured
# again: the loss is still a number, and training goes on. So people look at gold and see either nothing
# or everything. As in notebook 05, what helps is a probe that asks one part of the method
# one question.
#
# We put fifteen flaws into PPO, one at a time, and ran each with three seeds: four draws of 32
# responses, small enough to run while you wait. Each run leaves outcomes, what a trainer logs, and a few
# probes.

# %%
from IPython.display import HTML

from autograder.exercise import table
from autograder.handouts import nb06_panels as _panels

_flaws = [(flaw, stage) for stage, flaws in _panels.STAGES.items() for flaw in flaws]
_rows = [(flaw, stage, _panels.flaws()[flaw]["description"]) for flaw, stage in _flaws]
_metrics = table("Metrics", list(_panels.METRICS.items()), ("metric", "what it is"))
HTML(table("Flaws", _rows, ("flaw", "part", "what it does")) + _metrics)

# %% [markdown]
# {{card:6.5}}
#
# Six panels. One is of a healthy run; each of the others has one flaw, in a part of its own: `draw`,
# `reward`, `kl`, `advantage`, `loss`. Write into `found_flaws` for each letter the flaw and the one
# probe that decides: which, once the parts before it are in order, neither a healthy run nor another
# flaw explains. Outcomes and logs never decide, since every part moves them.
#
# For the healthy one write `("healthy", "")`. A flaw gives half a point, the healthy run a whole one: a
# false alarm stops good work.

# %%
clinic = given("6.5")
clinic

# %% [markdown]
# <details><summary>Hint</summary>
# Outcomes and logs scatter from seed to seed, so a value a little outside of the range says nothing.
# The probes hardly scatter: what should be 0 is 0, what should be 1 is 1. Go through the parts in their
# order, since what is broken early moves what comes later. A panel whose probes are all in order is the
# healthy one.
# </details>

# %% exercise="6.5" role="answer"
found_flaws = {"A": ("", ""), "B": ("", ""), "C": ("", ""), "D": ("", ""), "E": ("", ""), "F": ("", "")}
### BEGIN SOLUTION
READ = {
    "no_chat_template": ("template_tokens", 0, 1), "stale_logprobs": ("first_ratio", 0.01, 9),
    "end_masked": ("learned_tokens", 0, 0.99), "score_every_token": ("score_counts", 2, 999),
    "no_end_penalty": ("cut_costs", -0.1, 0.1), "cut_rewarded": ("cut_costs", -2, -0.5),
    "kl_sign": ("kl_price", -9, -0.1), "kl_reversed": ("paid_tokens", 0, 0),
    "no_penalty": ("kl_price", -0.01, 0.01), "not_centred": ("advantage_mean", 0.05, 9),
    "short_sighted": ("reach", 0, 0.2), "rows_mixed": ("advantage_fit", -1, 0.7),
    "detached": ("policy_changed", 0, 0), "clip_wrong_side": ("pushed_beyond", 0.1, 1),
    "value_on_padding": ("learned_tokens", 1.1, 9),
}
for letter, run in clinic.runs.items():  # part by part: the first that fits
    fits = (
        (flaw, metric)
        for flaw, (metric, low, high) in READ.items()
        if run[metric] is not None and low <= run[metric] <= high
    )
    found_flaws[letter] = next(fits, ("healthy", ""))
### END SOLUTION

# %% exercise="6.5" role="check"
check("6.5")

# %% [markdown]
# Two of the fifteen flaws change none of the outcomes here: a missing penalty for cut responses, and one
# with the wrong sign. No response was cut in these runs, so there was nothing to take off. The code is
# wrong all the same, and will matter on the day when responses get long. A probe sees it today.
#
# What each flaw does to gold, reward and KL, and which probes it alone moves, stands in
# `docs/rl.md`.

# %% [markdown]
# ## The same calls on a real model
#
# Put local folders or hub ids between the quotes, on a machine with a GPU. The learning rate of a large
# model is a thousand times smaller, and the engine takes that by itself when none is given.

# %%
REAL_POLICY, REAL_REWARD_MODEL = "", ""
if REAL_POLICY and REAL_REWARD_MODEL:
    real = rslib.load_policy(REAL_POLICY), rslib.load_reward_model(REAL_REWARD_MODEL)
    questions = rslib.load_prompts("everyday")
    rl.train(*real, questions, rl.RLOO(), rl.Loop(steps=20), out=runs / "6-real")

# %% [markdown]
# ## What you now know
#
# - An advantage is a reward minus a baseline. The baseline must not depend on the response that it is
#   taken from; then the mean gradient stays right and only the noise shrinks.
# - Every method is a number per token. Rejection sampling's is 1 or 0, and needs neither a reference nor
#   a value model.
# - A reward that rises says nothing about gold. Compare at equal steps, with an interval, and read the
#   responses.

# %%
progress()
