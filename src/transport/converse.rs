//! A session on its connection, from the answered handshake to the end.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::close::Close;
use crate::session::{Connection, Session};
use crate::telemetry;

/// Runs a session, and counts its end however it comes. A panic ends this session alone, and its
/// client hears that the fault is the node's. `place` is given back last.
pub async fn converse<P: Send>(session: Box<Session>, mut connection: impl Connection, place: P) {
    struct Counted(telemetry::Protocol, Close);
    impl Drop for Counted {
        fn drop(&mut self) {
            telemetry::connection_closed(self.0, self.1);
        }
    }
    let mut counted = Counted(session.protocol(), Close::Internal);
    let outbound = session.outbound().clone();
    if let Some(close) = unless_it_panics(session.run(&mut connection)).await {
        counted.1 = close;
    } else {
        connection.close(Close::Internal, &outbound).await;
    }
    drop(place);
}

/// None: it panicked, which has been logged. What it held is dropped by then.
async fn unless_it_panics<T>(running: impl Future<Output = T>) -> Option<T> {
    let mut running = pin!(running);
    poll_fn(|cx| {
        let polled = catch_unwind(AssertUnwindSafe(|| running.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(None), |poll| poll.map(Some))
    })
    .await
}

#[cfg(test)]
mod tests;
