// Figures as people read them.

/** @param {number} seconds */
export function duration(seconds) {
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(0)} µs`;
  if (seconds < 0.01) return `${(seconds * 1e3).toFixed(1)} ms`;
  if (seconds < 1) return `${(seconds * 1e3).toFixed(0)} ms`;
  return `${seconds.toFixed(1)} s`;
}

/** @param {number} seconds */
export function longDuration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1) return `${Math.floor(seconds)} seconds`;
  if (minutes < 120) return minutes === 1 ? 'a minute' : `${minutes} minutes`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} hours`;
  return `${Math.floor(minutes / 1440)} days`;
}

/** @param {number} value */
export function figure(value) {
  if (!Number.isFinite(value)) return '–';
  if (value !== 0 && Math.abs(value) < 0.01) return value.toPrecision(2);
  if (Math.abs(value) < 10) return value.toFixed(2).replace(/\.?0+$/, '');
  if (Math.abs(value) < 1000) return value.toFixed(1).replace(/\.0$/, '');
  return Math.round(value).toLocaleString('en');
}

/** @param {number} count */
export function bytes(count) {
  if (count < 1 << 20) return `${Math.round(count / 1024)} KiB`;
  if (count < 1 << 30) return `${(count / (1 << 20)).toFixed(0)} MiB`;
  return `${(count / (1 << 30)).toFixed(1)} GiB`;
}

/** `sample_nll` as words. @param {string} name */
export const spaced = (name) => name.replaceAll('_', ' ').replaceAll('.', ' · ');
