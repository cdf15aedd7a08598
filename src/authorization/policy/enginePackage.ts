import { webcrypto } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliDecompress } from 'node:zlib';
import { STREAMS, putTogether } from './wasmStreams.ts';

/**
 * A packed engine: SHA-256 of the module; where its code begins and the length of it; then the length of each packed stream; these numbers
 * as 32 bits, little endian; then the streams (`wasmStreams.ts`), each as Brotli (RFC 7932).
 */
export const ENGINE_HEADER_BYTES = 32 + 4 * (2 + STREAMS.length);

const decompress = promisify(brotliDecompress);

/** The module that was packed. Streams are unpacked in threads, the rest takes slices of a few milliseconds. @throws if the file is damaged. */
export async function unpackEngine(file: Uint8Array): Promise<Uint8Array<ArrayBuffer>> {
  const header = Buffer.from(file.buffer, file.byteOffset, ENGINE_HEADER_BYTES);
  const number = (i: number) => header.readUInt32LE(32 + i * 4);
  let at = ENGINE_HEADER_BYTES;
  const packed = STREAMS.map((_, i) => file.subarray(at, (at += number(2 + i))));
  const module = await putTogether(await Promise.all(packed.map((stream) => decompress(stream))), number(0), number(1));
  const digest = await webcrypto.subtle.digest('SHA-256', module);
  if (!header.subarray(0, 32).equals(Buffer.from(digest))) throw new Error('its file is damaged; install the extension anew');
  return module;
}
