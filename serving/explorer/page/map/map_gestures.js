/** What pointer, wheel and keys mean on a map. */

const CLICK_PIXELS = 5;
const STEP = 0.02;
const LONG_STEP = 0.1;
const KEY_ZOOM = 1.4;

/**
 * @typedef {object} Wishes
 * @property {(left: number, top: number, event: PointerEvent) => void} probe the place under the pointer
 * @property {(right: number, up: number) => void} step the probe by shares of what is seen
 * @property {(left: number | null, top?: number) => void} anchor a click there; null: where the probe is
 * @property {(factor: number, left?: number, top?: number) => void} zoom
 * @property {(right: number, down: number) => void} pan
 * @property {() => void} reset
 * @property {(isOn: boolean) => void} drag a walk begins or ends
 */

/**
 * @param {HTMLElement} element
 * @param {Wishes} wishes
 * @param {() => boolean} moves whether a drag moves the map, and not the probe
 */
export function listen(element, wishes, moves) {
  const hands = new Hands(element, wishes, moves);
  element.addEventListener('pointerdown', (event) => hands.press(event));
  element.addEventListener('pointermove', (event) => hands.move(event));
  element.addEventListener('pointerup', (event) => hands.release(event));
  element.addEventListener('pointercancel', (event) => hands.release(event));
  element.addEventListener('contextmenu', (event) => event.preventDefault());
  element.addEventListener(
    'wheel',
    (event) => {
      event.preventDefault();
      const { left, top } = placeIn(element, event);
      const lines = event.deltaMode === 0 ? event.deltaY / 100 : event.deltaY / 3;
      wishes.zoom(Math.exp(-Math.max(-3, Math.min(3, lines)) * 0.22), left, top);
    },
    { passive: false },
  );
  element.addEventListener('keydown', (event) => {
    if (!event.ctrlKey && !event.metaKey && !event.altKey && key(event, wishes)) event.preventDefault();
  });
}

/** @typedef {{left: number, top: number}} Place */

/**
 * @param {HTMLElement} element
 * @param {MouseEvent} event
 * @returns {Place}
 */
function placeIn(element, event) {
  const box = element.getBoundingClientRect();
  return { left: event.clientX - box.left, top: event.clientY - box.top };
}

/** The fingers or the mouse on a map. */
class Hands {
  #element;
  #wishes;
  #moves;
  /** @type {Map<number, Place>} */
  #fingers = new Map();
  /** @type {(Place & {pans: boolean, isClick: boolean}) | null} */
  #press = null;

  /**
   * @param {HTMLElement} element
   * @param {Wishes} wishes
   * @param {() => boolean} moves
   */
  constructor(element, wishes, moves) {
    this.#element = element;
    this.#wishes = wishes;
    this.#moves = moves;
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button > 2) return;
    this.#element.setPointerCapture(event.pointerId);
    const at = placeIn(this.#element, event);
    this.#fingers.set(event.pointerId, at);
    if (this.#fingers.size > 1) {
      if (this.#press) this.#press.isClick = false;
      return;
    }
    const pans = this.#moves() || event.button !== 0 || event.shiftKey;
    this.#press = { ...at, pans, isClick: event.button === 0 };
    if (pans) return;
    this.#wishes.drag(true);
    this.#wishes.probe(at.left, at.top, event);
  }

  /** @param {PointerEvent} event */
  move(event) {
    const [at, press] = [placeIn(this.#element, event), this.#press];
    const before = this.#fingers.get(event.pointerId);
    if (!before) {
      if (event.pointerType === 'mouse') this.#wishes.probe(at.left, at.top, event);
      return;
    }
    if (press && Math.hypot(at.left - press.left, at.top - press.top) > CLICK_PIXELS) press.isClick = false;
    if (this.#fingers.size === 2) this.#pinch(event.pointerId, before, at);
    else if (press?.pans) this.#wishes.pan(at.left - before.left, at.top - before.top);
    else this.#wishes.probe(at.left, at.top, event);
    this.#fingers.set(event.pointerId, at);
  }

  /**
   * @param {number} moved
   * @param {Place} before
   * @param {Place} now
   */
  #pinch(moved, before, now) {
    const other = [...this.#fingers].find(([id]) => id !== moved)?.[1];
    if (!other) return;
    const apart = (/** @type {Place} */ at) => Math.max(10, Math.hypot(at.left - other.left, at.top - other.top));
    this.#wishes.pan((now.left - before.left) / 2, (now.top - before.top) / 2);
    this.#wishes.zoom(apart(now) / apart(before), (now.left + other.left) / 2, (now.top + other.top) / 2);
  }

  /** @param {PointerEvent} event */
  release(event) {
    if (!this.#fingers.delete(event.pointerId) || this.#fingers.size) return;
    this.#wishes.drag(false);
    if (this.#press?.isClick && event.type === 'pointerup') this.#wishes.anchor(this.#press.left, this.#press.top);
    this.#press = null;
  }
}

/**
 * @param {KeyboardEvent} event
 * @param {Wishes} wishes
 * @returns {boolean} whether the key means something here
 */
function key(event, wishes) {
  const by = event.shiftKey ? LONG_STEP : STEP;
  /** @type {Record<string, () => void>} */
  const keys = {
    ArrowLeft: () => wishes.step(-by, 0),
    ArrowRight: () => wishes.step(by, 0),
    ArrowUp: () => wishes.step(0, by),
    ArrowDown: () => wishes.step(0, -by),
    '+': () => wishes.zoom(KEY_ZOOM),
    '=': () => wishes.zoom(KEY_ZOOM),
    '-': () => wishes.zoom(1 / KEY_ZOOM),
    0: () => wishes.reset(),
    Enter: () => wishes.anchor(null),
    ' ': () => wishes.anchor(null),
  };
  if (!Object.hasOwn(keys, event.key)) return false;
  keys[event.key]();
  return true;
}
