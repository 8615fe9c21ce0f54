// Prints the vectors of the senders that schemes.yaml added without a vendor's
// library: those that vendors publish in their documentation and in the tests of
// their SDKs (their file is "origin"), and, where none is published, requests that
// Node's crypto signs by the vendor's page, with nothing of package senders:
//
//   node published.mjs > published.json
import { createHmac } from "node:crypto";
import { readFileSync } from "node:fs";

const now = 1793613600; // 2026-11-02T10:00:00Z
const hmac = (hash, key, text, encoding) => createHmac(hash, key).update(text).digest(encoding);
const vectors = [];
function add(sender, origin, secret, headers, body, more = {}) {
  vectors.push({
    name: `${sender} ${vectors.filter((v) => v.sender === sender).length + 1}`, origin, sender, secret, now,
    method: "POST", url: "https://hooks.example.com/in", headers, body, delivery_id: "", event: "", ...more,
  });
}

for (const sender of ["bitbucket", "jira"]) {
  add(sender, "Atlassian's documentation of webhook secrets", "It's a Secret to Everybody",
    { "X-Hub-Signature": "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9" }, "Hello World!");
}
add("circleci", "circleci/circleci-docs, outbound-webhooks.adoc", "secret",
  { "circleci-signature": "v1=734cc62f32841568f45715aeb9f4d7891324e6d948e4c6c60c0621cdac48623a" }, "hello world");
add("circleci", "circleci/circleci-docs, outbound-webhooks.adoc", "secret",
  { "circleci-signature": "v1=773ba44693c7553d6ee20f61ea5d2757a9a4f4a44d2841ae4e95b52e4cd62db4" }, "foo");
add("pagerduty", "PagerDuty/go-pagerduty webhookv3/webhookv3_test.go", "lDQHScfUeXUKaQRNF+8XIiDKZ7XX3itBAYzwU0TARw8lJqRnkKl2iB1anSb0Z+IK",
  { "X-PagerDuty-Signature": "v1=0c0b9495b893a39e70d1fea2fe11fbe0a825f88b9f67846f6cc07dd2bc5476cd" },
  readFileSync(new URL("pagerduty.json", import.meta.url), "utf8"), { event: "incident.priority_updated" });
add("square", "square/square-go-sdk webhooks/client/verify_signature_test.go", "Ibxx_5AKakO-3qeNVR61Dw",
  { "x-square-hmacsha256-signature": "GF4YkrJgGBDZ9NIYbNXBnMzqb2HoL4RW/S6vkZ9/2N4=" },
  '{"merchant_id":"MLEFBHHSJGVHD","type":"webhooks.test_notification","event_id":"ac3ac95b-f97d-458c-a6e6-18981597e05f","created_at":"2022-07-13T20:30:59.037339943Z","data":{"type":"webhooks","id":"bc368e64-01aa-407e-b46e-3231809b1129"}}',
  { url: "https://webhook.site/679a4f3a-dcfa-49ee-bac5-9d0edad886b9", delivery_id: "ac3ac95b-f97d-458c-a6e6-18981597e05f", event: "webhooks.test_notification" });
add("square", "square/square-go-sdk webhooks/client/verify_signature_test.go", "signature-key",
  { "x-square-hmacsha256-signature": "Cxt7+aTi4rKgcA0bC4g9EHdVtLSDWdqccmL5MvihU4U=" }, '{"data":{"type":"webhooks","id":">id<"}}',
  { url: "https://webhook.site/webhooks" });
add("paddle", "PaddleHQ/paddle-go-sdk webhook_verifier_test.go", "pdl_ntfset_01hsdn8d43dt7mezr1ef2jtbaw_hKkRiCGyyRhbFwIUuqiTBgI7gnWoV0Gr",
  { "Paddle-Signature": "ts=1710929255;h1=6c05ef8fa83c44d751be6d259ec955ce5638e2c54095bf128e408e2fce1589c8" },
  '{"data":{"id":"pri_01hsdn96k2hxjzsq5yerecdj9j","name":null,"status":"active","quantity":{"maximum":999999,"minimum":1},"tax_mode":"account_setting","product_id":"pro_01hsdn8qp7yydry3x1yeg6a9rv","unit_price":{"amount":"1000","currency_code":"USD"},"custom_data":null,"description":"testing","import_meta":null,"trial_period":null,"billing_cycle":{"interval":"month","frequency":1},"unit_price_overrides":[]},"event_id":"evt_01hsdn97563968dy0szkmgjwh3","event_type":"price.created","occurred_at":"2024-03-20T10:07:35.590857Z","notification_id":"ntf_01hsdn977e920kbgzt6r6c9rqc"}',
  { now: 1710929255, delivery_id: "ntf_01hsdn977e920kbgzt6r6c9rqc", event: "price.created" });
const box = { "box-delivery-timestamp": "2020-01-01T00:00:00-07:00" };
const boxed = '{"type":"webhook_event","webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"Test.txt"}}';
const boxNow = { now: 1577862000, event: "FILE.UPLOADED" };
add("box", "box/box-node-sdk tests/lib/managers/webhooks-test.js", "SamplePrimaryKey", { ...box, "box-signature-primary": "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=", "box-signature-secondary": "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo=" }, boxed, boxNow);
add("box", "box/box-node-sdk tests/lib/managers/webhooks-test.js", "SampleSecondaryKey", { ...box, "box-signature-primary": "6TfeAW3A1PASkgboxxA5yqHNKOwFyMWuEXny/FPD5hI=", "box-signature-secondary": "v+1CD1Jdo3muIcbpv5lxxgPglOqMfsNHPV899xWYydo=" }, boxed, boxNow);
add("box", "box/box-node-sdk tests/lib/managers/webhooks-test.js, escaped slashes stay", "SamplePrimaryKey", { ...box, "box-signature-primary": "+hKJH+wxkEBpkQRag11Ij1Wh4+7QrgUeRe0PPSoGWOI=" },
  '{"webhook":{"id":"1234567890"},"trigger":"FILE.UPLOADED","source":{"id":"1234567890","type":"file","name":"Test.txt","shared_link":{"url":"https:\\/\\/app.test.com\\/s\\/test123"}}}', boxNow);
add("line", "line/line-bot-sdk-python tests/test_webhook.py", "channel_secret", { "X-Line-Signature": "/gg9a+LvFevTH1sd7XCQycD7tsWclCsInj7MhBHxN7k=" }, "bodybodybodybody");
add("line", "line/line-bot-sdk-nodejs test/validate-signature.spec.ts", "test_secret", { "X-Line-Signature": "t7Hn4ZDHqs6e+wdvI5TyQIvzie0DmMUmuXEBqyyE/tM=" }, '{"hello":"world"}');

// None published: signed here by the vendor's page.
const made = "the vendor's page, node:crypto";
const type = { "Content-Type": "application/json" };
const json = (value) => JSON.stringify(value);
{
  const body = json({ action: "create", type: "Issue", data: { title: "smörgåsbord ✓" }, webhookTimestamp: now * 1000 + 123 });
  add("linear", made, "lin_wh_secret", { ...type, "Linear-Signature": hmac("sha256", "lin_wh_secret", body, "hex"), "Linear-Delivery": "234d1a4e-b617-4388-90fe-adc3633d6b72" }, body,
    { delivery_id: "234d1a4e-b617-4388-90fe-adc3633d6b72", event: "Issue" });
}
{
  const body = json({ action: "created", data: { issue: { id: "1" } } });
  add("sentry", made, "client secret", { ...type, "Sentry-Hook-Signature": hmac("sha256", "client secret", body, "hex"), "Sentry-Hook-Timestamp": String(now), "Sentry-Hook-Resource": "issue", "Request-ID": "5f6c" }, body,
    { delivery_id: "5f6c", event: "issue" });
}
{
  const body = json({ id: "1", type: "deployment.created", payload: {} });
  add("vercel", made, "vercel secret", { ...type, "x-vercel-signature": hmac("sha1", "vercel secret", body, "hex") }, body, { event: "deployment.created" });
}
{
  const body = json({ id: "367cba44-b6f3-4c92-81e7-6a2e9659efd4", type: "page.created" });
  add("notion", made, "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl", { ...type, "X-Notion-Signature": "sha256=" + hmac("sha256", "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl", body, "hex") }, body,
    { delivery_id: "367cba44-b6f3-4c92-81e7-6a2e9659efd4", event: "page.created" });
}
{
  const body = json([{ eventId: 1, subscriptionType: "contact.creation" }]);
  const at = String(now * 1000 + 7);
  const url = "https://hooks.example.com/webhooks/hubspot";
  add("hubspot", made, "hubspot secret", { ...type, "X-HubSpot-Request-Timestamp": at, "X-HubSpot-Signature-v3": hmac("sha256", "hubspot secret", `POST${url}${body}${at}`, "base64") }, body,
    { url, event: "contact.creation" });
}
{
  const body = json({ type: "notification_event", id: "notif_1", topic: "conversation.user.created" });
  add("intercom", made, "intercom secret", { ...type, "X-Hub-Signature": "sha1=" + hmac("sha1", "intercom secret", body, "hex") }, body, { delivery_id: "notif_1", event: "conversation.user.created" });
}
for (const body of [json({ type: "zen:event-type:user.created" }), ""]) {
  const key = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==", at = "2026-11-02T10:00:00Z";
  add("zendesk", made, key, { ...type, "X-Zendesk-Webhook-Signature-Timestamp": at, "X-Zendesk-Webhook-Signature": hmac("sha256", key, at + body, "base64") }, body);
}
add("telegram", made, "telegram-token_1", { ...type, "X-Telegram-Bot-Api-Secret-Token": "telegram-token_1" }, json({ update_id: 10000, message: {} }), { delivery_id: "10000" });
{
  const body = json({ destination: "U1", events: [{ type: "message", webhookEventId: "01FZ74A0TDDPYRVKNK77XKC3ZR" }] });
  add("line", made, "line secret", { ...type, "X-Line-Signature": hmac("sha256", "line secret", body, "base64") }, body, { delivery_id: "01FZ74A0TDDPYRVKNK77XKC3ZR", event: "message" });
}
{
  const body = json({ destination: "U1", events: [{ type: "message", webhookEventId: "1" }, { type: "follow", webhookEventId: "2" }] });
  add("line", made, "line secret", { ...type, "X-Line-Signature": hmac("sha256", "line secret", body, "base64") }, body, { event: "message" });
}
{
  const body = json({ subscription: { id: "f1c2a387", type: "channel.follow" }, event: {} });
  const id = "e76c6bd4-55c9-4987-8304-da1588d8988b", at = "2026-11-02T10:00:00.123456789Z";
  add("twitch", made, "s3cre77890ab", {
    ...type, "Twitch-Eventsub-Message-Id": id, "Twitch-Eventsub-Message-Timestamp": at, "Twitch-Eventsub-Message-Type": "notification", "Twitch-Eventsub-Subscription-Type": "channel.follow",
    "Twitch-Eventsub-Message-Signature": "sha256=" + hmac("sha256", "s3cre77890ab", id + at + body, "hex"),
  }, body, { delivery_id: id, event: "channel.follow" });
}
add("okta", made, "okta token", { ...type, Authorization: "okta token" }, json({ eventId: "b5a188b9", data: { events: [{ eventType: "user.lifecycle.create" }] } }), { delivery_id: "b5a188b9", event: "user.lifecycle.create" });
{
  const body = json({ repository: { full_name: "gitea/hello" } });
  add("gitea", "go-gitea/gitea services/webhook/deliver.go, node:crypto", "gitea secret", { ...type, "X-Gitea-Delivery": "f6266f16", "X-Gitea-Event": "push", "X-GitHub-Event": "push", "X-Gitea-Signature": hmac("sha256", "gitea secret", body, "hex") }, body, { delivery_id: "f6266f16", event: "push" });
}
{
  const body = json({ list_folder: { accounts: ["dbid:1"] } });
  add("dropbox", made, "dropbox app secret", { ...type, "X-Dropbox-Signature": hmac("sha256", "dropbox app secret", body, "hex") }, body);
}
{
  const body = json({ timestamp: "2026-11-02T10:00:00Z", webhookEvent: "jira:issue_created" });
  add("jira", made, "jira secret", { ...type, "X-Hub-Signature": "sha256=" + hmac("sha256", "jira secret", body, "hex"), "X-Atlassian-Webhook-Identifier": "wh-1" }, body, { delivery_id: "wh-1", event: "jira:issue_created" });
}
console.log(JSON.stringify(vectors, null, 1));
