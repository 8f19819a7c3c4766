// What run.sh needs besides the suite: `ports N`, `ready URL`, `explain FOLDER ENTRY...`.
import { readFileSync, readdirSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

const READY_WITHIN_MS = 20_000;
const DETAILS_LENGTH_MAX = 1500;

const [word, ...rest] = process.argv.slice(2);
await { ports, ready, explain }[word](...rest);

/** Prints free ports. They are held until all are known, so that no two are the same. */
async function ports(count) {
  const servers = await Promise.all(Array.from({ length: Number(count) }, listen));
  console.log(servers.map((server) => server.address().port).join(" "));
  for (const server of servers) server.close();
}

function listen() {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve(server));
  });
}

/** Waits until the endpoint lists the fixture's tools: the list reaches the router in the background. */
async function ready(url) {
  const until = Date.now() + READY_WITHIN_MS;
  let seen = "no answer";
  while (Date.now() < until) {
    seen = await toolsList(url).catch((error) => String(error.cause ?? error));
    if (seen.includes("test_simple_text")) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  console.error(`${url} does not list the fixture's tools after ${READY_WITHIN_MS / 1000} s: ${seen.slice(0, 500)}`);
  process.exit(1);
}

async function toolsList(url) {
  const version = "2026-07-28";
  const meta = { "io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {} };
  const response = await fetch(url, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Accept: "application/json, text/event-stream",
      "MCP-Protocol-Version": version,
      "Mcp-Method": "tools/list",
    },
    body: JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/list", params: { _meta: meta } }),
    signal: AbortSignal.timeout(2000),
  });
  return `${response.status} ${await response.text()}`;
}

/** Prints what the suite saw in the checks that failed, of the scenarios that the entries name. */
function explain(folder, ...entries) {
  const scenarios = new Set(entries.map((entry) => entry.split(":")[0]));
  for (const name of readdirSync(folder).sort()) {
    const scenario = name.replace(/^server-/, "").replace(/-\d{4}-\d{2}-\d{2}T.*$/, "");
    if (!scenarios.has(scenario)) continue;
    const checks = JSON.parse(readFileSync(join(folder, name, "checks.json"), "utf8"));
    for (const check of checks.filter(({ status }) => status === "FAILURE" || status === "WARNING")) {
      console.log(`\n    ${scenario}:${check.id} (${check.status}) ${check.description}`);
      console.log(`    ${check.errorMessage ?? "no reason given"}`);
      console.log(`    ${(JSON.stringify(check.details) ?? "").slice(0, DETAILS_LENGTH_MAX)}`);
    }
  }
}
