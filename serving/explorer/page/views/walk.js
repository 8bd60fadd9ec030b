/** A walk through latent space, from point to point. */

import { button, download, h, select, slider } from '../core/elements.js';
import { Latest } from '../core/latest.js';
import { imageFormat } from '../core/pictures.js';
import { pointsFromText, pointsToText } from '../core/points.js';
import { latentSize, latentTensor } from '../core/tensors.js';
import { WalkFrames } from '../parts/walk_frames.js';
import { MOST_WALKED, pointList, sampled } from '../parts/walk_points.js';

const STEPS = 16;
const MOST_STEPS = 60;
const DELAY_MS = 80;
/** @type {[string, string][]} */
const PATHS = [
  ['linear', 'Straight'],
  ['spherical', 'Spherical'],
];

/** @type {View} */
export const view = {
  name: 'walk',
  title: 'Walk',
  open(root, context) {
    const opened = new WalkView(root, context);
    void opened.start();
    return opened;
  },
};

class WalkView {
  #root;
  #context;
  #loading = new AbortController();
  #walking = new Latest();
  /** @type {Point[]} */
  #points = [];
  #frames = new WalkFrames();
  #path;
  #steps;
  /** The frame that the address names, until there are frames. */
  #wanted = 0;
  /** @type {{close: () => void} | null} */
  #list = null;

  /**
   * @param {HTMLElement} root
   * @param {Context} context
   */
  constructor(root, context) {
    const { address } = context;
    this.#root = root;
    this.#context = context;
    this.#wanted = Number(address.get('at')) || 0;
    this.#path = select({
      label: 'Path',
      options: PATHS,
      value: address.get('path') ?? 'linear',
      onchange: () => this.#walk(),
      hint: 'Straight is shortest. Spherical keeps the distance from the middle, where the prior has its mass.',
    });
    const steps = Math.round(Number(address.get('steps'))) || STEPS;
    this.#steps = slider({
      label: 'Steps from point to point',
      min: 1,
      max: MOST_STEPS,
      step: 1,
      value: steps,
      format: String,
      oninput: () => this.#walk(),
    });
    this.#frames.onmove = (at) => address.set({ at });
  }

  close() {
    this.#loading.abort();
    this.#walking.stop();
    this.#frames.stop();
    this.#list?.close();
  }

  async start() {
    const { address, model, fail } = this.#context;
    this.#points = pointsFromText(address.get('points'), latentSize(model)).slice(0, MOST_WALKED);
    try {
      await this.#fillUp();
    } catch (error) {
      this.#root.replaceChildren(h('p', { class: 'empty' }, 'There is nothing to walk between.'));
      return fail(error);
    }
    if (this.#loading.signal.aborted) return;
    const list = pointList(this.#context, this.#points, () => this.#walk());
    this.#list = list;
    const gif = button('Download GIF', () => this.#download());
    this.#frames.controls.append(gif);
    this.#root.replaceChildren(
      h(
        'div',
        { class: 'columns' },
        h('section', { class: 'panel', 'aria-label': 'Walk' }, this.#frames.element, this.#frames.controls),
        h(
          'div',
          { class: 'column' },
          list.element,
          h('section', { class: 'panel' }, h('h2', null, 'Way'), this.#path, this.#steps),
        ),
      ),
    );
    list.update();
  }

  /** A walk needs two points: those that are missing are samples of the first pools, always the same ones. */
  async #fillUp() {
    const pools = (this.#context.model.pools ?? []).filter((pool) => !pool.aggregate);
    while (this.#points.length < 2) {
      const at = this.#points.length;
      const pool = pools.length ? pools[at % pools.length].name : '';
      this.#points.push(await sampled(this.#context, pool, at + 1, this.#loading.signal));
    }
  }

  /** As many steps as the model's largest number of rows allows. */
  #stepsAllowed() {
    const most = Math.floor((Number(this.#context.model.maxRows) - 1) / (this.#points.length - 1));
    return Math.max(1, Math.min(this.#steps.input.valueAsNumber, most));
  }

  #message() {
    const { model, ref } = this.#context;
    const size = latentSize(model);
    const values = new Float32Array(this.#points.length * size);
    for (const [row, { latent }] of this.#points.entries()) values.set(latent, row * size);
    return {
      model: ref(model),
      latents: latentTensor(values, model),
      steps: String(this.#stepsAllowed()),
      path: this.#path.input.value === 'spherical' ? 'INTERPOLATION_PATH_SPHERICAL' : 'INTERPOLATION_PATH_LINEAR',
    };
  }

  async #walk() {
    const { address, service, model, fail } = this.#context;
    address.set({
      points: pointsToText(this.#points),
      path: this.#path.input.value,
      steps: this.#steps.input.value,
    });
    const [steps, names] = [this.#stepsAllowed(), this.#points.map(({ name }) => name)];
    const share = this.#frames.count > 1 ? this.#frames.at / (this.#frames.count - 1) : null;
    try {
      const message = { ...this.#message(), imageFormat: imageFormat(model) };
      const said = await this.#walking.run((signal) => service.call('Interpolate', message, { signal }));
      if (!said) return;
      const last = (names.length - 1) * steps;
      this.#frames.fill(said.images, steps, names, share === null ? this.#wanted : share * last);
      address.set({ at: this.#frames.at || null });
      fail(null);
    } catch (error) {
      fail(error);
    }
  }

  async #download() {
    const { service, model, say, fail } = this.#context;
    say('Asking for the GIF…');
    try {
      const blob = await service.walkGif(this.#message(), {
        delayMs: DELAY_MS,
        bounce: true,
        signal: this.#loading.signal,
      });
      download(blob, `${model.model.name}-walk.gif`);
      say(`The GIF has ${Math.ceil(blob.size / 1024)} KB.`);
    } catch (error) {
      fail(error);
    }
  }
}
