// Images of a model on canvases, from their uint8 values [rows, channels, height, width].

import { h } from '../core/elements.js';
import { blank, context, imageSize } from './model_image.js';

const SHEET_CELL = 96; // pixels that an image of a sheet has at least, if it can by a whole factor
const SHEET_GAP = 2;

/** One image as the browser has it; of two channels the first, of more than three the first three.
 * @param {Uint8Array} pixels @param {Model} model @param {number} [row] */
export function imageData(pixels, model, row = 0) {
  const { channels, height, width } = model.image;
  const area = height * width;
  const from = row * imageSize(model);
  const shown = new ImageData(width, height);
  for (let at = 0; at < area; at++) {
    for (let colour = 0; colour < 3; colour++)
      shown.data[at * 4 + colour] = pixels[from + (channels < 3 ? 0 : colour) * area + at];
    shown.data[at * 4 + 3] = 255;
  }
  return shown;
}

/** Of one image on a canvas that takes its size.
 * @param {HTMLCanvasElement} canvas @param {Uint8Array} pixels @param {Model} model @param {number} [row] */
export function paint(canvas, pixels, model, row = 0) {
  const { height, width } = model.image;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  context(canvas).putImageData(imageData(pixels, model, row), 0, 0);
}

/** A picture that says what it is; small images are shown with sharp pixels.
 * @param {string} label @param {Model} model */
export function picture(label, model) {
  const canvas = blank(model.image.width, model.image.height, 'transparent');
  canvas.className = `picture ${Math.max(model.image.width, model.image.height) <= 96 ? 'pixels' : ''}`;
  canvas.setAttribute('role', 'img');
  canvas.setAttribute('aria-label', label);
  return canvas;
}

/** All images on one canvas, row by row.
 * @param {Uint8Array} pixels @param {Model} model */
export function sheet(pixels, model) {
  const { height, width } = model.image;
  const count = pixels.length / imageSize(model);
  const columns = Math.ceil(Math.sqrt(count));
  const factor = Math.max(1, Math.floor(SHEET_CELL / Math.max(height, width)));
  const [across, down] = [width * factor + SHEET_GAP, height * factor + SHEET_GAP];
  const canvas = blank(columns * across + SHEET_GAP, Math.ceil(count / columns) * down + SHEET_GAP);
  const [brush, one] = [context(canvas), blank(width, height)];
  brush.imageSmoothingEnabled = false;
  for (let row = 0; row < count; row++) {
    paint(one, pixels, model, row);
    const [x, y] = [SHEET_GAP + (row % columns) * across, SHEET_GAP + Math.floor(row / columns) * down];
    brush.drawImage(one, x, y, width * factor, height * factor);
  }
  return canvas;
}

/** A canvas as a PNG file. @param {HTMLCanvasElement} canvas @returns {Promise<Blob>} */
export const pngOf = (canvas) =>
  new Promise((done, failed) =>
    canvas.toBlob((blob) => (blob ? done(blob) : failed(new Error('The browser cannot make so large a picture.')))),
  );

/** A grid of pictures. With `onpick` each is a button. */
export class PictureWall {
  /** @type {HTMLCanvasElement[]} */
  #pictures = [];

  /** @param {{model: Model, label: (row: number) => string, onpick?: (row: number) => void, name: string}} options */
  constructor({ model, label, onpick, name }) {
    this.model = model;
    this.label = label;
    this.onpick = onpick;
    this.element = h('ul', { class: 'wall', 'aria-label': name });
    this.element.style.setProperty('--aspect', `${model.image.width} / ${model.image.height}`);
  }

  /** @param {Uint8Array} pixels */
  show(pixels) {
    const count = pixels.length / imageSize(this.model);
    while (this.#pictures.length > count) {
      this.#pictures.pop();
      this.element.lastElementChild?.remove();
    }
    while (this.#pictures.length < count) this.#add(this.#pictures.length);
    this.#pictures.forEach((canvas, row) => paint(canvas, pixels, this.model, row));
    this.element.style.setProperty('--columns', String(Math.ceil(Math.sqrt(count))));
  }

  /** @param {number} row */
  #add(row) {
    const canvas = picture(this.label(row), this.model);
    this.#pictures.push(canvas);
    const onpick = this.onpick;
    if (!onpick) return this.element.append(h('li', null, canvas));
    canvas.removeAttribute('role');
    canvas.removeAttribute('aria-label');
    const asked = h('button', { type: 'button', 'aria-label': this.label(row), title: this.label(row) }, canvas);
    asked.addEventListener('click', () => onpick(row));
    this.element.append(h('li', null, asked));
  }
}
