// A field whose text is checked before anything is asked of the server.

import { entry, h } from '../core/elements.js';

/** @template T
 * @typedef {{value: T} | {wrong: string}} Checked */

/** Says under the field what is wrong with its text; `onchange` hears of good values only.
 * @template T
 * @param {{label: string, value: string, hint?: string, check: (text: string) => Checked<T>,
 *   onchange: (value: T) => void, numeric?: boolean}} options */
export function checkedEntry({ label, value, hint, check, onchange, numeric = true }) {
  const box = entry({ label, value, hint, onchange: changed });
  const complaint = h('small', { class: 'wrong', role: 'alert', id: `${box.input.id}-wrong`, hidden: true });
  box.append(complaint);
  box.input.setAttribute('autocomplete', 'off');
  if (numeric) box.input.setAttribute('inputmode', 'numeric');
  const described = box.input.getAttribute('aria-describedby');
  box.input.setAttribute('aria-describedby', [described, complaint.id].filter(Boolean).join(' '));

  /** @param {string} text */
  function changed(text) {
    const found = check(text.trim());
    complain('wrong' in found ? found.wrong : '');
    if ('value' in found) onchange(found.value);
  }
  /** @param {string} words */
  function complain(words) {
    complaint.textContent = words;
    complaint.hidden = !words;
    box.input.setAttribute('aria-invalid', String(Boolean(words)));
  }
  /** @param {string | number} next */
  function show(next) {
    box.input.value = String(next);
    complain('');
  }
  return Object.assign(box, { show, complain });
}

/** Checks for a whole number. @param {number} least @param {number} most
 * @returns {(text: string) => Checked<number>} */
export const wholeNumber = (least, most) => (text) => {
  const number = /^[0-9]{1,15}$/.test(text) ? Number(text) : NaN;
  if (number >= least && number <= most) return { value: number };
  return { wrong: `Want a whole number from ${least} to ${most}${text ? `, not “${text.slice(0, 20)}”` : ''}.` };
};

/** The number in a text of the address, or what to take instead.
 * @param {string | null} text @param {number} least @param {number} most @param {number} otherwise */
export function numberOr(text, least, most, otherwise) {
  const number = text === null || text.trim() === '' ? NaN : Number(text);
  return Number.isFinite(number) ? Math.min(Math.max(number, least), most) : otherwise;
}

const MOST_SEED = (1n << 64n) - 1n;

/** A seed is a whole number of 64 bits; nothing at all lets the server draw one.
 * @param {string} text @returns {Checked<string | null>} */
export function seedOf(text) {
  if (text === '') return { value: null };
  if (/^[0-9]{1,20}$/.test(text) && BigInt(text) <= MOST_SEED) return { value: String(BigInt(text)) };
  return { wrong: `Want a whole number from 0 to ${MOST_SEED}, or nothing.` };
}

/** The seed in a text of the address, if it is one. @param {string | null} text */
export function seedOrNull(text) {
  const found = seedOf(text ?? '');
  return 'value' in found ? found.value : null;
}
