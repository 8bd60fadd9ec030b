// The service's metrics: the Prometheus text format, and what two readings of it say.
// Source of the format: https://prometheus.io/docs/instrumenting/exposition_formats/

/** @typedef {{name: string, labels: Record<string, string>, value: number}} Sample */
/** @typedef {{at: number, samples: Sample[], process: string, worker: string}} Reading
 *  `at` is in seconds; `process` tells one process from another, and from itself after a restart. */

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)(?:\s|$)/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
const ESCAPED = { '\\\\': '\\', '\\"': '"', '\\n': '\n' };

/** Every sample of a page; lines that are none are passed over.
 * @param {string} text @returns {Sample[]} */
export function parse(text) {
  const samples = [];
  for (const line of text.split('\n')) {
    const found = line.startsWith('#') ? null : LINE.exec(line);
    if (!found) continue;
    /** @type {Record<string, string>} */
    const labels = Object.create(null);
    for (const [, name, value] of (found[2] ?? '').matchAll(LABEL)) {
      labels[name] = value.replace(/\\[\\"n]/g, (pair) => ESCAPED[/** @type {'\\n'} */ (pair)]);
    }
    samples.push({ name: found[1], labels, value: number(found[3]) });
  }
  return samples;
}

/** @param {string} text */
function number(text) {
  if (/^[+-]?Inf$/i.test(text)) return text.startsWith('-') ? -Infinity : Infinity;
  return Number(text);
}

/** A page read at a time in seconds.
 * @param {string} text @param {number} at @returns {Reading} */
export function reading(text, at) {
  const samples = parse(text);
  const started = samples.find((sample) => sample.name === 'process_start_time_seconds')?.value;
  const worker = samples.find((sample) => 'worker' in sample.labels)?.labels.worker ?? '';
  return { at, samples, worker, process: `${worker}/${started ?? ''}` };
}

/** The values of a metric, by whatever distinguishes them; labels that are given must match.
 * @param {Reading} read @param {string} name @param {Record<string, string>} [labels] */
export function matching(read, name, labels = {}) {
  const wanted = Object.entries(labels);
  return read.samples.filter(
    (sample) => sample.name === name && wanted.every(([label, value]) => sample.labels[label] === value),
  );
}

/** Their sum; NaN where there is none.
 * @param {Reading} read @param {string} name @param {Record<string, string>} [labels] */
export function total(read, name, labels) {
  const found = matching(read, name, labels);
  return found.length ? found.reduce((sum, sample) => sum + sample.value, 0) : NaN;
}

/** How much a counter grew from one reading of a process to the next; NaN if either has none.
 * @param {Reading} before @param {Reading} now @param {string} name @param {Record<string, string>} [labels] */
export function growth(before, now, name, labels) {
  const grown = total(now, name, labels) - (total(before, name, labels) || 0);
  return grown < 0 ? NaN : grown;
}

/** Growth a second. @param {Reading} before @param {Reading} now @param {string} name
 * @param {Record<string, string>} [labels] */
export function rate(before, now, name, labels) {
  return growth(before, now, name, labels) / (now.at - before.at);
}

/** The mean of what a histogram saw between the readings; NaN if it saw nothing.
 * @param {Reading} before @param {Reading} now @param {string} name @param {Record<string, string>} [labels] */
export function mean(before, now, name, labels) {
  return growth(before, now, `${name}_sum`, labels) / (growth(before, now, `${name}_count`, labels) || NaN);
}

/** A quantile of what a histogram saw between the readings, as Prometheus' histogram_quantile estimates it:
 * linear within a bucket, the last bound for what lies beyond all; NaN if it saw nothing.
 * @param {number} q @param {Reading} before @param {Reading} now @param {string} name
 * @param {Record<string, string>} [labels] */
export function quantile(q, before, now, name, labels) {
  const buckets = `${name}_bucket`;
  const earlier = cumulated(before, buckets, labels);
  const bounds = [...cumulated(now, buckets, labels)]
    .map(([bound, count]) => ({ bound, count: count - (earlier.get(bound) ?? 0) }))
    .sort((a, b) => a.bound - b.bound);
  const all = bounds.at(-1)?.count ?? 0;
  if (!(all > 0)) return NaN;
  const place = bounds.findIndex(({ count }) => count >= q * all);
  if (bounds[place].bound === Infinity) return bounds[place - 1]?.bound ?? NaN;
  const low = place ? bounds[place - 1] : { bound: 0, count: 0 };
  const inside = bounds[place].count - low.count;
  return low.bound + (bounds[place].bound - low.bound) * ((q * all - low.count) / inside);
}

/** Counts up to each bound, summed over series.
 * @param {Reading} read @param {string} name @param {Record<string, string>} [labels]
 * @returns {Map<number, number>} */
function cumulated(read, name, labels) {
  const counts = new Map();
  for (const sample of matching(read, name, labels)) {
    const bound = number(sample.labels.le);
    counts.set(bound, (counts.get(bound) ?? 0) + sample.value);
  }
  return counts;
}
