// One image as the model sees it: its reconstruction, its pools, its score, and where it surprises.

import { button, field, h, select } from '../core/elements.js';
import { Latest } from '../core/latest.js';
import { floats, fromTensor } from '../core/tensors.js';
import { inWords } from '../core/words.js';
import { DrawingPad } from '../pictures/drawing_pad.js';
import { goFrom } from '../parts/go_from.js';
import { differences, heatMap } from '../pictures/heat_map.js';
import { imageFromText, imageOfFile, imageToText, inverted, toImages } from '../pictures/model_image.js';
import { paint, picture } from '../pictures/painting.js';
import { pictureSources } from '../pictures/picture_sources.js';
import { poolBars } from '../pictures/pool_bars.js';
import { scoreCard } from '../pictures/score_card.js';

const SEED = '0'; // of the score: the same image gives the same figures
const MOST_LATENTS_SAID = 16;
const UINT8 = 'IMAGE_FORMAT_UINT8';

class Encode {
  #latest = new Latest();
  #until = new AbortController();
  /** @type {Uint8Array | null} */
  #pixels = null;
  #made = '';
  #isPaperChosen = false;
  /** Which of the images is the last that was wished: large files take longer than small ones. */
  #taking = 0;

  /** @param {HTMLElement} root @param {Context} context */
  constructor(root, context) {
    this.context = context;
    this.model = context.model;
    this.original = picture('The image as the model gets it', this.model);
    this.reconstruction = picture('Its reconstruction', this.model);
    this.heat = heatMap(this.model);
    this.madeOf = h('figcaption', { 'aria-live': 'polite' });
    this.heatWords = h('p', { class: 'small' });
    this.answers = h('div', { class: 'answers' });
    this.sources = pictureSources({
      target: root,
      label: 'Choose a picture',
      take: ([file]) => void this.#takeFile(file),
      hint: 'Or paste one, or drop it here. It is cropped and scaled to what the model takes.',
    });
    this.pad = new DrawingPad(this.model, () => this.#takeDrawing());
    this.swap = button('Swap light and dark', () => this.#swap(), { disabled: true });
    this.ink = select({
      label: 'Colours',
      options: [
        ['light', 'light on dark'],
        ['dark', 'dark on light'],
      ],
      onchange: (value) => {
        this.#isPaperChosen = true;
        this.#setPaper(value === 'dark');
      },
    });
    this.pen = h('input', { type: 'color', value: '#ffffff', oninput: () => this.pad.setInk(this.pen.value) });
    this.empty = h(
      'p',
      { class: 'empty' },
      'Choose a picture, paste one, or draw: the model’s view of it appears here.',
    );
    this.shown = this.#figures();
    root.append(this.#layout());
    this.#read();
    context.address.onchange = () => this.#read();
    void this.#choosePaper();
  }

  close() {
    this.#until.abort();
    this.#latest.stop();
    this.sources.close();
  }

  #figures() {
    const figure = (/** @type {string} */ title, /** @type {Node[]} */ ...parts) =>
      h('figure', { class: 'shown' }, h('h2', null, title), ...parts);
    return h(
      'div',
      { class: 'panel', hidden: true },
      h(
        'div',
        { class: 'trio' },
        figure('What the model gets', this.original, this.madeOf),
        figure('Its reconstruction', this.reconstruction),
        figure('Where they differ', this.heat.canvas, this.heat.legend),
      ),
      this.heatWords,
    );
  }

  #layout() {
    return h(
      'div',
      { class: 'columns' },
      h(
        'section',
        { class: 'column', 'aria-label': 'What the model makes of it' },
        this.empty,
        this.shown,
        this.answers,
      ),
      h(
        'section',
        { class: 'panel', 'aria-label': 'Your picture' },
        this.sources.element,
        h('div', { class: 'row' }, this.swap),
        h('h2', null, 'Or draw'),
        this.ink,
        this.#colour(),
        this.pad.element,
      ),
    );
  }

  #colour() {
    return this.model.image.channels === 3 ? field('Colour of the pen', this.pen) : null;
  }

  /** @param {boolean} isLight */
  #setPaper(isLight) {
    this.ink.input.value = isLight ? 'dark' : 'light';
    this.pen.value = isLight ? '#000000' : '#ffffff';
    this.pad.clear({ ink: this.pen.value, paper: isLight ? '#ffffff' : '#000000' });
  }

  /** Paper as the edge of the model's most typical image is. */
  async #choosePaper() {
    const { context, model } = this;
    const message = { model: context.ref(model), count: '1', seed: '0', temperature: 0, imageFormat: UINT8 };
    try {
      const said = await context.service.call('Sample', message, { signal: this.#until.signal });
      if (!this.pad.isEmpty || this.#isPaperChosen) return;
      const pixels = /** @type {Uint8Array} */ (fromTensor(said.images.tensor).data);
      const { width, height } = model.image;
      const edge = pixels.slice(0, width * height).filter((_, at) => {
        const [row, column] = [Math.floor(at / width), at % width];
        return row === 0 || column === 0 || row === height - 1 || column === width - 1;
      });
      this.#setPaper(edge.reduce((sum, value) => sum + value, 0) / edge.length > 127);
    } catch {
      // It stays dark.
    }
  }

  #read() {
    const text = this.context.address.get('image');
    const pixels = imageFromText(text, this.model);
    if (pixels) this.#take(pixels, 'The image of the address.');
    else if (text) this.context.say('The address holds an image of another size than this model’s.');
  }

  /** @param {File} file */
  async #takeFile(file) {
    const turn = ++this.#taking;
    const isWanted = () => turn === this.#taking && !this.#until.signal.aborted;
    try {
      const { pixels, made } = await imageOfFile(file, this.model);
      if (isWanted()) this.#take(pixels, made);
    } catch (error) {
      if (isWanted()) this.context.fail(error);
    }
  }

  #takeDrawing() {
    if (this.pad.isEmpty || this.#until.signal.aborted) return;
    const { width, height } = this.model.image;
    this.#take(this.pad.image(), `Your drawing, scaled to ${width} × ${height}.`);
  }

  #swap() {
    if (this.#pixels) this.#take(inverted(this.#pixels), `${this.#made} Light and dark swapped.`);
  }

  /** @param {Uint8Array} pixels @param {string} made */
  #take(pixels, made) {
    this.#taking++;
    this.#pixels = pixels;
    this.#made = made.replace(/( Light and dark swapped\.){2}$/, '');
    this.context.address.set({ image: imageToText(pixels) });
    paint(this.original, pixels, this.model);
    this.madeOf.textContent = this.#made;
    this.empty.hidden = true;
    this.shown.hidden = false;
    this.swap.disabled = false;
    void this.#ask(pixels);
  }

  /** @param {Uint8Array} pixels */
  async #ask(pixels) {
    const { context, model } = this;
    const asked = { model: context.ref(model), images: toImages(pixels, model) };
    const includePoolProbabilities = (model.pools ?? []).some(({ aggregate }) => !aggregate);
    const call = context.service.call.bind(context.service);
    this.shown.setAttribute('aria-busy', 'true');
    try {
      const said = await this.#latest.run((signal) =>
        Promise.all([
          call('Reconstruct', { ...asked, imageFormat: UINT8 }, { signal }),
          call('Encode', { ...asked, includePoolProbabilities }, { signal }),
          model.offersScore && call('Score', { ...asked, seed: SEED }, { signal }).catch((error) => ({ error })),
        ]),
      );
      if (!said) return; // a newer one is under way
      context.fail(null);
      this.#show(pixels, ...said);
    } catch (error) {
      this.#forget();
      context.fail(error);
    }
    this.shown.removeAttribute('aria-busy');
  }

  /** What was said of the image before stands not beside this one. */
  #forget() {
    for (const canvas of [this.reconstruction, this.heat.canvas]) canvas.width = this.model.image.width; // empties it
    this.heat.canvas.setAttribute('aria-label', 'Where the reconstruction differs');
    this.heatWords.textContent = '';
    this.answers.replaceChildren();
  }

  /** @param {Uint8Array} pixels @param {any} reconstructed @param {any} encoded @param {any} score */
  #show(pixels, reconstructed, encoded, score) {
    const again = /** @type {Uint8Array} */ (fromTensor(reconstructed.images.tensor).data);
    paint(this.reconstruction, again, this.model);
    this.heatWords.textContent = this.heat.show(differences(pixels, again, this.model));
    const latent = floats(encoded.mean);
    this.answers.replaceChildren(
      h(
        'div',
        { class: 'column' },
        card('Pools', 'Which kind of data it is, by where its latent lies', this.#pools(encoded)),
        card(
          'Latent',
          'The few numbers that stand for it',
          latentInWords(latent),
          goFrom(this.context.address, { name: 'your image', latent }),
        ),
      ),
      h('div', { class: 'column' }, card('Surprise', 'How well the model explains it', this.#score(score))),
    );
  }

  /** @param {any} encoded */
  #pools(encoded) {
    if (!encoded.pools?.length) return h('p', { class: 'muted' }, 'This model has no pools to tell apart.');
    return poolBars(encoded.pools, floats(encoded.poolProbabilities));
  }

  /** @param {any} score */
  #score(score) {
    if (!score) return h('p', { class: 'muted' }, 'This model offers no score: its bundle has no graph for it.');
    if (score.error) return h('p', { class: 'muted' }, inWords(score.error));
    return scoreCard(score);
  }
}

/** @param {string} title @param {string} words @param {...Node} parts */
const card = (title, words, ...parts) =>
  h('section', { class: 'panel' }, h('div', null, h('h2', null, title), h('small', null, words)), ...parts);

/** @param {Float32Array} latent */
function latentInWords(latent) {
  const values = [...latent.subarray(0, MOST_LATENTS_SAID)].map((value) => value.toFixed(2)).join(', ');
  const more = latent.length > MOST_LATENTS_SAID ? ` … and ${latent.length - MOST_LATENTS_SAID} more` : '';
  return h('p', null, h('code', null, `${values}${more}`));
}

/** @type {View} */
export const view = { name: 'encode', title: 'Encode', open: (root, context) => new Encode(root, context) };
