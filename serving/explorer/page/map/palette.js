/** Colours of a map: told apart by colour-blind eyes as far as ten can be, and on both grounds. */

/** After Okabe and Ito (2008), widened to ten; the second of each pair is for dark ground. */
const KINDS = [
  ['#0072b2', '#58aee8'],
  ['#d55e00', '#ff8a4c'],
  ['#009e73', '#35cfa2'],
  ['#c05a94', '#f09ac9'],
  ['#b58900', '#f2c744'],
  ['#6a4fb3', '#b79df2'],
  ['#2aa6d6', '#a5def7'],
  ['#7d8700', '#cfd64f'],
  ['#8c4a2f', '#d8a184'],
  ['#4d5766', '#c3ccd9'],
];
const OTHER = ['#9aa5b3', '#5d6877'];
/** From usual to unusual, by lightness alone. */
const RAMP = [
  [
    [168, 205, 226],
    [90, 155, 200],
    [30, 100, 160],
    [70, 20, 90],
    [40, 0, 20],
  ],
  [
    [42, 62, 92],
    [44, 104, 140],
    [70, 160, 150],
    [190, 205, 110],
    [255, 240, 170],
  ],
];
export const RAMP_STEPS = 24;

const dark = matchMedia('(prefers-color-scheme: dark)');

/** 0 on light ground, 1 on dark. */
const ground = () => (dark.matches ? 1 : 0);

/** @param {() => void} told */
export function onTheme(told) {
  dark.addEventListener('change', told);
  return () => dark.removeEventListener('change', told);
}

/** @param {number} kind those beyond the tenth share one colour, as those that are not known do */
export const colourOfKind = (kind) => (KINDS[kind] ?? OTHER)[ground()];

/** @param {number} step 0 to RAMP_STEPS - 1 */
export function colourOfStep(step) {
  const ramp = RAMP[ground()];
  const place = (step / (RAMP_STEPS - 1)) * (ramp.length - 1);
  const low = Math.min(ramp.length - 2, Math.floor(place));
  const mixed = ramp[low].map((value, at) => Math.round(value + (ramp[low + 1][at] - value) * (place - low)));
  return `rgb(${mixed})`;
}

/** The page's own colours, for a canvas. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const named = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`).trim();
  return {
    ground: named('surface'),
    text: named('text'),
    muted: named('muted'),
    line: named('line'),
    accent: named('accent'),
  };
}

/**
 * @typedef {object} Colouring how the points of a map are coloured
 * @property {Int32Array} kindOf [N] a colour each
 * @property {string[]} names of the kinds; empty of a score
 * @property {number[]} counts of the kinds
 * @property {(kind: number) => string} colour
 */

/**
 * @param {import('./latent_map.js').LatentMap} map
 * @param {string} by label, pool, score or none
 * @returns {Colouring}
 */
export function colouringOf(map, by) {
  const count = map.points.length / 2;
  if (by === 'score') {
    const kindOf = Int32Array.from(map.quantile, (q) => Math.min(RAMP_STEPS - 1, Math.floor(q * RAMP_STEPS)));
    return { kindOf, names: [], counts: [], colour: colourOfStep };
  }
  const [names, of] = by === 'label' ? [map.labels, map.labelOf] : by === 'pool' ? [map.pools, map.poolOf] : [[], []];
  if (!of.length) return { kindOf: new Int32Array(count), names: [], counts: [], colour: colourOfKind };
  const counts = names.map(() => 0);
  for (const index of of) if (index >= 0) counts[index]++;
  // The kinds with the most points have colours of their own, in the order of their names.
  const most = [...names.keys()]
    .filter((i) => counts[i])
    .sort((a, b) => counts[b] - counts[a])
    .slice(0, KINDS.length);
  const shown = most.sort((a, b) => a - b);
  const kind = names.map((_, index) => (shown.includes(index) ? shown.indexOf(index) : shown.length));
  const kindOf = Int32Array.from({ length: count }, (_, row) => kind[of[row]] ?? shown.length);
  const others = count - shown.reduce((sum, index) => sum + counts[index], 0);
  return {
    kindOf,
    names: [...shown.map((index) => names[index]), ...(others ? ['others'] : [])],
    counts: [...shown.map((index) => counts[index]), ...(others ? [others] : [])],
    colour: (index) => (index < shown.length ? colourOfKind(index) : OTHER[ground()]),
  };
}

/**
 * What a map can be coloured by: the value of each way, and its title.
 * @param {import('./latent_map.js').LatentMap} map
 * @returns {[string, string][]}
 */
export function waysToColour(map) {
  /** @type {[string, string, boolean][]} */
  const ways = [
    ['label', 'Label', map.labelOf.some((label) => label >= 0)],
    ['pool', 'Pool', map.poolOf.some((pool) => pool >= 0)],
    ['score', 'How unusual', map.quantile.length > 0],
    ['none', 'Nothing', true],
  ];
  return ways.flatMap(([way, title, isThere]) => (isThere ? [[way, title]] : []));
}
