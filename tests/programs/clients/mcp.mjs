// Calls the tool `report` with the official TypeScript SDK when told so, and prints what comes of it.

import { once } from "node:events";
import { createRequire } from "node:module";

// Unlike `import`, it looks into `NODE_PATH`.
const require = createRequire(import.meta.url);
const { Client } = require("@modelcontextprotocol/sdk/client/index.js");
const {
  StreamableHTTPClientTransport,
} = require("@modelcontextprotocol/sdk/client/streamableHttp.js");
const {
  CallToolResultSchema,
  ResourceUpdatedNotificationSchema,
} = require("@modelcontextprotocol/sdk/types.js");

const [url, seconds] = process.argv.slice(2);
const client = new Client({ name: "tests", version: "1.0.0" });
// What the SDK does not understand, among others.
client.onerror = (error) => console.log(`warning ${error.message.replaceAll("\n", " ")}`);
// In the stream of the GET request.
client.setNotificationHandler(ResourceUpdatedNotificationSchema, () => console.log("listens"));
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
console.log("connected");
await once(process.stdin, "data");

const call = { name: "report", arguments: { seconds: Number(seconds) } };
let isRunning = false;
const onprogress = () => {
  if (!isRunning) console.log("runs");
  isRunning = true;
};
try {
  const result = await client.callTool(call, CallToolResultSchema, { onprogress, timeout: 20_000 });
  console.log(`result ${result.content[0].text}`);
} catch (error) {
  console.log(`error ${error.constructor.name}: ${error.message}`);
}
process.exit();
