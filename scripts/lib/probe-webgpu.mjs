/** @file Prints one line of JSON: the adapter that Dawn gives, or why there is none. Run in a process of its own. */
const answer = await probe().catch((error) => ({ ok: false, reason: error instanceof Error ? error.message : String(error) }));
process.stdout.write(`${JSON.stringify(answer)}\n`, () => process.exit(0));

async function probe() {
  const { create, globals } = await import('webgpu');
  Object.assign(globalThis, globals);
  const adapter = await create([]).requestAdapter();
  if (adapter === null) return { ok: false, reason: 'no driver that Dawn accepts' };
  const { vendor, architecture, device: deviceName, description } = adapter.info;
  const limits = {};
  for (const key in adapter.limits) if (typeof adapter.limits[key] === 'number') limits[key] = adapter.limits[key];
  const device = await adapter.requestDevice();
  // A device that cannot run the smallest thing is none.
  const buffer = device.createBuffer({ size: 16, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
  device.queue.writeBuffer(buffer, 0, new Uint32Array([7]));
  await buffer.mapAsync(GPUMapMode.READ);
  const value = new Uint32Array(buffer.getMappedRange())[0];
  buffer.unmap();
  if (value !== 7) return { ok: false, reason: 'the device gives wrong data back' };
  return { ok: true, info: { vendor, architecture, device: deviceName, description }, features: [...adapter.features].toSorted(), limits };
}
