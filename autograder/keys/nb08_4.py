"""Exercise 8.4: three situations that a calculator does not decide."""

from __future__ import annotations

from autograder.keys.questions import Option, Question

LARGER = Question(
    "a",
    "A startup has a small policy for its product and access to a much larger one of the same family, for a "
    "week. It has a reward model that it trusts. What does the published practice of Llama 2 suggest?",
    (
        Option("Draw and select with the large policy, fine-tune the small one on what was kept."),
        Option(
            "Draw and select with the small policy alone, since it is the one that is served.",
            "F35",
            "It may, and wastes the week: fine-tuning does not ask who wrote the text.",
        ),
        Option(
            "Fine-tune the large policy's reward head on the small policy's responses.",
            "F01",
            "Then a judge has changed, and the product has not.",
        ),
        Option(
            "Serve the best of n of the large policy, and keep the small one for later.",
            "F35",
            "In a week the access is gone, and nothing of it has stayed in any weights.",
        ),
    ),
    (
        Option(
            "Selected text can teach any model: the smaller Llama 2 models learned from the 70B's samples."
        ),
        Option(
            "Samples have to come from the policy that is trained, or the loss is not defined for them.",
            "F19",
            "That is a rule of policy gradients. The next-token loss reads any text.",
        ),
        Option(
            "A larger model always has a lower loss on its own samples, so the small one will too.",
            "F44",
            "The small model's loss on them is higher at first. That is what there is to learn.",
        ),
        Option(
            "The gain of best-of-n depends on n alone, whoever draws.",
            "F13",
            "It depends on what there is to choose from, and the larger model has more of it.",
        ),
    ),
)

CHECKED = Question(
    "b",
    "Another team tunes a model for school mathematics. A program can check every answer; there is no "
    "reward model. What is the nearest road of this course?",
    (
        Option("Rejection sampling with the check as reward: keep what is right, fine-tune on it."),
        Option(
            "Train a reward model first, because every method of the course begins with one, and the check "
            "can label its pairs.",
            "F37",
            "A reward is a number for a response. A program that checks gives one, and a better one.",
        ),
        Option(
            "None: without human preferences nothing can be aligned.",
            "F37",
            "What is selected for need not be a preference.",
        ),
        Option(
            "Best-of-n by the policy's own log-probability, which needs no judge at all.",
            "F06",
            "That sharpens what the policy believes. The check knows what is right.",
        ),
    ),
    (
        Option("The reward has only to order the responses; two values are an order, with many ties."),
        Option(
            "A reward of 0 or 1 has no gradient, so that only methods without a gradient of the reward are "
            "left.",
            "F37",
            "No method of the course differentiates the reward. This one is not special.",
        ),
        Option(
            "Right answers are rare, so that the mean of their rewards is a good baseline for all prompts.",
            "F29",
            "A baseline belongs to a prompt, and rejection sampling has none.",
        ),
        Option(
            "A program cannot be over-optimised, whatever is drawn and however often.",
            "F16",
            "It can be fooled like any judge: right answers by wrong reasoning pass it.",
        ),
    ),
)

SERVING = Question(
    "c",
    "A third team serves the best of 16 today and is content with the quality. Traffic grows by half every "
    "month. What do you tell them?",
    (
        Option("Tune one round on the best of 16, measure what is lost, and decide by the break-even."),
        Option(
            "Go on: the quality of the best of 16 cannot be reached by weights.",
            "F35",
            "That it is lost in part is measured here too. Whether the part matters is theirs to weigh, and "
            "the bill grows every month.",
        ),
        Option(
            "Raise n with the traffic, since every request then gets a better response.",
            "F13",
            "The bill grows with both, and beyond some n the reward model is what is satisfied.",
        ),
        Option(
            "Start PPO, since a team that serves best-of-n has all that it needs for it.",
            "F36",
            "A value model, a reference in memory and somebody who can run the loop are not there yet.",
        ),
    ),
    (
        Option("Serving costs n at every request, for ever; a round costs once, and something in gold."),
        Option(
            "Fine-tuning on selected responses gives exactly the best-of-n policy, as n draws give its law.",
            "F38",
            "The law of best-of-n is what is aimed at. A round on few prompts stays short of it.",
        ),
        Option(
            "Serving the best of n changes the weights a little with every request.",
            "F35",
            "Nothing changes them. That is why it has to be paid again.",
        ),
        Option(
            "A growing number of users makes the reward model better, since it sees more responses.",
            "F01",
            "It sees them and learns nothing, unless somebody labels them and trains it.",
        ),
    ),
)

QUESTIONS = (LARGER, CHECKED, SERVING)
