// An OpenID provider for the tests of shares: one client with PKCE, and users who sign in with a button each.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";

import { Provider } from "oidc-provider";

const port = Number(process.env.PROVIDER_PORT);
const users = {
  ann: { email: "ann@example.com", email_verified: true },
  eve: { email: "eve@evil.example", email_verified: true },
  bob: { email: "bob@example.com", email_verified: false },
};

const provider = new Provider(`http://localhost:${port}`, {
  clients: [{
    client_id: "lintel-share",
    client_secret: "a secret: with + and %",
    redirect_uris: [process.env.REDIRECT_URI],
  }],
  claims: { email: ["email", "email_verified"] },
  cookies: { keys: [randomBytes(32).toString("hex")] },
  jwks: { keys: [generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" })] },
  ttl: { Session: 3600, Interaction: 3600, Grant: 3600, AccessToken: 600, IdToken: 600 },
  features: { devInteractions: { enabled: false } },
  // The address in the ID token, or only in what the userinfo endpoint says.
  conformIdTokenClaims: process.env.ADDRESS_IN !== "token",
  pkce: { methods: ["S256"], required: () => true },
  findAccount: (_, id) => users[id] && { accountId: id, claims: () => ({ sub: id, ...users[id] }) },
  async loadExistingGrant({ oidc }) {
    const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope("openid email");
    await grant.save();
    return grant;
  },
  renderError(context, { error, error_description: description }) {
    console.log(`provider: refused: ${error}: ${description}`);
    context.body = `refused: ${error}: ${description}`;
  },
});

async function interaction(request, response) {
  if (request.method === "POST") {
    let form = "";
    for await (const piece of request) form += piece;
    const accountId = new URLSearchParams(form).get("user");
    return provider.interactionFinished(request, response, { login: { accountId } });
  }
  await provider.interactionDetails(request, response);
  response.setHeader("Content-Type", "text/html");
  response.end("<!doctype html><title>Sign in</title><form method=\"post\">" +
    Object.keys(users).map((name) => `<button id="${name}" name="user" value="${name}">${name}</button>`).join("") + "</form>");
}

const answer = provider.callback();
createServer((request, response) => {
  if (!request.url.startsWith("/interaction/")) return answer(request, response);
  interaction(request, response).catch((error) => {
    response.statusCode = 400;
    response.end(error.message);
  });
}).listen(port, "127.0.0.1", () => console.log("provider: ready"));
