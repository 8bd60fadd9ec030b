// Images that were drawn, as files.

import { download } from '../core/elements.js';
import { imageSize } from './model_image.js';
import { npzOf } from './npz.js';
import { pngOf, sheet } from './painting.js';

/** Images [rows, channels, height, width] and their latents. `seed` gives them again.
 * @typedef {{pixels: Uint8Array, latents: Float32Array, seed: string}} Drawn */

/** @param {Model} model @param {Drawn} drawn */
function nameOf({ model: { name, version = '0' } }, { seed }) {
  return `${name}-${version}-seed-${seed}`;
}

/** All of them as one picture. @param {Model} model @param {Drawn} drawn */
export async function savePng(model, drawn) {
  download(await pngOf(sheet(drawn.pixels, model)), `${nameOf(model, drawn)}.png`);
}

/** Images, latents and seed as arrays for numpy. @param {Model} model @param {Drawn} drawn */
export function saveNpz(model, drawn) {
  const { channels, height, width } = model.image;
  const count = drawn.pixels.length / imageSize(model);
  const file = npzOf({
    images: { data: drawn.pixels, shape: [count, channels, height, width] },
    latents: { data: drawn.latents, shape: [count, ...model.latentShape.map(Number)] },
    seed: { data: BigUint64Array.of(BigInt(drawn.seed)), shape: [] },
  });
  download(new Blob([file], { type: 'application/zip' }), `${nameOf(model, drawn)}.npz`);
}
