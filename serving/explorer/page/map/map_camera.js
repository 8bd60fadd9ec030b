/** From a map's plane to the screen and back: one scale for both directions, y upwards. */

const MOST_ZOOM = 200;

export class Camera {
  #width = 1;
  #height = 1;
  /** @type {[number, number]} */
  #centre = [0, 0];
  /** Screen pixels a unit, when all is seen. */
  #fit = 1;
  #zoom = 1;
  #bounds;

  /** @param {Bounds} bounds that are seen at zoom 1 */
  constructor(bounds) {
    this.#bounds = bounds;
    this.reset();
  }

  get scale() {
    return this.#fit * this.#zoom;
  }

  get zoom() {
    return this.#zoom;
  }

  /** Whether it is as it was at first. */
  get isReset() {
    const { left, right, bottom, top } = this.#bounds;
    return this.#zoom === 1 && this.#centre[0] === (left + right) / 2 && this.#centre[1] === (bottom + top) / 2;
  }

  get centre() {
    return this.#centre;
  }

  reset() {
    const { left, right, bottom, top } = this.#bounds;
    this.#centre = [(left + right) / 2, (bottom + top) / 2];
    this.#zoom = 1;
  }

  /**
   * @param {number} width
   * @param {number} height
   */
  resize(width, height) {
    [this.#width, this.#height] = [Math.max(1, width), Math.max(1, height)];
    const { left, right, bottom, top } = this.#bounds;
    this.#fit = Math.min(this.#width / (right - left), this.#height / (top - bottom));
  }

  /**
   * @param {number} x
   * @param {number} y
   * @param {number} zoom
   */
  look(x, y, zoom) {
    this.#centre = [x, y];
    this.#zoom = Math.min(MOST_ZOOM, Math.max(0.4, zoom));
  }

  /**
   * @param {number} x
   * @param {number} y
   * @returns {[number, number]} in pixels of the style
   */
  toScreen(x, y) {
    const { scale } = this;
    return [this.#width / 2 + (x - this.#centre[0]) * scale, this.#height / 2 - (y - this.#centre[1]) * scale];
  }

  /**
   * @param {number} left
   * @param {number} top
   * @returns {[number, number]}
   */
  toMap(left, top) {
    const { scale } = this;
    return [this.#centre[0] + (left - this.#width / 2) / scale, this.#centre[1] - (top - this.#height / 2) / scale];
  }

  /**
   * Zooms so that what is at a place of the screen stays there.
   * @param {number} factor
   * @param {number} [left]
   * @param {number} [top]
   */
  zoomBy(factor, left = this.#width / 2, top = this.#height / 2) {
    const [x, y] = this.toMap(left, top);
    this.look(this.#centre[0], this.#centre[1], this.#zoom * factor);
    const [nowX, nowY] = this.toMap(left, top);
    this.#centre = [this.#centre[0] + x - nowX, this.#centre[1] + y - nowY];
  }

  /**
   * @param {number} right pixels
   * @param {number} down pixels
   */
  pan(right, down) {
    this.#centre = [this.#centre[0] - right / this.scale, this.#centre[1] + down / this.scale];
  }
}

/** @typedef {{left: number, right: number, bottom: number, top: number}} Bounds */

/**
 * Where nearly all points are, with some room; a few that are far out are not let to spoil it.
 * @param {Float32Array} points [N, 2]
 * @returns {Bounds}
 */
export function boundsOf(points) {
  const [left, right] = range(points, 0);
  const [bottom, top] = range(points, 1);
  const room = 0.08 * Math.max(right - left, top - bottom);
  return { left: left - room, right: right + room, bottom: bottom - room, top: top + room };
}

/**
 * @param {Float32Array} points
 * @param {number} axis
 */
function range(points, axis) {
  const sorted = points.filter((_, at) => at % 2 === axis).sort();
  const cut = Math.floor(sorted.length * 0.003);
  const [low, high] = [sorted[cut] ?? -1, sorted[sorted.length - 1 - cut] ?? 1];
  const half = Math.max((high - low) / 2, 1e-3 * Math.max(1, Math.abs(low)));
  return [(low + high) / 2 - half, (low + high) / 2 + half];
}
