"""Uses every tool of a running demo through every client, in both roles and both eras. Prints one line per check, and the
count last.

    check_clients.py --demo FILE --weir PATH --modules FOLDER      FILE holds the line that `weir demo --json` prints
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import anyio
import httpx2

from by_driver import Node, TypeScript
from by_inspector import Inspector
from by_sdk import PythonSdk
from callers import UNKNOWN_TOOL, Answer, Caller, Refused, Way
from report import Report, holds, same
from tools import PREPARATION, RUN_FIRST, UNKNOWN, WRONG, Tool, check_list, of_role
from tools import TOOLS as ALL_TOOLS
from ways import LEGACY_VERSION, MODERN_VERSION, WAYS, Weir

WAY_SECONDS_MAX = 240
# Of one check. The Inspector is a process for each request, and these wait for their turn.
CHECK_SECONDS_MAX = 120
# Two cores are kept busy by as many clients, and the slow system of the demo takes eight calls at once.
WAYS_TOGETHER = 3
SLOW_TOGETHER = 8
VERSIONS = (LEGACY_VERSION, MODERN_VERSION)


def every_way(node: Node) -> list[Way]:
    return [
        *(PythonSdk(way) for way in WAYS),
        *(TypeScript(node, transport, version) for transport in ("http", "desktop-config", "mcp-remote") for version in VERSIONS),
        *(Inspector(node, transport, version) for transport in ("http", "stdio") for version in VERSIONS),
    ]


class RoleCheck:
    """One client, in one role."""

    def __init__(self, way: Way, role: str, caller: Caller, report: Report, run: int, slow: anyio.CapacityLimiter) -> None:
        self.way, self.role, self.caller, self.report = way, role, caller, report
        self.run, self.slow = run, slow
        self.where = f"{way}, {role}"

    def check(self, what: str) -> AbstractAsyncContextManager[None]:
        return self.report.check(self.where, what, CHECK_SECONDS_MAX)

    async def all(self) -> None:
        """The list, then everything else side by side."""
        await self.check_list()
        async with anyio.create_task_group() as group:
            for tool in of_role(self.role):
                group.start_soon(self.check_tool, tool)
            group.start_soon(self.check_refusals)
            group.start_soon(self.check_wrong_arguments)

    async def check_list(self) -> None:
        async with self.check(f"speaks {self.way.version} and lists exactly the tools of the role"):
            if self.caller.version is not None:
                same(self.caller.version, self.way.version, "the protocol version")
            tools = await self.caller.tools()
            check_list([tool["name"] for tool in tools], self.role)
            for tool in tools:
                holds(bool(tool["description"]), f"{tool['name']} has no description")
                same(tool["inputSchema"]["type"], "object", f"the schema of {tool['name']}")

    async def check_tool(self, tool: Tool) -> None:
        if tool.slow:
            # The wait for a turn is ours, not the tool's.
            async with self.slow:
                await self.check_answer(tool)
        else:
            await self.check_answer(tool)

    async def check_answer(self, tool: Tool) -> None:
        async with self.check(f"{tool.name} answers"):
            answer = await self.caller.call(tool.name, tool.filled(self.run))
            holds(not answer.is_error, f"an error came back: {answer.text}")
            holds(tool.is_right(answer.value), f"this came back: {answer.text[:300]}")
            same(as_doubles(answer.structure), as_doubles(answer.value), "the structure beside the text")

    async def check_refusals(self) -> None:
        async with self.check("what does not exist, and what the role may not use, is refused alike"):
            allowed = of_role(self.role)
            hidden = [tool for tool in ALL_TOOLS if tool not in allowed]
            asked: list[tuple[str, dict[str, Any]]] = [(tool.name, tool.filled(self.run)) for tool in hidden]
            unknown = await self.refusal(UNKNOWN, {})
            holds(not self.way.tells_refusals or unknown == UNKNOWN_TOOL, f"the refusal is {unknown!r}")
            for tool, arguments in asked:
                same(await self.refusal(tool, arguments), unknown, f"the refusal of {tool}")

    async def refusal(self, tool: str, arguments: dict[str, Any]) -> str:
        """The words of a refusal, without the name."""
        try:
            answer: Answer = await self.caller.call(tool, arguments)
        except Refused as refused:
            told = str(refused)
            holds(tool in told, f"the refusal of {tool} does not name it: {told}")
            return told.replace(tool, "")
        raise AssertionError(f"{tool} was not refused but answered {answer.text[:300]}")

    async def check_wrong_arguments(self) -> None:
        async with self.check("arguments that do not fit are told with their place"):
            answer = await self.caller.call(WRONG.tool, WRONG.arguments)
            holds(answer.is_error, f"{WRONG.arguments} were taken: {answer.text[:300]}")
            for text in WRONG.named:
                holds(text in answer.text, f"the error does not say {text!r}: {answer.text}")


def as_doubles(value: Any) -> Any:
    """With every number as a double, which is what a client in JavaScript makes of it."""
    if isinstance(value, dict):
        return {key: as_doubles(member) for key, member in value.items()}
    if isinstance(value, list):
        return [as_doubles(item) for item in value]
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


async def check_way(weir: Weir, keys: dict[str, str], way: Way, report: Report, runs: itertools.count, slow: anyio.CapacityLimiter) -> None:
    async def as_role(role: str, key: str) -> None:
        async with report.check(f"{way}, {role}", "connects and disconnects", WAY_SECONDS_MAX):
            async with way.connect(weir, key) as caller:
                await RoleCheck(way, role, caller, report, next(runs), slow).all()

    async with anyio.create_task_group() as group:
        for role, key in keys.items():
            group.start_soon(as_role, role, key)


async def check_audit(ready: dict[str, Any], report: Report) -> None:
    """The Inspector does not tell what it speaks; Weir's own records do."""
    async with report.check("Inspector", f"spoke {' and '.join(VERSIONS)}, as the audit has it"):
        headers = {"Authorization": f"Bearer {ready['admin_token']}"}
        async with httpx2.AsyncClient(base_url=ready["admin"], headers=headers) as operator:
            answer = await operator.get("/admin/audit?last=1000")
        records = answer.raise_for_status().json()["records"]
        spoken = {record["protocol"] for record in records if record["client"].startswith("inspector-cli")}
        same(spoken, set(VERSIONS), "the revisions")


async def check(ready: dict[str, Any], weir: Weir, node: Node) -> int:
    report = Report()
    keys = ready["keys"]
    runs = itertools.count(RUN_FIRST)
    slow = anyio.CapacityLimiter(SLOW_TOGETHER)
    turns = anyio.CapacityLimiter(WAYS_TOGETHER)

    async def in_turn(way: Way) -> None:
        async with turns:
            await check_way(weir, keys, way, report, runs, slow)

    async with PythonSdk(WAYS[0]).connect(weir, keys["admin"]) as admin:
        for tool, arguments in PREPARATION:
            await admin.call(tool, arguments)
    async with anyio.create_task_group() as group:
        for way in every_way(node):
            group.start_soon(in_turn, way)
    await check_audit(ready, report)
    return report.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Uses every tool of a running demo through every client.")
    parser.add_argument("--demo", type=Path, required=True, help="file with the line that `weir demo --json` prints")
    parser.add_argument("--weir", required=True, help="the program, for the stdio bridge")
    parser.add_argument("--modules", type=Path, required=True, help="the node_modules of tests/clients/node")
    arguments = parser.parse_args()
    ready = json.loads(arguments.demo.read_text())
    weir = Weir(arguments.weir, ready["endpoint"])
    return anyio.run(check, ready, weir, Node(arguments.modules.resolve()))


if __name__ == "__main__":
    sys.exit(main())
