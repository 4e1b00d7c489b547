"""Exercise 2.1: what a reward model is for, as six small cases. The exhibits stand in the notebook."""

from __future__ import annotations

from autograder.keys.questions import Option, Question

MOST_DIRECT = Question(
    "a",
    "A team has a base model that answers questions about rice, tents and locks, and a reward model that "
    "passed every check they know. They can run ordinary supervised fine-tuning and nothing else. They want "
    "better weights with as little new machinery as possible. What is the most direct use of the reward "
    "model?",
    (
        Option(
            "Draw several responses to each prompt, keep the one with the highest reward, fine-tune the base "
            "model on what was kept."
        ),
        Option(
            "Draw several responses to each prompt and fine-tune the reward model on them, until its "
            "rewards for what the base model writes have risen.",
            "F01",
            "That changes the judge. The base model's weights are what they were, and so are its responses.",
        ),
        Option(
            "Draw several responses to each prompt, write the reward beside each, and fine-tune the base "
            "model on all of them, so that no work is lost.",
            "F02",
            "A model that is fine-tuned on everything that it writes is shown its own average. The rewards "
            "were computed, and then nothing depended on them.",
        ),
        Option(
            "Train the base model with PPO, where a value network predicts the reward and a KL term keeps "
            "the policy near the base model.",
            "F36",
            "It can work, but it is not what this team can run: a value network, a reference and a training "
            "loop of another kind would come with it.",
        ),
    ),
    (
        Option(
            "A choice among responses turns rewards into training data, and the ordinary next-token loss can "
            "use that data as it is."
        ),
        Option(
            "The reward model's gradient says, token by token, in which direction each response of the base "
            "model should move.",
            "F37",
            "No gradient of the reward model is used on this route. A response is text: what passes on is "
            "the choice of rows.",
        ),
        Option(
            "The reward model is the part that knows what is good, so it is the part whose weights are worth "
            "improving any further.",
            "F01",
            "It has passed its checks. What users read is written by the other model.",
        ),
        Option(
            "More rows are better for fine-tuning in every case, and the rewards stay in the file for "
            "whoever may want to use them.",
            "F02",
            "Rewards in a file that no step reads change nothing. The improvement comes from what is left "
            "out.",
        ),
    ),
)

WHICH_WEIGHTS = Question(
    "b",
    "Read exhibit 1. What happened in the fine-tuning step?",
    (
        Option("The optimiser was given the reward model's weights to change."),
        Option(
            "One response was drawn per prompt, so there was nothing to choose from.",
            "F05",
            "With one response per prompt the gap is exactly 0. Here it is 2.31.",
        ),
        Option(
            "The lowest reward was kept instead of the highest.",
            "F03",
            "Then the gap would be negative, and gold would fall. Here the gap is positive.",
        ),
        Option(
            "The learning rate was so small that the log cannot show what the policy learned.",
            "F46",
            "A hash changes with the last digit of a single weight. A small step would have changed it too.",
        ),
    ),
    (
        Option(
            "The policy has its old hash, so no step of any size can have reached it, while the other hash "
            "did change."
        ),
        Option(
            "The policy is fine-tuned on responses that it wrote itself, so its KL to the base stays 0 in "
            "every run that is healthy.",
            "F02",
            "The kept rows are not a fair draw from the policy: they are the best of many. Learning them "
            "moves it.",
        ),
        Option(
            "The change in gold is 0.00, which means that selection found nothing in the pool that was "
            "better than its average.",
            "F04",
            "The gap of 2.31 says the opposite: the kept rows were far above the pool.",
        ),
        Option(
            "A gap of 2.31 is large, and a large gap is what one gets from keeping the wrong end of the "
            "order.",
            "F03",
            "The gap is kept minus pool. Keeping the wrong end makes it negative.",
        ),
    ),
)

ALL_ROWS = Question(
    "c",
    "Read exhibit 2. What did this team forget?",
    (
        Option("To leave responses out: all of the pool went into fine-tuning."),
        Option(
            "To read the rewards: a response was kept at random for each prompt.",
            "F04",
            "One random response per prompt would be 400 rows. The log counts 6,400.",
        ),
        Option(
            "To draw more than one response for each prompt.",
            "F05",
            "Then the pool would have 400 rows, one a prompt.",
        ),
        Option(
            "To sort the rewards back: each stands beside a response that it does not belong to.",
            "F09",
            "Rewards in the wrong rows make the choice an accident, but a choice of one per prompt would "
            "still have 400 rows.",
        ),
    ),
    (
        Option(
            "As many rows were trained on as were drawn, so both means are taken over the same responses."
        ),
        Option(
            "The two means agree, and only a random choice can make the mean of the kept rows equal to the "
            "pool's.",
            "F04",
            "Choosing nothing does it too, and exactly. Look at the numbers of rows.",
        ),
        Option(
            "The pool's mean reward is negative, so there was no response in it that deserved to be kept.",
            "F30",
            "A reward has no zero that means anything. Among sixteen responses one is always the best.",
        ),
        Option(
            "Rewards that stand in the wrong rows leave the mean of any set of rows exactly where it was.",
            "F09",
            "The mean of all rows, yes; of a chosen part it would only be near it. The two means agree in "
            "every digit.",
        ),
    ),
)

TRAIN_OR_TEST_TIME = Question(
    "d",
    "Read exhibit 3. Both products please their users more than the base model did. Tonight the reward "
    "model's server is switched off, and from then on each request gets one response. Whose responses stay "
    "better than the base model's?",
    (
        Option("Oak's, and not Elm's."),
        Option(
            "Elm's, and not Oak's.",
            "F35",
            "Elm's weights have the base model's hash. One response drawn from them is a response of the "
            "base model.",
        ),
        Option(
            "Those of both products.",
            "F35",
            "Elm never changed a weight. Without a reward model it serves the base model.",
        ),
        Option(
            "Those of neither.",
            "F35",
            "Oak's reward model has been off since the launch, and its users are pleased today.",
        ),
    ),
    (
        Option(
            "One team's choice went into the weights, where it stays; the other makes its choice anew at "
            "each request."
        ),
        Option(
            "A policy that has had sixteen of its responses scored at every request has learned from them "
            "by now.",
            "F35",
            "Scoring teaches nothing. A policy learns when an optimiser changes its weights, and none ran "
            "at Elm.",
        ),
        Option(
            "Best of sixteen is the same operation in training and at the request, so it leaves the same "
            "trace in both products.",
            "F35",
            "The operation is the same, what is kept of it is not: one team fine-tuned on the choice, one "
            "sent it off.",
        ),
        Option(
            "The text that a user reads was written by the reward model, and it can no longer write once it "
            "is off.",
            "F37",
            "A reward model writes no text. It has one number for each pair of prompt and response.",
        ),
    ),
)

WHAT_CROSSES = Question(
    "e",
    "Look at the sketch in exhibit 4. Seen from the fine-tuning step, what has come from the reward model?",
    (
        Option("The choice of rows to train on."),
        Option(
            "The gradient of the reward with respect to the policy's weights.",
            "F37",
            "Between the two models stands text. The loss is computed on the kept rows and holds no reward.",
        ),
        Option(
            "Reworded responses.",
            "F37",
            "The reward model has no way to write: its head gives a single number.",
        ),
        Option(
            "An advantage for every token, by way of a value network.",
            "F36",
            "That is a part of PPO. The sketch has no value network, and the ordinary loss needs no "
            "advantage.",
        ),
    ),
    (
        Option("Multiply every reward by ten: the same rows are kept, and the loss on them is the same."),
        Option(
            "The reward is a smooth function of the response, so the chain rule leads from it into the "
            "policy.",
            "F37",
            "The step from probabilities to drawn tokens is not smooth, and no one asks it to be: the text "
            "is data.",
        ),
        Option(
            "A reward model is a language model with a new head, so it knows how the response should have "
            "read.",
            "F37",
            "What it knows comes out as one number. The old head, which wrote words, is gone.",
        ),
        Option(
            "Rewards of unknown size have to be compared with a baseline before they can serve as a "
            "training signal.",
            "F36",
            "A baseline matters where the loss multiplies by the reward. Here the reward only ranks.",
        ),
    ),
)

WHAT_IS_REJECTED = Question(
    "f",
    "Read exhibit 5. The team does rejection sampling fine-tuning and keeps one response per prompt. What "
    "do they keep for this prompt?",
    (
        Option("Response 2, and no other."),
        Option(
            "None: all are below zero.",
            "F30",
            "A reward has no zero that means anything: add 5 to all of them and nothing about the responses "
            "changed.",
        ),
        Option(
            "Each of the four with a probability that grows with its reward.",
            "F40",
            "That is accept-reject sampling from the statistics textbook, a namesake. Here the best one is "
            "kept.",
        ),
        Option(
            "Whichever of them a safety filter lets through.",
            "F40",
            "The word is the same, the rule is not: here rejected means not the best, harmful or harmless.",
        ),
    ),
    (
        Option(
            "The order of the rewards within the prompt decides, and rejected is whatever does not come "
            "first."
        ),
        Option(
            "A response is accepted where its reward lies above zero, which is where a good response begins.",
            "F30",
            "Only differences of rewards carry meaning; the training of a reward model leaves its zero open.",
        ),
        Option(
            "A draw is accepted with probability f(x) / (M g(x)), which takes a bound M that holds for all "
            "responses.",
            "F40",
            "That is the recipe of the namesake. Nobody here knows a bound, and nobody needs one.",
        ),
        Option(
            "Rejecting is about what a response would do in the world: the harmful go and all the harmless "
            "stay.",
            "F40",
            "A harmless, useless response is left out too when a better one was drawn.",
        ),
    ),
)

QUESTIONS = (MOST_DIRECT, WHICH_WEIGHTS, ALL_ROWS, TRAIN_OR_TEST_TIME, WHAT_CROSSES, WHAT_IS_REJECTED)
