"""One line per check, and the count at the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
from mcp.shared.exceptions import MCPError

CHECK_SECONDS_MAX = 30


class Report:
    """Counts what passed and what failed; a check that fails does not stop the others."""

    def __init__(self) -> None:
        self.passed = 0
        self.failed = 0

    @asynccontextmanager
    async def check(self, where: str, what: str, seconds_max: int = CHECK_SECONDS_MAX) -> AsyncGenerator[None]:
        """Runs one check under its deadline: it passed if its block ends, and failed if the block raises."""
        try:
            with anyio.fail_after(seconds_max):
                yield
        except Exception as problem:  # whatever a client or a server raises is this check's failure
            self.failed += 1
            print(f"FAIL {where}: {what} (within {seconds_max} s): {explain(problem)}", flush=True)
        else:
            self.passed += 1
            print(f"ok   {where}: {what}", flush=True)

    def close(self) -> int:
        """Prints the count; the exit code is 0 only if something was checked and nothing failed."""
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
        return 0 if self.passed and not self.failed else 1


def explain(problem: BaseException) -> str:
    """What went wrong, without the wrapping of task groups."""
    while isinstance(problem, BaseExceptionGroup) and len(problem.exceptions) == 1:
        problem = problem.exceptions[0]
    if isinstance(problem, MCPError):
        return f"error {problem.code}: {problem.message}"
    return f"{type(problem).__name__}: {problem}" if str(problem) else type(problem).__name__


def same(got: object, wanted: object, what: str) -> None:
    """Fails with both values, which a bare assert would not show."""
    if got != wanted:
        raise AssertionError(f"{what} is {shorten(got)}, not {shorten(wanted)}")


def holds(condition: bool, otherwise: str) -> None:
    """Fails with the sentence that says what was seen instead."""
    if not condition:
        raise AssertionError(otherwise)


def shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:300]}…"
