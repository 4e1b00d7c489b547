# %% [markdown]
# # 00 · Start here
#
# You will be able to
# - say whether this machine is ready for the course, and for how much of it
# - see the five stages of rejection sampling fine-tuning once, from prompts to a comparison
# - read the panel that a check shows
#
# About 5 minutes. Nothing in this notebook is graded.

# %% role="setup"

# %% [markdown]
# ## Is this machine ready?
#
# `doctor` looks at versions, device, memory and the embedded models: small ones that come with the course.
# Every line should begin with ok. It takes a few seconds.

# %%
from rslib.doctor import doctor

for line in doctor():
    if line.name != "disk" or not line.ok:  # the disk only where it is nearly full
        print(line)

# %% [markdown]
# A line with FAIL says what is wrong. Where a file of an embedded model is missing or changed, install the
# course again. What runs here depends on the device:
#
# | tier | what runs here |
# |---|---|
# | cpu | every notebook, with the embedded models |
# | T4 (16 GB) | the same, and real models of up to about 400 million parameters |
# | large GPU | the same, and larger ones |

# %%
import torch

from rslib.models import pick_device

has_gpu = torch.cuda.is_available()
memory = torch.cuda.get_device_properties(0).total_memory / 2**30 if has_gpu else 0
tier = "cpu" if not has_gpu else "T4" if memory < 20 else "large GPU"
print(f"tier: {tier} ({pick_device().why})")

# %% [markdown]
# After installation the course needs no network. Here is the proof: the next cell forbids every connection
# while it loads two of the embedded models. The *policy* is a language model: it reads a prompt and writes
# a response. The *reward model* reads a prompt with a response and gives one number, the reward. Higher is
# better.

# %%
import socket
from unittest import mock

import rslib

with mock.patch.object(socket.socket, "connect", side_effect=OSError("no network here")):
    policy, reward_model = rslib.load_policy("tiny"), rslib.load_reward_model("tiny")
print(f"loaded offline: a policy of {policy.parameters:,} parameters, and a reward model")

# %% [markdown]
# ## The five stages
#
# The whole method fits into one picture. Let the policy respond to each prompt n = 16 times, let the reward
# model judge, keep the best response, and fine-tune: train the policy to write what was kept. In the end
# the tuned policy is compared with the *base* policy, the one before training, on *held-out* prompts:
# prompts that no training has seen.

# %%
from matplotlib.figure import Figure

stages = {
    "1 sample": ("policy", "16 responses\nto each prompt"),
    "2 score": ("reward model", "a reward\nfor each response"),
    "3 select": ("no model", "the best one\nof each prompt"),
    "4 fine-tune": ("policy", "trained on\nwhat was kept"),
    "5 evaluate": ("both policies", "tuned against base,\nheld-out prompts"),
}
panel = Figure(figsize=(7.6, 2.1), layout="constrained").subplots()
panel.set(xlim=(0, 5), ylim=(0, 1), title="What happens in one round, with n = 16?")
panel.axis("off")
for step, (name, (who, what)) in enumerate(stages.items()):
    panel.text(step + 0.5, 0.66, name, ha="center", va="center", bbox={"fc": "white"})
    panel.text(step + 0.5, 0.88, f"({who})", ha="center", fontsize=9)
    panel.text(step + 0.5, 0.3, what, ha="center", fontsize=9)
    if step:
        panel.annotate("", (step + 0.15, 0.66), (step - 0.13, 0.66), arrowprops={"arrowstyle": "->"})
panel.annotate("", (0.5, 0.2), (3.5, 0.2), arrowprops={"arrowstyle": "->"})
panel.text(2, 0.05, "the next round samples from the tuned policy", ha="center", fontsize=9)
rslib.plots.show(panel, "One round: sample, score, select, fine-tune, evaluate; then the next one.")

# %% [markdown]
# Now stages 1 to 3 with the embedded models. Forty prompts, 640 responses, about five seconds.
#
# In this course you say what you expect before you look. A wrong guess is worth more than none: it is the
# one that you remember. After each result, ask what the difference between the two says. The rewards of
# this reward model run from about −6 to 5. **By how much will the mean reward of the 40 kept responses
# exceed that of all 640?**

# %% role="predict" name="selection_gap"
guess = ...  # a number, such as 1.0; replace the dots, then run the cell
### BEGIN SOLUTION
guess = 2.0
### END SOLUTION
predict("selection_gap", guess)

# %%
prompts = rslib.load_prompts("tiny", limit=40)
responses = rslib.sample(policy, prompts, n=16, seed=0, show_progress=False)
scored = rslib.score(reward_model, responses, show_progress=False)
kept = rslib.select(scored, "best_of_n")

pool_mean, kept_mean = (sum(table["reward"]) / len(table) for table in (scored, kept))
print(f"{len(prompts)} prompts, {len(responses)} responses, {len(kept)} kept")
compare("selection_gap", kept_mean - pool_mean)

# %% [markdown]
# If your guess was too low, you may have expected sixteen responses to be much alike. The gap is large
# because the policy's good and bad responses lie far apart. Read them: below are the responses to the first
# three prompts, ranked by reward, and the one that was kept. Click on a prompt, or press Enter on it, to
# unfold it.

# %%
rslib.browse(scored, kept=kept, prompts=3, title="What the policy wrote")

# %% [markdown]
# Stages 4 and 5: a copy of the policy is trained on the 40 kept responses, then both policies respond to 60
# held-out prompts. About ten seconds.
#
# Two rows of the table matter. *Gold* is the score that really counts; in this small world a program
# computes it. *Proxy* is the mean reward, which the reward model gives.

# %%
tuned = rslib.finetune(policy, kept, runs / "policy", show_progress=False)
report = rslib.evaluate(
    tuned,
    baseline=policy,
    reward_model=reward_model,
    prompts=rslib.load_prompts("tiny", split="test", limit=60),
    show_progress=False,
)
print("\n".join(report.text_table().splitlines()[:4]))

# %% [markdown]
# The brackets hold 95 % intervals. Forty responses to train on are very few, and with 60 prompts to judge
# by the intervals are wide. Whether a difference can be told from chance is a question of every notebook.
# With 400 prompts to train on, gold rises from {{rounds.json:results.*.arms.base.gold.mean|.2f}} to
# {{rounds.json:results.*.arms.best_of_n.gold.mean|.2f}}.

# %% [markdown]
# ## How grading works
#
# An exercise asks for a function, a list or an answer. Its last cell calls `check("1.1")`, which tries your
# work on inputs drawn anew each time, and shows a panel. You may check as often as you like; only the last
# one counts.
#
# | in the panel | what it tells you |
# |---|---|
# | ✓ passed, ✗ not yet | one line for each part, with its points |
# | check | what your work was asked to do, and the idea that leads elsewhere |
# | case, expected, got | the input that shows it, and the two results |
#
# Here is a practice panel. The function should give the place of the highest reward in a list, counted from
# 0; of several highest, the first. This one is wrong:

# %%
from autograder.handouts.nb00 import practise


def best_of(rewards):
    return rewards.index(min(rewards))


practise(best_of)

# %% [markdown]
# The panel names the check that failed, the idea that leads to such an answer, and the case. (F03 is a
# number in the course's list of flaws; you will meet others.) It never shows the solution.
#
# Each part has its own points, so half an answer is worth half. This one takes the *last* of equal rewards:


# %%
def best_of(rewards):
    return max(range(len(rewards)), key=lambda place: (rewards[place], place))


practise(best_of)

# %% [markdown]
# And a right one. Change it as you like and run it again: what if it always returns 0?


# %%
def best_of(rewards):
    return rewards.index(max(rewards))


practise(best_of)

# %% [markdown]
# Five functions go with you. They come from the set-up cell at the top of each notebook.
#
# | call | what it does |
# |---|---|
# | `given("1.1")` | hands out what an exercise needs: cards, questions, models; shuffled for you |
# | `check("1.1")` | grades an exercise on fresh inputs |
# | `predict("gap", 2.0)` | notes what you expect; never graded |
# | `compare("gap", 2.31)` | puts it beside what was measured |
# | `progress()` | your points so far, in this session |
#
# Put an id of yours into `student=""` in the set-up cell and run that cell again. Use the same id in all
# notebooks: it draws your variant of the exercises. In a class your instructor says which.

# %% [markdown]
# ## What you now know
# - Whether this machine is ready, and which tier it is; the embedded models need no network.
# - One round is sample, score, select, fine-tune, evaluate.
# - A check says which idea leads to a wrong answer, and gives points for each part.
