/** A server that a test plays itself: each request waits for what the test answers. */
export class Server {
  requests = [];
  /** Answers requests at once, if it is set. */
  onRequest = undefined;

  fetch = (url, init = {}) => {
    const exchange = new Exchange(url, init);
    this.requests.push(exchange);
    this.onRequest?.(exchange);
    return exchange.answer;
  };

  get last() {
    return this.requests.at(-1);
  }

  /** Requests that are neither ended nor given up. */
  get open() {
    return this.requests.filter((exchange) => !exchange.over);
  }
}

class Exchange {
  #resolve;
  #reject;
  #body;
  over = false;

  constructor(url, { headers, signal, credentials, method, body }) {
    Object.assign(this, { url: new URL(url), signal, credentials, method, body });
    this.headers = new Headers(headers);
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    signal?.addEventListener("abort", () => this.fail(signal.reason));
  }

  /** The place at which the page wants to go on, by the URL. */
  get place() {
    return this.url.searchParams.get("last_event_id");
  }

  respond(status, headers = {}, text) {
    const stream = new ReadableStream({
      start: (controller) => (this.#body = controller),
      cancel: () => (this.over = true),
    });
    const empty = status === 204;
    this.#resolve(new Response(empty ? null : stream, { status, headers }));
    if (text !== undefined) {
      this.send(text);
      this.end();
    }
    return this;
  }

  /** Answers with an event stream. */
  stream(text = "") {
    return this.respond(200, { "Content-Type": "text/event-stream" }).send(text);
  }

  send(text) {
    if (text && !this.over) this.#body.enqueue(new TextEncoder().encode(text));
    return this;
  }

  end() {
    if (!this.over) this.#body.close();
    this.over = true;
  }

  /** The connection breaks. */
  fail(error = new TypeError("connection lost")) {
    if (this.over) return;
    this.over = true;
    this.#reject(error);
    this.#body?.error(error);
  }
}

/** An event as it is on the wire. */
export function wire({ event, id, data = "x", retry }) {
  const fields = { event, retry, id, data };
  const lines = Object.entries(fields).filter(([, value]) => value !== undefined);
  return lines.map(([name, value]) => `${name}: ${value}\n`).join("") + "\n";
}
