/** @file The picture behind an `image_url` part: a data URL, and, when the server was told so, a web address. */
import { lookup } from 'node:dns/promises';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { BlockList, isIP } from 'node:net';
import { ApiError } from './api-error.ts';

/** Larger pictures are refused before they are decoded: a few bytes can hold a great many pixels. */
export const MAX_PICTURE_PIXELS = 4096 * 4096;
/** And so are more of them, all pictures of a request together. */
export const MAX_REQUEST_PIXELS = 4 * MAX_PICTURE_PIXELS;

/** The bytes of a picture, and what their header says. */
export interface RequestPicture {
  readonly bytes: Uint8Array;
  readonly width: number;
  readonly height: number;
  /** From the web, not in the request itself. */
  readonly fetched: boolean;
}

export interface ImageRules {
  /** Fetch http and https addresses. */
  readonly allowUrls: boolean;
  /** Most bytes of all fetched pictures of a request. */
  readonly maxBytes: number;
  readonly timeoutMs: number;
  /** Addresses that are not fetched from. */
  readonly blocked: BlockList;
}

/**
 * The picture with its header read, and not decoded.
 * @param fetchedBefore bytes that were fetched for the request before.
 * @throws ApiError 400 naming the part.
 */
export async function requestPicture(url: string, param: string, rules: ImageRules, signal: AbortSignal, fetchedBefore = 0): Promise<RequestPicture> {
  const fetched = url.slice(0, 5).toLowerCase() !== 'data:';
  const bytes = fetched ? await fetchBytes(url, param, rules, signal, fetchedBefore) : dataUrlBytes(url, param);
  const { width, height } = await headerSize(bytes, param);
  if (width * height > MAX_PICTURE_PIXELS) throw new ApiError(400, `${param}: the picture has ${width} x ${height} pixels, more than ${MAX_PICTURE_PIXELS}. Shrink it.`, { param, code: 'image_too_large' });
  return { bytes, width, height, fetched };
}

/** PNG, JPEG, WebP. Anything else never reaches the library: an SVG could name files. */
const SIGNATURES = /^(?:89504e470d0a1a0a|ffd8ff|52494646.{8}57454250)/;

/** The size that the header names. @throws ApiError for what is no picture. */
async function headerSize(bytes: Uint8Array, param: string): Promise<{ readonly width: number; readonly height: number }> {
  if (!SIGNATURES.test(Buffer.from(bytes.subarray(0, 12)).toString('hex'))) throw new ApiError(400, `${param}: the image is neither PNG, JPEG nor WebP. Convert it first.`, { param, code: 'invalid_image' });
  // Loaded with the first picture: all other commands do without it.
  const { default: sharp } = await import('sharp');
  return sharp(bytes, { limitInputPixels: false }).metadata().catch((cause: unknown) => {
    throw new ApiError(400, `${param}: the header of the image cannot be read (${cause instanceof Error ? cause.message : String(cause)}). Check that the file is complete.`, { param, code: 'invalid_image' });
  });
}

function dataUrlBytes(url: string, param: string): Uint8Array {
  const comma = url.indexOf(',');
  const head = comma < 0 ? '' : url.slice(0, comma);
  const data = url.slice(comma + 1);
  if (!/^data:image\/[\w.+-]+;base64$/i.test(head) || !/^[A-Za-z0-9+/\s]*={0,2}\s*$/.test(data)) {
    throw new ApiError(400, `${param}: is no base64 data URL. Write data:image/png;base64, and the bytes of a PNG, JPEG or WebP.`, { param, code: 'invalid_image_url' });
  }
  return Buffer.from(data, 'base64');
}

/** Loopback, private, link-local, and the other ranges that are not of the open internet (IANA special-purpose registries). */
export function privateAddresses(): BlockList {
  const list = new BlockList();
  for (const [net, bits] of [['0.0.0.0', 8], ['10.0.0.0', 8], ['100.64.0.0', 10], ['127.0.0.0', 8], ['169.254.0.0', 16], ['172.16.0.0', 12], ['192.0.0.0', 24], ['192.168.0.0', 16], ['198.18.0.0', 15], ['224.0.0.0', 3]] as const) {
    list.addSubnet(net, bits, 'ipv4');
    list.addSubnet(`::ffff:${net}`, 96 + bits, 'ipv6');
  }
  for (const [net, bits] of [['::', 127], ['64:ff9b::', 96], ['fc00::', 7], ['fe80::', 10], ['ff00::', 8]] as const) list.addSubnet(net, bits, 'ipv6');
  return list;
}

/** One GET without redirects, to an address that was looked up once and is not in a blocked range. */
async function fetchBytes(url: string, param: string, { allowUrls, maxBytes, timeoutMs, blocked }: ImageRules, signal: AbortSignal, fetchedBefore: number): Promise<Uint8Array> {
  const refuse = (why: string): ApiError => new ApiError(400, `${param}: ${why}`, { param, code: 'invalid_image_url' });
  const address = URL.canParse(url) ? new URL(url) : undefined;
  if (address?.protocol !== 'http:' && address?.protocol !== 'https:') throw refuse('is neither a data URL nor an http address. Write data:image/png;base64, and the bytes.');
  if (!allowUrls) throw refuse('web addresses are not fetched by this server. Send the picture as a data URL, or start the server with --allow-image-urls.');
  const host = address.hostname.replace(/^\[|\]$/g, '');
  const found = await lookup(host).catch(() => undefined);
  if (found === undefined) throw refuse(`${host} is not known.`);
  if (blocked.check(found.address, isIP(found.address) === 6 ? 'ipv6' : 'ipv4')) throw refuse(`${host} is an address of this machine's own networks, which is not fetched from.`);
  const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
  return new Promise((resolve, reject) => {
    const send = address.protocol === 'https:' ? httpsRequest : httpRequest;
    const fail = (why: string) => {
      request.destroy();
      reject(refuse(why));
    };
    const request = send({ protocol: address.protocol, host: found.address, servername: isIP(host) === 0 ? host : undefined, port: address.port, path: `${address.pathname}${address.search}`, headers: { host: address.host, accept: 'image/*' }, signal: limit }, (response) => {
      const chunks: Buffer[] = [];
      let size = fetchedBefore;
      if (response.statusCode !== 200) {
        fail(`${host} answered ${response.statusCode}. Give an address that answers with the picture itself.`);
        return;
      }
      response.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size > maxBytes) fail(`the pictures fetched for this request have more than ${maxBytes} bytes together (--max-body).`);
        else chunks.push(chunk);
      });
      response.on('end', () => resolve(Buffer.concat(chunks)));
      response.on('error', () => fail(`${host} did not send the whole picture.`));
    });
    request.on('error', () => reject(refuse(`${host} could not be reached in ${timeoutMs / 1000} s.`)));
    request.end();
  });
}
