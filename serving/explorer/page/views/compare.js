// Two models on the same noise and the same images: what the constraint on the latents is for.

import { button, h, select } from '../core/elements.js';
import { Latest } from '../core/latest.js';
import { titleOf } from '../core/words.js';
import { checkedEntry, numberOr, seedOf, seedOrNull, wholeNumber } from '../parts/checked_entry.js';
import { differences, percent } from '../pictures/heat_map.js';
import { imageOfFile, imageSize } from '../pictures/model_image.js';
import { PictureWall } from '../pictures/painting.js';
import { pictureSources } from '../pictures/picture_sources.js';
import {
  converted,
  fromSameNoise,
  hasSameImages,
  judged,
  reconstructed,
  sampled,
} from '../pictures/same_latents.js';

const IMAGES = 16;
const MOST_IMAGES = 100;
const MOST_BYTES = 5 << 20; // of a request's pixels: as JSON they are a third more, and the server takes 8 MiB
const WHY =
  'A VAE is trained so that all its data together fill its prior: whatever is drawn from there decodes to an image. ' +
  'An autoencoder is free to put its data anywhere: it can reconstruct as well, but most random latents hit places ' +
  'where it has never seen any data.';

const keyOf = (/** @type {Model} */ { model }) => `${model.name}~${model.version ?? '0'}`;

class Compare {
  #latents = new Latest();
  #images = new Latest();
  #until = new AbortController();
  /** @type {File[]} */
  #files = [];
  #taking = 0; // which of the wishes for other pictures is the last

  /** @param {HTMLElement} root @param {Context} context @param {Model[]} others */
  constructor(root, context, others) {
    this.context = context;
    this.others = others;
    const limits = [context.model, ...others].map((model) =>
      Math.min(Number(model.maxRows), Math.floor(MOST_BYTES / imageSize(model))),
    );
    this.most = Math.max(1, Math.min(MOST_IMAGES, ...limits));
    this.ui = this.#controls();
    this.sources = pictureSources({
      target: root,
      label: 'Choose your own pictures',
      multiple: true,
      take: (files) => void this.#takeFiles(files),
      hint: 'Until there are some, images drawn from one of the models are reconstructed.',
    });
    this.latents = h('div', { class: 'sides' });
    this.images = h('div', { class: 'sides three' });
    this.aboutLatents = h('p', { class: 'muted', 'aria-live': 'polite' });
    this.aboutImages = h('p', { class: 'muted', 'aria-live': 'polite' });
    root.append(...this.#layout());
    this.#read();
    context.address.onchange = () => this.#read();
  }

  close() {
    this.#until.abort();
    this.#latents.stop();
    this.#images.stop();
    this.sources.close();
  }

  #controls() {
    const { address } = this.context;
    const set = (/** @type {Record<string, string | number | null>} */ change) => {
      address.set(change);
      this.#ask();
    };
    return {
      other: select({
        label: 'Beside it',
        options: this.others.map((model) => /** @type {[string, string]} */ ([keyOf(model), titleOf(model)])),
        onchange: (other) => set({ with: other }),
      }),
      count: checkedEntry({
        label: 'How many',
        value: '',
        check: wholeNumber(1, this.most),
        onchange: (count) => set({ count }),
      }),
      seed: checkedEntry({ label: 'Seed', value: '', check: seedOf, onchange: (seed) => set({ seed }) }),
      again: button('New seed', () => set({ seed: null }), { class: 'primary' }),
      own: button('Back to drawn images', () => void this.#takeFiles([]), { hidden: true }),
    };
  }

  #layout() {
    const { other, count, seed, again, own } = this.ui;
    return [
      h('p', { class: 'why' }, WHY),
      h(
        'section',
        { class: 'panel', 'aria-label': 'What to compare' },
        h('div', { class: 'compare-controls' }, other, count, seed, again),
      ),
      h('section', { class: 'panel' }, h('h2', null, 'The same random numbers as latents'), this.aboutLatents, this.latents),
      h(
        'section',
        { class: 'panel' },
        h('h2', null, 'The same images, encoded and decoded'),
        this.aboutImages,
        this.images,
        h('div', { class: 'row' }, this.sources.element, own),
      ),
    ];
  }

  /** The controls from the address, then both comparisons. */
  #read() {
    const { address } = this.context;
    const wanted = address.get('with');
    const other = this.others.find((model) => keyOf(model) === wanted) ?? preferred(this.context.model, this.others);
    if (wanted !== null && keyOf(other) !== wanted)
      this.context.say(`The model that the address compares with is not in service. This is ${titleOf(other)}.`);
    this.ui.other.input.value = keyOf(other);
    this.ui.count.show(this.#count());
    this.ui.seed.show(seedOrNull(address.get('seed')) ?? '');
    this.#ask();
  }

  #count() {
    return Math.round(numberOr(this.context.address.get('count'), 1, this.most, Math.min(IMAGES, this.most)));
  }

  /** @returns {[Model, Model]} */
  #pair() {
    const chosen = this.ui.other.input.value;
    return [this.context.model, this.others.find((model) => keyOf(model) === chosen) ?? this.others[0]];
  }

  /** All of them or, if one is no picture, none. @param {File[]} files */
  async #takeFiles(files) {
    const taken = files.slice(0, this.most);
    const turn = ++this.#taking;
    try {
      await filesAs(taken, this.context.model);
    } catch (error) {
      return turn === this.#taking ? this.#fail(error) : undefined;
    }
    if (this.#until.signal.aborted || turn !== this.#taking) return;
    this.context.fail(null);
    this.#files = taken;
    this.ui.own.hidden = files.length === 0;
    if (files.length > this.most) this.context.say(`The first ${this.most} of ${files.length} pictures are taken.`);
    void this.#askImages(this.#pair());
  }

  /** @param {unknown} error */
  #fail(error) {
    if (!this.#until.signal.aborted) this.context.fail(error);
  }

  #ask() {
    void this.#askLatents(this.#pair());
  }

  /** @param {[Model, Model]} pair */
  async #askLatents(pair) {
    const seed = seedOrNull(this.context.address.get('seed')) ?? undefined;
    this.latents.setAttribute('aria-busy', 'true');
    try {
      const found = await this.#latents.run(async (signal) => {
        const asking = { service: this.context.service, ref: this.context.ref, signal };
        const drawn = await fromSameNoise(asking, pair, this.#count(), seed);
        return { ...drawn, judged: await judged(asking, pair, drawn.images) };
      });
      if (!found) return;
      this.context.fail(null);
      this.ui.seed.show(found.seed);
      this.context.address.set({ seed: found.seed });
      this.#showLatents(pair, found);
      void this.#askImages(pair);
    } catch (error) {
      this.#fail(error);
    }
    this.latents.removeAttribute('aria-busy');
  }

  /** @param {[Model, Model]} pair
   * @param {{seed: string, isSame: boolean, images: Uint8Array[], judged: string[]}} found */
  #showLatents(pair, { seed, isSame, images, judged: words }) {
    const size = isSame ? '' : ' Their latents are of different size: each drew its own, with the same seed.';
    const learned = pair.filter(({ prior }) => prior !== 'standard_normal').map(titleOf);
    const through = learned.length ? ` ${learned.join(' and ')}: through the prior that it has learned.` : '';
    this.aboutLatents.textContent = `Drawn from N(0, I) with seed ${seed}, decoded by each.${through}${size}`;
    this.latents.replaceChildren(...pair.map((model, i) => side(model, images[i], 'decoded', words[i])));
  }

  /** @param {[Model, Model]} pair */
  async #askImages(pair) {
    this.images.setAttribute('aria-busy', 'true');
    try {
      const found = await this.#images.run(async (signal) => {
        const asking = { service: this.context.service, ref: this.context.ref, signal };
        const { inputs, words } = await this.#inputs(asking, pair);
        return {
          inputs,
          words,
          outputs: await Promise.all(pair.map((model, i) => reconstructed(asking, model, inputs[i]))),
        };
      });
      if (!found) return;
      this.#showImages(pair, found);
    } catch (error) {
      this.#fail(error);
    }
    this.images.removeAttribute('aria-busy');
  }

  /** The same images as each of the two takes them.
   * @param {import('../pictures/same_latents.js').Asking} asking @param {[Model, Model]} pair */
  async #inputs(asking, pair) {
    if (this.#files.length) {
      const inputs = await Promise.all(pair.map((model) => filesAs(this.#files, model)));
      return { inputs, words: 'Your pictures.' };
    }
    const source = pair.find(({ kind }) => kind !== 'ae') ?? pair[0];
    const seed = seedOrNull(this.context.address.get('seed')) ?? '0';
    const { pixels: drawn } = await sampled(asking, source, this.#count(), seed);
    return {
      inputs: pair.map((model) => converted(drawn, source, model)),
      words: `Images drawn from the prior of ${titleOf(source)}.`,
    };
  }

  /** @param {[Model, Model]} pair @param {{inputs: Uint8Array[], outputs: Uint8Array[], words: string}} found */
  #showImages(pair, { inputs, outputs, words }) {
    const size = hasSameImages(...pair)
      ? ''
      : ' The two make images of different size or colour, so each got its own version.';
    this.aboutImages.textContent = `${words}${size}`;
    const given = h('div', { class: 'side' }, h('h3', null, 'Given'), wall(pair[0], inputs[0], 'Given image'));
    const sides = pair.map((model, i) =>
      side(model, outputs[i], 'reconstructed', errorInWords(inputs[i], outputs[i], model)),
    );
    this.images.replaceChildren(given, ...sides);
  }
}

/** The one that tells most beside this one: an autoencoder beside a VAE.
 * @param {Model} model @param {Model[]} others */
const preferred = (model, others) =>
  others.find(({ kind, image }) => (kind === 'ae') !== (model.kind === 'ae') && image.width === model.image.width) ??
  others[0];

/** @param {Model} model @param {Uint8Array} pixels @param {string} label */
function wall(model, pixels, label) {
  const made = new PictureWall({ model, name: label, label: (row) => `${label} ${row + 1}` });
  made.show(pixels);
  return made.element;
}

/** @param {Model} model @param {Uint8Array} pixels @param {string} how @param {string} words */
const side = (model, pixels, how, words) =>
  h(
    'div',
    { class: 'side' },
    h('h3', null, titleOf(model), ' ', h('span', { class: 'tag' }, model.kind.replaceAll('_', ' '))),
    wall(model, pixels, `Image ${how} by ${model.model.name}`),
    h('p', { class: 'small' }, words),
  );

/** @param {File[]} files @param {Model} model */
async function filesAs(files, model) {
  const pixels = new Uint8Array(files.length * imageSize(model));
  for (const [row, file] of files.entries())
    pixels.set((await imageOfFile(file, model)).pixels, row * imageSize(model));
  return pixels;
}

/** @param {Uint8Array} inputs @param {Uint8Array} outputs @param {Model} model */
function errorInWords(inputs, outputs, model) {
  const all = differences(inputs, outputs, model);
  const count = inputs.length / imageSize(model);
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length / count;
  return `Pixels differ by ${percent(mean)} of the value range on average.`;
}

/** @type {View} */
export const view = {
  name: 'compare',
  title: 'Compare',
  open(root, context) {
    const others = context.models.filter((model) => keyOf(model) !== keyOf(context.model));
    if (others.length) return new Compare(root, context, others);
    const words =
      'Only one model is in service. Load a second one, such as an autoencoder trained on the same data, ' +
      'to see the two side by side.';
    root.append(h('p', { class: 'empty' }, words), h('p', { class: 'why' }, WHY));
    return { close() {} };
  },
};
