"""A stale answer out of Weir's cache says so in one more text, which is for the model."""

from __future__ import annotations

import json
from typing import Any

from report import holds

SENTENCE = "This is from "


def own_text(texts: list[str]) -> str:
    """The tool's own text, which is one."""
    own, *more = texts
    holds(not more or len(more) == 1 and more[0].startswith(SENTENCE), f"there are more texts: {more}")
    return own


def own_value(text: str) -> Any:
    """The JSON that the tool's own text is, where texts were put together."""
    value, end = json.JSONDecoder().raw_decode(text)
    more = text[end:].strip()
    holds(not more or more.startswith(SENTENCE), f"there is more text: {more}")
    return value
