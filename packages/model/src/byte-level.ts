/** @file The alphabet of byte-level BPE (GPT-2): a printable character for every byte. */

/** byte -> character: printable bytes stand for themselves, the others for characters from U+0100 on. */
export const BYTE_TO_CHAR: readonly string[] = makeAlphabet();

const CHAR_TO_BYTE: ReadonlyMap<string, number> = new Map(BYTE_TO_CHAR.map((char, byte) => [char, byte]));

function makeAlphabet(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
}

/** The bytes that a token of the vocabulary stands for, or undefined when it is not written in the alphabet. */
export function bytesOfToken(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = CHAR_TO_BYTE.get(token.charAt(i));
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}

/** Text in the alphabet, one character for every byte of its UTF-8. */
export function charsOfText(text: string): string {
  return Array.from(new TextEncoder().encode(text), (byte) => BYTE_TO_CHAR[byte]).join('');
}
