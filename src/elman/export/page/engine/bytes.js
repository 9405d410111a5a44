// What a page holds, from the characters of its file: export/packing.py says how it is written.

const ESCAPE = 0xe000, TURNED_BIT = 0x4000, HEAD_BYTES = 12;

const KINDS = {
  int8: Int8Array, uint8: Uint8Array, int16: Int16Array, uint16: Uint16Array, int32: Int32Array,
  float32: Float32Array, float64: Float64Array, int64: BigInt64Array, float16: Uint16Array,
};

/** Something that a person can understand and do something about. */
class ElmanError extends Error {}

/** Returns the bytes that characters stand for; the last may be one too many. */
function fromCharacters(text) {
  const units = new Uint16Array(text.length);
  let size = 0;
  for (let at = 0; at < text.length; at++) {
    let unit = text.charCodeAt(at);
    if (unit === ESCAPE) unit = text.charCodeAt(++at) ^ TURNED_BIT;
    units[size++] = unit;
  }
  return new Uint8Array(units.buffer, 0, 2 * size);
}

/** The check of zlib, of bytes. */
function crc32(bytes) {
  const table = new Uint32Array(256).map((_, n) => {
    for (let bit = 0; bit < 8; bit++) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1;
    return n;
  });
  let crc = 0xffffffff;
  for (let at = 0; at < bytes.length; at++) crc = (crc >>> 8) ^ table[(crc ^ bytes[at]) & 255];
  return (~crc >>> 0).toString(16).padStart(8, "0");
}

async function inflated(bytes) {
  if (typeof DecompressionStream === "undefined") {
    throw new ElmanError("This browser is too old for this page: one of 2023 or later can open it.");
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Returns the document and the arrays, {name: {shape, data}}, of packed bytes. */
async function unpacked(bytes) {
  const head = new DataView(bytes.buffer, bytes.byteOffset);
  const first = HEAD_BYTES + head.getUint32(4, true), end = first + head.getUint32(8, true);
  const [codes, rest] = await Promise.all([
    inflated(bytes.subarray(HEAD_BYTES, first)), inflated(bytes.subarray(first, end)),
  ]);
  const begin = 4 + new DataView(rest.buffer).getUint32(0, true);
  const { arrays: listed, ...document } = JSON.parse(new TextDecoder().decode(rest.subarray(4, begin)));
  const arrays = {};
  for (const { name, dtype, shape, at, codes: inCodes } of listed) {
    const size = shape.reduce((a, b) => a * b, 1), source = inCodes ? codes : rest;
    const data = new KINDS[dtype](source.buffer, inCodes ? at : begin + at, size);
    arrays[name] = { shape, data: dtype === "float16" ? Float32Array.from(data, halfToNumber) : data };
  }
  return { document, arrays };
}

function halfToNumber(bits) {
  const exponent = (bits >> 10) & 31, fraction = bits & 1023, sign = bits >> 15 ? -1 : 1;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24);
}
