/**
 * The map of a model: its bundle's, or, where that has none, a plane through samples of its pools. N is the number of
 * points, Z of latents.
 */

import { inverse } from '../core/inverse.js';
import { floats, latentSize } from '../core/tensors.js';

/** Points of a plane through samples, fewer of large images: they are made for it, and not shown. */
const SAMPLED = 512;
const FEWEST = 96;
const MOST_IMAGE_BYTES = 3 << 20;

/**
 * @typedef {object} LatentMap
 * @property {Float32Array} points [N, 2]
 * @property {Float32Array} latents [N, Z]
 * @property {string[]} labels
 * @property {number[]} labelOf
 * @property {string[]} pools
 * @property {number[]} poolOf
 * @property {Float32Array} quantile [N] or empty
 * @property {[number, number] | null} axes the latents that are its directions; null of a projection
 * @property {boolean} isSampled whether its points are samples of the model, and not images
 * @property {(x: number, y: number) => Float32Array} latentAt
 * @property {(latent: Float32Array) => [number, number]} placeOf a place whose latent is near this one
 */

/** The last map, since people go to and fro between views. */
/** @type {{digest: string, map: Promise<LatentMap>} | null} */
let kept = null;

/**
 * The bundle's map, or the plane.
 * @param {Context} context
 * @param {AbortSignal} signal
 * @param {[number, number] | null} axes of a plane
 * @returns {Promise<LatentMap>}
 */
export async function loadMap(context, signal, axes) {
  const { model } = context;
  if (!model.offersLatentMap) return planeMap(context, signal, axes);
  if (kept?.digest !== model.model.digest) {
    kept = { digest: model.model.digest, map: servedMap(context) };
    kept.map.catch(() => (kept = null));
  }
  return kept.map;
}

/**
 * @param {Context} context
 * @returns {Promise<LatentMap>}
 */
async function servedMap({ service, model, ref }) {
  const said = await service.call('GetLatentMap', { model: ref(model) });
  const [points, latents, size] = [floats(said.points), floats(said.latents), latentSize(model)];
  const isPlane = size === 2 && points.every((value, at) => value === latents[at]);
  return {
    points,
    latents,
    labels: said.labels ?? [],
    labelOf: said.labelOf ?? [],
    pools: (model.pools ?? []).map(({ name }) => name),
    poolOf: said.poolOf ?? [],
    quantile: floats(said.quantile),
    axes: isPlane ? [0, 1] : null,
    isSampled: false,
    latentAt: isPlane ? (x, y) => Float32Array.of(x, y) : (x, y) => inverse(points, latents, size, x, y),
    placeOf: (latent) => nearestPlace(points, latents, latent),
  };
}

/**
 * Samples of all pools, or of the prior, seen along two of the latents. All other latents of a place are the mean's.
 * @param {Context} context
 * @param {AbortSignal} signal
 * @param {[number, number] | null} wanted
 * @returns {Promise<LatentMap>}
 */
async function planeMap(context, signal, wanted) {
  const { model } = context;
  const size = latentSize(model);
  const pools = (model.pools ?? []).filter((pool) => !pool.aggregate);
  const sources = pools.length ? pools.slice(0, 64).map(({ name }) => ({ pool: name })) : [{}];
  const { channels, height, width } = model.image;
  const rows = Math.min(SAMPLED, Math.max(FEWEST, Math.floor(MOST_IMAGE_BYTES / (channels * height * width))));
  const each = Math.max(1, Math.min(Number(model.maxRows), Math.ceil(rows / sources.length)));
  const parts = await Promise.all(
    sources.map(async (source) => {
      const message = { model: context.ref(model), count: each, seed: '1', includeLatents: true, ...source };
      const said = await context.service.call('Sample', { ...message, imageFormat: 'IMAGE_FORMAT_UINT8' }, { signal });
      return floats(said.latents);
    }),
  );
  const latents = joined(parts);
  const { mean, variance } = moments(latents, size);
  const order = [...variance.keys()].sort((a, b) => variance[b] - variance[a]);
  const [across, up] = wanted?.every((axis) => axis < size) ? wanted : [order[0], order[1] ?? order[0]];
  const count = latents.length / size;
  const points = new Float32Array(count * 2);
  for (let row = 0; row < count; row++) {
    points[row * 2] = latents[row * size + across];
    points[row * 2 + 1] = size === 1 ? 0 : latents[row * size + up];
  }
  return {
    points,
    latents,
    labels: [],
    labelOf: [],
    quantile: new Float32Array(0),
    isSampled: true,
    pools: pools.map(({ name }) => name),
    poolOf: pools.length ? Array.from({ length: count }, (_, row) => Math.floor(row / each)) : [],
    axes: [across, up],
    latentAt: (x, y) => {
      const latent = mean.slice();
      if (size > 1) latent[up] = y;
      latent[across] = x;
      return latent;
    },
    placeOf: (latent) => [latent[across], size === 1 ? 0 : latent[up]],
  };
}

/** @param {Float32Array[]} parts */
function joined(parts) {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * Mean and variance of each latent over rows.
 * @param {Float32Array} latents [N, size]
 * @param {number} size
 */
export function moments(latents, size) {
  const count = Math.max(1, latents.length / size);
  const [mean, variance] = [new Float32Array(size), new Float32Array(size)];
  for (let at = 0; at < latents.length; at++) mean[at % size] += latents[at] / count;
  for (let at = 0; at < latents.length; at++) variance[at % size] += (latents[at] - mean[at % size]) ** 2 / count;
  return { mean, variance };
}

/**
 * The point whose latent is the nearest.
 * @param {Float32Array} points
 * @param {Float32Array} latents
 * @param {Float32Array} latent
 * @returns {[number, number]}
 */
function nearestPlace(points, latents, latent) {
  const size = latent.length;
  let [best, least] = [0, Infinity];
  for (let row = 0; row * size < latents.length; row++) {
    let square = 0;
    for (let axis = 0; axis < size; axis++) square += (latents[row * size + axis] - latent[axis]) ** 2;
    if (square < least) [best, least] = [row, square];
  }
  return [points[best * 2], points[best * 2 + 1]];
}
