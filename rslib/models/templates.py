"""What is asked of a chat template: no thinking, a date that stays, and which token ends a turn."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from typing import Any

from transformers import PreTrainedTokenizerBase

from rslib.config import DATE
from rslib.errors import ConfigError, ModelError

_NOW = re.compile(r"""strftime_now\(\s*(?P<quote>['"])(?P<format>.*?)(?P=quote)\s*\)""")
SAVED_DATE = "template_date"
"""The entry of tokenizer_config.json with the day that the dialogues of a saved model were rendered with."""
_SWITCHES: dict[str, Any] = {"enable_thinking": False, "thinking": False, "thinking_budget": 0}
_BLOCKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought", "<channel|>"),
)
_RESPONSE = "Hello there"  # what the assistant says where its end is looked for
_TURNS = (
    {"role": "user", "content": "Say hello."},
    {"role": "assistant", "content": _RESPONSE},
    {"role": "user", "content": "Once more."},
)
_Render = Callable[[list[dict[str, str]]], str]


def _text_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """The template that renders dialogues; "" where there is none."""
    named = tokenizer.chat_template or ""
    return named.get("default", "") if isinstance(named, dict) else named


def prints_date(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the template asks for today's date."""
    return "strftime_now" in _text_of(tokenizer)


def day_of(tokenizer: PreTrainedTokenizerBase, date: str | None) -> str:
    """The day that dialogues are rendered with: the given one, else that of the saved one, else DATE."""
    return date or tokenizer.init_kwargs.get(SAVED_DATE) or DATE


def settings(tokenizer: PreTrainedTokenizerBase, date: str) -> dict[str, Any]:
    """What `apply_chat_template` is told: the template's own switch for thinking, off, and one with the date.

    Raises ConfigError for a date that is not written YYYY-MM-DD, ModelError for one that a template computes.
    """
    template = _text_of(tokenizer)
    off = {name: value for name, value in _SWITCHES.items() if name in template}
    if not prints_date(tokenizer):
        return off
    try:
        day = datetime.date.fromisoformat(date)
    except ValueError as err:
        raise ConfigError(f"'{date}' is no date", where="date", fix=f"Write it as {DATE}.") from err
    # Functions cannot be handed to a template: its calls are replaced by what they would print on that day.
    dated = _NOW.sub(lambda call: repr(day.strftime(call["format"])), template)
    if "strftime_now(" in dated:
        fix = "Write the format into the call in its chat_template: strftime_now('%d %B %Y')."
        raise ModelError("the chat template computes how it prints the date", where="chat_template", fix=fix)
    return off | {"chat_template": dated}


def check_no_open_thought(text: str, last: str, where: str) -> None:
    """Raise ModelError when a rendered dialogue leaves a thinking block open behind its last turn `last`.

    A block that is closed again, as Qwen3, SmolLM3 and GLM-4.5 write it with thinking off, is fine.
    """
    behind = text.rpartition(last.strip())[2] if last.strip() else text
    for begin, end in _BLOCKS:
        if behind.rfind(begin) > behind.rfind(end):
            what = f"the chat template opens {begin} before the response and leaves it open"
            fix = "Use a model whose thinking can be switched off, or edit its chat template."
            raise ModelError(what, where=where, fix=fix)


def check_opening(render: Callable[..., str], where: str) -> None:
    """Raise ModelError when the template writes words between an opened turn of the assistant and its text.

    A template that does not open the turn, or one whose turns begin with a channel, would have responses from
    elsewhere taught without what stands there. Spaces and line ends are let pass; so is a template that
    renders a turn that was written differently from one that is to be written.
    """
    try:
        opened = render(list(_TURNS[:1]), add_generation_prompt=True)
        before, response, _ = render(list(_TURNS[:2])).partition(_RESPONSE)
    except ModelError:  # some templates take no such dialogue
        return
    between = before.removeprefix(opened) if response and before.startswith(opened) else ""
    if between.strip():
        what = f"the chat template writes {between!r} before a response, and not behind a prompt"
        fix = "Let its chat_template write that with add_generation_prompt, or use another model."
        raise ModelError(what, where=where, fix=fix)


def end_of_turn(
    tokenizer: PreTrainedTokenizerBase, render: _Render | None, ends: Sequence[int]
) -> int | None:
    """The token with which an assistant's turn ends; None where nothing ends it.

    That is the first token behind the answer that is one of the tokenizer's added tokens or of `ends`, with
    which `generate` stops; if there is none, the first of `ends` behind it in a longer dialogue (GLM-4: the
    next user's turn). Without one, and without a template (render None), it is the tokenizer's own end of
    sequence, if that is among `ends`, else the first of them.
    """
    added = {*tokenizer.added_tokens_decoder, *ends}
    if render is not None:
        for count, known in ((2, added), (3, set(ends))):
            if (token := next(_behind_response(tokenizer, render, count, known), None)) is not None:
                return token
    own = tokenizer.eos_token_id
    return own if own in ends else next(iter(ends), None)


def _behind_response(
    tokenizer: PreTrainedTokenizerBase, render: _Render, count: int, known: Iterable[int]
) -> Iterator[int]:
    """Those of the tokens behind the answer in a dialogue of `count` turns that are `known`."""
    with suppress(ModelError):  # some templates take no such dialogue
        _, response, behind = render(list(_TURNS[:count])).partition(_RESPONSE)
        if response:
            yield from (t for t in tokenizer(behind, add_special_tokens=False)["input_ids"] if t in known)
