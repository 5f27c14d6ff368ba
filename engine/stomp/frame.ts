/** What a STOMP frame is, apart from its bytes. */

/** The versions of the protocol that are spoken here. */
export type Version = "1.0" | "1.1" | "1.2";

/** A frame as the application sees it. */
export interface Frame {
  /** The command line, any word: whether it is known is for the session to say. */
  readonly command: string;
  /** Name, value, name, value, ... in the order received, unescaped, repeats included. */
  readonly headers: readonly string[];
  /** The body. From a parser it is a view, valid only during the call that hands it out: copy what must stay. */
  readonly body: Uint8Array;
}

/** The value of a header, or undefined. Of repeated headers the first counts [STOMP 1.2 Repeated Header Entries]. */
export function header(frame: Frame, name: string): string | undefined {
  const headers = frame.headers;
  for (let i = 0; i < headers.length; i += 2) {
    if (headers[i] === name) return headers[i + 1];
  }
  return undefined;
}
