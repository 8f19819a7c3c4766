"""The official TypeScript client: over HTTP, by the program that `weir init` prints for Claude Desktop, which is Weir's
stdio bridge, and by the bridge `mcp-remote`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from callers import Answer, Refused
from printed import desktop_server, with_values
from ways import Weir

DRIVER = Path(__file__).parent.parent / "node" / "drive.mjs"
LINE_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True)
class Node:
    """The packages of tests/clients/node, where they are installed."""

    modules: Path

    @property
    def program(self) -> str:
        return str(self.modules / ".bin" / "node")


@dataclass(frozen=True)
class TypeScript:
    """The client, and what is between it and Weir: `http`, `desktop-config` or `mcp-remote`."""

    node: Node
    transport: str
    version: str
    tells_refusals = True

    def __str__(self) -> str:
        return f"TypeScript by {self.transport} {self.version}"

    @asynccontextmanager
    async def connect(self, weir: Weir, key: str) -> AsyncGenerator[Driver]:
        """A client that is connected, under this key."""
        async with drive(self.node, self.version, await self.target(weir, key)) as driver:
            yield driver

    async def target(self, weir: Weir, key: str) -> dict[str, Any]:
        authorization = f"Bearer {key}"
        if self.transport == "http":
            return {"url": weir.endpoint, "headers": {"Authorization": authorization}}
        if self.transport == "desktop-config":
            return with_values(await desktop_server(weir, "--url", weir.endpoint), {"WEIR_API_KEY": key})
        bridge = str(self.node.modules / "mcp-remote" / "dist" / "proxy.js")
        return {
            "command": self.node.program,
            "args": [bridge, weir.endpoint, "--transport", "http-only", "--header", "Authorization:${AUTHORIZATION}"],
            "env": {"AUTHORIZATION": authorization},
        }


@asynccontextmanager
async def drive(node: Node, version: str, target: dict[str, Any]) -> AsyncGenerator[Driver]:
    """The client, connected to this target; what it complains of fails whoever used it."""
    how = {"modules": str(node.modules), "version": version, **target}
    command = [node.program, str(DRIVER), json.dumps(how)]
    async with await anyio.open_process(command, stderr=subprocess.PIPE) as process, anyio.create_task_group() as group:
        driver = Driver(process)
        await driver.connected(group)
        yield driver
        await driver.close()
        group.cancel_scope.cancel()
    if driver.problems or process.returncode != 0:
        raise AssertionError(f"the client ended with {process.returncode} and told: {'; '.join(driver.problems)}")


@dataclass
class Driver:
    """A running driver."""

    process: Process
    version: str | None = None
    problems: list[str] = field(default_factory=list)
    waiting: dict[int, tuple[anyio.Event, dict[str, Any]]] = field(default_factory=dict)
    asked: int = 0

    async def connected(self, group: Any) -> None:
        self.lines = BufferedByteReceiveStream(self.process.stdout)
        group.start_soon(self.read_errors)
        first = await self.line()
        if first is None or "version" not in first:
            raise AssertionError(f"the client did not connect: {first} {'; '.join(self.problems)}")
        self.version = first["version"]
        group.start_soon(self.read)

    async def line(self) -> dict[str, Any] | None:
        try:
            return json.loads(await self.lines.receive_until(b"\n", LINE_BYTES_MAX))
        except (anyio.IncompleteRead, anyio.EndOfStream):
            return None

    async def read(self) -> None:
        while (line := await self.line()) is not None:
            if "id" in line:
                answered, message = self.waiting.pop(line["id"])
                message.update(line)
                answered.set()
            else:
                self.problems.append(line["problem"])
        for answered, _ in self.waiting.values():
            answered.set()

    async def read_errors(self) -> None:
        async for chunk in self.process.stderr:
            self.problems.append(chunk.decode())

    async def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        answered, message = self.waiting[self.asked] = anyio.Event(), {}
        line = json.dumps({"id": self.asked, "method": method, "params": params})
        await self.process.stdin.send(f"{line}\n".encode())
        await answered.wait()
        if "error" in message:
            raise Refused(message["error"]["message"])
        return message["result"]

    async def tools(self) -> list[dict[str, Any]]:
        return (await self.ask("tools/list", {}))["tools"]

    async def call(self, tool: str, arguments: dict[str, Any]) -> Answer:
        return Answer.of_result(await self.ask("tools/call", {"name": tool, "arguments": arguments}))

    async def close(self) -> None:
        await self.process.stdin.aclose()
        await self.process.wait()
