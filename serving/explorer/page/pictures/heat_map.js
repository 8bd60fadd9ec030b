// Where two images of a model differ, as a picture of colours.

import { h } from '../core/elements.js';
import { blank, context } from './model_image.js';

/** Dark to light, so that it reads without colours as well (after matplotlib's "inferno"). */
const STOPS = [
  [0, 0, 4],
  [66, 10, 104],
  [147, 38, 103],
  [221, 81, 58],
  [252, 165, 10],
  [252, 255, 164],
];

/** |image - other| of each pixel [height * width], the mean over channels, as a share of the value range.
 * @param {Uint8Array} image @param {Uint8Array} other @param {Model} model */
export function differences(image, other, { image: { channels, height, width } }) {
  const area = height * width;
  const found = new Float32Array(area);
  for (let at = 0; at < image.length; at++) found[at % area] += Math.abs(image[at] - other[at]) / 255 / channels;
  return found;
}

/** @param {number} share 0 to 1 @returns {[number, number, number]} */
function colourOf(share) {
  const place = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const [low, high] = [STOPS[Math.floor(place)], STOPS[Math.ceil(place)]];
  const [r, g, b] = low.map((value, i) => value + (high[i] - value) * (place % 1));
  return [r, g, b];
}

/** @param {HTMLCanvasElement} canvas @param {Float32Array} values @param {number} width @param {number} most */
function paintHeat(canvas, values, width, most) {
  canvas.width = width;
  canvas.height = values.length / width;
  const shown = new ImageData(canvas.width, canvas.height);
  values.forEach((value, at) => shown.data.set([...colourOf(value / most), 255], at * 4));
  context(canvas).putImageData(shown, 0, 0);
}

/** A heat map with its legend. `show` takes the differences of an image. @param {Model} model */
export function heatMap(model) {
  const { width, height } = model.image;
  const canvas = blank(width, height, 'transparent');
  canvas.className = 'picture pixels';
  canvas.setAttribute('role', 'img');
  const scale = blank(64, 1);
  paintHeat(
    scale,
    Float32Array.from({ length: 64 }, (_, i) => i / 63),
    64,
    1,
  );
  scale.className = 'heat-scale';
  scale.setAttribute('aria-hidden', 'true');
  const [least, most] = [h('span', null, '0'), h('span')];
  const legend = h('div', { class: 'heat-legend' }, least, scale, most);

  /** @param {Float32Array} values */
  function show(values) {
    const largest = values.reduce((a, b) => Math.max(a, b), 0);
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    const at = values.indexOf(largest);
    paintHeat(canvas, values, width, largest || 1);
    most.textContent = percent(largest);
    const place = `row ${Math.floor(at / width) + 1}, column ${(at % width) + 1}`;
    const average = `Pixels differ by ${percent(mean)} of the value range on average`;
    const words = `${average}, most at ${place}: ${percent(largest)}.`;
    canvas.setAttribute('aria-label', `Where the reconstruction differs. ${words}`);
    return words;
  }
  return { canvas, legend, show };
}

/** @param {number} share */
export const percent = (share) => `${(share * 100).toFixed(share < 0.0995 ? 1 : 0)} %`;
