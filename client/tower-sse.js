// @ts-check
/**
 * The page's half of tower-sse: keeps a stream of Server-Sent Events open, shows how it is doing,
 * and ends it when the server says so. No dependency. `tower-sse.d.ts` documents each option.
 *
 * From the bottom up: `parser` reads the format; `openLine` keeps one connection up for an owner.
 * That is `stream` for a single request, or the `Connection` of a URL, which may share its line
 * with other tabs by `joinTabs`. A `Source` is a handle to a connection. The last parts attach all
 * this to the document and to htmx 2; `tower-sse.extras.js` has the rest.
 *
 * All of it goes by fetch. The browser's EventSource shows neither a status nor `retry` nor events
 * whose names were not known before, and gives up for good at any status but 200.
 */

/** @typedef {import("./tower-sse.js").Options} Options */
/** @typedef {import("./tower-sse.js").State} State */
/** @typedef {import("./tower-sse.js").Status} Status */
/** @typedef {import("./tower-sse.js").StreamEvent} StreamEvent */
/**
 * An event as a line hears it. It is its own if its id differs from that of the event before: the
 * others inherit that id, and may be told twice or not at all after a cut.
 * @typedef {StreamEvent & { own: boolean }} Told
 */

/** Not there in a worker, nor in a program that only uses `stream`. */
const page = globalThis.document;

/** Events after which a stream ends. `close` is final unless its reason says otherwise. */
const FAREWELLS = ["close", "reconnect", "limit", "draining"];

/** Reasons to reconnect for which the server did not ask. */
const FAULTS = ["network", "ended", "status"];

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

/** A stream that could not go on. */
export class SseError extends Error {
  name = "SseError";
  /** @param {{ status?: number, body?: string, reason?: string }} why */
  constructor(why) {
    super(`the stream ended: ${why.reason ?? why.status}`);
    Object.assign(this, why);
  }
}

/** @param {string | URL} url */
const absolute = (url) => new URL(url, page?.baseURI).href;

/** What a function returns, or nothing if it fails. @template T @param {() => T} act */
function attempt(act) {
  try {
    return act();
  } catch {}
}

/** @param {string} data */
const parsed = (data) => attempt(() => JSON.parse(data));

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
    else if (field === "retry" && /^\d+$/.test(value)) {
      retry = +value;
      onRetry?.(retry);
    }
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
 * The text of a body, as it comes. Leaving the loop cancels the body.
 * @param {Response} response
 */
async function* texts({ body }) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (body).getReader();
  const decoder = new TextDecoder();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield decoder.decode(value, { stream: true });
    }
  } finally {
    // A body that failed cannot be cancelled: the failure itself is on its way already.
    reader.cancel().catch(() => {});
  }
}

/**
 * The events of a body.
 * @param {Response} response
 * @param {(milliseconds: number) => void} onRetry
 * @param {string} lastEventId
 */
async function* read(response, onRetry, lastEventId) {
  /** @type {StreamEvent[]} */ const ready = [];
  const { push } = parser((event) => ready.push(event), onRetry, lastEventId);
  for await (const text of texts(response)) {
    push(text);
    yield* ready.splice(0);
  }
}

/**
 * Why a stream ends after this event, or nothing if it goes on.
 * @param {{ type: string, data: string }} event
 */
function farewell({ type, data }) {
  if (type === "close") return String(parsed(data)?.reason || "finished");
  return FAREWELLS.includes(type) ? type : "";
}

// ---- One connection to the server

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

/** The longest delay of a timer: 24 days. */
const LONGEST = 2 ** 31 - 1;

/** Whether asking again would only get the same answer. @param {number} status */
const isHopeless = (status) =>
  status >= 400 && status < 500 && ![404, 408, 425, 429].includes(status);

/**
 * Who has a line.
 * @typedef {object} Owner
 * @property {typeof STANDARD} options
 * @property {string} lastEventId where the first connection begins
 * @property {(signal: AbortSignal) => Promise<Response>} ask
 * @property {(response: Response) => Promise<unknown>} [refused] makes an error of an answer
 * @property {(state: State, reason?: string, error?: unknown) => void} changed
 */

/**
 * Keeps one connection up.
 * @param {Owner} owner
 */
function openLine(owner) {
  const { staleAfter, minDelay, maxDelay, reconnectAfter } = owner.options;
  let abort = new AbortController();
  let closed = false;
  /** The id of the last event. */ let id = owner.lastEventId;
  /** Failures since the last event. */ let failures = 0;
  /** What the server asked for: with its last `retry`, and with its last answer. */
  let retry = 0;
  let retryAfter = 0;
  /** Until when the server wants to be left alone, while the next connection is waited for. */
  let notBefore = 0;
  let proceed = () => {};
  /** When the server was last heard. */ let heardAt = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  /** How the connection ended. @type {[State, string, unknown?]} */ let end;

  /** The events of all connections. */
  async function* heard() {
    while (!closed) {
      end = ["reconnecting", "network"];
      try {
        yield* once();
      } catch (error) {
        end[2] = error;
      }
      // What is left of a wrong answer is not read, and would keep its connection.
      abort.abort();
      if (closed) return;
      owner.changed(...end);
      if (end[0] === "closed") return;
      await rest();
    }
  }

  /** The events of one connection. */
  async function* once() {
    abort = new AbortController();
    watch();
    const response = await owner.ask(abort.signal);
    const { status, headers } = response;
    const later = headers.get("Retry-After") ?? "";
    retryAfter = +later * 1000 || Date.parse(later) - Date.now() || 0;
    if (status === 204) return (end = ["closed", "finished"]);
    if (status !== 200 || !/^text\/event-stream/i.test(headers.get("Content-Type") ?? "")) {
      const error = await owner.refused?.(response);
      return (end = [isHopeless(status) ? "closed" : "reconnecting", "status", error]);
    }
    watch();
    owner.changed("live");
    for await (const event of read(response, (value) => (retry = value), id)) {
      const own = event.lastEventId !== id;
      id = event.lastEventId;
      failures = 0;
      watch();
      yield { ...event, own };
      const reason = farewell(event);
      const final = event.type === "close" && !reconnectAfter.includes(reason);
      if (reason) end = [final ? "closed" : "reconnecting", reason];
      if (final || closed) return;
    }
    if (end[1] === "network") end[1] = "ended";
  }

  /**
   * A delay of our own, or what the server asked for if that is longer. Ours doubles with each
   * failure and lies anywhere below that (full jitter), so that pages that lost a server together
   * do not come back together.
   */
  function rest() {
    const asked = Math.max(retry, retryAfter);
    const own = Math.random() * Math.min(maxDelay, minDelay * 2 ** failures++);
    notBefore = Date.now() + asked;
    return new Promise((resolve) => {
      proceed = () => resolve((notBefore = 0));
      after(Math.max(own, asked), proceed);
    });
  }

  /** The server was heard, or has to speak from now on. */
  function watch() {
    heardAt = Date.now();
    clearTimeout(timer);
    if (staleAfter) after(staleAfter, stale);
  }

  function stale() {
    end = ["stale", "silent"];
    // A dead stream is no reason to leave the server alone.
    retry = retryAfter = 0;
    abort.abort();
  }

  /** @param {number} delay @param {() => void} act */
  function after(delay, act) {
    clearTimeout(timer);
    // Browsers take more for no delay at all, and it may be the server's word.
    timer = setTimeout(act, Math.min(delay, LONGEST));
  }

  return {
    heard,

    /** Ends a wait that is our own, and finds out whether the connection lived through a sleep. */
    wake() {
      if (notBefore) after(notBefore - Date.now(), proceed);
      else if (staleAfter && Date.now() - heardAt > staleAfter) stale();
    },

    close() {
      closed = true;
      abort.abort();
      clearTimeout(timer);
      proceed();
    },
  };
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

// ---- One request

/** Characters of the body of a wrong answer that an error keeps. */
const MOST_OF_BODY = 65536;

/**
 * @param {string | URL} url
 * @param {import("./tower-sse.js").StreamOptions} [options]
 * @returns {AsyncGenerator<StreamEvent, void, void>}
 */
export async function* stream(url, { attempts = 5, ...init } = {}) {
  const options = { ...STANDARD, ...init };
  const { signal } = options;
  let { lastEventId } = options;
  let resumable = false;
  let failures = 0;

  const line = openLine({
    options,
    lastEventId,
    ask: (signal) => ask(String(url), lastEventId, { ...init, signal }),
    async refused(response) {
      let body = "";
      for await (const text of texts(response)) if ((body += text).length > MOST_OF_BODY) break;
      return new SseError({ status: response.status, body: body.slice(0, MOST_OF_BODY) });
    },
    changed(state, reason = "", error) {
      if (state === "live" || reason === "finished") return;
      const wanted = state !== "closed" && (resumable || !FAULTS.includes(reason));
      if (wanted && failures++ < attempts) return;
      if (reason === "ended" && !resumable) line.close();
      else throw error ?? new SseError({ reason });
    },
  });

  signal?.throwIfAborted();
  signal?.addEventListener("abort", line.close);
  try {
    for await (const { own, ...event } of line.heard()) {
      if (FAREWELLS.includes(event.type)) continue;
      failures = 0;
      resumable ||= own;
      lastEventId = event.lastEventId;
      yield event;
    }
    signal?.throwIfAborted();
  } finally {
    line.close();
    signal?.removeEventListener("abort", line.close);
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
 * @param {Connection} owner
 */
function joinTabs(owner) {
  const name = KEPT + owner.status.url;
  const me = Math.random();
  /** The tab that is followed; this one if it leads. */ let leader = 0;
  /** The tab that was followed last. */ let followed = 0;
  /** The question to which an answer is waited for. */ let asked = 0;
  const { recent } = owner;
  /** What leaders said while the own line is quiet. @type {[number, Told][]} */
  let overheard = [];
  /** When the own line was opened. NaN as soon as it has told something. */
  let quietSince = Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ let timer;
  let release = () => {};
  const waiting = new AbortController();
  const channel = new BroadcastChannel(name);

  /** What tabs say to each other. @type {Record<string, (from: number, ...rest: any[]) => void>} */
  const messages = {
    /** A tab that is at an id looks for a leader. */
    hello(_, place, question) {
      if (leader !== me) return;
      const found = [...recent.keys()].indexOf(place) + 1;
      const missed = found && [...recent.values()].slice(found);
      post("welcome", question, owner.lastEventId, missed, owner.status);
    },
    welcome(from, question, id, missed, status) {
      // Not an answer to another tab, nor one of a leader that has gone since.
      if (question !== asked || leader) return;
      const ahead = recent.has(id);
      const quiet = Date.now() - quietSince >= QUIET;
      // Followed a stream without ids until now: what was said in between is lost with its leader.
      const orphan = !owner.lastEventId && !owner.line;
      if (!(missed || ahead || quiet || orphan)) return owner.openLine();
      leader = followed = from;
      for (const event of missed || []) take(event);
      if (!missed) for (const [by, event] of overheard) if (by === from) take(event);
      overheard = [];
      quietSince = Infinity;
      owner.closeLine();
      owner.changed(status.state, status.reason);
    },
    lead() {
      // Else it is late: whoever has the lock now is this tab.
      if (leader === me) return;
      leader = 0;
      hello();
    },
    event(from, event) {
      if (from === leader) take(event);
      else if (Date.now() >= quietSince) overheard.push([from, event]);
    },
    status(from, state, reason) {
      // The lock of a leader that ended may come before the word that the stream did.
      if (from === leader || (from === followed && state === "closed")) owner.changed(state, reason);
    },
  };

  /** @param {string} kind @param {unknown[]} rest */
  function post(kind, ...rest) {
    channel.postMessage([kind, me, ...rest]);
  }

  /** Looks for a leader. The own line is needed where none answers that can be followed. */
  function hello() {
    asked = Math.random();
    post("hello", owner.lastEventId, asked);
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (leader) return;
      owner.openLine();
      hello();
    }, QUIET / 2);
  }

  function lead() {
    leader = me;
    post("lead");
    owner.openLine();
    return /** @type {Promise<void>} */ (new Promise((resolve) => (release = resolve)));
  }

  /** Passes an event on, once. @param {Told} event */
  function take(event) {
    const { own, lastEventId } = event;
    if (own && lastEventId) {
      if (recent.has(lastEventId)) return;
      recent.set(lastEventId, event);
      const [oldest] = recent.keys();
      if (recent.size > REMEMBERED) recent.delete(oldest);
    }
    owner.deliver(event);
  }

  channel.onmessage = ({ data: [kind, from, ...rest] }) => messages[kind]?.(from, ...rest);
  // Rejects where it is given up before it was got, or is not to be had: others lead then.
  navigator.locks.request(name, { signal: waiting.signal }, lead).catch(() => {});
  if (!owner.lastEventId) owner.openLine();
  else if (!recent.has(owner.lastEventId)) recent.set(owner.lastEventId, undefined);
  hello();

  return {
    /** The own line got an event. @param {Told} event */
    heard(event) {
      if (leader === me) post("event", event);
      if (event.type !== owner.options.heartbeat && !FAREWELLS.includes(event.type)) {
        quietSince = NaN;
        overheard = [];
      }
      take(event);
    },

    /** The status of this tab changed. @param {State} state @param {string} reason */
    changed(state, reason) {
      if (leader === me) post("status", state, reason);
      else if (!leader && state === "live") quietSince = Math.min(quietSince, Date.now());
    },

    close() {
      clearTimeout(timer);
      waiting.abort();
      release();
      channel.close();
    },
  };
}

// ---- What the page knows of a URL

/** Before a URL in the names of what is kept for it. */
const KEPT = "tower-sse:";

/** The open connections of this page. @type {Map<string, Connection>} */
const connections = new Map();

/** Gets the events of all connections. */
export const anywhere = new EventTarget();

/** @implements {Owner} */
class Connection {
  /**
   * The last events that were shared, by their ids, oldest first.
   * @type {Map<string, Told | undefined>}
   */
  recent = new Map();
  /** @type {ReturnType<typeof openLine> | undefined} */ line;
  /** @type {ReturnType<typeof joinTabs> | undefined} */ #tabs;
  /** @type {Set<Source>} */ #handles = new Set();
  #paused = false;

  /** @param {string} url @param {typeof STANDARD} options */
  constructor(url, options) {
    const { lastEventId, resume } = options;
    /** @type {Status} */ this.status = { state: "connecting", reason: "", url };
    this.options = options;
    this.lastEventId = lastEventId || (resume && attempt(() => sessionStorage[KEPT + url])) || "";
    connections.set(url, this);
    announce(page, this.status);
    this.wake();
  }

  /** @param {AbortSignal} signal */
  ask(signal) {
    const { lastEventId, options } = this;
    const { url } = this.status;
    // Another origin would be asked for leave first because of the header; the URL is enough.
    const here = url.startsWith(location.origin + "/");
    const credentials = options.withCredentials ? "include" : "same-origin";
    return ask(at(url, lastEventId), here ? lastEventId : "", { signal, credentials });
  }

  /** @param {Source} handle */
  join(handle) {
    this.#handles.add(handle);
    // Later, so that who made the handle has it before it speaks.
    queueMicrotask(() => this.#handles.has(handle) && announce(handle, this.status));
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

  async openLine() {
    if (this.line) return;
    this.line = openLine(this);
    for await (const event of this.line.heard()) {
      if (this.#tabs) this.#tabs.heard(event);
      else this.deliver(event);
    }
  }

  closeLine() {
    this.line?.close();
    this.line = undefined;
  }

  /** Hands an event to the page. @param {Told} event */
  deliver({ own, type, ...event }) {
    const { url } = this.status;
    if (own) {
      this.lastEventId = event.lastEventId;
      // Fails where it is forbidden or full. A reload then begins as if nothing had been kept.
      if (this.options.resume) attempt(() => (sessionStorage[KEPT + url] = this.lastEventId));
    }
    for (const target of [...this.#handles, anywhere]) {
      target.dispatchEvent(new MessageEvent(type, event));
    }
    if (type === "gap") dispatch(page, "sse:gap", { url, ...parsed(event.data) });
  }

  /** @param {State} state */
  changed(state, reason = "") {
    const { url, ...before } = this.status;
    if (before.state === "closed" || (before.state === state && before.reason === reason)) return;
    this.status = { state, reason, url };
    this.#tabs?.changed(state, reason);
    if (state === "closed") {
      this.#shut();
      connections.delete(url);
    }
    for (const target of [...this.#handles, page]) announce(target, this.status);
  }

  pause() {
    this.#paused = true;
    this.#shut();
    this.changed("reconnecting", "hidden");
  }

  /** The page was shown, hidden or restored, or has its network back. */
  wake() {
    const { share, pauseHidden } = this.options;
    // A page that is left is told so first, and that it is hidden after that.
    if (page?.hidden && (pauseHidden || this.#paused)) return this.pause();
    this.#paused = false;
    if (this.line || this.#tabs) return this.line?.wake();
    // Fails where channels are missing or forbidden.
    if (share && navigator.locks) this.#tabs = attempt(() => joinTabs(this));
    if (!this.#tabs) this.openLine();
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

  /** @param {string | URL} url @param {Options} [options] */
  constructor(url, { events = {}, onStatus, ...options } = {}) {
    super();
    const key = absolute(url);
    const all = { ...STANDARD, ...configure(), ...options };
    this.#connection = connections.get(key) ?? new Connection(key, all);
    for (const name in events) this.on(name, events[name]);
    // An event of the server may have this name, too, and has no detail.
    const tell = (/** @type {Event} */ event) => detailOf(event) && onStatus?.(detailOf(event));
    this.addEventListener("sse:status", tell);
    this.#connection.join(this);
  }

  get url() {
    return this.#connection.status.url;
  }
  get state() {
    return this.#connection.status.state;
  }
  get reason() {
    return this.#connection.status.reason;
  }
  get lastEventId() {
    return this.#connection.lastEventId;
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
export const connect = (url, options) => new Source(url, options);

/** @type {Partial<Options>} */
let configured = {};

/** @param {Partial<Options>} [options] */
export function configure(options) {
  /** @type {HTMLMetaElement | null | undefined} */
  const meta = page?.querySelector("meta[name=tower-sse]");
  configured = { ...configured, ...options };
  return { ...parsed(meta?.content ?? ""), ...configured };
}

// ---- What the document shows

/** @param {EventTarget | undefined} target @param {string} type @param {object} detail */
function dispatch(target, type, detail) {
  target?.dispatchEvent(new CustomEvent(type, { detail }));
}

/** @param {EventTarget | undefined} target @param {Status} status */
const announce = (target, status) => dispatch(target, "sse:status", status);

/** @param {Event} event */
const detailOf = (event) => /** @type {CustomEvent} */ (event).detail;

/** The last status of each URL, and under "" that of the page. @type {Map<string, Status>} */
const statuses = new Map();

function showAll() {
  /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("[data-sse-status]")).forEach(show);
}

/** @param {HTMLElement} element */
function show(element) {
  const { dataset } = element;
  const status = statuses.get(dataset.sseUrl ? absolute(dataset.sseUrl) : "");
  if (!status) return;
  dataset.sseStatus = status.state;
  dataset.sseReason = status.reason;
  element.role ??= "status";
  if (!element.childElementCount) element.textContent = status.state;
}

/**
 * The options in the attributes of an element, e.g. `data-sse-reconnect-after="shutdown"`.
 * @param {HTMLElement | null} element
 */
function optionsOf(element) {
  /** @type {Record<string, unknown>} */
  const options = {};
  for (const name in STANDARD) {
    const text = element?.dataset["sse" + name[0].toUpperCase() + name.slice(1)];
    const isSwitch = STANDARD[/** @type {keyof typeof STANDARD} */ (name)] === false;
    if (text != null) options[name] = isSwitch ? text !== "off" : text;
  }
  return options;
}

// ---- htmx 2 with its extension sse

/**
 * A connection as the extension wants to see it: an EventSource that never gives up, so that the
 * extension's own way to reconnect, which forgets the last id, is never taken.
 */
class HtmxSource extends Source {
  /** @typedef {((event: Event) => void) | undefined} Handler */
  /** @type {Handler} */ onopen;
  /** @type {Handler} */ onerror;
  /** @type {Handler} */ onmessage;

  /** @param {string} url */
  constructor(url) {
    const is = `sse-connect="${CSS.escape(url)}"]`;
    /** @type {HTMLElement | null} */
    const element = page.querySelector(`[${is}, [data-${is}`);
    super(url, { share: true, withCredentials: true, ...configure(), ...optionsOf(element) });
    this.addEventListener("message", (event) => this.onmessage?.(event));
    this.addEventListener("sse:status", () => {
      if (this.readyState === 1) this.onopen?.(new Event("open"));
      // htmx logs errors. A wait that the server asked for is none, nor is an end.
      else if (!this.readyState && FAULTS.includes(this.reason)) this.onerror?.(new Event("error"));
    });
  }

  get readyState() {
    return this.state === "closed" ? 2 : +(this.state === "live");
  }
}

function takeHtmx() {
  const { htmx } = /** @type {any} */ (globalThis);
  if (htmx) htmx.createEventSource = (/** @type {string} */ url) => new HtmxSource(url);
}

// ---- The page

if (page) {
  const wake = () => connections.forEach((connection) => connection.wake());
  page.addEventListener("visibilitychange", wake);
  addEventListener("pageshow", wake);
  addEventListener("online", wake);
  // A page with an open connection or lock is not kept for the Back button.
  addEventListener("pagehide", () => connections.forEach((connection) => connection.pause()));
  page.addEventListener("sse:status", ({ detail: status }) => {
    statuses.set(status.url, status).set("", status);
    showAll();
  });
  const start = () => {
    takeHtmx();
    showAll();
  };
  // At once where htmx is there already, and when scripts that came later have run.
  start();
  page.addEventListener("DOMContentLoaded", start);
}
