/** Places of a map: what is near them, and what a map is, in words. */

import { h } from '../core/elements.js';
import { nearest } from '../core/inverse.js';

/** @param {import('./latent_map.js').LatentMap} map */
export function wordsOfMap(map) {
  if (map.isSampled) {
    const words = map.pools.length ? 'samples of its pools' : 'samples of its prior';
    return h(
      'p',
      { class: 'muted small' },
      'The bundle of this model holds no map. ',
      `Shown are ${words}, along two of its latents; the others stay at their mean. Choose others above.`,
    );
  }
  const words = map.axes
    ? 'The model has two latents: this is its latent space itself.'
    : 'Each point is an image that the model was not trained on. ' +
      'What lies close together is alike; far distances are not to scale.';
  return h('p', { class: 'muted small' }, words);
}

/**
 * What is known of the surroundings of a place, in words.
 * @param {import('./latent_map.js').LatentMap} map
 * @param {number} x
 * @param {number} y
 * @param {number} reach the distance that is still near
 */
export function wordsOfPlace(map, x, y, reach) {
  const { indices, squares } = nearest(map.points, x, y, 1);
  if (!indices.length) return '';
  if (Math.sqrt(squares[0]) > reach) return 'Far from the data';
  const [label, pool] = [map.labels[map.labelOf[indices[0]]], map.pools[map.poolOf[indices[0]]]];
  const named = label !== undefined ? `label ${label}` : pool !== undefined ? `pool ${pool}` : '';
  return named ? `Among the data, nearest ${named}` : 'Among the data';
}

/**
 * How far from the nearest point a place is still among the data: a few times the usual distance of neighbours.
 * @param {import('./latent_map.js').LatentMap} map
 */
export function reachOf({ points }) {
  const count = points.length / 2;
  const rows = Array.from({ length: Math.min(count, 150) }, (_, at) => Math.floor((at * count) / Math.min(count, 150)));
  const distances = rows.map((row) =>
    Math.sqrt(nearest(points, points[row * 2], points[row * 2 + 1], 2).squares.at(-1) ?? 0),
  );
  return 4 * (distances.sort((a, b) => a - b)[distances.length >> 1] ?? 0);
}

/**
 * @param {import('./latent_map.js').LatentMap} map
 * @param {number} x
 * @param {number} y
 * @param {number} count of the anchors there are
 */
export function nameOfPlace(map, x, y, count) {
  const [row] = nearest(map.points, x, y, 1).indices;
  return map.labels[map.labelOf[row]] ?? map.pools[map.poolOf[row]] ?? `Point ${count + 1}`;
}

/**
 * A point among the others: the nearest to the medians.
 * @param {import('./latent_map.js').LatentMap} map
 */
export function middleOf({ points }) {
  const median = (/** @type {number} */ axis) => points.filter((_, at) => at % 2 === axis).sort()[points.length >> 2];
  const [row] = nearest(points, median(0), median(1), 1).indices;
  return [points[row * 2], points[row * 2 + 1]];
}
