//! The broker's error, worded for clients.

/// The broker could not do the request now. The text gives the reason and is sent to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub &'static str);

/// Redis can never take this publication. Other publications are not affected.
pub const TOO_LARGE: Unavailable = Unavailable(
    "the publication is larger than redis accepts (proto-max-bulk-len, client-query-buffer-limit)",
);
