/**
 * @file Protocol Buffers' wire format (varints, 32-bit and length-delimited fields), as much of it as ONNX files need.
 * A message is a list of pieces, some of which are read only when the file is written: a model of many gigabytes is laid
 * out from sizes alone.
 */

/** Bytes that are fetched when their turn comes. */
export interface LazyBytes {
  readonly size: number;
  read(): Promise<Uint8Array> | Uint8Array;
}

export type Piece = Uint8Array | LazyBytes;

export const sizeOfPiece = (piece: Piece): number => (piece instanceof Uint8Array ? piece.byteLength : piece.size);

/** One message; fields come out in the order in which they were put in. */
export class Message {
  readonly pieces: Piece[] = [];
  size = 0;

  #push(piece: Piece): void {
    this.pieces.push(piece);
    this.size += sizeOfPiece(piece);
  }

  /** An int32, int64 or enum; negative numbers take ten bytes. */
  integer(field: number, value: number | bigint): this {
    this.#push(varint(field * 8));
    this.#push(varint(value));
    return this;
  }

  float(field: number, value: number): this {
    this.#push(varint(field * 8 + 5));
    this.#push(new Uint8Array(Float32Array.of(value).buffer));
    return this;
  }

  bytes(field: number, piece: Piece): this {
    this.#push(varint(field * 8 + 2));
    this.#push(varint(sizeOfPiece(piece)));
    this.#push(piece);
    return this;
  }

  string(field: number, text: string): this {
    return this.bytes(field, new TextEncoder().encode(text));
  }

  message(field: number, message: Message): this {
    this.#push(varint(field * 8 + 2));
    this.#push(varint(message.size));
    for (const piece of message.pieces) this.#push(piece);
    return this;
  }
}

function varint(value: number | bigint): Uint8Array {
  let rest = BigInt.asUintN(64, BigInt(value));
  const bytes: number[] = [];
  while (rest > 127n) {
    bytes.push(Number(rest & 127n) | 128);
    rest >>= 7n;
  }
  bytes.push(Number(rest));
  return Uint8Array.from(bytes);
}
