// A real authorization server, oidc-provider, that lets everybody in who says a name: for clients that find their own way from
// Weir to a token. Its first line on standard output is its issuer.
//
//     node authorization_server.mjs '{"modules": FOLDER, "resource": URL, "scopes": "SCOPE …", "redirect": URL}'

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const how = JSON.parse(process.argv[2]);
const require = createRequire(`${how.modules}/`);
const { default: Provider } = await import(pathToFileURL(require.resolve("oidc-provider")));

// What the library says to people who would run it for others is no matter here.
console.info = console.warn = () => {};

const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const key = { ...privateKey.export({ format: "jwk" }), kid: "first", use: "sig", alg: "RS256" };
const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;

const publicClient = {
  token_endpoint_auth_method: "none",
  grant_types: ["authorization_code"],
  response_types: ["code"],
  application_type: "native",
};

const provider = new Provider(issuer, {
  jwks: { keys: [key] },
  cookies: { keys: [randomBytes(32).toString("hex")] },
  scopes: ["openid", ...how.scopes.split(" ")],
  clients: [{ ...publicClient, client_id: "preset", redirect_uris: [how.redirect] }],
  features: {
    devInteractions: { enabled: true },
    registration: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => how.resource,
      useGrantedResource: () => true,
      getResourceServerInfo(_ctx, resource) {
        if (resource !== how.resource) throw new Error(`nothing is known of ${resource}`);
        return { scope: how.scopes, audience: resource, accessTokenFormat: "jwt", jwt: { sign: { alg: "RS256" } } };
      },
    },
  },
  pkce: { required: () => true },
  ttl: { AccessToken: 600, AuthorizationCode: 60, Interaction: 60, Session: 600, Grant: 600, IdToken: 600, RefreshToken: 600 },
});
server.on("request", provider.callback());
process.stdout.write(`${issuer}\n`);
