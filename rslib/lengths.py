"""Do all prompts fit their models? Checked before the first token is drawn, so that no run ends late.

A policy must have room for the prompt and one token of a response; a longer response is cut where its context
ends. A reward model must have room for the prompt and the longest response that can be drawn.

What `too_long` says of a prompt that does not fit: "error" names all of them; "drop" leaves them out;
"truncate" cuts its beginning: of a conversation first the oldest turns behind the system turn, then the
beginning of the user's last turn, character by character, until the rest and the longest response fit. The
system turn is never cut.

Responses are known only when they are drawn. One that turns out longer for a reward model than was foreseen
(another tokenizer, bytes that are no text) is an error, or, with "drop" and "truncate", scored by its
beginning.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rslib import messages, tables
from rslib.config import SampleConfig
from rslib.errors import DataError, ModelError, RSError
from rslib.messages import Prompt
from rslib.models import Policy, RewardModel
from rslib.progress import note
from rslib.prompts import PromptRows, check_too_long

if TYPE_CHECKING:
    from datasets import Dataset

_WAYS_OUT = "or leave it out or cut it: --too-long drop, --too-long truncate (in Python too_long=)."


@dataclass(frozen=True)
class Drawing:
    """How long responses can become: `new_tokens` at most, or to the end of the policy's `context`.

    `prompts`: tokens of each prompt by its id. `option` names the setting of new_tokens.
    """

    tokenizer: Any
    context: int
    new_tokens: int
    option: str
    prompts: Mapping[str, int]


def fit_policy(
    rows: PromptRows,
    policy: Policy,
    config: SampleConfig,
    *,
    option: str = "--max-new-tokens",
    too_long: str = "error",
) -> tuple[PromptRows, Drawing]:
    """The prompts that the policy has room for, and how long its responses can become.

    The others are refused, which `prompts.settle` raises or drops; with "truncate" they are cut if they can.
    Raises ModelError when no prompt can be encoded.
    """
    most = policy.context - 1

    def explained(where: str, tokens: int) -> RSError:
        if not tokens:
            fix = "Write a prompt that the tokenizer knows, or leave it out: --too-long drop."
            return DataError("the prompt has no tokens", where=where, fix=fix)
        what = (
            f"the prompt has {tokens} tokens; the policy's context is {most + 1}, and a response needs room"
        )
        return DataError(what, where=where, fix=f"Shorten it to {most} tokens or fewer, {_WAYS_OUT}")

    new_tokens = config.max_new_tokens or policy.max_new_tokens
    measure = _Measure(
        policy.encode_many,
        lambda prompt_id, tokens: 0 < tokens <= most,
        explained,
        lambda tokens: 0 < tokens <= min(most, max(1, policy.context - new_tokens)),
    )
    rows, tokens = measure.fitted(rows, too_long)
    return rows, Drawing(policy.tokenizer, policy.context, new_tokens, option, tokens)


def fit_reward_model(
    rows: PromptRows,
    reward_model: Any,
    drawing: Drawing,
    *,
    too_long: str = "error",
) -> PromptRows:
    """The prompts that the reward model has room for, with the longest response to each.

    Another tokenizer counts a response's tokens as it counts those of the prompts: that is an estimate. What
    is no RewardModel, such as a function, has room for all. Otherwise as `fit_policy`.
    """
    if not isinstance(reward_model, RewardModel):
        return rows
    share = _share(rows, reward_model, drawing)
    longest = math.ceil(share * drawing.new_tokens)

    def response(prompt_id: str) -> int:
        room = drawing.context - drawing.prompts.get(prompt_id, 0)
        return math.ceil(share * min(drawing.new_tokens, room))

    def explained(where: str, tokens: int) -> RSError:
        about = "" if share == 1 else "about "
        what = (
            f"the prompt has {tokens} tokens and a response up to {about}{longest}; "
            f"the reward model's context is {reward_model.context}"
        )
        room = int((reward_model.context - tokens) / share)
        lower = (
            f"Lower {drawing.option} (now {drawing.new_tokens}) to {room}, " if room > 0 else "Shorten it, "
        )
        return DataError(what, where=where, fix=lower + _WAYS_OUT)

    def encode(prompts: Sequence[Prompt]) -> list[list[int]]:
        # One token stands for the response, whose own are counted beside it.
        return [ids[1:] for ids in reward_model.encode_many([(prompt, ".") for prompt in prompts])]

    measure = _Measure(
        encode,
        lambda prompt_id, tokens: tokens + response(prompt_id) <= reward_model.context,
        explained,
        lambda tokens: tokens + longest <= reward_model.context,
    )
    return measure.fitted(rows, too_long)[0]


def _share(rows: PromptRows, reward_model: RewardModel, drawing: Drawing) -> float:
    """Tokens of the reward model for each token of the policy, on the prompts' texts; at least 1."""
    if reward_model.tokenizer.get_vocab() == drawing.tokenizer.get_vocab():
        return 1.0
    texts = [messages.texts(prompt)[:2000] for prompt in rows.table["prompt"][:200]]
    ours, theirs = (
        sum(len(ids) for ids in tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"])
        for tokenizer in (drawing.tokenizer, reward_model.tokenizer)
    )
    return max(1.0, theirs / max(1, ours))


def fit_all(
    rows: PromptRows,
    policies: Iterable[Policy],
    reward_models: Iterable[Any],
    config: SampleConfig,
    *,
    option: str = "--max-new-tokens",
    too_long: str = "error",
) -> PromptRows:
    """The prompts that several models have room for. Raises as `prompts.settle` and `fit_policy`."""
    drawings = []
    for policy in policies:
        rows, drawing = fit_policy(rows, policy, config, option=option, too_long=too_long)
        drawings.append(drawing)
    rows = rows.settled(too_long)
    for reward_model in reward_models:
        for drawing in drawings:
            rows = fit_reward_model(rows, reward_model, drawing, too_long=too_long)
    return rows.settled(too_long)


# Responses --------------------------------------------------------------------------------------------


def responses_with_room(reward_model: Any, responses: Dataset, too_long: str) -> Dataset:
    """The responses that the reward model has room for; with `too_long` "truncate" all of them.

    Raises DataError, unless `too_long` is "drop" or "truncate", when it has no room for one of them with its
    prompt, or for none.
    """
    check_too_long(too_long)
    overlong = [] if too_long == "truncate" else _overlong(reward_model, responses)
    if not overlong:
        return responses
    what = f"{len(overlong)} of {len(responses)} responses do not fit the reward model's context"
    what += f" of {reward_model.context} tokens with their prompts"
    where = f"first: {tables.rows_of(responses).row_name(overlong[0])}"
    if too_long == "error" or len(overlong) == len(responses):
        fix = "Score their beginnings: --too-long truncate; or leave them out: --too-long drop"
        raise DataError(what, where=where, fix=f"{fix} (in Python too_long=).")
    note(f"left out: {what} ({where})")
    return tables.take(responses, sorted(set(range(len(responses))) - set(overlong)))


def beginnings(reward_model: Any, responses: Dataset) -> list[str]:
    """The text of each response, of one too long for the reward model as much as it has room for."""
    texts = responses["response"][:]
    overlong = _overlong(reward_model, responses)
    for row in overlong:
        prompt, text = responses["prompt"][row], texts[row]

        def fits(size: int, prompt: Prompt = prompt, text: str = text) -> bool:
            return len(reward_model.encode(prompt, text[:size])) <= reward_model.context

        texts[row] = text[: _largest(len(text), fits)]
    if overlong:
        cut = f"{len(overlong)} of {len(texts)} responses do not fit the reward model's context"
        note(f"{cut}: scored by their beginning")
    return texts


def _overlong(reward_model: Any, responses: Dataset) -> list[int]:
    if not isinstance(reward_model, RewardModel):
        return []
    pairs = list(zip(responses["prompt"][:], responses["response"][:], strict=True))
    encoded = reward_model.encode_many(pairs)
    return [row for row, ids in enumerate(encoded) if len(ids) > reward_model.context]


def _largest(size: int, fits: Callable[[int], bool]) -> int:
    """The largest number below `size` that fits, where all smaller ones do; 0 where none does."""
    low, high = 0, size
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


# Any model --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Measure:
    """`encode` gives a prompt's tokens, `fits` says whether so many fit, `explained` why they do not.

    `ample`: whether so many leave room for a whole response, as of a prompt that is cut.
    """

    encode: Callable[[Sequence[Prompt]], list[list[int]]]
    fits: Callable[[str, int], bool]
    explained: Callable[[str, int], RSError]
    ample: Callable[[int], bool]

    def fitted(self, rows: PromptRows, too_long: str) -> tuple[PromptRows, dict[str, int]]:
        """The prompts that fit, and the tokens of each."""
        ids, prompts = rows.table["prompt_id"][:], rows.table["prompt"][:]
        counts, refused, cut = self._counts(rows), [], set()
        kept = []
        for row, (prompt_id, prompt) in enumerate(zip(ids, prompts, strict=True)):
            tokens = counts[prompt_id]
            if isinstance(tokens, int) and not self.fits(prompt_id, tokens) and too_long == "truncate":
                shorter = self._shortened(prompt)
                if shorter is not None:
                    prompts[row], counts[prompt_id] = shorter, self._count(shorter)
                    cut.add(prompt_id)
            tokens = counts[prompt_id]
            if isinstance(tokens, int) and self.fits(prompt_id, tokens):
                kept.append(row)
            else:
                where = rows.where(prompt_id)
                refused.append(tokens if isinstance(tokens, RSError) else self.explained(where, tokens))
        table = tables.with_column(rows.table, "prompt", prompts) if cut else rows.table
        table = tables.take(table, kept) if refused else table
        refused = (*rows.refused, *refused)
        return dataclasses.replace(rows, table=table, refused=refused, cut=rows.cut | cut), counts

    def _counts(self, rows: PromptRows) -> dict[str, Any]:
        """Tokens of each prompt by its id, or the error of one that cannot be encoded while others can."""
        ids, prompts = rows.table["prompt_id"][:], rows.table["prompt"][:]
        try:
            return dict(zip(ids, map(len, self.encode(prompts)), strict=True))
        except ModelError as err:
            counts = {
                name: self._count_or_error(p, rows.where(name)) for name, p in zip(ids, prompts, strict=True)
            }
            if all(isinstance(count, RSError) for count in counts.values()):
                where = f"{err.where}; first at {rows.where(ids[0])}"
                raise ModelError(err.what, where=where, fix=err.fix) from err
            return counts

    def _count(self, prompt: Prompt) -> int:
        return len(self.encode([prompt])[0])

    def _count_or_error(self, prompt: Prompt, where: str) -> int | DataError:
        try:
            return self._count(prompt)
        except ModelError as err:
            return DataError(
                err.what, where=where, fix="Change the prompt, or leave it out: --too-long drop."
            )

    def _shortened(self, prompt: Prompt) -> Prompt | None:
        """The longest end of the prompt that leaves room for a response; None where nothing does."""

        def fits(shorter: Prompt) -> bool:
            return self.ample(self._count(shorter))

        for turns in _without_old_turns(prompt):
            if fits(turns):
                return turns
            prompt = turns
        return _cut(prompt, fits)


def _without_old_turns(prompt: Prompt) -> list[Prompt]:
    """A conversation with fewer and fewer of its oldest turns; the first one left is always the user's."""
    if isinstance(prompt, str):
        return []
    system, turns = messages.split_system(prompt)
    starts = [place for place, message in enumerate(turns) if message["role"] == "user"][1:]
    return [[*system, *turns[start:]] for start in starts]


def _cut(prompt: Prompt, fits: Callable[[Prompt], bool]) -> Prompt | None:
    """The prompt without the beginning of its last turn, as little as makes it fit; None: nothing does."""
    text = prompt if isinstance(prompt, str) else prompt[-1]["content"]

    def rest(start: int) -> Prompt:
        end = text[start:]
        return end if isinstance(prompt, str) else [*prompt[:-1], {"role": "user", "content": end}]

    size = len(text.rstrip())
    left = _largest(size, lambda left: fits(rest(size - left)))
    return rest(size - left) if left else None
