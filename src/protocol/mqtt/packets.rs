//! Divides what a client sends into packets, whatever the frames or segments in which it arrives.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::reader::packet_length;
use super::session::MqttSession;
use crate::close::Close;
use crate::protocol::{Message, Packets};
use crate::publication::PayloadKind;

/// The bytes of a client that are not yet decoded. Holds no memory between packets.
pub struct MqttPackets {
    session: Arc<MqttSession>,
    /// Bytes that may hold whole packets, shared with what has arrived.
    whole: Bytes,
    /// The beginning of a packet. Not empty only while `whole` is.
    part: BytesMut,
}

impl MqttPackets {
    pub fn new(session: Arc<MqttSession>) -> Self {
        Self { session, whole: Bytes::new(), part: BytesMut::new() }
    }

    fn length(&self, bytes: &[u8]) -> Result<Option<usize>, Close> {
        let length = packet_length(bytes, self.session.packet_bytes_max());
        length.map_err(|fault| self.session.refuse(fault))
    }
}

impl Packets for MqttPackets {
    fn add(&mut self, data: Message) -> Result<(), Close> {
        if data.kind != PayloadKind::Binary {
            // MQTT-6.0.0-1.
            return Err(Close::Unsupported("packets are in binary frames"));
        }
        if self.part.is_empty() && self.whole.is_empty() {
            self.whole = data.payload;
        } else {
            let whole = std::mem::take(&mut self.whole);
            self.part.extend_from_slice(&whole);
            self.part.extend_from_slice(&data.payload);
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<Message>, Close> {
        if !self.part.is_empty() {
            match self.length(&self.part)? {
                Some(length) if length <= self.part.len() => {
                    self.whole = std::mem::take(&mut self.part).freeze();
                }
                _ => return Ok(None),
            }
        }
        match self.length(&self.whole)? {
            Some(length) if length <= self.whole.len() => {
                let payload = self.whole.split_to(length);
                Ok(Some(Message { kind: PayloadKind::Binary, payload }))
            }
            _ => {
                self.part = std::mem::take(&mut self.whole).as_ref().into();
                Ok(None)
            }
        }
    }

    fn silence_max(&self) -> Option<Duration> {
        self.session.silence_max()
    }
}
