import { crc32, inflateRawSync } from 'node:zlib';

/** Part of an archive. */
export interface Entry {
  readonly name: string;
  readonly content: Buffer;
  /** Date and time as MS-DOS counted them, and permissions, as they stand in the archive. */
  readonly time: number;
  readonly attributes: number;
  readonly madeBy: number;
}

const LOCAL = 0x04034b50;
const CENTRAL = 0x02014b50;
const END = 0x06054b50;
const UTF8 = 0x0800;
const STORED = 0;
const DEFLATED = 8;
const VERSION = 20;

/** Reads a ZIP archive (APPNOTE.TXT 6.3, without encryption and ZIP64). @throws if it is none, or its content is not what its sums say. */
export function readZip(zip: Buffer): Entry[] {
  const end = zip.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  if (end < 0) throw new Error('no ZIP archive');
  const entries: Entry[] = [];
  let at = zip.readUInt32LE(end + 16);
  for (let left = zip.readUInt16LE(end + 10); left > 0; left--) {
    if (zip.readUInt32LE(at) !== CENTRAL) throw new Error('the list of the archive is damaged');
    const method = zip.readUInt16LE(at + 10);
    const nameLength = zip.readUInt16LE(at + 28);
    const name = zip.toString('utf8', at + 46, at + 46 + nameLength);
    const local = zip.readUInt32LE(at + 42);
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const packed = zip.subarray(start, start + zip.readUInt32LE(at + 20));
    if (method !== STORED && method !== DEFLATED) throw new Error(`${name} is packed in a way that is not known`);
    const content = method === STORED ? packed : inflateRawSync(packed);
    if (crc32(content) !== zip.readUInt32LE(at + 16) || content.length !== zip.readUInt32LE(at + 24)) throw new Error(`${name} is damaged`);
    entries.push({
      name,
      content,
      time: zip.readUInt32LE(at + 12),
      attributes: zip.readUInt32LE(at + 38),
      madeBy: zip.readUInt16LE(at + 4),
    });
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return entries;
}

/** Writes a ZIP archive. `deflate` packs a content as DEFLATE (RFC 1951); what it makes larger is stored. */
export async function writeZip(entries: readonly Entry[], deflate: (content: Buffer) => Promise<Uint8Array>): Promise<Buffer> {
  const files: Uint8Array[] = [];
  const list: Uint8Array[] = [];
  let offset = 0;
  for (const { name, content, time, attributes, madeBy } of entries) {
    const deflated = await deflate(content);
    const packed = deflated.length < content.length ? deflated : content;
    const common = Buffer.alloc(26);
    common.writeUInt16LE(VERSION, 0);
    common.writeUInt16LE(UTF8, 2);
    common.writeUInt16LE(packed === content ? STORED : DEFLATED, 4);
    common.writeUInt32LE(time, 6);
    common.writeUInt32LE(crc32(content), 10);
    common.writeUInt32LE(packed.length, 14);
    common.writeUInt32LE(content.length, 18);
    common.writeUInt16LE(Buffer.byteLength(name), 22);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(attributes, 6);
    rest.writeUInt32LE(offset, 10);
    const local = Buffer.concat([number32(LOCAL), common, Buffer.from(name, 'utf8'), packed]);
    files.push(local);
    list.push(number32(CENTRAL), number16(madeBy), common, rest, Buffer.from(name, 'utf8'));
    offset += local.length;
  }
  const directory = Buffer.concat(list);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(END, 0);
  end.writeUInt16LE(entries.length, 8);
  end.writeUInt16LE(entries.length, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...files, directory, end]);
}

function number16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes;
}

function number32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}
