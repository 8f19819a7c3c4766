"""What `weir init` prints, as its readers copy it."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import anyio

from report import same
from ways import Weir

# Stands where only the reader can know what belongs there.
YOUR_KEY = "YOUR_KEY"


async def printed(weir: Weir, *words: str) -> str:
    """What `weir init` prints on standard output, which is all that is meant to be copied."""
    done = await anyio.run_process([weir.program, "init", *words], stdin=subprocess.DEVNULL)
    return done.stdout.decode()


async def desktop_server(weir: Weir, *words: str) -> dict[str, Any]:
    """The one server of the claude_desktop_config.json: command, args and env."""
    return json.loads(await printed(weir, "--claude-desktop", *words))["mcpServers"]["weir"]


def with_values(server: dict[str, Any], values: dict[str, str]) -> dict[str, Any]:
    """The server after its owner put in what only they know, and changed nothing else."""
    same(set(server["env"]), set(values), "what is to be filled in")
    return {**server, "env": values}
