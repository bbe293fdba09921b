import { ActionIcon, TextInput, Tooltip } from '@mantine/core';
import { IconCheck, IconPencil, IconX } from '@tabler/icons-react';
import { type ReactNode, useEffect, useId, useRef, useState } from 'react';
import { t } from '../i18n/t';

export interface InlineEditProps {
  /** The field's name as shown, such as "Email". */
  label: string;
  value: string;
  /** Saves; resolves to a message when the value is refused, to nothing when saved. */
  save: (value: string) => Promise<string | undefined>;
  /** How the value looks while it is not edited. */
  display?: ReactNode;
  inputMode?: 'text' | 'email' | 'numeric';
  width?: number;
}

/** Text that turns into a textbox: Enter or the checkmark saves, Escape restores. */
export function InlineEdit({ label, value, save, display, inputMode = 'text', width = 240 }: InlineEditProps) {
  const [draft, setDraft] = useState<string | null>(null);
  const [problem, setProblem] = useState('');
  const [busy, setBusy] = useState(false);
  const edit = useRef<HTMLButtonElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const back = useRef(false);
  const messageId = useId();
  const open = draft !== null;
  const field = label.toLowerCase();

  useEffect(() => {
    if (open) {
      input.current?.focus();
      input.current?.select();
    } else if (back.current) {
      back.current = false;
      edit.current?.focus();
    }
  }, [open]);

  const close = () => {
    back.current = true;
    setDraft(null);
    setProblem('');
  };
  const submit = async () => {
    if (draft === null || busy) return;
    if (draft.trim() === value) return close();
    setBusy(true);
    try {
      const refused = await save(draft.trim());
      if (refused) {
        setProblem(refused);
        input.current?.focus();
      } else close();
    } finally {
      setBusy(false);
    }
  };

  if (!open) {
    return (
      <span className="inline-edit">
        {display ?? (value ? <bdi className="cut" title={value}>{value}</bdi> : <span className="dim">{t('value.none')}</span>)}
        <Tooltip label={t('inline.edit', { field })}>
          <ActionIcon ref={edit} className="edit" variant="subtle" color="gray" size={32} aria-label={t('inline.edit', { field })} onClick={() => { setProblem(''); setDraft(value); }}>
            <IconPencil size={16} aria-hidden />
          </ActionIcon>
        </Tooltip>
      </span>
    );
  }
  return (
    <form
      className="inline-edit"
      style={{ alignItems: 'flex-start' }}
      noValidate
      onSubmit={(e) => { e.preventDefault(); void submit(); }}
      onKeyDown={(e) => { if (e.key === 'Escape') { e.preventDefault(); e.stopPropagation(); close(); } }}
    >
      <TextInput
        ref={input}
        aria-label={label}
        value={draft}
        onChange={(e) => { setDraft(e.currentTarget.value); setProblem(''); }}
        error={problem || undefined}
        errorProps={{ id: messageId, role: 'alert' }}
        aria-invalid={problem ? true : undefined}
        aria-describedby={problem ? messageId : undefined}
        inputMode={inputMode}
        autoComplete="off"
        spellCheck={false}
        size="sm"
        style={{ width, maxWidth: '56vw' }}
      />
      <ActionIcon type="submit" size={36} variant="light" loading={busy} aria-label={t('inline.save', { field })}><IconCheck size={18} aria-hidden /></ActionIcon>
      <ActionIcon type="button" size={36} variant="subtle" color="gray" aria-label={t('action.cancel')} onClick={close}><IconX size={18} aria-hidden /></ActionIcon>
    </form>
  );
}
