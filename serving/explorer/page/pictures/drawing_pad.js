// A pad to draw on, by mouse, finger or pen, and by the keyboard: arrows move, the space bar puts the pen down.

import { button, h, slider } from '../core/elements.js';
import { blank, context, fitted, imageOfCanvas } from './model_image.js';

/** @typedef {{ink: string, paper: string}} Colours */

const LONGER_SIDE = 320; // pixels of the pad's own picture
const MOST_UNDONE = 20;

export class DrawingPad {
  /** @type {string[]} */
  #earlier = [];
  /** @type {number | null} */
  #pointer = null;
  #isDown = false;
  #frame = 0;
  undoButton = button('Undo', () => this.undo(), { disabled: true });
  #at = { x: 0, y: 0 };
  #step = 1;
  #width = 0.1; // of the shorter side
  /** @type {Colours} */
  #colours = { ink: '#fff', paper: '#000' };

  /** @param {Model} model @param {() => void} onchange told with every stroke, while it is drawn */
  constructor(model, onchange) {
    this.model = model;
    this.onchange = onchange;
    const { width, height } = model.image;
    const scale = LONGER_SIDE / Math.max(width, height);
    const [across, down] = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    this.picture = blank(across, down, this.#colours.paper);
    this.picture.className = 'pad-picture';
    this.ring = h('div', { class: 'pad-ring', hidden: true });
    this.surface = h(
      'div',
      {
        class: 'pad-surface',
        role: 'application',
        tabindex: '0',
        'aria-label': 'Drawing pad',
        'aria-roledescription': 'drawing pad',
        'aria-describedby': 'pad-keys',
      },
      this.picture,
      this.ring,
    );
    this.said = h('p', { class: 'pad-said hidden-words', 'aria-live': 'polite' });
    this.#step = Math.max(2, Math.min(this.picture.width, this.picture.height) / 28);
    this.#at = { x: this.picture.width / 2, y: this.picture.height / 2 };
    this.element = h('div', { class: 'pad' }, this.surface, this.#controls(), this.said);
    this.#listen();
  }

  /** Whether nothing was drawn. */
  isEmpty = true;

  #controls() {
    const pen = slider({
      label: 'Pen',
      min: 0.02,
      max: 0.3,
      step: 0.01,
      value: this.#width,
      format: (value) => `${Math.round(value * 100)} %`,
      oninput: (value) => (this.#width = value),
    });
    const keys = h(
      'small',
      { id: 'pad-keys' },
      'By keyboard: arrows move the pen, the space bar puts it down and lifts it.',
    );
    return h(
      'div',
      { class: 'pad-controls' },
      pen,
      this.undoButton,
      button('Clear', () => this.clear()),
      keys,
    );
  }

  /** Starts anew in these colours. @param {Colours} colours */
  clear(colours = this.#colours) {
    this.#colours = colours;
    if (!this.isEmpty) this.#remember();
    const brush = context(this.picture);
    brush.fillStyle = colours.paper;
    brush.fillRect(0, 0, this.picture.width, this.picture.height);
    this.isEmpty = true;
    this.#tell();
  }

  /** @param {string} ink */
  setInk(ink) {
    this.#colours = { ...this.#colours, ink };
  }

  undo() {
    const last = this.#earlier.pop();
    this.undoButton.disabled = !this.#earlier.length;
    if (last === undefined) return;
    const image = new Image();
    image.onload = () => {
      context(this.picture).drawImage(image, 0, 0);
      this.isEmpty = false;
      this.#tell();
    };
    image.src = last;
  }

  /** As an image of the model. */
  image() {
    return imageOfCanvas(fitted(this.picture, this.model).canvas, this.model);
  }

  /** Once a frame. */
  #tell() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.onchange();
    });
  }

  #remember() {
    this.#earlier.push(this.picture.toDataURL());
    if (this.#earlier.length > MOST_UNDONE) this.#earlier.shift();
    this.undoButton.disabled = false;
  }

  /** @param {{x: number, y: number}} to */
  #stroke(to) {
    const brush = context(this.picture);
    brush.strokeStyle = this.#colours.ink;
    brush.lineCap = 'round';
    brush.lineJoin = 'round';
    brush.lineWidth = this.#width * Math.min(this.picture.width, this.picture.height);
    brush.beginPath();
    brush.moveTo(this.#at.x, this.#at.y);
    brush.lineTo(to.x, to.y + 0.01); // a point of no length would leave nothing
    brush.stroke();
    this.#at = to;
    this.isEmpty = false;
    this.#tell();
  }

  #listen() {
    const surface = this.surface;
    surface.addEventListener('pointerdown', (event) => {
      if (event.button !== 0 || this.#pointer !== null) return;
      event.preventDefault();
      surface.focus({ preventScroll: true });
      surface.setPointerCapture(event.pointerId);
      this.#pointer = event.pointerId;
      this.#remember();
      this.#at = this.#place(event);
      this.#stroke(this.#at);
    });
    surface.addEventListener('pointermove', (event) => {
      if (event.pointerId !== this.#pointer) return;
      const between = event.getCoalescedEvents?.() ?? [];
      for (const part of between.length ? between : [event]) this.#stroke(this.#place(part));
    });
    for (const name of /** @type {const} */ (['pointerup', 'pointercancel', 'lostpointercapture']))
      surface.addEventListener(name, (event) => {
        if (event.pointerId === this.#pointer) this.#pointer = null;
      });
    surface.addEventListener('keydown', (event) => this.#key(event));
    surface.addEventListener('blur', () => {
      this.#isDown = false;
      this.ring.hidden = true;
    });
  }

  /** @param {PointerEvent} event */
  #place(event) {
    const box = this.picture.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * this.picture.width,
      y: ((event.clientY - box.top) / box.height) * this.picture.height,
    };
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const way = ways[/** @type {keyof typeof ways} */ (event.key)];
    if (!way && event.key !== ' ') return;
    event.preventDefault();
    if (way) {
      const far = this.#step * (event.shiftKey ? 4 : 1);
      const to = {
        x: Math.min(Math.max(this.#at.x + way[0] * far, 0), this.picture.width),
        y: Math.min(Math.max(this.#at.y + way[1] * far, 0), this.picture.height),
      };
      if (this.#isDown) this.#stroke(to);
      else this.#at = to;
    } else {
      this.#isDown = !this.#isDown;
      this.said.textContent = this.#isDown ? 'Pen down' : 'Pen up';
      if (this.#isDown) {
        this.#remember();
        this.#stroke(this.#at);
      }
    }
    this.#showRing();
  }

  #showRing() {
    this.ring.hidden = false;
    this.ring.classList.toggle('down', this.#isDown);
    this.ring.style.left = `${(this.#at.x / this.picture.width) * 100}%`;
    this.ring.style.top = `${(this.#at.y / this.picture.height) * 100}%`;
  }
}
