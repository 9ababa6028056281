//! The subscriptions of a session whose connection was too slow.

use std::future::poll_fn;
use std::task::Poll;

use futures_util::future::BoxFuture;

use crate::hub::Interest;

/// The subscriptions of one session that have fallen behind: at most as many as it has.
#[derive(Default)]
#[expect(clippy::box_collection, reason = "a session has one word for it, not three")]
pub struct CatchingUp(Option<Box<Vec<Behind>>>);

struct Behind {
    subscription: u64,
    interest: BoxFuture<'static, Interest>,
}

/// A subscription that can continue.
pub struct CaughtUp {
    pub subscription: u64,
    pub interest: Interest,
}

impl CatchingUp {
    /// `interest`: resolves once the client can continue.
    pub fn add(&mut self, subscription: u64, interest: BoxFuture<'static, Interest>) {
        self.0.get_or_insert_default().push(Behind { subscription, interest });
    }

    /// Forgets those whose subscription has ended.
    pub fn retain(&mut self, is_subscribed: impl Fn(u64) -> bool) {
        if let Some(list) = &mut self.0 {
            list.retain(|behind| is_subscribed(behind.subscription));
            self.0.take_if(|list| list.is_empty());
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Resolves once the client can continue with a subscription. Cancel safe.
    pub async fn next(&mut self) -> CaughtUp {
        poll_fn(|cx| {
            let Some(list) = &mut self.0 else { return Poll::Pending };
            let ready = list.iter_mut().enumerate().find_map(|(at, behind)| {
                match behind.interest.as_mut().poll(cx) {
                    Poll::Ready(interest) => Some((at, interest)),
                    Poll::Pending => None,
                }
            });
            let Some((at, interest)) = ready else { return Poll::Pending };
            let Behind { subscription, .. } = list.swap_remove(at);
            self.0.take_if(|list| list.is_empty());
            Poll::Ready(CaughtUp { subscription, interest })
        })
        .await
    }
}
