/** Named points of latent space in an address: `name~values,name~values`, the values as base64url of float32. */

import { fromBase64, toBase64 } from './tensors.js';

/** Firefox takes addresses of 1 MiB, Chromium of 2 MiB. */
const MOST_LETTERS = 1_000_000;
const MOST_POINTS = 64;

/** @param {Float32Array} latent */
const packed = (latent) =>
  toBase64(new Uint8Array(latent.buffer, latent.byteOffset, latent.byteLength))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

/** Half of a letter, as a cut through an emoji leaves it, is none that an address can hold. */
const HALF = /\p{Surrogate}/gu;

/** @param {string} name */
export const nameToText = (name) => encodeURIComponent(name.replace(HALF, '\uFFFD')).replaceAll('~', '%7E');

/** @param {Point[]} points */
export const pointsToText = (points) =>
  points.map(({ name, latent }) => `${nameToText(name)}~${packed(latent)}`).join(',');

/**
 * The points that are of this size and finite; others are left out, since anybody may write an address.
 * @param {string | null} text
 * @param {number} size of a latent
 * @returns {Point[]}
 */
export function pointsFromText(text, size) {
  if (!text || text.length > MOST_LETTERS) return [];
  return text
    .split(',')
    .slice(0, MOST_POINTS)
    .flatMap((part) => {
      try {
        const [name, values] = part.split('~');
        const base64 = values.replaceAll('-', '+').replaceAll('_', '/');
        const bytes = fromBase64(base64.padEnd(Math.ceil(base64.length / 4) * 4, '='));
        const latent = new Float32Array(bytes.buffer);
        const fits = latent.length === size && latent.every(Number.isFinite);
        return fits ? [{ name: decodeURIComponent(name).slice(0, 80), latent }] : [];
      } catch {
        return [];
      }
    });
}
