// The server at work: models, versions, and its own metrics, live.

import { button, h, select } from '../core/elements.js';
import { LineChart } from '../figures/line_chart.js';
import { drift, figures, methods, modelsIn, Readings } from '../figures/live_figures.js';
import { modelCard, table, versionsTable } from '../figures/model_facts.js';
import { reading, total } from '../figures/prometheus.js';
import { duration, figure, longDuration } from '../figures/units.js';

const PAUSE_MS = 2000;
const ALL = '';

/** @typedef {import('../figures/prometheus.js').Reading} Reading */

class ServiceView {
  #until = new AbortController();
  #readings = new Readings();
  #known = '';
  #isPaused = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {HTMLElement} root @param {Context} context */
  constructor(root, context) {
    this.context = context;
    this.charts = charts();
    this.pause = button('Pause', () => this.#setPaused(!this.#isPaused));
    this.of = select({ label: 'Figures of', options: [[ALL, 'all models']], onchange: (of) => this.#choose(of) });
    this.process = h('p', { class: 'muted' }, 'Reading the server’s metrics…');
    this.calls = h('div');
    this.models = h('div', { class: 'model-cards' });
    this.versions = h('div');
    root.append(this.#layout());
    this.#listModels();
    document.addEventListener('visibilitychange', () => this.#next(0), { signal: this.#until.signal });
    void this.#look();
  }

  close() {
    this.#until.abort();
    clearTimeout(this.#timer);
    for (const chart of Object.values(this.charts)) chart.close();
  }

  #layout() {
    const boxes = Object.values(this.charts).map(({ element }) => element);
    return h(
      'div',
      { class: 'service-view' },
      h(
        'section',
        { class: 'panel', 'aria-label': 'Live figures' },
        h('div', { class: 'row' }, this.of, this.pause),
        this.process,
        h('div', { class: 'charts' }, ...boxes),
      ),
      h(
        'section',
        { class: 'panel' },
        h(
          'div',
          null,
          h('h2', null, 'Calls'),
          h('small', null, 'Counted since the process began; rates and latencies since this view was opened.'),
        ),
        this.calls,
      ),
      h('section', { class: 'panel' }, h('h2', null, 'Versions'), this.versions),
      this.models,
    );
  }

  /** @param {string} of */
  #choose(of) {
    this.context.address.set({ of: of || null });
    for (const chart of Object.values(this.charts)) chart.clear();
    this.#next(0);
  }

  /** @param {boolean} isPaused */
  #setPaused(isPaused) {
    this.#isPaused = isPaused;
    this.pause.textContent = isPaused ? 'Go on' : 'Pause';
    this.#next(0);
  }

  /** @param {number} ms */
  #next(ms) {
    clearTimeout(this.#timer);
    if (!this.#isPaused && !document.hidden && !this.#until.signal.aborted)
      this.#timer = setTimeout(() => void this.#look(), ms);
  }

  async #look() {
    const { signal } = this.#until;
    try {
      const text = await this.context.service.metrics({ signal });
      this.#show(reading(text, performance.now() / 1000));
      this.#listModels();
      this.#next(PAUSE_MS);
    } catch (error) {
      if (signal.aborted) return;
      this.context.fail(error);
      this.#setPaused(true);
    }
  }

  /** @param {Reading} now */
  #show(now) {
    this.#listChoices(now);
    const chosen = this.of.input.value;
    /** @type {Record<string, string>} */
    const of = chosen === ALL ? {} : { model: chosen };
    const model = chosen === ALL ? this.context.model.model.name : chosen;
    const earlier = this.#readings.take(now);
    this.#describe(now);
    this.charts.drift.add(now.at, drift(now, model));
    this.charts.drift.explain(`of ${model}; 0 is like the training data`);
    const found = figures(earlier?.last ?? now, now, of);
    for (const [name, values] of Object.entries(found))
      this.charts[/** @type {keyof typeof found} */ (name)].add(now.at, values);
    this.#listCalls(methods(earlier?.first ?? now, now, of));
  }

  /** @param {Reading} now */
  #listChoices(now) {
    const names = modelsIn(now);
    const { input } = this.of;
    if ([...input.options].slice(1).every(({ value }, at) => value === names[at]) && input.options.length > names.length)
      return;
    const chosen = this.context.address.get('of') ?? input.value;
    input.replaceChildren(
      h('option', { value: ALL }, 'all models'),
      ...names.map((name) => h('option', { value: name }, name)),
    );
    input.value = names.includes(chosen) ? chosen : ALL;
  }

  /** @param {Reading} now */
  #describe(now) {
    const since = Date.now() / 1000 - total(now, 'process_start_time_seconds');
    const memory = total(now, 'process_resident_memory_bytes') / (1 << 20);
    const rejected = total(now, 'vae_rejected_total');
    const words = [
      now.worker === ''
        ? ''
        : `These are the figures of one process, worker ${now.worker}: each of the server’s workers counts its own.`,
      Number.isFinite(since) ? `Up for ${longDuration(Math.max(since, 0))}` : '',
      Number.isFinite(memory) ? `${figure(Math.round(memory))} MiB of memory` : '',
      rejected > 0 ? `${figure(rejected)} requests refused at admission` : '',
    ];
    this.process.textContent = `${words[0]} ${words.slice(1).filter(Boolean).join(' · ')}`.trim();
  }

  /** @param {import('../figures/live_figures.js').Method[]} found */
  #listCalls(found) {
    const rows = found.map(({ method, calls, failed, perSecond, median, high }) => [
      method,
      figure(calls),
      figure(failed),
      figure(perSecond),
      timeOf(median),
      timeOf(high),
    ]);
    const made = table(
      ['Method', 'Calls', 'Failed', 'A second', 'Median', '95th percentile'],
      rows,
      'Calls by method',
      [1, 2, 3, 4, 5],
    );
    keepFocus(this.calls, rows.length ? made : h('p', { class: 'muted' }, 'Nobody has called yet.'));
  }

  /** Only when something changed: what is open or chosen there stays so. */
  #listModels() {
    const { models, versions } = this.context;
    const known = JSON.stringify([models, versions]);
    if (known === this.#known) return;
    this.#known = known;
    this.versions.replaceChildren(versionsTable(versions));
    this.models.replaceChildren(...models.map(modelCard));
  }
}

/** @param {number} seconds */
const timeOf = (seconds) => (Number.isFinite(seconds) ? duration(seconds) : '–');

/** In place of what is there, whoever has the focus within. @param {HTMLElement} box @param {HTMLElement} made */
function keepFocus(box, made) {
  const had = box.contains(document.activeElement);
  box.replaceChildren(made);
  if (had) made.focus({ preventScroll: true });
}

function charts() {
  return {
    requests: new LineChart({
      title: 'Requests a second',
      lines: ['all', 'failed'],
      format: figure,
      hint: 'with those of this page',
    }),
    latency: new LineChart({
      title: 'Latency',
      lines: ['median', '95th percentile'],
      format: duration,
      hint: 'from request to answer',
    }),
    batch: new LineChart({
      title: 'Batch size',
      lines: ['rows'],
      format: figure,
      hint: 'mean rows that a graph runs at once',
    }),
    queue: new LineChart({
      title: 'Queue',
      lines: ['rows waiting', 'calls in progress'],
      format: figure,
      hint: 'at this moment',
    }),
    drift: new LineChart({
      title: 'Drift',
      lines: ['shift of the mean', 'change of variance'],
      format: figure,
      hint: '',
    }),
    cpu: new LineChart({ title: 'CPU', lines: ['cores'], format: figure, hint: 'cores in use by the process' }),
  };
}

/** @type {View} */
export const view = { name: 'service', title: 'Service', open: (root, context) => new ServiceView(root, context) };
