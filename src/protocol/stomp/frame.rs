//! A frame of a client: its command, its headers and its body.

use std::borrow::Cow;

use bytes::Bytes;

use super::fault::{FrameFault, HEADERS_MAX};
use super::version::StompVersion;

/// A frame of a client.
#[derive(Debug)]
pub struct ClientFrame<'a> {
    pub command: &'a str,
    headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    pub body: Bytes,
}

impl<'a> ClientFrame<'a> {
    /// `head`: the lines of command and headers. `version`: None before it is agreed.
    pub fn read(
        head: &'a [u8],
        body: Bytes,
        version: Option<StompVersion>,
    ) -> Result<Self, FrameFault> {
        let head = str::from_utf8(head).map_err(|_| FrameFault::Utf8)?;
        let mut lines = head.split_terminator('\n').map(|line| match version {
            None | Some(StompVersion::V12) => line.strip_suffix('\r').unwrap_or(line),
            _ => line,
        });
        let command = lines.next().unwrap_or_default();
        // The frames that agree on the version have no escapes.
        let escapes = match command {
            "CONNECT" | "STOMP" => None,
            _ => version,
        };
        let mut headers = Vec::with_capacity(8);
        for line in lines {
            if headers.len() == HEADERS_MAX {
                return Err(FrameFault::TooManyHeaders);
            }
            let (name, value) = line.split_once(':').ok_or(FrameFault::HeaderLine)?;
            if name.is_empty() {
                return Err(FrameFault::HeaderLine);
            }
            headers.push(match escapes {
                // The examples of version 1.0 have spaces behind the colon; later ones forbid to trim.
                None | Some(StompVersion::V10) => (name.trim().into(), value.trim().into()),
                Some(version) => (version.unescaped(name)?, version.unescaped(value)?),
            });
        }
        Ok(Self { command, headers, body })
    }

    /// The value of a header. The first counts if it is repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// The same without an empty value.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.header(name).filter(|value| !value.is_empty())
    }
}
