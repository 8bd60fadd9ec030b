/** The page: chooses the view and the model that the address names, and keeps them while models come and go. */

import { FragmentAddress } from './core/address.js';
import { contextOf, Notices } from './core/context.js';
import { h } from './core/elements.js';
import { Models } from './core/models.js';
import { HttpService } from './core/service.js';
import { askToken } from './core/tokens.js';
import { titleOf } from './core/words.js';

/** @type {[string, string, string][]} name, title, and what one does there */
const VIEWS = [
  ['map', 'Map', 'Where the data lie, and what lies between them'],
  ['sample', 'Sample', 'New images from the prior or a pool'],
  ['encode', 'Encode', 'Your image as the model sees it'],
  ['walk', 'Walk', 'From one image to another, step by step'],
  ['vary', 'Vary', 'One latent at a time'],
  ['compare', 'Compare', 'Two models side by side'],
  ['service', 'Service', 'What the server does right now'],
];

/** Views that are opened anew whichever of the models came or went. */
const LOOK_AT_ALL = ['compare'];

const element = (/** @type {string} */ id) => /** @type {HTMLElement} */ (document.getElementById(id));
const root = element('view');
const chooser = /** @type {HTMLSelectElement} */ (element('model'));
const notices = new Notices();
const address = new FragmentAddress();
const service = new HttpService(askToken, (isThere) => notices.reach(isThere));
const models = new Models(service);

/** @type {OpenView | null} */
let open = null;
/** Which of the openings is the last, since each takes a while. */
let opening = 0;
/** @type {Model | null} */
let shown = null;
/** Those that the view was opened with, for a view that looks at all of them. */
let served = '';

/** @param {{isMoved?: boolean, words?: string}} [why] `isMoved`: the user went there */
async function show({ isMoved = false, words = '' } = {}) {
  const turn = ++opening;
  const found = VIEWS.find(([name]) => name === address.view) ?? VIEWS[0];
  const { model, words: missing } = models.find(address.get('model'), address.get('version'));
  open?.close();
  open = null;
  served = everyModel();
  address.onchange = null;
  shown = model;
  notices.clear();
  notices.say(words || missing);
  listModels();
  listViews(found[0]);
  document.title = model ? `${found[1]} · ${model.model.name} · vaeserve` : 'vaeserve';
  const heading = h('h1', { tabindex: '-1' }, found[1]);
  const body = h('div', { class: `view ${found[0]}` });
  root.replaceChildren(h('div', { class: 'heading' }, heading, h('p', { class: 'muted' }, found[2])), body);
  if (isMoved) heading.focus({ preventScroll: true });
  if (!model) return body.append(h('p', { class: 'empty' }, missing));
  try {
    const { view } = /** @type {{view: View}} */ (await import(`./views/${found[0]}.js`));
    if (turn === opening) open = view.open(body, contextOf({ service, models, model, address, notices }));
  } catch (error) {
    notices.fail(error);
  }
}

/** @param {string} current */
function listViews(current) {
  for (const link of element('views').querySelectorAll('a')) {
    const name = link.dataset.view ?? '';
    link.href = address.href(name);
    if (name === current && !link.hasAttribute('aria-current'))
      link.scrollIntoView({ block: 'nearest', inline: 'center' });
    if (name === current) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

function listModels() {
  const options = [];
  for (const name of new Set(models.list.map(({ model }) => model.name))) {
    const served = models.list.filter(({ model }) => model.name === name);
    const newest = served[0].model.version ?? '0';
    const text = served.length > 1 ? `${name} · newest (${newest})` : `${name} · version ${newest}`;
    options.push(h('option', { value: JSON.stringify([name, '']) }, text));
    if (served.length < 2 && address.get('version') !== newest) continue;
    for (const model of served) {
      const value = JSON.stringify([name, model.model.version ?? '0']);
      options.push(h('option', { value }, served.length > 1 ? titleOf(model) : `${titleOf(model)}, this one only`));
    }
  }
  chooser.replaceChildren(...options);
  chooser.disabled = options.length === 0;
  const pinned = address.get('version') === shown?.model.version ? shown?.model.version : '';
  chooser.value = JSON.stringify([shown?.model.name, pinned ?? '']);
}

const everyModel = () => JSON.stringify(models.list.map(({ model }) => model));

/** Models came, went or were replaced: the view is opened anew only if its own model did. */
function refresh() {
  const { model, words } = models.find(address.get('model'), address.get('version'));
  const [before, after] = [shown?.model, model?.model];
  const isSame = before?.digest === after?.digest && before?.name === after?.name && before?.version === after?.version;
  if (isSame && (!LOOK_AT_ALL.includes(address.view) || served === everyModel())) return listModels();
  const news =
    !isSame && before?.name === after?.name && after ? `${after.name} is served in a new version, ${after.version}.` : '';
  void show({ words: before ? words || news : '' });
}

async function start() {
  element('views').append(
    ...VIEWS.map(([name, title]) => {
      const link = h('a', { href: address.href(name) }, h('span', { class: `icon ${name}` }), title);
      link.dataset.view = name;
      return h('li', null, link);
    }),
  );
  chooser.addEventListener('change', () =>
    address.choose(.../** @type {[string, string]} */ (JSON.parse(chooser.value))),
  );
  address.onmove = () => void show({ isMoved: true });
  element('views').addEventListener('focusin', () => listViews(address.view));
  element('views').addEventListener('pointerenter', () => listViews(address.view));
  addEventListener('unhandledrejection', ({ reason }) => notices.fail(reason));
  notices.onerror = (error) => {
    if (/** @type {any} */ (error)?.code === 'not_found') models.look().catch(() => {});
  };
  element('skip').addEventListener('click', () => root.focus());
  try {
    await models.look();
    await show();
  } catch (error) {
    notices.fail(error);
  }
  // All views at once: who opens one while the server is away would find none, in some browsers for good.
  for (const [name] of VIEWS) import(`./views/${name}.js`).catch(() => {});
  models.onchange = refresh;
  models.watch();
}

void start();
