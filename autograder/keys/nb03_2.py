"""The keys of exercise 3.2: what the bounds of best-of-n mean."""

from __future__ import annotations

from autograder.keys.questions import Option, Question

QUESTIONS = (
    Question(
        "a",
        "A reward model gives 1 to the 30 % of responses that pass a check and 0 to the rest. How far is "
        "best-of-1024 from the policy, as KL?",
        (
            Option("About 1.2 nats"),
            Option(
                "About 5.9 nats",
                "F39",
                "That is log n - (n - 1) / n at n = 1024, which takes for granted that no two rewards tie.",
            ),
            Option(
                "About 6.9 nats",
                "log n",
                "That is log n alone: it would need a single best response that is one in thousands.",
            ),
            Option(
                "0 nats, for rewards that take two values only",
                "F42",
                "Selection still happens: responses with reward 0 all but vanish.",
            ),
        ),
        (
            Option("Once some draw passes, further draws change nothing, so the formula is an upper bound."),
            Option(
                "The formula log n - (n - 1) / n holds with equality for every reward model and every "
                "policy.",
                "F39",
                "It is reached only without ties, and with no response of a probability worth speaking of.",
            ),
            Option(
                "With 1024 draws the kept response has a probability near 1 / 1024 under the policy.",
                "log n",
                "Here each passing response keeps its share of 30 %: nothing rare is being kept.",
            ),
            Option(
                "KL counts new responses only, and selection never writes a response of its own.",
                "support",
                "KL compares probabilities, and those of the passing responses have grown.",
            ),
        ),
    ),
    Question(
        "b",
        "A team serves best-of-16 and plans best-of-1000. No two of its rewards ever tie. Against one fresh "
        "response, as the reward model judges, how much can it gain?",
        (
            Option("Less than 6 points of win rate"),
            Option(
                "About 62 times the win rate",
                "F14",
                "Cost grows in proportion to n. A win rate cannot: it ends at 1.",
            ),
            Option(
                "As much again as 16 bought over 1",
                "log n",
                "Compare n / (n + 1) at 1, 16 and 1000: the first sixteen bought nearly all there is.",
            ),
            Option(
                "Nothing: a win rate cannot depend on n",
                "F05",
                "From n = 1 to n = 16 it goes from one half to 16/17.",
            ),
        ),
        (
            Option("The win rate is n / (n + 1), while the bill grows in proportion to n itself."),
            Option(
                "The reward of the best grows in proportion to n, and so does the bill.",
                "F14",
                "Look at the curve of this notebook: each doubling buys less.",
            ),
            Option(
                "The win rate is 1 - 1 / n: the fresh response is one of the n that were drawn.",
                "F39",
                "The fresh response is drawn besides the n, and has its chance to be the best of n + 1.",
            ),
            Option(
                "More responses are free, since the reward model reads them and writes none.",
                "F35",
                "The policy writes every one of them, for every request, and the reward model reads them "
                "all.",
            ),
        ),
    ),
    Question(
        "c",
        "Take the law that maximises mean reward - beta x KL(law || policy), which RLHF with PPO aims at, "
        "and best-of-n with the same KL. What is true?",
        (
            Option("The first has at least the mean reward of the second."),
            Option(
                "They are one and the same law, since their KL is the same.",
                "F38",
                "A KL is one number; many laws share it. Compare p exp(r / beta) with a difference of "
                "powers of F.",
            ),
            Option(
                "The second has the higher mean reward, since it takes a maximum.",
                "F38",
                "No law of that KL can beat the maximiser of mean reward minus beta times KL.",
            ),
            Option(
                "Neither can be said to have a KL, since one of them selects.",
                "F36",
                "Both are laws over responses, and every law over the same responses has a KL to the policy.",
            ),
        ),
        (
            Option("It is p exp(r / beta) and feels the scale of r; best-of-n does not."),
            Option(
                "Taking a maximum and training on a reward are two ways to reach one law.",
                "F38",
                "They meet in limits only. Multiply the rewards by ten: one law moves, the other does not.",
            ),
            Option(
                "Best-of-n also uses the size of the rewards, through its average over draws.",
                "F33",
                "Best-of-n asks which draw is highest; by how much plays no part.",
            ),
            Option(
                "Training on a reward needs no policy to start from, so that its KL is free.",
                "F36",
                "The KL to the starting policy is a term of that objective, weighed by beta.",
            ),
        ),
    ),
    Question(
        "d",
        "Llama 2's authors compare rejection sampling with PPO in breadth and in depth. What do they mean "
        "by breadth?",
        (
            Option("How many responses to one prompt are looked at"),
            Option(
                "How many different prompts the training set contains",
                "breadth",
                "Both methods can see the same prompts; the difference lies within one prompt.",
            ),
            Option(
                "How many tokens a response may have before it is cut",
                "breadth",
                "The length limit is a setting of the sampler and says nothing about the method.",
            ),
            Option(
                "How many parameters the fine-tuned policy has",
                "breadth",
                "Both methods were run on policies of the same size.",
            ),
        ),
        (
            Option("Rejection sampling draws K responses to each prompt, where PPO draws one response."),
            Option(
                "PPO draws K responses per prompt in order to estimate how good the average response is.",
                "F36",
                "PPO learns a value function for that, and draws one response per prompt.",
            ),
            Option(
                "Rejection sampling updates its policy after every response, PPO only once in a round.",
                "F19",
                "It is the other way round: within a round, rejection sampling draws from one fixed policy.",
            ),
            Option(
                "Rejection sampling keeps K responses per prompt and trains on all of them.",
                "F02",
                "It draws K and keeps the best; keeping them all would select nothing.",
            ),
        ),
    ),
    Question(
        "e",
        "Two rounds of best-of-16, each learned without any error, equal best-of-n in one go. Which n?",
        (
            Option("n = 256"),
            Option(
                "n = 32",
                "rounds add",
                "The second round starts from a policy that is already the best of 16: every draw stands "
                "for sixteen.",
            ),
            Option(
                "n = 16",
                "F19",
                "Selecting again from the old responses changes nothing; fresh ones come from a better "
                "policy.",
            ),
            Option("No n does it", "F38", "On a finite set it is exact, and your own function shows it."),
        ),
        (
            Option("A round turns F, the reward's distribution, into F to the power 16."),
            Option(
                "Each round adds sixteen responses to the pool that is chosen from.",
                "rounds add",
                "The first sixteen are not kept for the second round; the policy that they taught is.",
            ),
            Option(
                "Each round selects once more from the responses of the first round.",
                "F19",
                "These would be stale samples. Fresh ones are drawn from the new policy.",
            ),
            Option(
                "Each round doubles the mean reward, whatever the policy was like.",
                "F14",
                "A mean reward has no natural zero, so doubling it means nothing.",
            ),
        ),
    ),
    Question(
        "f",
        "A team ships best-of-16: the policy writes 16 responses to each request and the reward model picks "
        "one. What has changed in the policy's weights?",
        (
            Option("Nothing"),
            Option(
                "They are a little nearer to the reward model's",
                "F01",
                "The two models have weights of their own, and here neither is trained.",
            ),
            Option(
                "They were tuned on the best responses",
                "F35",
                "That is the other method: keep the best, then fine-tune. Serving stops at the choice.",
            ),
            Option(
                "They moved by 1.84 nats",
                "F39",
                "That bounds how far the served responses are from the policy. No weight has moved.",
            ),
        ),
        (
            Option("Choosing trains nothing, so every request pays for 16 again."),
            Option(
                "The reward's gradient flows into the policy each time a response is chosen.",
                "F37",
                "A choice among finished texts has no gradient, and no optimiser is running.",
            ),
            Option(
                "Fine-tuning on what users saw is a part of best-of-n at serving time.",
                "F35",
                "It would be a second step, which the team did not take.",
            ),
            Option(
                "A policy learns from the responses that it was not allowed to show.",
                "F44",
                "Nothing is learned from them: they are thrown away.",
            ),
        ),
    ),
)
