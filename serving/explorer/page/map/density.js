/** Where a map's points are dense, as lines of equal height of a smoothed histogram (marching squares). */

const CELLS = 96;
const BLUR = 2;
/** Shares of the points that lie outside of a line. */
const LEVELS = [0.08, 0.3, 0.6];

/**
 * One path a level, the outermost first, in the plane of the map.
 * @param {Float32Array} points [N, 2]
 * @param {import('./map_camera.js').Bounds} bounds
 * @returns {Path2D[]}
 */
export function contoursOf(points, bounds) {
  const [width, height] = [(bounds.right - bounds.left) / CELLS, (bounds.top - bounds.bottom) / CELLS];
  const cellOf = (/** @type {number} */ row) => {
    const column = Math.floor((points[row * 2] - bounds.left) / width);
    const line = Math.floor((points[row * 2 + 1] - bounds.bottom) / height);
    return column < 0 || column >= CELLS || line < 0 || line >= CELLS ? -1 : line * CELLS + column;
  };
  let heights = new Float32Array(CELLS * CELLS);
  const cells = Int32Array.from({ length: points.length / 2 }, (_, row) => cellOf(row));
  for (const cell of cells) if (cell >= 0) heights[cell]++;
  for (let pass = 0; pass < 3; pass++) heights = blurred(blurred(heights, 1, CELLS), CELLS, 1);
  const atPoints = Float32Array.from(
    cells.filter((cell) => cell >= 0),
    (cell) => heights[cell],
  ).sort();
  return LEVELS.map((share) => {
    const level = atPoints[Math.floor(share * atPoints.length)] ?? 1;
    return lines(heights, level, (column, line) => [
      bounds.left + (column + 0.5) * width,
      bounds.bottom + (line + 0.5) * height,
    ]);
  });
}

/**
 * The mean of neighbours along one direction.
 * @param {Float32Array} heights
 * @param {number} step to the next of a line
 * @param {number} stride to the next line
 */
function blurred(heights, step, stride) {
  const out = new Float32Array(heights.length);
  for (let line = 0; line < CELLS; line++) {
    for (let at = 0; at < CELLS; at++) {
      let sum = 0;
      for (let near = Math.max(0, at - BLUR); near <= Math.min(CELLS - 1, at + BLUR); near++)
        sum += heights[line * stride + near * step];
      out[line * stride + at * step] = sum / (2 * BLUR + 1);
    }
  }
  return out;
}

/**
 * @param {Float32Array} heights
 * @param {number} level
 * @param {(column: number, line: number) => [number, number]} place
 */
function lines(heights, level, place) {
  const path = new Path2D();
  const at = (/** @type {number} */ c, /** @type {number} */ l) => heights[l * CELLS + c];
  for (let line = 0; line + 1 < CELLS; line++) {
    for (let column = 0; column + 1 < CELLS; column++) {
      /** @type {[number, number][]} */
      const corners = [
        [column, line],
        [column + 1, line],
        [column + 1, line + 1],
        [column, line + 1],
      ];
      const crossings = corners.flatMap((from, side) => {
        const to = corners[(side + 1) % 4];
        const [a, b] = [at(...from), at(...to)];
        if (a < level === b < level) return [];
        const share = (level - a) / (b - a);
        return [place(from[0] + (to[0] - from[0]) * share, from[1] + (to[1] - from[1]) * share)];
      });
      for (let pair = 0; pair + 1 < crossings.length; pair += 2) {
        path.moveTo(...crossings[pair]);
        path.lineTo(...crossings[pair + 1]);
      }
    }
  }
  return path;
}
