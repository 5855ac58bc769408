import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { parser } from "../tower-sse.js";

const file = new URL("../../tests/cases/wire.json", import.meta.url);
const cases = JSON.parse(readFileSync(file, "utf8")).map(prepare);

/** The stream of a case, cut as it wants it, and what is to be seen of it. */
function prepare(raw) {
  const { stream, events } = raw.input_gen ? generate(raw.input_gen) : given(raw);
  const chunks = raw.chunks_hex?.map((hex) => Buffer.from(hex, "hex")) ?? [stream];
  const expected = { events, id: raw.expected_last_event_id, retry: raw.expected_retry };
  return { name: raw.name, stream, chunks, expected };
}

function given({ input_hex, expected }) {
  const events = expected.map(({ event, data, id }) => [event, data, id]);
  return { stream: Buffer.from(input_hex, "hex"), events };
}

/** Streams that are too long to be spelled out. */
function generate({ each, prefix, unit, count, suffix }) {
  if (each) {
    const data = Array.from({ length: 100 }, (_, at) => `${at + 1} `.repeat(at + 1));
    const stream = data.map((text) => `data: ${text}\n\n`).join("");
    return { stream: Buffer.from(stream), events: data.map((text) => ["message", text, ""]) };
  }
  const data = unit.repeat(count);
  return { stream: Buffer.from(prefix + data + suffix), events: [["message", data, ""]] };
}

function read(texts) {
  const events = [];
  let retry = null;
  const reader = parser(
    ({ type, data, lastEventId }) => events.push([type, data, lastEventId]),
    (milliseconds) => (retry = milliseconds),
  );
  for (const text of texts) reader.push(text);
  return { events, id: reader.lastEventId, retry };
}

/** A body arrives in bytes, and a character may be cut. */
function decoded(chunks) {
  const decoder = new TextDecoder();
  return chunks.map((chunk) => decoder.decode(chunk, { stream: true }));
}

test("no case is lost", () => {
  assert.equal(cases.length, 124);
  assert.equal(cases.filter(({ chunks }) => chunks.length > 1).length, 21);
  assert.equal(cases.reduce((sum, { expected }) => sum + expected.events.length, 0), 348);
});

test("the parser reads every case", () => {
  for (const { name, stream, expected } of cases) {
    assert.deepEqual(read(decoded([stream])), expected, name);
  }
});

test("the parser reads every case in its chunks", () => {
  for (const { name, chunks, expected } of cases) {
    assert.deepEqual(read(decoded(chunks)), expected, name);
  }
});

test("the parser reads every case character by character", () => {
  for (const { name, stream, expected } of cases) {
    assert.deepEqual(read(decoded([stream])[0]), expected, name);
  }
});

test("the parser reads every case cut in two anywhere", () => {
  for (const { name, stream, expected } of cases) {
    const [text] = decoded([stream]);
    // All places in the streams of many kilobytes would take minutes.
    const step = text.length < 4096 ? 1 : 97;
    for (let at = 0; at <= text.length; at += step) {
      const halves = [text.slice(0, at), text.slice(at)];
      assert.deepEqual(read(halves), expected, `${name} at ${at}`);
    }
  }
});

test("an event carries its own retry, and not that of another", () => {
  const retries = [];
  const reader = parser(({ retry }) => retries.push(retry));
  reader.push("retry: 5\ndata: a\n\ndata: b\n\nretry: x\ndata: c\n\n");
  assert.deepEqual(retries, [5, undefined, undefined]);
});

test("events without an id inherit the one that the parser began with", () => {
  const ids = [];
  const reader = parser(({ lastEventId }) => ids.push(lastEventId), undefined, "7");
  reader.push("data: a\n\nid: 8\ndata: b\n\n");
  assert.deepEqual(ids, ["7", "8"]);
});
