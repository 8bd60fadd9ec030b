/** Tensors as protobuf's JSON has them: row-major little-endian values in base64. */

/** @param {Uint8Array} bytes */
export function toBase64(bytes) {
  if (bytes.toBase64) return bytes.toBase64();
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/**
 * @param {string} text
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function fromBase64(text) {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
}

/** @param {Uint8Array | Float32Array} values */
const bytesOf = (values) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength);

/**
 * @param {Float32Array | Uint8Array} values
 * @param {(number | string)[]} shape
 * @returns {Tensor}
 */
export function toTensor(values, shape) {
  const dtype = values instanceof Float32Array ? 'DATA_TYPE_FLOAT32' : 'DATA_TYPE_UINT8';
  return { dtype, shape: shape.map(String), data: toBase64(bytesOf(values)) };
}

/**
 * @param {Tensor | undefined} json
 * @returns {{data: Float32Array | Uint8Array, shape: number[]}} nothing of a tensor that is not there
 */
export function fromTensor(json) {
  if (!json) return { data: new Float32Array(0), shape: [0] };
  const bytes = fromBase64(json.data ?? '');
  const data = json.dtype === 'DATA_TYPE_UINT8' ? bytes : new Float32Array(bytes.buffer);
  return { data, shape: (json.shape ?? []).map(Number) };
}

/**
 * The values of a float32 tensor.
 * @param {Tensor | undefined} json
 */
export const floats = (json) => /** @type {Float32Array} */ (fromTensor(json).data);

/**
 * How many latents one row has.
 * @param {Model} model
 */
export const latentSize = (model) => model.latentShape.reduce((size, axis) => size * Number(axis), 1);

/**
 * Latents, one row after the other, as a Tensor of the model's latent shape.
 * @param {Float32Array} values
 * @param {Model} model
 */
export const latentTensor = (values, model) =>
  toTensor(values, [values.length / latentSize(model), ...model.latentShape]);
