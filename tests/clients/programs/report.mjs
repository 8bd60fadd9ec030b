// The task comes as a line on stdin, what was seen goes as a line to stdout; then the program lives on until stdin
// ends, so that whatever of a call is still open is so because the client left it open.
import { createInterface } from "node:readline";

export async function report(calls) {
  const lines = createInterface({ input: process.stdin });
  const task = JSON.parse((await lines[Symbol.asyncIterator]().next()).value);
  let seen;
  try {
    seen = await calls(task);
  } catch (error) {
    seen = { failed: String(error?.stack ?? error) };
  }
  process.stdout.write(`${JSON.stringify(seen)}\n`);
  process.stdin.on("end", () => process.exit(0)).resume();
}
