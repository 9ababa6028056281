//! Why the broker did not do what it was asked, in words for a client.

/// The broker could not do it now; the text says why, in words for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub &'static str);

/// The broker will never take it, as it is too large; the others are not affected.
pub const TOO_LARGE: Unavailable = Unavailable(
    "the publication is larger than redis takes (proto-max-bulk-len, client-query-buffer-limit)",
);
