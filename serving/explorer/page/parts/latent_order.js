/** Which latents of a model tell the most, and how far each of them goes. */

import { floats, latentSize } from '../core/tensors.js';
import { imageFormat } from '../core/pictures.js';
import { moments } from '../map/latent_map.js';

const SAMPLES = 64;
const FEWEST = 2;
/** Of their pixels: they go to the server again, in one message. */
const MOST_BYTES = 3 << 20;
/** A latent that tells less, in nats, has nothing to say of an image. */
export const SILENT = 0.01;

/**
 * @typedef {object} LatentOrder
 * @property {number[]} order of the latents, what tells most first
 * @property {Float32Array} kl nats of each; NaN where the model has no posterior
 * @property {Float32Array} mean of each over the samples
 * @property {Float32Array} spread standard deviation of each over the samples
 */

/**
 * Encodes samples of the model: the mean of each latent's KL(q(z|x) ‖ N(0, 1)) over them. Without a posterior the
 * order is that of the variance.
 * @param {Context} context
 * @param {AbortSignal} signal
 * @returns {Promise<LatentOrder>}
 */
export async function orderOfLatents({ service, model, ref }, signal) {
  const size = latentSize(model);
  const { channels, height, width } = model.image;
  const fitting = Math.max(FEWEST, Math.floor(MOST_BYTES / (channels * height * width)));
  const pool = (model.pools ?? []).find(({ aggregate }) => aggregate)?.name;
  const said = await service.call(
    'Sample',
    {
      model: ref(model),
      count: String(Math.min(SAMPLES, fitting, Number(model.maxRows))),
      seed: '1',
      imageFormat: imageFormat(model),
      includeLatents: true,
      ...(pool ? { pool } : {}),
    },
    { signal },
  );
  const posterior = await service.call('Encode', { model: ref(model), images: said.images }, { signal });
  const [means, logVar] = [floats(posterior.mean), floats(posterior.logVar)];
  const { mean, variance } = moments(floats(said.latents), size);
  const kl = new Float32Array(size);
  for (let at = 0; at < means.length; at++)
    kl[at % size] += (0.5 * (means[at] ** 2 + Math.exp(logVar[at]) - 1 - logVar[at])) / (means.length / size);
  const hasPosterior = model.kind !== 'ae' && logVar.length === means.length && kl.every(Number.isFinite);
  if (!hasPosterior) kl.fill(NaN);
  const told = hasPosterior ? kl : variance;
  const order = Array.from({ length: size }, (_, at) => at).sort((a, b) => told[b] - told[a]);
  const typical = Math.sqrt(variance.reduce((most, value) => Math.max(most, value), 0)) || 1;
  return { order, kl, mean, spread: variance.map((value) => Math.max(Math.sqrt(value), 0.05 * typical)) };
}

/**
 * What a latent is called.
 * @param {number} index
 * @param {Model} model
 */
export function nameOfLatent(index, model) {
  const shape = model.latentShape.map(Number);
  if (shape.length !== 3) return `latent ${index + 1}`;
  const [, height, width] = shape;
  const [channel, place] = [Math.floor(index / (height * width)), index % (height * width)];
  return `channel ${channel + 1}, row ${Math.floor(place / width) + 1}, column ${(place % width) + 1}`;
}
