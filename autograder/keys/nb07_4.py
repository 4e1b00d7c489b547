"""Exercise 7.4: what the two roads have in common, and what they have not."""

from __future__ import annotations

from autograder.keys.questions import Option, Question

OPTIMUM = Question(
    "a",
    "PPO with a KL penalty is run to its optimum, for one prompt whose responses can be listed. Best-of-n of "
    "the same reference spends the same KL. What can be said?",
    (
        Option("They are two different laws; the optimum has more mean reward."),
        Option(
            "They are one law: the optimum of PPO is best-of-n for a suitable n.",
            "F38",
            "The optimum tilts every response by exp(reward / beta). Best-of-n looks at ranks alone.",
        ),
        Option(
            "They are two different laws; best-of-n has more mean reward.",
            "F38",
            "Nothing at this KL has more mean reward than the optimum: that is what it is the optimum of.",
        ),
        Option(
            "Nothing, as PPO never reaches an optimum and best-of-n has none.",
            "F38",
            "For a prompt whose responses can be listed both laws can be written down, and were.",
        ),
    ),
    (
        Option(
            "Of all laws with this KL the tilted one has the highest mean; best-of-n wins at something else, "
            "the win rate."
        ),
        Option(
            "Both throw away low rewards and keep high ones, so they end at the same law.",
            "F38",
            "Multiply all rewards by ten: best-of-n stays, the tilted law moves.",
        ),
        Option(
            "Drawing n times needs no gradient, so that no reward is lost on the way to the law.",
            "F37",
            "How a law is reached does not matter to what it is.",
        ),
        Option(
            "The KL of best-of-n is log n - (n - 1) / n whatever the policy is, and PPO's is never known.",
            "F39",
            "That is an upper bound, and PPO's KL is estimated at every draw.",
        ),
    ),
)

DEPTH = Question(
    "b",
    "Llama 2's authors compare the two by breadth and depth. Which of the two is which?",
    (
        Option(
            "Rejection sampling explores n responses of one policy; PPO a response of each of many policies."
        ),
        Option(
            "Rejection sampling goes deep, since the best of n lies far from the mean; PPO goes wide, since "
            "it sees many prompts.",
            "F40",
            "Depth counts how often the policy that draws has been updated. Both see many prompts.",
        ),
        Option(
            "Both go equally wide and deep as soon as they draw equally many responses.",
            "F33",
            "The number is equal, and from whom they are drawn is not: one policy, or one after every step.",
        ),
        Option(
            "Rejection sampling is wide by its larger learning rate, PPO deep by its KL penalty.",
            "F46",
            "Neither is meant. The words are about who draws how many responses.",
        ),
    ),
    (
        Option("PPO draws anew after every step; a round of rejection sampling draws all before the first."),
        Option(
            "PPO weighs tokens and rejection sampling whole responses, so PPO sees deeper into a response.",
            "F36",
            "True of the weights, and not what is meant by depth.",
        ),
        Option(
            "The best of n is by definition deeper in the tail of the reward than a single draw.",
            "F40",
            "That is how far a choice reaches. Depth here is how far the policy has moved while drawing.",
        ),
        Option(
            "Rejection sampling needs no value model, so it can afford more breadth at equal memory.",
            "F33",
            "It can, and that is a matter of cost.",
        ),
    ),
)

ON_TOP = Question(
    "c",
    "Llama 2's last version ran PPO on top of a policy that rejection sampling had made. Which reason does "
    "this course's evidence support?",
    (
        Option(
            "PPO goes on from a better start, with samples of its own, where a round has used up its own."
        ),
        Option(
            "Rejection sampling had removed all errors, so that PPO was safe from over-optimisation.",
            "F16",
            "No start protects from that. Without its penalty PPO sinks from any.",
        ),
        Option(
            "After rejection sampling the reward model is fitted to the policy, which PPO needs.",
            "F01",
            "The reward model is not touched by rejection sampling.",
        ),
        Option(
            "Weights reach the best of n by PPO alone, as fine-tuning cannot lower any probability.",
            "F38",
            "Raising some lowers the others. Fine-tuning on the best moves the policy towards it.",
        ),
    ),
    (
        Option(
            "A second round on stale samples gains little; fresh samples of the newest policy are what PPO "
            "lives on."
        ),
        Option(
            "PPO's clip keeps it near the policy that it began with, so the start decides everything.",
            "F39",
            "The clip bounds a step, not the way. What bounds the way is the KL penalty.",
        ),
        Option(
            "PPO is better than rejection sampling at every budget, so it should come last.",
            "F33",
            "At equal budget that is exactly what could not be separated.",
        ),
        Option(
            "A reward model is more accurate on responses that it has selected itself.",
            "F15",
            "It is less accurate there: what it has selected is where its errors are.",
        ),
    ),
)

QUESTIONS = (OPTIMUM, DEPTH, ON_TOP)
