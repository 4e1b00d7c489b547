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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rslib import tables
from rslib.config import RunConfig, require, unknown_name, with_settings
from rslib.messages import shown
from rslib.pipeline import Round, Run, run
from rslib.reporting import Report
from rslib.reward_functions import names_function
from rslib.stages import Checkpoint

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy, RewardModel

FLAWS: dict[str, type[Flaw]] = {}
"""Every flaw by name."""


class Flaw(Round):
    """A round with one defect. A subclass says what it is called, its id and the stage where it sits.

    `description` is the subclass's docstring, as the end of a line. `changes` are settings of the run,
    `least_rounds` the rounds that it takes to show, `pool_reward_model` scores the pool in place of the run's
    own reward model.
    """

    id: str
    stage: str
    description: str
    changes: Mapping[str, Any] = {}
    least_rounds = 1
    pool_reward_model = ""

    def __init_subclass__(cls, *, name: str, id: str, stage: str) -> None:
        text = " ".join((cls.__doc__ or "").split()).removesuffix(".")
        cls.name, cls.id, cls.stage, cls.description = name, id, stage, text[:1].lower() + text[1:]
        FLAWS[name] = cls

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        if self.pool_reward_model:
            self.scorer = run.stages.models.reward_checkpoint(self.pool_reward_model)

    @classmethod
    def configured(cls, config: RunConfig) -> RunConfig:
        """The settings of a run with this flaw."""
        return dataclasses.replace(config, rounds=max(cls.least_rounds, config.rounds), **cls.changes)


def flawed(name: str, config: RunConfig) -> tuple[RunConfig, type[Flaw]]:
    """The settings and the rounds of a run with this flaw. Raises ConfigError for an unknown name.

    >>> config, kind = flawed("n1", RunConfig())
    >>> config.n, kind.name
    (1, 'n1')
    """
    if name not in FLAWS:
        raise unknown_name("flaw", name, FLAWS, "flawed(name=...)")
    fix = "Leave out --reward-model, or name a model."
    require(not names_function(config.reward_model), "flaws are shown with a reward model", "flawed", fix)
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


class _N1(Flaw, name="n1", id="F05", stage="sample"):
    """One response per prompt: there is nothing to choose from."""

    changes = {"n": 1}


class _TemperatureZero(Flaw, name="temperature_zero", id="F06", stage="sample"):
    """Greedy decoding: all n responses of a prompt are one text."""

    changes = {"temperature": 0.0}


class _TemperatureHigh(Flaw, name="temperature_high", id="F07", stage="sample"):
    """Temperature 2.0: the texts fall apart."""

    changes = {"temperature": 2.0}


class _NTooLarge(Flaw, name="n_too_large", id="F13", stage="sample"):
    """4 times the responses: the best by reward are more and more those that fool it."""

    @classmethod
    def configured(cls, config: RunConfig) -> RunConfig:
        return dataclasses.replace(config, n=4 * config.n)


class _PadSideSampling(Flaw, name="pad_side_sampling", id="F28", stage="sample"):
    """Prompts are padded on the right: the policy continues the padding, not the prompt."""

    def sample_part(self, policy: Policy, prompts: Dataset, **settings: Any) -> Dataset:
        return super().sample_part(_padded_on_the_right(policy), prompts, **settings)


def _padded_on_the_right(model: Policy | RewardModel, **changed: Any) -> Any:
    """The same model, but token ids that are encoded together are padded on the right to one length.

    What a row's numbers are then depends on the rows beside it, and the model reads on behind the padding.
    """
    from rslib.finetuning import pad_right

    class Padded(type(model)):
        def encode_many(self, texts: Sequence[Any]) -> list[list[int]]:
            return pad_right(super().encode_many(texts), self.pad_id, "cpu").tolist()

        def inputs_many(self, pairs: Sequence[Any]) -> list[dict[str, list[int]]]:
            rows = [row["input_ids"] for row in super().inputs_many(pairs)]
            return [{"input_ids": ids} for ids in pad_right(rows, self.pad_id, "cpu").tolist()]

        def read(self, ids: Sequence[int]) -> list[int]:
            return list(ids)

    return Padded(**vars(model) | changed)


class _WrongPromptPairing(Flaw, name="wrong_prompt_pairing", id="F10", stage="sample"):
    """Row i gets prompt i % M instead of i // n: responses to others."""

    def sample_part(self, policy: Policy, prompts: Dataset, **settings: Any) -> Dataset:
        return _mispaired(super().sample_part(policy, prompts, **settings), settings["config"].n)


def _mispaired(responses: Dataset, n: int) -> Dataset:
    """The responses of M prompts x n, dealt out to the prompts by i % M as a wrong flattening would."""
    prompts = len(responses) // n
    order = [sample * prompts + prompt for prompt in range(prompts) for sample in range(n)]
    moved = tables.take(responses, order)
    for name in ("response", "token_ids", "token_logprobs", "logprob", "finish_reason", "seed"):
        responses = tables.with_column(responses, name, moved[name][:])
    return responses


class _TruncatedAsFinished(Flaw, name="truncated_as_finished", id="F25", stage="sample"):
    """Responses are cut short and then marked as finished."""

    def sample_part(self, policy: Policy, prompts: Dataset, **settings: Any) -> Dataset:
        # 16 tokens are about half of a good response of the embedded policy.
        short = dataclasses.replace(settings["config"], max_new_tokens=16, min_new_tokens=0)
        responses = super().sample_part(policy, prompts, **settings | {"config": short})
        return _marked_finished(responses, policy.eos_ids[0])


def _marked_finished(responses: Dataset, eos: int) -> Dataset:
    """The responses with an end-of-sequence token behind the cut ones, as if the policy had stopped there."""
    cut = [reason == "length" for reason in responses["finish_reason"][:]]
    for name, end in (("token_ids", eos), ("token_logprobs", 0.0)):
        rows = [[*row, end] if was_cut else row for row, was_cut in zip(responses[name][:], cut, strict=True)]
        responses = tables.with_column(responses, name, rows)
    return tables.with_column(responses, "finish_reason", ["eos"] * len(responses))


class _StaleSamples(Flaw, name="stale_samples", id="F19", stage="sample"):
    """Every round selects from the pool of round 1 again."""

    least_rounds = 2

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.prompts = run.slices[0]

    def sample(self) -> Dataset:
        first = self if self.number == 1 else _StaleSamples(self.run, 1, self.run.start)
        return Round.sample(first)


class _SameSeedEveryRound(Flaw, name="same_seed_every_round", id="F20", stage="sample"):
    """Every round draws with the seed, and so the prompts, of round 1."""

    least_rounds = 2

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.seed, self.prompts = run.config.seed, run.slices[0]


# Scoring -------------------------------------------------------------------------------------------------


class _PromptBlindScoring(Flaw, name="prompt_blind_scoring", id="F08", stage="score"):
    """The reward model sees the response without its prompt."""

    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        from rslib.models import PromptBlindRewardModel

        return super().score_part(PromptBlindRewardModel(**vars(reward_model)), responses, **settings)


class _ShuffledRewards(Flaw, name="shuffled_rewards", id="F09", stage="score"):
    """Rewards come back in another order and are attached to the wrong rows."""

    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        rewards = super().score_part(reward_model, responses, **settings)["reward"][:]
        shuffled = _rng(responses, self.run.config.seed).permutation(rewards)
        return tables.with_column(responses, "reward", shuffled)


class _NoiseRewardModel(Flaw, name="noise_reward_model", id="F11", stage="score"):
    """The reward model's head is untrained: its rewards are noise."""

    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        noise = _rng(responses, self.run.config.seed).standard_normal(len(responses))
        return tables.with_column(responses, "reward", noise)


def _rng(table: Dataset, seed: int) -> np.random.Generator:
    """A generator of its own for every part of a table, the same whenever that part is done again."""
    digest = hashlib.sha256(tables.fingerprint(table).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


class _PadSideScoring(Flaw, name="pad_side_scoring", id="F28", stage="score"):
    """Dialogues are padded on the right and the reward is read at the last place, which is padding."""

    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        # `shared`: its own class would look for the last token that is no padding.
        padded = _padded_on_the_right(reward_model, shared=True)
        return super().score_part(padded, responses, **settings)


class _LengthBiasedRewardModel(Flaw, name="length_biased_reward_model", id="F12", stage="score"):
    """The pool is scored by a reward model that pays for length."""

    pool_reward_model = "tiny-length"


class _SwappedRewardModel(Flaw, name="swapped_reward_model", id="F03", stage="score"):
    """The pool is scored by a reward model trained on swapped labels."""

    pool_reward_model = "tiny-swapped"


# Selection -----------------------------------------------------------------------------------------------


class _RandomSelection(Flaw, name="random_selection", id="F04", stage="select"):
    """The rewards are ignored: a random response of each prompt is kept."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        kept = super().select_rows(scored, selector, seed=seed, **options)
        return super().select_rows(scored, "random", seed=seed + 1, like=kept)


class _TrainOnAll(Flaw, name="train_on_all", id="F02", stage="select"):
    """Nothing is selected: the policy is tuned on its own distribution."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        return super().select_rows(scored, "all", seed=seed)


class _Worst(Flaw, name="worst", id="F03", stage="select"):
    """The sign is wrong: the response with the lowest reward is kept."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        return super().select_rows(scored, "worst", seed=seed)


class _TopKOverall(Flaw, name="top_k_overall", id="F29", stage="select"):
    """The best rows of the whole pool are kept: easy prompts crowd out others."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        fraction = 1.0 / self.run.config.n
        return super().select_rows(scored, "top_fraction", seed=seed, fraction=fraction)


class _AbsoluteThreshold(Flaw, name="absolute_threshold", id="F30", stage="select"):
    """Every row with a reward of 3.5 or more is kept: hard prompts vanish."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        # About one response in eleven of the embedded policy has it.
        return super().select_rows(scored, "threshold", seed=seed, minimum=3.5)


class _TiesByIndex(Flaw, name="ties_by_index", id="F31", stage="select"):
    """Rewards are rounded to whole numbers, and of equal ones the first wins."""

    def select_rows(self, scored: Dataset, selector: str, **settings: Any) -> Dataset:
        _, rewards, rows = tables.reward_matrix(scored)
        first = np.round(rewards).argmax(axis=1)
        return tables.take(scored, rows[np.arange(len(rows)), first])


class _RowsSkipped(Flaw, name="rows_skipped", id="F32", stage="select"):
    """The rewards of some prompts come back as NaN, and the loop goes on without these prompts."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        prompts = list(tables.groups(scored))
        draws = _rng(scored, seed).random(len(prompts))
        lost = {prompt_id for prompt_id, draw in zip(prompts, draws, strict=True) if draw < 0.25}
        kept = super().select_rows(scored, selector, seed=seed, **options)
        return _without(kept, "prompt_id", lost)


def _without(table: Dataset, column: str, values: set[str]) -> Dataset:
    """The rows whose value in the column is none of these."""
    return tables.take(table, [row for row, value in enumerate(table[column][:]) if value not in values])


class _NoReplay(Flaw, name="no_replay", id="F21", stage="select"):
    """After round 1 unsafe prompts are no longer kept, and nothing of round 1 is replayed."""

    least_rounds = 2

    def select_rows(self, scored: Dataset, selector: str, **settings: Any) -> Dataset:
        kept = super().select_rows(scored, selector, **settings)
        return kept if self.number == 1 else _without(kept, "kind", {"unsafe"})


# Fine-tuning ---------------------------------------------------------------------------------------------


class _NoPromptMask(Flaw, name="no_prompt_mask", id="F22", stage="finetune"):
    """The loss is taken on the prompt's tokens too."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        from rslib.finetuning import finetune_rows, training_rows

        rows = [dataclasses.replace(row, first_target=1) for row in training_rows(policy, kept)]
        return finetune_rows(policy, rows, out, **settings)


class _MissingEos(Flaw, name="missing_eos", id="F24", stage="finetune"):
    """The targets lack the end-of-sequence token: stopping is never taught."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        from rslib.finetuning import finetune_rows, training_rows

        rows = [
            dataclasses.replace(row, ids=row.ids[:-1]) if row.ids[-1] in policy.eos_ids else row
            for row in training_rows(policy, kept)
        ]
        return finetune_rows(policy, rows, out, **settings)


class _LearningRate10x(Flaw, name="learning_rate_10x", id="F46", stage="finetune"):
    """The learning rate is ten times too high."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        rate = 10 * settings["config"].for_model(policy.parameters).learning_rate
        return super().finetune_policy(policy, kept, out, learning_rate=rate, **settings)


class _ManyEpochs(Flaw, name="many_epochs", id="F46", stage="finetune"):
    """20 passes over the few kept rows: they are learned by heart."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        return super().finetune_policy(policy, kept, out, epochs=20, **settings)


class _PaddingLearned(Flaw, name="padding_learned", id="F23", stage="finetune"):
    """Rows are padded to one length, and the loss counts the padding."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        from rslib.finetuning import pad_right

        padded = pad_right(kept["token_ids"][:], policy.pad_id, "cpu").tolist()
        kept = tables.with_column(kept, "token_ids", padded)
        return super().finetune_policy(policy, kept, out, allow_other_policy=True, **settings)


class _WrongRole(Flaw, name="wrong_role", id="F26", stage="finetune"):
    """The best response is stored as the user's turn and the prompt as the assistant's."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        swapped = tables.with_column(kept, "prompt", kept["response"][:])
        swapped = tables.with_column(swapped, "response", [shown(prompt) for prompt in kept["prompt"][:]])
        return super().finetune_policy(policy, swapped, out, allow_other_policy=True, **settings)


class _SelectionLost(Flaw, name="selection_lost", id="F27", stage="finetune"):
    """The selected table is lost on the way: the first response of each prompt is trained on."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        prompts = tables.take(kept, [rows[0] for rows in tables.groups(kept).values()])
        prompts = prompts.select_columns(["prompt_id", "prompt"])
        # A response depends on its prompt and seeds alone, so this is sample_id 0 of the pool once more.
        config = dataclasses.replace(self.run.config.sampling(self.seed), n=1)
        first = self.sample_part(policy, prompts, config=config, show_progress=False)
        return super().finetune_policy(policy, first, out, **settings)


class _ResumeLosesRound(Flaw, name="resume_loses_round", id="F47", stage="finetune"):
    """Every round tunes the starting policy again: what the rounds before have taught is lost."""

    least_rounds = 2

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        start = self.run.stages.models.policy(self.run.start.path)
        return super().finetune_policy(start, kept, out, allow_other_policy=True, **settings)


class _TuneRewardModel(Flaw, name="tune_reward_model", id="F01", stage="finetune"):
    """The optimiser got a copy of the reward model: it learns to like the kept rows, the policy stays."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        from rslib.optimization import Objective, fit
        from rslib.reward_modeling import rewards_of

        reward_model = self.run.stages.models.reward_model(self.run.reward_model.path)
        model = copy.deepcopy(reward_model.model).float().requires_grad_(True)
        rows = reward_model.encode_many(list(zip(kept["prompt"][:], kept["response"][:], strict=True)))
        objective = Objective(
            loss_sum=lambda batch: -rewards_of(model, [rows[i] for i in batch], reward_model.pad_id).sum(),
            weight=len,
        )
        config, show = settings["config"].for_model(reward_model.parameters), settings["show_progress"]
        losses = fit(model, objective, [len(row) for row in rows], config, show_progress=show)
        tuned = dataclasses.replace(reward_model, model=model).fingerprint()
        record = {"parent": policy.fingerprint(), "rows": len(kept), "targets": 0, "losses": losses}
        policy.save(out, record=record | {"tuned": tuned})
        return policy


# Evaluation ----------------------------------------------------------------------------------------------


class _EvaluateOnTrainingPrompts(Flaw, name="evaluate_on_training_prompts", id="F18", stage="evaluate"):
    """The policy is judged on the prompts that it was tuned on."""

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.heldout = run.slices[0]


class _BiasedJudge(Flaw, name="biased_judge", id="F16", stage="evaluate"):
    """One reward model that pays for length selects and judges: the evaluation shares its taste."""

    changes = {"reward_model": "tiny-length"}


class _GreedyEvaluation(Flaw, name="greedy_evaluation", id="F48", stage="evaluate"):
    """What was selected from samples is judged on greedy responses: another decoder than the pool's."""

    changes = {"eval_temperature": 0.0}


class _TinyTest(Flaw, name="tiny_test", id="F34", stage="evaluate"):
    """Judged on 12 prompts: noise reads as an effect."""

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.heldout = tables.take(run.heldout, range(min(12, len(run.heldout))))
