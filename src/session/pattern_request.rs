//! A subscription to a pattern on its way.

use crate::hub::PatternInterest;
use crate::protocol::Id;

/// A pattern that the broker has not confirmed yet.
pub struct PatternRequest {
    pub id: Option<Id>,
    pub interest: PatternInterest,
    pub echo: bool,
    pub partial: bool,
}
