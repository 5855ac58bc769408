// Reads a stream of `example.Counter` with a transport of Connect's SDK until it ends, and prints what
// came of it.

import { createRequire } from "node:module";

// Unlike `import`, it looks into `NODE_PATH`.
const require = createRequire(import.meta.url);
const { create, createFileRegistry } = require("@bufbuild/protobuf");
const { FileDescriptorProtoSchema } = require("@bufbuild/protobuf/wkt");
const { Code, ConnectError, createClient } = require("@connectrpc/connect");
const { createConnectTransport, createGrpcWebTransport } = require("@connectrpc/connect-web");

const file = create(FileDescriptorProtoSchema, {
  name: "example.proto",
  package: "example",
  syntax: "proto3",
  // A `fixed64`, which is optional.
  messageType: [{ name: "Number", field: [{ name: "value", number: 1, type: 6, label: 1, jsonName: "value" }] }],
  service: [
    {
      name: "Counter",
      method: [
        { name: "Count", inputType: ".example.Number", outputType: ".example.Number", serverStreaming: true },
      ],
    },
  ],
});
const counter = createFileRegistry(file, () => undefined).getService("example.Counter");

const [baseUrl, protocol] = process.argv.slice(2);
const transports = { connect: createConnectTransport, "grpc-web": createGrpcWebTransport };
const client = createClient(counter, transports[protocol]({ baseUrl }));
const numbers = [];
let end = {};
try {
  for await (const { value } of client.count({ value: 0n })) {
    numbers.push(Number(value));
    if (numbers.length === 2) console.log("reads");
  }
} catch (error) {
  const { code, rawMessage } = ConnectError.from(error);
  end = { code: Code[code], details: rawMessage };
}
console.log(JSON.stringify([{ numbers, ...end }]));
