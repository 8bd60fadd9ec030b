// New images: from the prior, a pool, or the neighbourhood of one of them.

import { button, h, select, slider } from '../core/elements.js';
import { Latest } from '../core/latest.js';
import { pointsFromText, pointsToText } from '../core/points.js';
import { floats, fromTensor, latentSize, latentTensor } from '../core/tensors.js';
import { checkedEntry, numberOr, seedOf, seedOrNull, wholeNumber } from '../parts/checked_entry.js';
import { goFrom } from '../parts/go_from.js';
import { imageSize } from '../pictures/model_image.js';
import { paint, picture, PictureWall } from '../pictures/painting.js';
import { saveNpz, savePng } from '../pictures/sample_files.js';

const MOST_IMAGES = 400;
const MOST_BYTES = 24 << 20; // of one answer's pixels
const IMAGES = 36;
const USUAL_BYTES = 2 << 20; // of the pixels that are asked for before anybody has said how many
const SPREAD = 0.4;
const MOST_LATENTS_SHARED = 8192; // of a centre within the address

/** @typedef {import('../pictures/sample_files.js').Drawn} Drawn */

class Sample {
  #latest = new Latest();
  /** @type {Drawn | null} */
  #drawn = null;
  /** @type {Point | null} */
  #centre = null;

  /** @param {HTMLElement} root @param {Context} context */
  constructor(root, context) {
    this.context = context;
    const { model } = context;
    this.most = Math.max(1, Math.min(Number(model.maxRows), MOST_IMAGES, Math.floor(MOST_BYTES / imageSize(model))));
    this.usual = Math.max(1, Math.min(IMAGES, this.most, Math.floor(USUAL_BYTES / imageSize(model))));
    this.wall = new PictureWall({
      model,
      name: 'Images',
      onpick: (row) => this.#pick(row),
      label: (row) => `Image ${row + 1}: show its neighbours`,
    });
    this.about = h('p', { class: 'about' });
    this.middle = picture('The image whose neighbours these are', model);
    this.ui = this.#controls();
    root.append(this.#layout());
    this.#read();
    context.address.onchange = () => this.#read();
  }

  close() {
    this.#latest.stop();
  }

  #controls() {
    const set = (/** @type {Record<string, string | number | null>} */ change) => {
      this.context.address.set(change);
      void this.#ask();
    };
    const temperature = slider({
      label: 'Temperature',
      min: 0,
      max: 2,
      step: 0.05,
      value: 1,
      oninput: (t) => set({ t }),
    });
    temperature.append(
      h('small', null, 'Below 1 more typical, above 1 more unusual; at 0 all are the most typical one.'),
    );
    const spread = slider({
      label: 'Spread',
      min: 0,
      max: 2,
      step: 0.05,
      value: SPREAD,
      oninput: (far) => set({ spread: far }),
    });
    spread.append(h('small', null, 'How far around the image, in standard deviations of the prior.'));
    return {
      source: select({ label: 'From', options: this.#sources(), onchange: (value) => this.#choose(value) }),
      count: checkedEntry({
        label: 'How many',
        value: '',
        check: wholeNumber(1, this.most),
        onchange: (count) => set({ count }),
      }),
      temperature,
      spread,
      seed: checkedEntry({
        label: 'Seed',
        value: '',
        hint: 'The same seed gives the same images.',
        check: seedOf,
        onchange: (seed) => set({ seed }),
      }),
      again: button('New seed', () => set({ seed: null }), { class: 'primary' }),
      files: [
        button('Download PNG', () => void this.#save(savePng), { disabled: true }),
        button('Download npz', () => void this.#save(saveNpz), { disabled: true }),
      ],
      near: h('div', { class: 'near', hidden: true }),
    };
  }

  #layout() {
    const { source, count, temperature, spread, seed, again, files, near } = this.ui;
    return h(
      'div',
      { class: 'columns' },
      h(
        'section',
        { class: 'panel results', 'aria-label': 'Images drawn' },
        this.wall.element,
        this.about,
        h('div', { class: 'row' }, ...files),
      ),
      h(
        'section',
        { class: 'panel', 'aria-label': 'What to draw' },
        near,
        source,
        this.#unfit(),
        count,
        temperature,
        spread,
        seed,
        h('div', { class: 'row' }, again),
      ),
    );
  }

  /** @returns {[string, string][]} */
  #sources() {
    const pools = this.context.model.pools ?? [];
    return [
      ['', 'the prior'],
      ...pools.map(({ name, aggregate, weight = 0 }) => {
        const share = aggregate ? 'all the data' : `${Math.round(weight * 100)} % of the data`;
        return /** @type {[string, string]} */ ([`pool ${name}`, `the pool ${name} (${share})`]);
      }),
    ];
  }

  #unfit() {
    if (this.context.model.kind !== 'ae') return null;
    const words =
      'This is an autoencoder: nothing made its latents follow the prior, so most of what is drawn is no image. ';
    return h(
      'p',
      { class: 'hint' },
      words,
      h('a', { href: this.context.address.href('compare') }, 'Compare it with a VAE'),
    );
  }

  /** The controls from the address, then the images. */
  #read() {
    const { address, model } = this.context;
    const pool = address.get('pool');
    const isKnown = (model.pools ?? []).some(({ name }) => name === pool);
    if (pool !== null && !isKnown)
      this.context.say(`This model has no pool “${pool.slice(0, 80)}”: drawn from the prior.`);
    this.#centre = pointsFromText(address.get('near'), latentSize(model))[0] ?? null;
    this.ui.source.input.value = isKnown ? `pool ${pool}` : '';
    this.ui.count.show(Math.round(numberOr(address.get('count'), 1, this.most, this.usual)));
    this.ui.temperature.show(numberOr(address.get('t'), 0, 2, 1));
    this.ui.spread.show(numberOr(address.get('spread'), 0, 2, SPREAD));
    this.ui.seed.show(seedOrNull(address.get('seed')) ?? '');
    void this.#ask();
  }

  /** @param {string} source */
  #choose(source) {
    this.#centre = null;
    this.context.address.set({ pool: source ? source.slice('pool '.length) : null, near: null });
    void this.#ask();
  }

  /** Neighbours of one of the images. @param {number} row */
  #pick(row) {
    if (!this.#drawn) return;
    const size = latentSize(this.context.model);
    const latent = this.#drawn.latents.slice(row * size, (row + 1) * size);
    if (latent.length !== size) return;
    this.#centre = { name: `image ${row + 1} of seed ${this.#drawn.seed}`, latent };
    if (size <= MOST_LATENTS_SHARED) this.context.address.set({ near: pointsToText([this.#centre]) }, { push: true });
    else this.context.say('This latent is too large for the address: the neighbours cannot be shared by it.');
    void this.#ask();
  }

  #message() {
    const { context } = this;
    const isNear = this.#centre !== null;
    const pool = this.ui.source.input.value.slice('pool '.length);
    const temperature = this.ui.temperature.input.valueAsNumber;
    const latent = this.#centre && latentTensor(this.#centre.latent, context.model);
    return {
      model: context.ref(context.model),
      count: String(Math.round(numberOr(context.address.get('count'), 1, this.most, this.usual))),
      seed: seedOrNull(context.address.get('seed')) ?? undefined,
      neighbourhood: isNear ? { latent, spread: this.ui.spread.input.valueAsNumber } : undefined,
      pool: !isNear && pool ? pool : undefined,
      temperature: isNear ? undefined : temperature,
      imageFormat: 'IMAGE_FORMAT_UINT8',
      includeLatents: true,
    };
  }

  async #ask() {
    const { service, model } = this.context;
    const centre = this.#centre;
    this.#showCentre();
    const message = this.#message();
    this.wall.element.setAttribute('aria-busy', 'true');
    try {
      const said = await this.#latest.run((signal) =>
        Promise.all([
          service.call('Sample', message, { signal }),
          centre &&
            service.call(
              'Decode',
              {
                model: message.model,
                latents: latentTensor(centre.latent, model),
                imageFormat: 'IMAGE_FORMAT_UINT8',
              },
              { signal },
            ),
        ]),
      );
      if (!said) return; // a newer one is under way
      this.#show(said[0], said[1], centre);
    } catch (error) {
      this.context.fail(error);
    }
    this.wall.element.removeAttribute('aria-busy');
  }

  /** @param {any} sampled @param {any} decoded of the centre @param {Point | null} centre */
  #show(sampled, decoded, centre) {
    const { context } = this;
    const seed = sampled.seed ?? '0';
    const pixels = /** @type {Uint8Array} */ (fromTensor(sampled.images.tensor).data);
    this.#drawn = { pixels, latents: floats(sampled.latents), seed };
    this.ui.seed.show(seed);
    context.address.set({ seed });
    this.wall.show(pixels);
    if (decoded) paint(this.middle, /** @type {Uint8Array} */ (fromTensor(decoded.images.tensor).data), context.model);
    for (const file of this.ui.files) file.disabled = false;
    const count = pixels.length / imageSize(context.model);
    const pool = this.ui.source.input.value.slice('pool '.length);
    const whence = centre ? `around ${centre.name}` : pool ? `from the pool ${pool}` : 'from the prior';
    const images = count === 1 ? 'image' : 'images';
    this.about.textContent = `${count} ${images} ${whence}, seed ${seed}. Choose one to see its neighbours.`;
    context.fail(null);
  }

  #showCentre() {
    const centre = this.#centre;
    this.ui.near.hidden = !centre;
    this.ui.spread.hidden = !centre;
    this.ui.source.hidden = Boolean(centre);
    this.ui.temperature.hidden = Boolean(centre);
    if (!centre) return this.ui.near.replaceChildren();
    const left = () => {
      this.#choose(this.ui.source.input.value);
      this.ui.source.input.focus(); // the button is gone
    };
    const leave = button('Leave', left, {
      'aria-label': 'Leave the neighbourhood',
    });
    this.ui.near.replaceChildren(
      this.middle,
      h('div', null, h('strong', null, 'Neighbours'), h('p', null, `of ${centre.name}`), leave),
      goFrom(this.context.address, centre),
    );
  }

  /** @param {(model: Model, drawn: Drawn) => unknown} how */
  async #save(how) {
    try {
      if (this.#drawn) await how(this.context.model, this.#drawn);
    } catch (error) {
      this.context.fail(error);
    }
  }
}

/** @type {View} */
export const view = { name: 'sample', title: 'Sample', open: (root, context) => new Sample(root, context) };
