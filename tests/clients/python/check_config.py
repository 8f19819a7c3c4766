"""Uses what `weir init` prints as its readers would: Claude Desktop starts the program that is named, with the arguments
and the environment that are named and hardly more; Claude Code and the Claude API connect to the address with the key.
Prints one line per check, and the count last.

    check_config.py --demo FILE --weir PATH --standins PATH --modules FOLDER
"""

from __future__ import annotations

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
from mcp import Client, StdioServerParameters

from by_driver import Driver, Node, drive
from by_sdk import SdkCaller
from callers import UNKNOWN_TOOL, Refused
from printed import YOUR_KEY, desktop_server, printed, with_values
from report import Report, holds, same
from running import running
from tools import UNKNOWN, check_list
from ways import LEGACY_VERSION, MODERN_VERSION, Weir

VERSIONS = (LEGACY_VERSION, MODERN_VERSION)
# The only tool of the config that `weir init` writes.
STARTER_TOOL = "crm__find_customers"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN_VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "lines", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
INITIALIZE = {"protocolVersion": LEGACY_VERSION, "capabilities": {}, "clientInfo": {"name": "lines", "version": "1"}}


@asynccontextmanager
async def python_client(server: dict[str, Any], version: str) -> AsyncGenerator[SdkCaller]:
    # Desktop starts programs in a folder of its own choosing.
    program = StdioServerParameters(command=server["command"], args=server["args"], env=server["env"], cwd="/")
    mode = "legacy" if version == LEGACY_VERSION else version
    async with Client(program, mode=mode) as client:
        yield SdkCaller(client)


@asynccontextmanager
async def both_clients(node: Node, server: dict[str, Any], version: str) -> AsyncGenerator[list[SdkCaller | Driver]]:
    target = {key: server[key] for key in ("command", "args", "env")}
    async with python_client(server, version) as python, drive(node, version, target) as typescript:
        yield [python, typescript]


class Printed:
    """Everything that is printed, used against one demo."""

    def __init__(self, weir: Weir, keys: dict[str, str], node: Node, report: Report) -> None:
        self.weir, self.keys, self.node, self.report = weir, keys, node, report

    async def all(self, standins: str) -> None:
        for version in VERSIONS:
            await self.check_bridge(version)
        await self.check_claude_code()
        await self.check_api()
        async with running(standins, "postgres") as postgres:
            crm_url = await postgres.line()
            for version in VERSIONS:
                await self.check_own_router(version, crm_url)
            await self.check_placeholders()

    async def check_bridge(self, version: str) -> None:
        """The form for a router that runs."""
        for role, key in self.keys.items():
            async with self.report.check(f"Desktop, --url, {version}, {role}", "the printed server lists the role's tools"):
                shown = await desktop_server(self.weir, "--url", self.weir.endpoint)
                same(shown["env"], {"WEIR_API_KEY": YOUR_KEY}, "what is to be filled in")
                server = with_values(shown, {"WEIR_API_KEY": key})
                async with both_clients(self.node, server, version) as clients:
                    for client in clients:
                        same(client.version, version, "the protocol version")
                        check_list([tool["name"] for tool in await client.tools()], role)
                await self.holds_protocol_alone(server, version)

    async def check_own_router(self, version: str, crm_url: str) -> None:
        """The config that is written, with nothing but the database's address filled in."""
        async with self.report.check(f"Desktop, --config, {version}", "the written config and the printed server answer"):
            with tempfile.TemporaryDirectory() as folder:
                server = with_values(await desktop_server(self.weir, "--dir", folder), {"CRM_URL": crm_url})
                async with both_clients(self.node, server, version) as clients:
                    for client in clients:
                        same(client.version, version, "the protocol version")
                        same([tool["name"] for tool in await client.tools()], [STARTER_TOOL], "the tools")
                        answer = await client.call(STARTER_TOOL, {"text": "öberg"})
                        holds(not answer.is_error and bool(answer.value["rows"]), f"this came back: {answer.text}")
                        wrong = await client.call(STARTER_TOOL, {"txt": "a"})
                        holds(wrong.is_error and "arguments" in wrong.text, f"wrong arguments got: {wrong.text}")
                        same(await refusal(client), f"{UNKNOWN_TOOL}{UNKNOWN}", "the refusal")
                await self.holds_protocol_alone(server, version)

    async def check_placeholders(self) -> None:
        async with self.report.check("Desktop, --config", "what was not filled in is told on standard error, and only there"):
            with tempfile.TemporaryDirectory() as folder:
                server = await desktop_server(self.weir, "--dir", folder)
                done = await anyio.run_process(
                    [server["command"], *server["args"]], env=server["env"], cwd="/", check=False, stdin=subprocess.DEVNULL
                )
                same((done.returncode, done.stdout), (3, b""), "exit code and standard output")
                holds(b"CRM_URL" in done.stderr, f"it told: {done.stderr.decode()}")

    async def check_claude_code(self) -> None:
        async with self.report.check("Claude Code", "address and header of the printed line work"):
            words = shlex.split(await printed(self.weir, "--claude-code", "--url", self.weir.endpoint))
            same(words[:6], ["claude", "mcp", "add", "--transport", "http", "weir"], "the command")
            url, option, header = words[6:]
            same((url, option), (self.weir.endpoint, "--header"), "the arguments")
            name, value = header.split(": ", 1)
            for role, key in self.keys.items():
                for version in VERSIONS:
                    target = {"url": url, "headers": {name: value.replace(YOUR_KEY, key)}}
                    async with drive(self.node, version, target) as client:
                        check_list([tool["name"] for tool in await client.tools()], role)

    async def check_api(self) -> None:
        async with self.report.check("Claude API", "address and token of the printed request work"):
            request = json.loads(await printed(self.weir, "--api", "--url", self.weir.endpoint))
            [server], [toolset] = request["mcp_servers"], request["tools"]
            same((server["type"], toolset["type"]), ("url", "mcp_toolset"), "the types")
            same(toolset["mcp_server_name"], server["name"], "the server of the toolset")
            token = server["authorization_token"].replace(YOUR_KEY, self.keys["support_agent"])
            target = {"url": server["url"], "headers": {"Authorization": f"Bearer {token}"}}
            async with drive(self.node, LEGACY_VERSION, target) as client:
                check_list([tool["name"] for tool in await client.tools()], "support_agent")

    async def holds_protocol_alone(self, server: dict[str, Any], version: str) -> None:
        """Whether every line on standard output is a message, the program ends with its input, and ends well."""
        requests = [{"method": "tools/list"}, {"method": "tools/call", "params": {"name": UNKNOWN, "arguments": {}}}]
        if version == LEGACY_VERSION:
            requests.insert(0, {"method": "initialize", "params": INITIALIZE})
        else:
            requests = [{**request, "params": {**request.get("params", {}), "_meta": META}} for request in requests]
        async with running(server["command"], *server["args"], env=server["env"], cwd="/") as program:
            for number, request in enumerate(requests):
                await program.write(json.dumps({"jsonrpc": "2.0", "id": number, **request}))
                answer = json.loads(await program.line())
                same((answer["jsonrpc"], answer["id"]), ("2.0", number), "the answer")
            same(await program.ended(), (0, b""), "exit code and what else was written")


async def refusal(client: SdkCaller | Driver) -> str:
    try:
        answer = await client.call(UNKNOWN, {})
    except Refused as refused:
        return str(refused)
    raise AssertionError(f"{UNKNOWN} was not refused but answered {answer.text}")


async def check(weir: Weir, keys: dict[str, str], node: Node, standins: str) -> int:
    report = Report()
    await Printed(weir, keys, node, report).all(standins)
    return report.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Uses what `weir init` prints as its readers would.")
    parser.add_argument("--demo", type=Path, required=True, help="file with the line that `weir demo --json` prints")
    parser.add_argument("--weir", required=True, help="the program")
    parser.add_argument("--standins", required=True, help="the program with the database")
    parser.add_argument("--modules", type=Path, required=True, help="the node_modules of tests/clients/node")
    arguments = parser.parse_args()
    ready = json.loads(arguments.demo.read_text())
    weir = Weir(arguments.weir, ready["endpoint"])
    return anyio.run(check, weir, ready["keys"], Node(arguments.modules.resolve()), arguments.standins)


if __name__ == "__main__":
    sys.exit(main())
