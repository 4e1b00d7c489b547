"""How learners write an entry of a few words: a tuple, a dict that names each of them, a text with commas."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any


def fields(answer: Any, *names: str) -> Any:
    """The words of an entry as a list, in the order of their names; what is none of the three, as it is.

    >>> fields("row 6: open", "row", "verdict"), fields({"Verdict": "open", "row": 6}, "row", "verdict")
    (['row 6', 'open'], [6, 'open'])
    """
    if isinstance(answer, Mapping):
        named = {str(name).strip().casefold(): word for name, word in answer.items()}
        return [named.get(name) for name in names]
    if isinstance(answer, str):
        return re.split(r"\s*[,;:|]\s*", answer.strip())
    return list(answer) if isinstance(answer, tuple | list) else answer
