//! Revocations where there is one node: it is told, and keeps them itself.

use std::future::ready;

use futures_util::future::BoxFuture;

use super::super::{Event, Revocation, Revoking, Unavailable};
use super::Memory;

impl Revoking for Memory {
    fn revoke(&self, revocation: Revocation) -> BoxFuture<'_, Result<(), Unavailable>> {
        (self.sink)(Event::Revoked { user: &revocation.user, before: revocation.before });
        Box::pin(ready(Ok(())))
    }
}
