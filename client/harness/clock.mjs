/** Time that passes only when a test says so, so that no test depends on a busy machine. */
export class Clock {
  #now = Date.UTC(2026, 0, 1);
  #timers = new Map();
  #next = 1;

  now = () => this.#now;

  setTimeout = (act, delay = 0) => this.#add(act, delay);
  setInterval = (act, delay) => this.#add(act, delay, delay);
  clearTimeout = (id) => void this.#timers.delete(id);

  #add(act, delay, every) {
    const id = this.#next++;
    // As in a browser: what does not fit into 31 bits is no delay at all.
    const wait = Math.max(0, +delay || 0);
    this.#timers.set(id, { act, at: this.#now + (wait > MOST ? 0 : wait), id, every });
    return id;
  }

  /** Lets time pass, and all that is due happen in its order. */
  async pass(milliseconds) {
    const end = this.#now + milliseconds;
    await settle();
    for (;;) {
      const [due] = [...this.#timers.values()]
        .filter(({ at }) => at <= end)
        .sort((a, b) => a.at - b.at || a.id - b.id);
      if (!due) break;
      this.#now = Math.max(this.#now, due.at);
      if (due.every) due.at = this.#now + due.every;
      else this.#timers.delete(due.id);
      due.act();
      await settle();
    }
    this.#now = end;
  }

  /** The machine sleeps: time passes, and no timer runs. */
  sleep(milliseconds) {
    this.#now += milliseconds;
    for (const timer of this.#timers.values()) timer.at += milliseconds;
  }
}

/** The longest delay of a timer. */
const MOST = 2 ** 31 - 1;

/** Lets all promises that can be kept be kept. */
export async function settle() {
  for (let turn = 0; turn < 3; turn++) await new Promise(setImmediate);
}

/** Numbers from 0 to 1 that are the same in each run. */
export function seeded(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
