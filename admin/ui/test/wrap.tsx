import { MantineProvider } from '@mantine/core';
import { render } from '@testing-library/react';
import type { ReactElement } from 'react';
import { theme } from '../src/app/theme';

export const show = (ui: ReactElement) => render(<MantineProvider theme={theme} env="test">{ui}</MantineProvider>);
