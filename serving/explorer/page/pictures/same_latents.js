// The same noise and the same images for two models.

import { floats, fromTensor, latentSize } from '../core/tensors.js';
import { blank, fitted, imageOfCanvas, imageSize, toImages } from './model_image.js';
import { paint } from './painting.js';

const UINT8 = 'IMAGE_FORMAT_UINT8';
const UNUSUAL = 0.95; // of the images kept back from training a twentieth scores worse

/** @typedef {{service: Service, ref: Context['ref'], signal: AbortSignal}} Asking */

/** Images of the same noise from N(0, I), which each maps through its prior first if it has learned one. Of latents of
 * another size each draws its own.
 * @param {Asking} asking @param {[Model, Model]} pair @param {number} count @param {string | undefined} seed */
export async function fromSameNoise(asking, [first, second], count, seed) {
  const one = await sampled(asking, first, count, seed);
  const other = await sampled(asking, second, count, one.seed);
  return { seed: one.seed, isSame: latentSize(first) === latentSize(second), images: [one.pixels, other.pixels] };
}

/** New images of a model, and the seed that they are of.
 * @param {Asking} asking @param {Model} model @param {number} count @param {string | undefined} seed */
export async function sampled({ service, ref, signal }, model, count, seed) {
  const message = { model: ref(model), count: String(count), seed, imageFormat: UINT8 };
  const answer = await service.call('Sample', message, { signal });
  return { seed: /** @type {string} */ (answer.seed ?? '0'), pixels: pixelsOf(answer) };
}

/** @param {Asking} asking @param {Model} model @param {Uint8Array} pixels */
export async function reconstructed({ service, ref, signal }, model, pixels) {
  const message = { model: ref(model), images: toImages(pixels, model), imageFormat: UINT8 };
  return pixelsOf(await service.call('Reconstruct', message, { signal }));
}

/** How many of the images score as images of the data do; null where the model cannot tell.
 * @param {Asking} asking @param {Model} judge @param {Uint8Array} pixels */
async function ordinary({ service, ref, signal }, judge, pixels) {
  const message = { model: ref(judge), images: toImages(pixels, judge), seed: '0' };
  const { quantile } = await service.call('Score', message, { signal });
  return quantile ? floats(quantile).filter((share) => share < UNUSUAL).length : null;
}

/** What one that offers a score, a VAE rather than an AE, says of both models' images.
 * @param {Asking} asking @param {[Model, Model]} pair @param {Uint8Array[]} images */
export async function judged(asking, pair, images) {
  const able = pair.filter(({ offersScore }) => offersScore);
  const judge = able.find(({ kind }) => kind !== 'ae');
  if (!judge || !hasSameImages(...pair)) return ['', ''];
  const count = images[0].length / imageSize(judge);
  const found = await Promise.all(images.map((pixels) => ordinary(asking, judge, pixels).catch(() => null)));
  asking.signal.throwIfAborted();
  return found.map((ok) =>
    ok === null ? '' : `${ok} of ${count} score as the data do, by ${judge.model.name}’s score.`,
  );
}

/** Images of one model as another takes them.
 * @param {Uint8Array} pixels @param {Model} from @param {Model} to */
export function converted(pixels, from, to) {
  if (hasSameImages(from, to)) return pixels;
  const count = pixels.length / imageSize(from);
  const made = new Uint8Array(count * imageSize(to));
  const canvas = blank(from.image.width, from.image.height);
  for (let row = 0; row < count; row++) {
    paint(canvas, pixels, from, row);
    made.set(imageOfCanvas(fitted(canvas, to).canvas, to), row * imageSize(to));
  }
  return made;
}

/** @param {Model} a @param {Model} b */
export const hasSameImages = ({ image: a }, { image: b }) =>
  a.channels === b.channels && a.height === b.height && a.width === b.width;

/** @param {any} answer @returns {Uint8Array} */
const pixelsOf = (answer) => /** @type {Uint8Array} */ (fromTensor(answer.images.tensor).data);
