//! TLS of a listener: its handshakes, and keeping up with its files.

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

use super::files::{Contents, Files, TlsFileError};
use crate::live::Live;
use crate::settings::Section;
use crate::telemetry::{self, Rejected};

/// How often the files are looked at. What they say counts, not their times: an orchestrator that
/// exchanges a link to a directory leaves those as they are.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// How long a client whose handshake failed may take to read why.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection whose handshake is done. On the heap: what waits for one is small.
pub type Encrypted = Box<TlsStream<TcpStream>>;

/// What a listener shows and asks for, as its files had it when last they made sense. Clones share it.
#[derive(Clone)]
pub struct TlsServer {
    files: Arc<Files>,
    loaded: Live<Loaded>,
}

struct Loaded {
    contents: Contents,
    config: Arc<ServerConfig>,
}

impl TlsServer {
    /// Asks a listener's section for its files, and reads them. None: it speaks no TLS, or there is a
    /// fault.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let files = Files::read(section)?;
        match load(&files) {
            Ok(loaded) => Some(Self { files: Arc::new(files), loaded: Live::new(loaded) }),
            Err(TlsFileError { key, what }) => {
                section.fault(key, what);
                None
            }
        }
    }

    /// The one that is in use, where this is the same: clients come back to it with its tickets.
    pub fn or_same(self, used: Option<&Self>) -> Self {
        let is_same = |used: &&Self| {
            self.files == used.files && self.loaded.get().contents == used.loaded.get().contents
        };
        used.filter(is_same).cloned().unwrap_or(self)
    }

    /// Reads the files again; new handshakes get what they say now, connections stay as they are.
    /// False: they say what they said before. What makes no sense changes nothing.
    pub fn reload(&self) -> Result<bool, TlsFileError> {
        let contents = self.files.contents()?;
        if contents == self.loaded.get().contents {
            return Ok(false);
        }
        let config = Arc::new(contents.config()?);
        self.loaded.replace(Loaded { contents, config });
        Ok(true)
    }

    /// Shakes hands. None: it failed, or took longer than `patience`; it has been counted.
    pub async fn accept(&self, stream: TcpStream, patience: Duration) -> Option<Encrypted> {
        let acceptor = TlsAcceptor::from(self.loaded.get().config.clone());
        // On the heap for as long as it takes.
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

fn load(files: &Files) -> Result<Loaded, TlsFileError> {
    let contents = files.contents()?;
    let config = Arc::new(contents.config()?);
    Ok(Loaded { contents, config })
}

/// Waits a bounded time for a client to have read why. To close a socket with unread bytes resets it,
/// and the client would not hear of it.
async fn leave(mut stream: TcpStream) {
    let leaving = async {
        stream.shutdown().await?;
        let mut dropped = [0; 512];
        while stream.read(&mut dropped).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    // How it ends is the client's affair.
    let _ = timeout(FAREWELL_TIMEOUT, leaving).await;
}

/// Keeps a listener up with its files, for ever; `current` is what it has now. Files that make no
/// sense are told of once they are found so twice: half of them may just have been exchanged.
pub async fn watch(listener: &'static str, current: impl Fn() -> Option<TlsServer>) {
    let (mut found, mut told) = (None, None);
    loop {
        sleep(LOOK_INTERVAL).await;
        let Some(server) = current() else {
            (found, told) = (None, None);
            telemetry::certificate_well(listener);
            continue;
        };
        match spawn_blocking(move || server.reload()).await {
            Ok(Ok(is_new)) => {
                (found, told) = (None, None);
                telemetry::certificate_well(listener);
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
            // The runtime is ending.
            Err(_) => return,
        }
    }
}
