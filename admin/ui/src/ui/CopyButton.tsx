import { ActionIcon, Tooltip } from '@mantine/core';
import { IconCheck, IconCopy } from '@tabler/icons-react';
import { useEffect, useState } from 'react';
import { t } from '../i18n/t';
import { toast } from './toast';

/** Puts text on the clipboard, also on plain HTTP where the clipboard API is absent. */
export async function copyText(text: string): Promise<boolean> {
  try {
    if (navigator.clipboard && isSecureContext) {
      await navigator.clipboard.writeText(text);
      return true;
    }
  } catch {
    // Refused; the old way may still work.
  }
  const area = document.createElement('textarea');
  area.value = text;
  area.readOnly = true;
  area.style.cssText = 'position:fixed;top:0;opacity:0';
  // Inside a dialog the focus is trapped: the area must be within it.
  const focused = document.activeElement as HTMLElement | null;
  (focused?.closest('[role=dialog]') ?? document.body).append(area);
  area.select();
  let done = false;
  try {
    done = document.execCommand('copy');
  } finally {
    area.remove();
    focused?.focus();
  }
  return done;
}

/** A button named "Copy <what>" that says "Copied" for two seconds. */
export function CopyButton({ what, value }: { what: string; value: string | (() => Promise<string>) }) {
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), 2000);
    return () => clearTimeout(timer);
  }, [copied]);
  const name = copied ? t('action.copied') : t('action.copy', { what });
  return (
    <>
      <Tooltip label={name}>
        <ActionIcon
          variant="subtle"
          color={copied ? 'green' : 'gray'}
          size={32}
          aria-label={name}
          onClick={async (e) => {
            e.stopPropagation();
            const text = typeof value === 'string' ? value : await value();
            if (await copyText(text)) setCopied(true);
            else toast({ title: t('copy.failed'), message: text, bad: true });
          }}
        >
          {copied ? <IconCheck size={17} aria-hidden /> : <IconCopy size={17} aria-hidden />}
        </ActionIcon>
      </Tooltip>
      <span role="status" className="hidden-at-once">{copied ? t('action.copied') : ''}</span>
    </>
  );
}
