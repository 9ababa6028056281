//! Sockets: accepting them, answering HTTP, handing what becomes a WebSocket over to a session.
//! Knows nothing of what is said on them.

mod admission;
mod origin;
mod request;
mod socket;
mod websocket;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

pub use self::admission::open_file_limit;
use self::admission::{Admission, Admitted, Place};
pub use self::origin::Origins;
use self::request::Answer;
use self::socket::Socket;
/// For the fuzz targets.
#[doc(hidden)]
pub use self::websocket::Decoder;
use self::websocket::WebSocket;
use crate::close::Close;
use crate::limits::Limits;
use crate::listener;
use crate::session::{Connection, Context, Session};
use crate::settings::Settings;
use crate::telemetry::{self, Rejected};

/// The `[server]` section.
#[derive(Clone, Debug)]
pub struct Config {
    pub listen: SocketAddr,
    pub origins: Origins,
    pub handshake_timeout: Duration,
}

impl Config {
    pub fn read(settings: &mut Settings) -> Self {
        let mut section = settings.section("server");
        let listen = section.address("listen", "127.0.0.1:8080", "The public listener.");
        let origins = section.list(
            "origins",
            "a list of hosts, such as example.com, *.example.com or https://example.com:8443, or \"*\"",
            origin::is_pattern,
            "Pages of other hosts that may connect; those of the same host always may. `*` lets \
             every page in. Clients that are no browsers send no origin and are not asked.",
        );
        let handshake_timeout = section.duration(
            "handshake_timeout",
            "10s",
            Duration::from_millis(100)..=Duration::from_secs(600),
            "A connection whose request has not arrived whole by then is cut off.",
        );
        Self { listen, origins: Origins::new(&origins), handshake_timeout }
    }
}

/// How long a client may take to hear that there is no place for it.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(2);

/// The public listener: what every connection needs to be answered.
pub struct Public {
    pub context: Arc<Context>,
    pub origins: Origins,
    pub handshake_timeout: Duration,
    pub demo: bool,
    admission: Arc<Admission>,
}

impl Public {
    pub fn new(config: &Config, limits: &Limits, demo: bool, context: Arc<Context>) -> Self {
        Self {
            context,
            origins: config.origins.clone(),
            handshake_timeout: config.handshake_timeout,
            demo,
            admission: Admission::new(limits.get().connections_max),
        }
    }

    /// Accepts for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> Infallible {
        listener::accept(listener, |stream| {
            tokio::spawn(self.clone().handshake(stream));
        })
        .await
    }

    /// Answers requests until one of them becomes a session, which then gets a task of its own:
    /// what the handshake needed is given back while the connection idles.
    async fn handshake(self: Arc<Self>, stream: TcpStream) {
        let accepted = Instant::now();
        let Some(admitted) = self.admission.admit() else {
            telemetry::rejected(Rejected::ConnectionsMax, &"too many to be told");
            return;
        };
        let (place, is_full) = match admitted {
            Admitted::Yes(place) => (place, false),
            Admitted::No(place) => (place, true),
        };
        let upgrade: Arc<Mutex<Upgrade>> = Arc::default();
        let service = service_fn(|request| {
            let (public, upgrade) = (self.clone(), upgrade.clone());
            async move {
                let answer = request::answer(&public, &request, is_full).await;
                let mut upgrade = upgrade.lock().expect("no code panics while it holds the lock");
                upgrade.answered = true;
                Ok::<_, Infallible>(match answer {
                    Answer::Response(response) => response,
                    Answer::Session(response, session) => {
                        upgrade.session = Some(session);
                        response
                    }
                })
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.handshake_timeout)
            .keep_alive(!is_full)
            .max_buf_size(request::HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        // hyper bounds the reading of a head, not the writing of an answer nobody takes.
        let patience = if is_full { REFUSAL_TIMEOUT } else { self.handshake_timeout * 3 };
        let Ok(ended) = timeout(patience, connection.without_shutdown()).await else {
            if !upgrade.lock().expect("the service is done with it").answered {
                telemetry::rejected(Rejected::Handshake, &"no upgrade in time");
            }
            return;
        };
        let upgrade = std::mem::take(&mut *upgrade.lock().expect("the service is done with it"));
        match (ended, upgrade.session) {
            (Ok(parts), Some(session)) => {
                telemetry::connection_opened(session.protocol(), accepted.elapsed());
                let socket = Socket::new(parts.io.into_inner());
                session.attach(socket.wire());
                // What the client sent right behind its request. hyper's buffer is not kept for it.
                let early = parts.read_buf.to_vec();
                let connection = WebSocket::new(socket, early, session.message_bytes_max());
                tokio::spawn(converse(session, connection, place));
            }
            (Ok(parts), None) => {
                // Whether the client hears of the end is its own affair.
                let _ = parts.io.into_inner().shutdown().await;
            }
            (Err(error), _) if !upgrade.answered => {
                telemetry::rejected(Rejected::Handshake, &error);
            }
            (Err(_), _) => {}
        }
    }
}

/// What became of a connection's requests.
#[derive(Default)]
struct Upgrade {
    session: Option<Box<Session>>,
    answered: bool,
}

/// Runs a session on its connection, and counts its end however it comes. A panic ends this session
/// alone, and its client hears that the fault is the node's.
async fn converse(session: Box<Session>, mut connection: impl Connection, place: Place) {
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
