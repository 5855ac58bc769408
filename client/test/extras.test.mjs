import assert from "node:assert/strict";
import test from "node:test";
import { FakeElement, Page } from "../harness/page.mjs";
import { wire } from "../harness/server.mjs";

// ---- Toasts

/** A page with a list of toasts, and a connection. */
async function toasts(attributes = {}) {
  const list = new FakeElement({ "data-sse-toasts": "notification", ...attributes });
  const page = new Page({ elements: [list], extras: true });
  page.open("/events");
  await page.pass();
  page.server.last.stream();
  return {
    page,
    list,
    async tell(data, event = "notification") {
      page.server.last.send(wire({ event, data }));
      await page.pass();
    },
    texts: () => list.children.map(({ textContent }) => textContent),
  };
}

test("an event becomes an item with its text, or that of its JSON", async () => {
  const { tell, texts } = await toasts();
  const data = [
    "plain",
    '{"text":"a"}',
    '{"message":"b"}',
    '{"title":"c"}',
    '{"other":1}',
    "null",
    '"quoted"',
  ];
  for (const one of data) await tell(one);
  await tell("not for this list", "other");
  assert.deepEqual(texts(), ["plain", "a", "b", "c", '{"other":1}', "null", '"quoted"']);
});

test("an item is text, never HTML", async () => {
  const { list, tell, texts } = await toasts();
  await tell("<img src=x onerror=alert(1)>");
  await tell('{"text":"<b>bold</b>"}');
  assert.deepEqual(texts(), ["<img src=x onerror=alert(1)>", "<b>bold</b>"]);
  assert.ok(list.children.every(({ html }) => html === undefined));
});

test("an item is HTML where the list asks for it", async () => {
  const { list, tell } = await toasts({ "data-sse-html": "" });
  await tell("<b>bold</b>");
  assert.equal(list.children[0].html, "<b>bold</b>");
});

test("an item goes after its time, and stays while somebody is at it", async () => {
  const { page, list, tell } = await toasts();
  await tell("a");
  await page.pass(5999);
  assert.equal(list.children.length, 1);
  list.children[0].hovered = true;
  await page.pass(6000);
  assert.equal(list.children.length, 1);
  list.children[0].hovered = false;
  await page.pass(6000);
  assert.equal(list.children.length, 0);
});

test("an item stays for the time that the list says, and for ever with 0", async () => {
  const short = await toasts({ "data-sse-toast-ms": "100" });
  await short.tell("a");
  await short.page.pass(100);
  assert.equal(short.list.children.length, 0);
  // Longer than a timer takes is not short, either.
  for (const time of ["0", "9999999999", "Infinity"]) {
    const ever = await toasts({ "data-sse-toast-ms": time });
    await ever.tell("a");
    await ever.page.pass(1_000_000);
    assert.equal(ever.list.children.length, 1, time);
  }
});

test("a list is polite to those who do not see it, and stays a list", async () => {
  const { list } = await toasts();
  assert.deepEqual([list.role, list.ariaLive], [null, "polite"]);
});

test("a list with a URL connects by itself", async () => {
  const { page, list } = await toasts({ "data-sse-url": "/mine" });
  assert.deepEqual(page.server.requests.map(({ url }) => url.pathname), ["/mine", "/events"]);
  page.server.last.send(wire({ event: "notification", data: "not mine" }));
  page.server.requests[0].stream(wire({ event: "notification", data: "mine" }));
  await page.pass();
  assert.deepEqual(list.children.map(({ textContent }) => textContent), ["mine"]);
});

// ---- htmx 4

/** Plays the extension hx-sse of htmx 4: what it says of a connection, in its order. */
function htmx4(settings = {}) {
  const page = new Page({ extras: true, ...settings });
  const connection = { url: "/events", attempt: 0, cancelled: false, status: null };
  const say = (name, detail = {}) =>
    page.document.dispatchEvent(
      new CustomEvent(`htmx:sse:${name}`, { detail: { connection, ...detail } }),
    );
  return {
    page,
    connection,
    error: (status) => say("error", { status }),
    close: () => say("close", { reason: "ended" }),
    opens(status = 200) {
      say("before:connection");
      connection.status = status;
      say("after:connection");
      connection.attempt = 0;
    },
    message: (event, data) => say("before:message", { message: { event, data, id: "" } }),
    /** Whether htmx goes on to reconnect. */
    reconnects() {
      connection.attempt++;
      connection.cancelled = false;
      say("before:connection");
      return !connection.cancelled;
    },
  };
}

test("a close event ends a connection of htmx 4", () => {
  const htmx = htmx4();
  htmx.opens();
  htmx.message("close", '{"reason":"kicked"}');
  assert.equal(htmx.reconnects(), false);
  htmx.close();
  assert.deepEqual(htmx.page.statuses, ["connecting", "live", "closed/kicked"]);
});

test("htmx 4 comes back after a reason of reconnectAfter, and after every other event", () => {
  const htmx = htmx4();
  htmx.page.configure({ reconnectAfter: ["shutdown"] });
  htmx.opens();
  htmx.message("close", '{"reason":"shutdown"}');
  assert.equal(htmx.reconnects(), true);
  htmx.opens();
  htmx.message("limit", '{"reason":"limit"}');
  htmx.message("", "a message");
  assert.equal(htmx.reconnects(), true);
});

test("a gap of a connection of htmx 4 is told to the page as one of connect is", () => {
  const htmx = htmx4();
  const gaps = [];
  htmx.page.document.addEventListener("sse:gap", ({ detail }) => gaps.push(detail));
  htmx.opens();
  htmx.message("gap", '{"reason":"expired"}');
  htmx.message("other", '{"reason":"expired"}');
  assert.deepEqual(gaps.map(({ reason }) => reason), ["expired"]);
  assert.match(gaps[0].url, /\/events$/);
});

test("status 204 and hopeless statuses end a connection of htmx 4, others do not", () => {
  for (const [status, goesOn] of [[204, false], [403, false], [410, false], [404, true], [503, true]]) {
    const htmx = htmx4();
    htmx.opens();
    if (status === 204) htmx.opens(204);
    htmx.error(status === 204 ? undefined : status);
    assert.equal(htmx.reconnects(), goesOn, `${status}`);
    htmx.close();
    const reasons = { 204: "finished", 403: "status", 410: "status" };
    assert.equal(htmx.page.statuses.at(-1), `closed/${reasons[status] ?? "called"}`);
  }
});

test("an error of htmx 4 before there is a connection does no harm", () => {
  const page = new Page({ extras: true });
  page.document.dispatchEvent(new CustomEvent("htmx:sse:error", { detail: { error: "x" } }));
  assert.deepEqual(page.statuses, []);
});

test("events of htmx 4 become toasts, too", () => {
  const list = new FakeElement({ "data-sse-toasts": "notification" });
  const htmx = htmx4({ elements: [list] });
  htmx.message("notification", "hi");
  assert.equal(list.children[0].textContent, "hi");
});

// ---- Alpine

/** Plays Alpine 3: keeps what is registered. */
function alpine() {
  const stores = {};
  const magics = {};
  const Alpine = {
    store: (name, value) => (value ? (stores[name] = value) : stores[name]),
    magic: (name, make) => (magics[name] = make),
  };
  const page = new Page({ extras: true, globals: { Alpine } });
  page.document.dispatchEvent(new Event("alpine:init"));
  return { page, store: stores.sse, magics };
}

test("Alpine's store has the state of the page, and of each URL", async () => {
  const { page, store } = alpine();
  assert.deepEqual({ ...store.of("/a") }, {});
  page.open("/a").close();
  page.open("/b");
  assert.deepEqual([store.state, store.reason], ["connecting", ""]);
  assert.deepEqual({ ...store.of("/a") }, { state: "closed", reason: "called" });
  assert.deepEqual({ ...store.of("https://page.test/b") }, { state: "connecting", reason: "" });
});

test("Alpine's $sse connects, and closes with its component", async () => {
  const { page, magics } = alpine();
  const ends = [];
  const heard = [];
  const $sse = magics.sse({}, { cleanup: (end) => ends.push(end) });
  const source = $sse("/a", { message: ({ data }) => heard.push(data) }, { lastEventId: "3" });
  assert.equal(page.server.last.place, "3");
  page.server.last.stream(wire({ data: "x" }));
  await page.pass();
  assert.deepEqual(heard, ["x"]);
  ends.forEach((end) => end());
  assert.equal(source.state, "closed");
});
