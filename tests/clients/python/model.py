"""Stands in for the model behind the Messages API: says what it was told to say, and is as strict as the API about what it
is sent.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

KEY = "a key of nobody"
TOOL_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
TOOL_MEMBERS = {"name", "description", "input_schema"}


class Mistake(Exception):
    """The API would refuse this."""


class Model:
    """Uses these tools in its first turn, all at once, and ends in its second."""

    def __init__(self, uses: list[tuple[str, dict[str, Any]]], last_word: str) -> None:
        self.uses = [{"type": "tool_use", "id": f"toolu_{i:02}", "name": n, "input": a} for i, (n, a) in enumerate(uses)]
        self.last_word = last_word
        # What it was given: the tools, and the results in the order of the uses.
        self.tools: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        check_tools(request["tools"])
        self.tools = request["tools"]
        match request["messages"]:
            case [{"role": "user"}]:
                text = {"type": "text", "text": "Let me look."}
                return message([text, *self.uses], "tool_use")
            case [{"role": "user"}, {"role": "assistant", "content": [_, *uses]}, {"role": "user", "content": results}]:
                if uses != self.uses:
                    raise Mistake("the assistant's own message came back changed")
                self.results = check_results(results, [use["id"] for use in uses])
                return message([{"type": "text", "text": self.last_word}], "end_turn")
            case messages:
                raise Mistake(f"messages: {len(messages)} of them do not alternate as they should")


def message(content: list[dict[str, Any]], stop_reason: str) -> dict[str, Any]:
    return {
        "id": "msg_01",
        "type": "message",
        "role": "assistant",
        "model": "stand-in",
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }


def check_tools(tools: list[dict[str, Any]]) -> None:
    names = [tool["name"] for tool in tools]
    if len(set(names)) != len(names):
        raise Mistake("tools: names must be unique")
    for tool in tools:
        if not TOOL_NAME.match(tool["name"]):
            raise Mistake(f"tools.{tool['name']}.name: does not match {TOOL_NAME.pattern}")
        if set(tool) - TOOL_MEMBERS:
            raise Mistake(f"tools.{tool['name']}: {sorted(set(tool) - TOOL_MEMBERS)} are not permitted")
        schema = tool["input_schema"]
        if schema.get("type") != "object" or {"oneOf", "anyOf", "allOf"} & set(schema):
            raise Mistake(f"tools.{tool['name']}.input_schema: must be an object schema without alternatives at its top")


def check_results(results: list[dict[str, Any]], ids: list[str]) -> list[dict[str, Any]]:
    by_id = {result["tool_use_id"]: result for result in results if result["type"] == "tool_result"}
    if len(results) != len(ids) or set(by_id) != set(ids):
        raise Mistake("messages.2: each tool_use must have one tool_result in the next message")
    return [by_id[id] for id in ids]


@contextmanager
def serving(model: Model) -> Generator[str]:
    """The address under which the model answers."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            try:
                if self.path != "/v1/messages" or self.headers["x-api-key"] != KEY:
                    raise Mistake(f"{self.path} or its key are wrong")
                if self.headers["anthropic-version"] is None:
                    raise Mistake("anthropic-version: header is required")
                self.respond(200, model.answer(json.loads(body)))
            except (Mistake, KeyError) as mistake:
                error = {"type": "invalid_request_error", "message": str(mistake)}
                self.respond(400, {"type": "error", "error": error})

        def respond(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
