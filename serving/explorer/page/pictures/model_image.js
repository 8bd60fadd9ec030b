// Pictures of the user as one image of a model: uint8 [channels, height, width].

import { fromBase64, toBase64, toTensor } from '../core/tensors.js';

/** @typedef {{pixels: Uint8Array, made: string}} ModelImage `made` says in words what was done to get it */

const MOST_FILE_BYTES = 100 << 20;
const MOST_PIXELS = 120_000_000; // more is 480 MB once it is decoded
const MOST_SHARED_BYTES = 4096; // of an image within an address
const BACKGROUND = '#fff'; // shows through transparent pixels, as in training

/** How many values an image has. @param {Model} model */
export const imageSize = ({ image }) => image.channels * image.height * image.width;

/** Images one after the other as the service takes them.
 * @param {Uint8Array} pixels @param {Model} model @returns {Images} */
export function toImages(pixels, model) {
  const { channels, height, width } = model.image;
  return { tensor: toTensor(pixels, [pixels.length / imageSize(model), channels, height, width]) };
}

/** A picture file as an image of the model: its middle, scaled, in the model's colours.
 * @param {Blob & {name?: string}} file
 * @param {Model} model
 * @returns {Promise<ModelImage>} throws an Error in words */
export async function imageOfFile(file, model) {
  const name = file.name || 'The picture';
  if (file.size === 0) throw new Error(`${name} is empty: it has no bytes.`);
  if (file.size > MOST_FILE_BYTES) throw new Error(`${name} is larger than ${MOST_FILE_BYTES >> 20} MB.`);
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Error(`${name} is no picture that this browser can read. PNG, JPEG, GIF and WebP work.`);
  }
  try {
    if (bitmap.width * bitmap.height > MOST_PIXELS) throw new Error(`${name} has too many pixels.`);
    const { canvas, crop } = fitted(bitmap, model);
    const size = `${bitmap.width} × ${bitmap.height} pixels`;
    const first = file.type === 'image/gif' ? ['the first frame taken'] : [];
    const steps = [...first, crop, scaling(bitmap, model), colours(model)].filter(Boolean);
    return { pixels: imageOfCanvas(canvas, model), made: `${name}: ${size}; ${steps.join(', ')}.` };
  } finally {
    bitmap.close();
  }
}

/** @param {{width: number, height: number}} from @param {Model} model */
function scaling(from, { image: { width, height } }) {
  if (from.width === width && from.height === height) return 'its size kept';
  const smaller = Math.max(width / from.width, height / from.height) <= 1;
  return `scaled ${smaller ? 'down' : 'up'} to ${width} × ${height}`;
}

/** @param {Model} model */
function colours({ image: { channels } }) {
  if (channels === 1) return 'made grey';
  return channels === 3 ? '' : `its brightness put into each of the ${channels} channels`;
}

/** The middle of the picture on a canvas of the model's size. By halves: taking single pixels of a large
 * picture would show what is not in it.
 * @param {ImageBitmap | HTMLCanvasElement} bitmap @param {Model} model */
export function fitted(bitmap, { image: { width, height } }) {
  const scale = Math.max(width / bitmap.width, height / bitmap.height);
  let [w, h] = [width / scale, height / scale];
  const cropped = w < bitmap.width - 0.5 || h < bitmap.height - 0.5;
  let [x, y] = [(bitmap.width - w) / 2, (bitmap.height - h) / 2];
  /** @type {CanvasImageSource} */
  let source = bitmap;
  for (;;) {
    const isLast = w <= 2 * width && h <= 2 * height;
    const next = blank(isLast ? width : Math.ceil(w / 2), isLast ? height : Math.ceil(h / 2));
    const brush = context(next);
    // Between two pixels, which halves exactly; what browsers take for better drops the last column of odd sizes.
    brush.imageSmoothingQuality = w > next.width ? 'low' : 'high';
    brush.drawImage(source, x, y, w, h, 0, 0, next.width, next.height);
    if (isLast) return { canvas: next, crop: cropped ? 'its middle cropped' : '' };
    [source, x, y, w, h] = [next, 0, 0, next.width, next.height];
  }
}

/** A canvas of one colour. @param {number} width @param {number} height @param {string} [colour] */
export function blank(width, height, colour = BACKGROUND) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const brush = context(canvas);
  brush.fillStyle = colour;
  brush.fillRect(0, 0, width, height);
  return canvas;
}

/** To draw on it and to read it. @param {HTMLCanvasElement} canvas */
export const context = (canvas) =>
  /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { willReadFrequently: true }));

/** What a canvas of the model's size shows.
 * @param {HTMLCanvasElement} canvas @param {Model} model */
export function imageOfCanvas(canvas, model) {
  const { channels, height, width } = model.image;
  const area = height * width;
  const seen = context(canvas).getImageData(0, 0, width, height).data;
  const pixels = new Uint8Array(channels * area);
  for (let at = 0; at < area; at++) {
    const [red, green, blue] = seen.subarray(at * 4, at * 4 + 3);
    const grey = Math.round((red * 299 + green * 587 + blue * 114) / 1000); // ITU-R BT.601, as Pillow's "L"
    for (let channel = 0; channel < channels; channel++)
      pixels[channel * area + at] = channels === 3 ? seen[at * 4 + channel] : grey;
  }
  return pixels;
}

/** Light for dark. @param {Uint8Array} pixels */
export const inverted = (pixels) => pixels.map((value) => 255 - value);

/** An image within an address; null where it is too large for one. @param {Uint8Array} pixels */
export function imageToText(pixels) {
  if (pixels.length > MOST_SHARED_BYTES) return null;
  return toBase64(pixels).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
}

/** The image of an address; null for what is none of this model.
 * @param {string | null} text @param {Model} model */
export function imageFromText(text, model) {
  if (!text || text.length > 2 * MOST_SHARED_BYTES) return null;
  const base64 = text.replaceAll('-', '+').replaceAll('_', '/');
  try {
    const pixels = fromBase64(base64.padEnd(Math.ceil(base64.length / 4) * 4, '='));
    return pixels.length === imageSize(model) ? pixels : null;
  } catch {
    return null;
  }
}
