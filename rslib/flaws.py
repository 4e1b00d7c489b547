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
from rslib.config import RunConfig, unknown_name, with_settings
from rslib.pipeline import Round, Run, run
from rslib.reporting import Report
from rslib.stages import Checkpoint

if TYPE_CHECKING:
    from datasets import Dataset

    from rslib.models import Policy, RewardModel

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


def _flaw(name: str, id: str, stage: str) -> Callable[[type[Flaw]], type[Flaw]]:
    """Put a flaw into FLAWS; its description is its docstring, as the end of a line."""

    def register(kind: type[Flaw]) -> type[Flaw]:
        text = " ".join(kind.__doc__.split()).removesuffix(".")
        kind.name, kind.id, kind.stage, kind.description = name, id, stage, text[0].lower() + text[1:]
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


@_flaw("n1", "F05", "sample")
class _N1(Flaw):
    """One response per prompt: there is nothing to choose from."""

    changes = {"n": 1}


@_flaw("temperature_zero", "F06", "sample")
class _TemperatureZero(Flaw):
    """Greedy decoding: all n responses of a prompt are one text."""

    changes = {"temperature": 0.0}


@_flaw("temperature_high", "F07", "sample")
class _TemperatureHigh(Flaw):
    """Temperature 2.0: the texts fall apart."""

    changes = {"temperature": 2.0}


@_flaw("n_too_large", "F13", "sample")
class _NTooLarge(Flaw):
    """4 times the responses: the best by reward are more and more those that fool it."""

    @classmethod
    def configured(cls, config: RunConfig) -> RunConfig:
        return dataclasses.replace(config, n=4 * config.n)


@_flaw("pad_side_sampling", "F28", "sample")
class _PadSideSampling(Flaw):
    """Prompts are padded on the right: the policy continues the padding, not the prompt."""

    def sample_part(self, policy: Policy, prompts: Dataset, **settings: Any) -> Dataset:
        return super().sample_part(_padded_on_the_right(policy), prompts, **settings)


def _padded_on_the_right(model: Policy | RewardModel) -> Any:
    """The same model, but token ids that are encoded together are padded on the right to one length.

    What a row's numbers are then depends on the rows beside it, and the model reads on behind the padding.
    """
    from rslib.finetuning import pad_right

    class Padded(type(model)):
        def encode_many(self, texts: Sequence[Any]) -> list[list[int]]:
            return pad_right(super().encode_many(texts), self.pad_id, "cpu").tolist()

    return Padded(**vars(model))


@_flaw("wrong_prompt_pairing", "F10", "sample")
class _WrongPromptPairing(Flaw):
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


@_flaw("truncated_as_finished", "F25", "sample")
class _TruncatedAsFinished(Flaw):
    """Responses are cut short and then marked as finished."""

    # About half of a good response of the embedded policy.
    changes = {"max_new_tokens": 16, "min_new_tokens": 0}

    def sample_part(self, policy: Policy, prompts: Dataset, **settings: Any) -> Dataset:
        return _marked_finished(super().sample_part(policy, prompts, **settings), policy.eos_ids[0])


def _marked_finished(responses: Dataset, eos: int) -> Dataset:
    """The responses with an end-of-sequence token behind the cut ones, as if the policy had stopped there."""
    cut = [reason == "length" for reason in responses["finish_reason"][:]]
    for name, end in (("token_ids", eos), ("token_logprobs", 0.0)):
        rows = [[*row, end] if was_cut else row for row, was_cut in zip(responses[name][:], cut, strict=True)]
        responses = tables.with_column(responses, name, rows)
    return tables.with_column(responses, "finish_reason", ["eos"] * len(responses))


@_flaw("stale_samples", "F19", "sample")
class _StaleSamples(Flaw):
    """Every round selects from the pool of round 1 again."""

    least_rounds = 2

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.prompts = run.slices[0]

    def sample(self) -> Dataset:
        first = self if self.number == 1 else _StaleSamples(self.run, 1, self.run.start)
        return Round.sample(first)


@_flaw("same_seed_every_round", "F20", "sample")
class _SameSeedEveryRound(Flaw):
    """Every round draws with the seed, and so the prompts, of round 1."""

    least_rounds = 2

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.seed, self.prompts = run.config.seed, run.slices[0]


# Scoring -------------------------------------------------------------------------------------------------


@_flaw("prompt_blind_scoring", "F08", "score")
class _PromptBlindScoring(Flaw):
    """The reward model sees the response without its prompt."""

    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        from rslib.models import PromptBlindRewardModel

        return super().score_part(PromptBlindRewardModel(**vars(reward_model)), responses, **settings)


@_flaw("shuffled_rewards", "F09", "score")
class _ShuffledRewards(Flaw):
    """Rewards come back in another order and are attached to the wrong rows."""

    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        rewards = super().score_part(reward_model, responses, **settings)["reward"][:]
        shuffled = _rng(responses, self.run.config.seed).permutation(rewards)
        return tables.with_column(responses, "reward", shuffled)


@_flaw("noise_reward_model", "F11", "score")
class _NoiseRewardModel(Flaw):
    """The reward model's head is untrained: its rewards are noise."""

    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        noise = _rng(responses, self.run.config.seed).standard_normal(len(responses))
        return tables.with_column(responses, "reward", noise)


def _rng(table: Dataset, seed: int) -> np.random.Generator:
    """A generator of its own for every part of a table, the same whenever that part is done again."""
    digest = hashlib.sha256(tables.fingerprint(table).encode()).digest()
    return np.random.default_rng([seed, int.from_bytes(digest[:8], "big")])


@_flaw("pad_side_scoring", "F28", "score")
class _PadSideScoring(Flaw):
    """Dialogues are padded on the right and the reward is read at the last place, which is padding."""

    def score_part(self, reward_model: RewardModel, responses: Dataset, **settings: Any) -> Dataset:
        return super().score_part(_padded_on_the_right(reward_model), responses, **settings)


@_flaw("length_biased_reward_model", "F12", "score")
class _LengthBiasedRewardModel(Flaw):
    """The pool is scored by a reward model that pays for length."""

    pool_reward_model = "tiny-length"


@_flaw("swapped_reward_model", "F03", "score")
class _SwappedRewardModel(Flaw):
    """The pool is scored by a reward model trained on swapped labels."""

    pool_reward_model = "tiny-swapped"


# Selection -----------------------------------------------------------------------------------------------


@_flaw("random_selection", "F04", "select")
class _RandomSelection(Flaw):
    """The rewards are ignored: a random response of each prompt is kept."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        kept = super().select_rows(scored, selector, seed=seed, **options)
        return super().select_rows(scored, "random", seed=seed + 1, like=kept)


@_flaw("train_on_all", "F02", "select")
class _TrainOnAll(Flaw):
    """Nothing is selected: the policy is tuned on its own distribution."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        return super().select_rows(scored, "all", seed=seed)


@_flaw("worst", "F03", "select")
class _Worst(Flaw):
    """The sign is wrong: the response with the lowest reward is kept."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        return super().select_rows(scored, "worst", seed=seed)


@_flaw("top_k_overall", "F29", "select")
class _TopKOverall(Flaw):
    """The best rows of the whole pool are kept: easy prompts crowd out others."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        fraction = 1.0 / self.run.config.n
        return super().select_rows(scored, "top_fraction", seed=seed, fraction=fraction)


@_flaw("absolute_threshold", "F30", "select")
class _AbsoluteThreshold(Flaw):
    """Every row with a reward of 3.5 or more is kept: hard prompts vanish."""

    def select_rows(self, scored: Dataset, selector: str, *, seed: int, **options: Any) -> Dataset:
        # About one response in eleven of the embedded policy has it.
        return super().select_rows(scored, "threshold", seed=seed, minimum=3.5)


@_flaw("ties_by_index", "F31", "select")
class _TiesByIndex(Flaw):
    """Rewards are rounded to whole numbers, and of equal ones the first wins."""

    def select_rows(self, scored: Dataset, selector: str, **settings: Any) -> Dataset:
        _, rewards, rows = tables.reward_matrix(scored)
        first = np.round(rewards).argmax(axis=1)
        return tables.take(scored, rows[np.arange(len(rows)), first])


@_flaw("rows_skipped", "F32", "select")
class _RowsSkipped(Flaw):
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


@_flaw("no_replay", "F21", "select")
class _NoReplay(Flaw):
    """After round 1 unsafe prompts are no longer kept, and nothing of round 1 is replayed."""

    least_rounds = 2

    def select_rows(self, scored: Dataset, selector: str, **settings: Any) -> Dataset:
        kept = super().select_rows(scored, selector, **settings)
        return kept if self.number == 1 else _without(kept, "kind", {"unsafe"})


# Fine-tuning ---------------------------------------------------------------------------------------------


@_flaw("no_prompt_mask", "F22", "finetune")
class _NoPromptMask(Flaw):
    """The loss is taken on the prompt's tokens too."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        from rslib.finetuning import finetune_rows, training_rows

        rows = [dataclasses.replace(row, first_target=1) for row in training_rows(policy, kept)]
        return finetune_rows(policy, rows, out, **settings)


@_flaw("missing_eos", "F24", "finetune")
class _MissingEos(Flaw):
    """The targets lack the end-of-sequence token: stopping is never taught."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        from rslib.finetuning import finetune_rows, training_rows

        rows = [
            dataclasses.replace(row, ids=row.ids[:-1]) if row.ids[-1] in policy.eos_ids else row
            for row in training_rows(policy, kept)
        ]
        return finetune_rows(policy, rows, out, **settings)


@_flaw("learning_rate_10x", "F46", "finetune")
class _LearningRate10x(Flaw):
    """The learning rate is ten times too high."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        rate = 10 * settings["config"].for_model(policy.parameters).learning_rate
        return super().finetune_policy(policy, kept, out, learning_rate=rate, **settings)


@_flaw("many_epochs", "F46", "finetune")
class _ManyEpochs(Flaw):
    """20 passes over the few kept rows: they are learned by heart."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        return super().finetune_policy(policy, kept, out, epochs=20, **settings)


@_flaw("padding_learned", "F23", "finetune")
class _PaddingLearned(Flaw):
    """Rows are padded to one length, and the loss counts the padding."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        from rslib.finetuning import pad_right

        padded = pad_right(kept["token_ids"][:], policy.pad_id, "cpu").tolist()
        return super().finetune_policy(policy, tables.with_column(kept, "token_ids", padded), out, **settings)


@_flaw("wrong_role", "F26", "finetune")
class _WrongRole(Flaw):
    """The best response is stored as the user's turn and the prompt as the assistant's."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        swapped = tables.with_column(kept, "prompt", kept["response"][:])
        swapped = tables.with_column(swapped, "response", kept["prompt"][:])
        return super().finetune_policy(policy, swapped, out, **settings)


@_flaw("selection_lost", "F27", "finetune")
class _SelectionLost(Flaw):
    """The selected table is lost on the way: the first response of each prompt is trained on."""

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        prompts = tables.take(kept, [rows[0] for rows in tables.groups(kept).values()])
        prompts = prompts.select_columns(["prompt_id", "prompt"])
        # A response depends on its prompt and seeds alone, so this is sample_id 0 of the pool once more.
        config = dataclasses.replace(self.run.config.sampling(self.seed), n=1)
        first = self.sample_part(policy, prompts, config=config, show_progress=False)
        return super().finetune_policy(policy, first, out, **settings)


@_flaw("resume_loses_round", "F47", "finetune")
class _ResumeLosesRound(Flaw):
    """Every round tunes the starting policy again: what the rounds before have taught is lost."""

    least_rounds = 2

    def finetune_policy(self, policy: Policy, kept: Dataset, out: Path, **settings: Any) -> Policy:
        start = self.run.stages.models.policy(self.run.start.path)
        return super().finetune_policy(start, kept, out, **settings)


@_flaw("tune_reward_model", "F01", "finetune")
class _TuneRewardModel(Flaw):
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


@_flaw("evaluate_on_training_prompts", "F18", "evaluate")
class _EvaluateOnTrainingPrompts(Flaw):
    """The policy is judged on the prompts that it was tuned on."""

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.heldout = run.slices[0]


@_flaw("biased_judge", "F16", "evaluate")
class _BiasedJudge(Flaw):
    """One reward model that pays for length selects and judges: the evaluation shares its taste."""

    changes = {"reward_model": "tiny-length"}


@_flaw("greedy_evaluation", "F48", "evaluate")
class _GreedyEvaluation(Flaw):
    """What was selected from samples is judged on greedy responses: another decoder than the pool's."""

    changes = {"eval_temperature": 0.0}


@_flaw("tiny_test", "F34", "evaluate")
class _TinyTest(Flaw):
    """Judged on 12 prompts: noise reads as an effect."""

    def __init__(self, run: Run, number: int, parent: Checkpoint) -> None:
        super().__init__(run, number, parent)
        self.heldout = tables.take(run.heldout, range(min(12, len(run.heldout))))
