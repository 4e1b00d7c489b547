"""How an order of exercise 1.1 is marked, and what bad ones are told."""

from __future__ import annotations

import numpy as np

from autograder.checks import Ideas
from autograder.exercise import ANSWERED, CheckFailed, require, short
from autograder.handouts.ordering import CARDS as EVERY_CARD
from autograder.handouts.ordering import names_of
from autograder.keys import ordering
from autograder.ordering_run import ContractError
from autograder.work import Work
from rslib.errors import ConfigError

IDEAS = Ideas("""
every card (form): All eleven cards are in. Not all belong to this round: of each card, ask who would read
    what it makes.
no comparison (F15): Every card runs, but at the end nobody knows whether it helped: no card weighs the tuned
    policy against the one it came from.
F01: `tune_rm` trains the reward model on responses that it liked itself. The policy learns nothing from that,
    and the reward model has moved. The round scores what it would without this card. Which weights should
    change in this method?
no selection (F02): It runs, and the policy hardly moves: when `finetune` had its turn, nothing had been kept,
    so it trained on every response. That teaches the policy to go on as it does. {leak}{measured}
leak (F18): It runs, and its number proves little: when `sample` had its turn, nothing had been held out, so
    the policy was trained on the very prompts that it is judged on. {measured} How much of that comes from
    more prompts to train on, and how much from knowing the judge's, this run cannot say.
""")
SECOND_FAULT = (
    "There is a second fault: when `sample` had its turn, nothing had been held out. An order with the first "
    "fault alone was tried. "
)
WHY = {
    "F01": " `tune_rm` is about the reward model's weights; the policy writes as it did before.",
    "F36": " Values and advantages belong to methods that follow a reward with gradients, such as PPO. Here "
    "the responses to a prompt are only compared with each other.",
    "F37": " Texts come from a policy, and from nowhere else.",
}
"""What a broken contract is told besides, by its idea."""
CARDS, CONTRACTS = "is a list of cards", "every card finds what it needs"
FINISHED, STRANGERS = "ends with a comparison", "holds cards of this method only"
TRAINED, HELDOUT = "trains on what was kept", "keeps the held-out prompts unseen"


def followed(work: Work) -> ordering.Trace:
    """The trace of the learner's order; a broken contract is told in its own sentence."""
    order = names_of(work.value("order", (list, tuple, str)))
    empty = "`order` is not filled in yet: take the # away from the cards that you use, and order them."
    require(order, ANSWERED, empty)
    case = " → ".join(name if isinstance(name, str) else short(name, 60) for name in order[:40])
    every = EVERY_CARD.keys() <= {name for name in order if isinstance(name, str)}
    require(not every, CARDS, IDEAS["every card"], case=case)
    try:
        return ordering.trace(order)
    except ContractError as broken:
        idea = ordering.idea_of(broken, order)
        raise CheckFailed(
            CONTRACTS, broken.what + WHY.get(idea, ""), idea=idea or "contract", case=case
        ) from None
    except ConfigError as error:
        raise CheckFailed(CARDS, f"{error.what}. {error.fix}", idea="form", case=case) from None


def grade_runs(work: Work, rng: np.random.Generator) -> None:
    """The order runs from its first card to a comparison."""
    trace = followed(work)
    require(trace.finished, FINISHED, IDEAS["no comparison"], case=" → ".join(trace.order))


def grade_method(work: Work, rng: np.random.Generator) -> None:
    """The order is the method: trained on the kept responses, judged on prompts that nobody trained on."""
    grade_runs(work, rng)
    trace = followed(work)
    case = " → ".join(trace.order)
    for card in trace.strangers:
        require(False, STRANGERS, IDEAS[ordering.STRANGE[card.name]], case=case)
    second, measured = SECOND_FAULT if trace.leaked else "", ordering.quoted("train_on_all")
    idea = IDEAS.filled("no selection", leak=second, measured=measured)
    require(trace.trained_on == ordering.KEPT, TRAINED, idea, case=case)
    idea = IDEAS.filled("leak", measured=ordering.quoted("sample_before_split"))
    require(not trace.leaked, HELDOUT, idea, case=case)
