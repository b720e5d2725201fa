// An OpenID provider for this machine, in place of Google or another: one client, and one user who signs in with a
// button. Like those it redirects only to the redirect URI that is registered, to the letter.
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { createServer } from "node:http";

import { Provider } from "oidc-provider";

const port = Number(process.env.PROVIDER_PORT ?? 9400);
const issuer = `http://localhost:${port}`;
const redirectUri = process.env.REDIRECT_URI ?? "https://flask-oidc.localhost:8443/callback";
const users = { ada: { name: "Ada Lovelace" } };

const escaped = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const page = (title, body) => `<!doctype html><html lang="en"><meta charset="utf-8"><title>${escaped(title)}</title>
<style>body { font: 16px/1.5 system-ui, sans-serif; max-width: 36rem; margin: 3rem auto; padding: 0 1rem; }</style>
<h1>${escaped(title)}</h1>${body}`;

const provider = new Provider(issuer, {
  clients: [{
    client_id: "flask-oidc",
    client_secret: process.env.CLIENT_SECRET ?? "a secret for this machine only",
    redirect_uris: [redirectUri],
  }],
  claims: { profile: ["name"] },
  cookies: { keys: [randomBytes(32).toString("hex")] },
  jwks: { keys: [generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" })] },
  ttl: { Session: 3600, Interaction: 3600, Grant: 3600, AccessToken: 600, IdToken: 600 },
  features: { devInteractions: { enabled: false } },
  pkce: { methods: ["S256"], required: () => true },
  findAccount: (_, id) => users[id] && { accountId: id, claims: () => ({ sub: id, ...users[id] }) },
  // Signing in is consent enough here.
  async loadExistingGrant({ oidc }) {
    const grant = new provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
    grant.addOIDCScope("openid profile");
    await grant.save();
    return grant;
  },
  renderError(context, { error, error_description: description }) {
    console.log(`provider: refused: ${error}: ${description}`);
    context.type = "html";
    context.body = page("Sign-in refused", `<p id="error">${escaped(error)}</p><p>${escaped(description)}</p>
<p>Asked to come back to <code id="asked">${escaped(context.query.redirect_uri)}</code><br>
Registered is <code id="registered">${escaped(redirectUri)}</code></p>`);
  },
});

async function interaction(request, response) {
  const { params } = await provider.interactionDetails(request, response);
  if (request.method === "POST")
    return provider.interactionFinished(request, response, { login: { accountId: "ada" } });
  response.setHeader("Content-Type", "text/html");
  response.end(page("Sign in", `<form method="post"><p>${escaped(params.client_id)} wants to know who you are.</p>
<button id="continue">Continue as ${escaped(users.ada.name)}</button></form>`));
}

const answer = provider.callback();
createServer((request, response) => {
  if (!request.url.startsWith("/interaction/")) return answer(request, response);
  interaction(request, response).catch((error) => {
    response.statusCode = 400;
    response.end(error.message);
  });
}).listen(port, "127.0.0.1", () => console.log(`provider: ${issuer} redirects to ${redirectUri} only`));
