# %% [markdown]
# # 06 · RLHF from scratch
#
# Rejection sampling needs a choice and the loss that everybody has. The other road goes without the
# choice: it multiplies what each token did to the loss by how good the response was. You build that
# road here, from one line to PPO, check it against a world where every gradient is exact, and then let
# it off its leash.
#
# You will be able to
#
# - write the advantages and losses of REINFORCE, RLOO, GRPO and PPO, with their traps,
# - say of every method, rejection sampling included, what number it puts on each token,
# - tune the embedded policy by PPO and by RLOO, and show what the KL penalty holds back.
#
# About 100 minutes, of which two are computing; 13.5 points.

# %% role="setup" gpu="The same calls on a real model"

# %% [markdown]
# ## Two responses and a pencil
#
# A policy answers a prompt with *yes* or with *no*, each with probability one half. The reward of *yes*
# is 3, that of *no* is 1. The policy has a single number, the logit of *yes*. If it is raised a little,
# by how much does the mean reward rise? The mean is 3p + 1(1 − p), and p rises by p(1 − p) for each
# unit of logit.

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
# Nobody differentiates a mean over all texts. But the same slope is the mean of *reward times grad log
# p* over what the policy draws: that is REINFORCE. Any baseline may be taken off the reward without
# changing that mean, as long as it does not look at the response that it judges.
#
# Look at the two lines. Without a baseline one draw says "much more", the other "a little less". With
# the baseline 2 both say the same. The mean is equal, the noise is not.

# %% [markdown]
# {{card:6.1}}
#
# Three functions. Rewards come as a tensor (M, n): a row is a prompt. `leave_one_out` takes as baseline
# of each response the mean of its prompt's *other* responses; with n = 1 there are none and the
# baseline is 0. `group_normalised` is GRPO's: minus the row's mean, over the row's standard deviation
# (with n − 1) plus epsilon.
#
# `reinforce_loss` gets log-probabilities (B, T), advantages (B,) and a mask (B, T) of booleans. Per row
# it sums minus advantage times log-probability over the tokens of the mask, then it averages the rows.
# It is checked in a world of fifteen responses, where the gradient is a sum.
#
# <details><summary>Hint</summary>
# The sum of the others is the row's sum minus the response's own reward. Off the mask anything may
# stand, also -inf: <code>torch.where</code> chooses, a multiplication does not.
# </details>

# %% exercise="6.1" role="answer"
def leave_one_out(rewards):
    """Each reward (M, n) minus the mean of the others of its row; with n = 1 the reward itself."""
    ### BEGIN SOLUTION
    n = rewards.shape[1]
    if n == 1:
        return rewards.clone()
    return rewards - (rewards.sum(1, keepdim=True) - rewards) / (n - 1)
    ### END SOLUTION


def group_normalised(rewards, epsilon=1e-4):
    """Each reward (M, n) minus its row's mean, over its row's standard deviation (n - 1) plus epsilon."""
    ### BEGIN SOLUTION
    return (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + epsilon)
    ### END SOLUTION


def reinforce_loss(logprobs, advantages, mask):
    """One number: minus advantage times log-probability, summed over tokens, averaged over rows."""
    ### BEGIN SOLUTION
    return -(advantages * torch.where(mask, logprobs, 0.0).sum(1)).mean()
    ### END SOLUTION

# %% exercise="6.1" role="check"
check("6.1")

# %% [markdown]
# Does it learn? Here is the micro-world of the engine: 31 responses of up to four tokens over two
# letters, each with a reward. Your loss, your baseline, no model but a table of logits. The line that
# it is held against is the exact mean reward.

# %%
import rslib
from rslib.world import outcomes

world = outcomes.enumerate_outcomes(letters=2, longest=4)
worth = np.random.default_rng(7).normal(size=len(world))
logits = torch.zeros(world.shape, requires_grad=True)
optimiser, rng, curve = torch.optim.SGD([logits], lr=0.5), np.random.default_rng(0), []
for _ in range(200):
    law = outcomes.law(world, logits.detach().numpy())
    curve.append(float(law @ worth))
    drawn = outcomes.draw_outcomes(law, 16, rng)
    table = torch.log_softmax(logits, 1)[torch.tensor(world.prefixes), torch.tensor(world.tokens)]
    gains = leave_one_out(torch.tensor(worth[drawn], dtype=torch.float32)[None])[0]
    loss = reinforce_loss(table[drawn], gains, torch.tensor(world.mask)[drawn])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()

# %%
[panel] = rslib.plots.panels(1, 3.2, None)
panel.plot(curve, color="#21558c")
panel.axhline(worth.max(), color="#9aa7b5", linestyle=":")
panel.set(xlabel="steps of 16 responses (one run, exact mean)", ylabel="mean reward")
text = f"The exact mean reward rises from {curve[0]:.2f} to {curve[-1]:.2f}; the best is {worth.max():.2f}."
rslib.plots.finished([panel], "Does the loss find the best response?", text)
rslib.plots.show(panel)

# %% [markdown]
# ## What PPO adds
#
# Three things, each against a fear. A **KL penalty** on every token, for fear that the policy leaves
# the region in which the reward model knows anything. A **value model** that says how well a response
# is going, so that each token has its own advantage: for fear of noise. And a **clip**, for fear of
# taking several steps on samples that the policy of the first step has drawn.

# %% role="predict" name="clipped"
guess = ...  # ratio 1.5, clip 0.2, advantage -1: what is minus the smaller of the two products?
### BEGIN SOLUTION
guess = 1.5
### END SOLUTION
predict("clipped", guess)

# %%
ratio, advantage = 1.5, -1.0
compare("clipped", -min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage))

# %% [markdown]
# With the advantage −1 a ratio of 1.5 went the *wrong* way: a bad token became likelier. It is not held
# back, it has to come back. The clip holds only those that already went far in the direction that their
# advantage asks for. People who clip the ratio whatever the advantage lose exactly the corrections.

# %% [markdown]
# {{card:6.2}}
#
# Four functions on tensors (B, T); `mask` is True on the tokens of the response, which stand on the
# left.
#
# - `token_rewards`: minus coefficient × (log-probability − reference) on every token, and the
#   response's score on its last one. A row without tokens is 0 throughout.
# - `gae`: with δ = r + discount × V(next) − V, the advantage is δ + discount × smoothing × A(next).
#   Behind the last token V and A are 0.
# - `clipped_policy_loss`, one number per token, and `clipped_value_loss`: half the larger of two
#   squared errors, of the value and of the value held within `clip` of the old one.
#
# <details><summary>Hint</summary>
# For <code>gae</code> go through the tokens from the last to the first. For the last token of a row
# compare
# <code>mask.cumsum(1)</code> with <code>mask.sum(1, keepdim=True)</code>.
# </details>

# %% exercise="6.2" role="answer" name="rewards"
def token_rewards(scores, logprobs, reference_logprobs, mask, coefficient):
    """Rewards (B, T): minus the KL penalty on every token of the mask, plus the score (B,) on the last."""
    ### BEGIN SOLUTION
    rewards = torch.where(mask, -coefficient * (logprobs - reference_logprobs), 0.0)
    last = mask & (mask.cumsum(1) == mask.sum(1, keepdim=True))
    return rewards + last * scores[:, None]
    ### END SOLUTION


def gae(rewards, values, mask, discount, smoothing):
    """Advantages (B, T), 0 off the mask."""
    ### BEGIN SOLUTION
    values, found = torch.where(mask, values, 0.0), torch.zeros_like(values)
    following = ahead = torch.zeros(len(values))
    for t in reversed(range(values.shape[1])):
        delta = rewards[:, t] + discount * following - values[:, t]
        ahead = torch.where(mask[:, t], delta + discount * smoothing * ahead, 0.0)
        found[:, t], following = ahead, values[:, t]
    return found
    ### END SOLUTION

# %% exercise="6.2" role="answer" name="losses"
def clipped_policy_loss(logprobs, old_logprobs, advantages, clip):
    """PPO's loss per token: minus the smaller of two products."""
    ### BEGIN SOLUTION
    ratio = torch.exp(logprobs - old_logprobs)
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    ### END SOLUTION


def clipped_value_loss(values, old_values, returns, clip):
    """Half the larger of two squared errors, per token."""
    ### BEGIN SOLUTION
    near = old_values + (values - old_values).clamp(-clip, clip)
    return torch.maximum((values - returns) ** 2, (near - returns) ** 2) / 2
    ### END SOLUTION

# %% exercise="6.2" role="check"
check("6.2")

# %% [markdown]
# ## All methods on one ruler
#
# Every method of this course moves the policy by *coefficient × grad log p(token)*, summed over tokens.
# They differ in whose responses they read, and in the coefficient. For fine-tuning it is 1. What is it
# for rejection sampling, where the reward has only chosen?
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
# {{card:6.3}}
#
# Five functions that give the coefficient of each token (or, for `dpo`, of each pair: plus on the
# chosen response, minus on the rejected). Positive makes a token likelier. They are held against the
# gradients of the losses themselves. GRPO's loss is PPO's plus `kl_coefficient` × (e^d − 1 − d), with d
# = reference − policy. DPO's is −log σ(β × margin), where the margin is how much more the policy
# prefers the chosen response than the reference does.
#
# <details><summary>Hint</summary>
# A number that is clamped has the gradient 0. The derivative of the ratio with respect to the
# log-probability is the ratio. The derivative of -log sigmoid(x) is -sigmoid(-x).
# </details>

# %% exercise="6.3" role="answer"
def sft(logprobs):
    ### BEGIN SOLUTION
    return torch.ones_like(logprobs)
    ### END SOLUTION


def rejection_sampling(logprobs, kept):
    ### BEGIN SOLUTION
    return kept[:, None] * torch.ones_like(logprobs)
    ### END SOLUTION


def ppo(logprobs, old_logprobs, advantages, clip):
    ### BEGIN SOLUTION
    ratio = torch.exp(logprobs - old_logprobs)
    too_far = torch.where(advantages > 0, ratio > 1 + clip, ratio < 1 - clip)
    return torch.where(too_far, 0.0, ratio * advantages)
    ### END SOLUTION

# %% exercise="6.3" role="answer" name="pulls"
def grpo(logprobs, old_logprobs, reference_logprobs, advantages, clip, kl_coefficient):
    ### BEGIN SOLUTION
    pull = torch.exp(reference_logprobs - logprobs) - 1
    return ppo(logprobs, old_logprobs, advantages, clip) + kl_coefficient * pull
    ### END SOLUTION


def dpo(chosen, rejected, reference_chosen, reference_rejected, beta):
    ### BEGIN SOLUTION
    margin = (chosen - reference_chosen) - (rejected - reference_rejected)
    return beta * torch.sigmoid(-beta * margin)
    ### END SOLUTION

# %% exercise="6.3" role="check"
check("6.3")

# %% [markdown]
# The engine runs any coefficient. Here your `rejection_sampling` becomes a training method: fresh
# responses, the best of four of each prompt gets 1, the others 0. That is *online* rejection sampling.

# %%
from rslib import rl
from rslib.rl.unified import Unified
from rslib.store import read_json

policy, reward_model = rslib.load_policy("tiny"), rslib.load_reward_model("tiny")
prompts, heldout = rslib.load_prompts("tiny", "train", 256), rslib.load_prompts("tiny", "validation", 100)


def best_of_four(rollouts, rows, logprobs, kl_coefficient):
    kept = (rollouts.grouped == rollouts.grouped.max(1, keepdim=True).values).flatten()
    return rejection_sampling(logprobs, kept[rows])

# %%
few = rl.Loop(steps=3, prompts_per_step=16, n=4, learning_rate=1e-3, warmup_steps=2)
mine, place = Unified(best_of_four), runs / "6-online"
rl.train(policy, reward_model, prompts, mine, few, out=place, show_progress=False)
print("step    reward      gold        KL, each before the step")
for number, step in enumerate(read_json(place / "training.json")["history"], start=1):
    print(f"{number:4}  {step['reward']:8.2f}  {step['gold']:8.2f}  {step['kl']:8.2f}")

# %% [markdown]
# ## On the leash, and off it
#
# Now the engine's own PPO and RLOO, which do what you wrote. Three runs from the same policy: PPO,
# RLOO, and PPO with its KL coefficient at 0 and twice the steps. Learning rate and everything else are
# the same. What will gold be without the penalty, beside PPO's?

# %% role="predict" name="free"
guess = ...  # "higher", "lower" or "not separable"
### BEGIN SOLUTION
guess = "lower"
### END SOLUTION
predict("free", guess)

# %%
common = {"learning_rate": 1e-3, "warmup_steps": 4}
rows = {"prompts_per_step": 64, "n": 1, "epochs": 2}
LOOPS = {
    "ppo": (rl.PPO(), rl.Loop(steps=6, kl_coefficient=0.2, **rows, **common)),
    "rloo": (rl.RLOO(), rl.Loop(steps=8, kl_coefficient=0.1, prompts_per_step=16, n=4, **common)),
    "ppo_without_kl": (rl.PPO(), rl.Loop(steps=12, kl_coefficient=0.0, **rows, **common)),
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
# into its own folder, and write the folders into `tuned`. Judge base and all three on `heldout`, two
# responses to each prompt, the seed 1_000_003 for all, with reward and gold. `evidence` holds the four
# comparisons (`evaluation.compare`), and `claims` says of each whether its first arm is `"higher"`,
# `"lower"` or `"not separable"`.
#
# It takes about a minute and a half on two cores; each run shows its steps.
#
# <details><summary>Hint</summary>
# <code>with_gold(score(...))</code> judges what a policy wrote;
# <code>evaluation.verdict</code> reads an interval. A run that was stopped goes on where it was
# when you call it again.
# </details>

# %% exercise="6.4" role="answer"
from rslib import evaluation
from rslib.stages import with_gold

tuned, evidence, claims = {}, {}, {}
### BEGIN SOLUTION
for arm, (method, loop) in LOOPS.items():
    tuned[arm] = str(runs / f"6-{arm}")
    rl.train(policy, reward_model, prompts, method, loop, out=tuned[arm], show_progress=False)


def judged(one):
    drawn = rslib.sample(one, heldout, n=2, seed=1_000_003, show_progress=False)
    return with_gold(rslib.score(reward_model, drawn, show_progress=False))


tables = {arm: judged(rslib.load_policy(path)) for arm, path in tuned.items()}
tables["base"] = judged(policy)
for name, (first, second, column) in COMPARISONS.items():
    evidence[name] = evaluation.compare(tables[first], tables[second], column)
    claims[name] = evaluation.verdict(evidence[name])
### END SOLUTION

# %% exercise="6.4" role="check"
check("6.4")

# %%
compare("free", claims.get("gold, without the penalty against PPO", "nothing measured yet"))
for name, found in evidence.items():
    around = f"[{found['low']:+.2f}, {found['high']:+.2f}]"
    print(f"{name:42}  {found['difference']:+.2f}  {around:16}  {claims[name]}")

# %% [markdown]
# What happened on the way? Every run keeps its history: gold and KL of each draw, before the steps on
# it.

# %%
history = {arm: read_json(f"{path}/training.json")["history"] for arm, path in tuned.items()}
axes = rslib.plots.panels(2, 3.6, None)
for (arm, steps), style in zip(history.items(), ("o-", "s--", "^:"), strict=False):
    for panel, name in zip(axes, ("gold", "kl"), strict=True):
        panel.plot(range(len(steps)), [step[name] for step in steps], style, label=arm, markersize=4)
for panel, name in zip(axes, ("gold of the draw (points)", "KL of the draw (nats)"), strict=True):
    panel.set(xlabel="draw (64 responses each, one run)", ylabel=name)
axes[0].legend(frameon=False, fontsize=8)
last = {arm: steps[-1] for arm, steps in history.items()}
ends = ", ".join(f"{arm} {step['gold']:.1f} at {step['kl']:.0f} nats" for arm, step in last.items())
rslib.plots.finished(axes, "What does the penalty hold back?", f"Gold of the last draw: {ends}.")
rslib.plots.show(axes)

# %% [markdown]
# At first all three are alike: reward and gold rise together, and a few nats of KL buy them. Then the
# free run goes on to where the reward model has never been. Its reward is the highest of all. With
# longer runs and five seeds the engine's own measurement finds a reward of
# {{rl.json:results.*.ppo_without_kl.reward|.1f}} and gold of
# {{rl.json:results.*.ppo_without_kl.gold|.1f}}, where the base policy has
# {{rl.json:results.*.base.gold|.1f}} and PPO on its leash {{rl.json:results.*.ppo.gold|.1f}}.
#
# One round of best-of-16 on the same prompts reaches {{rl.json:results.*.rs.gold|.1f}}, in
# {{rl.json:results.*.rs.cpu_seconds|.0f}} seconds of one core where PPO took
# {{rl.json:results.*.ppo.cpu_seconds|.0f}}. Whether that is a fair comparison is the next notebook.

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
# - An advantage is a reward minus what was expected; what it must not contain is the response's own
#   reward.
# - Every method is a number per token. Rejection sampling's is 1 or 0, and needs neither reference nor
#   value.
# - A KL penalty is no decoration: without it the same steps lead to high reward and gold below the
#   start.

# %%
progress()
