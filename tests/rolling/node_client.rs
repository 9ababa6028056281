//! Publishing through a client of the crowd, on the connection on which it listens too.

use std::time::Duration;

use testkit::log::{Channel, Position};
use testkit::publisher::{Publish, Unacknowledged};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

/// The longest wait for an answer: a client may be away when it is asked.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// What a client is to publish.
pub struct PublishRequest {
    pub channel: String,
    /// JSON.
    pub payload: String,
    pub key: String,
    /// Dropped where the connection ends first: nobody knows then whether it went out.
    pub answer: oneshot::Sender<Result<Option<Position>, Unacknowledged>>,
}

pub struct NodeClient(pub mpsc::Sender<PublishRequest>);

impl Publish for NodeClient {
    async fn publish(
        &mut self,
        channel: &Channel,
        payload: &str,
        key: &str,
    ) -> Result<Option<Position>, Unacknowledged> {
        let (answer, answered) = oneshot::channel();
        let order = PublishRequest {
            channel: channel.name.clone(),
            payload: payload.to_owned(),
            key: key.to_owned(),
            answer,
        };
        let asking = async {
            self.0.send(order).await.map_err(|_| "the client has ended")?;
            answered.await.map_err(|_| "the connection ended before an answer")
        };
        match timeout(ANSWER_TIME_MAX, asking).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => Err(Unacknowledged(why.to_owned())),
            Err(_) => Err(Unacknowledged("no answer in time".to_owned())),
        }
    }
}
