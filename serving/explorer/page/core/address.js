/**
 * The state of the page in the address's fragment: `#view=map&model=digits&x=0.5`. Which model is kept from view to
 * view; everything else belongs to one view, and is remembered while another one is open.
 */

const KEPT = ['model', 'version'];
/** Browsers refuse many changes of the address in a short time. */
const WRITE_MS = 250;

/** @typedef {Record<string, string | number | null>} Change */

/** @implements {Address} */
export class FragmentAddress {
  /** @type {(() => void) | null} */
  onchange = null;
  /** Told when the view or the model of the address is another one. */
  onmove = () => {};
  /** @type {Map<string, URLSearchParams>} */
  #remembered = new Map();
  #now = read();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #writing;

  constructor() {
    addEventListener('hashchange', () => this.#changed());
    addEventListener('popstate', () => this.#changed());
  }

  get view() {
    return this.#now.get('view') ?? 'map';
  }

  /** @param {string} key */
  get(key) {
    return this.#now.get(key);
  }

  /**
   * @param {Change} change
   * @param {{push?: boolean}} [options]
   */
  set(change, { push = false } = {}) {
    const next = changed(this.#now, change);
    if (next.toString() === this.#now.toString()) return;
    this.#now = next;
    if (push) this.#write('pushState');
    else this.#writing ??= setTimeout(() => this.#write('replaceState'), WRITE_MS);
  }

  /** @param {'pushState' | 'replaceState'} how */
  #write(how) {
    clearTimeout(this.#writing);
    this.#writing = undefined;
    history[how](null, '', `#${this.#now}`);
  }

  /**
   * @param {string} view
   * @param {Change} [change]
   */
  href(view, change = {}) {
    const next = new URLSearchParams(view === this.view ? this.#now : this.#remembered.get(view));
    next.set('view', view);
    for (const key of KEPT) {
      const value = this.#now.get(key);
      if (value === null) next.delete(key);
      else next.set(key, value);
    }
    return `#${changed(next, change)}`;
  }

  /**
   * @param {string} view
   * @param {Change} [change]
   */
  go(view, change = {}) {
    const href = this.href(view, change);
    if (this.#writing) this.#write('replaceState');
    location.hash = href;
  }

  /**
   * Another model: what the views remember of the last one means nothing there.
   * @param {string} name
   * @param {string} version the newest if empty
   */
  choose(name, version) {
    const next = new URLSearchParams({ view: this.view, model: name });
    if (version) next.set('version', version);
    this.#remembered.clear();
    this.#now = next;
    this.#write('pushState');
    this.onmove();
  }

  #changed() {
    clearTimeout(this.#writing);
    this.#writing = undefined;
    const [before, after] = [this.#now, read()];
    if (before.toString() === after.toString()) return;
    this.#remembered.set(this.view, before);
    this.#now = after;
    const moved = ['view', ...KEPT].some((key) => before.get(key) !== after.get(key));
    if (moved || !this.onchange) this.onmove();
    else this.onchange();
  }
}

const read = () => new URLSearchParams(location.hash.slice(1));

/**
 * @param {URLSearchParams} from
 * @param {Change} change
 */
function changed(from, change) {
  const next = new URLSearchParams(from);
  for (const [key, value] of Object.entries(change)) {
    if (value === null) next.delete(key);
    else next.set(key, String(value));
  }
  return next;
}
