/** One call at a time of a stream of wishes: while one runs, only the newest of the others waits. */

/** A wish that a newer one waits for is given up after this many milliseconds. But not two in a row: of a model that
 * takes longer nothing would be seen until one rests. */
const STALE_MS = 400;

export class Latest {
  /** @type {{task: (signal: AbortSignal) => Promise<any>, done: (value: any) => void,
   *   failed: (reason: unknown) => void} | null} */
  #waiting = null;
  /** @type {AbortController | null} */
  #running = null;
  #began = 0;
  #wasGivenUp = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /**
   * What the task gives; undefined if a newer one took its place. Rejects as the task does.
   * @template T
   * @param {(signal: AbortSignal) => Promise<T>} task
   * @returns {Promise<T | undefined>}
   */
  run(task) {
    this.#waiting?.done(undefined);
    return new Promise((done, failed) => {
      this.#waiting = { task, done, failed };
      if (!this.#running) void this.#next();
      else if (!this.#wasGivenUp)
        this.#timer ??= setTimeout(() => this.#running?.abort(), this.#began + STALE_MS - performance.now());
    });
  }

  /** Gives up what runs and what waits. */
  stop() {
    this.#waiting?.done(undefined);
    this.#waiting = null;
    this.#running?.abort();
  }

  async #next() {
    const wish = this.#waiting;
    if (!wish) return;
    this.#waiting = null;
    const running = new AbortController();
    this.#running = running;
    this.#began = performance.now();
    try {
      wish.done(await wish.task(running.signal));
    } catch (error) {
      if (running.signal.aborted) wish.done(undefined);
      else wish.failed(error);
    }
    this.#wasGivenUp = running.signal.aborted;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running = null;
    void this.#next();
  }
}
