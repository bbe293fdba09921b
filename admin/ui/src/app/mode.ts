import { type MantineColorSchemeManager, useMantineColorScheme } from '@mantine/core';

/** The theme as chosen: "system" follows the machine. */
export type Mode = 'light' | 'dark' | 'system';

const key = 'branchline-theme';

export function storedMode(): Mode {
  try {
    const v = localStorage.getItem(key);
    return v === 'light' || v === 'dark' ? v : 'system';
  } catch {
    return 'system';
  }
}

/** Mantine's view of the same choice; public/theme.js reads it before the first paint. */
export const schemes: MantineColorSchemeManager = {
  get: () => {
    const m = storedMode();
    return m === 'system' ? 'auto' : m;
  },
  set: (v) => {
    try {
      if (v === 'auto') localStorage.removeItem(key);
      else localStorage.setItem(key, v);
    } catch {
      // Without storage the choice lives as long as the page.
    }
  },
  subscribe: () => {},
  unsubscribe: () => {},
  clear: () => localStorage.removeItem(key),
};

export function useMode(): [Mode, (m: Mode) => void] {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  return [colorScheme === 'auto' ? 'system' : colorScheme, (m) => setColorScheme(m === 'system' ? 'auto' : m)];
}
