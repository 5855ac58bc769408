import assert from "node:assert/strict";
import test from "node:test";
import { seeded } from "../harness/clock.mjs";
import { FakeElement, Page } from "../harness/page.mjs";
import { wire } from "../harness/server.mjs";

const REASONS = ["finished", "kicked", "replaced", "expired", "idle", "rotated", "error", "shutdown"];
const close = (reason, retry) =>
  wire({ event: "close", id: "end", retry, data: JSON.stringify({ reason }) });

const texts = (source) => source.heard.map(({ data }) => data);

/** A page with a connection that is open. */
async function live(options = {}, settings = {}) {
  const page = new Page(settings);
  const source = page.open("/events", options);
  await page.pass();
  page.server.last.stream(": hello\n\n");
  await page.pass();
  assert.equal(source.state, "live");
  return { page, source, server: page.server };
}

// ---- Events and states

test("a connection is connecting, then live", async () => {
  const { source } = await live();
  assert.deepEqual(source.states, ["connecting", "live"]);
  assert.equal(source.url, "https://page.test/events");
});

test("events reach the handlers of their names as message events", async () => {
  const { page, source, server } = await live({ names: ["a", "message"] });
  server.last.send(wire({ event: "a", id: "1", data: "one" }) + wire({ data: "two" }));
  server.last.send(wire({ event: "other", data: "nobody" }));
  await page.pass();
  const heard = source.heard.map(({ type, data, lastEventId }) => [type, data, lastEventId]);
  assert.deepEqual(heard, [["a", "one", "1"], ["message", "two", "1"]]);
  assert.equal(source.lastEventId, "1");
});

test("on() calls a handler until its answer is called", async () => {
  const { page, source, server } = await live();
  const heard = [];
  const off = source.on("late", ({ data }) => heard.push(data));
  server.last.send(wire({ event: "late", data: "1" }));
  await page.pass();
  off();
  server.last.send(wire({ event: "late", data: "2" }));
  await page.pass();
  assert.deepEqual(heard, ["1"]);
});

test("a gap is told to the document, and the stream goes on", async () => {
  const { page, source, server } = await live();
  server.last.send(wire({ event: "gap", id: "9", data: '{"from":"3"}' }));
  await page.pass();
  assert.deepEqual(page.gaps, [{ url: "https://page.test/events", from: "3" }]);
  assert.equal(source.state, "live");
  assert.equal(source.lastEventId, "9");
});

test("an event whose name is that of the script's own tells no status", async () => {
  const { page, source, server } = await live({ names: ["sse:status"] });
  server.last.send(wire({ event: "sse:status", data: "x" }));
  await page.pass();
  assert.deepEqual(source.states, ["connecting", "live"]);
  assert.equal(texts(source).at(-1), "x");
});

test("close() ends the connection with the reason called", async () => {
  const { page, source, server } = await live();
  source.close();
  source.close();
  assert.deepEqual(source.states, ["connecting", "live", "closed/called"]);
  assert.equal(server.last.signal.aborted, true);
  await page.pass(100_000);
  assert.equal(server.requests.length, 1);
});

test("nothing is heard after close(), though it came in the same chunk", async () => {
  const { page, source, server } = await live();
  source.on("message", () => source.close());
  server.last.send(wire({ data: "1" }) + wire({ data: "2" }));
  await page.pass();
  assert.deepEqual(texts(source), ["1"]);
});

// ---- Farewells

for (const reason of REASONS) {
  test(`close with the reason ${reason} stops for good, before the server ends the body`, async () => {
    const { page, source, server } = await live({ names: ["close"] });
    server.last.send(close(reason, 10));
    await page.pass();
    assert.equal(server.last.over, true);
    assert.deepEqual(source.states.at(-1), `closed/${reason}`);
    assert.deepEqual(texts(source), [JSON.stringify({ reason })]);
    await page.pass(100_000);
    assert.equal(server.requests.length, 1);
  });

  test(`close with the reason ${reason} is come back from after retry if the page says so`, async () => {
    const { page, source, server } = await live({ reconnectAfter: [reason], minDelay: 1 });
    server.last.send(close(reason, 7000)).end();
    await page.pass(6999);
    assert.deepEqual(source.states.at(-1), `reconnecting/${reason}`);
    assert.equal(server.requests.length, 1);
    await page.pass(1);
    assert.equal(server.requests.length, 2);
    assert.equal(server.last.place, "end");
  });
}

for (const data of ["bye", "{}", "null", '{"reason":""}']) {
  test(`close with the data ${data} counts as finished`, async () => {
    const { page, source, server } = await live();
    server.last.send(wire({ event: "close", data }));
    await page.pass();
    assert.equal(source.states.at(-1), "closed/finished");
  });
}

for (const event of ["reconnect", "limit", "draining"]) {
  test(`${event} is come back from after its retry, which nothing cuts short`, async () => {
    const { page, source, server } = await live({ minDelay: 1, lastEventId: "4" });
    server.last.send(wire({ event, id: "4", retry: 20_000, data: "{}" })).end();
    await page.pass();
    assert.equal(source.states.at(-1), `reconnecting/${event}`);
    await page.pass(10_000);
    page.hide();
    page.show();
    page.online();
    await page.pass(9_999);
    assert.equal(server.requests.length, 1);
    await page.pass(1);
    assert.equal(server.requests.length, 2);
    assert.equal(server.last.place, "4");
  });
}

test("a farewell counts though the body breaks after it", async () => {
  const { page, source, server } = await live();
  server.last.send(wire({ event: "reconnect", retry: 5, data: "{}" }));
  await page.pass();
  server.last.fail();
  await page.pass();
  assert.equal(source.states.at(-1), "reconnecting/reconnect");
});

// ---- Answers that are no streams

test("status 204 means finished", async () => {
  const page = new Page();
  const source = page.open();
  page.server.last.respond(204);
  await page.pass(100_000);
  assert.equal(source.states.at(-1), "closed/finished");
  assert.equal(page.server.requests.length, 1);
});

for (const status of [400, 401, 403, 410, 422]) {
  test(`status ${status} ends the connection: asking again is no use`, async () => {
    const page = new Page();
    const source = page.open();
    page.server.last.respond(status, {}, "no");
    await page.pass(100_000);
    assert.equal(source.states.at(-1), "closed/status");
    assert.equal(page.server.requests.length, 1);
  });
}

for (const status of [404, 408, 425, 429, 500, 502, 503]) {
  test(`status ${status} is asked again`, async () => {
    const page = new Page();
    const source = page.open();
    page.server.last.respond(status, {}, "not now");
    await page.pass();
    assert.equal(source.states.at(-1), "reconnecting/status");
    await page.pass(1000);
    assert.equal(page.server.requests.length, 2);
  });
}

test("an answer that is no event stream is asked again", async () => {
  const page = new Page();
  const source = page.open();
  page.server.last.respond(200, { "Content-Type": "text/html" }, "<p>");
  await page.pass();
  assert.equal(source.states.at(-1), "reconnecting/status");
  await page.pass(1000);
  assert.equal(page.server.requests.length, 2);
});

test("a page that was answered 503 is asked for once more, and that answer is its connection", async () => {
  const page = new Page();
  const source = page.open();
  page.server.last.respond(503, {}, "draining");
  await page.pass(1000);
  page.server.last.stream();
  await page.pass(1000);
  assert.equal(source.state, "live");
  assert.equal(page.server.requests.length, 2);
});

test("Retry-After is waited for, in seconds or as a date, and not cut short", async () => {
  for (const value of ["30", (page) => new Date(page.clock.now() + 30_000).toUTCString()]) {
    const page = new Page();
    page.open();
    const later = typeof value === "string" ? value : value(page);
    page.server.last.respond(503, { "Retry-After": later }, "");
    await page.pass(29_000);
    page.online();
    await page.pass(999);
    assert.equal(page.server.requests.length, 1, later);
    await page.pass(1);
    assert.equal(page.server.requests.length, 2, later);
  }
});

test("the rest of an answer that is no event stream does not keep its connection", async () => {
  const page = new Page();
  page.server.onRequest = (exchange) => {
    exchange.respond(503, { "Content-Type": "text/html" }).send("<p>and more, one day");
  };
  const source = page.open();
  await page.pass(60_000);
  assert.ok(page.server.requests.length > 3);
  assert.equal(source.state, "reconnecting");
  assert.equal(page.server.open.length, 0);
});

// ---- Waiting

/** The delays between requests that all fail. */
async function delays(count, options, random) {
  const page = new Page({ random });
  const at = [];
  page.server.onRequest = (exchange) => {
    at.push(page.clock.now());
    exchange.respond(503, {}, "");
  };
  page.open("/events", options);
  await page.pass(1_000_000);
  return at.slice(1, count + 1).map((time, index) => time - at[index]);
}

test("its own wait doubles from minDelay up to maxDelay", async () => {
  const most = () => 0.999999;
  const waits = await delays(8, { minDelay: 1000, maxDelay: 30_000 }, most);
  const expected = [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000];
  waits.forEach((wait, at) => assert.ok(Math.abs(wait - expected[at]) < 2, `${waits}`));
});

test("its own wait has full jitter: it lies anywhere below its bound", async () => {
  const waits = await delays(200, { minDelay: 1000, maxDelay: 1000 }, seeded(3));
  assert.ok(Math.min(...waits) < 50 && Math.max(...waits) > 950);
  const mean = waits.reduce((sum, wait) => sum + wait) / waits.length;
  assert.ok(mean > 400 && mean < 600, `${mean}`);
});

test("its own wait starts anew after an event", async () => {
  const page = new Page({ random: () => 0.999 });
  page.open();
  for (let failure = 0; failure < 4; failure++) {
    page.server.last.fail();
    await page.pass(30_000);
  }
  page.server.last.stream(wire({ data: "x" }));
  await page.pass();
  page.server.last.fail();
  await page.pass(1000);
  assert.equal(page.server.open.length, 1);
});

for (const [what, wake] of [
  ["is shown", (page) => (page.hide(), page.show())],
  ["has its network back", (page) => page.online()],
]) {
  test(`its own wait ends at once when the page ${what}`, async () => {
    const page = new Page({ random: () => 0.999 });
    page.open("/events", { minDelay: 30_000 });
    page.server.last.fail();
    await page.pass(1);
    assert.equal(page.server.requests.length, 1);
    wake(page);
    await page.pass(0);
    assert.equal(page.server.requests.length, 2);
  });
}

test("the server's retry holds for a stream that breaks, and is not cut short", async () => {
  const { page, source, server } = await live({ minDelay: 1 });
  server.last.send(wire({ id: "1", retry: 5000, data: "x" }));
  await page.pass();
  server.last.fail();
  await page.pass(4000);
  page.online();
  await page.pass(999);
  assert.equal(source.states.at(-1), "reconnecting/network");
  assert.equal(server.requests.length, 1);
  await page.pass(1);
  assert.equal(server.requests.length, 2);
});

const DAY = 24 * 3_600_000;

test("a wait that is longer than timers take is no short one", async () => {
  for (const retry of [2 ** 31, 1e11, `1${"0".repeat(400)}`]) {
    const { page, server } = await live({ minDelay: 1 });
    server.last.send(wire({ id: "1", retry, data: "x" })).end();
    await page.pass(20 * DAY);
    page.online();
    await page.pass(DAY);
    assert.equal(server.requests.length, 1, `${retry}`);
  }
  const date = "Fri, 31 Dec 9999 23:59:59 GMT";
  for (const later of ["2147484", "99999999999", "1e30", "Infinity", date]) {
    const page = new Page();
    page.server.onRequest = (exchange) => exchange.respond(503, { "Retry-After": later }, "");
    page.open();
    await page.pass(20 * DAY);
    assert.equal(page.server.requests.length, 1, later);
  }
});

test("a live connection is left alone when the page wakes", async () => {
  const { page, server } = await live();
  page.hide();
  page.show();
  page.online();
  await page.pass(100_000);
  assert.equal(server.requests.length, 1);
  assert.equal(server.open.length, 1);
});

// ---- Places

test("a body that ends without a farewell is gone on with from the last id", async () => {
  const { page, source, server } = await live();
  server.last.send(wire({ id: "7", data: "x" })).end();
  await page.pass();
  assert.equal(source.states.at(-1), "reconnecting/ended");
  await page.pass(1000);
  assert.equal(server.last.place, "7");
  assert.equal(server.last.headers.get("Last-Event-ID"), "7");
  server.last.stream(wire({ id: "8", data: "y" }));
  await page.pass();
  assert.deepEqual(texts(source), ["x", "y"]);
});

test("an event that was cut is not heard, and not gone on from", async () => {
  const { page, source, server } = await live();
  server.last.send(wire({ id: "1", data: "x" }) + "id: 2\ndata: half\n").end();
  await page.pass(1000);
  assert.deepEqual(texts(source), ["x"]);
  assert.equal(server.last.place, "1");
});

test("the first request has the place at which the page was rendered", async () => {
  const page = new Page();
  page.open("/events?topic=a&last_event_id=old", { lastEventId: "12" });
  assert.equal(page.server.last.url.search, "?topic=a&last_event_id=12");
  assert.equal(page.server.last.headers.get("Last-Event-ID"), "12");
});

test("an id is written in UTF-8, as a browser's EventSource does", async () => {
  const page = new Page();
  page.open("/events", { lastEventId: "é€" });
  const bytes = Buffer.from(page.server.last.headers.get("Last-Event-ID"), "latin1");
  assert.equal(bytes.toString("utf8"), "é€");
  assert.equal(page.server.last.place, "é€");
});

test("another origin gets the place in the URL only, and credentials only if asked", async () => {
  const page = new Page();
  page.open("https://other.test/events", { lastEventId: "1" });
  assert.equal(page.server.last.place, "1");
  assert.equal(page.server.last.headers.get("Last-Event-ID"), null);
  assert.equal(page.server.last.credentials, "same-origin");
  page.open("https://third.test/events", { withCredentials: true });
  assert.equal(page.server.last.credentials, "include");
});

test("resume keeps the last id for the session, and a reload begins there", async () => {
  const session = {};
  const { page, server } = await live({ resume: true }, { session });
  server.last.send(wire({ id: "5", data: "x" }));
  await page.pass();

  const reloaded = new Page({ session });
  reloaded.open("/events", { resume: true });
  assert.equal(reloaded.server.last.place, "5");
  reloaded.open("/other", { resume: true });
  assert.equal(reloaded.server.last.place, null);

  const rendered = new Page({ session });
  rendered.open("/events", { resume: true, lastEventId: "6" });
  assert.equal(rendered.server.last.place, "6", "what the page shows counts more");
});

test("a session that cannot keep anything does no harm", async () => {
  const session = new Proxy({}, {
    get() {
      throw new Error("forbidden");
    },
    set() {
      throw new Error("full");
    },
  });
  const { page, source, server } = await live({ resume: true }, { session });
  server.last.send(wire({ id: "5", data: "x" }));
  await page.pass();
  assert.deepEqual(texts(source), ["x"]);
});

test("nothing is kept without resume", async () => {
  const session = {};
  const { page, server } = await live({}, { session });
  server.last.send(wire({ id: "5", data: "x" }));
  await page.pass();
  assert.deepEqual(session, {});
});

// ---- Leaving and hiding

test("a page that is left closes its connection, and goes on when it is restored", async () => {
  const { page, source, server } = await live();
  server.last.send(wire({ id: "3", data: "x" }));
  await page.pass();
  page.leave();
  await page.pass(100_000);
  assert.equal(server.open.length, 0);
  assert.equal(server.requests.length, 1);
  page.comeBack();
  await page.pass();
  assert.equal(server.requests.length, 2);
  assert.equal(server.last.place, "3");
  server.last.stream(wire({ id: "4", data: "y" }));
  await page.pass();
  assert.deepEqual(source.states.slice(1), ["live", "reconnecting/hidden", "live"]);
  assert.deepEqual(texts(source), ["x", "y"]);
});

test("pauseHidden closes while the page is hidden, and goes on when it is shown", async () => {
  const { page, source, server } = await live({ pauseHidden: true });
  server.last.send(wire({ id: "3", data: "x" }));
  await page.pass();
  page.hide();
  assert.equal(source.states.at(-1), "reconnecting/hidden");
  page.online();
  await page.pass(100_000);
  assert.equal(server.open.length, 0);
  page.show();
  await page.pass();
  assert.equal(server.last.place, "3");
  assert.equal(server.open.length, 1);
});

test("pauseHidden waits with a page that was opened hidden; without it, a hidden page connects", async () => {
  const page = new Page({ hidden: true });
  page.open("/paused", { pauseHidden: true });
  page.open("/events");
  await page.pass();
  assert.deepEqual(page.server.requests.map(({ url }) => url.pathname), ["/events"]);
  page.show();
  await page.pass();
  assert.deepEqual(page.server.requests.map(({ url }) => url.pathname), ["/events", "/paused"]);
});

test("a connection that was closed while the page was left stays closed", async () => {
  const { page, source, server } = await live();
  page.leave();
  source.close();
  page.comeBack();
  await page.pass(1000);
  assert.equal(server.requests.length, 1);
  assert.equal(source.states.at(-1), "closed/called");
});

// ---- Silence

test("a silent stream is stale, and is opened anew from the last id", async () => {
  const { page, source, server } = await live({ staleAfter: 10_000 });
  server.last.send(wire({ id: "2", data: "x" }));
  await page.pass(9_000);
  server.last.send(wire({ event: "heartbeat", data: "{}" }));
  await page.pass(9_999);
  assert.equal(source.state, "live");
  await page.pass(1);
  assert.equal(source.states.at(-1), "stale/silent");
  assert.equal(server.open.length, 0);
  await page.pass(1000);
  assert.equal(server.last.place, "2");
  server.last.stream();
  await page.pass();
  assert.equal(source.states.at(-1), "live");
});

test("a retry that a dead stream sent does not keep the page from opening it anew", async () => {
  const { page, source, server } = await live({ staleAfter: 10_000 });
  server.last.send(wire({ retry: 600_000, data: "x" }));
  await page.pass(11_000);
  assert.equal(source.state, "stale");
  assert.equal(server.requests.length, 2);
});

test("a stream that is stale after a time without end is left alone", async () => {
  for (const staleAfter of [Infinity, 2 ** 31]) {
    const { page, source, server } = await live({ staleAfter });
    await page.pass(20 * DAY);
    assert.equal(source.state, "live");
    assert.equal(server.requests.length, 1);
  }
});

test("a request that is never answered is stale, too", async () => {
  const page = new Page();
  const source = page.open("/events", { staleAfter: 10_000 });
  await page.pass(10_000);
  assert.equal(source.states.at(-1), "stale/silent");
  await page.pass(1000);
  assert.equal(page.server.open.length, 1);
  assert.equal(page.server.requests.length, 2);
});

test("comments are no sign of life: a proxy can write them", async () => {
  const { page, source, server } = await live({ staleAfter: 10_000 });
  for (let second = 0; second < 10; second++) {
    server.last.send(":\n");
    await page.pass(1000);
  }
  assert.equal(source.states.at(-1), "stale/silent");
});

test("a page that slept longer than staleAfter finds out when it is shown", async () => {
  const { page, source, server } = await live({ staleAfter: 10_000 });
  page.clock.sleep(60_000);
  page.show();
  await page.pass();
  assert.ok(source.states.includes("stale/silent"));
  await page.pass(1000);
  assert.equal(server.requests.length, 2);
});

test("a wait that the server asked for is not taken for silence", async () => {
  const { page, source, server } = await live({ staleAfter: 1000 });
  server.last.send(wire({ event: "limit", retry: 60_000, data: '{"reason":"limit"}' })).end();
  await page.pass(59_999);
  page.online();
  await page.pass(0);
  assert.equal(source.states.at(-1), "reconnecting/limit");
  assert.equal(server.requests.length, 1);
});

// ---- One page, several handles

test("one URL is opened once in a page, and ends with its last handle", async () => {
  const { page, source, server } = await live();
  const second = page.open("https://page.test/events", { lastEventId: "ignored" });
  await page.pass();
  assert.deepEqual(second.states, ["live"]);
  server.last.send(wire({ data: "x" }));
  await page.pass();
  source.close();
  server.last.send(wire({ data: "y" }));
  await page.pass();
  assert.deepEqual([texts(source), texts(second)], [["x"], ["x", "y"]]);
  assert.equal(server.requests.length, 1);
  second.close();
  assert.equal(server.open.length, 0);
});

test("a URL that was closed is opened anew by the next handle", async () => {
  const { page, source, server } = await live();
  source.close();
  page.open("/events");
  await page.pass();
  assert.equal(server.requests.length, 2);
});

test("options come from the call, then configure(), then the meta element", async () => {
  const content = '{"lastEventId":"meta","minDelay":5}';
  const meta = new FakeElement({ name: "tower-sse", content });
  const page = new Page({ elements: [meta] });
  const place = (url, options) => (page.open(url, options), page.server.last.place);
  assert.equal(place("/1"), "meta");
  page.configure({ lastEventId: "configured" });
  assert.equal(place("/2"), "configured");
  assert.equal(place("/3", { lastEventId: "call" }), "call");
  assert.deepEqual({ ...page.configure() }, { lastEventId: "configured", minDelay: 5 });
});

// ---- The document

test("elements show the state of the page, or of their URL, and elements that come later too", async () => {
  const any = new FakeElement({ "data-sse-status": "" });
  const other = new FakeElement({ "data-sse-status": "", "data-sse-url": "/other" });
  const parent = new FakeElement({ "data-sse-status": "", role: "img" });
  parent.append(new FakeElement());
  const { page, source } = await live({}, { elements: [any, other, parent] });
  assert.deepEqual([any.dataset.sseStatus, any.textContent, any.role], ["live", "live", "status"]);
  assert.deepEqual([other.dataset.sseStatus, other.textContent], ["", ""]);
  assert.deepEqual([parent.dataset.sseStatus, parent.textContent, parent.role], ["live", "", "img"]);

  const late = new FakeElement({ "data-sse-status": "" });
  page.document.elements.push(late);
  source.close();
  assert.deepEqual([late.dataset.sseStatus, late.dataset.sseReason], ["closed", "called"]);

  page.open("/other");
  assert.equal(other.dataset.sseStatus, "connecting");
});

test("the document is told each state once", async () => {
  const { page, source } = await live();
  source.close();
  assert.deepEqual(page.statuses, ["connecting", "live", "closed/called"]);
});
