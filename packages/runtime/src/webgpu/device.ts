import { RuntimeError } from '../errors.ts';
import { MATRIX_MEMORY } from './kernels/matmul-matrix.ts';

export interface DeviceOptions {
  /** An entry point other than the platform's (`navigator.gpu`, or Dawn through the optional package `webgpu` in Node). */
  readonly gpu?: GPU;
  readonly powerPreference?: GPUPowerPreference;
  /** In Node: also what Dawn holds back, such as subgroup matrices and half floats on NVIDIA (Chrome has a flag for the former, --enable-unsafe-webgpu). */
  readonly experimental?: boolean;
}

/** A WebGPU device with what is worth knowing of its adapter. */
export interface Device {
  readonly gpu: GPUDevice;
  readonly adapter: AdapterFacts;
  /** Resolves once, when the device is lost; `destroyed` when by `dispose`. */
  readonly lost: Promise<{ readonly reason: 'destroyed' | 'unknown'; readonly message: string }>;
  dispose(): void;
  /** `dispose`, for `using`. */
  [Symbol.dispose](): void;
}

export interface AdapterFacts {
  readonly vendor: string;
  readonly architecture: string;
  readonly description: string;
  /** A CPU that plays a GPU (lavapipe, SwiftShader, WARP). */
  readonly software: boolean;
  readonly features: readonly string[];
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  readonly maxStorageBufferBindingSize: number;
  readonly maxBufferSize: number;
  /** Whether its subgroups of 32 multiply 16 x 16 matrices of half floats with sums of f32, and the device may use them. */
  readonly matrixUnits: boolean;
}

/** Features that kernels have a variant for; asked for where the adapter has them, never required. */
const WANTED_FEATURES = ['subgroups', 'shader-f16', 'timestamp-query', 'chromium-experimental-subgroup-matrix'] as const;
/** Limits raised to what the adapter has. */
const WANTED_LIMITS = [
  'maxStorageBufferBindingSize',
  'maxBufferSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeWorkgroupStorageSize',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupSizeX',
] as const;

/** Opens a WebGPU device in Node or a browser. Throws `no-adapter` with the remedy when there is none. */
export async function openDevice(options: DeviceOptions = {}): Promise<Device> {
  const gpu = options.gpu ?? (await platformGpu(options.experimental === true));
  const adapter = await gpu.requestAdapter(options.powerPreference === undefined ? {} : { powerPreference: options.powerPreference });
  if (adapter === null) {
    throw new RuntimeError('no-adapter', 'openDevice', 'no WebGPU adapter was found.', 'In Node on Linux install a Vulkan driver (Debian: mesa-vulkan-drivers 25 or newer); in a browser enable WebGPU or use a current Chrome, Edge, Firefox or Safari.');
  }
  const requiredFeatures = WANTED_FEATURES.filter((f) => adapter.features.has(f)) as GPUFeatureName[];
  const requiredLimits: Record<string, number> = {};
  for (const limit of WANTED_LIMITS) requiredLimits[limit] = adapter.limits[limit];
  const device = await adapter.requestDevice({ requiredFeatures, requiredLimits });
  const info = adapter.info as GPUAdapterInfo & { subgroupMinSize?: number; subgroupMaxSize?: number; subgroupMatrixConfigs?: Iterable<MatrixConfig> };
  const text = `${info.vendor} ${info.architecture} ${info.device} ${info.description}`.toLowerCase();
  return {
    gpu: device,
    adapter: {
      vendor: info.vendor,
      architecture: info.architecture,
      description: info.description,
      software: info.isFallbackAdapter === true || /llvmpipe|lavapipe|swiftshader|software|basic render/.test(text),
      features: requiredFeatures,
      subgroupMinSize: info.subgroupMinSize ?? 0,
      subgroupMaxSize: info.subgroupMaxSize ?? 0,
      maxStorageBufferBindingSize: device.limits.maxStorageBufferBindingSize,
      maxBufferSize: device.limits.maxBufferSize,
      matrixUnits:
        requiredFeatures.includes('chromium-experimental-subgroup-matrix' as GPUFeatureName) && requiredFeatures.includes('shader-f16') && info.subgroupMinSize === 32 && info.subgroupMaxSize === 32 &&
        device.limits.maxComputeWorkgroupStorageSize >= MATRIX_MEMORY && [...(info.subgroupMatrixConfigs ?? [])].some((c) => c.M === 16 && c.N === 16 && c.K === 16 && c.componentType === 'f16' && c.resultComponentType === 'f32'),
    },
    lost: device.lost.then((l) => ({ reason: l.reason === 'destroyed' ? 'destroyed' : 'unknown', message: l.message })),
    dispose: () => device.destroy(),
    [Symbol.dispose]: () => device.destroy(),
  };
}

/** One kind of product that subgroup matrices offer. */
interface MatrixConfig {
  readonly M: number;
  readonly N: number;
  readonly K: number;
  readonly componentType: string;
  readonly resultComponentType: string;
}

async function platformGpu(experimental: boolean): Promise<GPU> {
  if (typeof navigator !== 'undefined' && 'gpu' in navigator && navigator.gpu !== undefined) return navigator.gpu;
  if (typeof process === 'undefined' || process.versions?.node === undefined) {
    throw new RuntimeError('no-adapter', 'openDevice', 'this browser has no WebGPU.', 'Use a current Chrome, Edge, Firefox or Safari over https or localhost.');
  }
  const known = dawn.get(experimental);
  if (known !== undefined) return known;
  const created = import(/* @vite-ignore */ DAWN).then(
    (m: { create(flags: string[]): GPU; globals: object }) => {
      Object.assign(globalThis, m.globals);
      // Browsers round timestamps against attacks on their visitors; here they would only blur profiles and the tuner.
      return m.create([...(experimental ? ['enable-dawn-features=allow_unsafe_apis,vulkan_enable_f16_on_nvidia'] : []), 'disable-dawn-features=timestamp_quantization']);
    },
    (cause: unknown) => {
      dawn.delete(experimental);
      throw new RuntimeError('no-adapter', 'openDevice', 'the package "webgpu" (Dawn for Node) cannot be loaded.', 'Install it beside this one: npm install webgpu.', { cause });
    },
  );
  dawn.set(experimental, created);
  return created;
}

/** A variable, so that bundlers leave the optional package alone. */
const DAWN = 'webgpu';
/** One Dawn instance for the process, and one with what it holds back; devices are many. */
const dawn = new Map<boolean, Promise<GPU>>();
