//! Who gets a publication by a subscription to its channel.

use crate::hub::subscribers::Snapshot;

/// The direct subscribers to which a publication was delivered, or will be.
#[derive(Default)]
pub struct DirectDelivery {
    /// None: the channel has none.
    pub subscribers: Option<Snapshot>,
    /// The numbers of those whose subscription had ended.
    pub ended: Vec<u64>,
}
