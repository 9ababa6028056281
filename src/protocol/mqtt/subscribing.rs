//! The answers to SUBSCRIBE and UNSUBSCRIBE: one code for each filter, in one packet.

use super::packet::Version;
use super::reason::Reason;
use super::written::SUBACK;

/// The packets that are not answered. A session reads no further packet while it subscribes, so there are few.
#[derive(Debug, Default)]
pub struct FilterAcks {
    next: u32,
    pending: Vec<FilterAck>,
}

/// An answer that is being put together.
#[derive(Debug)]
pub struct FilterAck {
    number: u32,
    /// The first byte of the answer.
    pub first: u8,
    pub packet_id: u16,
    /// None: not known yet.
    codes: Vec<Option<Reason>>,
    /// Filters that the packet names again: the place of each, and that of the last of the same name.
    repeated: Vec<(u16, u16)>,
}

impl FilterAcks {
    /// Begins an answer for so many filters. Returns its number.
    pub fn begin(&mut self, first: u8, packet_id: u16, filters: usize) -> u32 {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let (codes, repeated) = (vec![None; filters], Vec::new());
        self.pending.push(FilterAck { number, first, packet_id, codes, repeated });
        number
    }

    /// Sets the code of a filter whose reply does not say it.
    pub fn preset(&mut self, number: u32, at: u16, code: Reason) {
        if let Some(place) = self.place(number, at) {
            *place = Some(code);
        }
    }

    /// Whether the packet of this number is a SUBSCRIBE.
    pub fn is_of_subscribe(&self, number: u32) -> bool {
        self.pending.iter().any(|ack| ack.number == number && ack.first == SUBACK)
    }

    /// The filter at this place gets the code of another, which is the same.
    pub fn repeat(&mut self, number: u32, at: u16, last: u16) {
        self.preset(number, at, Reason::Unspecified);
        if let Some(ack) = self.pending.iter_mut().find(|ack| ack.number == number) {
            ack.repeated.push((at, last));
        }
    }

    /// The command of a filter is answered: sets its code, unless it has one, and returns the answer if it was the last.
    pub fn answer(&mut self, number: u32, at: u16, code: Reason) -> Option<FilterAck> {
        let place = self.place(number, at)?;
        place.get_or_insert(code);
        let found = self.pending.iter().position(|ack| ack.number == number)?;
        if self.pending[found].codes.contains(&None) {
            return None;
        }
        let ack = self.pending.swap_remove(found);
        if self.pending.is_empty() {
            self.pending = Vec::new();
        }
        Some(ack)
    }

    fn place(&mut self, number: u32, at: u16) -> Option<&mut Option<Reason>> {
        let ack = self.pending.iter_mut().find(|ack| ack.number == number)?;
        ack.codes.get_mut(usize::from(at))
    }
}

impl FilterAck {
    pub fn codes(&self, version: Version) -> Vec<u8> {
        let code = |reason: &Option<Reason>| {
            let reason = reason.unwrap_or(Reason::Unspecified);
            match version {
                // MQTT 3.1.1 section 3.9.3.
                Version::V3 if reason.is_failure() && self.first == SUBACK => 0x80,
                _ => reason.code(),
            }
        };
        let mut codes: Vec<u8> = self.codes.iter().map(code).collect();
        for (at, last) in &self.repeated {
            codes[usize::from(*at)] = codes[usize::from(*last)];
        }
        codes
    }
}
