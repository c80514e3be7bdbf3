// @parse/node-apn in a process of its own: node node_apn.mjs ORIGIN CA.pem KEY.pem REQUESTS TOKEN_PREFIX
//
// Prints "started" when it is connected and warm, then a line of JSON: requests, wall_s, cpu_s.
import { readFileSync } from "node:fs";
import { randomBytes } from "node:crypto";
import apn from "@parse/node-apn";

const [origin, caFile, keyFile, requests, prefix] = process.argv.slice(2);
const AT_ONCE = 500;

const provider = new apn.Provider({
  token: { key: readFileSync(keyFile), keyId: "KEY4567890", teamId: "TEAM567890" },
  address: new URL(origin).hostname,
  port: Number(new URL(origin).port),
  ca: [readFileSync(caFile)],
  requestTimeout: 60000,
});
const note = new apn.Notification();
note.topic = "com.example.app";
note.pushType = "alert";
note.priority = 10;
note.expiry = 1900000000;
note.alert = { title: "Order 17", body: "Ready at 18:00" };
note.sound = "default";

const tokens = (count) => Array.from({ length: count }, () => prefix + randomBytes(32).toString("hex"));

// Lists of tokens, two under way: a fifth faster than a call a token.
async function sendAll(all) {
  let next = 0;
  const sender = async () => {
    while (next < all.length) {
      const part = all.slice(next, (next += AT_ONCE / 2));
      const { failed } = await provider.send(note, part);
      if (failed.length) throw new Error(JSON.stringify(failed[0]));
    }
  };
  await Promise.all([sender(), sender()]);
}

await sendAll(tokens(2000));
const all = tokens(Number(requests));
console.log("started");
const cpu = process.cpuUsage();
const wall = process.hrtime.bigint();
await sendAll(all);
const wallS = Number(process.hrtime.bigint() - wall) / 1e9;
const used = process.cpuUsage(cpu);
console.log(JSON.stringify({ requests: all.length, wall_s: wallS, cpu_s: (used.user + used.system) / 1e6 }));
provider.shutdown();
process.exit(0);
