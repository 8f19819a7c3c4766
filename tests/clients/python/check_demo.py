"""Looks closely at the answers of a running demo through the official Python SDK: over HTTP and by the stdio bridge, in both
eras, in both roles. Prints one line per check, and the count last.

    check_demo.py --demo FILE --weir PATH      FILE holds the line that `weir demo --json` prints when it is ready
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import anyio
import httpx2
from mcp import Client
from mcp.shared.exceptions import MCPError

import customers
import enrichment
from report import Report, holds, same
from session import UNKNOWN_TOOL, Session
from tools import RUN_FIRST, TOOLS, check_list as check_names
from ways import MODERN_VERSION, WAYS, Way, Weir

NONSENSE = ["crm__no_such_tool", "nowhere__get_customer", "CRM__get_customer", "crm__get_customer.", "get_customer", "ünïcode", " "]
TOGETHER = 20
ROLE_SECONDS_MAX = 300


async def check_list(session: Session, way: Way, role: str) -> None:
    async with session.check(f"speaks {way.version}, and names itself"):
        same(session.client.protocol_version, way.version, "the protocol version")
        # In the modern era the name comes with results, and this client has asked for nothing yet.
        info = session.client.server_info
        holds(way.version == MODERN_VERSION or (info is not None and info.name == "weir"), f"the server is {info}")

    async with session.check("lists exactly the tools of the role, each with description and schema"):
        tools = await session.tools()
        check_names(list(tools), role)
        same(list(tools), list(await session.tools()), "the order of a second list")
        for name, tool in tools.items():
            holds(bool(tool.description), f"{name} has no description")
            same(tool.input_schema.get("type"), "object", f"the schema of {name}")


async def check_refusals(session: Session) -> None:
    async with session.check("what the role may not use is refused in the words for what does not exist"):
        before = await customers.customer(session, customers.CUSTOMER)
        unknown = await session.refusal("crm__no_such_tool")
        same(unknown[:2], (UNKNOWN_TOOL, "Unknown tool: "), "the refusal of an unknown tool")
        for tool in TOOLS:
            if tool.admin:
                same(await session.refusal(tool.name, **tool.filled(RUN_FIRST)), unknown, f"the refusal of {tool.name}")
        for name in NONSENSE:
            same(await session.refusal(name), unknown, f"the refusal of {name!r}")
        same(await customers.customer(session, customers.CUSTOMER), before, "the customer after the refusals")


async def check_together(session: Session) -> None:
    async with session.check(f"{TOGETHER} calls at once get each its own answer, and one that is given up harms none"):
        wanted = [f"C-{number:05}" for number in range(100, 100 + TOGETHER)]
        found: dict[str, str] = {}

        async def ask(customer_id: str) -> None:
            found[customer_id] = (await customers.customer(session, customer_id))["id"]

        async with anyio.create_task_group() as calls, anyio.create_task_group() as given_up:
            for customer_id in wanted:
                calls.start_soon(ask, customer_id)
            given_up.start_soon(session.client.call_tool, "enrich__get_customer_history", {"customer_id": "C-00001"})
            await anyio.lowlevel.checkpoint()
            given_up.cancel_scope.cancel()
        same(found, {customer_id: customer_id for customer_id in wanted}, "the answers")
        await customers.customer(session, customers.CUSTOMER)


async def check_cache(session: Session) -> None:
    async with session.check("a cached tool that is asked twice answers the same out of the cache, and says so"):
        asked = [await session.client.call_tool("crm__get_customer", {"customer_id": "C-00077"}) for _ in range(2)]
        same(asked[1].structured_content, asked[0].structured_content, "the second answer")
        mark = (asked[1].meta or {}).get("weir/cache", {})
        same(mark.get("state"), "fresh", "the state of the second answer")
        holds(mark["age_ms"] >= 0 and "T" in mark["fetched_at"], f"the mark is {mark}")


async def check_operation(session: Session) -> None:
    async with session.check("what became of a write can be asked for by the id in its answer"):
        written = await session.client.call_tool("tickets__add_comment", {"id": "SUP-3", "text": "Whoever wrote this asks"})
        operation_id = (written.meta or {})["weir/operation_id"]
        told = await session.call("weir__operation_status", operation_id=operation_id)
        same((told["state"], told["tool"]), ("done", "tickets__add_comment"), "what is told")


async def check_wrong_keys(weir: Weir, way: Way, report: Report) -> None:
    async with report.check(str(way), "a wrong key gets nothing"):
        listed = None
        try:
            async with way.connect(weir, "weir_wrong") as client:
                listed = await client.list_tools()
        except* (MCPError, httpx2.HTTPError):
            pass
        same(listed, None, "the list")


async def check_way(weir: Weir, keys: dict[str, str], way: Way, number: int, report: Report) -> None:
    async def as_role(role: str, client: Client) -> None:
        session = Session(client, f"{way}, {role}", report)
        await check_list(session, way, role)
        await customers.check_reads(session)
        await enrichment.check_reads(session)
        await check_together(session)
        await check_cache(session)
        await check_operation(session)
        if role == "support_agent":
            await check_refusals(session)
        else:
            await customers.check_writes(session, number)
            await enrichment.check_write(session)

    for role, key in keys.items():
        async with report.check(f"{way}, {role}", "connects and disconnects", ROLE_SECONDS_MAX):
            async with way.connect(weir, key) as client:
                await as_role(role, client)
    await check_wrong_keys(weir, way, report)


async def check(weir: Weir, keys: dict[str, str]) -> int:
    report = Report()
    for number, way in enumerate(WAYS):
        await check_way(weir, keys, way, number, report)
    return report.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Looks closely at the answers of a running demo.")
    parser.add_argument("--demo", type=Path, required=True, help="file with the line that `weir demo --json` prints")
    parser.add_argument("--weir", required=True, help="the program, for the stdio bridge")
    arguments = parser.parse_args()
    ready = json.loads(arguments.demo.read_text())
    return anyio.run(check, Weir(arguments.weir, ready["endpoint"]), ready["keys"])


if __name__ == "__main__":
    sys.exit(main())
