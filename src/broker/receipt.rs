//! A reply of the broker, available now or later.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::sync::oneshot;

use super::unavailable::Unavailable;

/// Resolves when the broker has completed the request, or failed to in time.
#[derive(Debug)]
pub struct Receipt<T>(ReceiptState<T>);

#[derive(Debug)]
enum ReceiptState<T> {
    Ready(Result<T, Unavailable>),
    Pending(oneshot::Receiver<Result<T, Unavailable>>),
}

impl<T> Receipt<T> {
    pub fn ready(answer: Result<T, Unavailable>) -> Self {
        Self(ReceiptState::Ready(answer))
    }

    pub fn pending() -> (oneshot::Sender<Result<T, Unavailable>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(ReceiptState::Pending(receiver)))
    }
}

impl<T: Copy + Unpin> Future for Receipt<T> {
    type Output = Result<T, Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            ReceiptState::Ready(answer) => Poll::Ready(*answer),
            ReceiptState::Pending(receiver) => Pin::new(receiver)
                .poll(cx)
                .map(|answer| answer.unwrap_or(Err(Unavailable("the node is stopping")))),
        }
    }
}
