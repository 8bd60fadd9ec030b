// Where the user's pictures come from: chosen files, dropped ones, the clipboard.

import { h, uniqueId } from '../core/elements.js';

/** A chooser of pictures, which also takes what is dropped onto `target` and what is pasted into the page.
 * @param {{target: HTMLElement, label: string, hint: string, multiple?: boolean,
 *   take: (files: File[]) => void}} options */
export function pictureSources({ target, label, hint, multiple = false, take }) {
  const until = new AbortController();
  const { signal } = until;
  const id = uniqueId('file');
  const about = { type: 'file', accept: 'image/*', multiple, id, class: 'hidden-words' };
  const input = h('input', { ...about, 'aria-describedby': `${id}-hint` });
  input.addEventListener('change', () => {
    if (input.files?.length) take([...input.files]);
    input.value = ''; // the same file may be chosen again
  });
  /** @param {DataTransfer | null} data whether it held files */
  const offered = (data) => {
    const files = [...(data?.files ?? [])];
    if (files.length) take(multiple ? files : files.slice(0, 1));
    return files.length > 0;
  };
  document.addEventListener('paste', (event) => offered(event.clipboardData) && event.preventDefault(), { signal });
  takeDrops(target, offered, signal);
  const element = h(
    'div',
    { class: 'file' },
    input,
    h('label', { class: 'button', for: id }, label),
    h('small', { id: `${id}-hint` }, hint),
  );
  return { element, close: () => until.abort() };
}

/** @param {HTMLElement} target @param {(data: DataTransfer | null) => void} offered @param {AbortSignal} signal */
function takeDrops(target, offered, signal) {
  let depth = 0; // of elements that the pointer is within
  const mark = (/** @type {number} */ change) => {
    depth = Math.max(0, depth + change);
    target.classList.toggle('dropping', depth > 0);
  };
  target.addEventListener('dragenter', () => mark(1), { signal });
  target.addEventListener('dragleave', () => mark(-1), { signal });
  target.addEventListener('dragover', (event) => event.preventDefault(), { signal });
  const drop = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    mark(-depth);
    offered(event.dataTransfer);
  };
  target.addEventListener('drop', drop, { signal });
}
