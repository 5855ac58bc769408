import { wire } from "./server.mjs";

/**
 * A server that publishes to all connections of a page's `Server`, each with its own latency, and
 * sends what is missing to those that come with a place.
 */
export class Publisher {
  #clock;
  #random;
  #log = [];
  /** The open connections, and when the last event sent to each arrives. */
  #connections = new Map();

  /** `latency` is the longest time that an event takes, or its times by connection. */
  constructor(clock, random, { latency = 0, ids = true, welcome } = {}) {
    Object.assign(this, { latency, ids, welcome });
    this.#clock = clock;
    this.#random = random;
  }

  /** Serves a request. */
  accept = (exchange) => {
    exchange.number = this.#connections.size;
    exchange.stream();
    this.#connections.set(exchange, 0);
    if (this.welcome) this.#send(exchange, { data: this.welcome });
    const { place } = exchange;
    if (place) this.#log.slice(+place).forEach((event) => this.#send(exchange, event));
  };

  /** The data of the events are 1, 2, and so on. */
  publish() {
    const number = this.#log.length + 1;
    const event = { id: this.ids ? String(number) : undefined, data: String(number) };
    this.#log.push(event);
    for (const exchange of this.#connections.keys()) this.#send(exchange, event);
  }

  get published() {
    return this.#log.map(({ data }) => data);
  }

  #send(exchange, event) {
    const now = this.#clock.now();
    const { latency } = this;
    const takes = latency[exchange.number] ?? Math.floor(this.#random() * latency);
    const soon = now + takes;
    const at = Math.max(soon, this.#connections.get(exchange));
    this.#connections.set(exchange, at);
    this.#clock.setTimeout(() => exchange.send(wire(event)), at - now);
  }
}
