/** What the colours of a map mean; a kind that is pressed stands out. */

import { h } from '../core/elements.js';
import { colourOfStep, RAMP_STEPS } from './palette.js';

/**
 * @param {import('./palette.js').Colouring} colouring
 * @param {(kind: number | null) => void} choose
 * @returns {HTMLElement}
 */
export function legendOf(colouring, choose) {
  if (!colouring.names.length) return colouring.kindOf.some((kind) => kind) ? scaleOf() : h('div', { class: 'legend' });
  const legend = h('div', { class: 'legend', role: 'group', 'aria-label': 'Colours' });
  for (const [kind, name] of colouring.names.entries()) {
    const swatch = h('span', { class: 'swatch' });
    swatch.style.background = colouring.colour(kind);
    const count = h('small', null, String(colouring.counts[kind]));
    const entry = h('button', { type: 'button', class: 'quiet', 'aria-pressed': 'false' }, swatch, name, count);
    entry.addEventListener('click', () => {
      const isChosen = entry.getAttribute('aria-pressed') !== 'true';
      for (const other of legend.children) other.setAttribute('aria-pressed', String(isChosen && other === entry));
      choose(isChosen ? kind : null);
    });
    legend.append(entry);
  }
  return legend;
}

/** Of scores: from the most usual image to the most unusual. */
function scaleOf() {
  const bar = h('span', { class: 'ramp' });
  const steps = Array.from({ length: RAMP_STEPS }, (_, step) => colourOfStep(step));
  bar.style.background = `linear-gradient(to right, ${steps.join(', ')})`;
  return h('div', { class: 'legend' }, h('small', null, 'usual'), bar, h('small', null, 'unusual'));
}
