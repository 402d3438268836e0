// Writes the signed requests that common/tests/inbound.rs verifies, one file for each provider. Run by scripts/signatures.
//
// Stripe, GitHub and Standard Webhooks: signed by the provider's public library. Shopify and Slack publish no signer for
// webhooks: these are signed by the documented algorithm, and each must be accepted by the provider's public verifier.
import { createHmac } from "node:crypto";
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";

import { sign as signGithub } from "@octokit/webhooks-methods";
import "@shopify/shopify-api/adapters/node";
import { LogSeverity, shopifyApi } from "@shopify/shopify-api";
import { Webhook } from "standardwebhooks";
import Stripe from "stripe";

const require = createRequire(import.meta.url);
const { isValidSlackRequest } = require("@slack/bolt/dist/receivers/verify-request.js");

const [, , folder] = process.argv;
const NOW = 1764403200; // 2025-11-29T08:00:00Z
const WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

const { dependencies } = JSON.parse(readFileSync(`${folder}/package.json`, "utf8"));
const hmac = (secret, text, encoding) => createHmac("sha256", secret).update(text).digest(encoding);

function expect(condition, what) {
  if (!condition) throw new Error(`the provider's own library refuses ${what}`);
}

function write(scheme, library, how, requests) {
  const made = { scheme, library: `${library} ${dependencies[library]}`, how, requests };
  writeFileSync(`${folder}/${scheme}.json`, `${JSON.stringify(made, null, 2)}\n`);
}

function stripe() {
  const { webhooks } = new Stripe("sk_test_of_nobody");
  const header = (body, secret) =>
    webhooks.generateTestHeaderString({ payload: body, secret, timestamp: NOW });
  const paid = JSON.stringify(
    { id: "evt_1SYnPaid", object: "event", type: "invoice.paid", created: NOW - 3, data: { object: { total: 1999 } } },
    null,
    2,
  );
  const letters = JSON.stringify({ id: "evt_1SYnText", type: "customer.updated", created: NOW - 9, name: "Zoë 東京 \u{1f600}" });
  return [
    ["signed", "whsec_stripe_of_nobody_1", paid, "evt_1SYnPaid", "invoice.paid", NOW - 3],
    ["letters of any script", "whsec_stripe_of_nobody_2", letters, "evt_1SYnText", "customer.updated", NOW - 9],
  ].map(([name, secret, body, id, type, time]) => ({
    name, secret, now: NOW, headers: { "stripe-signature": header(body, secret) }, body, id, type, time,
  }));
}

async function github() {
  const requests = [];
  for (const [name, secret, event, body] of [
    ["signed", "a GitHub secret of nobody", "push", JSON.stringify({ ref: "refs/heads/main", commits: [] })],
    ["letters of any script", "Schlüssel für niemanden", "issues", JSON.stringify({ action: "opened", issue: { title: "Zoë 東京" } })],
  ]) {
    requests.push({
      name, secret, now: NOW,
      headers: {
        "x-github-event": event,
        "x-github-delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "x-hub-signature-256": await signGithub(secret, body),
      },
      body, id: "72d3162e-cc78-11e3-81ab-4c9367dc0958", type: event,
    });
  }
  return requests;
}

function standard() {
  const body = JSON.stringify({ type: "user.created", timestamp: "2025-11-29T07:59:58Z", data: { name: "Zoë 東京" } });
  const old = new Webhook("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX").sign("msg_2", new Date(NOW * 1000), body);
  return [
    ["signed", "msg_1", (signature) => signature],
    ["signed by two secrets", "msg_2", (signature) => `${old} ${signature}`],
  ].map(([name, id, header]) => ({
    name, secret: WHSEC, now: NOW,
    headers: {
      "webhook-id": id,
      "webhook-timestamp": String(NOW),
      "webhook-signature": header(new Webhook(WHSEC).sign(id, new Date(NOW * 1000), body)),
    },
    body, id, type: "user.created", time: NOW - 2,
  }));
}

async function shopify() {
  const secret = "shpss_of_nobody_0123456789";
  const body = JSON.stringify({ id: 820982911946154500, email: "zoë@example.com", total_price: "19.99" });
  const headers = {
    "x-shopify-topic": "orders/create",
    "x-shopify-hmac-sha256": hmac(secret, body, "base64"),
    "x-shopify-shop-domain": "nobody.myshopify.com",
    "x-shopify-api-version": "2026-01",
    "x-shopify-webhook-id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
    "x-shopify-triggered-at": "2025-11-29T07:59:59.123456789Z",
  };
  const api = shopifyApi({
    apiKey: "nobody", apiSecretKey: secret, apiVersion: "2026-01", isEmbeddedApp: true, hostName: "app.example.com",
    logger: { level: LogSeverity.Error },
  });
  const { valid } = await api.webhooks.validate({ rawBody: body, rawRequest: { method: "POST", url: "/", headers } });
  expect(valid, "the request of shopify");
  return [{
    name: "signed", secret, now: NOW, headers, body,
    id: "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", type: "orders/create", time: NOW - 1,
  }];
}

function slack() {
  const secret = "0123456789abcdef0123456789abcdef";
  const request = (name, body, facts) => {
    const headers = {
      "x-slack-request-timestamp": String(NOW),
      "x-slack-signature": `v0=${hmac(secret, `v0:${NOW}:${body}`, "hex")}`,
    };
    const given = { "x-slack-signature": headers["x-slack-signature"], "x-slack-request-timestamp": NOW };
    const accepted = isValidSlackRequest({ signingSecret: secret, body, headers: given, nowMilliseconds: NOW * 1000 });
    expect(accepted, `the request of slack: ${name}`);
    return { name, secret, now: NOW, headers, body, ...facts };
  };
  const mention = JSON.stringify({
    type: "event_callback", event_id: "Ev08MFMKH6", event_time: NOW - 1, event: { type: "app_mention", text: "Zoë 東京" },
  });
  const challenge = JSON.stringify({ token: "x", challenge: "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P", type: "url_verification" });
  return [
    request("signed", mention, { id: "Ev08MFMKH6", type: "app_mention", time: NOW - 1 }),
    request("url_verification", challenge, { challenge: "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P" }),
  ];
}

const LIBRARY = "signed by the library";
const ALGORITHM = "signed by the documented algorithm, accepted by the library";
write("stripe", "stripe", LIBRARY, stripe());
write("github", "@octokit/webhooks-methods", LIBRARY, await github());
write("standard", "standardwebhooks", LIBRARY, standard());
write("shopify", "@shopify/shopify-api", ALGORITHM, await shopify());
write("slack", "@slack/bolt", ALGORITHM, slack());
