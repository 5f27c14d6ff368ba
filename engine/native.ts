/** Loads the native WebSocket binary, so that where it cannot be loaded one full sentence says why. */

/** Resolves when uWebSockets.js can be used; rejects with an `Error` in a full sentence. */
export async function loadNative(): Promise<void> {
  try {
    await import("uWebSockets.js");
  } catch (error) {
    const said = error instanceof Error ? error.message : String(error);
    const reason = said.split("\n").findLast((line) => line.startsWith("Error: ")) ?? said.split("\n")[0];
    throw new Error(
      `The native WebSocket binary could not be loaded on Node ${process.version} (${process.platform} ${process.arch}): ` +
        `it needs Node 20, or Node 22 or 24 with glibc 2.38 or newer (${reason}).`,
      { cause: error },
    );
  }
}
