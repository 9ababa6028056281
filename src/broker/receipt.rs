//! An answer of the broker that comes now or later.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::unavailable::Unavailable;

/// Resolves when the broker has done what it was asked, or has not in time.
#[derive(Debug)]
pub struct Receipt<T>(ReceiptState<T>);

#[derive(Debug)]
enum ReceiptState<T> {
    Now(Result<T, Unavailable>),
    Later(oneshot::Receiver<Result<T, Unavailable>>),
}

impl<T> Receipt<T> {
    pub fn now(answer: Result<T, Unavailable>) -> Self {
        Self(ReceiptState::Now(answer))
    }

    pub fn later() -> (oneshot::Sender<Result<T, Unavailable>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(ReceiptState::Later(receiver)))
    }
}

impl<T: Copy + Unpin> Future for Receipt<T> {
    type Output = Result<T, Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            ReceiptState::Now(answer) => Poll::Ready(*answer),
            ReceiptState::Later(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|answer| answer.unwrap_or(Err(Unavailable("the node is stopping")))),
        }
    }
}
