//! Publishing through one of the clients, on the connection on which it also subscribes.

use std::time::Duration;

use testkit::log::{Channel, Position};
use testkit::publisher::{Publish, Unacknowledged};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// The longest wait for a reply, because the client may be disconnected when it gets the request.
const REPLY_TIME_MAX: Duration = Duration::from_secs(30);

/// A publication for a client to send.
pub struct PublishRequest {
    pub channel: String,
    /// JSON.
    pub payload: String,
    pub key: String,
    /// Dropped if the connection ends first: then it is unknown whether the node received the publication.
    pub reply: oneshot::Sender<Result<Option<Position>, Unacknowledged>>,
}

pub struct RequestSender(pub mpsc::Sender<PublishRequest>);

impl Publish for RequestSender {
    async fn publish(
        &mut self,
        channel: &Channel,
        payload: &str,
        key: &str,
    ) -> Result<Option<Position>, Unacknowledged> {
        let (reply, receiver) = oneshot::channel();
        let request = PublishRequest {
            channel: channel.name.clone(),
            payload: payload.to_owned(),
            key: key.to_owned(),
            reply,
        };
        let reply = async {
            self.0.send(request).await.map_err(|_| "the client has ended")?;
            receiver.await.map_err(|_| "the connection ended before a reply")
        };
        match timeout(REPLY_TIME_MAX, reply).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(why)) => Err(Unacknowledged(why.to_owned())),
            Err(_) => Err(Unacknowledged("no reply in time".to_owned())),
        }
    }
}
