// Reads an event stream with one client, up to the event whose data has a text in it, or to its close
// event. Prints what the client gave, as JSON, when nothing of it waits any more.

import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [name, url, until] = process.argv.slice(2);
// Unlike `import`, it looks into `NODE_PATH`.
const require = createRequire(import.meta.url);
const load = (module) => import(pathToFileURL(require.resolve(module)));

const seen = [];
/** Notes an event, and says whether it is the last that is wanted. */
function see(event, data, id) {
  seen.push([event, data, id]);
  return event === "close" || (until !== "" && data.includes(until));
}

const CLIENTS = {
  async eventsource() {
    const { EventSource } = await load("eventsource");
    const source = new EventSource(url);
    const read = ({ type, data, lastEventId }) => see(type, data, lastEventId) && source.close();
    for (const event of ["message", "tick", "close"]) source.addEventListener(event, read);
  },

  async "@microsoft/fetch-event-source"() {
    const { fetchEventSource } = await load("@microsoft/fetch-event-source");
    // It is made for pages.
    Object.assign(globalThis, { window: globalThis, document: new EventTarget() });
    const stop = new AbortController();
    const onmessage = ({ event, data, id }) => {
      // A close event needs no care: a clean end is the end for this client.
      const isLast = see(event || "message", data, id);
      if (isLast && event !== "close") stop.abort();
    };
    // It comes back after an error by itself.
    await fetchEventSource(url, { onmessage, openWhenHidden: true, signal: stop.signal });
  },
};

process.on("exit", () => process.stdout.write(JSON.stringify(seen)));
await CLIENTS[name]();
