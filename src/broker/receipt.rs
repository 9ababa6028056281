//! A reply of the broker, available now or later.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::sync::oneshot;

use super::unavailable::Unavailable;
use crate::publication::Position;

/// Resolves when the broker has completed the request, or failed to in time.
#[derive(Debug)]
pub struct Receipt<T> {
    state: ReceiptState<T>,
    /// Set by [`Receipt::without_position`].
    replacement: Option<T>,
}

#[derive(Debug)]
enum ReceiptState<T> {
    Ready(Result<T, Unavailable>),
    Pending(oneshot::Receiver<Result<T, Unavailable>>),
}

impl<T> Receipt<T> {
    pub fn ready(answer: Result<T, Unavailable>) -> Self {
        Self { state: ReceiptState::Ready(answer), replacement: None }
    }

    pub fn pending() -> (oneshot::Sender<Result<T, Unavailable>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self { state: ReceiptState::Pending(receiver), replacement: None })
    }
}

impl Receipt<Option<Position>> {
    /// The same receipt, which does not tell the position.
    pub fn without_position(self) -> Self {
        Self { replacement: Some(None), ..self }
    }
}

impl<T: Copy + Unpin> Future for Receipt<T> {
    type Output = Result<T, Unavailable>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.state {
            ReceiptState::Ready(answer) => *answer,
            ReceiptState::Pending(receiver) => ready!(Pin::new(receiver).poll(cx))
                .unwrap_or(Err(Unavailable("the node is stopping"))),
        };
        Poll::Ready(answer.map(|it| self.replacement.unwrap_or(it)))
    }
}
