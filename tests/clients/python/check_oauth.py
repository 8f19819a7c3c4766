"""Gives the official TypeScript client the address of a Weir that wants access tokens, and nothing else: it finds the
authorization server, which is a real one (oidc-provider), by 401 and metadata, registers or uses the client id it has, gets
a code with PKCE and a token for this resource, and asks for more scopes when a tool needs them. The official Python client
goes the same way. Prints one line per check, and the count last.

    check_oauth.py --weir PATH --standins PATH --modules FOLDER
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2

from by_driver import Node
from by_python import authorize_by_python
from check_awkward import START_SECONDS_MAX, TOKEN, Operator, free_ports
from report import Report, holds, same
from running import running
from ways import LEGACY_VERSION, MODERN_VERSION, Weir

PROGRAMS = Path(__file__).parent.parent / "node"
WAY_SECONDS_MAX = 90
REDIRECT = "http://127.0.0.1:9/callback"
READ, WRITE = "enrich.read", "enrich.write"
READING = {"enrich__get_merchant", "enrich__get_customer_history"}
WRITING = "enrich__log_transaction_enrichment"
WRITE_CALL = {"name": WRITING, "arguments": {"transaction_id": "T-0000042", "category": "groceries", "note": "by a token"}}
READ_CALL = {"name": "enrich__get_merchant", "arguments": {"merchant_id": "M-0007"}}
CONFIG = """
server: {{ listen: 127.0.0.1:{listen}, admin: 127.0.0.1:{admin}, public_url: "http://127.0.0.1:{listen}", grace: 0s }}
identity:
  jwt:
    - issuer: {issuer}
      scopes: {{ {read}: [reader], {write}: [writer] }}
      step_up: [{write}]
policy:
  roles:
    reader: {{ allow: ["enrich__get_*"] }}
    writer: {{ allow: ["enrich__log_*"] }}
downstreams:
  enrich:
    mcp: {{ websocket: {{ url: "{url}" }} }}
    effects: [ {{ match: "get_*", effect: read }} ]
log: {{ level: error }}
"""


@asynccontextmanager
async def serving(weir: str, standins: str, node: Node) -> AsyncGenerator[Weir]:
    """Weir behind an authorization server of its own, when both are ready."""
    listen, admin = free_ports()
    endpoint = f"http://127.0.0.1:{listen}/mcp"
    how = {"modules": str(node.modules.resolve()), "resource": endpoint, "scopes": f"{READ} {WRITE}", "redirect": REDIRECT}
    async with (
        running(node.program, str(PROGRAMS / "authorization_server.mjs"), json.dumps(how)) as server,
        running(standins, "mcp", "--websocket", "127.0.0.1:0", env={"RUST_LOG": "error"}) as downstream,
    ):
        issuer, url = await server.line(), await downstream.line()
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder, "weir.yaml")
            config.write_text(CONFIG.format(listen=listen, admin=admin, issuer=issuer, url=url, read=READ, write=WRITE))
            async with (
                running(weir, "serve", "--config", str(config), env={"WEIR_ADMIN_TOKEN": TOKEN}),
                httpx2.AsyncClient(base_url=f"http://127.0.0.1:{admin}") as http,
            ):
                operator = Operator(http)
                with anyio.fail_after(START_SECONDS_MAX):
                    while not await operator.is_ready():
                        await anyio.sleep(0.05)
                yield Weir(weir, endpoint)


async def authorize(node: Node, weir: Weir, version: str, client: str | None, tools: list[dict[str, Any]]) -> dict[str, Any]:
    """What the client saw and did on its way."""
    how = {"modules": str(node.modules.resolve()), "version": version, "url": weir.endpoint, "client": client, "tools": tools}
    async with running(node.program, str(PROGRAMS / "authorize.mjs"), json.dumps(how)) as program:
        return json.loads(await program.line())


def check_way(way: dict[str, Any], weir: Weir, registers: bool) -> None:
    """The steps that the specification asks of a client and of Weir, in their order."""
    origin = weir.endpoint.removesuffix("/mcp")
    holds((way["asked"][0]["url"], way["asked"][0]["status"]) == (weir.endpoint, 401), f"it began with {way['asked'][0]}")
    metadata = f"{origin}/.well-known/oauth-protected-resource/mcp"
    same([seen["status"] for seen in way["asked"] if seen["url"] == metadata][:1], [200], "the metadata of the resource")
    asked = [seen["url"] for seen in way["asked"]]
    holds(any("/.well-known/oauth-authorization-server" in url for url in asked), f"no discovery among {asked}")
    same(any(url.endswith("/reg") for url in asked), registers, "whether it registered")
    first = way["authorizations"][0]
    same((first["resource"], first["code_challenge_method"], first["scope"]), (weir.endpoint, "S256", READ), "what it asked for")


async def check_typescript(report: Report, node: Node, weir: Weir, version: str) -> None:
    where = f"TypeScript {version}"
    async with report.check(where, "from 401 to a list by registration", WAY_SECONDS_MAX):
        way = await authorize(node, weir, version, None, [READ_CALL])
        check_way(way, weir, registers=True)
        holds(set(way["listed"]) >= READING and WRITING not in way["listed"], f"it lists {way['listed']}")
        same(way["called"], [{"name": READ_CALL["name"], "isError": False}], "its call")
        same(len(way["authorizations"]), 1, "the times its user was asked")
    async with report.check(where, "with a client id of its own, and more scopes for a tool that needs them", WAY_SECONDS_MAX):
        way = await authorize(node, weir, version, "preset", [READ_CALL, WRITE_CALL])
        check_way(way, weir, registers=False)
        same(way["called"], [{"name": call["name"], "isError": False} for call in (READ_CALL, WRITE_CALL)], "its calls")
        holds(any((seen["url"], seen["status"]) == (weir.endpoint, 403) for seen in way["asked"]), "no 403 came")
        same(len(way["authorizations"]), 2, "the times its user was asked")
        same(set(way["authorizations"][1]["scope"].split()), {READ, WRITE}, "the scopes that it asked for then")
        holds(WRITING in way["relisted"], f"it lists {way['relisted']}")


async def main(weir: str, standins: str, node: Node) -> int:
    report = Report()
    async with serving(weir, standins, node) as served:
        for version in (LEGACY_VERSION, MODERN_VERSION):
            await check_typescript(report, node, served, version)
        async with report.check("Python", "from 401 to a list by registration", WAY_SECONDS_MAX):
            listed = await authorize_by_python(served, REDIRECT)
            holds(set(listed) >= READING and WRITING not in listed, f"it lists {listed}")
    return report.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weir", required=True)
    parser.add_argument("--standins", required=True)
    parser.add_argument("--modules", required=True, type=Path)
    arguments = parser.parse_args()
    sys.exit(anyio.run(main, arguments.weir, arguments.standins, Node(arguments.modules)))
