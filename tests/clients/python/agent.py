"""A program with a tool loop of its own: the model's answers come from the Messages API, the tools from Weir over /v1.

It needs Python alone, and is what a program without any SDK has to do. `converse` runs one conversation to its end.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

# Longer than the longest deadline that Weir gives a call.
SECONDS_MAX = 60
TOOLS_TOGETHER = 16


@dataclass(frozen=True)
class Agent:
    """Where the model and the tools are, and what opens them."""

    messages_url: str
    messages_key: str
    weir_url: str
    weir_key: str
    model: str
    turns_max: int = 10

    def converse(self, question: str) -> str:
        """The model's last word."""
        tools = self.weir("/v1/tools?format=anthropic")[1]
        messages: list[dict[str, Any]] = [{"role": "user", "content": question}]
        for _ in range(self.turns_max):
            said = self.ask_model(messages, tools)
            messages.append({"role": "assistant", "content": said["content"]})
            calls = [block for block in said["content"] if block["type"] == "tool_use"]
            if said["stop_reason"] != "tool_use":
                return "".join(block["text"] for block in said["content"] if block["type"] == "text")
            # Calls of one turn may run side by side, and all their results belong into one message.
            with ThreadPoolExecutor(TOOLS_TOGETHER) as threads:
                messages.append({"role": "user", "content": list(threads.map(self.call_tool, calls))})
        raise RuntimeError(f"the model was not done after {self.turns_max} turns")

    def ask_model(self, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> dict[str, Any]:
        body = {"model": self.model, "max_tokens": 1024, "tools": tools, "messages": messages}
        headers = {"x-api-key": self.messages_key, "anthropic-version": "2023-06-01"}
        status, said = ask(f"{self.messages_url}/v1/messages", headers, body)
        if status != 200:
            raise RuntimeError(f"the Messages API answered {status}: {said}")
        return said

    def call_tool(self, call: dict[str, Any]) -> dict[str, Any]:
        """What a tool answered, or why there is no answer: both are for the model, which may mend its call."""
        status, told = self.weir("/v1/tools/call", {"name": call["name"], "arguments": call["input"]})
        if status == 200:
            text = "\n".join(block["text"] for block in told["result"]["content"] if block["type"] == "text")
            is_error = told["status"] == "error"
        else:
            text, is_error = told["detail"], True
        return {"type": "tool_result", "tool_use_id": call["id"], "content": text, "is_error": is_error}

    def weir(self, path: str, body: object = None) -> tuple[int, Any]:
        return ask(f"{self.weir_url}{path}", {"authorization": f"Bearer {self.weir_key}"}, body)


def ask(url: str, headers: dict[str, str], body: object = None) -> tuple[int, Any]:
    """Status and JSON of an answer, whatever the status is."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=SECONDS_MAX) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
