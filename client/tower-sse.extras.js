// @ts-check
/**
 * What attaches tower-sse to htmx 4 and to Alpine 3, and shows events as toasts. It uses nothing of
 * `tower-sse.js` but what a page could use itself. Load it after that file, and before Alpine.
 */
import { anywhere, configure, connect } from "./tower-sse.js";

const page = document;

/** @param {string} url */
const absolute = (url) => new URL(url, page.baseURI).href;

/** @param {string} data @returns {any} what is in JSON, or nothing */
function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {}
}

// ---- Toasts

/** @param {HTMLElement} list */
function toasts(list) {
  const { sseToasts: name = "", sseUrl: url } = list.dataset;
  const add = (/** @type {any} */ { data }) => toast(list, data);
  // No role: with that of a log its items would not be those of a list any more.
  list.ariaLive ??= "polite";
  if (url) connect(url, { events: { [name]: add } });
  else anywhere.addEventListener(name, add);
}

/** @param {HTMLElement} list @param {string} data */
function toast(list, data) {
  const item = page.createElement("li");
  const { text, message, title } = parsed(data) ?? {};
  if ("sseHtml" in list.dataset) item.innerHTML = data;
  else item.textContent = text ?? message ?? title ?? data;
  list.append(item);

  // Browsers take more for no time at all.
  const life = Math.min(+(list.dataset.sseToastMs ?? 6000), 2 ** 31 - 1);
  const leave = () => {
    // Somebody reads it, or is about to press something in it.
    if (item.matches(":hover, :focus-within")) setTimeout(leave, life);
    else item.remove();
  };
  if (life) setTimeout(leave, life);
}

// ---- htmx 4 with its extension hx-sse

/** The reasons for which connections of htmx must not ask again. @type {WeakMap<object, string>} */
const stops = new WeakMap();
/** The reasons for which they are about to ask again. @type {WeakMap<object, string>} */
const waits = new WeakMap();
/** @type {Set<any>} */
const live = new Set();

/**
 * What to do at the events `htmx:sse:…`. htmx keeps the connection; this ends it where the server
 * said so, since htmx itself comes back after a `close` event and after a 204.
 * @type {Record<string, (connection: any, detail: any) => void>}
 */
const htmx4 = {
  "before:message"(connection, { message: { event: type, data } }) {
    anywhere.dispatchEvent(new MessageEvent(type || "message", { data }));
    if (type === "gap") dispatch("sse:gap", { url: absolute(connection.url), ...parsed(data) });
    const reason = type === "close" ? String(parsed(data)?.reason || "finished") : type;
    if (["reconnect", "limit", "draining"].includes(type)) waits.set(connection, reason);
    else if (type !== "close") return;
    else if (configure().reconnectAfter?.includes(reason)) waits.set(connection, reason);
    else stops.set(connection, reason);
  },
  "before:connection"(connection) {
    live.delete(connection);
    if (stops.has(connection)) connection.cancelled = true;
    else if (!connection.attempt) announce(connection, "connecting");
    else announce(connection, "reconnecting", waits.get(connection) ?? "ended");
  },
  "after:connection"(connection) {
    // htmx asks for the body of this answer next, which has none, and would ask again.
    if (connection.status === 204) stops.set(connection, "finished");
    else {
      waits.delete(connection);
      live.add(connection);
      announce(connection, "live");
    }
  },
  error(connection, { status }) {
    const hopeless = status >= 400 && status < 500 && ![404, 408, 425, 429].includes(status);
    if (hopeless) stops.set(connection, "status");
    else if (!stops.has(connection)) waits.set(connection, status ? "status" : "network");
  },
  close(connection) {
    live.delete(connection);
    announce(connection, "closed", stops.get(connection) ?? "called");
  },
};

/**
 * @param {{ url: string }} connection
 * @param {import("./tower-sse.js").State} state
 */
function announce(connection, state, reason = "") {
  dispatch("sse:status", { state, reason, url: absolute(connection.url) });
}

/** @param {string} type @param {object} detail */
function dispatch(type, detail) {
  page.dispatchEvent(new CustomEvent(type, { detail }));
}

// htmx gives up its streams then by itself, and says nothing until the page is shown.
page.addEventListener("visibilitychange", () => {
  for (const connection of page.hidden ? live : []) {
    if (!connection.config.pauseOnBackground) continue;
    waits.set(connection, "hidden");
    announce(connection, "reconnecting", "hidden");
  }
});

for (const [name, act] of Object.entries(htmx4)) {
  page.addEventListener("htmx:sse:" + name, (event) => {
    const { detail } = /** @type {CustomEvent} */ (event);
    // An error before there was a connection.
    if (detail.connection) act(detail.connection, detail);
  });
}

// ---- Alpine 3

page.addEventListener("alpine:init", () => {
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
  page.addEventListener("sse:status", ({ detail: { url, ...status } }) => {
    // Through the store, so that what shows it is told.
    const store = Alpine.store("sse");
    Object.assign(store, status);
    store.urls[url] = status;
  });
  Alpine.magic("sse", connectUntilDestroyed);
});

/** @param {Element} _element @param {{ cleanup(end: () => void): void }} utilities */
function connectUntilDestroyed(_element, { cleanup }) {
  /**
   * @param {string} url
   * @param {import("./tower-sse.js").Options["events"]} events
   * @param {import("./tower-sse.js").Options} [options]
   */
  return (url, events, options) => {
    const source = connect(url, { ...options, events });
    cleanup(() => source.close());
    return source;
  };
}

// ---- The page

function start() {
  /** @type {NodeListOf<HTMLElement>} */ (page.querySelectorAll("[data-sse-toasts]")).forEach(toasts);
}
if (page.readyState === "loading") page.addEventListener("DOMContentLoaded", start);
else start();
