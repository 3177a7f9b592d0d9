/** @file Which packages a Linux distribution needs for WebGPU and for browser tests, and the commands that bring them. Pure. */

/** `ID`, `VERSION_ID` and so on of /etc/os-release. */
export function parseOsRelease(text) {
  const out = {};
  for (const line of text.split('\n')) {
    const match = /^([A-Z_]+)=(?:"(.*)"|'(.*)'|(.*))$/.exec(line.trim());
    if (match !== null) out[match[1]] = match[2] ?? match[3] ?? match[4] ?? '';
  }
  return out;
}

/**
 * The archive entries of apt's source files, of either format (one-line `.list`, deb822 `.sources`).
 * @param {readonly string[]} files contents
 * @returns {{ uri: string, suites: string[], components: string[], signedBy?: string }[]}
 */
export function parseAptSources(files) {
  return files.flatMap((text) => (/^\s*Types:/m.test(text) ? parseDeb822(text) : parseOneLine(text)));
}

function parseOneLine(text) {
  return text.split('\n').flatMap((raw) => {
    const match = /^deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s*(.*)$/.exec(raw.replace(/#.*/, '').trim());
    if (match === null) return [];
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(match[1] ?? '')?.[1];
    return [{ uri: match[2], suites: [match[3]], components: match[4].split(/\s+/).filter(Boolean), ...(signedBy === undefined ? {} : { signedBy }) }];
  });
}

function parseDeb822(text) {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = {};
    let last;
    for (const line of stanza.split('\n').filter((row) => !row.startsWith('#'))) {
      const match = /^([A-Za-z-]+):\s*(.*)$/.exec(line);
      if (match !== null) {
        last = match[1].toLowerCase();
        fields[last] = match[2];
      } else if (last !== undefined && /^\s/.test(line)) fields[last] += ` ${line.trim()}`;
    }
    const words = (key) => (fields[key] ?? '').split(/\s+/).filter(Boolean);
    if (!words('types').includes('deb') || /^no$/i.test(fields.enabled ?? '')) return [];
    const signedBy = fields['signed-by'];
    return words('uris').map((uri) => ({ uri, suites: words('suites'), components: words('components'), ...(signedBy?.startsWith('/') ? { signedBy } : {}) }));
  });
}

/** The archive a release comes from, as the machine's own sources have it. */
export function archiveOf(sources, suite) {
  return sources.find((source) => source.suites.includes(suite) && source.components.includes('main'));
}

const BACKPORTS_LIST = '/etc/apt/sources.list.d/trimpi-backports.list';

/**
 * How to get a software Vulkan driver that Dawn accepts.
 * @returns {{ commands: string[][], file?: { path: string, content: string } } | { advice: string }} commands for root, in order; or, for other systems, what to do.
 */
export function vulkanPlan(osRelease, sources) {
  const packages = ['mesa-vulkan-drivers', 'libvulkan1'];
  if (osRelease.ID === 'debian' && osRelease.VERSION_CODENAME === 'bookworm') {
    // Mesa 22.3 of Debian 12 itself is too old for Dawn.
    const suite = 'bookworm-backports';
    const install = ['apt-get', 'install', '-y', '--no-install-recommends', '-t', suite, ...packages];
    if (archiveOf(sources, suite) !== undefined) return { commands: [['apt-get', 'update'], install] };
    const archive = archiveOf(sources, 'bookworm');
    if (archive === undefined) return { advice: `Add ${suite} to apt's sources and install ${packages.join(' and ')} from it: no archive of bookworm was found in /etc/apt.` };
    const signed = archive.signedBy === undefined ? '' : `[signed-by=${archive.signedBy}] `;
    return { file: { path: BACKPORTS_LIST, content: `deb ${signed}${archive.uri} ${suite} main\n` }, commands: [['apt-get', 'update'], install] };
  }
  if (isDebianLike(osRelease)) return { commands: [['apt-get', 'update'], ['apt-get', 'install', '-y', '--no-install-recommends', ...packages]] };
  const others = { fedora: 'dnf install -y mesa-vulkan-drivers vulkan-loader', arch: 'pacman -S --noconfirm vulkan-swrast vulkan-icd-loader', 'opensuse-tumbleweed': 'zypper install -y libvulkan_lvp libvulkan1' };
  const command = others[osRelease.ID] ?? others[familyOf(osRelease)];
  return { advice: command === undefined ? "Install Mesa's lavapipe (the Vulkan software driver, Mesa 23 or later) and the Vulkan loader." : `Run: sudo ${command}` };
}

/** How to get a Chromium for the browser tests. */
export function chromiumPlan(osRelease) {
  if (osRelease.ID === 'debian') return { commands: [['apt-get', 'update'], ['apt-get', 'install', '-y', '--no-install-recommends', 'chromium']] };
  return { advice: 'Install Chromium or Chrome, or point CHROMIUM_PATH to one.' };
}

/** The one command a user who is not root has to run. */
export function commandLine(plan) {
  const parts = plan.commands.map((words) => words.join(' '));
  if (plan.file !== undefined) parts.unshift(`echo '${plan.file.content.trim()}' > ${plan.file.path}`);
  return `sudo sh -c "${parts.join(' && ')}"`;
}

function isDebianLike(osRelease) {
  return osRelease.ID === 'debian' || osRelease.ID === 'ubuntu' || /\b(debian|ubuntu)\b/.test(osRelease.ID_LIKE ?? '');
}

function familyOf(osRelease) {
  return (osRelease.ID_LIKE ?? '').split(' ').find((id) => id === 'fedora' || id === 'arch');
}
