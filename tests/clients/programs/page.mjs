// The page of another origin than the server's: it does with the transport that the task names what every client does,
// and tells its own origin what it saw.
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-web";
import { calls, manyStreams } from "./calls.mjs";
import { grpcWebCalls } from "./grpc_web.mjs";

const task = await (await fetch("task.json")).json();
const baseUrl = task.address;
const ways = {
  "connect json": () => calls(createConnectTransport({ baseUrl }), task),
  "connect binary": () => calls(createConnectTransport({ baseUrl, useBinaryFormat: true, useHttpGet: true }), task),
  "grpc-web": () => calls(createGrpcWebTransport({ baseUrl }), task),
  "many streams": () => manyStreams(createConnectTransport({ baseUrl }), task),
  "npm grpc-web": () => grpcWebCalls(task),
};
let seen;
try {
  seen = await ways[task.way]();
} catch (error) {
  seen = { failed: String(error) };
}
await fetch("seen.json", { method: "POST", body: JSON.stringify(seen) });
