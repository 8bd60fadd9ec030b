// Links that take a point of latent space to the views that move it.

import { h } from '../core/elements.js';
import { pointsToText } from '../core/points.js';

/** @param {Address} address @param {Point} point */
export function goFrom(address, point) {
  const text = pointsToText([point]);
  const link = (
    /** @type {string} */ view,
    /** @type {string} */ words,
    /** @type {Record<string, string | null>} */ change,
  ) => h('a', { class: 'button', href: address.href(view, change) }, words);
  return h(
    'div',
    { class: 'row go-from' },
    link('vary', 'Vary it', { start: text, at: null }),
    link('walk', 'Walk from it', { points: text, at: null }),
    link('map', 'Show on the map', { point: text, probe: null }),
  );
}
