import { Fragment, type ReactNode } from 'react';
import { type MessageKey, tParts } from './t';

/** A message with elements in it: `<T k="users.none" v={{ q: <bdi>x</bdi> }} />`. */
export function T({ k, v = {} }: { k: MessageKey; v?: Record<string, ReactNode> }) {
  return tParts<ReactNode>(k, v as Record<string, ReactNode>).map((part, i) => <Fragment key={i}>{part}</Fragment>);
}
