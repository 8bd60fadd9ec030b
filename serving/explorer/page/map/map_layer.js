/** What of a map stays as it is while the pointer moves: points, lines of density, names. Drawn once for a camera. */

import { colours } from './palette.js';
import { contoursOf } from './density.js';

const NAMED_KINDS = 24;

export class MapLayer {
  #canvas = document.createElement('canvas');
  #map;
  #contours;
  /** @type {import('./palette.js').Colouring} */
  #colouring;
  /** The kind that stands out; the others are pale. */
  /** @type {number | null} */
  #chosen = null;
  /** @type {{name: string, x: number, y: number}[]} */
  #names = [];

  /**
   * @param {import('./latent_map.js').LatentMap} map
   * @param {import('./map_camera.js').Bounds} bounds
   * @param {import('./palette.js').Colouring} colouring
   */
  constructor(map, bounds, colouring) {
    this.#map = map;
    this.#contours = contoursOf(map.points, bounds);
    this.#colouring = colouring;
    this.colour(colouring);
  }

  /**
   * @param {import('./palette.js').Colouring} colouring
   * @param {number | null} [chosen]
   */
  colour(colouring, chosen = null) {
    this.#chosen = chosen;
    this.#colouring = colouring;
    this.#names = colouring.names.slice(0, NAMED_KINDS).flatMap((name, kind) => {
      const rows = [...colouring.kindOf.keys()].filter((row) => colouring.kindOf[row] === kind);
      if (!rows.length || name === 'others') return [];
      return [{ name, x: this.#middle(rows, 0), y: this.#middle(rows, 1) }];
    });
  }

  /**
   * The median of some points along an axis: it lies among them more surely than the mean.
   * @param {number[]} rows
   * @param {number} axis
   */
  #middle(rows, axis) {
    return Float32Array.from(rows, (row) => this.#map.points[row * 2 + axis]).sort()[rows.length >> 1];
  }

  /**
   * @param {import('./map_camera.js').Camera} camera
   * @param {number} width of the style
   * @param {number} height
   * @param {number} ratio pixels of the device a pixel of the style
   * @returns {HTMLCanvasElement}
   */
  drawn(camera, width, height, ratio) {
    const canvas = this.#canvas;
    [canvas.width, canvas.height] = [Math.round(width * ratio), Math.round(height * ratio)];
    const brush = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false }));
    const theme = colours();
    brush.setTransform(ratio, 0, 0, ratio, 0, 0);
    brush.fillStyle = theme.ground;
    brush.fillRect(0, 0, width, height);
    this.#drawContours(brush, camera, ratio, theme.muted);
    this.#drawPoints(brush, camera, width, height);
    this.#drawNames(brush, camera, theme);
    return canvas;
  }

  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {import('./map_camera.js').Camera} camera
   * @param {number} ratio
   * @param {string} colour
   */
  #drawContours(brush, camera, ratio, colour) {
    const { scale } = camera;
    const [left, top] = camera.toScreen(0, 0);
    brush.save();
    brush.setTransform(ratio * scale, 0, 0, -ratio * scale, ratio * left, ratio * top);
    brush.strokeStyle = colour;
    brush.lineWidth = 1 / scale;
    for (const [level, path] of this.#contours.entries()) {
      brush.globalAlpha = 0.2 + 0.14 * level;
      brush.stroke(path);
    }
    brush.restore();
  }

  /**
   * One path a colour: thousands of points are then drawn in a few milliseconds.
   * @param {CanvasRenderingContext2D} brush
   * @param {import('./map_camera.js').Camera} camera
   * @param {number} width
   * @param {number} height
   */
  #drawPoints(brush, camera, width, height) {
    const { points } = this.#map;
    const { kindOf, colour } = this.#colouring;
    const crowd = Math.sqrt((width * height) / Math.max(1, kindOf.length));
    const radius = Math.min(4.5, Math.max(1.4, crowd * 0.13)) * Math.min(1.8, camera.zoom ** 0.25);
    /** @type {Map<number, Path2D>} */
    const paths = new Map();
    for (let row = 0; row < kindOf.length; row++) {
      const [left, top] = camera.toScreen(points[row * 2], points[row * 2 + 1]);
      if (left < -radius || top < -radius || left > width + radius || top > height + radius) continue;
      let path = paths.get(kindOf[row]);
      if (!path) paths.set(kindOf[row], (path = new Path2D()));
      path.moveTo(left + radius, top);
      path.arc(left, top, radius, 0, 2 * Math.PI);
    }
    const kinds = [...paths.keys()].sort((a, b) => Number(a === this.#chosen) - Number(b === this.#chosen) || b - a);
    for (const kind of kinds) {
      brush.globalAlpha = this.#chosen === null ? 0.72 : kind === this.#chosen ? 0.95 : 0.12;
      brush.fillStyle = colour(kind);
      brush.fill(/** @type {Path2D} */ (paths.get(kind)));
    }
    brush.globalAlpha = 1;
  }

  /**
   * @param {CanvasRenderingContext2D} brush
   * @param {import('./map_camera.js').Camera} camera
   * @param {{ground: string, text: string}} theme
   */
  #drawNames(brush, camera, theme) {
    brush.font = '600 14px system-ui, sans-serif';
    brush.textAlign = 'center';
    brush.textBaseline = 'middle';
    brush.lineJoin = 'round';
    for (const [kind, { name, x, y }] of this.#names.entries()) {
      if (this.#chosen !== null && this.#chosen !== kind) continue;
      const short = name.length > 24 ? `${name.slice(0, 23)}…` : name;
      const [left, top] = camera.toScreen(x, y);
      brush.lineWidth = 4;
      brush.strokeStyle = theme.ground;
      brush.strokeText(short, left, top);
      brush.fillStyle = theme.text;
      brush.fillText(short, left, top);
    }
  }
}
