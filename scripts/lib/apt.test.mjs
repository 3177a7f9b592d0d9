import { describe, expect, it } from 'vitest';
import { archiveOf, chromiumPlan, commandLine, parseAptSources, parseOsRelease, vulkanPlan } from './apt.mjs';

const BOOKWORM = parseOsRelease('PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID="12"\nVERSION_CODENAME=bookworm\nID=debian\n');
const DEB822 = `# a comment
Types: deb
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main contrib
`;

describe('apt sources', () => {
  it('reads os-release', () => {
    expect(BOOKWORM).toMatchObject({ ID: 'debian', VERSION_ID: '12', VERSION_CODENAME: 'bookworm', PRETTY_NAME: 'Debian GNU/Linux 12 (bookworm)' });
  });

  it('reads both formats', () => {
    expect(parseAptSources([DEB822])).toEqual([
      { uri: 'http://mirror.example/debian', suites: ['bookworm', 'bookworm-updates'], components: ['main'], signedBy: '/usr/share/keyrings/debian-archive-keyring.gpg' },
      { uri: 'http://mirror.example/debian-security', suites: ['bookworm-security'], components: ['main', 'contrib'] },
    ]);
    expect(parseAptSources(['# deb http://no x main\ndeb [arch=amd64 signed-by=/k.gpg] https://a/debian bookworm main contrib # c\ndeb-src https://a/debian bookworm main\n'])).toEqual([
      { uri: 'https://a/debian', suites: ['bookworm'], components: ['main', 'contrib'], signedBy: '/k.gpg' },
    ]);
    expect(parseAptSources(['Types: deb\nEnabled: no\nURIs: http://a\nSuites: bookworm\nComponents: main\n', ''])).toEqual([]);
    expect(archiveOf(parseAptSources([DEB822]), 'bookworm-security')?.uri).toBe('http://mirror.example/debian-security');
  });
});

describe('plans', () => {
  it('Debian 12: from backports, of the archive the machine uses already', () => {
    const plan = vulkanPlan(BOOKWORM, parseAptSources([DEB822]));
    expect(plan.file).toEqual({
      path: '/etc/apt/sources.list.d/trimpi-backports.list',
      content: 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian bookworm-backports main\n',
    });
    expect(plan.commands.at(-1)?.join(' ')).toBe('apt-get install -y --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1');
    expect(commandLine(plan)).toBe(
      `sudo sh -c "echo 'deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror.example/debian bookworm-backports main' > /etc/apt/sources.list.d/trimpi-backports.list && apt-get update && apt-get install -y --no-install-recommends -t bookworm-backports mesa-vulkan-drivers libvulkan1"`,
    );
  });

  it('Debian 12 with backports already: no file; without any archive: advice', () => {
    expect(vulkanPlan(BOOKWORM, parseAptSources([DEB822, 'deb http://mirror.example/debian bookworm-backports main'])).file).toBeUndefined();
    expect(vulkanPlan(BOOKWORM, []).advice).toMatch(/bookworm-backports/);
  });

  it('other systems', () => {
    expect(vulkanPlan({ ID: 'debian', VERSION_CODENAME: 'trixie' }, []).commands?.at(-1)).not.toContain('-t');
    expect(vulkanPlan({ ID: 'linuxmint', ID_LIKE: 'ubuntu debian' }, []).commands).toHaveLength(2);
    expect(vulkanPlan({ ID: 'fedora' }, []).advice).toMatch(/dnf install/);
    expect(vulkanPlan({ ID: 'manjaro', ID_LIKE: 'arch' }, []).advice).toMatch(/pacman/);
    expect(vulkanPlan({ ID: 'void' }, []).advice).toMatch(/lavapipe/);
    expect(chromiumPlan(BOOKWORM).commands?.at(-1)).toContain('chromium');
    expect(chromiumPlan({ ID: 'ubuntu' }).advice).toMatch(/CHROMIUM_PATH/);
  });
});
