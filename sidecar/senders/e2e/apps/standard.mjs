// The reference library of Standard Webhooks as its documentation sets it up.
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";
import { accepted, address, body, watch } from "./ledger.mjs";

const webhook = new Webhook(process.env.SECRET);

const server = createServer(async (req, res) => {
  if (req.url === "/healthz") return res.end("ok");
  try {
    webhook.verify((await body(req)).toString(), req.headers);
    accepted(req.headers["webhook-id"]);
    res.end();
  } catch {
    res.writeHead(400).end();
  }
});
watch(server);
server.listen(address);
