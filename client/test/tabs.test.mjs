import assert from "node:assert/strict";
import test from "node:test";
import { Clock, seeded } from "../harness/clock.mjs";
import { Page } from "../harness/page.mjs";
import { Publisher } from "../harness/publisher.mjs";
import { Server, wire } from "../harness/server.mjs";
import { Origin } from "../harness/tabs.mjs";

/** An origin with a server that publishes, and tabs that come and go. */
class World {
  constructor({ seed = 1, delay = 0, ...publishing } = {}) {
    this.random = seeded(seed);
    this.clock = new Clock();
    this.server = new Server();
    this.origin = new Origin(this.clock, this.random, delay);
    this.publisher = new Publisher(this.clock, this.random, publishing);
    this.server.onRequest = this.publisher.accept;
    this.tabs = [];
  }

  /** Opens a tab that shares the stream. */
  tab(options = {}) {
    const { clock, server, origin, random } = this;
    const page = new Page({ clock, server, origin, random });
    const tab = page.open("/events", { share: true, ...options });
    this.tabs.push(Object.assign(tab, { page }));
    return tab;
  }

  /** Publishes again and again, at times that differ. */
  async publish(count, every = 40) {
    for (let event = 0; event < count; event++) {
      this.publisher.publish();
      await this.clock.pass(Math.floor(this.random() * 2 * every));
    }
  }

  pass(milliseconds) {
    return this.clock.pass(milliseconds);
  }

  get open() {
    return this.server.open.length;
  }
}

const texts = (tab) => tab.heard.map(({ data }) => data);

/** The numbers from one to another, as data. */
const range = (from, to) => Array.from({ length: to - from + 1 }, (_, at) => String(from + at));

test("ten tabs have one connection", async () => {
  const world = new World({ delay: 20 });
  for (let tab = 0; tab < 10; tab++) world.tab({ lastEventId: "0" });
  await world.pass(0);
  await world.publish(5);
  await world.pass(5000);
  assert.equal(world.open, 1);
  assert.equal(world.server.requests.length, 1);
  for (const tab of world.tabs) {
    assert.deepEqual(texts(tab), range(1, 5));
    assert.equal(tab.state, "live");
    assert.equal(tab.lastEventId, "5");
  }
});

test("tabs that were opened without a place have one connection, too, and lose nothing", async () => {
  const world = new World({ delay: 20, latency: 30 });
  for (let tab = 0; tab < 10; tab++) {
    world.tab();
    await world.publish(3);
  }
  await world.publish(100);
  await world.pass(5000);
  assert.equal(world.open, 1);
  for (const [at, tab] of world.tabs.entries()) {
    assert.deepEqual(texts(tab), range(at * 3 + 1, 130), `tab ${at}`);
  }
});

/** Leaders go again and again while events are published, in one way or another. */
async function takeOvers(seed, { places, go }) {
  const world = new World({ seed, delay: 60, latency: 60 });
  for (let tab = 0; tab < 10; tab++) world.tab(places ? { lastEventId: "0" } : {});
  if (!places) await world.pass(3000);
  await world.publish(20);
  for (let turn = 0; turn < 20; turn++) {
    await go(world, turn);
    await world.publish(1 + Math.floor(world.random() * 20));
  }
  await world.pass(10_000);
  return world;
}

for (const seed of [1, 2, 3, 4, 5]) {
  test(`every event comes once and in order in every tab through 20 take-overs (seed ${seed})`, async () => {
    const world = await takeOvers(seed, {
      places: true,
      async go({ clock, tabs, random }) {
        const tab = tabs.shift();
        tabs.push(tab);
        tab.page.leave();
        await clock.pass(Math.floor(random() * 100));
        tab.page.comeBack();
      },
    });
    assert.equal(world.open, 1);
    assert.equal(world.server.requests.length, 21, "one at first, and one for each take-over");
    for (const tab of world.tabs) assert.deepEqual(texts(tab), world.publisher.published);
  });

  test(`tabs that stay hear all when leaders close for good (seed ${seed})`, async () => {
    const world = await takeOvers(seed, {
      places: false,
      async go(world) {
        const closed = world.tabs.shift();
        closed.close();
        await world.pass(Math.floor(world.random() * 50));
        const joined = world.tab({ lastEventId: String(world.publisher.published.length) });
        joined.from = world.publisher.published.length + 1;
      },
    });
    assert.equal(world.open, 1);
    const last = world.publisher.published.length;
    for (const tab of world.tabs) assert.deepEqual(texts(tab), range(tab.from ?? 1, last));
  });
}

test("a new leader goes on from its own place", async () => {
  const world = new World();
  const first = world.tab({ lastEventId: "0" });
  world.tab({ lastEventId: "0" });
  await world.publish(3);
  first.close();
  await world.pass(10);
  assert.equal(world.server.last.place, "3");
  assert.equal(world.server.requests.length, 2);
});

test("a tab that joins with a place gets what it has missed from the leader", async () => {
  const world = new World();
  world.tab({ lastEventId: "0" });
  await world.publish(10);
  const joined = world.tab({ lastEventId: "4" });
  await world.publish(2);
  await world.pass(3000);
  assert.deepEqual(texts(joined), range(5, 12));
  assert.equal(world.server.requests.length, 1);
});

test("a tab whose place the leader does not know catches up by a connection of its own", async () => {
  const world = new World();
  world.tab({ lastEventId: "0" });
  await world.publish(600);
  const joined = world.tab({ lastEventId: "3" });
  await world.publish(40);
  assert.equal(world.server.requests.length, 2);
  await world.publish(10);
  await world.pass(3000);
  assert.deepEqual(texts(joined), range(4, 650));
  assert.equal(world.open, 1);
});

test("a tab without a place hears what its own connection begins with", async () => {
  const world = new World({ welcome: "the state" });
  world.tab();
  await world.pass(3000);
  const joined = world.tab();
  await world.pass(100);
  assert.deepEqual(texts(joined), ["the state"]);
  await world.publish(60);
  await world.pass(3000);
  assert.deepEqual(texts(joined), ["the state", ...range(1, 60)]);
  assert.equal(world.open, 1);
});

test("a tab on a silent stream follows after a while, and loses nothing by that", async () => {
  for (const at of [0, 500, 1990, 1999, 2000, 2001, 2010, 2990, 3000, 3010]) {
    const world = new World({ ids: false, delay: 20, latency: 40 });
    world.tab();
    await world.pass(5000);
    const joined = world.tab();
    await world.pass(at);
    world.publisher.publish();
    await world.pass(10_000);
    assert.deepEqual(texts(joined), ["1"], `an event after ${at} ms`);
  }
  const world = new World({ ids: false });
  world.tab();
  world.tab();
  await world.pass(4000);
  assert.equal(world.open, 1);
  await world.publish(3);
  for (const tab of world.tabs) assert.deepEqual(texts(tab), range(1, 3));
});

test("what only the leader has heard when a silent tab begins to follow is not lost", async () => {
  for (let at = 1900; at < 2050; at += 10) {
    // The own connection of the second tab is slow.
    const world = new World({ ids: false, latency: [0, 80] });
    world.tab();
    await world.pass(5000);
    const joined = world.tab();
    await world.pass(at);
    world.publisher.publish();
    await world.pass(10_000);
    world.publisher.publish();
    await world.pass(100);
    assert.deepEqual(texts(joined), ["1", "2"], `an event after ${at} ms`);
    assert.equal(world.open, at <= 1920 ? 2 : 1, `an event after ${at} ms`);
  }
});

test("heartbeats do not keep a silent stream from being shared", async () => {
  const world = new World({ ids: false });
  world.tab();
  world.tab();
  for (let second = 0; second < 8; second++) {
    for (const exchange of world.server.open) exchange.send(wire({ event: "heartbeat", data: "{}" }));
    await world.pass(500);
  }
  assert.equal(world.open, 1);
});

test("a stream without ids that is not silent is never shared", async () => {
  const world = new World({ ids: false });
  world.tab();
  world.tab();
  await world.pass(100);
  await world.publish(200);
  await world.pass(10_000);
  assert.equal(world.open, 2);
  for (const tab of world.tabs) assert.deepEqual(texts(tab), range(1, 200));
});

test("followers of a stream without ids follow the next leader", async () => {
  const world = new World({ ids: false, delay: 5 });
  for (let tab = 0; tab < 3; tab++) world.tab();
  await world.pass(5000);
  assert.equal(world.open, 1);
  world.tabs[0].close();
  await world.pass(5000);
  assert.equal(world.open, 1);
  await world.publish(2);
  for (const tab of world.tabs.slice(1)) assert.deepEqual(texts(tab), range(1, 2));
});

test("the tabs show the leader's status, and end when the server ends the stream", async () => {
  const world = new World({ delay: 5 });
  const [first, second] = [world.tab({ lastEventId: "0" }), world.tab({ lastEventId: "0" })];
  await world.publish(1);
  world.server.last.fail();
  await world.pass(5);
  assert.equal(second.states.at(-1), "reconnecting/network");
  await world.pass(1000);
  assert.equal(second.states.at(-1), "live");
  world.server.last.send(wire({ event: "close", data: '{"reason":"expired"}' }));
  await world.pass(1000);
  assert.equal(first.states.at(-1), "closed/expired");
  assert.equal(second.states.at(-1), "closed/expired");
  await world.pass(100_000);
  assert.equal(world.open, 0);
});

test("a tab that is closed does not close the others", async () => {
  const world = new World();
  const [first, second] = [world.tab({ lastEventId: "0" }), world.tab({ lastEventId: "0" })];
  await world.publish(1);
  first.close();
  await world.publish(1);
  assert.equal(second.state, "live");
  assert.deepEqual(texts(second), range(1, 2));
});

test("a tab that was closed while it followed never leads", async () => {
  const world = new World();
  const [first, second] = [world.tab({ lastEventId: "0" }), world.tab({ lastEventId: "0" })];
  await world.publish(1);
  second.close();
  first.close();
  await world.pass(10_000);
  assert.equal(world.open, 0);
  const third = world.tab({ lastEventId: "0" });
  await world.publish(1);
  assert.deepEqual(texts(third), range(1, 2));
});

for (const seed of [1, 2, 3, 4, 5]) {
  test(`the late word of a former leader takes the lead from nobody (seed ${seed})`, async () => {
    const world = new World({ seed });
    for (let tab = 0; tab < 4; tab++) world.tab({ lastEventId: "0" });
    await world.publish(2);
    world.origin.delay = 900;
    for (let turn = 0; turn < 2; turn++) {
      world.tabs.shift().close();
      await world.pass(1);
    }
    await world.pass(10_000);
    await world.publish(2);
    await world.pass(10_000);
    assert.equal(world.open, 1);
    for (const tab of world.tabs) assert.deepEqual(texts(tab), range(1, 4));
  });
}

test("a tab that comes back still passes on what it had before it was left", async () => {
  const world = new World();
  const [first, second] = [world.tab({ lastEventId: "0" }), world.tab({ lastEventId: "0" })];
  await world.publish(5);
  first.page.leave();
  await world.pass(10);
  first.page.comeBack();
  await world.pass(10);
  second.close();
  await world.pass(10);
  const joined = world.tab({ lastEventId: "3" });
  await world.publish(1);
  assert.deepEqual(texts(joined), range(4, 6));
});

test("pauseHidden hands the lead to a tab that is shown", async () => {
  const world = new World();
  const [first] = [world.tab({ lastEventId: "0", pauseHidden: true }), world.tab({ lastEventId: "0" })];
  await world.publish(2);
  first.page.hide();
  await world.publish(2);
  first.page.show();
  await world.publish(2);
  await world.pass(3000);
  assert.equal(world.open, 1);
  for (const tab of world.tabs) assert.deepEqual(texts(tab), range(1, 6));
});

test("a leader that does not answer keeps no tab from its events", async () => {
  const world = new World();
  world.tab({ lastEventId: "0" });
  await world.publish(2);
  // Its messages are lost from now on.
  world.origin.delay = Infinity;
  const joined = world.tab({ lastEventId: "0" });
  world.origin.delay = 1e12;
  await world.pass(1000);
  assert.deepEqual(texts(joined), range(1, 2));
});

test("a second tab that the server refuses follows the first", async () => {
  const world = new World({ delay: 5 });
  world.tab();
  await world.publish(1);
  world.server.onRequest = (exchange) =>
    exchange.stream(wire({ event: "limit", retry: 60_000, data: '{"reason":"limit"}' })).end();
  const joined = world.tab();
  await world.pass(5000);
  assert.equal(joined.state, "live");
  await world.publish(2);
  assert.deepEqual(texts(joined), range(2, 3));
  assert.equal(world.open, 1);
});

test("without locks or channels each tab has its own connection", async () => {
  const clock = new Clock();
  const server = new Server();
  const { BroadcastChannel, locks } = new Origin(clock, seeded(1));
  for (const origin of [{ locks }, { BroadcastChannel }, undefined]) {
    new Page({ clock, server, origin }).open("/events", { share: true });
  }
  await clock.pass(0);
  assert.equal(server.open.length, 3);
});

test("where channels are forbidden each tab has its own connection", async () => {
  const clock = new Clock();
  const server = new Server();
  const { locks } = new Origin(clock, seeded(1));
  class BroadcastChannel {
    constructor() {
      throw new Error("forbidden");
    }
  }
  for (let tab = 0; tab < 2; tab++) {
    const page = new Page({ clock, server, origin: { BroadcastChannel, locks } });
    page.open("/events", { share: true, lastEventId: "1" });
  }
  await clock.pass(1000);
  assert.equal(server.open.length, 2);
});

test("where locks are forbidden each tab has its own connection", async () => {
  const clock = new Clock();
  const server = new Server();
  const { BroadcastChannel } = new Origin(clock, seeded(1));
  const locks = { request: () => Promise.reject(new Error("forbidden")) };
  for (let tab = 0; tab < 2; tab++) {
    const page = new Page({ clock, server, origin: { BroadcastChannel, locks } });
    page.open("/events", { share: true, lastEventId: "1" });
  }
  await clock.pass(1000);
  assert.equal(server.open.length, 2);
});

test("events of one id are each told, as the server sent them", async () => {
  const world = new World();
  world.tab({ lastEventId: "0" });
  world.tab({ lastEventId: "0" });
  await world.pass(10);
  for (const data of ["a", "b"]) world.server.last.send(wire({ id: "1", data }));
  await world.pass(10);
  for (const tab of world.tabs) assert.deepEqual(texts(tab), ["a", "b"]);
});
