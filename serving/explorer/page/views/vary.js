/** One slider for each latent, the most telling first: what does it change? */

import { button, h, refocus, select, slider } from '../core/elements.js';
import { Latest } from '../core/latest.js';
import { pngUrls } from '../core/pictures.js';
import { pointsFromText, pointsToText } from '../core/points.js';
import { floats, latentSize } from '../core/tensors.js';
import { nameOfLatent, orderOfLatents, SILENT } from '../parts/latent_order.js';
import { decodeAll, LiveDecoder } from '../parts/live_decoder.js';
import { encoded, filePicker, sourcesOf } from '../parts/walk_points.js';

const SHOWN = 16;
/** How far a slider goes, in standard deviations over samples. */
const REACH = 3;
const GIVEN = ' given ';

/** @type {View} */
export const view = {
  name: 'vary',
  title: 'Vary',
  open(root, context) {
    const opened = new VaryView(root, context);
    void opened.start();
    return opened;
  },
};

class VaryView {
  #root;
  #context;
  #loading = new AbortController();
  #decoder;
  #ends = new Latest();
  #picture = h('canvas', { class: 'picture big', role: 'img', 'aria-label': 'The decoded image' });
  #from = h('img', { class: 'picture', alt: 'The image that it started from' });
  #sliders = h('div', { class: 'latents' });
  /** @type {Point} */
  #start = { name: '', latent: new Float32Array(0) };
  /** The start that is no middle of a pool. */
  #given = this.#start;
  #latent = new Float32Array(0);
  /** @type {import('../parts/latent_order.js').LatentOrder} */
  #known = { order: [], kl: new Float32Array(0), mean: new Float32Array(0), spread: new Float32Array(0) };
  #count = SHOWN;
  /** Which of the starts is the last that was wished, since each takes a while. */
  #beginning = 0;
  /** @type {{index: number, ends: number[], low: HTMLImageElement, high: HTMLImageElement}[]} */
  #rows = [];

  /**
   * @param {HTMLElement} root
   * @param {Context} context
   */
  constructor(root, context) {
    this.#root = root;
    this.#context = context;
    this.#decoder = new LiveDecoder(context);
  }

  close() {
    this.#loading.abort();
    this.#decoder.stop();
    this.#ends.stop();
  }

  async start() {
    const { address, model, fail } = this.#context;
    const size = latentSize(model);
    this.#root.replaceChildren(h('p', { class: 'empty' }, 'Asking what each latent tells…'));
    const [given] = pointsFromText(address.get('start'), size);
    const [at] = pointsFromText(address.get('at'), size);
    const pool = this.#poolOf(address.get('from'));
    try {
      this.#known = await orderOfLatents(this.#context, this.#loading.signal);
      this.#start = given ?? (await this.#middleOf(pool));
    } catch (error) {
      if (!this.#loading.signal.aborted)
        this.#root.replaceChildren(h('p', { class: 'empty' }, 'The latents cannot be shown.'));
      return fail(error);
    }
    if (this.#loading.signal.aborted) return;
    this.#layOut(given ? GIVEN : pool);
    this.#take(this.#start, at?.latent);
  }

  /**
   * That of an address; the prior where it names none that is there.
   * @param {string | null} name
   */
  #poolOf(name) {
    if (!name || this.#context.model.pools?.some((pool) => pool.name === name)) return name ?? '';
    this.#context.say(`This model has no pool “${name}”. It starts from the middle of the prior.`);
    return '';
  }

  /**
   * The mean of a pool, or of the prior: what is drawn without noise.
   * @param {string} pool the prior if empty
   * @returns {Promise<Point>}
   */
  async #middleOf(pool) {
    const { service, model, ref } = this.#context;
    const message = { model: ref(model), count: '1', temperature: 0, includeLatents: true, ...(pool ? { pool } : {}) };
    const said = await service.call('Sample', message, { signal: this.#loading.signal });
    return { name: pool ? `the middle of pool ${pool}` : 'the middle of the prior', latent: floats(said.latents) };
  }

  /** @param {string} from */
  #layOut(from) {
    const options = sourcesOf(this.#context.model).map(
      ([pool, text]) => /** @type {[string, string]} */ ([pool, `the middle of ${text}`]),
    );
    const source = select({
      label: 'Start from',
      options,
      value: from,
      onchange: (pool) =>
        void (pool === GIVEN
          ? this.#begin(async () => this.#given, null)
          : this.#begin(() => this.#middleOf(pool), pool)),
    });
    const offer = (/** @type {Point} */ given) => {
      this.#given = given;
      [...source.input.options].find(({ value }) => value === GIVEN)?.remove();
      source.input.append(h('option', { value: GIVEN, selected: true }, given.name));
      return given;
    };
    if (from === GIVEN) offer(this.#start);
    const picker = filePicker(
      'Start from an image',
      (file) => void this.#begin(() => encoded(this.#context, file, this.#loading.signal), null, offer),
    );
    const start = h(
      'section',
      { class: 'panel' },
      h('h2', null, 'Start'),
      h('div', { class: 'row middle' }, h('div', { class: 'thumb' }, this.#from), source),
      picker,
    );
    this.#root.replaceChildren(
      h(
        'div',
        { class: 'columns vary-columns' },
        h('section', { class: 'panel', 'aria-label': 'Latents' }, this.#words(), this.#sliders),
        h('div', { class: 'column stays' }, this.#image(), start),
      ),
    );
  }

  #image() {
    const reset = button('Reset', () => this.#take(this.#start));
    const walk = button('Walk from the start to here', () =>
      this.#context.address.go('walk', {
        points: pointsToText([this.#start, { name: 'varied', latent: this.#latent }]),
        at: null,
      }),
    );
    const buttons = h('div', { class: 'row' }, reset, walk);
    return h('section', { class: 'panel probe' }, h('h2', null, 'Image'), this.#picture, buttons);
  }

  /**
   * Starts anew.
   * @param {() => Promise<Point>} make
   * @param {string | null} pool that it is the middle of; null of a point that the address is to hold
   * @param {(start: Point) => unknown} [made] told of it, unless a newer start was wished meanwhile
   */
  async #begin(make, pool, made = (/** @type {Point} */ start) => start) {
    const { address, fail } = this.#context;
    const turn = ++this.#beginning;
    try {
      const start = await make();
      if (this.#loading.signal.aborted || turn !== this.#beginning) return;
      made(start);
      address.set({ from: pool || null, start: pool === null ? pointsToText([start]) : null, at: null });
      fail(null);
      this.#take(start);
    } catch (error) {
      if (!this.#loading.signal.aborted) fail(error);
    }
  }

  #words() {
    const shape = this.#context.model.latentShape;
    const grid =
      shape.length === 3
        ? ` The latents of this model are a grid, ${shape[0]} channels of ${shape[1]} × ${shape[2]}: ` +
          'each slider moves one channel at one place of the image.'
        : '';
    const how = Number.isNaN(this.#known.kl[0])
      ? 'This model has no posterior: its latents are ordered by how much they vary.'
      : 'Ordered by what each latent tells of an image, its KL divergence from the prior in nats.';
    return h('p', { class: 'muted small' }, `${how}${grid} Beside each slider is what its two ends make.`);
  }

  /** A slider each for as many latents as are shown. */
  #fill() {
    const { model } = this.#context;
    const { order, kl, mean, spread } = this.#known;
    this.#rows = [];
    const rows = order.slice(0, this.#count).map((index) => {
      const reach = REACH * spread[index];
      const at = this.#latent[index];
      const ends = [Math.min(mean[index] - reach, at), Math.max(mean[index] + reach, at)];
      const bar = slider({
        label: nameOfLatent(index, model),
        value: at,
        min: ends[0],
        max: ends[1],
        oninput: (value) => this.#move(index, value),
      });
      bar.input.addEventListener('change', () => void this.#picturesOfEnds());
      const [low, high] = [h('img', { class: 'picture', alt: '' }), h('img', { class: 'picture', alt: '' })];
      this.#rows.push({ index, ends, low, high });
      const told = Number.isNaN(kl[index]) ? '' : kl[index] < SILENT ? 'tells nothing' : `${kl[index].toFixed(2)} nats`;
      return h('div', { class: 'latent' }, low, h('div', null, bar, h('small', null, told)), high);
    });
    const rest = order.length - this.#count;
    const more =
      rest > 0 &&
      button(`Show ${Math.min(rest, SHOWN)} more of ${rest}`, () => {
        const shown = this.#count;
        this.#count += SHOWN;
        this.#fill();
        refocus(this.#sliders, shown); // the button is another one, or gone
        void this.#picturesOfEnds();
      });
    this.#sliders.replaceChildren(...rows, ...(more ? [more] : []));
  }

  /**
   * @param {Point} start
   * @param {Float32Array} [at] where the sliders are, if not at the start
   */
  #take(start, at) {
    this.#start = start;
    this.#latent = Float32Array.from(at ?? start.latent);
    this.#fill();
    this.#remember();
    void this.#draw();
    void this.#picturesOfEnds();
  }

  /**
   * @param {number} index
   * @param {number} value
   */
  #move(index, value) {
    this.#latent[index] = value;
    this.#remember();
    void this.#draw();
  }

  #remember() {
    const isThere = this.#latent.every((value, at) => value === this.#start.latent[at]);
    this.#context.address.set({ at: isThere ? null : pointsToText([{ name: 'varied', latent: this.#latent }]) });
  }

  #draw() {
    return this.#decoder.draw(this.#latent.slice(), this.#picture);
  }

  /** What each slider would make at its ends, and the start. */
  async #picturesOfEnds() {
    const ends = this.#rows.flatMap(({ index, ends: values }) =>
      values.map((value) => {
        const latent = this.#latent.slice();
        latent[index] = value;
        return latent;
      }),
    );
    const rows = [...this.#rows];
    try {
      const images = await this.#ends.run((signal) => decodeAll(this.#context, [this.#start.latent, ...ends], signal));
      if (!images) return;
      const urls = images.map((image) => pngUrls(image)[0]);
      this.#from.src = urls[0];
      for (const [at, { low, high }] of rows.entries()) [low.src, high.src] = [urls[1 + 2 * at], urls[2 + 2 * at]];
    } catch (error) {
      this.#context.fail(error);
    }
  }
}
