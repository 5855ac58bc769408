// Reads streams in the dialects of several clients, each with the client itself, and prints what
// they made of them as JSON.

import { createRequire } from "node:module";

const [modules, url] = process.argv.slice(2);
const require = createRequire(`${modules}/`);
const a2a = require("@a2a-js/sdk/client");
const { HttpAgent } = require("@ag-ui/client");
const ai = require("ai");
const graphql = require("graphql-sse");
const mcp = "@modelcontextprotocol/sdk";
const { Client } = require(`${mcp}/client/index.js`);
const { StreamableHTTPClientTransport } = require(`${mcp}/client/streamableHttp.js`);
const { CallToolResultSchema, LoggingMessageNotificationSchema } = require(`${mcp}/types.js`);

// The client of AG-UI writes errors that it throws, too.
console.error = () => {};

const message = { messageId: "m", role: 1, parts: [], extensions: [], referenceTaskIds: [] };

/** Reads a task of an agent, whose updates are the events. */
async function readA2a(factory, url, seen) {
    const transport = await factory.create(url);
    const updates = transport.sendMessageStream({ tenant: "", message });
    for await (const { payload } of updates) {
        seen.push(payload.value.taskId);
    }
}

/** How each client reads a stream. It pushes what it sees, and throws what its client throws. */
const CLIENTS = {
    "a2a": (url, seen) => readA2a(new a2a.JsonRpcTransportFactory(), url, seen),
    "a2a_without_id": (url, seen) => readA2a(new a2a.JsonRpcTransportFactory(), url, seen),
    "a2a_http": (url, seen) => readA2a(new a2a.RestTransportFactory(), url, seen),
    async ag_ui(url, seen) {
        const agent = new HttpAgent({ url, threadId: "t" });
        await agent.runAgent({ runId: "r" }, {
            onRunErrorEvent: ({ event }) => void seen.push(`${event.code}: ${event.message}`),
            onTextMessageContentEvent: ({ event }) => void seen.push(event.delta),
        });
    },
    async graphql_sse(url, seen) {
        const client = graphql.createClient({ url, retryAttempts: 0 });
        for await (const { data, errors } of client.iterate({ query: "subscription { n }" })) {
            seen.push(data?.n ?? `${errors[0].extensions.code}: ${errors[0].message}`);
        }
    },
    async mcp(url, seen) {
        const client = new Client({ name: "tests", version: "1.0.0" });
        const onmessage = ({ params }) => void seen.push(params.data);
        client.setNotificationHandler(LoggingMessageNotificationSchema, onmessage);
        await client.connect(new StreamableHTTPClientTransport(new URL(url)));
        await client.callTool({ name: "tool" }, CallToolResultSchema, { timeout: 20_000 });
    },
    async vercel_ui_message(api, seen) {
        const transport = new ai.DefaultChatTransport({ api });
        const question = { chatId: "c", messages: [], trigger: "submit-message" };
        const stream = await transport.sendMessages(question);
        const answers = ai.readUIMessageStream({ stream, terminateOnError: true });
        for await (const { parts } of answers) {
            const text = parts.map((part) => part.text).join("");
            if (text && text !== seen.at(-1)) {
                seen.push(text);
            }
        }
    },
};

async function outcome(read, url) {
    const seen = [];
    try {
        await read(url, seen);
        return { seen };
    } catch (error) {
        return { seen, error: error.message };
    }
}

const outcomes = {};
for (const [name, read] of Object.entries(CLIENTS)) {
    outcomes[name] = {};
    for (const what of ["quiet", "fails", "kept_fails", "stopped", "drained", "limit", "draining"]) {
        outcomes[name][what] = await outcome(read, `${url}/${name}/${what}`);
    }
}
console.log(JSON.stringify(outcomes));
// Clients keep their connections.
process.exit(0);
