import type { Wire } from "./payload.js";

/** Whether `position` lies behind `last`. Positions of different epochs have no order, but the node keeps theirs. */
export function isNew(position: string, last: string): boolean {
  const [at, lastAt] = [position.lastIndexOf("-"), last.lastIndexOf("-")];
  return position.slice(0, at) != last.slice(0, lastAt) || +position.slice(at + 1) > +last.slice(lastAt + 1);
}

/** Whether an answer to `history` without `since` has everything from the channel's first publication on. */
export function isWhole({ publications, position, more }: Wire): boolean {
  return !more && /-1$/.test(publications[0]?.position) || /-0$/.test(position);
}
