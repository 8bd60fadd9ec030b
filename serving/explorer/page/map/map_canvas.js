/** A map on a canvas: the layer that stays, and over it what moves, drawn once a frame and only when it changed. */

import { h } from '../core/elements.js';
import { Camera } from './map_camera.js';
import { listen } from './map_gestures.js';
import { MapLayer } from './map_layer.js';
import { colours, onTheme } from './palette.js';

const THUMB = 84;
const TRAIL = 400;

/** @typedef {{name: string, x: number, y: number}} Anchor */

export class MapCanvas {
  element = h('canvas', {
    class: 'map',
    tabindex: '0',
    role: 'application',
    'aria-roledescription': 'map',
    'aria-describedby': 'map-keys',
  });
  camera;
  layer;
  /** @type {{x: number, y: number}} */
  probe;
  /** @type {Anchor[]} */
  anchors = [];
  /** Whether a drag moves the map, and not the probe. */
  moves = false;
  /** The decoded image under the pointer, and the moment of the pointer that it belongs to. */
  /** @type {{canvas: HTMLCanvasElement, at: number, isNew: boolean} | null} */
  #picture = null;
  /** @type {[number, number][]} */
  #trail = [];
  #isDragging = false;
  #isHere = false;
  #isStale = true;
  #frame = 0;
  /** @type {HTMLCanvasElement | null} */
  #still = null;
  #observer = new ResizeObserver(() => this.#resize());
  #offTheme = onTheme(() => this.redraw());
  #size = [1, 1];
  #theme = colours();
  /** Where the probe went, when, and whether a pointer led it. */
  onprobe = (
    /** @type {number} */ _x,
    /** @type {number} */ _y,
    /** @type {number} */ _at,
    /** @type {boolean} */ _led,
  ) => {};
  onanchor = (/** @type {number} */ _x, /** @type {number} */ _y) => {};
  onlook = () => {};

  /**
   * @param {import('./latent_map.js').LatentMap} map
   * @param {import('./map_camera.js').Bounds} bounds
   * @param {import('./palette.js').Colouring} colouring
   */
  constructor(map, bounds, colouring) {
    this.camera = new Camera(bounds);
    this.layer = new MapLayer(map, bounds, colouring);
    this.probe = { x: (bounds.left + bounds.right) / 2, y: (bounds.bottom + bounds.top) / 2 };
    listen(this.element, this.#wishes(), () => this.moves);
    this.element.addEventListener('pointerenter', () => (this.#isHere = true));
    this.element.addEventListener('pointerleave', () => {
      this.#isHere = false;
      this.draw();
    });
    this.#observer.observe(this.element);
  }

  close() {
    this.#observer.disconnect();
    this.#offTheme();
    cancelAnimationFrame(this.#frame);
  }

  /** @returns {import('./map_gestures.js').Wishes} */
  #wishes() {
    const look = (/** @type {() => void} */ change) => {
      change();
      this.redraw();
      this.onlook();
    };
    return {
      probe: (left, top, event) => this.#lead(...this.camera.toMap(left, top), event.timeStamp, true),
      step: (right, up) => {
        const span = Math.min(...this.#size) / this.camera.scale;
        this.#isHere = false;
        this.#lead(this.probe.x + right * span, this.probe.y + up * span, performance.now(), false);
        this.#follow();
      },
      anchor: (left, top = 0) => {
        const [x, y] = left === null ? [this.probe.x, this.probe.y] : this.camera.toMap(left, top);
        this.onanchor(x, y);
      },
      zoom: (factor, left, top) => look(() => this.camera.zoomBy(factor, left, top)),
      pan: (right, down) => look(() => this.camera.pan(right, down)),
      reset: () => look(() => this.camera.reset()),
      drag: (isOn) => {
        this.#isDragging = isOn;
        if (isOn) this.#trail = [];
        this.draw();
      },
    };
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} at
   * @param {boolean} isLed
   */
  #lead(x, y, at, isLed) {
    this.probe = { x, y };
    if (this.#isDragging) this.#trail.push([x, y]);
    if (this.#trail.length > TRAIL) this.#trail.shift();
    this.draw();
    this.onprobe(x, y, at, isLed);
  }

  /** Moves the map so far that the probe is seen. */
  #follow() {
    const [left, top] = this.camera.toScreen(this.probe.x, this.probe.y);
    const [width, height] = this.#size;
    const right = Math.min(0, left - 24) + Math.max(0, left - width + 24);
    const down = Math.min(0, top - 24) + Math.max(0, top - height + 24);
    if (!right && !down) return;
    this.camera.pan(-right, -down);
    this.redraw();
    this.onlook();
  }

  /** @param {number} factor */
  zoom(factor) {
    this.camera.zoomBy(factor);
    this.redraw();
    this.onlook();
  }

  reset() {
    this.camera.reset();
    this.redraw();
    this.onlook();
  }

  /**
   * The picture of the probe's place; `at` is the moment of the pointer that it was asked for.
   * @param {HTMLCanvasElement} canvas
   * @param {number} at
   */
  show(canvas, at) {
    this.#picture = { canvas, at, isNew: true };
    this.draw();
  }

  /** All of it, since points, colours or the camera changed. */
  redraw() {
    this.#isStale = true;
    this.draw();
  }

  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#paint();
    });
  }

  #resize() {
    const { clientWidth, clientHeight } = this.element;
    if (!clientWidth || !clientHeight) return;
    this.#size = [clientWidth, clientHeight];
    this.camera.resize(clientWidth, clientHeight);
    const ratio = devicePixelRatio || 1;
    [this.element.width, this.element.height] = [Math.round(clientWidth * ratio), Math.round(clientHeight * ratio)];
    this.#isStale = true;
    this.#paint();
  }

  #paint() {
    const brush = /** @type {CanvasRenderingContext2D} */ (this.element.getContext('2d', { alpha: false }));
    const [width, height] = this.#size;
    const ratio = this.element.width / width;
    if (this.#isStale || !this.#still) {
      this.#theme = colours();
      this.#still = this.layer.drawn(this.camera, width, height, ratio);
    }
    this.#isStale = false;
    brush.setTransform(1, 0, 0, 1, 0, 0);
    brush.drawImage(this.#still, 0, 0);
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    const theme = this.#theme;
    this.#paintTrail(brush, theme);
    this.#paintAnchors(brush, theme);
    this.#paintProbe(brush, theme);
    const picture = this.#picture;
    if (!picture?.isNew) return;
    picture.isNew = false;
    this.element.dispatchEvent(new CustomEvent('picture', { detail: picture.at }));
  }

  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {{accent: string}} theme
   */
  #paintTrail(brush, theme) {
    if (this.#trail.length < 2) return;
    brush.beginPath();
    for (const [x, y] of this.#trail) brush.lineTo(...this.camera.toScreen(x, y));
    brush.strokeStyle = theme.accent;
    brush.globalAlpha = 0.7;
    brush.lineWidth = 2;
    brush.stroke();
    brush.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {{ground: string, text: string, accent: string}} theme
   */
  #paintAnchors(brush, theme) {
    const places = this.anchors.map(({ x, y }) => this.camera.toScreen(x, y));
    brush.lineWidth = 2;
    brush.strokeStyle = theme.text;
    brush.setLineDash([5, 4]);
    brush.beginPath();
    for (const place of places) brush.lineTo(...place);
    brush.stroke();
    brush.setLineDash([]);
    brush.font = '700 12px system-ui, sans-serif';
    brush.textAlign = 'center';
    brush.textBaseline = 'middle';
    for (const [number, [left, top]] of places.entries()) {
      brush.beginPath();
      brush.arc(left, top, 10, 0, 2 * Math.PI);
      brush.fillStyle = theme.text;
      brush.fill();
      brush.strokeStyle = theme.ground;
      brush.stroke();
      brush.fillStyle = theme.ground;
      brush.fillText(String(number + 1), left, top + 0.5);
    }
  }

  /**
   * A cross, and the picture beside a pointer.
   * @param {CanvasRenderingContext2D} brush
   * @param {{ground: string, text: string, accent: string}} theme
   */
  #paintProbe(brush, theme) {
    const [left, top] = this.camera.toScreen(this.probe.x, this.probe.y);
    for (const [colour, thickness] of /** @type {[string, number][]} */ ([
      [theme.ground, 5],
      [theme.accent, 2.5],
    ])) {
      brush.strokeStyle = colour;
      brush.lineWidth = thickness;
      brush.beginPath();
      for (const [right, down] of [
        [1, 0],
        [-1, 0],
        [0, 1],
        [0, -1],
      ]) {
        brush.moveTo(left + right * 4, top + down * 4);
        brush.lineTo(left + right * 13, top + down * 13);
      }
      brush.stroke();
    }
    if (!this.#picture || !(this.#isHere || this.#isDragging)) return;
    const [width] = this.#size;
    const { canvas } = this.#picture;
    const tall = (THUMB * canvas.height) / Math.max(1, canvas.width);
    const x = left + 22 + THUMB > width ? left - 22 - THUMB : left + 22;
    const y = Math.max(4, top - 22 - tall);
    brush.fillStyle = theme.ground;
    brush.fillRect(x - 3, y - 3, THUMB + 6, tall + 6);
    brush.strokeStyle = theme.accent;
    brush.lineWidth = 1.5;
    brush.strokeRect(x - 3, y - 3, THUMB + 6, tall + 6);
    brush.imageSmoothingEnabled = false;
    brush.drawImage(canvas, x, y, THUMB, tall);
  }
}
