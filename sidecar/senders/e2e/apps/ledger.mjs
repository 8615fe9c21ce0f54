// What an app has seen and what its SDK has accepted, a line of JSON each, on
// disk before the answer goes out.
import { fsyncSync, openSync, writeSync } from "node:fs";

const file = openSync(process.env.LEDGER, "a");

function append(entry) {
  writeSync(file, JSON.stringify(entry) + "\n");
  fsyncSync(file);
}

/** accepted: the SDK has verified the webhook and handed it over. */
export const accepted = (id) => append({ accepted: id });

/** watch records every webhook that reaches the app, before any SDK sees it. */
export function watch(server) {
  server.prependListener("request", (req) => {
    if (req.url.startsWith("/webhooks/")) append({ seen: req.url, replayed: req.headers["sluice-replayed"] === "true" });
  });
}

/** where to listen: the sidecar's app, on loopback. */
export const address = { port: Number(process.env.PORT), host: "127.0.0.1" };

/** body reads a request to its end. */
export async function body(req) {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  return Buffer.concat(chunks);
}
