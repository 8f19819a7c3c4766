"""The ways in which a client reaches the demo: over HTTP or by the stdio bridge, in the legacy or in the modern era."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx2
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

LEGACY_VERSION = "2025-11-25"
MODERN_VERSION = "2026-07-28"


@dataclass(frozen=True)
class Weir:
    """The program, and where it serves."""

    program: str
    endpoint: str


@dataclass(frozen=True)
class Way:
    """One way to connect."""

    transport: str
    version: str

    def __str__(self) -> str:
        return f"{self.transport} {self.version}"

    @property
    def mode(self) -> str:
        """What the SDK calls the era: the legacy one is negotiated by `initialize`, the modern one is named."""
        return "legacy" if self.version == LEGACY_VERSION else self.version

    @asynccontextmanager
    async def connect(self, weir: Weir, key: str | None = None) -> AsyncGenerator[Client]:
        """A client that is connected, under this key if there is one."""
        if self.transport == "http":
            headers = {} if key is None else {"Authorization": f"Bearer {key}"}
            async with (
                httpx2.AsyncClient(headers=headers, timeout=60) as http,
                Client(streamable_http_client(weir.endpoint, http_client=http), mode=self.mode) as client,
            ):
                yield client
        else:
            env = {} if key is None else {"WEIR_API_KEY": key}
            bridge = StdioServerParameters(command=weir.program, args=["stdio", "--url", weir.endpoint], env=env)
            async with Client(bridge, mode=self.mode) as client:
                yield client


WAYS = [Way(transport, version) for transport in ("http", "stdio") for version in (LEGACY_VERSION, MODERN_VERSION)]
