/** The data of each event, by the name of the event. */
export interface Events {
  /** `orders.*` */
  cents: number;
  /** `games.>`: What happened in a game. */
  "game move": Move;
  /** `states`: How far it is. */
  message: State;
  /** `mixed` */
  mixed: Mixed;
  /** `pages` */
  page: Page | Page2;
  /**
   * `orders.*`: An order was paid.
   *
   * It says `*\/` in its text, too.
   */
  paid: Paid;
}

export type Adjacent = {
  c: number;
  t: "A";
} | {
  c: {
    b: boolean;
  };
  t: "B";
} | {
  t: "C";
};

/** A name that is that of the interface of all events. */
export interface _Events {
  number: _number;
}

export type External = "None" | {
  One: Line;
} | {
  Two: [number, string | null];
} | {
  Named: {
    object: string;
  };
};

export interface Line {
  /** Lines of this line. */
  parts: Line[];
  text: string;
}

export interface Mixed {
  adjacent: Adjacent[];
  anything: unknown;
  external: External;
  /** @deprecated */
  old: Mixed | null;
  unit: null;
  untagged: Untagged;
  [key: string]: unknown;
}

/** What happened in a game. */
export type Move =
  | {
    kind: "pass";
  }
  /** A stone was set. */
  | {
    kind: "stone";
    x: number;
    y: number;
  }
  | {
    kind: "chat";
  } & Line;

export type Note = string;

export interface Page {
  /** One name for two fields. */
  class: _Events;
  items: Line[];
}

export interface Page2 {
  /** One name for two fields. */
  class: _Events;
  items: number[];
}

/**
 * An order was paid.
 *
 * It says `*\/` in its text, too.
 */
export interface Paid {
  /** As the bank writes it. */
  by: string | null;
  by_number: {
    [key: string]: Line;
  };
  cents: number;
  "due-date": [number, number, number];
  lines: Line[];
  note?: Note | null;
  rates: [number, number];
  shelf: number;
  state: State;
  tags: {
    [key: string]: (boolean | null)[];
  };
}

/** How far it is. */
export type State =
  | "sent"
  /** It is not sent. */
  | "waiting"
  /** Quoted: "it". */
  | "it's \"back\"\\";

export type Untagged = string | number | [Untagged, null];

export interface _number {
  is: boolean;
}
