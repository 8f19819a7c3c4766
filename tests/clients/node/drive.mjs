// The official TypeScript client, driven by lines of JSON: the first argument says how to connect, standard input what to
// ask, and standard output answers. Requests run side by side; the end of the input closes the client.
//
//     node drive.mjs '{"modules": FOLDER, "version": VERSION, "url": URL, "headers": {…}}'
//     node drive.mjs '{"modules": FOLDER, "version": VERSION, "command": PROGRAM, "args": […], "env": {…}}'

import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const how = JSON.parse(process.argv[2]);
const require = createRequire(`${how.modules}/`);
const { Client, StreamableHTTPClientTransport } = require("@modelcontextprotocol/client");
const { StdioClientTransport } = require("@modelcontextprotocol/client/stdio");

// Left to itself this client stays in the legacy era.
const LEGACY_VERSION = "2025-11-25";

function say(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function transport() {
  if (how.url) return new StreamableHTTPClientTransport(new URL(how.url), { requestInit: { headers: how.headers } });
  return new StdioClientTransport({ command: how.command, args: how.args, env: how.env, stderr: "ignore" });
}

async function answer({ id, method, params }) {
  try {
    const result = method === "tools/list" ? await client.listTools(params) : await client.callTool(params);
    say({ id, result });
  } catch (error) {
    say({ id, error: { code: error.code ?? null, message: error.message } });
  }
}

const mode = how.version === LEGACY_VERSION ? "legacy" : { pin: how.version };
const client = new Client({ name: "weir-clients", version: "1" }, { versionNegotiation: { mode } });
// What reaches nobody's request, such as a line on a server's standard output that is no message.
client.onerror = (error) => say({ problem: String(error) });
await client.connect(transport());
say({ version: client.getNegotiatedProtocolVersion(), server: client.getServerVersion()?.name });

const running = [];
for await (const line of createInterface({ input: process.stdin })) running.push(answer(JSON.parse(line)));
await Promise.all(running);
await client.close();
