// A small chart of figures over the last minutes; its caption says in words what it shows.

import { h } from '../core/elements.js';

/** @typedef {{at: number, values: number[]}} Place seconds, and a value of each line; NaN is a gap */

const WINDOW_S = 180;
const HEIGHT = 96;
const MARGIN = { left: 4, right: 4, top: 8, bottom: 4 };

export class LineChart {
  /** @type {Place[]} */
  #places = [];

  /** @param {{title: string, lines: string[], format: (value: number) => string, hint: string}} options */
  constructor({ title, lines, format, hint }) {
    this.title = title;
    this.lines = lines;
    this.format = format;
    this.canvas = h('canvas', { class: 'chart', role: 'img', 'aria-label': title });
    this.newest = h('p', { class: 'chart-newest' });
    this.hint = h('small', null, hint);
    this.scale = h('small', { class: 'chart-scale' });
    this.element = h(
      'figure',
      { class: 'chart-box' },
      h('figcaption', null, h('strong', null, title), this.hint, this.newest),
      this.canvas,
      this.scale,
    );
    this.resized = new ResizeObserver(() => this.draw());
    this.resized.observe(this.canvas);
  }

  /** @param {number} at @param {number[]} values */
  add(at, values) {
    this.#places.push({ at, values });
    while (this.#places[0].at < at - WINDOW_S) this.#places.shift();
    this.draw();
  }

  /** Forgets what it has shown. */
  clear() {
    this.#places = [];
    this.draw();
  }

  /** @param {string} words */
  explain(words) {
    if (this.hint.textContent !== words) this.hint.textContent = words;
  }

  close() {
    this.resized.disconnect();
  }

  draw() {
    const known = this.#places.flatMap(({ values }) => values.filter(Number.isFinite));
    const most = Math.max(...known, 0);
    this.#say(known, most);
    const ratio = devicePixelRatio || 1;
    const width = this.canvas.clientWidth || 300;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(HEIGHT * ratio);
    const brush = this.canvas.getContext('2d');
    if (!brush) return;
    brush.scale(ratio, ratio);
    const style = getComputedStyle(this.canvas);
    brush.strokeStyle = style.getPropertyValue('--line') || '#888';
    brush.strokeRect(0.5, 0.5, width - 1, HEIGHT - 1);
    this.lines.forEach((_, line) => {
      brush.strokeStyle = style.getPropertyValue(`--chart-${line}`) || style.color;
      this.#drawLine(brush, line, width, most || 1);
    });
  }

  /** @param {CanvasRenderingContext2D} brush @param {number} line @param {number} width @param {number} most */
  #drawLine(brush, line, width, most) {
    const end = this.#places.at(-1)?.at ?? 0;
    const across = (width - MARGIN.left - MARGIN.right) / WINDOW_S;
    const up = (HEIGHT - MARGIN.top - MARGIN.bottom) / most;
    brush.lineWidth = 2;
    brush.lineJoin = 'round';
    brush.beginPath();
    let isOpen = false;
    for (const { at, values } of this.#places) {
      const value = values[line];
      if (!Number.isFinite(value)) {
        isOpen = false;
        continue;
      }
      const [x, y] = [width - MARGIN.right - (end - at) * across, HEIGHT - MARGIN.bottom - value * up];
      if (isOpen) brush.lineTo(x, y);
      else brush.moveTo(x, y);
      if (!isOpen) brush.lineTo(x + 0.01, y); // a point by itself
      isOpen = true;
    }
    brush.lineCap = 'round';
    brush.stroke();
  }

  /** @param {number[]} known @param {number} most */
  #say(known, most) {
    const values = this.#places.at(-1)?.values ?? [];
    const told = this.lines.map((name, line) => {
      const value = values[line];
      const text = Number.isFinite(value) ? this.format(value) : '–';
      return `${name} ${text}`;
    });
    this.newest.replaceChildren(...told.map((text, line) => h('span', { class: `key key-${line}` }, text)));
    this.scale.textContent = known.length ? `up to ${this.format(most)}, last ${WINDOW_S / 60} minutes` : 'nothing yet';
    const now = known.length ? `now ${told.join(', ')}; highest ${this.format(most)}` : 'no figures yet';
    this.canvas.setAttribute('aria-label', `${this.title} over the last ${WINDOW_S / 60} minutes: ${now}`);
  }
}
