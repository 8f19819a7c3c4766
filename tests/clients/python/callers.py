"""What every client under test looks like to the checks, whoever wrote it and in whatever language."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from stale import own_text
from ways import Weir

UNKNOWN_TOOL = "Unknown tool: "


@dataclass(frozen=True)
class Answer:
    """What a tool answered: its text, which is what a model reads, and the structure that some clients show beside it."""

    text: str
    is_error: bool
    structure: Any = None

    @classmethod
    def of_result(cls, result: dict[str, Any]) -> Answer:
        """Of a result in the form of the protocol."""
        return cls(own_text([content["text"] for content in result["content"]]), result.get("isError") is True, result.get("structuredContent"))

    @property
    def value(self) -> Any:
        """The text as the JSON that it is. Numbers are exact here, whatever the client does to the structure."""
        return json.loads(self.text)


class Refused(Exception):
    """The call did not reach a tool."""


class Caller(Protocol):
    """A connected client."""

    # What it speaks, where it tells.
    version: str | None

    async def tools(self) -> list[dict[str, Any]]:
        """The definitions that it was given."""

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        """Raises Refused if the call reached no tool."""


class Way(Protocol):
    """One client, and one way for it to connect."""

    # The revision that it has to end up with.
    version: str
    # Whether a refusal shows in Weir's words; otherwise the client refuses by itself what is not listed.
    tells_refusals: bool

    def connect(self, weir: Weir, key: str) -> AbstractAsyncContextManager[Caller]: ...
