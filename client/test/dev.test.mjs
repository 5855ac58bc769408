import assert from "node:assert/strict";
import test from "node:test";
import { FakeElement, Page } from "../harness/page.mjs";
import { wire } from "../harness/server.mjs";

/** A page with the development file, and its warnings. */
function develop(settings = {}) {
  const warnings = [];
  const globals = {
    console: { warn: (text) => warnings.push(text) },
    performance: { getEntriesByType: () => [{ nextHopProtocol: settings.protocol ?? "http/1.1" }] },
    MutationObserver: class {
      observe() {}
    },
    ...settings.globals,
  };
  const page = new Page({ ...settings, globals, dev: true });
  return { page, warnings };
}

test("a page that does all right gets no warning", async () => {
  const { page, warnings } = develop();
  page.open("/events", { names: ["a", "message"] });
  page.server.last.stream(wire({ event: "a" }) + wire({}) + wire({ event: "heartbeat", data: "{}" }));
  page.server.last.send(wire({ event: "gap", data: "{}" }));
  page.server.last.send(wire({ event: "close", data: '{"reason":"finished"}' }));
  await page.pass(1000);
  assert.deepEqual(warnings, []);
});

test("an event that nobody listens to is warned of once", async () => {
  const { page, warnings } = develop();
  page.open("/events");
  page.open("/events", { names: ["b"] });
  page.server.last.stream(wire({ event: "a" }) + wire({ event: "a" }) + wire({ event: "b" }));
  await page.pass();
  assert.deepEqual(warnings, [
    'tower-sse: nobody listens to the event "a" of https://page.test/events',
  ]);
});

test("an event without a name that nobody listens to is warned of", async () => {
  const { page, warnings } = develop();
  page.open("/events", { names: [] });
  page.server.last.stream(wire({}));
  await page.pass();
  assert.match(warnings[0], /nobody listens to the event "message"/);
});

test("an event that is listened to for all URLs is heard", async () => {
  const { page, warnings } = develop();
  page.anywhere.addEventListener("a", () => {});
  page.open("/events");
  page.server.last.stream(wire({ event: "a" }));
  await page.pass();
  assert.deepEqual(warnings, []);
});

test("the prefix of htmx 2 in the name of a handler is warned of", () => {
  const { page, warnings } = develop();
  page.open("/events", { names: ["sse:news"] });
  assert.match(warnings[0], /"sse:news", but the server's event is called "news"/);
});

test("a bare EventSource that does not heed close is warned of, and one that does is not", async () => {
  class EventSource extends EventTarget {
    static CLOSED = 2;
    readyState = 1;
    constructor(url) {
      super();
      this.url = url;
    }
    close() {
      this.readyState = 2;
    }
  }
  const { page, warnings } = develop({ globals: { EventSource } });
  const heeds = new page.globals.EventSource("/heeds");
  heeds.addEventListener("close", () => heeds.close());
  heeds.dispatchEvent(new MessageEvent("close"));
  await page.pass();
  assert.deepEqual(warnings, []);
  const bare = new page.globals.EventSource("/bare");
  bare.dispatchEvent(new MessageEvent("close"));
  await page.pass();
  assert.match(warnings[0], /closed \/bare, but an EventSource comes back/);
});

test("the seventh stream over HTTP/1.1 is warned of, over HTTP/2 it is not", () => {
  for (const [protocol, expected] of [["http/1.1", 1], ["h2", 0]]) {
    const { page, warnings } = develop({ protocol });
    for (let at = 0; at < 6; at++) page.open(`/${at}`);
    page.open("https://other.test/");
    assert.deepEqual(warnings, []);
    page.open("/7");
    page.open("/8");
    assert.equal(warnings.length, expected, `${protocol}: ${warnings}`);
  }
});

test("attributes of htmx 2 that do nothing under htmx 4 are warned of", async () => {
  const elements = [
    new FakeElement({ "sse-swap": "a" }),
    new FakeElement({ "hx-trigger": "sse:a" }),
    new FakeElement({ "sse-connect": "/a", "hx-sse:connect": "/a" }),
  ];
  const four = develop({ elements, globals: { htmx: { version: "4.0.1" } } });
  await four.page.pass();
  assert.deepEqual(
    four.warnings.map((text) => /sse-swap does|hx-trigger|on one element/.exec(text)?.[0]),
    ["sse-swap does", "hx-trigger", "on one element"],
  );
  const two = develop({ elements: elements.slice(0, 2), globals: { htmx: { version: "2.0.11" } } });
  await two.page.pass();
  assert.deepEqual(two.warnings, []);
});

test("a connecting element within another is warned of", async () => {
  const inner = new FakeElement({ "sse-connect": "/b", id: "inner" });
  new FakeElement({ "sse-connect": "/a" }).append(inner);
  const { page, warnings } = develop({ elements: [inner] });
  await page.pass();
  assert.match(warnings[0], /sse-connect within sse-connect \(#inner\)/);
});
