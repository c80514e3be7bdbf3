// An HTTP/2 server that answers as APNs and as FCM do, and counts what it got.
//
//   node recorder.mjs KEY.pem CERT.pem      prints {"port": N} when it listens on 127.0.0.1
//   GET /counts                             {"requests", "unique"}: unique paths (APNs) and tokens (FCM)
//
// It does as little as it can, so that the client is what a benchmark measures. Ends with its stdin.
import { readFileSync } from "node:fs";
import { createSecureServer, constants } from "node:http2";

const [keyFile, certFile] = process.argv.slice(2);
const { HTTP2_HEADER_PATH, HTTP2_HEADER_STATUS } = constants;
const seen = new Set();
let requests = 0;

const server = createSecureServer({
  key: readFileSync(keyFile),
  cert: readFileSync(certFile),
  settings: { maxConcurrentStreams: 1000, initialWindowSize: 65535 },
});

server.on("session", (session) => session.setLocalWindowSize(1 << 24));
server.on("stream", (stream, headers) => {
  const path = headers[HTTP2_HEADER_PATH];
  if (path === "/counts") {
    stream.respond({ [HTTP2_HEADER_STATUS]: 200 });
    stream.end(JSON.stringify({ requests, unique: seen.size }));
    return;
  }
  requests += 1;
  if (path.startsWith("/3/device/")) {
    seen.add(path);
    stream.respond({ [HTTP2_HEADER_STATUS]: 200, "apns-id": headers["apns-id"] ?? "" }, { endStream: true });
    stream.resume();
    return;
  }
  let body = "";
  stream.setEncoding("utf8");
  stream.on("data", (piece) => { body += piece; });
  stream.on("end", () => {
    seen.add(JSON.parse(body).message.token);
    stream.respond({ [HTTP2_HEADER_STATUS]: 200, "content-type": "application/json" });
    stream.end(`{"name":"projects/demo/messages/${requests}"}`);
  });
});
server.on("sessionError", () => {});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
process.stdin.resume();
process.stdin.on("end", () => process.exit(0));
