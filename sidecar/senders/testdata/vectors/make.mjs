// Prints requests that the vendors' own libraries have signed, or have accepted
// where a library only verifies, for senders_test.go. Every value is fixed, so
// that a second run prints the same:
//
//   npm ci && npm run vectors
import { createHmac, createPrivateKey, sign as edSign } from "node:crypto";
import { createRequire } from "node:module";
import "@shopify/shopify-api/adapters/node";
import { shopifyApi, ApiVersion } from "@shopify/shopify-api";
import * as octokit from "@octokit/webhooks-methods";
import bolt from "@slack/bolt";
import { CloudEvent, HTTP } from "cloudevents";
import discord from "discord-interactions";
import { Webhook as StandardWebhook } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as SvixWebhook } from "svix";
import twilio from "twilio";

const require = createRequire(import.meta.url);
const { verifySlackRequest } = require("@slack/bolt/dist/receivers/verify-request.js");
const { getExpectedTwilioSignature, getExpectedBodyHash } = require("twilio/lib/webhooks/webhooks.js");
const locked = require("./package-lock.json").packages;
const by = (name, how) => `${name}@${locked[`node_modules/${name}`].version} ${how}`;

const now = 1793613600; // 2026-11-02T10:00:00Z
const vectors = [];

// add keeps one request. identity is what Sluice must read from it.
function add(name, origin, sender, secret, request, identity = {}) {
  vectors.push({
    name, origin, sender, secret, now: request.now ?? now,
    method: request.method ?? "POST", url: request.url ?? "https://hooks.example.com/in",
    headers: request.headers, body: request.body,
    signature: request.signature ?? "", timestamp: request.timestamp ?? "",
    delivery_id: "", event: "", sync: false, retry: false, ...identity,
  });
}

function must(ok, what) {
  if (!ok) throw new Error(`${what}: its own library rejects it`);
}

// GitHub: the example of its documentation, and one of Octokit.
add("github documentation", "docs.github.com, validating webhook deliveries", "github", "It's a Secret to Everybody", {
  headers: { "X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17" },
  body: "Hello, World!", signature: "X-Hub-Signature-256",
});
{
  const body = JSON.stringify({ action: "opened", number: 7, repository: { full_name: "octo/hello" }, title: "smörgåsbord ✓" });
  add("github push", by("@octokit/webhooks-methods", "sign"), "github", "octo secret", {
    headers: {
      "Content-Type": "application/json",
      "X-GitHub-Event": "pull_request",
      "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
      "X-Hub-Signature-256": await octokit.sign("octo secret", body),
    },
    body, signature: "X-Hub-Signature-256",
  }, { delivery_id: "72d3162e-cc78-11e3-81ab-4c9367dc0958", event: "pull_request" });
}

// Slack: the example of its documentation, and requests that Bolt accepts.
function slack(name, secret, body, type, at, identity, more = {}) {
  const signature = "v0=" + createHmac("sha256", secret).update(`v0:${at}:${body}`).digest("hex");
  const headers = { "x-slack-signature": signature, "x-slack-request-timestamp": at };
  verifySlackRequest({ signingSecret: secret, body, headers, nowMilliseconds: at * 1000 });
  add(name, by("@slack/bolt", "verifySlackRequest accepts"), "slack", secret, {
    now: at,
    headers: { "Content-Type": type, "X-Slack-Signature": signature, "X-Slack-Request-Timestamp": String(at), ...more },
    body, signature: "X-Slack-Signature", timestamp: "X-Slack-Request-Timestamp",
  }, identity);
}
const form = "application/x-www-form-urlencoded";
slack("slack documentation", "8f742231b10e8888abcd99yyyzzz85a5",
  "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c",
  form, 1531420618,
  { delivery_id: "398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c", event: "/webhook-collect", sync: true });
must(vectors.at(-1).headers["X-Slack-Signature"] === "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503", "slack documentation");
slack("slack event", "slack secret",
  JSON.stringify({ token: "t", team_id: "T1", type: "event_callback", event: { type: "app_mention", text: "hi" }, event_id: "Ev08MFMKH6", event_time: now }),
  "application/json", now, { delivery_id: "Ev08MFMKH6", event: "app_mention" });
slack("slack event, second attempt", "slack secret",
  JSON.stringify({ token: "t", team_id: "T1", type: "event_callback", event: { type: "message" }, event_id: "Ev08MFMKH7", event_time: now }),
  "application/json", now, { delivery_id: "Ev08MFMKH7", event: "message", retry: true },
  { "X-Slack-Retry-Num": "1", "X-Slack-Retry-Reason": "http_timeout" });
slack("slack button", "slack secret",
  "payload=" + encodeURIComponent(JSON.stringify({ type: "block_actions", trigger_id: "13345224609.738474920.8088930838d88f008e0", actions: [] })),
  form, now, { delivery_id: "13345224609.738474920.8088930838d88f008e0", event: "block_actions", sync: true });

// Stripe: its library signs, one secret and two.
{
  const stripe = new Stripe("sk_test_none");
  const payload = JSON.stringify({ id: "evt_1NG8Du2eZvKYlo2CUI79vXWy", object: "event", type: "payment_intent.succeeded", data: { object: { id: "pi_1" } } });
  const header = stripe.webhooks.generateTestHeaderString({ payload, secret: "whsec_new", timestamp: now });
  const old = stripe.webhooks.generateTestHeaderString({ payload, secret: "whsec_old", timestamp: now });
  const origin = by("stripe", "webhooks.generateTestHeaderString");
  const identity = { delivery_id: "evt_1NG8Du2eZvKYlo2CUI79vXWy", event: "payment_intent.succeeded" };
  for (const [name, value] of [
    ["stripe event", header],
    ["stripe event, secret being rolled", `${header.replace("v1=", `${old.split(",")[1]},v1=`)},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39`],
  ]) {
    stripe.webhooks.constructEvent(payload, value, "whsec_new", 300, undefined, now * 1000);
    add(name, origin, "stripe", "whsec_new", {
      headers: { "Content-Type": "application/json", "Stripe-Signature": value },
      body: payload, signature: "Stripe-Signature", timestamp: "Stripe-Signature",
    }, identity);
  }
}

// Standard Webhooks: the example of its libraries' tests, and under both names.
{
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const body = '{"type": "invoice.paid", "data": {"id": 1}}';
  const id = "msg_p5jXN8AQM9LWM0D4loKWxJek";
  const at = new Date(now * 1000);
  const standard = (name, origin, names, signature, key, payload, when, identity) => add(name, origin, "standard", key, {
    now: when, headers: { "Content-Type": "application/json", [names[0]]: id, [names[1]]: String(when), [names[2]]: signature },
    body: payload, signature: names[2], timestamp: names[1],
  }, { delivery_id: id, ...identity });
  const plain = ["webhook-id", "webhook-timestamp", "webhook-signature"];
  const svix = ["svix-id", "svix-timestamp", "svix-signature"];
  const old = '{"test": 2432232314}';
  const published = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
  must(new StandardWebhook(secret).sign(id, new Date(1614265330000), old) === published, "standard published");
  standard("standard published", "standard-webhooks/standard-webhooks, its libraries' tests", plain, published, secret, old, 1614265330, {});
  const signed = new StandardWebhook(secret).sign(id, at, body);
  standard("standard event", by("standardwebhooks", "sign"), plain, signed, secret, body, now, { event: "invoice.paid" });
  standard("standard event, two secrets", by("standardwebhooks", "sign"), plain,
    `${new StandardWebhook("b2xkIG9sZCBvbGQgb2xk").sign(id, at, body)} ${signed}`, secret, body, now, { event: "invoice.paid" });
  standard("standard event, raw secret", by("standardwebhooks", "sign, format raw"), plain,
    new StandardWebhook("not-base64!", { format: "raw" }).sign(id, at, body), "not-base64!", body, now, { event: "invoice.paid" });
  standard("svix event", by("svix", "sign"), svix, new SvixWebhook(secret).sign(id, at, body), secret, body, now, { event: "invoice.paid" });

  // v1a has no library that signs: Node's own Ed25519 over the specified content.
  const seed = Buffer.alloc(32, 7);
  const { key, publicKey } = edKey(seed);
  const v1a = edSign(null, Buffer.from(`${id}.${now}.${body}`), key).toString("base64");
  standard("standard event, v1a", "standard-webhooks specification, node:crypto ed25519", plain,
    `v1,${Buffer.alloc(32).toString("base64")} v1a,${v1a}`, `whpk_${publicKey.toString("base64")}`, body, now, { event: "invoice.paid" });

  // GitLab's signing token is the same scheme; its older token is sent as it is.
  const gitlab = { "Content-Type": "application/json", "X-Gitlab-Event": "Push Hook", "X-Gitlab-Event-UUID": "13792a34-cac6-4fda-95a8-c58e00a3954e", "Idempotency-Key": id };
  const hook = JSON.stringify({ object_kind: "push", ref: "refs/heads/main" });
  add("gitlab signing token", by("standardwebhooks", "sign"), "gitlab", secret, {
    headers: { ...gitlab, "webhook-id": id, "webhook-timestamp": String(now), "webhook-signature": new StandardWebhook(secret).sign(id, at, hook) },
    body: hook, signature: "webhook-signature", timestamp: "webhook-timestamp",
  }, { delivery_id: id, event: "Push Hook" });
  add("gitlab secret token", "docs.gitlab.com, webhooks", "gitlab", "gitlab token", {
    headers: { ...gitlab, "X-Gitlab-Token": "gitlab token" }, body: hook, signature: "X-Gitlab-Token",
  }, { delivery_id: id, event: "Push Hook" });
}

// Shopify: its library accepts, under both sets of names.
{
  const secret = "shopify client secret";
  const api = shopifyApi({ apiKey: "key", apiSecretKey: secret, hostName: "app.example.com", apiVersion: Object.values(ApiVersion)[0], isEmbeddedApp: false, scopes: [], logger: { log: () => {} } });
  const body = JSON.stringify({ id: 820982911946154500, email: "jon@example.com" });
  for (const [name, prefix, event] of [["shopify webhook", "X-Shopify-", "orders/create"], ["shopify event", "Shopify-", "Order"]]) {
    const headers = {
      "Content-Type": "application/json",
      [`${prefix}Hmac-Sha256`]: createHmac("sha256", secret).update(body).digest("base64"),
      [`${prefix}Topic`]: event, [`${prefix}Webhook-Id`]: "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
      [`${prefix}Shop-Domain`]: "one.myshopify.com", [`${prefix}API-Version`]: "2026-10",
      [`${prefix}Handle`]: "orders", [`${prefix}Action`]: "create", [`${prefix}Resource-Id`]: "gid://shopify/Order/1",
      [`${prefix}Event-Id`]: "98880550-7158-44d4-b7cd-2c97c8a091b5", [`${prefix}Triggered-At`]: "2026-11-02T10:00:00Z",
    };
    const verdict = await api.webhooks.validate({ rawBody: body, rawRequest: { method: "POST", url: "/in", headers }, rawResponse: {} });
    must(verdict.valid, `${name} ${JSON.stringify(verdict)}`);
    add(name, by("@shopify/shopify-api", "webhooks.validate accepts"), "shopify", secret,
      { headers, body, signature: `${prefix}Hmac-Sha256` },
      { delivery_id: "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043", event });
  }
}

// Twilio: the example of its libraries, and forms and bodies of every kind.
{
  const token = "12345";
  const sign = (name, url, params, identity, signedURL = url, more = {}) => {
    const body = new URLSearchParams(Object.entries(params).flatMap(([k, v]) => [v].flat().map((one) => [k, one]))).toString();
    const signature = getExpectedTwilioSignature(token, signedURL, params);
    must(twilio.validateRequest(token, signature, url, params), name);
    add(name, by("twilio", "getExpectedTwilioSignature"), "twilio", token, {
      url, headers: { "Content-Type": form, "X-Twilio-Signature": signature, ...more }, body, signature: "X-Twilio-Signature",
    }, identity);
  };
  const call = { CallSid: "CA1234567890ABCDE", Caller: "+14158675309", Digits: "1234", From: "+14158675309", To: "+18005551212" };
  sign("twilio published", "https://mycompany.com/myapp.php?foo=1&bar=2", call, { sync: true });
  must(vectors.at(-1).headers["X-Twilio-Signature"] === "RSOYDt4T1cUTdK1PDd93/VVr8B8=", "twilio published");
  sign("twilio call, port signed", "https://mycompany.com/voice", { ...call, CallStatus: "ringing" }, { sync: true, event: "ringing" }, "https://mycompany.com:443/voice");
  sign("twilio call, port not signed", "https://mycompany.com:8443/voice", { ...call, CallStatus: "ringing" }, { sync: true, event: "ringing" }, "https://mycompany.com/voice");
  sign("twilio message", "https://mycompany.com/sms", { MessageSid: "SM1", Body: "smörgås & ✓ = 100%", SmsStatus: "received", Empty: "" }, { sync: true, event: "received" });
  sign("twilio repeated parameters", "https://mycompany.com/sms", { MessageSid: "SM1", Media: ["b", "a", "b"], SmsStatus: "received" }, { sync: true, event: "received" });
  sign("twilio message report", "https://mycompany.com/status", { MessageSid: "SM1", MessageStatus: "delivered", SmsStatus: "delivered" },
    { event: "delivered", delivery_id: "8b1e5b1e-6f4f-4f6b-8f5d-2f3a4a1b0c9d" }, undefined, { "I-Twilio-Idempotency-Token": "8b1e5b1e-6f4f-4f6b-8f5d-2f3a4a1b0c9d" });
  sign("twilio call report", "https://mycompany.com/status", { ...call, CallStatus: "completed", CallbackSource: "call-progress-events" }, { event: "call-progress-events" });

  const json = JSON.stringify([{ id: "EZ1", type: "com.twilio.messaging.message.delivered", specversion: "1.0" }]);
  const url = `https://mycompany.com/events?bodySHA256=${getExpectedBodyHash(json)}`;
  const signature = getExpectedTwilioSignature(token, url, {});
  must(twilio.validateRequestWithBody(token, signature, url, json), "twilio json");
  add("twilio event stream", by("twilio", "getExpectedTwilioSignature"), "twilio", token, {
    url, headers: { "Content-Type": "application/json", "X-Twilio-Signature": signature }, body: json, signature: "X-Twilio-Signature",
  }, { event: "com.twilio.messaging.message.delivered" });
}

// Discord: its library verifies what Node signs.
{
  const { key, publicKey } = edKey(Buffer.alloc(32, 9));
  const one = async (name, body, identity) => {
    const signature = edSign(null, Buffer.from(`${now}${body}`), key).toString("hex");
    must(await discord.verifyKey(body, signature, String(now), publicKey.toString("hex")), name);
    add(name, by("discord-interactions", "verifyKey accepts"), "discord", publicKey.toString("hex"), {
      headers: { "Content-Type": "application/json", "X-Signature-Ed25519": signature, "X-Signature-Timestamp": String(now) },
      body, signature: "X-Signature-Ed25519",
    }, identity);
  };
  await one("discord event", JSON.stringify({ version: 1, application_id: "1234560123453231555", type: 1, event: { type: "APPLICATION_AUTHORIZED", timestamp: "2026-11-02T10:00:00", data: {} } }), { event: "APPLICATION_AUTHORIZED" });
  await one("discord command", JSON.stringify({ type: 2, id: "786008729715212338", token: "A_UNIQUE_TOKEN", data: { id: "1", name: "deploy" } }), { event: "deploy", delivery_id: "786008729715212338", sync: true });
}

// Zoom and Meta publish a formula and no library.
{
  const body = JSON.stringify({ event: "meeting.started", event_ts: now * 1000, payload: { account_id: "A", object: { id: "1" } } });
  add("zoom event", "developers.zoom.us, verify webhook events, node:crypto", "zoom", "zoom token", {
    headers: { "Content-Type": "application/json", "x-zm-request-timestamp": String(now),
      "x-zm-signature": "v0=" + createHmac("sha256", "zoom token").update(`v0:${now}:${body}`).digest("hex") },
    body, signature: "x-zm-signature", timestamp: "x-zm-request-timestamp",
  }, { event: "meeting.started" });

  const whatsapp = (value) => JSON.stringify({ object: "whatsapp_business_account", entry: [{ id: "1", changes: [{ field: "messages", value }] }] });
  for (const [name, body, identity] of [
    ["meta message", whatsapp({ messages: [{ id: "wamid.A", type: "text", text: { body: "h\u00e5" } }] }), { delivery_id: "wamid.A", event: "whatsapp_business_account.messages" }],
    ["meta status", whatsapp({ statuses: [{ id: "wamid.A", status: "read" }] }), { delivery_id: "wamid.A:read", event: "whatsapp_business_account.messages" }],
    ["meta two messages", whatsapp({ messages: [{ id: "wamid.A" }, { id: "wamid.B" }] }), { event: "whatsapp_business_account.messages" }],
    ["meta messenger", JSON.stringify({ object: "page", entry: [{ id: "1", messaging: [{ message: { mid: "mid.1" } }] }] }), { delivery_id: "mid.1", event: "page" }],
  ]) {
    add(name, "developers.facebook.com, validate payloads, node:crypto", "meta", "meta secret", {
      headers: { "Content-Type": "application/json", "X-Hub-Signature-256": "sha256=" + createHmac("sha256", "meta secret").update(body).digest("hex") },
      body, signature: "X-Hub-Signature-256",
    }, identity);
  }
}

// CloudEvents: its library encodes; the token is ours.
{
  const event = new CloudEvent({ id: "A234-1234-1234", source: "/mycontext", type: "com.example.someevent", time: "2026-11-02T10:00:00Z", datacontenttype: "application/json", data: { ok: true } });
  const identity = { delivery_id: "A234-1234-1234@/mycontext", event: "com.example.someevent" };
  for (const [name, message] of [["cloudevents binary", HTTP.binary(event)], ["cloudevents structured", HTTP.structured(event)]]) {
    const headers = Object.fromEntries(Object.entries(message.headers).map(([k, v]) => [k, String(v)]));
    add(name, by("cloudevents", "HTTP"), "cloudevents", "a token", {
      headers: { ...headers, Authorization: "Bearer a token" }, body: String(message.body), signature: "Authorization",
    }, identity);
  }
}

// Node takes a raw Ed25519 seed only inside its PKCS #8 wrapping.
function edKey(seed) {
  const key = createPrivateKey({ key: Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]), format: "der", type: "pkcs8" });
  return { key, publicKey: Buffer.from(key.export({ format: "jwk" }).x, "base64url") };
}

console.log(JSON.stringify(vectors, null, 1));
