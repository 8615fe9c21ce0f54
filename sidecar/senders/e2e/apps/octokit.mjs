// Octokit's webhooks as its documentation sets them up.
import { createServer } from "node:http";
import { createNodeMiddleware, Webhooks } from "@octokit/webhooks";
import { accepted, address, watch } from "./ledger.mjs";

const webhooks = new Webhooks({ secret: process.env.SECRET, log: { ...console, error() {} } });
webhooks.on("push", ({ id }) => accepted(id));
const middleware = createNodeMiddleware(webhooks, { path: "/webhooks/github" });

const server = createServer(async (req, res) => {
  if (req.url === "/healthz") return res.end("ok");
  if (!(await middleware(req, res))) res.writeHead(404).end();
});
watch(server);
server.listen(address);
