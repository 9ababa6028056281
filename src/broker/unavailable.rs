//! The broker's error, worded for clients.

/// The broker could not do the request now. The text gives the reason and is sent to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unavailable(pub &'static str);

/// The run on the channel has ended, so the publication is refused for ever.
pub const ENDED: Unavailable =
    Unavailable("the run has ended: nothing can be published on it any more");

/// The channel has no run that could be ended or renewed.
pub const NO_RUN: Unavailable =
    Unavailable("no run: nothing was published on the channel, or its rule has no run");

/// The channel's rule has no streams.
pub const NO_STREAMS: Unavailable = Unavailable("the rule of the channel has no streams = true");

/// Redis can never take this publication. Other publications are not affected.
pub const TOO_LARGE: Unavailable = Unavailable(
    "the publication is larger than redis accepts (proto-max-bulk-len, client-query-buffer-limit)",
);
