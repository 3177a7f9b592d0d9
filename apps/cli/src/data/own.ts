/** @file Your own policy folder with all its pictures decoded once: PNG by the datasets package, JPEG and WebP by sharp. */
import { findBrokenPictures, imageFormat, type OwnPolicy, type RgbImage } from '@trimpi/datasets';
import { openFolder, readPolicyFolder } from '@trimpi/datasets/node';
import { ModelError, toRgb } from '@trimpi/model';
import { decodeImage } from '@trimpi/model/node';

/** @param onPicture takes each picture that is no PNG. @throws ModelError `unsupported` where sharp is needed and not there. */
export async function readOwnFolder(dir: string, onPicture: (name: string, image: RgbImage) => void = () => undefined): Promise<OwnPolicy> {
  const policy = readPolicyFolder(dir);
  const folder = openFolder(dir);
  const faults = new Map<string, string>();
  for (const name of new Set([...policy.policyImages, ...policy.rows.flatMap((row) => row.images)])) {
    const bytes = folder.readBytes(name);
    const format = bytes === undefined ? undefined : imageFormat(bytes);
    if (bytes === undefined || format === undefined || format === 'png') continue;
    try {
      const image = await decodeImage(bytes);
      onPicture(name, { width: image.width, height: image.height, rgb: toRgb(image) });
    } catch (cause) {
      if (!(cause instanceof ModelError) || cause.code !== 'invalid-image') throw cause;
      faults.set(name, cause.cause instanceof Error ? cause.cause.message : cause.message);
    }
  }
  const rows = policy.rows.filter((row) => row.images.every((name) => !faults.has(name)));
  return { ...policy, rows, findings: [...policy.findings, ...findBrokenPictures(policy, (name) => faults.get(name))] };
}
