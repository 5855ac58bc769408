import { readFileSync } from "node:fs";
import vm from "node:vm";
import { Clock, seeded } from "./clock.mjs";
import { Server } from "./server.mjs";

const source = (name) => readFileSync(new URL(`../${name}`, import.meta.url), "utf8");

/** Modules as scripts: their exports become a global, as in the classic files. */
const SCRIPTS = {
  core: asScript(source("tower-sse.js")),
  extras: asScript(source("tower-sse.extras.js")),
  dev: asScript(source("tower-sse.dev.js")),
};

function asScript(module) {
  const names = [...module.matchAll(/^export (?:async )?(?:const|class|function\*?) (\w+)/gm)];
  const exports = names.map(([, name]) => name);
  const body = module
    .replace(/^export \* .*$/gm, "")
    .replace(/^export /gm, "")
    .replace(/^import (\{.*\}) from .*$/gm, "const $1 = globalThis.towerSse;");
  const assign = exports.length ? `globalThis.towerSse = { ${exports} };` : "";
  return new vm.Script(`(() => { ${body}\n${assign} })()`);
}

/** An element with no more than the script uses. */
export class FakeElement extends EventTarget {
  children = [];
  role = null;
  ariaLive = null;
  textContent = "";
  parent = null;
  hovered = false;

  constructor(attributes = {}) {
    super();
    this.attributes = attributes;
    this.dataset = {};
    for (const [name, value] of Object.entries(attributes)) {
      if (!name.startsWith("data-")) continue;
      this.dataset[name.slice(5).replace(/-(.)/g, (_, letter) => letter.toUpperCase())] = value;
    }
    this.role = attributes.role ?? null;
    this.content = attributes.content;
  }

  set innerHTML(html) {
    this.html = html;
  }
  get childElementCount() {
    return this.children.length;
  }
  append(child) {
    child.parent = this;
    this.children.push(child);
  }
  remove() {
    this.parent.children = this.parent.children.filter((child) => child !== this);
  }
  /** Knows `:hover`, `[name]`, `[name="value"]`, `[name*="part"]` and `tag[name=value]`. */
  matches(selector) {
    return selector.split(", ").some((one) => {
      if (one === ":hover") return this.hovered;
      const [, name, how, value] = /\[((?:[\w-]|\\:)+)(?:(\*?=)"?([^"\]]*)"?)?\]|$/.exec(one);
      const own = this.attributes[name?.replace("\\", "")];
      if (own === undefined) return false;
      return !how || (how === "=" ? own === value : own.includes(value));
    });
  }
  get parentElement() {
    return this.parent;
  }
  get id() {
    return this.attributes.id ?? "";
  }
  closest(selector) {
    return this.matches(selector) ? this : (this.parent?.closest(selector) ?? null);
  }
}

class FakeDocument extends EventTarget {
  hidden = false;
  readyState = "complete";
  elements = [];
  constructor(baseURI) {
    super();
    this.baseURI = baseURI;
  }
  querySelectorAll(selector) {
    return this.elements.filter((element) => element.matches(selector));
  }
  querySelector(selector) {
    return this.querySelectorAll(selector)[0] ?? null;
  }
  createElement() {
    return new FakeElement();
  }
}

/**
 * A page that has loaded the script, with its own globals: what several pages have in common
 * (a server, an origin, a clock, a session) is given to each of them.
 */
export class Page {
  statuses = [];
  gaps = [];

  constructor({
    clock = new Clock(),
    server = new Server(),
    random = seeded(1),
    origin,
    session = {},
    elements = [],
    hidden = false,
    globals = {},
    extras = false,
    dev = false,
    href = "https://page.test/app",
  } = {}) {
    Object.assign(this, { clock, server, session });
    this.window = new EventTarget();
    this.document = new FakeDocument(href);
    this.document.elements = elements;
    this.document.hidden = hidden;
    this.document.addEventListener("sse:status", ({ detail }) => {
      this.statuses.push([detail.state, detail.reason].filter(Boolean).join("/"));
    });
    this.document.addEventListener("sse:gap", ({ detail }) => this.gaps.push({ ...detail }));
    const { window } = this;
    this.globals = vm.createContext({
      ...{ EventTarget, Event, MessageEvent, CustomEvent, AbortController, URL, Headers },
      ...{ TextDecoder, TextEncoder, queueMicrotask },
      document: this.document,
      location: new URL(href),
      sessionStorage: session,
      fetch: server.fetch,
      setTimeout: clock.setTimeout,
      clearTimeout: clock.clearTimeout,
      setInterval: clock.setInterval,
      clearInterval: clock.clearTimeout,
      Date: { now: clock.now, parse: Date.parse },
      CSS: { escape: (text) => text },
      addEventListener: window.addEventListener.bind(window),
      navigator: { locks: origin?.locks },
      BroadcastChannel: origin?.BroadcastChannel,
      ...globals,
    });
    vm.runInContext("Math", this.globals).random = random;
    SCRIPTS.core.runInContext(this.globals);
    if (dev) SCRIPTS.dev.runInContext(this.globals);
    if (extras) SCRIPTS.extras.runInContext(this.globals);
    Object.assign(this, this.globals.towerSse);
  }

  /** Connects, and keeps what is heard. */
  open(url = "/events", options = {}) {
    const heard = [];
    const names = options.names ?? ["message"];
    const events = Object.fromEntries(names.map((name) => [name, (event) => heard.push(event)]));
    const states = [];
    const onStatus = ({ state, reason }) => states.push([state, reason].filter(Boolean).join("/"));
    const source = this.connect(url, { events, onStatus, ...options });
    return Object.assign(source, { heard, states });
  }

  hide(hidden = true) {
    this.document.hidden = hidden;
    this.document.dispatchEvent(new Event("visibilitychange"));
  }
  show() {
    this.hide(false);
  }
  online() {
    this.window.dispatchEvent(new Event("online"));
  }
  /** The user leaves for another page, and the browser keeps this one. */
  leave() {
    this.window.dispatchEvent(new Event("pagehide"));
    this.hide();
  }
  comeBack() {
    this.document.hidden = false;
    this.window.dispatchEvent(Object.assign(new Event("pageshow"), { persisted: true }));
    this.document.dispatchEvent(new Event("visibilitychange"));
  }

  pass(milliseconds = 0) {
    return this.clock.pass(milliseconds);
  }
}
