// How well a model explains an image, with its place among images that it was not trained on.

import { h } from '../core/elements.js';
import { floats } from '../core/tensors.js';

/** @param {any} score a ScoreResponse of one image */
export function scoreCard(score) {
  const [nelbo] = floats(score.nelbo);
  const [distortion] = floats(score.distortion);
  const [rate] = floats(score.rate);
  const quantile = score.quantile ? floats(score.quantile)[0] : undefined;
  return h(
    'div',
    { class: 'score' },
    h('p', { class: 'score-words' }, placeInWords(quantile)),
    quantile === undefined ? null : scale(quantile),
    h(
      'dl',
      null,
      figure('Negative ELBO', nelbo, 'the larger, the less likely the image'),
      figure('Distortion', distortion, 'for what the reconstruction misses'),
      figure('Rate', rate, 'for where its latent lies'),
    ),
  );
}

/** @param {string} name @param {number} value @param {string} words */
const figure = (name, value, words) =>
  h('div', null, h('dt', null, name), h('dd', null, h('strong', null, nats(value)), h('small', null, words)));

/** @param {number} value */
const nats = (value) => `${value.toFixed(Math.abs(value) < 100 ? 1 : 0)} nats`;

/** @param {number | undefined} quantile */
function placeInWords(quantile) {
  if (quantile === undefined) return 'This bundle does not say how images of the data set score.';
  const among = Math.min(Math.round(quantile * 100), 99);
  const verdict = quantile < 0.9 ? 'An ordinary image' : quantile < 0.99 ? 'An unusual image' : 'A very unusual image';
  if (quantile >= 0.995)
    return `${verdict}: more surprising than practically every image of the data set kept back from training.`;
  if (among < 1) return `${verdict}: hardly any image of the data set kept back from training is less surprising.`;
  return `${verdict}: more surprising than ${among} of 100 images of the data set kept back from training.`;
}

/** @param {number} quantile */
function scale(quantile) {
  const marker = h('span', { class: 'place-marker' });
  marker.style.left = `${Math.min(Math.max(quantile, 0), 1) * 100}%`;
  return h(
    'div',
    { class: 'place', 'aria-hidden': 'true' },
    h('div', { class: 'place-track' }, marker),
    h('div', { class: 'place-ends' }, h('small', null, 'ordinary'), h('small', null, 'surprising')),
  );
}
