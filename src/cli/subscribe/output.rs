//! Standard output of `tidegate subscribe`.

use std::io::{self, Write};

use crate::cli::line;
use crate::publication::{Channel, Publication};

/// How a publication is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// As it is, and a line feed.
    Payload,
    /// The same behind its channel and a tab.
    ChannelAndPayload,
    /// One object a line.
    Json,
}

pub struct Output {
    format: Format,
}

impl Output {
    pub fn new(format: Format) -> Self {
        Self { format }
    }

    /// Waits for the reader beside the runtime: this thread also serves the connections to Redis.
    pub async fn publications(
        &self,
        channel: &Channel,
        publications: &[Publication],
    ) -> io::Result<()> {
        let lines = publications.iter().map(|publication| self.line(channel, publication));
        write(lines.collect::<Vec<_>>().concat()).await
    }

    /// Publications may be missing here. Only JSON has a place for that beside them.
    pub async fn gap(&self, channel: &Channel, reason: &str) -> io::Result<()> {
        match self.format {
            Format::Json => write(line::of_gap(channel.as_str(), reason)).await,
            Format::Payload | Format::ChannelAndPayload => {
                eprintln!("tidegate: publications of {channel} may be missing ({reason})");
                Ok(())
            }
        }
    }

    fn line(&self, channel: &Channel, publication: &Publication) -> Vec<u8> {
        let payload = &publication.payload[..];
        match self.format {
            Format::Json => line::of_publication(channel.as_str(), publication),
            Format::Payload => [payload, b"\n"].concat(),
            Format::ChannelAndPayload => {
                [channel.as_str().as_bytes(), b"\t", payload, b"\n"].concat()
            }
        }
    }
}

async fn write(bytes: Vec<u8>) -> io::Result<()> {
    let writing = tokio::task::spawn_blocking(move || {
        let mut out = io::stdout().lock();
        out.write_all(&bytes).and_then(|()| out.flush())
    });
    writing.await.map_err(io::Error::other)?
}
