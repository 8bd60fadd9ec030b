/** Asks the user for the server's token. */

import { button, entry, h } from './elements.js';

/** What a header can carry; others would look like a server that does not answer. */
const TOKEN = /^[\x20-\x7e]+$/;

/**
 * @param {boolean} refused whether the last one was
 * @returns {Promise<string>} rejects if the user has none
 */
export function askToken(refused) {
  return new Promise((done, failed) => {
    const token = entry({ label: 'Token', value: '', type: 'password', hint: 'It stays in this tab of the browser.' });
    token.input.autocomplete = 'off';
    const gone = () => {
      dialog.close(); // gives the focus back
      dialog.remove();
    };
    const take = () => {
      if (!TOKEN.test(token.input.value.trim())) {
        words.textContent = 'A token is one line of letters, digits and signs of ASCII.';
        return token.input.focus();
      }
      done(token.input.value.trim());
      gone();
    };
    const leave = () => {
      failed(new Error('Without a token the server answers nothing. Reload the page to enter one.'));
      gone();
    };
    const submit = (/** @type {Event} */ event) => (event.preventDefault(), take());
    const why = refused ? 'The server did not take that token.' : 'This server answers only who has its token.';
    const words = h('p', { role: 'status' }, why);
    const dialog = h(
      'dialog',
      { class: 'ask', 'aria-labelledby': 'ask-title', oncancel: leave },
      h(
        'form',
        { onsubmit: submit },
        h('h2', { id: 'ask-title' }, 'Token wanted'),
        words,
        token,
        h('div', { class: 'row' }, button('Continue', take, { class: 'primary' }), button('Cancel', leave)),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
    token.input.focus();
  });
}
