"""The official Python client on its way to a token, with a browser that has no window."""

from __future__ import annotations

import re
from html import unescape
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from mcp import Client
from mcp.client.auth import AuthorizationCodeResult, OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from ways import Weir

STEPS_MAX = 20


class Memory:
    """Where the client keeps what it got."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


async def browse(url: str, redirect: str) -> AuthorizationCodeResult:
    """Says yes to whatever a server asks, until it leads back to the client."""
    async with httpx2.AsyncClient() as http:
        answer = await http.get(url)
        for _ in range(STEPS_MAX):
            location = answer.headers.get("location")
            if location is not None:
                there = urljoin(str(answer.url), location)
                if there.startswith(redirect):
                    said = parse_qs(urlsplit(there).query)
                    return AuthorizationCodeResult(**{key: said[key][0] for key in ("code", "state", "iss") if key in said})
                answer = await http.get(there)
                continue
            form = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
            if form is None:
                raise AssertionError(f"no form at {answer.url}: {answer.status_code} {answer.text[:300]}")
            hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', answer.text)
            fields = {"login": "ann", "password": "any", **dict(hidden)}
            answer = await http.post(urljoin(str(answer.url), unescape(form[1])), data=fields)
    raise AssertionError("the way to the code has no end")


async def authorize_by_python(weir: Weir, redirect: str) -> list[str]:
    """The tools that are listed to a client that was given nothing but the address."""
    waiting: list[str] = []

    async def redirected(url: str) -> None:
        waiting.append(url)

    async def called_back() -> AuthorizationCodeResult:
        return await browse(waiting.pop(), redirect)

    metadata = OAuthClientMetadata.model_validate(
        {
            "client_name": "weir-clients",
            "redirect_uris": [redirect],
            "application_type": "native",
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
        }
    )
    provider = OAuthClientProvider(weir.endpoint, metadata, Memory(), redirected, called_back)
    async with (
        httpx2.AsyncClient(auth=provider, timeout=60) as http,
        Client(streamable_http_client(weir.endpoint, http_client=http)) as client,
    ):
        return [tool.name for tool in (await client.list_tools()).tools]
