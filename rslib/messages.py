"""A prompt is a text, or a conversation: chat messages {"role", "content"} that end with the user's turn.

A text is the conversation of one user's turn. Policies and reward models render both with their chat template
(`turns`); a system turn comes first, and only there.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
import unicodedata
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from rslib.errors import DataError, ModelError

Prompt = str | Sequence[Mapping[str, str]]
"""A text, or messages."""
_SPELT = re.compile(r"\s*\[\s*\{\s*(['\"])(role|content)\1\s*:.*\}\s*\]\s*", re.S)
_CALLS = ("tool_calls", "function_call", "tool_call_id")
_UNSEEN = ("Zs", "Zl", "Zp", "Cc", "Cf")  # Unicode's kinds of spaces and of marks that show nothing


def is_blank(text: str) -> bool:
    r"""Whether a text shows nothing.

    >>> is_blank(" \n"), is_blank("\u200b"), is_blank("?")
    (True, True, False)
    """
    return all(unicodedata.category(letter) in _UNSEEN for letter in text)


def turns(prompt: Prompt) -> list[dict[str, str]]:
    """The prompt as chat messages.

    >>> turns("Hi")
    [{'role': 'user', 'content': 'Hi'}]
    """
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    return [{"role": message["role"], "content": message["content"]} for message in prompt]


def frozen(prompt: Prompt) -> Hashable:
    """The prompt as what a set or a dictionary can hold; equal prompts are equal here.

    >>> frozen("Hi"), frozen([{"role": "user", "content": "Hi"}])
    ('Hi', (('user', 'Hi'),))
    """
    return prompt if isinstance(prompt, Hashable) else tuple((m["role"], m["content"]) for m in prompt)


def shown(prompt: Prompt) -> str:
    """The prompt as a text to read: of a conversation each turn with its role.

    >>> print(shown(with_system("Hi", "Be brief.")))
    system: Be brief.
    user: Hi
    """
    if isinstance(prompt, str):
        return prompt
    return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)


def texts(prompt: Prompt) -> str:
    """All that the prompt says, without its roles."""
    return prompt if isinstance(prompt, str) else "\n".join(message["content"] for message in prompt)


def plain(prompt: Prompt, where: str) -> str:
    """The text of a prompt for a model without a chat template.

    Raises ModelError for a conversation of more than one user's turn, which no plain text says.
    """
    if isinstance(prompt, str):
        return prompt
    if len(prompt) == 1:
        return prompt[0]["content"]
    roles = ", ".join(message["role"] for message in prompt)
    raise ModelError(
        f"the model has no chat template, and a prompt is a conversation ({roles})",
        where=where,
        fix="Use a model with a chat template, or prompts of one user's turn and no system prompt.",
    )


def with_system(prompt: Prompt, system: str | None) -> Prompt:
    """The prompt behind a system turn; one that has its own, and every prompt without `system`, stays."""
    messages = turns(prompt)
    if not system or messages[0]["role"] == "system":
        return prompt
    return [{"role": "system", "content": system}, *messages]


def split_system(prompt: Sequence[Mapping[str, str]]) -> tuple[list, list]:
    """The system turn of a conversation, if there is one, and the others."""
    first = 1 if prompt[0]["role"] == "system" else 0
    return list(prompt[:first]), list(prompt[first:])


def checked(value: Any, where: str) -> list[dict[str, str]]:
    """The messages of a conversation; content parts of type text are joined, other fields are left out.

    Raises DataError, with the turn, for what no policy can be given: no list of messages, a role other than
    system, user and assistant, a system turn that is not the first, the assistant's turn as the first or the
    last, an empty turn, content that is no text, calls of tools.
    """
    value = value.tolist() if hasattr(value, "tolist") else value  # pandas reads lists of Parquet as arrays
    if not isinstance(value, (list, tuple)) or not all(isinstance(message, Mapping) for message in value):
        what = f"the prompt is not text but {type(value).__name__}"
        raise DataError(what, where=where, fix='Give a text or [{"role": "user", "content": ...}, ...].')
    messages = [_message(message, f"turn {number} of {where}") for number, message in enumerate(value, 1)]
    roles = [message["role"] for message in messages]
    if "system" in roles[1:]:
        where = f"turn {roles.index('system', 1) + 1} of {where}"
        raise DataError("a system turn is not the first", where=where, fix="Put it first, or remove it.")
    if roles[roles[:1] == ["system"] :][:1] == ["assistant"]:
        what = "the conversation begins with the assistant's turn"
        raise DataError(what, where=where, fix="Begin with the user's turn, or with system and user.")
    if roles[-1:] != ["user"]:
        what = f"the conversation ends with the {roles[-1]}'s turn" if roles else "the conversation is empty"
        raise DataError(what, where=where, fix="End with the user's turn: the policy writes the next one.")
    return messages


def unwrapped(text: str, where: str) -> Any:
    """The messages that a cell of a file spells, as JSON or as Python writes a list; any other text as it is.

    Raises DataError for messages that are spelt otherwise.

    >>> unwrapped("[{'role': 'user', 'content': 'Hi'}]", "line 1")
    [{'role': 'user', 'content': 'Hi'}]
    """
    if not _SPELT.fullmatch(text):
        return text
    for read in (json.loads, ast.literal_eval):
        with contextlib.suppress(ValueError, SyntaxError):
            return read(text.strip())
    what = "the prompt spells messages, but neither as JSON nor as Python writes a list"
    raise DataError(what, where=where, fix="Write them with json.dumps, or give them as a list.")


def _message(message: Mapping[str, Any], where: str) -> dict[str, str]:
    if not {"role", "content"} <= set(message):
        what = f"a message has the fields {', '.join(map(str, message)) or 'none'}, not role and content"
        raise DataError(what, where=where, fix='Write each as {"role": "user", "content": ...}.')
    role, called = message["role"], [name for name in _CALLS if message.get(name)]
    if role not in ("system", "user", "assistant") or called:
        what = f"the message has {called[0]}" if called else f"the role is {role!r}"
        fix = "Use system, user and assistant; conversations with tools are not supported."
        raise DataError(what, where=where, fix=fix)
    content = _text_of(message["content"], where)
    if is_blank(content):
        raise DataError(f"the {role}'s turn is empty", where=where, fix="Write it, or remove the row.")
    return {"role": role, "content": content}


def _text_of(content: Any, where: str) -> str:
    """The text of a message: itself, or its parts of type text joined."""
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    if not isinstance(parts, (list, tuple)) or not all(isinstance(part, Mapping) for part in parts):
        what = f"the content is not text but {type(content).__name__}"
        raise DataError(what, where=where, fix="Give each turn as text.")
    for part in parts:
        if part.get("type") != "text" or not isinstance(part.get("text"), str):
            what = f"a part of the content is of type {part.get('type')!r}, not text"
            raise DataError(what, where=where, fix="Policies read text alone: remove the part or the row.")
    return "".join(part["text"] for part in parts)
