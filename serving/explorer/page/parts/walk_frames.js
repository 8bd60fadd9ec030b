/** The images of a walk: one is shown large, all are a strip, and they can be played to and fro. */

import { button, h, prefersStill, slider } from '../core/elements.js';
import { pngUrls } from '../core/pictures.js';

const FRAME_MS = 80;
/** For those who do not want things to move. */
const CALM_MS = 600;
const MOST_IN_STRIP = 33;

export class WalkFrames {
  /** @type {string[]} */
  #urls = [];
  #at = 0;
  #steps = 1;
  /** @type {string[]} */
  #names = [];
  #forward = 1;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #playing;
  #large = h('img', { class: 'picture big', alt: '' });
  #strip = h('div', { class: 'strip', 'aria-hidden': 'true' });
  #slider = slider({
    label: 'Way',
    min: 0,
    max: 1,
    step: 1,
    value: 0,
    format: () => this.#words(),
    oninput: (at) => {
      this.stop();
      this.show(at);
      this.onmove(at);
    },
  });
  #play = button('▶ Play', () => (this.#playing ? this.stop() : this.#start()));
  /** Told when the user moved to a frame. */
  onmove = (/** @type {number} */ _at) => {};

  constructor() {
    this.controls = h('div', { class: 'row middle' }, this.#play);
    this.element = h('div', { class: 'walk-frames' }, this.#large, this.#slider, this.#strip);
    this.#strip.addEventListener('click', ({ target }) => {
      const at = target instanceof HTMLElement && target.dataset.at;
      if (!at) return;
      this.stop();
      this.show(Number(at));
      this.onmove(Number(at));
    });
  }

  get at() {
    return this.#at;
  }

  get count() {
    return this.#urls.length;
  }

  /**
   * @param {Images} images
   * @param {number} steps from each point to the next
   * @param {string[]} names of the points
   * @param {number} at the frame to be shown
   */
  fill(images, steps, names, at) {
    [this.#urls, this.#steps, this.#names] = [pngUrls(images), steps, names];
    this.#slider.input.max = String(this.#urls.length - 1);
    const every = Math.max(1, Math.ceil((this.#urls.length - 1) / (MOST_IN_STRIP - 1)));
    const shown = this.#urls.map((src, frame) => ({ src, frame })).filter(({ frame }) => frame % every === 0);
    this.#strip.replaceChildren(
      ...shown.map(({ src, frame }) => {
        const image = h('img', { class: 'picture', src, alt: '' });
        image.dataset.at = String(frame);
        image.classList.toggle('point', frame % steps === 0);
        return image;
      }),
    );
    this.show(at);
  }

  /** @param {number} at */
  show(at) {
    if (!this.#urls.length) return;
    this.#at = Math.max(0, Math.min(this.#urls.length - 1, Math.round(at) || 0));
    this.#large.src = this.#urls[this.#at];
    this.#slider.show(this.#at);
    this.#large.alt = this.#words();
    const every = this.#every();
    for (const image of this.#strip.querySelectorAll('img')) {
      const frame = Number(image.dataset.at);
      const isNow = frame <= this.#at && this.#at < frame + every;
      image.classList.toggle('now', isNow);
      if (isNow) this.#strip.scrollLeft = image.offsetLeft - this.#strip.clientWidth / 2;
    }
  }

  #every() {
    const [first, second] = this.#strip.querySelectorAll('img');
    return second ? Number(second.dataset.at) - Number(first.dataset.at) : 1;
  }

  /** Where the frame is, between which points. */
  #words() {
    if (!this.#names?.length) return '';
    const leg = Math.min(this.#names.length - 2, Math.floor(this.#at / this.#steps));
    const share = Math.round((100 * (this.#at - leg * this.#steps)) / this.#steps);
    return `${share} % from ${this.#names[leg]} to ${this.#names[leg + 1]}`;
  }

  #start() {
    this.#play.textContent = '❚❚ Pause';
    this.#playing = setInterval(
      () => {
        const last = this.#urls.length - 1;
        if (this.#at >= last) this.#forward = -1;
        if (this.#at <= 0) this.#forward = 1;
        this.show(this.#at + this.#forward);
      },
      prefersStill() ? CALM_MS : FRAME_MS,
    );
  }

  stop() {
    clearInterval(this.#playing);
    this.#playing = undefined;
    this.#play.textContent = '▶ Play';
  }
}
