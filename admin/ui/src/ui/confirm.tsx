import { Button, Group, Modal } from '@mantine/core';
import { type ReactNode, useEffect, useState, useSyncExternalStore } from 'react';
import { t } from '../i18n/t';

export interface Question {
  title: string;
  body: ReactNode;
  /** The verb on the button that does it. */
  verb: string;
  danger?: boolean;
  /** Does it; a thrown error keeps the dialog open and shows the message. */
  run: () => Promise<void>;
}

let open: Question | null = null;
const listeners = new Set<() => void>();
const set = (q: Question | null) => {
  open = q;
  for (const l of listeners) l();
};

/** Asks before something that cannot be undone. */
export const ask = (q: Question) => set(q);

/** Mantine's dialogs have the role "dialog", whatever they are given. */
const alertDialog = (props: Record<string, unknown>) => <section {...props} role="alertdialog" />;

export function Confirm() {
  const q = useSyncExternalStore((l) => { listeners.add(l); return () => void listeners.delete(l); }, () => open);
  const [last, setLast] = useState<Question | null>(null);
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState('');
  useEffect(() => {
    if (q) {
      setLast(q);
      setProblem('');
      setBusy(false);
    }
  }, [q]);
  const shown = q ?? last;
  return (
    <Modal.Root opened={q !== null} onClose={() => set(null)}>
      <Modal.Overlay />
      <Modal.Content renderRoot={alertDialog}>
        <Modal.Header>
          <Modal.Title>{shown?.title}</Modal.Title>
          <Modal.CloseButton aria-label={t('action.close')} />
        </Modal.Header>
        <Modal.Body>
          {shown && (
            <div className="stack" style={{ gap: 16 }}>
              <div>{shown.body}</div>
              {problem && <div className="note bad" role="alert">{problem}</div>}
              <Group justify="flex-end" gap="xs">
                <Button variant="default" data-autofocus onClick={() => set(null)}>{t('action.cancel')}</Button>
                <Button
                  color={shown.danger === false ? undefined : 'red.8'}
                  loading={busy}
                  onClick={async () => {
                    setBusy(true);
                    try {
                      await shown.run();
                      set(null);
                    } catch (e) {
                      setProblem(e instanceof Error ? e.message : String(e));
                    } finally {
                      setBusy(false);
                    }
                  }}
                >
                  {shown.verb}
                </Button>
              </Group>
            </div>
          )}
        </Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
