/** The list of a map's anchors: named, pictured, and sent to Walk. */

import { button, h, refocus } from '../core/elements.js';
import { nameToText, pointsToText } from '../core/points.js';
import { Latest } from '../core/latest.js';
import { pictureItems } from '../parts/live_decoder.js';

export const MOST_ANCHORS = 12;
/** A coordinate of a map is never larger; squares of distances are finite then. */
export const LARGEST = 1e18;

/** @typedef {import('./map_canvas.js').Anchor} Anchor */

/** @param {Anchor[]} anchors */
export const anchorsToText = (anchors) =>
  anchors
    .map(({ name, x, y }) => [nameToText(name), short(x), short(y)].join('~'))
    .join(',');

/** @param {number} value */
export const short = (value) => Number(value.toPrecision(6));

/**
 * Those of an address that can be understood.
 * @param {string | null} text
 * @returns {Anchor[]}
 */
export function anchorsFromText(text) {
  return (text ?? '')
    .split(',')
    .slice(0, MOST_ANCHORS)
    .flatMap((part) => {
      const [name, x, y] = part.split('~');
      if (!x || !y || ![x, y].every((value) => Math.abs(Number(value)) <= LARGEST)) return [];
      try {
        return [{ name: decodeURIComponent(name).slice(0, 80), x: Number(x), y: Number(y) }];
      } catch {
        return [];
      }
    });
}

/**
 * @param {Context} context
 * @param {import('./latent_map.js').LatentMap} map
 * @param {Anchor[]} anchors changed in place
 * @param {() => void} changed
 */
export function anchorList(context, map, anchors, changed) {
  const latest = new Latest();
  const list = h('ol', { class: 'anchors' });
  const hint = h(
    'p',
    { class: 'muted small' },
    'Click the map, or press Enter on it, to set an anchor. Two or more make a walk.',
  );
  const walk = button(
    'Walk between them',
    () =>
      context.address.go('walk', {
        points: pointsToText(anchors.map(({ name, x, y }) => ({ name, latent: map.latentAt(x, y) }))),
        at: null,
      }),
    { class: 'primary' },
  );
  const clear = button('Remove all', () => (anchors.splice(0), update()));

  /** @param {boolean} [isSame] only a name is another one */
  function update(isSame = false) {
    changed();
    if (isSame) return;
    list.replaceChildren(...anchors.map((anchor, at) => itemOf(anchor, at, update, anchors)));
    hint.hidden = anchors.length > 1;
    walk.disabled = anchors.length < 2;
    clear.hidden = !anchors.length;
    const latents = anchors.map(({ x, y }) => map.latentAt(x, y));
    void pictureItems(context, latest, list, latents);
  }

  update();
  const element = h(
    'section',
    { class: 'panel' },
    h('h2', null, 'Anchors'),
    list,
    hint,
    h('div', { class: 'row' }, walk, clear),
  );
  return { element, update, close: () => latest.stop() };
}

/**
 * @param {Anchor} anchor
 * @param {number} at
 * @param {(isSame?: boolean) => void} update
 * @param {Anchor[]} anchors
 */
function itemOf(anchor, at, update, anchors) {
  const name = h('input', {
    type: 'text',
    value: anchor.name,
    maxLength: 40,
    'aria-label': `Name of anchor ${at + 1}`,
  });
  name.addEventListener('input', () => {
    anchor.name = name.value;
    update(true);
  });
  const take = () => {
    const list = item.parentElement;
    anchors.splice(at, 1);
    update();
    refocus(list, at);
  };
  const remove = button('×', take, { class: 'quiet', 'aria-label': `Remove anchor ${at + 1}` });
  const item = h('li', null, h('img', { class: 'picture', alt: `Image at anchor ${at + 1}` }), name, remove);
  return item;
}
