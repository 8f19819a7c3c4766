"""A connected client with what every check needs: where it is, the report, and calls that look at the whole answer."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult, TextContent, Tool

from report import Report, holds, same
from stale import own_text

UNKNOWN_TOOL = -32602
PAGES_MAX = 50


@dataclass
class Session:
    """One client under one key."""

    client: Client
    where: str
    report: Report

    def check(self, what: str) -> AbstractAsyncContextManager[None]:
        return self.report.check(self.where, what)

    async def tools(self) -> dict[str, Tool]:
        """Everything that is listed, over all pages."""
        tools: dict[str, Tool] = {}
        cursor = None
        for _ in range(PAGES_MAX):
            page = await self.client.list_tools(cursor=cursor, cache_mode="bypass")
            for tool in page.tools:
                holds(tool.name not in tools, f"{tool.name} is listed twice")
                tools[tool.name] = tool
            cursor = page.next_cursor
            if cursor is None:
                return tools
        raise AssertionError(f"the list has not ended after {PAGES_MAX} pages")

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What a call that succeeds answers. The text for models and the structure for programs have to be the same."""
        result = await self.client.call_tool(tool, arguments)
        holds(not result.is_error, f"{tool} answered an error: {text(result)}")
        same(json.loads(text(result)), result.structured_content, f"the text of {tool}")
        return result.structured_content

    async def rows(self, tool: str, **arguments: Any) -> list[dict[str, Any]]:
        """The rows that a database tool answers, none of them held back."""
        answer = await self.call(tool, **arguments)
        same(answer["row_count"], len(answer["rows"]), "row_count")
        same(answer["truncated"], False, "truncated")
        return answer["rows"]

    async def rows_written(self, tool: str, **arguments: Any) -> list[dict[str, Any]]:
        """The rows that a database tool wrote."""
        answer = await self.call(tool, **arguments)
        same(answer["rows_affected"], len(answer["rows"]), "rows_affected")
        return answer["rows"]

    async def fails(self, tool: str, **arguments: Any) -> str:
        """The text of a call that the tool answers with an error, which is meant for the model."""
        result = await self.client.call_tool(tool, arguments)
        holds(result.is_error, f"{tool} answered {result.structured_content} where an error was due")
        return text(result)

    async def refusal(self, tool: str, **arguments: Any) -> tuple[int, str, Any]:
        """The protocol error of a call that is refused, with the tool's name taken from the end of its text."""
        try:
            result = await self.client.call_tool(tool, arguments)
        except MCPError as error:
            holds(error.message.endswith(tool), f"the refusal of {tool!r} does not name it: {error.message}")
            return error.code, error.message.removesuffix(tool), error.data
        raise AssertionError(f"{tool} was not refused but answered {text(result)}")


def text(result: CallToolResult) -> str:
    """The text content of a result."""
    return own_text([piece.text for piece in result.content if isinstance(piece, TextContent)])
