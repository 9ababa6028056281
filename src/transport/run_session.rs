//! A session on its connection, from the answered handshake to the end.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use crate::close::Close;
use crate::protocol::Format;
use crate::session::{Connection, Session};
use crate::telemetry;

/// Runs a session, and counts its end however it comes. A panic ends this session alone, and its
/// client hears that the fault is the node's. `place` is given back last.
///
/// Not an `async fn`, which would keep room for what it is given and for where it moves that.
pub fn run_session<P: Send>(
    session: Box<Session>,
    mut connection: impl Connection,
    place: P,
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
        // `Err`: it panicked, which has been logged. What it held is dropped by then.
        let ended = AssertUnwindSafe(session.run(&mut connection)).catch_unwind().await;
        if let Ok(close) = ended {
            counted.1 = close;
        } else {
            // In a box, because a task is as large as the largest thing it ever waits for.
            Box::pin(connection.close(Close::Internal, &outbound)).await;
        }
        drop(place);
    }
}

#[cfg(test)]
mod tests;
