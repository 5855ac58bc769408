import assert from "node:assert/strict";
import test from "node:test";
import { Origin } from "../harness/tabs.mjs";
import { Clock, seeded } from "../harness/clock.mjs";
import { FakeElement, Page } from "../harness/page.mjs";
import { wire } from "../harness/server.mjs";

/** A page with htmx 2, and the source that its extension makes for a URL. */
function htmx(attributes = {}, settings = {}) {
  const globals = { htmx: {}, ...settings.globals };
  const element = new FakeElement({ "sse-connect": "/events", ...attributes });
  const page = new Page({ ...settings, globals, elements: [element, ...(settings.elements ?? [])] });
  const source = globals.htmx.createEventSource("/events");
  const log = [];
  source.onopen = () => log.push("open");
  source.onerror = () => log.push("error");
  source.onmessage = ({ data }) => log.push(`message ${data}`);
  source.addEventListener("a", ({ data }) => log.push(`a ${data}`));
  return { page, source, log, server: page.server };
}

test("htmx gets a source with the interface of EventSource", async () => {
  const { page, source, log, server } = htmx();
  assert.equal(source.url, "https://page.test/events");
  assert.equal(source.readyState, 0);
  server.last.stream(wire({ event: "a", data: "1" }) + wire({ data: "2" }));
  await page.pass();
  assert.equal(source.readyState, 1);
  assert.deepEqual(log, ["open", "a 1", "message 2"]);
  source.close();
  assert.equal(source.readyState, 2);
});

test("it never says that it is closed while it tries", async () => {
  const { page, source, log, server } = htmx();
  for (const fault of [
    (exchange) => exchange.fail(),
    (exchange) => exchange.respond(503, {}, ""),
    (exchange) => exchange.stream().end(),
  ]) {
    fault(server.last);
    await page.pass();
    assert.equal(source.readyState, 0);
    await page.pass(60_000);
  }
  assert.deepEqual(log, ["error", "error", "open", "error"]);
});

test("an end is no error, nor is a wait that the server asked for", async () => {
  for (const [event, data] of [
    ["close", '{"reason":"kicked"}'],
    ["limit", '{"reason":"limit"}'],
    ["draining", "{}"],
  ]) {
    const { page, log, server } = htmx();
    server.last.stream(wire({ event, data, retry: 1000 })).end();
    await page.pass();
    assert.deepEqual(log, ["open"], event);
  }
  const { page, source, log, server } = htmx();
  server.last.respond(403, {}, "");
  await page.pass();
  assert.deepEqual([source.readyState, log], [2, []]);
});

test("the attributes of the connecting element are its options", async () => {
  const { page, server } = htmx({
    "data-sse-reconnect-after": "shutdown idle",
    "data-sse-last-event-id": "5",
    "data-sse-stale-after": "4000",
    "data-sse-pause-hidden": "",
  });
  assert.equal(server.last.place, "5");
  server.last.stream(wire({ event: "close", retry: 1, data: '{"reason":"idle"}' })).end();
  await page.pass(1000);
  assert.equal(server.requests.length, 2);
  await page.pass(4000);
  assert.equal(page.statuses.at(-1), "stale/silent");
  page.hide();
  assert.equal(page.statuses.at(-1), "reconnecting/hidden");
});

test("an empty place in the attributes is none", () => {
  const { server } = htmx({ "data-sse-last-event-id": "" });
  assert.equal(server.last.place, null);
});

test("the meta element sets options for all of htmx's connections", async () => {
  const content = '{"reconnectAfter":["shutdown"]}';
  const meta = new FakeElement({ name: "tower-sse", content });
  const { page, server } = htmx({}, { elements: [meta] });
  server.last.stream(wire({ event: "close", retry: 1, data: '{"reason":"shutdown"}' })).end();
  await page.pass(1000);
  assert.equal(server.requests.length, 2);
});

test("tabs share htmx's connection, unless an attribute says off", async () => {
  for (const [attributes, open] of [[{}, 1], [{ "data-sse-share": "off" }, 2]]) {
    const clock = new Clock();
    const shared = { clock, random: seeded(1), origin: new Origin(clock, seeded(2)) };
    const first = htmx(attributes, shared);
    first.server.last?.stream();
    await first.page.pass();
    const second = htmx(attributes, { ...shared, server: first.server });
    second.server.last.stream();
    await first.page.pass(5000);
    assert.equal(first.server.open.length, open);
  }
});

test("a page and htmx open a URL once", () => {
  const { page, server } = htmx();
  page.open("/events");
  assert.equal(server.requests.length, 1);
});
