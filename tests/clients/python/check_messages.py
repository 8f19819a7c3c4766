"""Runs the tool loop of the Messages API over Weir's plain JSON API: a program without any SDK asks a model, calls the tools
that it wants, and gives it the results. The model is a stand-in. Prints one line per check, and the count last.

    check_messages.py --demo FILE      FILE holds the line that `weir demo --json` prints
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import anyio

import model
from agent import Agent
from callers import UNKNOWN_TOOL
from report import Report, holds, same
from stale import own_value
from tools import PREPARATION, RUN_LAST, TOOLS, UNKNOWN, WRONG, Tool, check_list, of_role

LAST_WORD = "That is all."
SECONDS_MAX = 120


def converse(weir_url: str, key: str, uses: list[tuple[str, dict[str, Any]]]) -> tuple[model.Model, str]:
    """One conversation, in which the model uses these tools."""
    standin = model.Model(uses, LAST_WORD)
    with model.serving(standin) as url:
        agent = Agent(url, model.KEY, weir_url, key, "stand-in")
        return standin, agent.converse("Use every tool.")


def check_answer(tool: Tool, result: dict[str, Any]) -> None:
    holds(not result["is_error"], f"{tool.name} answered an error: {result['content']}")
    holds(tool.is_right(own_value(result["content"])), f"{tool.name} answered {result['content'][:300]}")


async def check_role(weir_url: str, role: str, key: str, run: int, report: Report) -> None:
    allowed = of_role(role)
    refused = [UNKNOWN, *(tool.name for tool in TOOLS if tool not in allowed)]
    arguments = {tool.name: tool.filled(run) for tool in TOOLS}
    uses = [(tool.name, arguments[tool.name]) for tool in allowed]
    uses += [(name, arguments.get(name, {})) for name in refused]
    uses += [(WRONG.tool, WRONG.arguments)]
    where = f"Messages API over /v1, {role}"
    results: list[dict[str, Any]] = []
    async with report.check(where, "the model has its results and ends its turn", SECONDS_MAX):
        standin, last_word = await anyio.to_thread.run_sync(converse, weir_url, key, uses)
        same(last_word, LAST_WORD, "the last word")
        check_list([tool["name"] for tool in standin.tools], role)
        results = standin.results
    if not results:
        return
    *answered, told = results
    not_allowed = answered[len(allowed) :]
    for tool, result in zip(allowed, answered):
        async with report.check(where, f"{tool.name} answers"):
            check_answer(tool, result)
    async with report.check(where, "what does not exist, and what the role may not use, is refused alike"):
        same([result["content"] for result in not_allowed], [f"{UNKNOWN_TOOL}{name}" for name in refused], "the refusals")
        holds(all(result["is_error"] for result in not_allowed), "a refusal does not look like one")
    async with report.check(where, "arguments that do not fit are told with their place"):
        holds(told["is_error"] and all(text in told["content"] for text in WRONG.named), f"this was told: {told}")


async def check(endpoint: str, keys: dict[str, str]) -> int:
    report = Report()
    weir_url = endpoint.removesuffix("/mcp")
    admin = Agent("", "", weir_url, keys["admin"], "")
    for name, arguments in PREPARATION:
        await anyio.to_thread.run_sync(admin.weir, "/v1/tools/call", {"name": name, "arguments": arguments})
    async with anyio.create_task_group() as group:
        for number, (role, key) in enumerate(keys.items()):
            group.start_soon(check_role, weir_url, role, key, RUN_LAST - number, report)
    return report.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs the tool loop of the Messages API over Weir's plain JSON API.")
    parser.add_argument("--demo", type=Path, required=True, help="file with the line that `weir demo --json` prints")
    ready = json.loads(parser.parse_args().demo.read_text())
    return anyio.run(check, ready["endpoint"], ready["keys"])


if __name__ == "__main__":
    sys.exit(main())
