import type { Wire } from "./payload.js";

/**
 * Whether `position` lies behind `last`. The node keeps the order of epochs, so a live publication of another epoch is new; where
 * what is live meets what is read from the history (`mixed`), the larger epoch is the later one.
 */
export function isNew(position: string, last: string, mixed = false): boolean {
  const [[epoch, seq], [lastEpoch, lastSeq]] = [position, last].map((text) => text.split("-")) as [[string, string], [string, string]];
  if (epoch == lastEpoch) return +seq > +lastSeq;
  // Epochs have more digits than a number holds.
  return !mixed || (epoch.length == lastEpoch.length ? epoch > lastEpoch : epoch.length > lastEpoch.length);
}

/** Whether an answer to `history` without `since` has everything from the channel's first publication on. */
export function isWhole({ publications, position, more }: Wire): boolean {
  return !more && /-1$/.test(publications[0]?.position) || /-0$/.test(position);
}
