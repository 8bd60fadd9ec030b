/** The points of a walk: where they come from, and in which order they are passed. */

import { button, h, refocus, select, uniqueId } from '../core/elements.js';
import { floats } from '../core/tensors.js';
import { Latest } from '../core/latest.js';
import { imageOfFile, toImages } from '../pictures/model_image.js';
import { pictureItems } from './live_decoder.js';

export const MOST_WALKED = 12;
/** Of samples: below 1, so that they are typical of their pool. */
const TEMPERATURE = 0.7;

/**
 * One typical sample.
 * @param {Context} context
 * @param {string} pool the prior if empty
 * @param {number | null} seed one of the server's choice if null
 * @param {AbortSignal} [signal]
 * @returns {Promise<Point>}
 */
export async function sampled({ service, model, ref }, pool, seed, signal) {
  const message = {
    model: ref(model),
    count: '1',
    temperature: TEMPERATURE,
    includeLatents: true,
    ...(pool ? { pool } : {}),
    ...(seed === null ? {} : { seed: String(seed) }),
  };
  const said = await service.call('Sample', message, { signal });
  return { name: pool || 'prior', latent: floats(said.latents) };
}

/**
 * Where the model's encoder puts a picture.
 * @param {Context} context
 * @param {File} file
 * @param {AbortSignal} signal
 * @returns {Promise<Point>}
 */
export async function encoded({ service, model, ref }, file, signal) {
  const { pixels } = await imageOfFile(file, model);
  const said = await service.call('Encode', { model: ref(model), images: toImages(pixels, model) }, { signal });
  return { name: file.name.slice(0, 40), latent: floats(said.mean) };
}

/** The pools of a model that a user can choose from; the first is the prior. */
/** @param {Model} model */
export const sourcesOf = (model) =>
  /** @type {[string, string][]} */ ([
    ['', 'the prior'],
    ...(model.pools ?? []).map(({ name }) => [name, `pool ${name}`]),
  ]);

/**
 * @param {Context} context
 * @param {Point[]} points changed in place
 * @param {() => void} changed
 */
export function pointList(context, points, changed) {
  const latest = new Latest();
  const list = h('ol', { class: 'anchors' });
  const update = () => {
    list.replaceChildren(...points.map((point, at) => itemOf(point, at, points, update)));
    changed();
    const latents = points.map(({ latent }) => latent);
    void pictureItems(context, latest, list, latents);
  };

  const until = new AbortController();
  let before = Promise.resolve(); // points come in the order in which they were wished
  const add = (/** @type {() => Promise<Point>} */ make) => () => {
    const made = make();
    made.catch(() => {}); // it is told in its turn
    before = before.then(async () => {
      try {
        const point = await made;
        if (until.signal.aborted) return; // the address is another view's by now
        if (points.length >= MOST_WALKED) return context.say(`A walk passes at most ${MOST_WALKED} points.`);
        points.push(point);
        context.fail(null);
        update();
      } catch (error) {
        if (!until.signal.aborted) context.fail(error);
      }
    });
  };

  const source = select({ label: 'From', options: sourcesOf(context.model) });
  const element = h(
    'section',
    { class: 'panel' },
    h('h2', null, 'Points'),
    list,
    h(
      'div',
      { class: 'row' },
      source,
      button(
        'Add a sample',
        add(() => sampled(context, source.input.value, null, until.signal)),
      ),
    ),
    filePicker('Add an image', (file) => add(() => encoded(context, file, until.signal))()),
  );
  const close = () => {
    until.abort();
    latest.stop();
  };
  return { element, update, close };
}

/**
 * @param {string} label
 * @param {(file: File) => void} take
 */
export function filePicker(label, take) {
  const input = h('input', { type: 'file', accept: 'image/*', class: 'hidden-words', id: uniqueId('file') });
  input.addEventListener('change', () => {
    const file = input.files?.[0];
    if (file) take(file);
    input.value = '';
  });
  return h('div', { class: 'file' }, input, h('label', { class: 'button', for: input.id }, label));
}

/**
 * @param {Point} point
 * @param {number} at
 * @param {Point[]} points
 * @param {() => void} update
 */
function itemOf(point, at, points, update) {
  const tool = (
    /** @type {string} */ text,
    /** @type {string} */ words,
    /** @type {() => void} */ act,
    isOff = false,
  ) =>
    button(
      text,
      () => {
        const list = item.parentElement;
        act();
        update();
        refocus(list, at);
      },
      { class: 'quiet', 'aria-label': `${words} point ${at + 1}, ${point.name}`, disabled: isOff },
    );
  const item = h(
    'li',
    null,
    h('img', { class: 'picture', alt: `Image at point ${at + 1}` }),
    h('span', { class: 'name' }, point.name),
    tool('↑', 'Earlier:', () => points.splice(at - 1, 0, ...points.splice(at, 1)), at === 0),
    tool('×', 'Remove', () => points.splice(at, 1), points.length <= 2),
  );
  return item;
}
