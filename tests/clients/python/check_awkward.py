"""Puts Weir in front of an MCP server whose tools are awkward to call, and calls them through the official Python SDK:
progress, cancellation, large and exact answers, odd names, errors. Over HTTP and by the stdio bridge, from both eras to
downstreams of both eras. Prints one line per check, and the count last.

    check_awkward.py --weir PATH --standins PATH
"""

from __future__ import annotations

import argparse
import socket
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2

from report import Report, holds, same
from running import running
from session import Session, text
from ways import WAYS, Way, Weir

START_SECONDS_MAX = 30
WAY_SECONDS_MAX = 120
STEPS = 5
BYTES = 1_000_000
TOKEN = "for this run alone"
ODD_NAMES = {
    "dots.in.name",
    "slash/name",
    "a__b",
    "__leading",
    "ünïcode",
    "CaseTwin",
    "casetwin",
    "reconcile_settlement_batches_across_acquirers_with_partial_refund_carryover",
}
CONFIG = """
server: {{ listen: 127.0.0.1:{listen}, admin: 127.0.0.1:{admin}, grace: 0s }}
identity: {{ local: {{ roles: [tester] }} }}
policy: {{ roles: {{ tester: {{ allow: ["*"] }} }} }}
downstreams:
  awkward:
    mcp: {{ websocket: {{ url: "{url}" }} }}
    effects: [ {{ match: "*", effect: read }} ]
log: {{ level: warn }}
"""


class Operator:
    """The admin listener, as the operator asks it."""

    def __init__(self, http: httpx2.AsyncClient) -> None:
        self.http = http

    async def given_up(self, tool: str) -> int:
        """How many calls of a tool ended without an answer, because their caller gave them up."""
        answer = await self.http.get("/admin/audit?last=1000", headers={"Authorization": f"Bearer {TOKEN}"})
        records = answer.raise_for_status().json()["records"]
        return sum(r["local_name"] == tool and r["outcome"] in ("abandoned", "cancelled") for r in records)

    async def waits_for_given_up(self, tool: str, count: int) -> None:
        while await self.given_up(tool) < count:
            await anyio.sleep(0.02)

    async def is_ready(self) -> bool:
        """Whether it serves, with its downstream."""
        try:
            return (await self.http.get("/readyz")).text == "ready\n"
        except httpx2.HTTPError:
            return False


@asynccontextmanager
async def serving(weir: str, standins: str, era: str) -> AsyncGenerator[tuple[Weir, Operator]]:
    """Weir in front of a downstream of that era, when both are ready."""
    command = [standins, "mcp", "--websocket", "127.0.0.1:0", "--awkward", "--era", era]
    # It would warn of every call that is given up.
    async with running(*command, env={"RUST_LOG": "error"}) as downstream:
        url = await downstream.line()
        with tempfile.TemporaryDirectory() as folder:
            listen, admin = free_ports()
            config = Path(folder, "weir.yaml")
            config.write_text(CONFIG.format(listen=listen, admin=admin, url=url))
            async with (
                running(weir, "serve", "--config", str(config), env={"WEIR_ADMIN_TOKEN": TOKEN}),
                httpx2.AsyncClient(base_url=f"http://127.0.0.1:{admin}") as http,
            ):
                operator = Operator(http)
                with anyio.fail_after(START_SECONDS_MAX):
                    while not await operator.is_ready():
                        await anyio.sleep(0.05)
                yield Weir(weir, f"http://127.0.0.1:{listen}/mcp"), operator


def free_ports() -> tuple[int, int]:
    """Two ports that nobody listens on now."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


async def check_progress(session: Session) -> None:
    async with session.check("progress arrives in order, at the call that it belongs to"):
        seen: dict[int, list[tuple[float, float | None, str | None]]] = {STEPS: [], 2 * STEPS: []}

        async def ask(steps: int) -> None:
            async def note(progress: float, total: float | None, message: str | None) -> None:
                seen[steps].append((progress, total, message))

            result = await session.client.call_tool("awkward__progress", {"steps": steps}, progress_callback=note)
            same(result.structured_content, {"steps": steps, "reported": True}, "the answer")

        async with anyio.create_task_group() as calls:
            for steps in seen:
                calls.start_soon(ask, steps)
        for steps, steps_seen in seen.items():
            wanted = [(step, steps, f"step {step} of {steps}") for step in range(1, steps + 1)]
            same(steps_seen, wanted, "the progress")

    async with session.check("a call that asks for no progress gets none"):
        same(await session.call("awkward__progress", steps=STEPS), {"steps": STEPS, "reported": False}, "the answer")


async def check_cancellation(session: Session, operator: Operator) -> None:
    async with session.check("a call that is given up ends in the router"):
        given_up = await operator.given_up("progress")

        async def give_up(*_: object) -> None:
            call.cancel()

        with anyio.CancelScope() as call:
            endless = {"steps": 10_000, "step_ms": 10}
            await session.client.call_tool("awkward__progress", endless, progress_callback=give_up)
        holds(call.cancelled_caught, "the call was answered")
        await operator.waits_for_given_up("progress", given_up + 1)

    async with session.check("a call that is given up ends in the downstream, and the others go on"):
        given_up = await operator.given_up("echo")
        # The downstream holds a call of `echo` until there are two of them. One that it still held after it was given up
        # would be paired with the first of the two that follow, and the second would wait in vain.
        async with anyio.create_task_group() as calls:
            calls.start_soon(session.client.call_tool, "awkward__echo", {"token": "given up", "together": 2})
            await session.call("awkward__numbers")
            calls.cancel_scope.cancel()
        await operator.waits_for_given_up("echo", given_up + 1)
        await session.call("awkward__numbers")
        answers: dict[str, object] = {}

        async def ask(token: str) -> None:
            answers[token] = await session.call("awkward__echo", token=token, together=2)

        async with anyio.create_task_group() as calls:
            for token in ("one", "other"):
                calls.start_soon(ask, token)
        same(answers, {token: {"token": token} for token in ("one", "other")}, "the answers")


async def check_answers(session: Session) -> None:
    async with session.check("integers of 64 bits stay exact"):
        largest = 2**63 - 1
        numbers = await session.call("awkward__numbers", value=largest)
        holds(2**53 + 1 in numbers.values(), f"no number that a double cannot hold is in {numbers}")
        holds(largest in numbers.values(), f"the number that was sent is not in {numbers}")

    async with session.check("a large answer arrives whole"):
        result = await session.client.call_tool("awkward__big_result", {"bytes": BYTES})
        same(text(result) == "x" * BYTES, True, "whether it is what was asked for")

    async with session.check("every tool of an odd name can be listed and called"):
        tools = await session.tools()
        odd = [name for name, tool in tools.items() if tool.description == "Answers with its own name."]
        answers = [text(await session.client.call_tool(name, {})) for name in odd]
        same(sorted(answers), sorted(ODD_NAMES), "the names answered")
        holds(all(len(name) <= 64 and name.isascii() for name in tools), f"a name is not for model APIs: {list(tools)}")

    async with session.check("an error of the tool comes with its own words"):
        message = "Nichts für ungut: \"no\"."
        same(await session.fails("awkward__fails", message=message), message, "the error")


async def check_way(weir: Weir, operator: Operator, era: str, way: Way, report: Report) -> None:
    where = f"{way}, {era} downstream"
    async with report.check(where, "connects and disconnects", WAY_SECONDS_MAX), way.connect(weir) as client:
        session = Session(client, where, report)
        await check_progress(session)
        await check_cancellation(session, operator)
        await check_answers(session)


async def check(weir: str, standins: str) -> int:
    report = Report()
    for era in ("legacy", "modern"):
        async with report.check(f"{era} downstream", "is served and ended", WAY_SECONDS_MAX * len(WAYS)):
            async with serving(weir, standins, era) as (served, operator):
                for way in WAYS:
                    await check_way(served, operator, era, way, report)
    return report.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Calls awkward tools through Weir with the official Python SDK.")
    parser.add_argument("--weir", required=True, help="the program")
    parser.add_argument("--standins", required=True, help="the program with the downstream")
    arguments = parser.parse_args()
    return anyio.run(check, arguments.weir, arguments.standins)


if __name__ == "__main__":
    sys.exit(main())
