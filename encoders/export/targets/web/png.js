// A mask as a greyscale PNG of 8 bits, 255 inside and 0 outside. It is written here because a canvas writes colour only, and on
// some phones at most 16 megapixels. Source: the PNG specification, third edition.

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  let crc = value;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0xedb88320 ^ (crc >>> 1) : crc >>> 1;
  return crc;
});

function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = CRC_TABLE[(crc ^ byte) & 0xff] ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}

/** Length, type, data and checksum. */
function chunk(type, data) {
  const bytes = new Uint8Array(12 + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, data.length);
  bytes.set([...type].map((letter) => letter.charCodeAt(0)), 4);
  bytes.set(data, 8);
  view.setUint32(8 + data.length, crc32(bytes.subarray(4, 8 + data.length)));
  return bytes;
}

async function deflate(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Uint8Array (height x width) of 0 and 1 -> Blob. */
export async function maskToPng(mask, { width, height }) {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header[8] = 8; // bits; colour type 0, no interlace
  const lines = new Uint8Array(height * (width + 1)); // each begins with the number of its filter, 0 for none
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) lines[y * (width + 1) + 1 + x] = mask[y * width + x] ? 255 : 0;
  }
  const parts = [chunk("IHDR", header), chunk("IDAT", await deflate(lines)), chunk("IEND", new Uint8Array(0))];
  return new Blob([Uint8Array.from(SIGNATURE), ...parts], { type: "image/png" });
}
