"""The official Python SDK, by one of its own ways."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from mcp import Client
from mcp.shared.exceptions import MCPError

from callers import Answer, Refused
from ways import Way, Weir


@dataclass(frozen=True)
class PythonSdk:
    """The SDK, and the way it goes."""

    way: Way
    tells_refusals = True

    def __str__(self) -> str:
        return f"Python by {self.way}"

    @property
    def version(self) -> str:
        return self.way.version

    @asynccontextmanager
    async def connect(self, weir: Weir, key: str) -> AsyncGenerator[SdkCaller]:
        """A client that is connected, under this key."""
        async with self.way.connect(weir, key) as client:
            yield SdkCaller(client)


@dataclass(frozen=True)
class SdkCaller:
    """A connected client of the SDK."""

    client: Client

    @property
    def version(self) -> str | None:
        return self.client.protocol_version

    async def tools(self) -> list[dict[str, Any]]:
        listed = await self.client.list_tools(cache_mode="bypass")
        return [tool.model_dump(by_alias=True, exclude_none=True) for tool in listed.tools]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        try:
            result = await self.client.call_tool(tool, arguments)
        except MCPError as error:
            raise Refused(error.message) from error
        return Answer.of_result(result.model_dump(by_alias=True, exclude_none=True))
