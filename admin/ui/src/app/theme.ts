import { createTheme, type CSSVariablesResolver, type MantineColorsTuple } from '@mantine/core';

/** Branchline's accent: the deep petrol of enamelled station signs. */
const petrol: MantineColorsTuple = ['#eaf6f6', '#d4ebec', '#a9d7d9', '#79c1c5', '#4fb0b6', '#2d949c', '#167e87', '#0b6b75', '#095a63', '#06454c'];

/** Neutral greys, warm as paper in the light theme and cool as slate in the dark one. */
const gray: MantineColorsTuple = ['#faf9f7', '#f3f2ee', '#e8e6e0', '#dad7cf', '#c3bfb5', '#98948a', '#67635a', '#524f47', '#3a3832', '#23211d'];
const dark: MantineColorsTuple = ['#dbe1e2', '#bac3c5', '#98a4a7', '#69767a', '#3b464a', '#2c3639', '#222b2e', '#192023', '#12181a', '#0c1011'];

export const theme = createTheme({
  primaryColor: 'petrol',
  primaryShade: { light: 7, dark: 7 },
  colors: { petrol, gray, dark },
  defaultRadius: 'md',
  fontFamily: 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif',
  fontFamilyMonospace: 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace',
  fontSizes: { xs: '0.75rem', sm: '0.875rem', md: '0.9375rem', lg: '1.0625rem', xl: '1.25rem' },
  headings: { fontWeight: '650' },
  cursorType: 'pointer',
  respectReducedMotion: true,
  components: {
    Modal: { defaultProps: { closeButtonProps: { 'aria-label': 'Close' }, centered: false, radius: 'lg', overlayProps: { backgroundOpacity: 0.5 }, transitionProps: { duration: 120 } } },
    ModalRoot: { defaultProps: { radius: 'lg', transitionProps: { duration: 120 } } },
    ModalOverlay: { defaultProps: { backgroundOpacity: 0.5 } },
    Drawer: { defaultProps: { closeButtonProps: { 'aria-label': 'Close' }, transitionProps: { duration: 150 } } },
    Tooltip: { defaultProps: { openDelay: 250, withArrow: true } },
    Menu: { defaultProps: { transitionProps: { duration: 100 }, shadow: 'md' } },
    Select: { defaultProps: { allowDeselect: false, comboboxProps: { transitionProps: { duration: 0 }, shadow: 'md' } } },
    Switch: { defaultProps: { withThumbIndicator: false } },
  },
});

export const variables: CSSVariablesResolver = () => ({
  variables: {},
  light: { '--mantine-color-body': '#f7f6f3', '--mantine-color-dimmed': '#67635a', '--mantine-color-placeholder': '#757067', '--mantine-color-error': '#b3261e', '--mantine-color-anchor': '#0b6b75' },
  dark: { '--mantine-color-body': '#12181a', '--mantine-color-dimmed': '#98a4a7', '--mantine-color-placeholder': '#8a979a', '--mantine-color-error': '#ff9d94', '--mantine-color-anchor': '#6fc9cf' },
});
