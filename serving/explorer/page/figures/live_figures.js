// What two readings of the metrics say of the time between them.

import { matching, mean, quantile, rate, total } from './prometheus.js';

/** @typedef {import('./prometheus.js').Reading} Reading */
/** @typedef {{method: string, calls: number, failed: number, perSecond: number, median: number,
 *   high: number}} Method */

const DURATION = 'vae_request_duration_seconds';

/** The charts' figures; NaN where there is none, as in a time without requests.
 * @param {Reading} before @param {Reading} now of the same process @param {Record<string, string>} of labels */
export function figures(before, now, of) {
  const answered = rate(before, now, 'vae_requests_total', of);
  const well = rate(before, now, 'vae_requests_total', { ...of, code: 'OK' });
  return {
    requests: [answered, Math.max(answered - (well || 0), 0)],
    latency: [quantile(0.5, before, now, DURATION, of), quantile(0.95, before, now, DURATION, of)],
    batch: [mean(before, now, 'vae_batch_rows', of)],
    queue: [total(now, 'vae_queue_rows', of), total(now, 'vae_inflight_requests', of)],
    cpu: [rate(before, now, 'process_cpu_seconds_total')],
  };
}

/** How far the posteriors of live images lie from the training set's; NaN before a hundred images.
 * @param {Reading} now @param {string} model */
export const drift = (now, model) =>
  ['mean_shift', 'variance_log_ratio'].map((statistic) => total(now, 'vae_latent_drift', { model, statistic }));

/** Each method that was called since the process began; its rate and latency are of the time between the readings.
 * @param {Reading} before @param {Reading} now @param {Record<string, string>} of @returns {Method[]} */
export function methods(before, now, of) {
  const names = new Set(matching(now, 'vae_requests_total', of).map(({ labels }) => labels.method));
  return [...names]
    .map((method) => {
      const labels = { ...of, method };
      const calls = total(now, 'vae_requests_total', labels);
      return {
        method,
        calls,
        failed: calls - (total(now, 'vae_requests_total', { ...labels, code: 'OK' }) || 0),
        perSecond: rate(before, now, 'vae_requests_total', labels),
        median: quantile(0.5, before, now, DURATION, labels),
        high: quantile(0.95, before, now, DURATION, labels),
      };
    })
    .filter(({ calls }) => calls > 0)
    .sort((a, b) => b.calls - a.calls);
}

/** The models that have figures. @param {Reading} now */
export const modelsIn = (now) =>
  [...new Set(matching(now, 'vae_model_ready').map(({ labels }) => labels.model))].sort();

/** The page of one process after the other; workers behind one port, or a restart, change which it is. */
export class Readings {
  /** @type {Map<string, {first: Reading, last: Reading}>} */
  #of = new Map();

  /** Takes the newest; gives what came before it of the same process, if anything did.
   * @param {Reading} now */
  take(now) {
    const known = this.#of.get(now.process);
    this.#of.set(now.process, { first: known?.first ?? now, last: now });
    return known ?? null;
  }

  /** How many processes have answered. */
  get processes() {
    return this.#of.size;
  }
}
