// @ts-check
/**
 * The page's half of tower-sse: keeps a stream of Server-Sent Events open, shows how it is doing,
 * and ends it when the server says so. No dependency. `tower-sse.d.ts` documents each option.
 *
 * From the bottom up: `parser` reads the format, `events` reads a body, `stream` is one request;
 * `Line` keeps one connection up, `Tabs` shares it, `Connection` is what the page knows of a URL,
 * and `Source` is a handle to that. The last parts attach all this to htmx, Alpine and the page.
 */

/** @typedef {import("./tower-sse.js").Options} Options */
/** @typedef {import("./tower-sse.js").State} State */
/** @typedef {import("./tower-sse.js").StreamEvent} StreamEvent */
/**
 * What travels between a line, the tabs and the handles. An event is new if its id differs from
 * the one before: others inherit that id, and may be told twice or not at all after a cut.
 * @typedef {{ type: string, data: string, id: string, own: boolean }} Told
 */

/** Not there in a worker, nor in a program that only uses `stream`. */
const page = globalThis.document;

/** Events after which a stream ends. `close` is final unless its reason says otherwise. */
const FAREWELLS = ["close", "reconnect", "limit", "draining"];

const STANDARD = {
  lastEventId: "",
  resume: false,
  /** @type {string[]} */ reconnectAfter: [],
  staleAfter: 0,
  heartbeat: "heartbeat",
  pauseHidden: false,
  share: false,
  withCredentials: false,
  maxDelay: 30000,
  minDelay: 1000,
};

/** Options of the whole page. @type {Partial<Options>} */
let configured = {};

/** @param {Partial<Options>} options */
export function configure(options) {
  configured = { ...configured, ...options };
}

/** A stream that could not go on. */
export class SseError extends Error {
  /** @param {{ status?: number, body?: string, reason?: string }} why */
  constructor({ status, body, reason }) {
    super(reason ? `the stream ended: ${reason}` : `the server answered ${status}`);
    this.name = "SseError";
    this.status = status;
    this.body = body;
    this.reason = reason;
  }
}

// ---- The format

/**
 * Reads text as the specification of Server-Sent Events says, however it is cut.
 * @param {(event: StreamEvent) => void} onEvent
 * @param {(milliseconds: number) => void} [onRetry]
 * @param {string} [lastEventId] what events without an id inherit
 */
export function parser(onEvent, onRetry, lastEventId = "") {
  let rest = "";
  let skipLineFeed = false;
  let id = lastEventId;
  let type = "";
  let data = "";
  /** @type {number | undefined} */ let retry;

  /** @param {string} line */
  function read(line) {
    if (!line) return dispatch();
    const [, field, value] = /** @type {string[]} */ (/^([^:]*):? ?(.*)$/s.exec(line));
    if (field === "data") data += value + "\n";
    else if (field === "event") type = value;
    else if (field === "id" && !value.includes("\0")) id = value;
    else if (field === "retry" && /^\d+$/.test(value)) onRetry?.((retry = +value));
  }

  function dispatch() {
    lastEventId = id;
    if (data) onEvent({ type: type || "message", data: data.slice(0, -1), lastEventId, retry });
    type = data = "";
    retry = undefined;
  }

  return {
    /** @param {string} text */
    push(text) {
      if (!text) return;
      // The CR at the end of the last text ended a line. A LF after it is the rest of that end.
      if (skipLineFeed && text[0] === "\n") text = text.slice(1);
      skipLineFeed = text.endsWith("\r");
      const lines = text.split(/\r\n|\r|\n/);
      lines[0] = rest + lines[0];
      rest = /** @type {string} */ (lines.pop());
      lines.forEach(read);
    },
    get lastEventId() {
      return lastEventId;
    },
  };
}

/**
 * The events of a body. Leaving the loop cancels the body.
 * @param {Response} response
 * @param {string} lastEventId
 * @param {(milliseconds: number) => void} onRetry
 */
async function* events(response, lastEventId, onRetry) {
  /** @type {StreamEvent[]} */
  const ready = [];
  const { push } = parser((event) => ready.push(event), onRetry, lastEventId);
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      push(decoder.decode(value, { stream: true }));
      yield* ready.splice(0);
    }
  } finally {
    // A body that failed cannot be cancelled: the failure itself is on its way already.
    reader.cancel().catch(() => {});
  }
}

// ---- Requests

/**
 * @param {string} url
 * @param {string} lastEventId for the header; empty for none
 * @param {RequestInit} init
 */
function ask(url, lastEventId, init) {
  const headers = new Headers(init.headers);
  headers.set("Accept", "text/event-stream");
  // A header holds bytes. A browser's EventSource writes the id in UTF-8, too.
  const bytes = new TextEncoder().encode(lastEventId);
  if (lastEventId) headers.set("Last-Event-ID", String.fromCharCode(...bytes));
  return fetch(url, { cache: "no-store", ...init, headers });
}

/** @param {Response} response */
const isStream = ({ status, headers }) =>
  status === 200 && /^text\/event-stream\b/i.test(headers.get("Content-Type") ?? "");

/** Whether asking again would only get the same answer. @param {number} status */
const isHopeless = (status) =>
  status >= 400 && status < 500 && ![404, 408, 425, 429].includes(status);

/** Milliseconds for which the server wants to be left alone. @param {Response} response */
function retryAfter({ headers }) {
  const value = headers.get("Retry-After") ?? "";
  return Math.max(0, +value * 1000 || Date.parse(value) - Date.now() || 0);
}

/**
 * A delay of our own: doubles with each failure, and lies anywhere below that (full jitter), so
 * that pages that lost a server together do not come back together.
 * @param {number} failures
 * @param {{ minDelay: number, maxDelay: number }} options
 */
const backoff = (failures, { minDelay, maxDelay }) =>
  Math.random() * Math.min(maxDelay, minDelay * 2 ** failures);

/** The reason in the data of a farewell. @param {StreamEvent | Told} event */
function reasonOf({ type, data }) {
  if (type !== "close") return type;
  try {
    return String(JSON.parse(data).reason ?? "finished");
  } catch {
    return "finished";
  }
}

/** @param {number} delay @param {AbortSignal | null} [signal] */
function sleep(delay, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => reject(/** @type {AbortSignal} */ (signal).reason);
    if (signal?.aborted) stop();
    signal?.addEventListener("abort", stop, { once: true });
    setTimeout(() => resolve(signal?.removeEventListener("abort", stop)), delay);
  });
}

/** @param {Response} response */
async function bodyText(response) {
  const reader = response.body?.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done) return text;
    text += decoder.decode(value, { stream: true });
    if (text.length < 65536) continue;
    reader?.cancel().catch(() => {});
    return text.slice(0, 65536);
  }
}

/**
 * The events of one request, resumed by their ids where it is cut.
 * @param {string | URL} url
 * @param {import("./tower-sse.js").StreamOptions} [options]
 * @returns {AsyncGenerator<StreamEvent, void, void>}
 */
export async function* stream(url, options = {}) {
  const { lastEventId = "", attempts = 5, minDelay, maxDelay, reconnectAfter, ...init } = {
    ...STANDARD,
    ...options,
  };
  let place = lastEventId;
  let resumable = false;
  let failures = 0;
  let retry = 0;
  for (;;) {
    /** Why this answer ended, if it did so before its time. @type {unknown} */
    let failure;
    let again = false;
    let wait = 0;
    try {
      const response = await ask(String(url), place, init);
      if (response.status === 204) return;
      if (!isStream(response)) {
        wait = retryAfter(response);
        again = resumable && !isHopeless(response.status);
        throw new SseError({ status: response.status, body: await bodyText(response) });
      }
      for await (const event of events(response, place, (value) => (retry = value))) {
        if (FAREWELLS.includes(event.type)) {
          const reason = reasonOf(event);
          if (reason === "finished") return;
          again = event.type !== "close" || reconnectAfter.includes(reason);
          if (!again) resumable = false;
          throw new SseError({ reason });
        }
        failures = 0;
        resumable ||= event.lastEventId !== place;
        place = event.lastEventId;
        yield event;
      }
    } catch (error) {
      failure = error;
    }
    if (init.signal?.aborted) throw init.signal.reason;
    const cut = !(failure instanceof SseError);
    if (!(again || (cut && resumable)) || ++failures > attempts) {
      if (failure || failures > attempts) throw failure ?? new SseError({ reason: "ended" });
      return;
    }
    await sleep(Math.max(wait, retry, backoff(failures - 1, { minDelay, maxDelay })), init.signal);
  }
}

/**
 * The URL with the place at which to go on, for a request that cannot carry a header.
 * @param {string} url @param {string} lastEventId
 */
function at(url, lastEventId) {
  const placed = new URL(url);
  if (lastEventId) placed.searchParams.set("last_event_id", lastEventId);
  return placed.href;
}

/** @param {string | URL} url */
const absolute = (url) => new URL(url, page?.baseURI ?? globalThis.location?.href).href;

// ---- One connection to the server

/**
 * Keeps one connection up. Begins with the browser's EventSource, whose own reconnects obey the
 * server's `retry`, and goes on by fetch when that gives up: it does so at any status but 200,
 * without telling which.
 */
class Line {
  /** @type {Connection} */ #owner;
  /** @type {EventSource | undefined} */ #source;
  /** @type {AbortController | undefined} */ #abort;
  /** The id of the last event. */ #id;
  /** The farewell that was heard on the open connection. */ #farewell = "";
  /** Errors of the EventSource since it was open. */ #errors = 0;
  /** Failures since the last event. */ #failures = 0;
  /** The last `retry` of the server. */ #retry = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #watchdog;
  /** Until when the server wants to be left alone. */ #notBefore = 0;
  /** When the server was last heard. Infinity while it need not speak. */ #heardAt = Infinity;

  /** @param {Connection} owner */
  constructor(owner) {
    this.#owner = owner;
    this.#id = owner.lastEventId;
    this.#open();
  }

  /** Has the EventSource hear events of a name. @param {string} name */
  listen(name) {
    this.#source?.addEventListener(name, this.#onMessage);
  }

  /** Ends a wait that is our own, and finds out whether the connection lived through a sleep. */
  wake() {
    if (this.#timer) this.#wait(this.#notBefore - Date.now());
    else if (Date.now() - this.#heardAt > this.#owner.options.staleAfter) {
      this.#stale();
      this.wake();
    }
  }

  close() {
    this.#source?.close();
    this.#abort?.abort();
    this.#source = this.#abort = undefined;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#watch(false);
  }

  #open() {
    this.#timer = undefined;
    this.#watch();
    if (this.#owner.byFetch) this.#fetch();
    else this.#listen();
  }

  #listen() {
    const { url, lastEventId, names, options } = this.#owner;
    const { withCredentials } = options;
    const source = new EventSource(at(url, lastEventId), { withCredentials });
    this.#source = source;
    this.#errors = 0;
    source.onopen = () => {
      this.#errors = 0;
      this.#opened();
    };
    source.onerror = (event) => {
      // An event of the server that is named `error` comes here, too.
      if (event instanceof MessageEvent) return;
      const reason = this.#farewell || (this.#owner.state === "live" ? "ended" : "network");
      if (source.readyState === 2 || ++this.#errors > 1) {
        this.#owner.byFetch = true;
        return this.#again(source.readyState === 2 ? "status" : reason);
      }
      this.#watch(false);
      this.#owner.changed("reconnecting", reason);
    };
    names.forEach((name) => this.listen(name));
  }

  #onMessage = (/** @type {Event} */ event) => {
    if (event instanceof MessageEvent) this.#hear(event);
  };

  async #fetch() {
    const { url, lastEventId, options } = this.#owner;
    const { signal } = (this.#abort = new AbortController());
    const here = new URL(url).origin === globalThis.location?.origin;
    let reason = "network";
    let asked = 0;
    try {
      // Another origin would be asked for leave first because of the header; the URL is enough.
      const response = await ask(at(url, lastEventId), here ? lastEventId : "", {
        signal,
        credentials: options.withCredentials ? "include" : "same-origin",
      });
      if (response.status === 204) return this.#owner.changed("closed", "finished");
      if (isHopeless(response.status)) return this.#owner.changed("closed", "status");
      asked = retryAfter(response);
      reason = "status";
      if (isStream(response)) {
        this.#opened();
        reason = "network";
        for await (const event of events(response, lastEventId, (value) => (this.#retry = value))) {
          if (signal.aborted) return;
          this.#hear(event);
        }
        reason = "ended";
      }
    } catch {
      // The connection failed, and `reason` says so.
    }
    if (!signal.aborted) this.#again(this.#farewell || reason, asked);
  }

  #opened() {
    this.#farewell = "";
    this.#watch();
    this.#owner.changed("live");
  }

  /** @param {{ type: string, data: string, lastEventId: string }} event */
  #hear({ type, data, lastEventId }) {
    const told = { type, data, id: lastEventId, own: lastEventId !== this.#id };
    this.#id = lastEventId;
    this.#failures = 0;
    this.#watch();
    this.#owner.heard(told);
    if (!FAREWELLS.includes(type)) return;
    const reason = reasonOf(told);
    if (type !== "close" || this.#owner.options.reconnectAfter.includes(reason)) {
      this.#farewell = reason;
    } else this.#owner.changed("closed", reason);
  }

  /** @param {string} reason @param {number} [asked] */
  #again(reason, asked = 0) {
    this.close();
    const wait = Math.max(asked, this.#retry);
    this.#notBefore = Date.now() + wait;
    this.#wait(Math.max(wait, backoff(this.#failures++, this.#owner.options)));
    this.#owner.changed("reconnecting", reason);
  }

  #stale() {
    this.close();
    this.#notBefore = 0;
    this.#wait(backoff(this.#failures++, this.#owner.options));
    this.#owner.changed("stale", "silent");
  }

  /** @param {number} delay */
  #wait(delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#open(), delay);
  }

  /** The server was heard, or need not speak for now. */
  #watch(on = true) {
    const { staleAfter } = this.#owner.options;
    clearTimeout(this.#watchdog);
    this.#heardAt = on && staleAfter ? Date.now() : Infinity;
    if (on && staleAfter) this.#watchdog = setTimeout(() => this.#stale(), staleAfter);
  }
}

// ---- One connection for all tabs

/** How many events a tab remembers, to drop what it has had and to pass on what others have not. */
const REMEMBERED = 512;
/** A connection that says nothing for so long after it was opened has nothing to catch up with. */
const QUIET = 2000;

/**
 * Shares a line among the tabs of an origin. The tab that holds the lock leads: it has the line,
 * and tells the others every event. They follow as soon as nothing is lost by it, and have lines
 * of their own until then.
 *
 * Only messages of the leader that welcomed this tab count, so that what a former leader said last
 * cannot come between the events of the next one, which goes on from its own place.
 */
class Tabs {
  /** @type {Connection} */ #owner;
  #me = String(Math.random());
  /** The tab that is followed; this one if it leads. */ #leader = "";
  /** The events by their ids, oldest first. @type {Map<string, Told | undefined>} */
  #recent = new Map();
  /** What leaders said while the own line is quiet. @type {{ from: string, event: Told }[]} */
  #overheard = [];
  /** When the own line was opened. NaN as soon as it has told something. */ #quietSince = Infinity;
  #channel;
  #timer;
  #abort = new AbortController();
  #release = () => {};

  /** @param {Connection} owner */
  constructor(owner) {
    const name = "tower-sse:" + owner.url;
    this.#owner = owner;
    this.#channel = new BroadcastChannel(name);
    this.#channel.onmessage = ({ data }) => this.#read(data);
    this.#timer = setInterval(() => this.#seek(), QUIET / 2);
    navigator.locks
      .request(name, { signal: this.#abort.signal }, () => this.#lead())
      // Given up before it was got, or not to be had here.
      .catch(() => {});
    if (owner.lastEventId) {
      this.#recent.set(owner.lastEventId, undefined);
      this.#hello();
    } else owner.openLine();
  }

  close() {
    clearInterval(this.#timer);
    this.#abort.abort();
    this.#release();
    this.#channel.close();
  }

  /** The own line got an event. @param {Told} event */
  heard(event) {
    if (this.#leads) this.#post({ kind: "event", event });
    if (event.type !== this.#owner.options.heartbeat && !FAREWELLS.includes(event.type)) {
      this.#quietSince = NaN;
      this.#overheard = [];
    }
    this.#take(event);
  }

  /** The status of this tab changed. @param {State} state @param {string} reason */
  changed(state, reason) {
    if (this.#leads) this.#post({ kind: "status", state, reason });
    else if (!this.#leader && state === "live" && this.#quietSince === Infinity) {
      this.#quietSince = Date.now();
    }
  }

  get #leads() {
    return this.#leader === this.#me;
  }

  #lead() {
    this.#leader = this.#me;
    this.#post({ kind: "lead" });
    this.#owner.openLine();
    return /** @type {Promise<void>} */ (new Promise((release) => (this.#release = release)));
  }

  /** Asks for a leader to follow. The own line is needed where none has answered. */
  #seek() {
    if (this.#leader) return;
    this.#owner.openLine();
    this.#hello();
  }

  #hello() {
    this.#post({ kind: "hello", id: this.#owner.lastEventId });
  }

  /** @param {Record<string, unknown>} message */
  #post(message) {
    this.#channel.postMessage({ from: this.#me, ...message });
  }

  /** @param {any} message */
  #read(message) {
    const { from, kind, event } = message;
    if (kind === "hello") {
      if (this.#leads) this.#welcome(from, message.id);
    } else if (kind === "lead") {
      this.#leader = "";
      this.#hello();
    } else if (kind === "welcome") {
      if (message.to === this.#me && !this.#leader) this.#follow(message);
    } else if (from !== this.#leader) {
      if (event && Date.now() >= this.#quietSince) this.#overheard.push({ from, event });
    } else if (event) this.#take(event);
    else this.#owner.changed(message.state, message.reason);
  }

  /** @param {string} to @param {string} place */
  #welcome(to, place) {
    const { lastEventId, state, reason } = this.#owner;
    const ids = [...this.#recent.keys()];
    const found = ids.indexOf(place);
    const events = [...this.#recent.values()].slice(found + 1);
    const known = found >= 0;
    this.#post({ kind: "welcome", to, id: lastEventId, events: known && events, state, reason });
  }

  /** Follows a leader, if nothing is lost by that. @param {any} welcome */
  #follow({ from, id, events, state, reason }) {
    const owner = this.#owner;
    const ahead = this.#recent.has(id);
    const quiet = Date.now() - this.#quietSince >= QUIET;
    // Followed a stream without ids until now: what was said in between is lost with its leader.
    const orphan = !owner.lastEventId && !owner.hasLine;
    if (!(events || ahead || quiet || orphan)) return owner.openLine();
    const missed = events || this.#overheard.filter((told) => told.from === from).map((told) => told.event);
    this.#leader = from;
    this.#quietSince = Infinity;
    this.#overheard = [];
    missed.forEach((/** @type {Told} */ event) => this.#take(event));
    owner.closeLine();
    owner.changed(state, reason);
  }

  /** Passes an event on, once. @param {Told} event */
  #take(event) {
    const { own, id } = event;
    if (own && id) {
      if (this.#recent.has(id)) return;
      this.#recent.set(id, event);
      const [oldest] = this.#recent.keys();
      if (this.#recent.size > REMEMBERED) this.#recent.delete(oldest);
    }
    this.#owner.deliver(event);
  }
}

// ---- What the page knows of a URL

/** The open connections of this page. @type {Map<string, Connection>} */
const connections = new Map();

class Connection {
  /** @type {State | ""} */ state = "";
  reason = "";
  lastEventId = "";
  /** Fetch hears events of every name. EventSource must be told the names. */
  byFetch = false;
  /** @type {Set<Source>} */ #handles = new Set();
  /** @type {Line | undefined} */ #line;
  /** @type {Tabs | undefined} */ #tabs;
  #paused = false;

  /** @param {string} url @param {typeof STANDARD} options */
  constructor(url, options) {
    this.url = url;
    this.options = options;
    this.names = new Set(["message", "gap", options.heartbeat, ...FAREWELLS, ...toasted]);
    this.lastEventId = options.lastEventId || (options.resume && stored(url)) || "";
    connections.set(url, this);
    this.changed("connecting");
    if (options.pauseHidden && page?.hidden) this.pause();
    else this.#begin();
  }

  get hasLine() {
    return !!this.#line;
  }

  /** @param {Source} handle */
  join(handle) {
    this.#handles.add(handle);
    // Later, so that who made the handle has it before it speaks.
    queueMicrotask(() => this.#handles.has(handle) && this.#announce(handle));
  }

  /** @param {Source} handle */
  leave(handle) {
    if (this.#handles.size === 1 && this.#handles.has(handle)) {
      // First, so that other tabs do not take this end for theirs.
      this.#shut();
      this.changed("closed", "called");
    }
    this.#handles.delete(handle);
  }

  /** @param {string} name */
  listen(name) {
    if (this.names.has(name)) return;
    this.names.add(name);
    this.#line?.listen(name);
  }

  openLine() {
    this.#line ??= new Line(this);
  }

  closeLine() {
    this.#line?.close();
    this.#line = undefined;
  }

  pause() {
    if (this.#paused) return;
    this.#paused = true;
    this.#shut();
    this.changed("reconnecting", "hidden");
  }

  resume() {
    if (this.#paused) this.#begin();
  }

  wake() {
    if (page?.hidden !== true) this.#line?.wake();
  }

  /** The line got an event. @param {Told} event */
  heard(event) {
    if (this.#tabs) this.#tabs.heard(event);
    else this.deliver(event);
  }

  /** Hands an event to the page. @param {Told} event */
  deliver({ type, data, id, own }) {
    if (own) {
      this.lastEventId = id;
      if (this.options.resume) store(this.url, id);
    }
    for (const target of [...this.#handles, anywhere]) {
      target.dispatchEvent(new MessageEvent(type, { data, lastEventId: id }));
    }
    if (type === "gap") announce(page, "sse:gap", { url: this.url, ...parsed(data) });
  }

  /** @param {State} state */
  changed(state, reason = "") {
    const same = this.state === state && this.reason === reason;
    if (same || this.state === "closed") return;
    this.state = state;
    this.reason = reason;
    this.#tabs?.changed(state, reason);
    if (state === "closed") {
      this.#shut();
      connections.delete(this.url);
    }
    this.#handles.forEach((handle) => this.#announce(handle));
    publish(this);
  }

  /** @param {Source} handle */
  #announce(handle) {
    const { state, reason, url } = this;
    announce(handle, "sse:status", { state, reason, url });
  }

  #begin() {
    this.#paused = false;
    if (this.options.share && globalThis.navigator?.locks && globalThis.BroadcastChannel) {
      // The names that other tabs listen to are not known here.
      this.byFetch = true;
      this.#tabs = new Tabs(this);
    } else this.openLine();
  }

  #shut() {
    this.closeLine();
    this.#tabs?.close();
    this.#tabs = undefined;
  }
}

/** A handle to the connection of a URL. Its events are those of the stream. */
export class Source extends EventTarget {
  #connection;

  /** @param {string} url @param {Options} options */
  constructor(url, { events = {}, onStatus, ...options }) {
    super();
    const all = { ...STANDARD, ...pageOptions(), ...options };
    this.#connection = connections.get(url) ?? new Connection(url, all);
    for (const [name, handler] of Object.entries(events)) this.on(name, handler);
    if (onStatus) this.addEventListener("sse:status", (event) => onStatus(detailOf(event)));
    this.#connection.join(this);
  }

  get url() {
    return this.#connection.url;
  }
  get state() {
    return this.#connection.state;
  }
  get reason() {
    return this.#connection.reason;
  }
  get lastEventId() {
    return this.#connection.lastEventId;
  }

  /** @type {EventTarget["addEventListener"]} */
  addEventListener(name, handler, options) {
    super.addEventListener(name, handler, options);
    this.#connection.listen(name);
  }

  /** @param {string} name @param {(event: MessageEvent<string>) => void} handler */
  on(name, handler) {
    const listener = /** @type {EventListener} */ (handler);
    this.addEventListener(name, listener);
    return () => this.removeEventListener(name, listener);
  }

  close() {
    this.#connection.leave(this);
  }
}

/** @param {string | URL} url @param {Options} [options] */
export function connect(url, options = {}) {
  return new Source(absolute(url), options);
}

// ---- What the document shows

/** The last status of each URL, and under "" that of the page. @type {Map<string, any>} */
const statuses = new Map();

/** @param {{ url: string, state: State | "", reason: string }} status */
function publish({ url, state, reason }) {
  const status = { state, reason, url };
  statuses.set(url, status).set("", status);
  page?.querySelectorAll("[data-sse-status]").forEach(show);
  announce(page, "sse:status", status);
}

/** @param {Element} element */
function show(element) {
  const url = element.getAttribute("data-sse-url");
  const status = statuses.get(url ? absolute(url) : "");
  if (!status) return;
  element.setAttribute("data-sse-status", status.state);
  element.setAttribute("data-sse-reason", status.reason);
  setDefault(element, "role", "status");
  if (!element.childElementCount) element.textContent = status.state;
}

/** @param {Element} element @param {string} name @param {string} value */
function setDefault(element, name, value) {
  if (!element.hasAttribute(name)) element.setAttribute(name, value);
}

/** @param {EventTarget | undefined} target @param {string} type @param {object} detail */
function announce(target, type, detail) {
  target?.dispatchEvent(new CustomEvent(type, { detail }));
}

/** @param {Event} event */
const detailOf = (event) => /** @type {CustomEvent} */ (event).detail;

/** @param {string} data @returns {any} */
function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {}
}

// ---- Settings of the page and of elements

/** @returns {Partial<Options>} */
function pageOptions() {
  const meta = page?.querySelector("meta[name=tower-sse]")?.getAttribute("content");
  return { ...parsed(meta ?? "{}"), ...configured };
}

/**
 * The options in the attributes of an element, e.g. `data-sse-reconnect-after="shutdown"`.
 * @param {Element | undefined} element
 */
function optionsOf(element) {
  /** @type {Record<string, unknown>} */
  const options = {};
  for (const [name, standard] of Object.entries(STANDARD)) {
    const text = element?.getAttribute("data-sse-" + name.replace(/[A-Z]/g, "-$&").toLowerCase());
    if (text == null) continue;
    if (typeof standard === "boolean") options[name] = text !== "off" && text !== "false";
    else if (typeof standard === "number") options[name] = +text;
    else options[name] = typeof standard === "string" ? text : text.split(/[\s,]+/);
  }
  return options;
}

/** @param {string} url */
function stored(url) {
  try {
    return sessionStorage.getItem("tower-sse:" + url);
  } catch {}
}

/** @param {string} url @param {string} id */
function store(url, id) {
  try {
    sessionStorage.setItem("tower-sse:" + url, id);
  } catch {
    // Forbidden or full: then a reload begins as if nothing had been kept.
  }
}

// ---- Toasts

/** Gets the events of all connections. */
const anywhere = new EventTarget();
/** The names that toasts of the page want to hear. @type {Set<string>} */
const toasted = new Set();

/** @param {Element} list */
function toasts(list) {
  const name = list.getAttribute("data-sse-toasts") || "message";
  const url = list.getAttribute("data-sse-url");
  const add = (/** @type {any} */ { data }) => toast(list, data);
  setDefault(list, "role", "log");
  setDefault(list, "aria-live", "polite");
  if (url) return connect(url, { ...optionsOf(list), events: { [name]: add } });
  anywhere.addEventListener(name, add);
  toasted.add(name);
  connections.forEach((connection) => connection.listen(name));
}

/** @param {Element} list @param {string} data */
function toast(list, data) {
  const item = list.ownerDocument.createElement("li");
  const { text, message, title } = parsed(data) ?? {};
  if (list.hasAttribute("data-sse-html")) item.innerHTML = data;
  else item.textContent = text ?? message ?? title ?? data;
  list.append(item);
  const life = +(list.getAttribute("data-sse-toast-ms") ?? 6000);
  const leave = () => {
    if (item.matches(":hover, :focus-within")) setTimeout(leave, life);
    else item.remove();
  };
  if (life) setTimeout(leave, life);
}

// ---- htmx 2 with its extension sse

/**
 * A connection as the extension wants to see it: an EventSource that never gives up, so that the
 * extension's own way to reconnect, which forgets the last id, is never taken.
 */
class HtmxSource extends Source {
  /** @type {((event: Event) => void) | undefined} */ onopen;
  /** @type {((event: Event) => void) | undefined} */ onerror;
  /** @type {((event: Event) => void) | undefined} */ onmessage;

  /** @param {string} url */
  constructor(url) {
    const elements = page.querySelectorAll("[sse-connect], [data-sse-connect]");
    const element = [...elements].find((element) =>
      [element.getAttribute("sse-connect"), element.getAttribute("data-sse-connect")].includes(url),
    );
    const standard = { share: true, withCredentials: true, ...pageOptions() };
    super(absolute(url), { ...standard, ...optionsOf(element) });
    this.addEventListener("sse:status", () => this.#report());
    this.addEventListener("message", (event) => this.onmessage?.(event));
  }

  get readyState() {
    return this.state === "closed" ? 2 : this.state === "live" ? 1 : 0;
  }

  #report() {
    if (this.state === "live") this.onopen?.(new Event("open"));
    // htmx logs errors. A wait that the server asked for is none, nor is an end.
    else if (["network", "ended", "status"].includes(this.reason) && !this.readyState) {
      this.onerror?.(new Event("error"));
    }
  }
}

function takeHtmx() {
  const { htmx } = /** @type {any} */ (globalThis);
  if (htmx) htmx.createEventSource = (/** @type {string} */ url) => new HtmxSource(url);
}

// ---- htmx 4 with its extension hx-sse

/** The reasons for which connections of htmx must not ask again. @type {WeakMap<object, string>} */
const stops = new WeakMap();

/** @type {Record<string, (connection: any, detail: any) => void>} */
const htmx4 = {
  "before:message": (connection, { message: { event: type, data, id } }) => {
    const told = { type: type || "message", data, lastEventId: id };
    anywhere.dispatchEvent(new MessageEvent(told.type, told));
    const again = pageOptions().reconnectAfter ?? [];
    if (type === "close" && !again.includes(reasonOf(told))) stops.set(connection, reasonOf(told));
  },
  "before:connection": (connection) => {
    if (stops.has(connection)) connection.cancelled = true;
    else mirror(connection, connection.attempt ? "reconnecting" : "connecting", "ended");
  },
  "after:connection": (connection) => {
    // htmx would ask again: to it, this is a stream that ended.
    if (connection.status === 204) stops.set(connection, "finished");
    else mirror(connection, "live");
  },
  error: (connection, { status }) => {
    if (isHopeless(status)) stops.set(connection, "status");
    mirror(connection, "reconnecting", status ? "status" : "network");
  },
  close: (connection) => mirror(connection, "closed", stops.get(connection) ?? "called"),
};

/** @param {any} connection @param {State} state */
function mirror(connection, state, reason = "") {
  if (connection) publish({ url: absolute(connection.url), state, reason });
}

// ---- Alpine 3

function takeAlpine() {
  const { Alpine } = /** @type {any} */ (globalThis);
  Alpine.store("sse", {
    state: "",
    reason: "",
    /** @type {Record<string, object>} */ urls: {},
    /** @param {string} url */
    of(url) {
      return this.urls[absolute(url)] ?? {};
    },
  });
  page.addEventListener("sse:status", (event) => {
    const { url, state, reason } = detailOf(event);
    const store = Alpine.store("sse");
    Object.assign(store, { state, reason });
    store.urls[url] = { state, reason };
  });
  Alpine.magic(
    "sse",
    (/** @type {Element} */ _, /** @type {any} */ { cleanup }) =>
      (/** @type {string} */ url, /** @type {Options["events"]} */ events, options = {}) => {
        const source = connect(url, { ...options, events });
        cleanup(() => source.close());
        return source;
      },
  );
}

// ---- The page

if (page) {
  const each = (/** @type {(connection: Connection) => void} */ act) => connections.forEach(act);
  const wake = () => each((connection) => connection.wake());
  page.addEventListener("visibilitychange", () => {
    each((connection) => {
      if (!connection.options.pauseHidden) connection.wake();
      else if (page.hidden) connection.pause();
      else connection.resume();
    });
  });
  addEventListener("online", wake);
  // A page with an open connection or lock is not kept for the Back button.
  addEventListener("pagehide", () => each((connection) => connection.pause()));
  addEventListener("pageshow", () => each((connection) => connection.resume()));

  page.addEventListener("alpine:init", takeAlpine);
  for (const [name, act] of Object.entries(htmx4)) {
    page.addEventListener("htmx:sse:" + name, (event) => act(detailOf(event).connection, detailOf(event)));
  }
  const start = () => {
    takeHtmx();
    page.querySelectorAll("[data-sse-status]").forEach(show);
    page.querySelectorAll("[data-sse-toasts]").forEach(toasts);
  };
  // At once where htmx is there already, and again when scripts that came later have run.
  takeHtmx();
  if (page.readyState === "loading") page.addEventListener("DOMContentLoaded", start);
  else start();
}
