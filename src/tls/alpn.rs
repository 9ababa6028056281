//! The names of protocols within TLS (RFC 7301).

/// The protocols that a listener speaks, preferred ones first. Clients that offer only others are refused.
pub type Alpn = &'static [&'static [u8]];

/// The listener has one protocol, whatever clients offer.
pub const ANY: Alpn = &[];

pub const HTTP_1: Alpn = &[b"http/1.1"];
pub const HTTP_2_AND_1: Alpn = &[HTTP_2, b"http/1.1"];

pub const HTTP_2: &[u8] = b"h2";
