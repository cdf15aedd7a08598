/**
 * What a character outside ASCII counts as when texts are compared: the letters it is made of (NFKD, so `ｇ`, `𝐠` and `ⓖ` are `g`, and `é` is
 * `e`), a letter that looks the same, or nothing if it shows nothing.
 */

/** Letters of other scripts that look like ASCII letters: the other script's, and ours at the same place. */
const LOOK_ALIKES: readonly (readonly [string, string])[] = [
  ['АВЕЅІЈКМНОРСТУХаеѕіјорсухԁһԛԝёЁ', 'ABESIJKMHOPCTYXaesijopcyxdhqweE'],
  ['ΑΒΕΖΗΙΚΜΝΟΡΤΥΧανορϲϳ', 'ABEZHIKMNOPTYXavopcj'],
  ['ıȷɑɡɩʟʀɪɴʏʙʜɢᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢ', 'ijagilrinybhgacdejkmoptuvwz'],
  ['ՕօՍսԼհոցզ', 'OoUuLhngq'],
  ['‐‑‒–—−⁃', '-------'],
  ['∕⁄⧸', '///'],
];

/** Ranges of code points whose compatibility decomposition is, or begins with, something in ASCII. */
const COMPATIBLE: readonly (readonly [number, number])[] = [
  [0xa0, 0x24f],
  [0x2b0, 0x2e3],
  [0x1d2c, 0x1d6a],
  [0x1e00, 0x1eff],
  [0x2000, 0x214f],
  [0x2150, 0x218b],
  [0x2460, 0x24ea],
  [0x2c7c, 0x2c7d],
  [0x3250, 0x325f],
  [0x32b1, 0x32cf],
  [0x3371, 0x33ff],
  [0xfb00, 0xfb06],
  [0xfe10, 0xfe6b],
  [0xff01, 0xff5e],
  [0x1d400, 0x1d7ff],
  [0x1f100, 0x1f169],
  [0x1fbf0, 0x1fbf9],
];

/** Of the decomposed characters, those that combine with the one before. */
const MARKS = /\p{M}/gu;
const SHOWS_NOTHING = /\p{Cf}|\p{M}|\p{Default_Ignorable_Code_Point}/u;
const PRINTABLE = /^[\x20-\x7e]+$/;
const TAG_FIRST = 0xe0020;
const TAG_LAST = 0xe007e;

/** Code point of a small number: what it counts as is in `table`, at that place. 0: itself. 1: nothing. From 2: the text at that place less 2. */
export interface Folding {
  readonly table: Uint16Array;
  readonly texts: readonly Uint8Array[];
}

/** Code points below this are looked up in a table. */
const TABLE_END = 0x20000;

let folding: Folding | undefined;

const NOTHING = new Uint8Array(0);

/** What all characters below {@link TABLE_END} count as. */
export function foldingTable(): Folding {
  return (folding ??= buildFolding());
}

/** Bytes (ASCII) that the code point counts as, none if it shows nothing, undefined if it stands for itself. */
export function foldedCharacter(point: number): Uint8Array | undefined {
  if (point < 0x80) return undefined;
  folding ??= buildFolding();
  if (point < TABLE_END) {
    const entry = folding.table[point] as number;
    return entry === 0 ? undefined : entry === 1 ? NOTHING : folding.texts[entry - 2];
  }
  if (point >= TAG_FIRST && point <= TAG_LAST) return Uint8Array.of(point - 0xe0000);
  return point >= 0xe0000 && point <= 0xe0fff ? NOTHING : undefined;
}

function buildFolding(): Folding {
  const table = new Uint16Array(TABLE_END);
  const texts: Uint8Array[] = [];
  const known = new Map<string, number>();
  const set = (point: number, text: string) => {
    let entry = known.get(text);
    if (entry === undefined) {
      entry = texts.push(Uint8Array.from(text, (c) => c.charCodeAt(0))) + 1;
      known.set(text, entry);
    }
    table[point] = entry;
  };
  for (const [first, last] of COMPATIBLE)
    for (let point = first; point <= last; point++) {
      const text = String.fromCodePoint(point).normalize('NFKD').replace(MARKS, '');
      if (PRINTABLE.test(text)) set(point, text);
    }
  for (const [others, ours] of LOOK_ALIKES) {
    let i = 0;
    for (const other of others) set(other.codePointAt(0) ?? 0, ours[i++] ?? '');
  }
  for (let point = 0x80; point < TABLE_END; point++) {
    // Surrogates are no characters.
    if (table[point] === 0 && (point < 0xd800 || point > 0xdfff) && SHOWS_NOTHING.test(String.fromCodePoint(point))) table[point] = 1;
  }
  return { table, texts };
}
