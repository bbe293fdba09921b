import { Button } from '@mantine/core';
import type { FormEvent, ReactNode } from 'react';
import { t } from '../i18n/t';
import { Card, Note } from './bits';

interface Form {
  dirty: boolean;
  busy: boolean;
  problem: string;
  cancel: () => void;
  submit: (e: FormEvent) => void;
}

/** A card of fields that save together: "Save" and "Cancel" only while something was changed. */
export function DraftCard({ title, form, children }: { title: string; form: Form; children: ReactNode }) {
  const foot = form.dirty ? <><Button variant="default" onClick={form.cancel}>{t('action.cancel')}</Button><Button type="submit" loading={form.busy}>{t('action.save')}</Button></> : undefined;
  return (
    <form onSubmit={form.submit} noValidate>
      <Card title={title} foot={foot}>
        <div className="stack" style={{ gap: 14 }}>
          {form.problem && <Note tone="bad">{form.problem}</Note>}
          {children}
        </div>
      </Card>
    </form>
  );
}
