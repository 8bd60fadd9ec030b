/** Builds the page's elements. What is made here has a label, so that a screen reader can say what it is. */

let made = 0;

const FOCUSABLE = /** @type {'button'} */ ('button:enabled, input');

/** @param {string} stem */
export const uniqueId = (stem) => `${stem}-${++made}`;

/**
 * An element; properties named on… are listeners, those with a dash or `role`, `for` and `class` attributes.
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any> | null} [props]
 * @param {...(Node | string | number | null | false | undefined)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function h(tag, props, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (name.includes('-') || !(name in element)) element.setAttribute(name, value === true ? '' : value);
    else /** @type {any} */ (element)[name] = value;
  }
  for (const child of children) {
    if (child !== null && child !== undefined && child !== false)
      element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/**
 * @param {string} text
 * @param {(event: MouseEvent) => void} onclick
 * @param {Record<string, any>} [props] `aria-label` where the text alone does not say it; `class: 'primary'`
 */
export const button = (text, onclick, props) => h('button', { type: 'button', onclick, ...props }, text);

/**
 * A control under its label; `.input` is the control.
 * @template {HTMLElement} T
 * @param {string} label
 * @param {T} control
 * @param {string} [hint]
 * @returns {HTMLDivElement & {input: T}}
 */
export function field(label, control, hint) {
  control.id ||= uniqueId('field');
  const words = hint ? h('small', { id: `${control.id}-hint` }, hint) : null;
  if (words) control.setAttribute('aria-describedby', words.id);
  const box = h('div', { class: 'field' }, h('label', { for: control.id }, label), control, words);
  return Object.assign(box, { input: control });
}

/**
 * A range with its value beside it. `.show(value)` moves it without telling `oninput`.
 * @param {{label: string, min: number, max: number, step?: number | 'any', value: number,
 *   format?: (value: number) => string, oninput?: (value: number) => void}} options
 */
export function slider({ label, min, max, step = 'any', value, format = (v) => v.toFixed(2), oninput }) {
  const input = h('input', { type: 'range', min: String(min), max: String(max), step: String(step) });
  const out = h('output', { class: 'value' });
  const told = () => {
    out.value = format(input.valueAsNumber);
    input.setAttribute('aria-valuetext', out.value);
  };
  /** @param {number} next */
  const show = (next) => {
    input.value = String(next);
    told();
  };
  input.addEventListener('input', () => {
    told();
    oninput?.(input.valueAsNumber);
  });
  const box = field(label, input);
  out.setAttribute('for', input.id);
  box.classList.add('slider');
  box.querySelector('label')?.append(' ', out);
  show(value);
  return Object.assign(box, { input, show });
}

/**
 * @param {{label: string, options: (string | [string, string])[], value?: string, hint?: string,
 *   onchange?: (value: string) => void}} options each a value, or a value and its text
 */
export function select({ label, options, value, hint, onchange }) {
  const input = h('select', { onchange: () => onchange?.(input.value) });
  for (const option of options) {
    const [key, text] = typeof option === 'string' ? [option, option] : option;
    input.append(h('option', { value: key }, text));
  }
  if (value !== undefined && [...input.options].some((option) => option.value === value)) input.value = value;
  return field(label, input, hint);
}

/**
 * @param {{label: string, value: string | number, type?: string, min?: number, max?: number, step?: number,
 *   hint?: string, onchange?: (value: string) => void}} options
 */
export function entry({ label, value, type = 'text', min, max, step, hint, onchange }) {
  const input = h('input', { type, onchange: () => onchange?.(input.value) });
  for (const [name, limit] of Object.entries({ min, max, step }))
    if (limit !== undefined) input.setAttribute(name, String(limit));
  input.value = String(value);
  return field(label, input, hint);
}

/**
 * A box to tick, its label beside it.
 * @param {{label: string, checked?: boolean, onchange?: (checked: boolean) => void}} options
 */
export function tick({ label, checked = false, onchange }) {
  const input = h('input', { type: 'checkbox', checked, onchange: () => onchange?.(input.checked) });
  const box = h('label', { class: 'tick' }, input, ' ', label);
  return Object.assign(box, { input });
}

/**
 * Puts the focus where it was in a list that was made anew: on a keyboard it would be lost.
 * @param {Element | null} list
 * @param {number} at the item
 */
export const refocus = (list, at) =>
  [...(list?.children ?? [])]
    .slice(0, at + 1)
    .at(-1)
    ?.querySelector(FOCUSABLE)
    ?.focus();

/**
 * Hands a file to the user.
 * @param {Blob} blob
 * @param {string} name
 */
export function download(blob, name) {
  const href = URL.createObjectURL(blob);
  h('a', { href, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(href), 10_000);
}

/** Whether things should not move by themselves. */
export const prefersStill = () => matchMedia('(prefers-reduced-motion: reduce)').matches;
