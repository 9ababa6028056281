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

/** Before the first publication of the history that `position` is in. */
export const beginningOf = (position: string) => position.replace(/-\d+$/, "-0");
