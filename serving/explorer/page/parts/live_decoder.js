/** Decodes the newest latent of many, for pictures that follow a hand. */

import { Latest } from '../core/latest.js';
import { drawImage, imageFormat, pngUrls } from '../core/pictures.js';
import { latentTensor } from '../core/tensors.js';

/** Of a picture; smaller ones are faster as they are than as PNG files. */
const MOST_PLAIN_BYTES = 64 * 64 * 3;

export class LiveDecoder {
  #context;
  #latest = new Latest();
  #format;
  #hasFailed = false;

  /** @param {Context} context */
  constructor(context) {
    this.#context = context;
    const { channels, height, width } = context.model.image;
    const isSmall = channels * height * width <= MOST_PLAIN_BYTES;
    this.#format = isSmall ? 'IMAGE_FORMAT_UINT8' : imageFormat(context.model);
  }

  /**
   * Draws the latent's image; not where a newer latent came before. Errors are told.
   * @param {Float32Array} latent
   * @param {HTMLCanvasElement} canvas
   * @returns {Promise<boolean>} whether it was drawn
   */
  async draw(latent, canvas) {
    const { service, model, ref, fail } = this.#context;
    try {
      const isDrawn = await this.#latest.run(async (signal) => {
        const message = { model: ref(model), latents: latentTensor(latent, model), imageFormat: this.#format };
        const said = await service.call('Decode', message, { signal });
        await drawImage(canvas, said.images); // within, for of two PNG files the older may take longer
        return true;
      });
      if (!isDrawn) return false;
      if (this.#hasFailed) fail(null);
      this.#hasFailed = false;
      return true;
    } catch (error) {
      this.#hasFailed = true;
      fail(error);
      return false;
    }
  }

  stop() {
    this.#latest.stop();
  }
}

/**
 * Pictures of many latents, asked for in as many calls as the model's largest number of rows wants.
 * @param {Context} context
 * @param {Float32Array[]} latents
 * @param {AbortSignal} [signal]
 * @returns {Promise<Images[]>} one image each
 */
export async function decodeAll({ service, model, ref }, latents, signal) {
  const most = Math.max(1, Number(model.maxRows));
  /** @type {Images[]} */
  const found = [];
  for (let first = 0; first < latents.length; first += most) {
    const rows = latents.slice(first, first + most);
    const values = new Float32Array(rows.length * rows[0].length);
    for (const [row, latent] of rows.entries()) values.set(latent, row * latent.length);
    const message = { model: ref(model), latents: latentTensor(values, model), imageFormat: imageFormat(model) };
    const said = await service.call('Decode', message, { signal });
    found.push(...rowsOf(said.images));
  }
  return found;
}

/**
 * Shows the image of each latent in the first picture of each item of a list. Errors are told.
 * @param {Context} context
 * @param {Latest} latest one a list: the newest of its pictures are wanted
 * @param {HTMLElement} list
 * @param {Float32Array[]} latents
 */
export async function pictureItems(context, latest, list, latents) {
  if (!latents.length) return;
  try {
    const images = await latest.run((signal) => decodeAll(context, latents, signal));
    for (const [at, image] of (images ?? []).entries()) {
      const shown = list.children[at]?.querySelector('img');
      if (shown) shown.src = pngUrls(image)[0];
    }
  } catch (error) {
    context.fail(error);
  }
}

/**
 * Each row as images of their own.
 * @param {Images} images
 * @returns {Images[]}
 */
export function rowsOf(images) {
  if (images.png) return images.png.files.map((file) => ({ png: { files: [file] } }));
  const tensor = /** @type {Tensor} */ (images.tensor);
  const [rows, ...shape] = tensor.shape.map(Number);
  const bytes = atob(tensor.data);
  const each = bytes.length / Math.max(1, rows);
  return Array.from({ length: rows }, (_, row) => ({
    tensor: {
      dtype: tensor.dtype,
      shape: ['1', ...shape.map(String)],
      data: btoa(bytes.slice(row * each, (row + 1) * each)),
    },
  }));
}
