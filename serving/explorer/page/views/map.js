/** The map of a model's latent space: any place of it is decoded, live. */

import { button, h, select } from '../core/elements.js';
import { pointsFromText, pointsToText } from '../core/points.js';
import { latentSize } from '../core/tensors.js';
import { loadMap } from '../map/latent_map.js';
import { LiveDecoder } from '../parts/live_decoder.js';
import { anchorList, anchorsFromText, anchorsToText, LARGEST, MOST_ANCHORS, short } from '../map/map_anchors.js';
import { boundsOf } from '../map/map_camera.js';
import { MapCanvas } from '../map/map_canvas.js';
import { legendOf } from '../map/map_legend.js';
import { middleOf, nameOfPlace, reachOf, wordsOfMap, wordsOfPlace } from '../map/map_places.js';
import { colouringOf, onTheme, waysToColour } from '../map/palette.js';

const KEYS = 'Arrow keys move the cross, with Shift further; Enter sets an anchor; plus and minus zoom, 0 shows all.';
const QUIET_MS = 500;
const MOST_AXES = 256;

/** @type {View} */
export const view = {
  name: 'map',
  title: 'Map',
  open(root, context) {
    const opened = new MapView(root, context);
    void opened.start();
    return opened;
  },
};

class MapView {
  #root;
  #context;
  #loading = new AbortController();
  #decoder;
  /** @type {(() => void)[]} */
  #closing = [];
  #picture = h('canvas', { class: 'picture big', role: 'img', 'aria-label': 'The decoded image at the cross' });
  #where = h('p', { class: 'where' });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #speaking;
  /** The label of the axis that was changed last. */
  #focused = '';

  /**
   * @param {HTMLElement} root
   * @param {Context} context
   */
  constructor(root, context) {
    this.#root = root;
    this.#context = context;
    this.#decoder = new LiveDecoder(context);
  }

  close() {
    this.#loading.abort();
    this.#decoder.stop();
    clearTimeout(this.#speaking);
    for (const close of this.#closing.splice(0)) close();
  }

  async start() {
    const { address } = this.#context;
    this.#root.replaceChildren(h('p', { class: 'empty' }, 'Asking for the map…'));
    const axes = (address.get('axes') ?? '').split('-').map((text) => Number(text) - 1);
    const wanted = axes.length === 2 && axes.every((axis) => Number.isInteger(axis) && axis >= 0) ? axes : null;
    try {
      const map = await loadMap(this.#context, this.#loading.signal, /** @type {[number, number] | null} */ (wanted));
      if (!this.#loading.signal.aborted) this.#show(map);
    } catch (error) {
      this.#root.replaceChildren(h('p', { class: 'empty' }, 'There is no map to be shown.'));
      this.#context.fail(error);
    }
  }

  /** @param {import('../map/latent_map.js').LatentMap} map */
  #show(map) {
    const { address } = this.#context;
    const ways = waysToColour(map);
    const by = ways.find(([way]) => way === address.get('colour'))?.[0] ?? ways[0][0];
    const canvas = new MapCanvas(map, boundsOf(map.points), colouringOf(map, by));
    canvas.element.setAttribute('aria-label', `Map of ${map.points.length / 2} points`);
    canvas.anchors = anchorsFromText(address.get('anchors'));
    const anchors = anchorList(this.#context, map, canvas.anchors, () => {
      address.set({ anchors: canvas.anchors.length ? anchorsToText(canvas.anchors) : null });
      canvas.draw();
    });
    this.#closing.push(() => canvas.close(), anchors.close);
    [canvas.probe.x, canvas.probe.y] = middleOf(map);
    this.#restore(canvas);
    this.#follow(map, canvas);
    this.#begin(map, canvas);
    canvas.onanchor = (x, y) => {
      if (canvas.anchors.length >= MOST_ANCHORS) return this.#context.say(`There are ${MOST_ANCHORS} anchors already.`);
      canvas.anchors.push({ name: nameOfPlace(map, x, y, canvas.anchors.length), x, y });
      anchors.update();
      this.#context.say(`Anchor ${canvas.anchors.length} set.`);
    };
    this.#root.replaceChildren(
      h(
        'div',
        { class: 'columns' },
        h(
          'section',
          { class: 'panel map-panel', 'aria-label': 'Map' },
          ...this.#controls(map, canvas, ways, by),
          wordsOfMap(map),
          h('p', { class: 'muted small', id: 'map-keys' }, 'Point at the map to decode a place, drag to walk. ', KEYS),
        ),
        h('div', { class: 'column' }, this.#probePanel(map, canvas), anchors.element),
      ),
    );
  }

  /**
   * What a shared address says of the cross and of the part that is seen.
   * @param {MapCanvas} canvas
   */
  #restore(canvas) {
    const { address } = this.#context;
    const numbers = (/** @type {string} */ key) =>
      (address.get(key) ?? '')
        .split(',')
        .map((text) => (text && Math.abs(Number(text)) <= LARGEST ? Number(text) : NaN));
    const [[x, y], [left, top, zoom]] = [numbers('probe'), numbers('look')];
    if (Number.isFinite(x) && Number.isFinite(y)) canvas.probe = { x, y };
    if ([left, top, zoom].every(Number.isFinite)) canvas.camera.look(left, top, zoom);
    canvas.onlook = () => {
      const { camera } = canvas;
      const seen = [...camera.centre, camera.zoom].map(short).join(',');
      address.set({ look: camera.isReset ? null : seen });
    };
  }

  /**
   * Decodes wherever the cross goes.
   * @param {import('../map/latent_map.js').LatentMap} map
   * @param {MapCanvas} canvas
   */
  #follow(map, canvas) {
    const reach = reachOf(map);
    canvas.onprobe = async (x, y, at, isLed) => {
      const words = wordsOfPlace(map, x, y, reach);
      this.#where.textContent = words;
      this.#context.address.set({ point: null, probe: `${short(x)},${short(y)}` });
      if (!isLed) this.#speak(`${x.toFixed(2)}, ${y.toFixed(2)}. ${words}.`);
      if (!(await this.#decoder.draw(map.latentAt(x, y), this.#picture))) return;
      this.#picture.dataset.place = `${short(x)},${short(y)}`;
      canvas.show(this.#picture, at);
    };
  }

  /**
   * Where the cross is at first: at a point that another view sent, or where the address says.
   * @param {import('../map/latent_map.js').LatentMap} map
   * @param {MapCanvas} canvas
   */
  async #begin(map, canvas) {
    const { address, model, say } = this.#context;
    const [sent] = pointsFromText(address.get('point'), latentSize(model));
    if (sent) [canvas.probe.x, canvas.probe.y] = map.placeOf(sent.latent);
    const { x, y } = canvas.probe;
    if (!sent) return canvas.onprobe(x, y, performance.now(), true);
    say(`The cross is at the place of the map that is the nearest to ${sent.name}, and the picture is its own.`);
    if (await this.#decoder.draw(sent.latent, this.#picture)) canvas.show(this.#picture, performance.now());
  }

  /**
   * Once the keys rest: a screen reader is not to say every step.
   * @param {string} words
   */
  #speak(words) {
    clearTimeout(this.#speaking);
    this.#speaking = setTimeout(() => this.#context.say(words), QUIET_MS);
  }

  /**
   * @param {import('../map/latent_map.js').LatentMap} map
   * @param {MapCanvas} canvas
   * @param {[string, string][]} ways
   * @param {string} by
   */
  #controls(map, canvas, ways, by) {
    const { address } = this.#context;
    const legend = h('div');
    const colour = (/** @type {string} */ way) => {
      const colouring = colouringOf(map, way);
      canvas.layer.colour(colouring);
      legend.replaceChildren(
        legendOf(colouring, (kind) => {
          canvas.layer.colour(colouring, kind);
          canvas.redraw();
        }),
      );
      canvas.redraw();
    };
    const chooser = select({
      label: 'Colour by',
      options: ways,
      value: by,
      onchange: (way) => {
        address.set({ colour: way });
        colour(way);
      },
    });
    this.#closing.push(onTheme(() => colour(chooser.input.value)));
    colour(by);
    const hand = button(
      'Move',
      () => {
        canvas.moves = !canvas.moves;
        hand.setAttribute('aria-pressed', String(canvas.moves));
        canvas.element.classList.toggle('moves', canvas.moves);
      },
      { 'aria-pressed': 'false', title: 'Drag moves the map instead of the cross' },
    );
    const bar = h(
      'div',
      { class: 'row spread' },
      h('div', { class: 'row' }, chooser, ...(map.isSampled ? this.#axes(map) : [])),
      h(
        'div',
        { class: 'row tools', role: 'group', 'aria-label': 'View of the map' },
        hand,
        button('−', () => canvas.zoom(1 / 1.5), { 'aria-label': 'Zoom out' }),
        button('+', () => canvas.zoom(1.5), { 'aria-label': 'Zoom in' }),
        button('All', () => canvas.reset()),
      ),
    );
    return [bar, canvas.element, legend];
  }

  /** @param {import('../map/latent_map.js').LatentMap} map */
  #axes(map) {
    const size = latentSize(this.#context.model);
    const options = Array.from(
      { length: Math.min(size, MOST_AXES) },
      (_, at) => /** @type {[string, string]} */ ([String(at), `latent ${at + 1}`]),
    );
    const axes = map.axes ?? [0, 0];
    return ['Across', 'Up'].map((label, side) => {
      const chooser = select({
        label,
        options,
        value: String(axes[side]),
        onchange: (value) => {
          axes[side] = Number(value);
          this.#context.address.set({
            axes: axes.map((axis) => axis + 1).join('-'),
            probe: null,
            look: null,
            anchors: null,
          });
          this.close();
          this.#loading = new AbortController();
          this.#focused = label;
          void this.start();
        },
      });
      // It is made anew with the map: on a keyboard the focus would be lost.
      if (this.#focused === label) requestAnimationFrame(() => chooser.input.focus());
      return chooser;
    });
  }

  /**
   * @param {import('../map/latent_map.js').LatentMap} map
   * @param {MapCanvas} canvas
   */
  #probePanel(map, canvas) {
    const vary = button('Vary it', () => {
      const { x, y } = canvas.probe;
      const start = pointsToText([{ name: 'a place on the map', latent: map.latentAt(x, y) }]);
      this.#context.address.go('vary', { start, at: null });
    });
    return h(
      'section',
      { class: 'panel probe' },
      h('h2', null, 'At the cross'),
      this.#picture,
      this.#where,
      h(
        'div',
        { class: 'row' },
        button('Set anchor', () => canvas.onanchor(canvas.probe.x, canvas.probe.y)),
        vary,
      ),
    );
  }
}
