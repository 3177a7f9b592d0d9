/** @file Models on the Hugging Face hub, through `@huggingface/hub` (an optional peer dependency). */
import { ModelError, reasonOf } from '../errors.ts';
import { httpSource, type HttpOptions } from './http-source.ts';
import type { ModelFiles } from './model-files.ts';

export interface HubOptions extends HttpOptions {
  /** `organisation/name`. */
  readonly repo: string;
  /** Branch, tag or commit. Default `main`. */
  readonly revision?: string;
  /** `hf_...`, for private and gated models. */
  readonly accessToken?: string;
  /** Another server with the hub's interface. Default the hub itself. */
  readonly hubUrl?: string;
}

/** A file at the top of a repository. */
export interface HubFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /** Of the content, when the hub knows it (large files). */
  readonly sha256: string | null;
}

/** The files at the top of a repository. @throws ModelError `not-found`, `io`. */
export async function listHubFiles(options: HubOptions): Promise<HubFile[]> {
  const { listFiles } = await loadHub();
  const files: HubFile[] = [];
  try {
    for await (const { type, path, size, lfs } of listFiles(parameters(options))) {
      // Names come from a server and become names on a disk: plain ones only.
      if (type === 'file' && /^[\w][\w.-]*$/.test(path)) files.push({ path, size, sha256: lfs?.oid ?? null });
    }
  } catch (cause) {
    throw hubError(options.repo, cause);
  }
  return files;
}

/** The files of a model on the hub, read by range: nothing is downloaded but what is asked for. */
export function hubFiles(options: HubOptions): ModelFiles {
  let names: Promise<Set<string>> | undefined;
  return {
    name: options.repo,
    open: async (file) => {
      names ??= listHubFiles(options).then((files) => new Set(files.map(({ path }) => path)));
      if (!(await names).has(file)) return null;
      return httpSource(await hubUrlOf(file, options), withToken(options));
    },
  };
}

/** Where a file can be fetched from. @throws ModelError `not-found`, `io`. */
export async function hubUrlOf(path: string, options: HubOptions): Promise<string> {
  const { fileDownloadInfo } = await loadHub();
  let info: Awaited<ReturnType<typeof fileDownloadInfo>>;
  try {
    info = await fileDownloadInfo({ ...parameters(options), path });
  } catch (cause) {
    throw hubError(`${options.repo}/${path}`, cause);
  }
  if (info === null) throw new ModelError('not-found', { argument: options.repo, value: path, message: 'has no such file', remedy: 'Check the repository and the revision.' });
  return info.url;
}

/** The options of plain requests; the token goes to the hub, and fetch drops it on the way to another host. */
export function withToken(options: HubOptions): HttpOptions {
  const { accessToken, headers = {} } = options;
  return accessToken === undefined ? options : { ...options, headers: { ...headers, authorization: `Bearer ${accessToken}` } };
}

function parameters(options: HubOptions): { repo: string; revision?: string; accessToken?: string; hubUrl?: string; fetch?: typeof fetch } {
  const { repo, revision, accessToken, hubUrl, fetch: replacement } = options;
  if (!/^\w[\w.-]*\/\w[\w.-]*$/.test(repo)) {
    throw new ModelError('invalid-input', { argument: 'repo', value: repo, message: 'must be organisation/name', remedy: 'Copy it from the address of the model.' });
  }
  return {
    repo,
    ...(revision === undefined ? {} : { revision }),
    ...(accessToken === undefined ? {} : { accessToken }),
    ...(hubUrl === undefined ? {} : { hubUrl }),
    ...(replacement === undefined ? {} : { fetch: replacement }),
  };
}

async function loadHub(): Promise<typeof import('@huggingface/hub')> {
  try {
    return await import('@huggingface/hub');
  } catch (cause) {
    throw new ModelError('unsupported', { argument: '@huggingface/hub', value: reasonOf(cause), message: 'is needed to read from the hub', remedy: 'Run: npm install @huggingface/hub', cause });
  }
}

function hubError(argument: string, cause: unknown): ModelError {
  if (cause instanceof ModelError) return cause;
  const status = typeof cause === 'object' && cause !== null && 'statusCode' in cause ? cause.statusCode : undefined;
  if (status === 404) return new ModelError('not-found', { argument, value: status, message: 'is not on the hub', remedy: 'Check the repository and the revision; a private one needs an access token.', cause });
  const remedy = status === 401 || status === 403 ? 'Give an access token with the right to read it.' : 'Check the connection and try again.';
  return new ModelError('io', { argument, value: status ?? reasonOf(cause), message: 'was refused by the hub', remedy, cause });
}
