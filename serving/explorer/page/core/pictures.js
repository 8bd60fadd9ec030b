/** Images of the service as pictures. */

import { fromBase64, fromTensor } from './tensors.js';

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
