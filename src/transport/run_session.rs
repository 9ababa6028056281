//! Runs a session on its connection, from the answered handshake to the end.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::close::Close;
use crate::protocol::Format;
use crate::session::{Connection, Session};
use crate::telemetry;

/// Runs a session and counts its end, whatever ends it. A panic ends this session only, and its client gets
/// 1011. `slots` is dropped last.
///
/// Not an `async fn`, whose future would reserve memory for its arguments twice.
pub fn run_session<P: Send>(
    session: Box<Session>,
    mut connection: impl Connection,
    slots: P,
) -> impl Future<Output = ()> + Send {
    struct Counted(Format, Close);
    impl Drop for Counted {
        fn drop(&mut self) {
            telemetry::connection_closed(self.0, self.1);
        }
    }
    async move {
        let mut counted = Counted(session.format(), Close::Internal);
        let outbound = session.outbound().clone();
        // `Err`: the session has panicked, which was logged, and its fields are dropped already.
        let ended = AssertUnwindSafe(session.run(&mut connection)).catch_unwind().await;
        if let Ok(close) = ended {
            counted.1 = close;
        } else {
            // Boxed, because a task is as large as the largest future that it awaits.
            let last = counted.0.close(Close::Internal);
            Box::pin(connection.close(Close::Internal, last, &outbound)).await;
        }
        drop(slots);
    }
}

#[cfg(test)]
mod tests;
