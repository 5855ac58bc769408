/** What tabs of one origin have in common: locks, and channels whose messages take their time. */
export class Origin {
  #clock;
  #random;
  #locks = new Map();
  #channels = new Set();

  /** `delay` is the longest time that a message takes. */
  constructor(clock, random, delay = 0) {
    this.#clock = clock;
    this.#random = random;
    this.delay = delay;
  }

  /** The Web Locks of one tab. */
  get locks() {
    return {
      request: (name, { signal }, act) =>
        new Promise((resolve, reject) => {
          const queue = this.#locks.get(name) ?? [];
          this.#locks.set(name, queue);
          const wanted = { act, resolve, reject, held: false };
          queue.push(wanted);
          signal?.addEventListener("abort", () => {
            if (wanted.held) return;
            queue.splice(queue.indexOf(wanted), 1);
            reject(signal.reason);
          });
          this.#grant(queue);
        }),
    };
  }

  #grant(queue) {
    const [first] = queue;
    if (!first || first.held) return;
    // A lock is got later than it was asked for, also where it is free.
    first.held = true;
    queueMicrotask(async () => {
      await first.act();
      queue.splice(queue.indexOf(first), 1);
      first.resolve();
      this.#grant(queue);
    });
  }

  /** The class BroadcastChannel. */
  get BroadcastChannel() {
    const origin = this;
    return class {
      onmessage = null;
      /** When the last message of each channel arrives: none overtakes one of the same sender. */
      arrivals = new Map();

      constructor(name) {
        this.name = name;
        origin.#channels.add(this);
      }

      postMessage(message) {
        if (!origin.#channels.has(this)) throw new Error("the channel is closed");
        const copy = structuredClone(message);
        for (const other of origin.#channels) {
          if (other === this || other.name !== this.name) continue;
          const now = origin.#clock.now();
          const soon = now + Math.floor(origin.#random() * origin.delay);
          const at = Math.max(soon, other.arrivals.get(this) ?? 0);
          other.arrivals.set(this, at);
          origin.#clock.setTimeout(() => {
            if (origin.#channels.has(other)) other.onmessage?.({ data: structuredClone(copy) });
          }, at - now);
        }
      }

      close() {
        origin.#channels.delete(this);
      }
    };
  }
}
