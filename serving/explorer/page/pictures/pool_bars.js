// Which pool an image belongs to: a bar for each, the likeliest first.

import { h } from '../core/elements.js';

const MOST_BARS = 10;

/** @param {string[]} names @param {ArrayLike<number>} probabilities one for each name */
export function poolBars(names, probabilities) {
  const pools = names.map((name, i) => ({ name, share: probabilities[i] })).sort((a, b) => b.share - a.share);
  const bars = pools.slice(0, MOST_BARS).map(({ name, share }) => {
    const bar = h('span', { class: 'bar', 'aria-hidden': 'true' }, h('span'));
    /** @type {HTMLElement} */ (bar.firstElementChild).style.width = `${share * 100}%`;
    return h(
      'li',
      null,
      h('span', { class: 'bar-name' }, name),
      bar,
      h('span', { class: 'bar-share' }, shareInWords(share)),
    );
  });
  const left = pools.slice(MOST_BARS);
  const rest = left.reduce((sum, { share }) => sum + share, 0);
  const more = left.length > 0 && h('small', null, `${left.length} other pools: ${shareInWords(rest)} together`);
  return h('div', { class: 'bars' }, h('ol', null, ...bars), more);
}

/** @param {number} share */
const shareInWords = (share) =>
  share < 0.001 ? '< 0.1 %' : share > 0.999 ? '> 99.9 %' : `${(share * 100).toFixed(1)} %`;
