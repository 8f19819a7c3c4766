// The official TypeScript client, which is given Weir's address and nothing else, and finds its way to a token: 401, metadata,
// registration, code with PKCE, token. A browser without a window says yes for its user. Standard output has one line of JSON.
//
//     node authorize.mjs '{"modules": FOLDER, "version": VERSION, "url": URL, "client": ID or null, "tools": [TOOL, …]}'

import { createRequire } from "node:module";

const how = JSON.parse(process.argv[2]);
const require = createRequire(`${how.modules}/`);
const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");

const LEGACY_VERSION = "2025-11-25";
const STEPS_MAX = 20;
const redirect = "http://127.0.0.1:9/callback";

// Every request that leaves, so that the way can be looked at.
const asked = [];
const noted = async (input, init) => {
  const response = await fetch(input, init);
  const url = new URL(input.url ?? input);
  asked.push({ method: init?.method ?? "GET", url: `${url.origin}${url.pathname}`, status: response.status });
  return response;
};

// Follows what a server says, cookies and forms included, until it leads back to the client.
async function browse(url) {
  const cookies = new Map();
  let request = { url, method: "GET", body: undefined };
  for (let step = 0; step < STEPS_MAX; step += 1) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { cookie, ...(request.body && { "content-type": "application/x-www-form-urlencoded" }) };
    const response = await fetch(request.url, { method: request.method, body: request.body, headers, redirect: "manual" });
    for (const set of response.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(set);
      cookies.set(name, value);
    }
    const location = response.headers.get("location");
    if (location) {
      const next = new URL(location, request.url);
      if (next.href.startsWith(redirect)) return next.searchParams;
      request = { url: next, method: "GET", body: undefined };
      continue;
    }
    const page = await response.text();
    const action = /<form[^>]*action="([^"]+)"/.exec(page);
    if (!action) throw new Error(`no form at ${request.url}: ${response.status} ${page.slice(0, 300)}`);
    const body = new URLSearchParams({ login: "ann", password: "any" });
    for (const [, name, value] of page.matchAll(/<input type="hidden" name="([^"]+)" value="([^"]*)"/g)) body.set(name, value);
    request = { url: new URL(action[1], request.url), method: "POST", body: body.toString() };
  }
  throw new Error("the way to the code has no end");
}

class Provider {
  authorizations = [];
  redirectUrl = redirect;
  clientMetadata = {
    client_name: "weir-clients",
    redirect_uris: [redirect],
    application_type: "native",
    token_endpoint_auth_method: "none",
    grant_types: ["authorization_code"],
    response_types: ["code"],
  };
  clientInformation() {
    return this.registered ?? (how.client ? { client_id: how.client } : undefined);
  }
  saveClientInformation(registered) {
    this.registered = registered;
  }
  tokens() {
    return this.held;
  }
  saveTokens(tokens) {
    this.held = tokens;
  }
  redirectToAuthorization(url) {
    this.authorizations.push(Object.fromEntries(url.searchParams));
    this.waiting = url;
  }
  saveCodeVerifier(verifier) {
    this.verifier = verifier;
  }
  codeVerifier() {
    return this.verifier;
  }
  saveDiscoveryState(state) {
    this.discovered = state;
  }
  discoveryState() {
    return this.discovered;
  }
}

const provider = new Provider();
const mode = how.version === LEGACY_VERSION ? "legacy" : { pin: how.version };
let client;
let transport;

async function connect() {
  client = new Client({ name: "weir-clients", version: "1" }, { versionNegotiation: { mode } });
  transport = new StreamableHTTPClientTransport(new URL(how.url), { authProvider: provider, fetch: noted });
  await client.connect(transport);
}

// Does something; where the client asks its user first, lets the user say yes and does it again.
async function authorized(act) {
  try {
    return await act();
  } catch (error) {
    if (!provider.waiting) throw error;
  }
  const answer = await browse(provider.waiting);
  provider.waiting = undefined;
  if (!answer.get("code")) throw new Error(`no code came back: ${answer}`);
  await transport.finishAuth(answer.get("code"), answer.get("iss") ?? undefined);
  return act();
}

await authorized(connect);
const listed = (await client.listTools()).tools.map((tool) => tool.name);
const called = [];
for (const tool of how.tools) {
  const result = await authorized(() => client.callTool({ name: tool.name, arguments: tool.arguments }));
  called.push({ name: tool.name, isError: result.isError ?? false });
}
const relisted = (await client.listTools()).tools.map((tool) => tool.name);
await client.close();
const { authorizations, held } = provider;
process.stdout.write(`${JSON.stringify({ listed, called, relisted, authorizations, scope: held.scope ?? null, asked })}\n`);
