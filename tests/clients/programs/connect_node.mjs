// @connectrpc/connect-node: node connect_node.mjs PROTOCOL HTTP_VERSION [json]
import { createConnectTransport, createGrpcTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import { calls } from "./calls.mjs";
import { report } from "./report.mjs";

const [protocol, httpVersion, form] = process.argv.slice(2);

await report((task) => {
  const options = { baseUrl: task.address, httpVersion };
  const binary = { useBinaryFormat: form !== "json", useHttpGet: true };
  const transport = {
    connect: () => createConnectTransport({ ...options, ...binary }),
    "grpc-web": () => createGrpcWebTransport(options),
    grpc: () => createGrpcTransport(options),
  }[protocol]();
  return calls(transport, task);
});
