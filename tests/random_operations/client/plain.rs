//! A client of the plain protocol: one channel, no replies, and positions only in the upgrade's headers.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rand::Rng;
use testkit::audit::journal::{Entry, Plain};
use testkit::log::Position;
use testkit::server_message::Payload;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::{Client, PAUSE_MAX, PING_INTERVAL, SILENCE_MAX};
use crate::directory::Socket;

impl Client {
    pub(super) async fn run_plain(&mut self, publishes: bool) {
        let channel = self.assigned[0];
        let name = self.channels[channel].name.clone();
        loop {
            let (since, echo) = (self.states[&channel].last, self.random.random_bool(0.6));
            let closes_at_gap = self.random.random_bool(0.5);
            let since = since.filter(|_| self.random.random_bool(0.7));
            let mut path = format!("/ws/{name}?echo={echo}");
            if let Some(since) = since {
                path += &format!("&since={since}");
            }
            if closes_at_gap {
                path += "&gap=close";
            }
            let opened = self.directory.open(&mut self.random, &path, false).await;
            if let Ok((node, socket, response)) = opened {
                self.connections += 1;
                let position = header(&response, "tidegate-position");
                let position = position.and_then(|it| Position::parse(&it));
                let recovered = header(&response, "tidegate-recovered").map(|it| it == "true");
                let state = self.states.get_mut(&channel).expect("it is assigned");
                state.last = position.or(state.last);
                let node = node.public.to_string();
                let plain =
                    Plain { node, channel, since, echo, closes_at_gap, position, recovered };
                self.write(Entry::OpenedPlain(Box::new(plain)));
                let why = match self.run_plain_session(socket, publishes).await {
                    Ok(why) => why,
                    Err(error) => error.to_string(),
                };
                self.write(Entry::Closed { why });
            }
            let pause = self.random.random_range(1..PAUSE_MAX);
            sleep(Duration::from_millis(pause)).await;
        }
    }

    async fn run_plain_session(
        &mut self,
        mut socket: Socket,
        publishes: bool,
    ) -> Result<String, Error> {
        let mut received_at = Instant::now();
        let mut ping_at = received_at + PING_INTERVAL;
        let mut publish_at = received_at + self.pause();
        let disconnect_at =
            received_at + Duration::from_millis(self.random.random_range(300..4000));
        loop {
            let wake = if publishes { publish_at.min(ping_at) } else { ping_at };
            let message = tokio::select! {
                biased;
                () = sleep_until(wake) => None,
                message = socket.next() => Some(message),
            };
            match message {
                Some(None) => return Ok("ended".to_owned()),
                Some(Some(Err(error))) => return Err(error),
                Some(Some(Ok(Message::Close(frame)))) => {
                    let why = frame.map_or("no code".to_owned(), |it| {
                        format!("{} {}", u16::from(it.code), it.reason)
                    });
                    let _ = timeout(SILENCE_MAX, socket.next()).await;
                    return Ok(why);
                }
                Some(Some(Ok(message))) => {
                    received_at = Instant::now();
                    if let Message::Text(text) = message {
                        self.handle_plain_message(text.as_str());
                    }
                }
                None => {}
            }
            let (now, settles) = (Instant::now(), *self.settle.borrow());
            if now >= received_at + SILENCE_MAX {
                return Ok("silent".to_owned());
            }
            if now >= disconnect_at && !settles {
                return Ok("the client disconnected".to_owned());
            }
            if now >= ping_at {
                ping_at = now + PING_INTERVAL;
                send(&mut socket, Message::Ping("ping".into())).await?;
            }
            if publishes && now >= publish_at {
                publish_at = now + self.pause();
                if !settles {
                    self.publish_plain(&mut socket).await?;
                }
            }
        }
    }

    fn handle_plain_message(&self, text: &str) {
        let channel = self.assigned[0];
        match serde_json::from_str::<Payload>(text) {
            Ok(body) => {
                let name = (body.p, body.n);
                self.write(Entry::Publication { channel, name, position: None });
            }
            Err(_) => self.write(Entry::Unexpected(text.to_owned())),
        }
    }

    async fn publish_plain(&mut self, socket: &mut Socket) -> Result<(), Error> {
        let Some(publisher) = self.publisher.clone() else { return Ok(()) };
        let number = publisher.record.begin(Some(self.connections - 1));
        let payload =
            Payload { p: publisher.number, n: number }.text(self.random.random_range(0..120));
        send(socket, Message::text(payload)).await
    }
}

async fn send(socket: &mut Socket, message: Message) -> Result<(), Error> {
    match timeout(SILENCE_MAX, socket.send(message)).await {
        Ok(sent) => sent,
        Err(_) => Err(Error::Io(std::io::ErrorKind::TimedOut.into())),
    }
}

fn header(response: &Response, name: &str) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}
