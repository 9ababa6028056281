//! A publication encoded once for each format.

use bytes::Bytes;

use super::Format;
use crate::publication::Publication;

/// A publication's bytes in each format, encoded when the first subscriber needs them.
pub struct Encoded<'a> {
    channel: &'a str,
    publication: &'a Publication,
    bytes: [Option<Bytes>; Format::COUNT],
}

impl<'a> Encoded<'a> {
    pub fn new(channel: &'a str, publication: &'a Publication) -> Self {
        Self { channel, publication, bytes: Default::default() }
    }

    pub fn bytes(&mut self, format: Format) -> Bytes {
        self.bytes[format as usize]
            .get_or_insert_with(|| format.publication(self.channel, self.publication))
            .clone()
    }
}
