// Files that numpy.load reads: a zip of stored .npy members, each with its CRC-32.
// Sources: numpy.lib.format (version 1.0), and PKWARE's APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.

/** @typedef {{data: Uint8Array | Float32Array | BigUint64Array, shape: number[]}} NumpyArray */

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});
const FIRST_DAY = 0x21; // 1 January 1980 as DOS writes it: the same arrays give the same file
const LOCAL_HEADER = 30;
const CENTRAL_HEADER = 46;
const END = 22;
const ALIGNMENT = 64; // of an array's first byte within its member, as numpy has it

/** CRC-32 as zip has it.
 * @param {Uint8Array} bytes */
export function crc32(bytes) {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = CRC_TABLE[(crc ^ bytes[i]) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** One array as an .npy file; values are little-endian, as on every machine that runs a browser.
 * @param {NumpyArray} array
 * @returns {Uint8Array<ArrayBuffer>} */
export function npyOf({ data, shape }) {
  if (shape.reduce((product, size) => product * size, 1) !== data.length) {
    throw new RangeError(`want ${shape.join(' x ')} values, came ${data.length}`);
  }
  const type = data instanceof Uint8Array ? '|u1' : data instanceof Float32Array ? '<f4' : '<u8';
  const tuple = shape.length === 1 ? `(${shape[0]},)` : `(${shape.join(', ')})`;
  const written = `{'descr': '${type}', 'fortran_order': False, 'shape': ${tuple}, }`;
  const before = 10; // magic, version, length of the text
  const padded = Math.ceil((before + written.length + 1) / ALIGNMENT) * ALIGNMENT - before;
  const text = `${written.padEnd(padded - 1)}\n`;
  const file = new Uint8Array(before + padded + data.byteLength);
  file.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0, padded & 0xff, padded >> 8]);
  file.set(new TextEncoder().encode(text), before);
  file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), before + padded);
  return file;
}

/** Arrays by name as one .npz file.
 * @param {Record<string, NumpyArray>} arrays
 * @returns {Uint8Array<ArrayBuffer>} */
export function npzOf(arrays) {
  const members = Object.entries(arrays).map(([name, array]) => {
    const content = npyOf(array);
    return { name: new TextEncoder().encode(`${name}.npy`), content, crc: crc32(content), at: 0 };
  });
  const named = members.reduce((sum, { name }) => sum + name.length, 0);
  const stored = members.reduce((sum, { content }) => sum + content.length, 0);
  const headers = members.length * (LOCAL_HEADER + CENTRAL_HEADER);
  const file = new Uint8Array(headers + 2 * named + stored + END);
  const view = new DataView(file.buffer);
  let at = 0;
  for (const member of members) {
    member.at = at;
    view.setUint32(at, 0x04034b50, true);
    describe(view, at + 4, member);
    file.set(member.name, at + LOCAL_HEADER);
    file.set(member.content, at + LOCAL_HEADER + member.name.length);
    at += LOCAL_HEADER + member.name.length + member.content.length;
  }
  const directory = at;
  for (const member of members) {
    view.setUint32(at, 0x02014b50, true);
    view.setUint16(at + 4, 20, true); // made by version 2.0
    describe(view, at + 6, member);
    view.setUint32(at + 42, member.at, true);
    file.set(member.name, at + CENTRAL_HEADER);
    at += CENTRAL_HEADER + member.name.length;
  }
  view.setUint32(at, 0x06054b50, true);
  view.setUint16(at + 8, members.length, true);
  view.setUint16(at + 10, members.length, true);
  view.setUint32(at + 12, at - directory, true);
  view.setUint32(at + 16, directory, true);
  return file;
}

/** What the local header and the directory say alike; method, flags and extra lengths stay 0.
 * @param {DataView} view @param {number} at
 * @param {{name: Uint8Array, content: Uint8Array, crc: number}} member */
function describe(view, at, { name, content, crc }) {
  view.setUint16(at, 20, true); // needs version 2.0
  view.setUint16(at + 8, FIRST_DAY, true);
  view.setUint32(at + 10, crc, true);
  view.setUint32(at + 14, content.length, true);
  view.setUint32(at + 18, content.length, true);
  view.setUint16(at + 22, name.length, true);
}
