/** The service's API by Connect's JSON: https://connectrpc.com/docs/protocol (unary). */

/** Tries of a call that a server which is there calls unavailable. */
const TRIES = 5;
const LONGEST_PAUSE_MS = 5_000;
const DEADLINE_MS = 60_000;
const TOKEN = 'vaeserve-token';

/** An error of the service, in its words. `code` is Connect's, `field` the part of the message that it is about. */
export class ServiceError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {string} [field]
   * @param {number} [retryMs] when to try again, where the server says so
   */
  constructor(code, message, field, retryMs) {
    super(message);
    this.name = 'ServiceError';
    this.code = code;
    this.field = field;
    this.retryMs = retryMs;
  }
}

/** @implements {Service} */
export class HttpService {
  /** @type {Promise<void> | null} */
  #back = null;
  /** @type {Promise<void> | null} */
  #asking = null;
  #ask;
  #tell;

  /**
   * @param {(refused: boolean) => Promise<string>} ask the user for a token; rejects if there is none
   * @param {(there: boolean) => void} tell whether the server can be reached
   */
  constructor(ask, tell) {
    this.#ask = ask;
    this.#tell = tell;
  }

  /**
   * @param {string} method
   * @param {object} message
   * @param {CallOptions} [options]
   */
  async call(method, message, { signal } = {}) {
    const text = await this.#fetch(`vae.v1.VaeService/${method}`, message, (response) => response.text(), signal);
    return JSON.parse(text);
  }

  /** @param {CallOptions} [options] */
  async metrics({ signal } = {}) {
    return this.#fetch('explorer/metrics', null, (response) => response.text(), signal);
  }

  /**
   * @param {object} message
   * @param {{delayMs?: number, bounce?: boolean, signal?: AbortSignal}} [options]
   */
  async walkGif(message, { delayMs = 80, bounce = true, signal } = {}) {
    const path = `explorer/walk.gif?delay_ms=${delayMs}&bounce=${bounce ? 1 : 0}`;
    return this.#fetch(path, message, (response) => response.blob(), signal);
  }

  /**
   * Waits while the server restarts, and asks for a token where one is wanted.
   * @template T
   * @param {string} path
   * @param {object | null} message nothing for a GET
   * @param {(response: Response) => Promise<T>} read the answer; a server that ends may end in the middle of it
   * @param {AbortSignal} [signal]
   * @returns {Promise<T>}
   */
  async #fetch(path, message, read, signal) {
    for (let tries = 1; ; tries++) {
      const token = sessionStorage.getItem(TOKEN);
      const response = await send(path, message, token, signal);
      const body = response?.ok ? await read(response).catch(() => null) : null;
      if (body !== null) return body;
      const error = response && !response.ok && (await errorOf(response));
      signal?.throwIfAborted();
      if (response?.ok && tries >= TRIES) throw new ServiceError('unavailable', 'its answers end before they are whole');
      if (!error) await wait(this.#untilBack(), signal);
      else if (error.code === 'unauthenticated') await wait(this.#untilAsked(token), signal);
      else if (tries >= TRIES || !['unavailable', 'resource_exhausted'].includes(error.code)) throw error;
      else if (error.code === 'unavailable') await wait(this.#untilBack(), signal);
      else if (error.retryMs !== undefined) await wait(pause(error.retryMs), signal);
      else throw error;
    }
  }

  /** One for all calls: looks for the server, ever more seldom, until it answers. */
  #untilBack() {
    this.#back ??= (async () => {
      this.#tell(false);
      for (let ms = 400; ; ms = Math.min(ms * 1.6, LONGEST_PAUSE_MS)) {
        await pause(ms);
        const response = await send('vae.v1.VaeService/ListModels', {}, sessionStorage.getItem(TOKEN));
        if (response && response.status < 500) break;
      }
      this.#back = null;
      this.#tell(true);
    })();
    return this.#back;
  }

  /**
   * One for all calls.
   * @param {string | null} refused the token that the server did not take
   */
  #untilAsked(refused) {
    if (sessionStorage.getItem(TOKEN) !== refused) return Promise.resolve();
    // Who has none is not asked again: the promise stays, rejected.
    this.#asking ??= this.#ask(refused !== null).then((token) => {
      sessionStorage.setItem(TOKEN, token);
      this.#asking = null;
    });
    return this.#asking;
  }
}

/** @param {number} ms */
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/**
 * Null where nobody answers.
 * @param {string} path
 * @param {object | null} message
 * @param {string | null} token
 * @param {AbortSignal} [signal]
 */
async function send(path, message, token, signal) {
  /** @type {Record<string, string>} */
  const headers = token ? { authorization: `Bearer ${token}` } : {};
  /** @type {RequestInit} */
  const init = { headers, signal, credentials: 'omit', cache: 'no-store' };
  if (message) {
    Object.assign(headers, { 'content-type': 'application/json', 'connect-timeout-ms': String(DEADLINE_MS) });
    Object.assign(init, { method: 'POST', body: JSON.stringify(message) });
  }
  try {
    return await fetch(path, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    return null;
  }
}

/** @param {Response} response */
async function errorOf(response) {
  /** @type {any} */
  let said;
  try {
    said = await response.json();
  } catch {
    const code = [502, 503, 504].includes(response.status) ? 'unavailable' : 'unknown';
    return new ServiceError(code, `The server answered with HTTP status ${response.status}.`);
  }
  const code = response.status === 401 ? 'unauthenticated' : String(said.code ?? 'unknown');
  const details = (said.details ?? []).map((/** @type {any} */ detail) => detail?.debug ?? {});
  const field = details.find((/** @type {any} */ d) => d.fieldViolations)?.fieldViolations[0]?.field;
  const delay = details.find((/** @type {any} */ d) => d.retryDelay)?.retryDelay;
  const retryMs = delay === undefined ? undefined : Math.min(parseFloat(delay) * 1000, LONGEST_PAUSE_MS);
  return new ServiceError(code, String(said.message ?? said.error ?? 'The server gave no reason.'), field, retryMs);
}

/**
 * What the promise gives, unless the signal is aborted first; the promise itself goes on.
 * @template T
 * @param {Promise<T>} promise
 * @param {AbortSignal} [signal]
 * @returns {Promise<T>}
 */
async function wait(promise, signal) {
  if (!signal) return promise;
  signal.throwIfAborted();
  /** @type {() => void} */
  let stop = () => {};
  const aborted = new Promise((_, failed) => {
    stop = () => failed(signal.reason);
    signal.addEventListener('abort', stop);
  });
  try {
    return /** @type {T} */ (await Promise.race([promise, aborted]));
  } finally {
    signal.removeEventListener('abort', stop);
  }
}
