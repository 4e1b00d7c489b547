"""The same road with one named defect: what the clinic diagnoses.

Nothing of the pipeline is copied. A flaw is a round with one method replaced, a change of the run's settings,
or both:

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
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import tables
from rslib.config import FinetuneConfig, RunConfig, unknown_name, with_settings
from rslib.pipeline import Round, Run, run
from rslib.reporting import Report
from rslib.stages import Checkpoint

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.finetuning import TokenRow
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


FLAWS: dict[str, type[Flaw]] = {}
"""Every flaw by name."""


class Flaw(Round):
    """A round with one defect: what it is called, the stage where it sits, and what it does.

    `changes` are settings of the run, `least_rounds` the rounds that it takes to show, `pool_reward_model`
    scores the pool in place of the run's own reward model.
    """

    id: str
    stage: str
    description: str
    changes: Mapping[str, Any] = {}
    least_rounds = 1
    pool_reward_model = ""

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        if self.pool_reward_model:
            self.scorer = run.stages.models.reward_checkpoint(self.pool_reward_model)

    @classmethod
    def configured(cls, config: RunConfig) -> RunConfig:
        """The settings of a run with this flaw."""
        return dataclasses.replace(config, rounds=max(cls.least_rounds, config.rounds), **cls.changes)


def _flaw(name: str, id: str, stage: str, description: str) -> Callable[[type[Flaw]], type[Flaw]]:
    def register(kind: type[Flaw]) -> type[Flaw]:
        kind.name, kind.id, kind.stage, kind.description = name, id, stage, description
        FLAWS[name] = kind
        return kind

    return register


def flawed(name: str, config: RunConfig) -> tuple[RunConfig, type[Flaw]]:
    """The settings and the rounds of a run with this flaw. Raises ConfigError for an unknown name.

    >>> config, kind = flawed("n1", RunConfig())
    >>> config.n, kind.name
    (1, 'n1')
    """
    if name not in FLAWS:
        raise unknown_name("flaw", name, FLAWS, "flawed(name=...)")
    return FLAWS[name].configured(config), FLAWS[name]


def run_flawed(
    name: str,
    config: RunConfig | None = None,
    *,
    out: str | Path,
    show_progress: bool = True,
    **settings: Any,
) -> Report:
    """The report of `pipeline.run` with one named flaw; same arguments, same run folder.

    Raises ConfigError for an unknown flaw, and the errors of `pipeline.run`.
    """
    config, kind = flawed(name, with_settings(config or RunConfig(), settings, "run_flawed(...)"))
    return run(config, out=out, kind=kind, show_progress=show_progress)


# Sampling ------------------------------------------------------------------------------------------------


@_flaw("n1", "F05", "sample", "one response per prompt: there is nothing to choose from")
class _N1(Flaw):
    changes = {"n": 1}


@_flaw("temperature_zero", "F06", "sample", "greedy decoding: all n responses of a prompt are one text")
class _TemperatureZero(Flaw):
    changes = {"temperature": 0.0}


@_flaw("temperature_high", "F07", "sample", f"temperature {HIGH_TEMPERATURE}: the texts fall apart")
class _TemperatureHigh(Flaw):
    changes = {"temperature": HIGH_TEMPERATURE}


@_flaw(
    "n_too_large",
    "F13",
    "sample",
    f"{MORE_RESPONSES} times the responses: the best by reward are more and more those that fool it",
)
class _NTooLarge(Flaw):
    @classmethod
    def configured(cls, config: RunConfig) -> RunConfig:
        return dataclasses.replace(config, n=MORE_RESPONSES * config.n)


@_flaw(
    "pad_side_sampling",
    "F28",
    "sample",
    "prompts are padded on the right: the policy continues the padding, not the prompt",
)
class _PadSideSampling(Flaw):
    def sample_part(self, policy: Policy, prompts: Dataset, **settings: Any) -> Dataset:
        return super().sample_part(padded_on_the_right(policy), prompts, **settings)


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
class _WrongPromptPairing(Flaw):
    def sample_part(self, policy: Policy, prompts: Dataset, **settings: Any) -> Dataset:
        return mispaired(super().sample_part(policy, prompts, **settings), settings["config"].n)


def mispaired(responses: Dataset, n: int) -> Dataset:
    """The responses of M prompts x n, dealt out to the prompts by i % M as a wrong flattening would."""
    prompts = len(responses) // n
    order = [sample * prompts + prompt for prompt in range(prompts) for sample in range(n)]
    moved = tables.take(responses, order)
    for name in ("response", "token_ids", "token_logprobs", "logprob", "finish_reason", "seed"):
        responses = tables.with_column(responses, name, moved[name][:])
    return responses


@_flaw("truncated_as_finished", "F25", "sample", "responses are cut short and then marked as finished")
class _TruncatedAsFinished(Flaw):
    changes = {"max_new_tokens": SHORT_RESPONSE, "min_new_tokens": 0}

    def sample_part(self, policy: Policy, prompts: Dataset, **settings: Any) -> Dataset:
        return marked_finished(super().sample_part(policy, prompts, **settings), policy.eos_ids[0])


def marked_finished(responses: Dataset, eos: int) -> Dataset:
    """The responses with an end-of-sequence token behind the cut ones, as if the policy had stopped there."""
    cut = [reason == "length" for reason in responses["finish_reason"][:]]
    for name, end in (("token_ids", eos), ("token_logprobs", 0.0)):
        rows = [[*row, end] if was_cut else row for row, was_cut in zip(responses[name][:], cut, strict=True)]
        responses = tables.with_column(responses, name, rows)
    return tables.with_column(responses, "finish_reason", ["eos"] * len(responses))


@_flaw("stale_samples", "F19", "sample", "every round selects from the pool of round 1 again")
class _StaleSamples(Flaw):
    least_rounds = 2

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.prompts = run.slices[0]

    def sample(self) -> Dataset:
        first = self if self.number == 1 else _StaleSamples(self.run, 1, self.run.start)
        return Round.sample(first)


@_flaw(
    "same_seed_every_round",
    "F20",
    "sample",
    "every round draws with the seed, and so the prompts, of round 1",
)
class _SameSeedEveryRound(Flaw):
    least_rounds = 2

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.seed, self.prompts = run.config.seed, run.slices[0]


# Scoring -------------------------------------------------------------------------------------------------


@_flaw("prompt_blind_scoring", "F08", "score", "the reward model sees the response without its prompt")
class _PromptBlindScoring(Flaw):
    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        from rslib.models import PromptBlindRewardModel

        return super().score_part(PromptBlindRewardModel(**vars(reward_model)), responses, **settings)


@_flaw(
    "shuffled_rewards",
    "F09",
    "score",
    "rewards come back in another order and are attached to the wrong rows",
)
class _ShuffledRewards(Flaw):
    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        rewards = super().score_part(reward_model, responses, **settings)["reward"][:]
        shuffled = _rng(responses, self.run.config.seed).permutation(rewards)
        return tables.with_column(responses, "reward", shuffled)


@_flaw("noise_reward_model", "F11", "score", "the reward model's head is untrained: its rewards are noise")
class _NoiseRewardModel(Flaw):
    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        noise = _rng(responses, self.run.config.seed).standard_normal(len(responses))
        return tables.with_column(responses, "reward", noise)


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
class _PadSideScoring(Flaw):
    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        return super().score_part(padded_on_the_right(reward_model), responses, **settings)


@_flaw(
    "length_biased_reward_model", "F12", "score", "the pool is scored by a reward model that pays for length"
)
class _LengthBiasedRewardModel(Flaw):
    pool_reward_model = "tiny-length"


@_flaw(
    "swapped_reward_model", "F03", "score", "the pool is scored by a reward model trained on swapped labels"
)
class _SwappedRewardModel(Flaw):
    pool_reward_model = "tiny-swapped"


# Selection -----------------------------------------------------------------------------------------------


@_flaw(
    "random_selection", "F04", "select", "the rewards are ignored: a random response of each prompt is kept"
)
class _RandomSelection(Flaw):
    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        kept = super().select_rows(scored, selector, seed=seed, **options)
        return super().select_rows(scored, "random", seed=seed + 1, like=kept)


@_flaw("train_on_all", "F02", "select", "nothing is selected: the policy is tuned on its own distribution")
class _TrainOnAll(Flaw):
    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        return super().select_rows(scored, "all", seed=seed)


@_flaw("worst", "F03", "select", "the sign is wrong: the response with the lowest reward is kept")
class _Worst(Flaw):
    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        return super().select_rows(scored, "worst", seed=seed)


@_flaw(
    "top_k_overall",
    "F29",
    "select",
    "the best rows of the whole pool are kept: easy prompts crowd out others",
)
class _TopKOverall(Flaw):
    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        fraction = 1.0 / self.run.config.n
        return super().select_rows(scored, "top_fraction", seed=seed, fraction=fraction)


@_flaw(
    "absolute_threshold",
    "F30",
    "select",
    f"every row with a reward of {HIGH_REWARD} or more is kept: hard prompts vanish",
)
class _AbsoluteThreshold(Flaw):
    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        return super().select_rows(scored, "threshold", seed=seed, minimum=HIGH_REWARD)


@_flaw(
    "ties_by_index", "F31", "select", "rewards are rounded to whole numbers, and of equal ones the first wins"
)
class _TiesByIndex(Flaw):
    def select_rows(self, scored: Dataset, selector: str, **settings: Any) -> Dataset:
        _, rewards, rows = tables.reward_matrix(scored)
        first = np.round(rewards).argmax(axis=1)
        return tables.take(scored, rows[np.arange(len(rows)), first])


@_flaw(
    "rows_skipped",
    "F32",
    "select",
    "the rewards of some prompts come back as NaN, and the loop goes on without these prompts",
)
class _RowsSkipped(Flaw):
    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        prompts = list(tables.groups(scored))
        draws = _rng(scored, seed).random(len(prompts))
        lost = {prompt_id for prompt_id, draw in zip(prompts, draws, strict=True) if draw < LOST_SHARE}
        kept = super().select_rows(scored, selector, seed=seed, **options)
        return _without(kept, "prompt_id", lost)


def _without(table: Dataset, column: str, values: set[str]) -> Dataset:
    return tables.take(table, [row for row, value in enumerate(table[column][:]) if value not in values])


@_flaw(
    "no_replay",
    "F21",
    "select",
    "after round 1 unsafe prompts are no longer kept, and nothing of round 1 is replayed",
)
class _NoReplay(Flaw):
    least_rounds = 2

    def select_rows(self, scored: Dataset, selector: str, **settings: Any) -> Dataset:
        kept = super().select_rows(scored, selector, **settings)
        return kept if self.number == 1 else _without(kept, "kind", {"unsafe"})


# Fine-tuning ---------------------------------------------------------------------------------------------


@_flaw("no_prompt_mask", "F22", "finetune", "the loss is taken on the prompt's tokens too")
class _NoPromptMask(Flaw):
    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        from rslib.finetuning import finetune_rows, training_rows

        rows = [dataclasses.replace(row, first_target=1) for row in training_rows(policy, kept)]
        return finetune_rows(policy, rows, out, **settings)


@_flaw(
    "missing_eos", "F24", "finetune", "the targets lack the end-of-sequence token: stopping is never taught"
)
class _MissingEos(Flaw):
    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        from rslib.finetuning import finetune_rows, training_rows

        rows = [without_end(row, policy.eos_ids) for row in training_rows(policy, kept)]
        return finetune_rows(policy, rows, out, **settings)


def without_end(row: TokenRow, eos_ids: Sequence[int]) -> TokenRow:
    """The row without the end-of-sequence token that its response ends with, if it does."""
    return dataclasses.replace(row, ids=row.ids[:-1]) if row.ids[-1] in eos_ids else row


@_flaw("learning_rate_10x", "F46", "finetune", "the learning rate is ten times too high")
class _LearningRate10x(Flaw):
    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        rate = 10 * settings["config"].for_model(policy.parameters).learning_rate
        return super().finetune_policy(policy, kept, out, learning_rate=rate, **settings)


@_flaw(
    "many_epochs",
    "F46",
    "finetune",
    f"{MANY_EPOCHS} passes over the few kept rows: they are learned by heart",
)
class _ManyEpochs(Flaw):
    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        return super().finetune_policy(policy, kept, out, epochs=MANY_EPOCHS, **settings)


@_flaw("padding_learned", "F23", "finetune", "rows are padded to one length, and the loss counts the padding")
class _PaddingLearned(Flaw):
    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        rows = kept["token_ids"][:]
        width = max(map(len, rows))
        padded = [[*row, *[policy.pad_id] * (width - len(row))] for row in rows]
        return super().finetune_policy(policy, tables.with_column(kept, "token_ids", padded), out, **settings)


@_flaw(
    "wrong_role",
    "F26",
    "finetune",
    "the best response is stored as the user's turn and the prompt as the assistant's",
)
class _WrongRole(Flaw):
    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        swapped = tables.with_column(kept, "prompt", kept["response"][:])
        swapped = tables.with_column(swapped, "response", kept["prompt"][:])
        return super().finetune_policy(policy, swapped, out, **settings)


@_flaw(
    "selection_lost",
    "F27",
    "finetune",
    "the selected table is lost on the way: the first response of each prompt is trained on",
)
class _SelectionLost(Flaw):
    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        prompts = tables.take(kept, [rows[0] for rows in tables.groups(kept).values()])
        prompts = prompts.select_columns(["prompt_id", "prompt"])
        # A response depends on its prompt and seeds alone, so this is sample_id 0 of the pool once more.
        config = dataclasses.replace(self.run.config.sampling(self.seed), n=1)
        first = self.sample_part(policy, prompts, config=config, show_progress=False)
        return super().finetune_policy(policy, first, out, **settings)


@_flaw(
    "resume_loses_round",
    "F47",
    "finetune",
    "every round tunes the starting policy again: what the rounds before have taught is lost",
)
class _ResumeLosesRound(Flaw):
    least_rounds = 2

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        start = self.run.stages.models.policy(self.run.start.path)
        return super().finetune_policy(start, kept, out, **settings)


@_flaw(
    "tune_reward_model",
    "F01",
    "finetune",
    "the optimiser got a copy of the reward model: it learns to like the kept rows, the policy stays",
)
class _TuneRewardModel(Flaw):
    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        reward_model = self.run.stages.models.reward_model(self.run.reward_model.path)
        tuned, losses = reward_raised(reward_model, kept, settings["config"], settings["show_progress"])
        record = {"parent": policy.fingerprint(), "rows": len(kept), "targets": 0, "losses": losses}
        policy.save(out, record=record | {"tuned": tuned.fingerprint()})
        return policy


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
class _EvaluateOnTrainingPrompts(Flaw):
    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.heldout = run.slices[0]


@_flaw(
    "biased_judge",
    "F16",
    "evaluate",
    "one reward model that pays for length selects and judges: the evaluation shares its taste",
)
class _BiasedJudge(Flaw):
    changes = {"reward_model": "tiny-length"}


@_flaw(
    "greedy_evaluation",
    "F48",
    "evaluate",
    "what was selected from samples is judged on greedy responses: another decoder than the pool's",
)
class _GreedyEvaluation(Flaw):
    changes = {"eval_temperature": 0.0}


@_flaw("tiny_test", "F34", "evaluate", f"judged on {TINY_TEST} prompts: noise reads as an effect")
class _TinyTest(Flaw):
    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.heldout = tables.take(run.heldout, range(min(TINY_TEST, len(run.heldout))))
