"""Programs that are started for a while."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

LINE_BYTES_MAX = 16 * 1024 * 1024
LINE_SECONDS_MAX = 30
END_SECONDS_MAX = 10


@dataclass(frozen=True)
class Program:
    """A program that runs. What it writes to standard error is shown where it is looked for."""

    process: Process
    lines: BufferedByteReceiveStream

    async def line(self) -> str:
        """The next line of standard output."""
        with anyio.fail_after(LINE_SECONDS_MAX):
            return (await self.lines.receive_until(b"\n", LINE_BYTES_MAX)).decode()

    async def write(self, line: str) -> None:
        await self.process.stdin.send(f"{line}\n".encode())

    async def ended(self) -> tuple[int, bytes]:
        """Ends its input and waits for its end: the exit code, and what was left of its standard output."""
        with anyio.fail_after(END_SECONDS_MAX):
            await self.process.stdin.aclose()
            rest = b"".join([chunk async for chunk in self.lines])
            return await self.process.wait(), rest


@asynccontextmanager
async def running(*command: str, env: dict[str, str] | None = None, cwd: str | None = None) -> AsyncGenerator[Program]:
    """A program that is asked to end with the block, and then has to."""
    async with await anyio.open_process(command, env=env, cwd=cwd, stdin=subprocess.PIPE, stderr=None) as process:
        try:
            yield Program(process, BufferedByteReceiveStream(process.stdout))
        finally:
            with anyio.CancelScope(shield=True):
                if process.returncode is None:
                    process.terminate()
                with anyio.move_on_after(END_SECONDS_MAX):
                    await process.wait()
                if process.returncode is None:
                    process.kill()
