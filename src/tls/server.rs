//! TLS of a listener: its handshakes, and reloading its files.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::alpn::{Alpn, HTTP_2};
use super::files::{Contents, Files, TlsFileError};
use crate::live::Live;
use crate::settings::Section;
use crate::telemetry::{self, Rejected};

/// How often the files are checked. By content, not modification time, because an orchestrator that
/// replaces a link to a directory keeps the times.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How long a client whose handshake failed may take to read the alert.
const ALERT_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection after its handshake. Boxed, so that futures that await one are small.
pub type Encrypted = Box<TlsStream<TcpStream>>;

/// The TLS configuration of a listener, from its last valid files. Clones share it.
#[derive(Clone)]
pub struct TlsServer {
    files: Arc<Files>,
    alpn: Alpn,
    loaded: Live<Loaded>,
}

struct Loaded {
    contents: Contents,
    config: Arc<ServerConfig>,
}

impl TlsServer {
    /// Reads a listener's section and files. None: it does not use TLS, or there is a
    /// fault.
    pub fn read(section: &mut Section<'_>, alpn: Alpn) -> Option<Self> {
        let files = Files::read(section)?;
        match load(&files, alpn) {
            Ok(loaded) => Some(Self { files: Arc::new(files), alpn, loaded: Live::new(loaded) }),
            Err(TlsFileError { key, what }) => {
                section.fault(key, what);
                None
            }
        }
    }

    /// Returns `used` if its files, contents and protocols are the same, so that its session tickets stay valid.
    pub fn or_same(self, used: Option<&Self>) -> Self {
        let is_same = |used: &&Self| {
            self.files == used.files
                && self.alpn == used.alpn
                && self.loaded.get().contents == used.loaded.get().contents
        };
        used.filter(is_same).cloned().unwrap_or(self)
    }

    /// Reads the files again. New handshakes use the new contents; connections stay unchanged.
    /// False: the contents have not changed. Invalid files change nothing.
    pub fn reload(&self) -> Result<bool, TlsFileError> {
        let contents = self.files.contents()?;
        if contents == self.loaded.get().contents {
            return Ok(false);
        }
        let config = Arc::new(contents.config(self.alpn)?);
        self.loaded.replace(Loaded { contents, config });
        Ok(true)
    }

    /// Performs the handshake. None: it failed, or took longer than `patience`, and has been counted.
    pub async fn accept(&self, stream: TcpStream, patience: Duration) -> Option<Encrypted> {
        let acceptor = TlsAcceptor::from(self.loaded.get().config.clone());
        // Boxed only while the handshake runs.
        let handshake = Box::pin(acceptor.accept(stream).into_fallible());
        match timeout(patience, handshake).await {
            Ok(Ok(stream)) => Some(Box::new(stream)),
            Ok(Err((error, stream))) => {
                telemetry::rejected(Rejected::Tls, &error);
                leave(stream).await;
                None
            }
            Err(_) => {
                telemetry::rejected(Rejected::Tls, &"no handshake in time");
                None
            }
        }
    }
}

impl fmt::Debug for TlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}

fn load(files: &Files, alpn: Alpn) -> Result<Loaded, TlsFileError> {
    let contents = files.contents()?;
    let config = Arc::new(contents.config(alpn)?);
    Ok(Loaded { contents, config })
}

/// Whether the client and the listener have agreed on HTTP/2.
pub fn speaks_http2(stream: &Encrypted) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(HTTP_2)
}

/// Waits a bounded time until the client has read the alert. Closing a socket with unread bytes resets it, and
/// the client would not receive the alert.
async fn leave(mut stream: TcpStream) {
    let leaving = async {
        stream.shutdown().await?;
        let mut dropped = [0; 512];
        while stream.read(&mut dropped).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // An error of the client's connection needs no action.
    let _ = timeout(ALERT_TIMEOUT, leaving).await;
}

/// Reloads a listener's files whenever they change, for ever; `current` is its current TLS. A fault is reported
/// once it is found twice, because the files may be half replaced at the first check.
pub async fn watch(listener: &'static str, current: impl Fn() -> Option<TlsServer>) {
    let (mut found, mut told) = (None, None);
    loop {
        sleep(LOOK_INTERVAL).await;
        let Some(server) = current() else {
            (found, told) = (None, None);
            telemetry::certificate_valid(listener);
            continue;
        };
        match spawn_blocking(move || server.reload()).await {
            Ok(Ok(is_new)) => {
                (found, told) = (None, None);
                telemetry::certificate_valid(listener);
                if is_new {
                    telemetry::certificate_replaced(listener);
                }
            }
            Ok(Err(fault)) => {
                if found.as_ref() == Some(&fault) && told.as_ref() != Some(&fault) {
                    telemetry::certificate_refused(listener, &fault);
                    told = Some(fault.clone());
                }
                found = Some(fault);
            }
            // The runtime is shutting down.
            Err(_) => return,
        }
    }
}
