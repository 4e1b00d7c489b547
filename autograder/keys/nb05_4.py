"""Exercise 5.4: outcome against signal. The exhibit stands in the notebook."""

from __future__ import annotations

from autograder.keys.questions import Option, Question

CERTAIN = Question(
    "a",
    "A team draws 16 responses to each prompt at temperature 0, keeps the best and fine-tunes on it. What do "
    "you know before the run has started?",
    (
        Option("The selection gap will be 0."),
        Option(
            "Gold will fall, since a policy that is trained on its own text gets worse.",
            "outcome",
            "Read the exhibit again, seed by seed: it does not fall in every one.",
        ),
        Option(
            "Gold will stay, since a policy's own text teaches it nothing.",
            "no change",
            "The policy does change: it becomes surer of what it said, and its KL is above 0.",
        ),
        Option(
            "The reward will rise, since the best of 16 was kept.",
            "F06",
            "Sixteen greedy responses are one text. The best of sixteen copies is that text.",
        ),
    ),
    (
        Option("Copies of one text have one reward, whatever the policy and the reward model are."),
        Option(
            "Text without mistakes of its own cannot be learned from, because its loss is 0 from the first "
            "step on.",
            "no change",
            "The first loss of such a run is small and above 0: the policy was not certain of its text.",
        ),
        Option(
            "The most likely text is a worse text than a drawn one, and whatever is in the data is what "
            "training copies.",
            "outcome",
            "Whether it is worse depends on the policy. That is a matter of the outcome and cannot be known "
            "beforehand.",
        ),
        Option(
            "The expected maximum of sixteen rewards lies above their mean, by the law of order statistics.",
            "F06",
            "That law speaks of sixteen draws. A greedy decoder draws once and repeats itself.",
        ),
    ),
)

WHERE = Question(
    "b",
    "Run P: gold rose from 1.5 to 2.9, its selection gap is 0.0. Run Q: gold went from 1.5 to 1.6, its "
    "selection gap is 3.8. Both on 400 prompts, with narrow intervals. Where do you look?",
    (
        Option(
            "In P at everything but the selection, for what made gold rise; in Q at what comes after the "
            "selection."
        ),
        Option(
            "In P nowhere, since it worked; in Q at the reward model, since what it chose did no good at "
            "all.",
            "F15",
            "P's gain was not made by its selection, so it may have come from a mistake. And Q's gap says "
            "that a choice was made; whether anybody trained on it is the next question.",
        ),
        Option(
            "In both at the number of responses: P needs more of them for a gap, Q needs more of them for a "
            "gain in gold.",
            "F13",
            "More draws mend neither: a gap of exactly 0 is a defect, and Q's gap is large already.",
        ),
        Option(
            "In neither: P is a good run, Q an unlucky one, and a third seed will tell.",
            "F34",
            "The intervals are narrow. A gap that leaves no trace in gold is no matter of luck.",
        ),
    ),
    (
        Option("The gap measures the choice alone, and gold everything that happened to the policy."),
        Option(
            "Gold is the measure that counts in the end, so a run is to be judged by its gold and repaired "
            "only where that is low.",
            "F15",
            "As a goal, yes. To find a defect it is the blindest number of the panel: it sums up all stages.",
        ),
        Option(
            "A large gap shows that the reward model is far from gold, for a good one would find less to "
            "choose from.",
            "F11",
            "A gap is the spread of rewards within a prompt. Noise has one as well as a good judge.",
        ),
        Option(
            "Gap and gold measure the same thing on two sets of prompts, so that they differ by chance if "
            "they differ.",
            "F34",
            "The gap is in units of reward and knows nothing of the training.",
        ),
    ),
)

ONE_SEED = Question(
    "c",
    "Take the seed of the exhibit in which gold rose. A colleague reads: greedy self-training works. What do "
    "you answer?",
    (
        Option(
            "That it can do so, that it did not in the others, and that no selection stands behind either."
        ),
        Option(
            "That it is right: the gold score is exact here, and so a rise is a rise.",
            "F34",
            "Each score is exact, the policy's mean is not: it was taken over some prompts, in one run.",
        ),
        Option(
            "That it cannot be: with a selection gap of 0 gold has no way to rise.",
            "signal for outcome",
            "Gold did rise. A gap of 0 says that nothing was selected, and not that nothing was changed.",
        ),
        Option(
            "That it holds for greedy users: the same decoder has to be used when the policy is judged and "
            "served.",
            "F48",
            "Decoding alike is good practice, and it is done here. It does not make one seed of five a rule.",
        ),
    ),
    (
        Option("A change that no reward has steered can go either way; the runs show both."),
        Option(
            "Repeated text makes every policy repeat itself, and the gold score takes points off for that in "
            "every seed alike.",
            "outcome",
            "In the seed in question it did not.",
        ),
        Option(
            "In expectation over seeds a policy is a fixed point of training on its own text, so that any "
            "rise is noise.",
            "no change",
            "That would be training on samples at temperature 1. Greedy text is not what the policy writes "
            "on average, and training on it moves the policy for certain.",
        ),
        Option(
            "Sharpening a policy is the same as selecting from it, only that the policy's own probability "
            "stands in for the reward.",
            "F06",
            "A nice thought, and then the probability is the judge. The reward model has still chosen "
            "nothing.",
        ),
    ),
)

QUESTIONS = (CERTAIN, WHERE, ONE_SEED)
