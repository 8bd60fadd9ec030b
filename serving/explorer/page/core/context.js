/** What a view is given: the service, the models, the address, and where to say things. */

import { h, button } from './elements.js';
import { inWords, isAbort } from './words.js';

/** The two lines under the head of the page: what goes on, and what went wrong. */
export class Notices {
  #status = /** @type {HTMLElement} */ (document.getElementById('status'));
  #alert = /** @type {HTMLElement} */ (document.getElementById('alert'));
  #retry = /** @type {HTMLElement} */ (document.getElementById('away'));
  /** Told of every error that is shown. */
  onerror = (/** @type {unknown} */ _error) => {};

  /** @param {string} text */
  say(text) {
    this.#status.textContent = text;
  }

  /** @param {unknown} error null clears */
  fail(error) {
    if (isAbort(error)) return;
    this.#alert.replaceChildren();
    if (error === null || error === undefined) return;
    const words = inWords(error);
    if (!(error instanceof Error) || error.name !== 'Error') console.error(error);
    this.#alert.append(
      h('span', null, words),
      button('×', () => this.fail(null), { 'aria-label': 'Close' }),
    );
    this.onerror(error);
  }

  /** @param {boolean} isThere whether the server answers */
  reach(isThere) {
    this.#retry.hidden = isThere;
    this.#retry.textContent = isThere ? '' : 'The server does not answer. It is asked again until it does.';
    if (isThere) this.say('The server is back.');
  }

  clear() {
    this.say('');
    this.fail(null);
  }
}

/**
 * @param {{service: Service, models: import('./models.js').Models, model: Model, address: Address,
 *   notices: Notices}} parts
 * @returns {Context}
 */
export function contextOf({ service, models, model, address, notices }) {
  return {
    service,
    model,
    address,
    get models() {
      return models.list;
    },
    get versions() {
      return models.versions;
    },
    ref: ({ model: { name, version = '0' } }) => ({ name, version }),
    say: (text) => notices.say(text),
    fail: (error) => notices.fail(error),
  };
}
