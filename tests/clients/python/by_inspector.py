"""The MCP Inspector in CLI mode: a process for each request."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from by_driver import Node
from callers import Answer, Refused
from ways import LEGACY_VERSION, Weir

TOOL_ERROR = 5
# Each takes half a second of a core and 100 MB.
TOGETHER_MAX = 8
together = anyio.CapacityLimiter(TOGETHER_MAX)


@dataclass(frozen=True)
class Inspector:
    """The Inspector, over `http` or by Weir's bridge (`stdio`)."""

    node: Node
    transport: str
    version: str
    # It looks a tool up in the list first, and says itself that there is none.
    tells_refusals = False

    def __str__(self) -> str:
        return f"Inspector by {self.transport} {self.version}"

    @asynccontextmanager
    async def connect(self, weir: Weir, key: str) -> AsyncGenerator[Requests]:
        """Requests under this key; there is no lasting connection."""
        if self.transport == "http":
            target = [weir.endpoint, "--transport", "http", "--header", f"Authorization: Bearer {key}"]
        else:
            target = ["-e", f"WEIR_API_KEY={key}", "--", weir.program, "stdio", "--url", weir.endpoint]
        with tempfile.TemporaryDirectory() as home:
            yield Requests(self.node, "legacy" if self.version == LEGACY_VERSION else "modern", target, Path(home))


@dataclass(frozen=True)
class Requests:
    """Where requests go."""

    node: Node
    era: str
    target: list[str]
    home: Path
    # It does not tell. Weir's audit does.
    version = None

    async def tools(self) -> list[dict[str, Any]]:
        status, out, error = await self.run("--method", "tools/list")
        if status != 0:
            raise AssertionError(f"the Inspector ended with {status}: {error}")
        return json.loads(out)["result"]["tools"]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        asked = ["--method", "tools/call", "--tool-name", tool, "--tool-args-json", json.dumps(arguments)]
        status, out, error = await self.run(*asked)
        if status == TOOL_ERROR and not out:
            raise Refused(json.loads(error)["error"]["message"])
        if status not in (0, TOOL_ERROR):
            raise AssertionError(f"the Inspector ended with {status}: {error}")
        return Answer.of_result(json.loads(out)["result"])

    async def run(self, *arguments: str) -> tuple[int, str, str]:
        program = [self.node.program, str(self.node.modules / ".bin" / "mcp-inspector"), "--cli"]
        # What follows `--` is the server, so its place is last.
        command = [*program, *arguments, "--format", "json", "-q", "--protocol-era", self.era, *self.target]
        env = {**os.environ, "HOME": str(self.home), "MCP_INSPECTOR_SECRET_STORE": "memory"}
        async with together:
            done = await anyio.run_process(command, env=env, check=False, stdin=subprocess.DEVNULL)
        return done.returncode, done.stdout.decode().strip(), done.stderr.decode().strip()
