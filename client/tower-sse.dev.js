// @ts-check
/**
 * tower-sse for development: the same as `tower-sse.js`, and warnings in the console of what goes
 * wrong without a word otherwise. Each is given once.
 */
export * from "./tower-sse.js";
import { anywhere, configure, Source } from "./tower-sse.js";

/** @type {Set<string>} */
const given = new Set();

/** @param {string} text */
function warn(text) {
  if (given.has(text)) return;
  given.add(text);
  console.warn(`tower-sse: ${text}`);
}

// ---- Events that nobody hears

/** Events of which a page need not know. */
const SERVERS_OWN = ["close", "reconnect", "limit", "draining", "gap"];

/** The names that the handles of a URL listen to. @type {Map<string, Set<string>>} */
const listened = new Map();
/** The names that are listened to for all URLs. @type {Set<string>} */
const listenedAnywhere = new Set();

/** @param {string} url @param {string} name */
function listens(url, name) {
  // Only in `hx-trigger` of htmx 2 is the name of an event written so.
  if (/^sse:(?!status$)/.test(name)) {
    warn(`a handler listens to "${name}", but the server's event is called "${name.slice(4)}"`);
  }
  listened.set(url, (listened.get(url) ?? new Set()).add(name));
}

const { addEventListener, dispatchEvent } = EventTarget.prototype;

/** @type {Source["addEventListener"]} */
Source.prototype.addEventListener = function (name, ...rest) {
  listens(this.url, name);
  addEventListener.call(this, name, ...rest);
};

/** @type {Source["dispatchEvent"]} */
Source.prototype.dispatchEvent = function (event) {
  const { type } = event;
  const known = [...SERVERS_OWN, configure().heartbeat ?? "heartbeat"].includes(type);
  const heard = listened.get(this.url)?.has(type) || listenedAnywhere.has(type);
  if (event instanceof MessageEvent && !known && !heard) {
    warn(`nobody listens to the event "${type}" of ${this.url}`);
  }
  return dispatchEvent.call(this, event);
};

/** @type {EventTarget["addEventListener"]} */
anywhere.addEventListener = function (name, ...rest) {
  listenedAnywhere.add(name);
  addEventListener.call(this, name, ...rest);
};

// ---- Ends that nobody heeds

/** An EventSource comes back after a close event, and again, unless the page closes it. */
globalThis.EventSource &&= class extends EventSource {
  /** @param {string | URL} url @param {EventSourceInit} [options] */
  constructor(url, options) {
    super(url, options);
    this.addEventListener("close", () =>
      // Other handlers of this event may yet close it.
      setTimeout(() => {
        if (this.readyState === EventSource.CLOSED) return;
        warn(`the server closed ${this.url}, but an EventSource comes back: use connect() for it`);
      }),
    );
  }
};

// ---- More streams than a browser opens

/** What a browser opens to one origin over HTTP/1.1, in all tabs. */
const MOST_CONNECTIONS = 6;

/** The URLs that are open. @type {Set<string>} */
const open = new Set();

document.addEventListener("sse:status", ({ detail: { url, state } }) => {
  if (state === "closed") open.delete(url);
  else open.add(url);
  const { origin } = location;
  const count = [...open].filter((one) => one.startsWith(`${origin}/`)).length;
  const [navigation] = performance.getEntriesByType("navigation");
  const { nextHopProtocol } = /** @type {PerformanceNavigationTiming} */ (navigation ?? {});
  if (count > MOST_CONNECTIONS && nextHopProtocol === "http/1.1") {
    warn(
      `more than ${MOST_CONNECTIONS} streams of ${origin} over HTTP/1.1: the browser opens no more ` +
        "connections, not even for another page. Use HTTP/2, or fewer streams",
    );
  }
});

// ---- Attributes that do not do what they seem to

/** @param {string} selector */
const has = (selector) => document.querySelector(selector) !== null;

const CONNECTS = "[sse-connect], [data-sse-connect]";
const CONNECTS_4 = "[hx-sse\\:connect], [data-hx-sse\\:connect]";

function inspect() {
  const { htmx } = /** @type {any} */ (globalThis);
  const isFour = htmx?.version?.startsWith("4");
  if (isFour && has("[sse-swap], [data-sse-swap]")) {
    warn("sse-swap does nothing under htmx 4: it swaps events without a name, and triggers others");
  }
  if (isFour && has('[hx-trigger*="sse:"], [data-hx-trigger*="sse:"]')) {
    warn('hx-trigger="sse:…" is of htmx 2: under htmx 4 an event triggers by its name alone');
  }
  for (const element of document.querySelectorAll(CONNECTS)) {
    const where = element.id && ` (#${element.id})`;
    if (element.matches(CONNECTS_4)) {
      warn(`sse-connect and hx-sse:connect on one element${where} make two connections`);
    }
    if (element.parentElement?.closest(CONNECTS)) {
      warn(`sse-connect within sse-connect${where}: what is inside hears the inner stream only`);
    }
  }
}

let planned = false;
/** Looks at the page when it has come to rest. */
function plan() {
  if (planned) return;
  planned = true;
  setTimeout(() => {
    planned = false;
    inspect();
  });
}
plan();
new MutationObserver(plan).observe(document, { childList: true, subtree: true, attributes: true });
