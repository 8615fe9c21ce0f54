// Slack Bolt as its documentation sets it up, save that no token is looked up.
import bolt from "@slack/bolt";
import { accepted, address, watch } from "./ledger.mjs";

const receiver = new bolt.HTTPReceiver({
  signingSecret: process.env.SECRET,
  endpoints: ["/webhooks/slack/events", "/webhooks/slack/commands"],
  customRoutes: [{ path: "/healthz", method: ["GET"], handler: (_, res) => res.end("ok") }],
});
const app = new bolt.App({
  receiver,
  authorize: async () => ({ botToken: "xoxb-none", botId: "B1", botUserId: "U1" }),
});
app.event("app_mention", async ({ body }) => accepted(body.event_id));
app.command("/deploy", async ({ ack, command }) => {
  accepted(command.trigger_id);
  await ack("deployed");
});
watch(await app.start(address));
