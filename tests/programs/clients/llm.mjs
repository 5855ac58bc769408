// Asks models by the official JavaScript SDKs, all at once. Prints a line when all answers have begun,
// and what came of each.
//
// A question on stdin is {api, url, key, model, timeout, retries}, in milliseconds.

import { createRequire } from "node:module";
import { text } from "node:stream/consumers";

// Unlike `import`, it looks into `NODE_PATH`.
const require = createRequire(import.meta.url);
const { default: OpenAI } = require("openai");
const { default: Anthropic } = require("@anthropic-ai/sdk");
const { Agent, fetch } = require("undici");

const messages = [{ role: "user", content: "?" }];

const apis = {
  async chat(client, model) {
    return client.chat.completions.create({ model, messages, stream: true });
  },
  async responses(client, model) {
    return client.responses.create({ model, input: "?", stream: true });
  },
  async messages(client, model) {
    return client.messages.create({ model, messages, max_tokens: 1, stream: true });
  },
};

const clients = {
  chat: (options, url) => new OpenAI({ ...options, baseURL: `${url}/v1` }),
  responses: (options, url) => new OpenAI({ ...options, baseURL: `${url}/v1` }),
  messages: (options, url) => new Anthropic({ ...options, baseURL: url }),
};

const words = {
  chat: (event) => event.choices[0].delta.content,
  responses: (event) => event.delta,
  messages: (event) => event.delta?.text,
};

async function ask({ api, url, key, model, timeout, retries }, begun) {
  // The SDK's own timeout is over with the head. In the body there is that of `fetch`, which is five
  // minutes in Node's own.
  const dispatcher = new Agent({ bodyTimeout: timeout, headersTimeout: timeout });
  const fetchOptions = { dispatcher };
  const options = { apiKey: key, timeout, maxRetries: retries, fetch, fetchOptions };
  const outcome = { text: "", types: [], error: null };
  try {
    const answer = await apis[api](clients[api](options, url), model);
    begun();
    for await (const event of answer) {
      outcome.types.push(event.type ?? event.object);
      outcome.text += words[api](event) ?? "";
    }
  } catch (error) {
    outcome.error = error.constructor.name;
    outcome.message = error.message;
  }
  begun();
  outcome.ended = Date.now();
  return outcome;
}

const questions = JSON.parse(await text(process.stdin));
const begins = [];
const answers = questions.map((question) => {
  let begun;
  begins.push(new Promise((resolve) => (begun = resolve)));
  return ask(question, begun);
});
await Promise.all(begins);
console.log("all have begun");
// Connections stay open, and `exit` does not wait for the output.
process.stdout.write(JSON.stringify(await Promise.all(answers)) + "\n", () => process.exit());
