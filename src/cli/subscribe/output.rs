//! Standard output of `tidegate subscribe`.

use std::io::{self, Write};

use crate::cli::line;
use crate::publication::{Channel, Publication};

/// The format of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputFormat {
    /// The payload unchanged, and a line feed.
    Payload,
    /// The same after the channel and a tab.
    ChannelAndPayload,
    /// One object per line.
    Json,
}

pub struct Output {
    format: OutputFormat,
}

impl Output {
    pub fn new(format: OutputFormat) -> Self {
        Self { format }
    }

    /// Writes on a blocking thread, because this thread also serves the connections to Redis.
    pub async fn publications(
        &self,
        channel: &Channel,
        publications: &[Publication],
    ) -> io::Result<()> {
        for end in publications.iter().filter_map(|publication| publication.end.as_ref()) {
            if self.format != OutputFormat::Json {
                eprintln!("tidegate: the run on {channel} has ended ({end})");
            }
        }
        let lines = publications.iter().map(|publication| self.line(channel, publication));
        write(lines.collect::<Vec<_>>().concat()).await
    }

    /// Reports that publications may be missing: as a line in JSON, else on standard error.
    pub async fn gap(&self, channel: &Channel, reason: &str) -> io::Result<()> {
        match self.format {
            OutputFormat::Json => write(line::of_gap(channel.as_str(), reason)).await,
            OutputFormat::Payload | OutputFormat::ChannelAndPayload => {
                eprintln!("tidegate: publications of {channel} may be missing ({reason})");
                Ok(())
            }
        }
    }

    fn line(&self, channel: &Channel, publication: &Publication) -> Vec<u8> {
        let payload = &publication.payload[..];
        match self.format {
            OutputFormat::Payload | OutputFormat::ChannelAndPayload
                if publication.end.is_some() =>
            {
                Vec::new()
            }
            OutputFormat::Json => line::of_publication(channel.as_str(), publication),
            OutputFormat::Payload => [payload, b"\n"].concat(),
            OutputFormat::ChannelAndPayload => {
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
