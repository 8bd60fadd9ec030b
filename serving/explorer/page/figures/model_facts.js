// What the service tells of its models and their versions, as tables.

import { h } from '../core/elements.js';
import { bytes, figure, spaced } from './units.js';

/** @type {Record<string, [string, string]>} the class, and the words */
const STATES = {
  VERSION_STATE_READY: ['ready', 'in service'],
  VERSION_STATE_LOADING: ['loading', 'loading'],
  VERSION_STATE_REFUSED: ['refused', 'refused'],
  VERSION_STATE_AVAILABLE: ['available', 'not chosen'],
  VERSION_STATE_UNLOADING: ['loading', 'unloading'],
  VERSION_STATE_MISSING: ['refused', 'missing'],
};

/** @param {string[]} heads @param {(Node | string)[][]} rows @param {string} caption
 * @param {number[]} numbers columns */
export function table(heads, rows, caption, numbers = []) {
  const classOf = (/** @type {number} */ column) => (numbers.includes(column) ? 'number' : undefined);
  return h(
    'div',
    { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption },
    h(
      'table',
      null,
      h('caption', { class: 'hidden-words' }, caption),
      h('thead', null, h('tr', null, ...heads.map((head, i) => h('th', { scope: 'col', class: classOf(i) }, head)))),
      h(
        'tbody',
        null,
        ...rows.map((row) => h('tr', null, ...row.map((cell, i) => h('td', { class: classOf(i) }, cell)))),
      ),
    ),
  );
}

/** @param {ModelVersion[]} versions */
export function versionsTable(versions) {
  const rows = versions.map(({ name, version, state, reason, digest, memoryBytes, isDefault }) => {
    const [kind, words] = STATES[state] ?? ['available', 'unknown'];
    return [
      name,
      isDefault ? h('span', null, version, ' ', h('span', { class: 'tag' }, 'default')) : version,
      h(
        'div',
        null,
        h('span', { class: `state ${kind}` }, words),
        reason ? h('small', { class: 'reason' }, reason) : null,
      ),
      digest ? shortDigest(digest) : '–',
      memoryBytes && memoryBytes !== '0' ? bytes(Number(memoryBytes)) : '–',
    ];
  });
  return table(['Model', 'Version', 'State', 'Digest', 'Memory'], rows, 'Versions that the server knows of', [4]);
}

/** Its beginning; all of it on demand. @param {string} digest */
function shortDigest(digest) {
  return h(
    'details',
    { class: 'digest' },
    h('summary', null, h('code', null, digest.slice(0, 12))),
    h('code', null, digest),
  );
}

/** One model: what it is, and the figures of its training. @param {Model} model */
export function modelCard(model) {
  const {
    image: { channels, height, width, valueMin = 0, valueMax = 0 },
    latentShape,
    pools = [],
    metrics = [],
  } = model;
  const created = model.created ? new Date(model.created).toLocaleString() : '–';
  const kinds = pools.filter(({ aggregate }) => !aggregate);
  /** @type {[string, string][]} */
  const facts = [
    ['Kind', spaced(model.kind)],
    ['Trained on', model.dataset || '–'],
    [
      'Images',
      `${width} × ${height}, ${channels === 1 ? 'grey' : `${channels} channels`}, values ${valueMin} to ${valueMax}`,
    ],
    ['Latents', latentShape.join(' × ')],
    ['Prior', spaced(model.prior)],
    ['Likelihood', spaced(model.likelihood)],
    [
      'Pools',
      kinds.length
        ? kinds
            .map(({ name }) => name)
            .slice(0, 20)
            .join(', ') + (kinds.length > 20 ? ' …' : '')
        : 'none',
    ],
    ['Score', model.offersScore ? 'offered' : 'not offered'],
    ['Runs on', model.executionProvider || '–'],
    ['Rows a request', `at most ${Number(model.maxRows).toLocaleString('en')}`],
    ['Sealed', created],
  ];
  return h(
    'section',
    { class: 'panel model-card' },
    h('h2', null, `${model.model.name} · version ${model.model.version ?? 0}`),
    h('dl', null, ...facts.flatMap(([name, value]) => [h('dt', null, name), h('dd', null, value)])),
    metrics.length ? metricsTable(metrics) : h('p', { class: 'muted' }, 'Its bundle tells no metrics of training.'),
    model.gates?.length ? gatesTable(model.gates) : h('p', { class: 'muted' }, 'Its bundle tells of no gates.'),
  );
}

/** @param {Gate[]} gates */
function gatesTable(gates) {
  const passed = gates.filter((gate) => gate.passed).length;
  const rows = gates.map(({ name, wanted = '', came = '', passed: isPassed, forced }) => [
    h(
      'div',
      null,
      spaced(name),
      ' ',
      h(
        'span',
        { class: `state ${isPassed ? 'ready' : 'refused'}` },
        isPassed ? 'passed' : forced ? 'failed, overridden' : 'failed',
      ),
    ),
    wanted,
    came,
  ]);
  return h(
    'details',
    { open: passed < gates.length },
    h('summary', null, `Gates before it was sealed (${passed} of ${gates.length} passed)`),
    table(['Gate', 'Wanted', 'Came'], rows, 'Gates before it was sealed'),
  );
}

/** @param {Metric[]} metrics */
function metricsTable(metrics) {
  const rows = metrics.map(({ name, value = 0, standardError }) => [
    spaced(name),
    figure(Number(value)),
    standardError === undefined ? '' : `± ${figure(Number(standardError))}`,
  ]);
  return h(
    'details',
    { open: metrics.length <= 12 },
    h('summary', null, `Metrics of training (${metrics.length})`),
    table(['Metric', 'Value', 'Standard error'], rows, 'Metrics of training', [1, 2]),
    h('small', null, 'Nats per image unless the name says otherwise.'),
  );
}
