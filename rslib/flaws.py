"""The same road with one named defect: what the clinic diagnoses.

Nothing of the pipeline is copied. A flaw is a change of the run's settings, of one of its steps, or of both:

    report = run_flawed("worst", n=16, prompts=400, out="runs/worst")

The arm that carries the defect keeps the name of the healthy one (`best_of_n`), so that a report must be read
to tell them apart; `settings.flaw` names it. The control and the evaluation stay healthy, except where they
are the defect. Ids are those of the flaw catalogue in docs/glossary.md.
"""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import tables
from rslib.config import FinetuneConfig, SampleConfig, unknown_name
from rslib.pipeline import HEALTHY, RunConfig, Steps, run
from rslib.reporting import Report
from rslib.stages import finetune_folder, matched_random, sample_part, score_part, select_rows

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy, RewardModel

MANY_EPOCHS = 20
HIGH_TEMPERATURE = 2.0
MORE_RESPONSES = 4
"""`n_too_large` draws this many times the responses that the run asked for."""
HIGH_REWARD = 3.5
"""The reward that `absolute_threshold` asks of every prompt: about one response in eleven of the embedded
policy has it."""
LOST_SHARE = 0.25
"""Share of prompts whose rewards `rows_skipped` takes for NaN."""
TINY_TEST = 12
SHORT_RESPONSE = 16
"""Tokens after which `truncated_as_finished` cuts: about half of a good response of the embedded policy."""


@dataclass(frozen=True)
class Flaw:
    """One defect: where it sits, what it does, and how a run gets it."""

    name: str
    id: str
    stage: str
    description: str
    inject: Callable[[RunConfig, Steps], tuple[RunConfig, Steps]]


FLAWS: dict[str, Flaw] = {}
"""Every flaw by name."""

Inject = Callable[[RunConfig, Steps], tuple[RunConfig, Steps]]


def _flaw(name: str, id: str, stage: str, description: str) -> Callable[[Inject], Inject]:
    def register(inject: Inject) -> Inject:
        FLAWS[name] = Flaw(name, id, stage, description, inject)
        return inject

    return register


def flawed(name: str, config: RunConfig) -> tuple[RunConfig, Steps]:
    """The settings and steps of a run with this flaw. Raises ConfigError for an unknown name.

    >>> config, steps = flawed("n1", RunConfig())
    >>> config.sample.n, steps.name
    (1, 'n1')
    """
    if name not in FLAWS:
        raise unknown_name("flaw", name, FLAWS, "flawed(name=...)")
    return FLAWS[name].inject(config, replace(HEALTHY, name=name))


def run_flawed(
    name: str,
    config: RunConfig | None = None,
    *,
    out: str | Path,
    show_progress: bool = True,
    **settings: Any,
) -> Report:
    """`pipeline.run` with one named flaw; same arguments, same report, same run folder.

    Raises ConfigError for an unknown flaw, and the errors of `pipeline.run`.
    """
    config, steps = flawed(name, config or RunConfig.of(**settings))
    return run(config, out=out, steps=steps, show_progress=show_progress)


# Sampling ------------------------------------------------------------------------------------------------


@_flaw("n1", "F05", "sample", "one response per prompt: there is nothing to choose from")
def _n1(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, sample=replace(config.sample, n=1)), steps


@_flaw("temperature_zero", "F06", "sample", "greedy decoding: all n responses of a prompt are one text")
def _temperature_zero(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, sample=replace(config.sample, temperature=0.0)), steps


@_flaw("temperature_high", "F07", "sample", f"temperature {HIGH_TEMPERATURE}: the texts fall apart")
def _temperature_high(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, sample=replace(config.sample, temperature=HIGH_TEMPERATURE)), steps


@_flaw(
    "n_too_large",
    "F13",
    "sample",
    f"{MORE_RESPONSES} times the responses: the best by reward are more and more those that fool it",
)
def _n_too_large(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, sample=replace(config.sample, n=MORE_RESPONSES * config.sample.n)), steps


@_flaw(
    "pad_side_sampling",
    "F28",
    "sample",
    "prompts are padded on the right: the policy continues the padding, not the prompt",
)
def _pad_side_sampling(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def draw(policy: Policy, prompts: Dataset, sampling: SampleConfig) -> Dataset:
        return sample_part(padded_on_the_right(policy), prompts, sampling)

    return config, replace(steps, sample=draw)


def padded_on_the_right(model: Policy | RewardModel) -> Any:
    """The same model, but token ids that are encoded together are padded on the right to one length.

    What a row's numbers are then depends on the rows beside it, and the model reads on behind the padding.
    """

    class Padded(type(model)):
        def encode_many(self, texts: Sequence[Any]) -> list[list[int]]:
            rows = super().encode_many(texts)
            width = max(map(len, rows))
            return [[*row, *[self.pad_id] * (width - len(row))] for row in rows]

    return Padded(**vars(model))


@_flaw(
    "wrong_prompt_pairing", "F10", "sample", "row i gets prompt i % M instead of i // n: responses to others"
)
def _wrong_prompt_pairing(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def draw(policy: Policy, prompts: Dataset, sampling: SampleConfig) -> Dataset:
        return mispaired(sample_part(policy, prompts, sampling), sampling.n)

    return config, replace(steps, sample=draw)


def mispaired(responses: Dataset, n: int) -> Dataset:
    """The responses of M prompts x n, dealt out to the prompts by i % M as a wrong flattening would."""
    prompts = len(responses) // n
    order = [sample * prompts + prompt for prompt in range(prompts) for sample in range(n)]
    moved = tables.take(responses, order)
    for name in ("response", "token_ids", "token_logprobs", "logprob", "finish_reason", "seed"):
        responses = tables.with_column(responses, name, moved[name][:])
    return responses


@_flaw("truncated_as_finished", "F25", "sample", "responses are cut short and then marked as finished")
def _truncated_as_finished(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def draw(policy: Policy, prompts: Dataset, sampling: SampleConfig) -> Dataset:
        return marked_finished(sample_part(policy, prompts, sampling), policy.eos_ids[0])

    short = replace(config.sample, max_new_tokens=SHORT_RESPONSE, min_new_tokens=0)
    return replace(config, sample=short), replace(steps, sample=draw)


def marked_finished(responses: Dataset, eos: int) -> Dataset:
    """The responses with an end-of-sequence token behind the cut ones, as if the policy had stopped there."""
    cut = [reason == "length" for reason in responses["finish_reason"][:]]
    ids = [
        [*row, eos] if was_cut else list(row)
        for row, was_cut in zip(responses["token_ids"][:], cut, strict=True)
    ]
    logprobs = [
        [*row, 0.0] if was_cut else list(row)
        for row, was_cut in zip(responses["token_logprobs"][:], cut, strict=True)
    ]
    responses = tables.with_column(responses, "token_ids", ids)
    responses = tables.with_column(responses, "token_logprobs", logprobs)
    return tables.with_column(responses, "finish_reason", ["eos"] * len(responses))


@_flaw("stale_samples", "F19", "sample", "every round selects from the pool of round 1 again")
def _stale_samples(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, rounds=max(2, config.rounds)), replace(steps, pool_round=_first)


@_flaw(
    "same_seed_every_round",
    "F20",
    "sample",
    "every round draws with the seed, and so the prompts, of round 1",
)
def _same_seed_every_round(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, rounds=max(2, config.rounds)), replace(steps, seed_round=_first)


def _first(number: int) -> int:
    return 1


# Scoring -------------------------------------------------------------------------------------------------


@_flaw("prompt_blind_scoring", "F08", "score", "the reward model sees the response without its prompt")
def _prompt_blind_scoring(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def judge(reward_model: RewardModel, responses: Dataset) -> Dataset:
        return score_part(dataclasses.replace(reward_model, prompt_blind=True), responses)

    return config, replace(steps, score=judge)


@_flaw(
    "shuffled_rewards",
    "F09",
    "score",
    "rewards come back in another order and are attached to the wrong rows",
)
def _shuffled_rewards(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def judge(reward_model: RewardModel, responses: Dataset) -> Dataset:
        scored = score_part(reward_model, responses)
        return tables.with_column(
            scored, "reward", _rng(responses, config.seed).permutation(scored["reward"][:])
        )

    return config, replace(steps, score=judge)


@_flaw("noise_reward_model", "F11", "score", "the reward model's head is untrained: its rewards are noise")
def _noise_reward_model(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def judge(reward_model: RewardModel, responses: Dataset) -> Dataset:
        noise = _rng(responses, config.seed).standard_normal(len(responses))
        return tables.with_column(responses, "reward", noise)

    return config, replace(steps, score=judge)


def _rng(table: Dataset, seed: int) -> np.random.Generator:
    """A generator of its own for every part of a table, the same whenever that part is done again."""
    digest = hashlib.sha256(tables.fingerprint(table).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


@_flaw(
    "pad_side_scoring",
    "F28",
    "score",
    "dialogues are padded on the right and the reward is read at the last place, which is padding",
)
def _pad_side_scoring(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def judge(reward_model: RewardModel, responses: Dataset) -> Dataset:
        return score_part(padded_on_the_right(reward_model), responses)

    return config, replace(steps, score=judge)


@_flaw(
    "length_biased_reward_model", "F12", "score", "the pool is scored by a reward model that pays for length"
)
def _length_biased_reward_model(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, scorer="tiny-length")


@_flaw(
    "swapped_reward_model", "F03", "score", "the pool is scored by a reward model trained on swapped labels"
)
def _swapped_reward_model(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, scorer="tiny-swapped")


# Selection -----------------------------------------------------------------------------------------------


@_flaw(
    "random_selection", "F04", "select", "the rewards are ignored: a random response of each prompt is kept"
)
def _random_selection(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def choose(scored: Dataset, selector: str, options: Mapping[str, Any], seed: int) -> Dataset:
        return matched_random(scored, select_rows(scored, selector, options, seed), seed + 1)

    return config, replace(steps, select=choose)


@_flaw("train_on_all", "F02", "select", "nothing is selected: the policy is tuned on its own distribution")
def _train_on_all(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, select=_choose_by("all"))


@_flaw("worst", "F03", "select", "the sign is wrong: the response with the lowest reward is kept")
def _worst(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, select=_choose_by("worst"))


@_flaw(
    "top_k_overall",
    "F29",
    "select",
    "the best rows of the whole pool are kept: easy prompts crowd out others",
)
def _top_k_overall(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    fraction = 1.0 / config.sample.n
    return config, replace(steps, select=_choose_by("top_fraction", fraction=fraction))


@_flaw(
    "absolute_threshold",
    "F30",
    "select",
    f"every row with a reward of {HIGH_REWARD} or more is kept: hard prompts vanish",
)
def _absolute_threshold(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, select=_choose_by("threshold", minimum=HIGH_REWARD))


@_flaw(
    "ties_by_index", "F31", "select", "rewards are rounded to whole numbers, and of equal ones the first wins"
)
def _ties_by_index(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def choose(scored: Dataset, selector: str, options: Mapping[str, Any], seed: int) -> Dataset:
        _, rewards, places = tables.reward_matrix(scored)
        first = np.round(rewards).argmax(axis=1)
        return tables.take(scored, places[np.arange(len(places)), first])

    return config, replace(steps, select=choose)


@_flaw(
    "rows_skipped",
    "F32",
    "select",
    "the rewards of some prompts come back as NaN, and the loop goes on without these prompts",
)
def _rows_skipped(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def choose(scored: Dataset, selector: str, options: Mapping[str, Any], seed: int) -> Dataset:
        prompts = list(tables.groups(scored))
        lots = _rng(scored, seed).random(len(prompts))
        lost = {prompt_id for prompt_id, lot in zip(prompts, lots, strict=True) if lot < LOST_SHARE}
        return _without(select_rows(scored, selector, options, seed), "prompt_id", lost)

    return config, replace(steps, select=choose)


def _without(table: Dataset, column: str, values: set[str]) -> Dataset:
    return tables.take(table, [at for at, value in enumerate(table[column][:]) if value not in values])


@_flaw(
    "no_replay",
    "F21",
    "select",
    "after round 1 unsafe prompts are no longer kept, and nothing of round 1 is replayed",
)
def _no_replay(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def choose(scored: Dataset, selector: str, options: Mapping[str, Any], seed: int) -> Dataset:
        kept = select_rows(scored, selector, options, seed)
        return kept if seed == config.seed else _without(kept, "kind", {"unsafe"})  # round 1 has that seed

    return replace(config, rounds=max(2, config.rounds)), replace(steps, select=choose)


def _choose_by(name: str, **fixed: Any) -> Callable[[Dataset, str, Mapping[str, Any], int], Dataset]:
    def choose(scored: Dataset, selector: str, options: Mapping[str, Any], seed: int) -> Dataset:
        return select_rows(scored, name, fixed, seed)

    return choose


# Fine-tuning ---------------------------------------------------------------------------------------------


@_flaw("no_prompt_mask", "F22", "finetune", "the loss is taken on the prompt's tokens too")
def _no_prompt_mask(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, finetune=_finetune_with(train_on_prompt=True))


@_flaw(
    "missing_eos", "F24", "finetune", "the targets lack the end-of-sequence token: stopping is never taught"
)
def _missing_eos(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return config, replace(steps, finetune=_finetune_with(drop_eos=True))


def _finetune_with(**hooks: bool) -> Callable[..., Policy]:
    def tune(policy: Policy, kept: Dataset, out: Path, config: FinetuneConfig, show: bool) -> Policy:
        return finetune_folder(policy, kept, out, config, show, **hooks)

    return tune


@_flaw("learning_rate_10x", "F46", "finetune", "the learning rate is ten times too high")
def _learning_rate_10x(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def tune(policy: Policy, kept: Dataset, out: Path, config: FinetuneConfig, show: bool) -> Policy:
        rate = 10 * config.for_model(policy.parameters).learning_rate
        return finetune_folder(policy, kept, out, replace(config, learning_rate=rate), show)

    return config, replace(steps, finetune=tune)


@_flaw(
    "many_epochs",
    "F46",
    "finetune",
    f"{MANY_EPOCHS} passes over the few kept rows: they are learned by heart",
)
def _many_epochs(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def tune(policy: Policy, kept: Dataset, out: Path, config: FinetuneConfig, show: bool) -> Policy:
        return finetune_folder(policy, kept, out, replace(config, epochs=MANY_EPOCHS), show)

    return config, replace(steps, finetune=tune)


@_flaw("padding_learned", "F23", "finetune", "rows are padded to one length, and the loss counts the padding")
def _padding_learned(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def tune(policy: Policy, kept: Dataset, out: Path, config: FinetuneConfig, show: bool) -> Policy:
        rows = kept["token_ids"][:]
        width = max(map(len, rows))
        padded = [[*row, *[policy.pad_id] * (width - len(row))] for row in rows]
        return finetune_folder(policy, tables.with_column(kept, "token_ids", padded), out, config, show)

    return config, replace(steps, finetune=tune)


@_flaw(
    "wrong_role",
    "F26",
    "finetune",
    "the best response is stored as the user's turn and the prompt as the assistant's",
)
def _wrong_role(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def tune(policy: Policy, kept: Dataset, out: Path, config: FinetuneConfig, show: bool) -> Policy:
        turned = tables.with_column(kept, "prompt", kept["response"][:])
        turned = tables.with_column(turned, "response", kept["prompt"][:])
        return finetune_folder(policy, turned, out, config, show)

    return config, replace(steps, finetune=tune)


@_flaw(
    "selection_lost",
    "F27",
    "finetune",
    "the selected table is lost on the way: the first response of each prompt is trained on",
)
def _selection_lost(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def tune(policy: Policy, kept: Dataset, out: Path, settings: FinetuneConfig, show: bool) -> Policy:
        prompts = tables.take(kept, [rows[0] for rows in tables.groups(kept).values()])
        prompts = prompts.select_columns(["prompt_id", "prompt"])
        # A response depends on its prompt and seeds alone, so this is sample_id 0 of the pool once more.
        raw = sample_part(policy, prompts, replace(config.sample, n=1, seed=settings.seed))
        return finetune_folder(policy, raw, out, settings, show)

    return config, replace(steps, finetune=tune)


@_flaw(
    "resume_loses_round",
    "F47",
    "finetune",
    "every round tunes the starting policy again: what the rounds before have taught is lost",
)
def _resume_loses_round(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def tune(policy: Policy, kept: Dataset, out: Path, settings: FinetuneConfig, show: bool) -> Policy:
        from rslib.models import load_policy

        return finetune_folder(load_policy(config.policy), kept, out, settings, show)

    return replace(config, rounds=max(2, config.rounds)), replace(steps, finetune=tune)


@_flaw(
    "tune_reward_model",
    "F01",
    "finetune",
    "the optimiser got a copy of the reward model: it learns to like the kept rows, the policy stays",
)
def _tune_reward_model(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def tune(policy: Policy, kept: Dataset, out: Path, settings: FinetuneConfig, show: bool) -> Policy:
        from rslib.models import load_reward_model

        tuned, losses = reward_raised(load_reward_model(config.reward_model), kept, settings, show)
        record = {"parent": policy.fingerprint(), "rows": len(kept), "targets": 0, "losses": losses}
        policy.save(out, record=record | {"tuned": tuned.fingerprint()})
        return policy

    return config, replace(steps, finetune=tune)


def reward_raised(
    reward_model: RewardModel, kept: Dataset, config: FinetuneConfig, show: bool
) -> tuple[RewardModel, list[float]]:
    """A copy of the reward model, tuned to give the kept rows more reward, and the loss of every step."""
    from rslib.optimization import Objective, fit
    from rslib.reward_modeling import rewards_of

    model = copy.deepcopy(reward_model.model).float().requires_grad_(True)
    rows = reward_model.encode_many(list(zip(kept["prompt"][:], kept["response"][:], strict=True)))
    objective = Objective(
        loss_sum=lambda batch: -rewards_of(model, [rows[i] for i in batch], reward_model.pad_id).sum(),
        weight=len,
    )
    config = config.for_model(reward_model.parameters)
    losses = fit(model, objective, [len(row) for row in rows], config, show_progress=show)
    return dataclasses.replace(reward_model, model=model), losses


# Evaluation ----------------------------------------------------------------------------------------------


@_flaw(
    "evaluate_on_training_prompts",
    "F18",
    "evaluate",
    "the policy is judged on the prompts that it was tuned on",
)
def _evaluate_on_training_prompts(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def heldout(slices: Sequence[Dataset], _: Dataset) -> Dataset:
        return slices[0]

    return config, replace(steps, heldout=heldout)


@_flaw(
    "biased_judge",
    "F16",
    "evaluate",
    "one reward model that pays for length selects and judges: the evaluation shares its taste",
)
def _biased_judge(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, reward_model="tiny-length"), steps


@_flaw(
    "greedy_evaluation",
    "F48",
    "evaluate",
    "what was selected from samples is judged on greedy responses: another decoder than the pool's",
)
def _greedy_evaluation(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    return replace(config, evaluate=replace(config.evaluate, temperature=0.0)), steps


@_flaw("tiny_test", "F34", "evaluate", f"judged on {TINY_TEST} prompts: noise reads as an effect")
def _tiny_test(config: RunConfig, steps: Steps) -> tuple[RunConfig, Steps]:
    def heldout(_: Sequence[Dataset], table: Dataset) -> Dataset:
        return tables.take(table, range(min(TINY_TEST, len(table))))

    return config, replace(steps, heldout=heldout)
