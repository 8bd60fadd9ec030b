/** Errors in words, for somebody who does not know the API. */

import { ServiceError } from './service.js';

/** What a code of the service means to who looks at the page; the service's own words follow. */
/** @type {Record<string, string>} */
const MEANINGS = {
  invalid_argument: 'The server does not take this',
  not_found: 'The server does not know this',
  failed_precondition: 'This model cannot do this',
  unimplemented: 'This server cannot do this',
  resource_exhausted: 'The server is busy, try again in a moment',
  deadline_exceeded: 'The server took too long',
  unavailable: 'The server is not ready',
  unauthenticated: 'The server wants a token',
  permission_denied: 'The server does not allow this',
  internal: 'The server failed at this; its log says more',
};

/** @param {unknown} error */
export function inWords(error) {
  if (error instanceof ServiceError) {
    const meaning = MEANINGS[error.code] ?? 'The server could not do this';
    const said = error.message.replace(/\.$/, '');
    return error.code === 'internal' ? `${meaning}.` : `${meaning}: ${said}.`;
  }
  if (error instanceof Error && error.name === 'Error') return error.message;
  return 'The page failed at this. The browser’s console says more.';
}

/** @param {unknown} error */
export const isAbort = (error) => error instanceof DOMException && error.name === 'AbortError';

/** @param {Model} model */
export const titleOf = (model) => `${model.model.name} · version ${model.model.version ?? 0}`;
