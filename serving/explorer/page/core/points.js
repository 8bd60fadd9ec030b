/** Named points of latent space in an address: `name~values,name~values`, the values as base64url of float32. */

import { fromBase64, toBase64 } from './tensors.js';

/** More is no address that anybody can send. */
const MOST_LETTERS = 200_000;
const MOST_POINTS = 64;

/** @param {Float32Array} latent */
const packed = (latent) =>
  toBase64(new Uint8Array(latent.buffer, latent.byteOffset, latent.byteLength))
    .replaceAll('+', '-')
    .replaceAll('/', '_')
    .replaceAll('=', '');

/** @param {Point[]} points */
export const pointsToText = (points) =>
  points.map(({ name, latent }) => `${encodeURIComponent(name).replaceAll('~', '%7E')}~${packed(latent)}`).join(',');

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
