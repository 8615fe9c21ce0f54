// Stripe's library as its documentation sets it up.
import { createServer } from "node:http";
import Stripe from "stripe";
import { accepted, address, body, watch } from "./ledger.mjs";

const stripe = new Stripe("sk_test_none");

const server = createServer(async (req, res) => {
  if (req.url === "/healthz") return res.end("ok");
  try {
    const event = stripe.webhooks.constructEvent(await body(req), req.headers["stripe-signature"], process.env.SECRET);
    accepted(event.id);
    res.end();
  } catch (err) {
    res.writeHead(400).end(`Webhook Error: ${err.type ?? err.name}`);
  }
});
watch(server);
server.listen(address);
