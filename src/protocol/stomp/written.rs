//! Frames of the protocol in frames of a WebSocket.

use bytes::Bytes;

use super::version::StompVersion;
use crate::framing::websocket;
use crate::publication::{PayloadKind, User};

/// The value of the header `server`.
const SERVER: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// A line end: a heart-beat.
pub fn heartbeat() -> Bytes {
    websocket::message(PayloadKind::Text, b"\n")
}

/// `headers`: names and values as they are written.
pub fn frame(command: &str, headers: &[(&str, &str)], body: &str) -> Bytes {
    let mut out = String::with_capacity(command.len() + body.len() + 64 * headers.len());
    out.push_str(command);
    out.push('\n');
    for (name, value) in headers {
        for part in [name, ":", value, "\n"] {
            out.push_str(part);
        }
    }
    out.push('\n');
    out.push_str(body);
    out.push('\0');
    websocket::message(PayloadKind::Text, out.as_bytes())
}

/// The answer to CONNECT, whose headers no version escapes. A user's name that would need it is left out.
pub fn connected(version: StompVersion, session: &str, heart_beat: &str, user: &User) -> Bytes {
    let mut headers = vec![("version", version.as_str()), ("session", session)];
    headers.push(("server", SERVER));
    if version > StompVersion::V10 {
        headers.push(("heart-beat", heart_beat));
    }
    if let Some(user) = user.as_deref().filter(|user| !user.chars().any(char::is_control)) {
        headers.push(("user-name", user));
    }
    frame("CONNECTED", &headers, "")
}

/// A RECEIPT. `headers`: further ones, as they are written.
pub fn receipt(version: StompVersion, receipt: &str, headers: &[(&str, &str)]) -> Bytes {
    let receipt = version.escaped(receipt);
    let mut all = vec![("receipt-id", &*receipt)];
    all.extend_from_slice(headers);
    frame("RECEIPT", &all, "")
}

/// An ERROR about a frame of the client.
pub fn refusal(
    version: Option<StompVersion>,
    code: &str,
    message: &str,
    receipt: Option<&str>,
) -> Bytes {
    // Before a version is agreed, a client cannot read escapes.
    let written = version.unwrap_or(StompVersion::V10);
    let (short, receipt) = (written.escaped(message), receipt.map(|it| written.escaped(it)));
    let length = message.len().to_string();
    let mut headers = vec![("message", &*short), ("code", code)];
    headers.extend(receipt.as_deref().map(|receipt| ("receipt-id", receipt)));
    headers.extend(version.is_none().then_some(("version", StompVersion::LIST)));
    headers.push(("content-type", "text/plain"));
    headers.push(("content-length", &length));
    frame("ERROR", &headers, message)
}

/// An ERROR about the connection. `text`: its header needs no escapes in any version, so a colon is written as a comma.
pub fn error(code: &str, text: &str, reconnect_after_ms: Option<u128>) -> Bytes {
    let (short, length) = (text.replace(':', ","), text.len().to_string());
    let after = reconnect_after_ms.map(|after| after.to_string());
    let mut headers = vec![("message", &*short), ("code", code)];
    headers.extend(after.as_deref().map(|after| ("reconnect-after", after)));
    headers.push(("content-type", "text/plain"));
    headers.push(("content-length", &length));
    frame("ERROR", &headers, text)
}
