"""Exercise 4.4: ten statements about a recipe, and which number of the learner's run decides each."""

from __future__ import annotations

from autograder.keys.questions import Option, Question

TRUE, FALSE, DEPENDS = "true", "false", "depends"


def _question(id: str, text: str, key: str, wrong: dict[str, tuple[str, str]], *reasons: Option) -> Question:
    """A statement; `wrong` maps the other verdicts to idea and feedback. The first reason is the key."""
    others = tuple(Option(said, idea, feedback) for said, (idea, feedback) in wrong.items())
    return Question(id, text, (Option(key), *others), reasons, fixed=True)


VALUE_NETWORK = _question(
    "a",
    "The recipe needs a value network beside the policy and the reward model.",
    FALSE,
    {
        TRUE: ("F36", "A value network belongs to PPO. Count the models that your run loaded."),
        DEPENDS: (
            "F36",
            "No choice of n, prompts or reward model brings one in. Count the models you loaded.",
        ),
    },
    Option(
        "4.3: the cells that drew, selected and tuned loaded a policy and a reward model, and no third "
        "network."
    ),
    Option(
        "4.2: the loss subtracts what was to be expected from each token, and something has to predict that.",
        "F36",
        "Look at the loss again: it holds log-probabilities of tokens and a division. Nothing is subtracted.",
    ),
    Option(
        "4.3: the reward model's weights did not change, so another network must have passed its "
        "gradient on.",
        "F37",
        "No gradient of a reward is passed on at all in this recipe; the choice of rows is all that passes.",
    ),
    Option(
        "4.3: the interval of best minus random lies above 0, which a recipe with too few models cannot "
        "reach.",
        "F36",
        "The interval says how well the policy did. It does not say which parts the recipe is made of.",
    ),
)

BEATS_RANDOM = _question(
    "b",
    "In your run, fine-tuning on the best of 16 did better than fine-tuning on a random pick of the "
    "same size.",
    TRUE,
    {
        FALSE: ("F04", "Look at the comparison of the two arms on held-out prompts once more."),
        DEPENDS: ("F34", "Your run is one definite run, with a paired comparison and an interval. Read it."),
    },
    Option("4.3: the paired difference in gold on held-out prompts, best minus random; its whole interval."),
    Option(
        "4.3: the mean reward of the kept rows, which is higher among the best than among the random ones.",
        "F15",
        "That compares what was read, not what was learned. It was so before any training began.",
    ),
    Option(
        "4.3: the gold of the best arm minus the gold of the base policy, with the interval of that "
        "difference.",
        "F49",
        "The base policy was not tuned at all, so this cannot tell the choice of rows from the tuning "
        "itself.",
    ),
    Option(
        "4.2: the loss per response token of the batch, which agrees with that of the engine in every digit.",
        "F15",
        "A loss that is computed rightly says nothing about which of two arms became better.",
    ),
)

GAP_PROVES = _question(
    "c",
    "A large selection gap (kept rows far above their pool in reward) shows that the policy will get better.",
    FALSE,
    {
        TRUE: ("F11", "Then pure noise would make policies better. Look at the gap that noise has."),
        DEPENDS: (
            "F11",
            "What does depend on things is the policy. The gap by itself shows nothing about it.",
        ),
    },
    Option(
        "The gap of pure noise: it was over 1.5 standard deviations, and there was nothing to learn from it."
    ),
    Option(
        "4.3: the kept rows of the best arm lie far above the pool, and that arm's gold on held-out "
        "prompts rose.",
        "F11",
        "Both happened in this run. To see whether one shows the other, look for a gap without a gain.",
    ),
    Option(
        "4.1: ties are broken by lot, so the gap is a matter of chance and can come out at any size.",
        "F31",
        "Tied rewards are equal, so the lot does not move the gap at all.",
    ),
    Option(
        "The reward of the tuned policy's single responses, which stays below the mean reward of the "
        "kept rows.",
        "F35",
        "That says how much of the selection was learned in this run. A gap that means nothing is "
        "another thing.",
    ),
)

AS_SERVING = _question(
    "d",
    "One response of the tuned policy has on average the reward of serving the best of 16 of the "
    "base policy.",
    FALSE,
    {
        TRUE: ("F35", "Training keeps a part of what choosing at serving gives. Compare the two means."),
        DEPENDS: ("F35", "The statement is about two means that you printed one below the other."),
    },
    Option(
        "The three printed rewards: one response of the tuned policy lies between one of the base and "
        "its best of 16."
    ),
    Option(
        "4.3: best minus base in gold is above 0, so the tuned policy has caught up with the choice at "
        "serving.",
        "F35",
        "Better than one response of the base policy is not yet as good as the best of 16 of them.",
    ),
    Option(
        "4.3: the hash of the tuned policy is another one, and at serving no weights change at all.",
        "F35",
        "True, and it says which of the two pays where. It does not say which has the higher reward.",
    ),
    Option(
        "The computation per prompt: 82 units for the tuning, of which 64 for drawing and scoring 16 "
        "responses.",
        "F33",
        "Costs are compared there. The statement is about rewards.",
    ),
)

ERRORS_TOO = _question(
    "e",
    "Where the reward model has a taste that gold does not share, the recipe trains that taste into the "
    "policy.",
    TRUE,
    {
        FALSE: (
            "F16",
            "The kept rows are those the reward model likes, for whatever reason. Look at what rose.",
        ),
        DEPENDS: (
            "F16",
            "A taste takes part in every choice. Look at what the tuned policy does more often.",
        ),
    },
    Option(
        "The judge's counts: compliments, which the labeller of this reward model likes, rose above the "
        "random arm."
    ),
    Option(
        "4.3: gold rose together with the reward, so what the reward model likes must be right on the whole.",
        "F16",
        "On the whole is not everywhere. A count of one thing that it likes wrongly shows more than a mean.",
    ),
    Option(
        "4.3: the reward model's hash is the same before and after, so whatever it gets wrong stays in "
        "its weights.",
        "F01",
        "Its weights stay, and its choices leave. The rows that it chose are what the policy learned.",
    ),
    Option(
        "4.1: a reward that is NaN stops the run, so a wrong reward never gets as far as the training rows.",
        "F32",
        "NaN is the loud kind of error. A compliment with a high reward is a number like any other.",
    ),
)

ALL_ROWS = _question(
    "f",
    "It is a waste to keep 1 of 16: tuning on all rows would have done at least as well here.",
    FALSE,
    {
        TRUE: (
            "F02",
            "Tuning on all rows teaches the policy what it does already. Read the third comparison.",
        ),
        DEPENDS: ("F02", "It was tried here, on the same pool. Read the third comparison."),
    },
    Option("4.3: the paired difference in gold on held-out prompts, best minus all; its whole interval."),
    Option(
        "4.3: the number of rows, which is about sixteen times larger in that arm than in either of the "
        "others.",
        "F02",
        "The number of rows says what was read. What came of it is measured on held-out prompts.",
    ),
    Option(
        "4.1: the top-k selector keeps more than one row of a prompt, and its rows are almost as good "
        "as the best.",
        "F02",
        "Top-k still selects. The arm with all rows does not.",
    ),
    Option(
        "4.2: the loss is a mean over tokens, so a batch with more rows does not take a larger step "
        "than another.",
        "F02",
        "That is right, and it holds for good rows and poor rows alike.",
    ),
)

SCALE = _question(
    "g",
    "If every reward were multiplied by 10 and 3 added, the recipe would give another policy.",
    FALSE,
    {
        TRUE: (
            "F36",
            "That holds for methods that put the reward into the loss. Look at what your selector reads.",
        ),
        DEPENDS: ("F36", "No pool makes a difference. Look at what your selector does with a reward."),
    },
    Option(
        "4.1: the selector sorts rewards and nothing more, so rows keep their order and the same ones "
        "are kept."
    ),
    Option(
        "4.2: the loss multiplies each token's log-probability by the reward of its row, so the scale "
        "cancels.",
        "F37",
        "Look at the arguments of the loss: there is no reward among them.",
    ),
    Option(
        "The gap of noise: it is measured in standard deviations, so that every reward model has the "
        "same scale.",
        "F11",
        "How a gap is reported does not decide which rows are kept.",
    ),
    Option(
        "4.3: every arm has the same learning rate, which makes up for rewards that are ten times as large.",
        "F36",
        "The learning rate never meets a reward in this recipe.",
    ),
)

SIXTEEN = _question(
    "h",
    "For a team that wants more gold, 32 responses a prompt are better than 16.",
    DEPENDS,
    {
        TRUE: (
            "F13",
            "The reward rises with n in every case. Gold follows only as far as the reward model is right.",
        ),
        FALSE: (
            "F14",
            "With a reward model that has no such bias, gold went on rising. Look at both curves.",
        ),
    },
    Option(
        "Notebook 03: gold turned near n = 16 with `tiny`, and had not turned there with `tiny-unbiased`."
    ),
    Option(
        "4.3: best minus random is above 0 with 16 responses, so that with 32 responses it would be "
        "twice that.",
        "F13",
        "One n was measured there. It does not say how the curve goes on.",
    ),
    Option(
        "The gap of noise: it grows with every response that is added, so the gain of the policy grows "
        "as well.",
        "F11",
        "A gap that grows for noise as well cannot be what decides about gold.",
    ),
    Option(
        "4.1: more columns make ties more likely, and ties are broken by lot, so the choice gets no better.",
        "F31",
        "Ties between real-valued rewards are rare with 16 columns and rare with 32.",
    ),
)

NO_EVALUATION = _question(
    "i",
    "With thousands of pairs, all chosen by reward, the team can do without held-out prompts.",
    FALSE,
    {
        TRUE: ("F15", "The rewards of chosen rows are high whatever they mean. Think of the noise."),
        DEPENDS: ("F15", "No number of pairs makes a maximum into an estimate. Think of the noise."),
    },
    Option(
        "The gap of pure noise: among chosen rows even random numbers look good, however many rows there are."
    ),
    Option(
        "4.3: 128 pairs were enough for an interval above 0, so thousands of pairs need no interval at all.",
        "F34",
        "That interval comes from held-out prompts. Pairs to train on have no part in it.",
    ),
    Option(
        "4.3: stored and repeated rewards agree, so the training rewards can be trusted as they are.",
        "F15",
        "They are the reward model's numbers, and rightly stored. Of rows that were chosen for being "
        "high, though.",
    ),
    Option(
        "4.2: the loss agrees with the engine, so the training loss shows how much better the policy "
        "has become.",
        "F46",
        "The training loss falls on any rows that are repeated often enough, good or poor.",
    ),
)

CHEAPER = _question(
    "j",
    "Per prompt, one round of best-of-n with fine-tuning takes less computation than PPO.",
    DEPENDS,
    {
        TRUE: ("F33", "With 16 responses the printed count says otherwise. It is not the same with 4."),
        FALSE: ("F33", "With 16 responses and those epochs, yes. Put 4 in the place of 16."),
    },
    Option(
        "The printed count: 4 times n and 6 per epoch stand against PPO's own epochs, so n decides "
        "which is less."
    ),
    Option(
        "The models in memory: one at a time here and four for PPO, so every step of PPO costs four "
        "times as much.",
        "F33",
        "What must be in memory and what must be computed are two budgets.",
    ),
    Option(
        "4.3: the arm with all rows took longest of the three, and PPO is trained on all rows as well.",
        "F33",
        "That arm is a control of this recipe. PPO was not run in this notebook.",
    ),
    Option(
        "4.2: a batch of the recipe has a plain loss with one division, which nothing else can undercut.",
        "F33",
        "A simple formula can be computed many times over. Count the passes.",
    ),
)

QUESTIONS = (
    VALUE_NETWORK,
    BEATS_RANDOM,
    GAP_PROVES,
    AS_SERVING,
    ERRORS_TOO,
    ALL_ROWS,
    SCALE,
    SIXTEEN,
    NO_EVALUATION,
    CHEAPER,
)
