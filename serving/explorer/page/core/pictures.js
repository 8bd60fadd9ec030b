/** Images of the service as pictures, and pictures of the user as images of a model. */

import { fromBase64, fromTensor, toTensor } from './tensors.js';

const MOST_FILE_BYTES = 50 << 20;

/**
 * What to ask for: PNG where the model's images can be such files.
 * @param {Model} model
 */
export const imageFormat = (model) =>
  [1, 3].includes(model.image.channels) ? 'IMAGE_FORMAT_PNG' : 'IMAGE_FORMAT_UINT8';

/**
 * An address for each image, to be shown by <img>.
 * @param {Images} images
 * @returns {string[]}
 */
export function pngUrls(images) {
  if (images.png) return images.png.files.map((file) => `data:image/png;base64,${file}`);
  const canvas = document.createElement('canvas');
  return Array.from({ length: Number(images.tensor?.shape[0] ?? 0) }, (_, row) => {
    drawTensor(canvas, images, row);
    return canvas.toDataURL();
  });
}

/**
 * Draws a PNG file; the canvas takes the picture's size.
 * @param {HTMLCanvasElement} canvas
 * @param {string} base64
 * @param {{smooth?: boolean}} [options] `smooth`: whether the style scales it with blur
 */
export async function drawPng(canvas, base64, { smooth = false } = {}) {
  const bitmap = await createImageBitmap(new Blob([fromBase64(base64)], { type: 'image/png' }));
  if (canvas.width !== bitmap.width) canvas.width = bitmap.width;
  if (canvas.height !== bitmap.height) canvas.height = bitmap.height;
  canvas.classList.toggle('pixels', !smooth);
  canvas.getContext('2d')?.drawImage(bitmap, 0, 0);
  bitmap.close();
}

/**
 * Draws one of the images, whichever form they have.
 * @param {HTMLCanvasElement} canvas
 * @param {Images} images
 * @param {number} [row]
 */
export async function drawImage(canvas, images, row = 0) {
  if (images.png) await drawPng(canvas, images.png.files[row]);
  else drawTensor(canvas, images, row);
}

/**
 * Of images that no PNG file can hold: the first three channels, or the first.
 * @param {HTMLCanvasElement} canvas
 * @param {Images} images
 * @param {number} row
 */
function drawTensor(canvas, images, row) {
  const { data, shape } = fromTensor(images.tensor);
  const [, channels, height, width] = shape;
  const area = height * width;
  const shown = new ImageData(width, height);
  for (let pixel = 0; pixel < area; pixel++) {
    for (let colour = 0; colour < 3; colour++)
      shown.data[pixel * 4 + colour] = data[(row * channels + (channels < 3 ? 0 : colour)) * area + pixel];
    shown.data[pixel * 4 + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.classList.add('pixels');
  canvas.getContext('2d')?.putImageData(shown, 0, 0);
}

/**
 * A picture as one image of the model: its middle, scaled to the model's size, grey where the model is.
 * @param {Blob} file
 * @param {Model} model
 * @returns {Promise<Images>} throws an Error in words
 */
export async function imagesOfFile(file, model) {
  if (file.size > MOST_FILE_BYTES) throw new Error('The picture is larger than 50 MB.');
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion: 'none' });
  } catch {
    throw new Error('This file is no picture that the browser can read.');
  }
  const { width, height } = model.image;
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  const [w, t] = [bitmap.width * scale, bitmap.height * scale];
  const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { willReadFrequently: true }));
  brush.imageSmoothingQuality = 'high';
  brush.fillRect(0, 0, width, height);
  brush.drawImage(bitmap, (width - w) / 2, (height - t) / 2, w, t);
  bitmap.close();
  return imagesOfCanvas(canvas, model);
}

/**
 * What is on a canvas of the model's size, as one image.
 * @param {HTMLCanvasElement} canvas
 * @param {Model} model
 * @returns {Images}
 */
export function imagesOfCanvas(canvas, model) {
  const { channels, height, width } = model.image;
  if (![1, 3].includes(channels)) throw new Error(`This model's images have ${channels} channels, no picture has.`);
  const seen = canvas.getContext('2d')?.getImageData(0, 0, width, height).data ?? [];
  const area = width * height;
  const pixels = new Uint8Array(channels * area);
  for (let at = 0; at < area; at++) {
    const [r, g, b] = [seen[at * 4], seen[at * 4 + 1], seen[at * 4 + 2]];
    if (channels === 1) pixels[at] = (r * 299 + g * 587 + b * 114 + 500) / 1000;
    else [pixels[at], pixels[area + at], pixels[2 * area + at]] = [r, g, b];
  }
  return { tensor: toTensor(pixels, [1, channels, height, width]) };
}
