import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import test from "node:test";
import { SseError, stream } from "../tower-sse.js";
import { wire } from "../harness/server.mjs";

const FAST = { minDelay: 1, maxDelay: 2 };
const closeEvent = (reason) =>
  wire({ event: "close", id: "end", retry: 1, data: JSON.stringify({ reason }) });

/** Answers each request by the next step; ends with the test. */
async function serve(t, ...steps) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    const { method, url, headers } = request;
    requests.push({ method, url, headers, body, response });
    const step = steps[Math.min(requests.length, steps.length) - 1];
    await step(response, requests.length);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { requests, url: `http://127.0.0.1:${server.address().port}/events` };
}

const head = (response) => response.writeHead(200, { "Content-Type": "text/event-stream" });
/** A whole answer. */
const ends = (text) => (response) => head(response).end(text);
/** An answer whose connection breaks after the text. */
const breaks = (text) => (response) => head(response).write(text, () => response.destroy());
/** An answer that goes on for ever. */
const stays = (text) => (response) => void head(response).write(text);
const refuses = (status, body = "", headers = {}) => (response) =>
  response.writeHead(status, headers).end(body);

/** Writes a text again and again, as fast as it is taken, until the client is gone. */
async function flood(response, text, onWrite = () => {}) {
  const gone = once(response, "close");
  while (!response.destroyed) {
    onWrite(text.length);
    if (!response.write(text)) await Promise.race([once(response, "drain"), gone]);
  }
}

async function all(events) {
  const seen = [];
  let error;
  try {
    for await (const { type, data, lastEventId } of events) seen.push([type, data, lastEventId]);
  } catch (caught) {
    error = caught;
  }
  return { seen, error };
}

test("events come in order, with type, data, lastEventId and retry", async (t) => {
  const text = wire({ event: "a", id: "1", retry: 9, data: "x" }) + wire({ data: "y" });
  const { url } = await serve(t, ends(text + closeEvent("finished")));
  const seen = [];
  for await (const event of stream(url)) seen.push(event);
  assert.deepEqual(seen, [
    { type: "a", data: "x", lastEventId: "1", retry: 9 },
    { type: "message", data: "y", lastEventId: "1", retry: undefined },
  ]);
});

test("a stream without ids returns where its body ends", async (t) => {
  const { url, requests } = await serve(t, ends(wire({ data: "x" })));
  assert.deepEqual(await all(stream(url, FAST)), { seen: [["message", "x", ""]], error: undefined });
  assert.equal(requests.length, 1);
});

test("a stream without ids throws where its body breaks", async (t) => {
  const { url, requests } = await serve(t, breaks(wire({ data: "x" })));
  const { seen, error } = await all(stream(url, FAST));
  assert.deepEqual(seen, [["message", "x", ""]]);
  assert.ok(error instanceof TypeError, error);
  assert.equal(requests.length, 1);
});

test("a stream with ids is resumed by Last-Event-ID where it is cut", async (t) => {
  const { url, requests } = await serve(
    t,
    breaks(wire({ id: "1", data: "a" })),
    ends(wire({ id: "2", data: "b" })),
    ends(wire({ id: "3", data: "c" }) + closeEvent("finished")),
  );
  const { seen, error } = await all(stream(url, FAST));
  assert.equal(error, undefined);
  assert.deepEqual(seen.map(([, data]) => data), ["a", "b", "c"]);
  assert.deepEqual(requests.map(({ headers }) => headers["last-event-id"]), [undefined, "1", "2"]);
  assert.deepEqual(requests.map((request) => request.url), ["/events", "/events", "/events"]);
});

test("a POST is made again with its body and headers", async (t) => {
  const { url, requests } = await serve(
    t,
    breaks(wire({ id: "1", data: "a" })),
    ends(closeEvent("finished")),
  );
  const headers = { "Content-Type": "application/json", Authorization: "Bearer x" };
  await all(stream(url, { ...FAST, method: "POST", body: '{"ask":1}', headers }));
  for (const request of requests) {
    assert.equal(request.method, "POST");
    assert.equal(request.body, '{"ask":1}');
    assert.equal(request.headers.authorization, "Bearer x");
    assert.equal(request.headers.accept, "text/event-stream");
  }
  assert.equal(requests.length, 2);
});

test("lastEventId asks for what is after it", async (t) => {
  const { url, requests } = await serve(t, ends(""));
  await all(stream(url, { lastEventId: "41" }));
  assert.equal(requests[0].headers["last-event-id"], "41");
});

test("status 204 ends, also after a cut", async (t) => {
  const first = await serve(t, refuses(204));
  assert.deepEqual(await all(stream(first.url)), { seen: [], error: undefined });
  const second = await serve(t, breaks(wire({ id: "1", data: "a" })), refuses(204));
  const { seen, error } = await all(stream(second.url, FAST));
  assert.deepEqual([seen.length, error], [1, undefined]);
});

for (const status of [400, 404, 429, 500, 503]) {
  test(`a first answer with status ${status} throws it, with its text`, async (t) => {
    const { url, requests } = await serve(t, refuses(status, "the reason why"));
    const { error } = await all(stream(url, FAST));
    assert.ok(error instanceof SseError);
    assert.deepEqual([error.status, error.body], [status, "the reason why"]);
    assert.equal(requests.length, 1);
  });
}

test("an answer that is no event stream throws", async (t) => {
  const { url } = await serve(t, refuses(200, "<p>", { "Content-Type": "text/html" }));
  const { error } = await all(stream(url));
  assert.deepEqual([error.status, error.body], [200, "<p>"]);
});

test("of the text of an error no more than 64 KiB is kept, though it has no end", async (t) => {
  const { url } = await serve(t, async (response) => {
    response.writeHead(500);
    await flood(response, "x".repeat(10_000));
  });
  const { error } = await all(stream(url));
  assert.equal(error.body.length, 65536);
});

test("after a cut, 5xx is asked again, and 4xx throws", async (t) => {
  const cut = breaks(wire({ id: "1", data: "a" }));
  const done = ends(closeEvent("finished"));
  const busy = await serve(t, cut, refuses(503), done);
  assert.equal((await all(stream(busy.url, FAST))).error, undefined);
  assert.equal(busy.requests.length, 3);
  const gone = await serve(t, cut, refuses(410), done);
  assert.equal((await all(stream(gone.url, FAST))).error.status, 410);
  assert.equal(gone.requests.length, 2);
});

test("it gives up after so many attempts in a row without an event", async (t) => {
  const { url, requests } = await serve(
    t,
    breaks(wire({ id: "1", data: "a" })),
    breaks(""),
    breaks(wire({ id: "2", data: "b" })),
    breaks(""),
  );
  const { seen, error } = await all(stream(url, { ...FAST, attempts: 3 }));
  assert.deepEqual(seen.map(([, data]) => data), ["a", "b"]);
  assert.ok(error instanceof TypeError, error);
  assert.equal(requests.length, 6);
});

test("it gives up on a stream that only ends, too", async (t) => {
  const { url } = await serve(t, ends(wire({ id: "1", data: "a" })), ends(""));
  const { error } = await all(stream(url, { ...FAST, attempts: 2 }));
  assert.deepEqual([error instanceof SseError, error.reason], [true, "ended"]);
});

test("close with the reason finished, or without one, returns", async (t) => {
  for (const farewell of [closeEvent("finished"), wire({ event: "close", data: "{}" })]) {
    const { url, requests } = await serve(t, stays(wire({ id: "1", data: "a" }) + farewell));
    const { seen, error } = await all(stream(url, FAST));
    assert.deepEqual([seen.length, error], [1, undefined]);
    assert.equal(requests.length, 1);
  }
});

for (const reason of ["kicked", "replaced", "expired", "idle", "rotated", "error", "shutdown"]) {
  test(`close with the reason ${reason} throws it`, async (t) => {
    const { url, requests } = await serve(t, stays(wire({ id: "1", data: "a" }) + closeEvent(reason)));
    const { seen, error } = await all(stream(url, FAST));
    assert.equal(seen.length, 1);
    assert.deepEqual([error instanceof SseError, error.reason], [true, reason]);
    assert.equal(requests.length, 1);
  });
}

test("close with a reason of reconnectAfter is come back from, with the id that it carries", async (t) => {
  const { url, requests } = await serve(t, ends(closeEvent("shutdown")), ends(closeEvent("finished")));
  const { error } = await all(stream(url, { ...FAST, reconnectAfter: ["shutdown"] }));
  assert.equal(error, undefined);
  assert.equal(requests.length, 2);
});

for (const event of ["reconnect", "limit", "draining"]) {
  test(`${event} is come back from, and given up with its reason`, async (t) => {
    const farewell = ends(wire({ event, retry: 1, data: "{}" }));
    const once = await serve(t, farewell, ends(wire({ data: "a" }) + closeEvent("finished")));
    assert.deepEqual((await all(stream(once.url, FAST))).seen, [["message", "a", ""]]);
    const always = await serve(t, farewell);
    const { error } = await all(stream(always.url, { ...FAST, attempts: 3 }));
    assert.equal(error.reason, event);
    assert.equal(always.requests.length, 4);
  });
}

test("leaving the loop cancels the request", async (t) => {
  const { url, requests } = await serve(t, stays(wire({ data: "a" })));
  for await (const _ of stream(url)) break;
  const [{ response }] = requests;
  if (!response.destroyed) await once(response, "close");
});

test("abort ends the stream with its reason, while it is read and while it waits", async (t) => {
  for (const step of [stays(wire({ id: "1", data: "a" })), breaks(wire({ id: "1", retry: 100_000, data: "a" }))]) {
    const { url } = await serve(t, step);
    const abort = new AbortController();
    const events = stream(url, { signal: abort.signal });
    await events.next();
    const next = events.next();
    setTimeout(() => abort.abort(new Error("enough")), 20);
    await assert.rejects(next, { message: "enough" });
  }
});

test("nothing comes after abort, though it came in the same chunk", async (t) => {
  const { url } = await serve(t, stays(wire({ data: "1" }) + wire({ data: "2" })));
  const abort = new AbortController();
  const events = stream(url, { signal: abort.signal });
  await events.next();
  abort.abort(new Error("enough"));
  await assert.rejects(events.next(), { message: "enough" });
});

test("a signal that was aborted before makes no request", async (t) => {
  const { url, requests } = await serve(t, ends(""));
  await assert.rejects(stream(url, { signal: AbortSignal.abort(new Error("no")) }).next(), /no/);
  assert.equal(requests.length, 0);
});

test("a reader that is slow holds the server back", async (t) => {
  let written = 0;
  const { url } = await serve(t, async (response) => {
    head(response);
    await flood(response, wire({ data: "x".repeat(60_000) }), (length) => (written += length));
  });
  const events = stream(url);
  await events.next();
  // Until the buffers between the two are full, and nothing more is written.
  for (let before = -1; before !== written && written < 50_000_000; ) {
    before = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  assert.ok(written < 50_000_000, `${written} bytes`);
  await events.return();
});
