/** How a connection is doing. `closed` is final. */
export type State = "connecting" | "live" | "reconnecting" | "stale" | "closed";

export interface Status {
  state: State;
  /**
   * Why. With `reconnecting`: `network`, `ended`, `status`, `hidden`, or what the server said
   * (`reconnect`, `limit`, `draining`, or a reason of `reconnectAfter`). With `stale`: `silent`.
   * With `closed`: the reason of the `close` event, `finished` (also for status 204), `status`
   * (asking again is no use), or `called`.
   */
  reason: string;
  /** The absolute URL. */
  url: string;
}

export interface Options {
  /** Handlers by event name. Events without a name are called `message`. */
  events?: Record<string, (event: MessageEvent<string>) => void>;
  onStatus?: (status: Status) => void;
  /** The place at which the page was rendered: the events after this id are asked for. */
  lastEventId?: string;
  /** Keeps the last id in `sessionStorage`, and begins there after a reload. */
  resume?: boolean;
  /** Reasons of `close` after which the page comes back, e.g. `["shutdown"]`. */
  reconnectAfter?: string[];
  /** Milliseconds without an event after which the stream counts as dead. 0: never. */
  staleAfter?: number;
  /** The name of the server's heartbeat event, which counts as a sign of life. */
  heartbeat?: string;
  /** Closes the connection while the page is hidden, and goes on when it is shown. */
  pauseHidden?: boolean;
  /** Has one connection for all tabs of the origin. */
  share?: boolean;
  /** Sends cookies to another origin. */
  withCredentials?: boolean;
  /** The longest wait of the page's own between two attempts, in milliseconds. */
  maxDelay?: number;
  /** The first wait, which doubles with each failure. Waits lie anywhere between 0 and that. */
  minDelay?: number;
}

/** A handle to the connection of a URL, which all handles in a page share. */
export class Source extends EventTarget {
  private constructor();
  readonly url: string;
  readonly state: State;
  readonly reason: string;
  readonly lastEventId: string;
  /** Calls the handler for each event of a name, until the function that it returns is called. */
  on(name: string, handler: (event: MessageEvent<string>) => void): () => void;
  /** Ends the connection if no other handle has it. */
  close(): void;
}

/**
 * Opens a stream, or joins it where the page has it open: it then goes on as the first options
 * say, and ends with the last handle.
 */
export function connect(url: string | URL, options?: Options): Source;

/**
 * Sets options for all connections of the page that are opened later, and returns those that hold
 * now. They come from `<meta name="tower-sse" content='{…}'>`, too.
 */
export function configure(options?: Options): Options;

/** Gets the events of all connections of the page. */
export const anywhere: EventTarget;

export interface StreamEvent {
  type: string;
  data: string;
  lastEventId: string;
  /** The `retry` of this event, in milliseconds. */
  retry?: number;
}

export interface StreamOptions extends RequestInit {
  /** The events after this id are asked for. */
  lastEventId?: string;
  /** Reasons of `close` after which the request is made again, e.g. `["shutdown"]`. */
  reconnectAfter?: string[];
  /** How often in a row a request is made again without an event. 5 by default. */
  attempts?: number;
  maxDelay?: number;
  minDelay?: number;
}

/**
 * The events of one request, of any method. A stream with ids is resumed where it is cut: the
 * same request is made again with `Last-Event-ID`. Ends after `close` with the reason `finished`,
 * after status 204, and at the end of a stream without ids.
 *
 * @throws {SseError} for any other answer, and for any other reason of `close`
 */
export function stream(
  url: string | URL,
  options?: StreamOptions,
): AsyncGenerator<StreamEvent, void, void>;

/** A stream that could not go on. */
export class SseError extends Error {
  /** The status of an answer that was no event stream. */
  readonly status?: number;
  /** The first 64 KiB of its text. */
  readonly body?: string;
  /** The reason of the server's farewell. */
  readonly reason?: string;
}

/** Reads the text of a stream, however it is cut. */
export function parser(
  onEvent: (event: StreamEvent) => void,
  onRetry?: (milliseconds: number) => void,
  lastEventId?: string,
): {
  push(text: string): void;
  /** The id with which the stream would be resumed now. */
  readonly lastEventId: string;
};

declare global {
  interface DocumentEventMap {
    /** A connection of the page changed. */
    "sse:status": CustomEvent<Status>;
    /** The server lost events of a connection: what it said of them, and the URL. */
    "sse:gap": CustomEvent<{ url: string; [detail: string]: unknown }>;
  }
}
