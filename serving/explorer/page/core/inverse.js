/**
 * The latent of any place on a map, by inverse distance weighting (Shepard 1968) of the nearest points: the formula
 * that GetLatentMapResponse documents. N is the number of points.
 */

export const NEAREST = 8;

/**
 * The indices of the nearest points and their squared distances, the nearest first.
 * @param {Float32Array} points [N, 2]
 * @param {number} x
 * @param {number} y
 * @param {number} [count]
 */
export function nearest(points, x, y, count = NEAREST) {
  /** @type {number[]} */
  const indices = [];
  /** @type {number[]} */
  const squares = [];
  const wanted = Math.min(count, points.length / 2);
  let worst = Infinity;
  for (let index = 0; index * 2 < points.length; index++) {
    const [dx, dy] = [points[index * 2] - x, points[index * 2 + 1] - y];
    const square = dx * dx + dy * dy;
    if (indices.length >= wanted && square >= worst) continue;
    let place = indices.length;
    while (place > 0 && squares[place - 1] > square) place--;
    indices.splice(place, 0, index);
    squares.splice(place, 0, square);
    if (indices.length > wanted) {
      indices.pop();
      squares.pop();
    }
    worst = squares[squares.length - 1];
  }
  return { indices, squares };
}

/**
 * @param {Float32Array} points [N, 2]
 * @param {Float32Array} latents [N, size]
 * @param {number} size
 * @param {number} x
 * @param {number} y
 * @returns {Float32Array} [size]
 */
export function inverse(points, latents, size, x, y) {
  const { indices, squares } = nearest(points, x, y);
  // Exact at a point; and so far out that there is no telling which is nearer.
  if (squares[0] === 0 || squares[0] === Infinity) return latents.slice(indices[0] * size, (indices[0] + 1) * size);
  // Weights relative to the nearest: their sum is finite however near or far the points are.
  const weights = squares.map((square) => squares[0] / square);
  const whole = weights.reduce((sum, weight) => sum + weight, 0);
  const latent = new Float32Array(size);
  for (let axis = 0; axis < size; axis++) {
    let sum = 0;
    for (let place = 0; place < indices.length; place++) sum += weights[place] * latents[indices[place] * size + axis];
    latent[axis] = sum / whole;
  }
  return latent;
}
