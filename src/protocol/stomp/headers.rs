//! What the headers of a client's frame say, and why a frame is refused.

use std::sync::Arc;

use super::destination::channel_of;
use super::fault::FrameFault;
use super::frame::ClientFrame;
use super::transactions::TransactionFault;
use super::version::StompVersion;
use crate::protocol::{Code, IDEMPOTENCY_KEY_BYTES_MAX};
use crate::publication::{Channel, InvalidStart, PayloadKind, ReplayStart};

/// Why a frame is refused.
#[derive(Debug)]
pub struct FrameRefused {
    pub code: Code,
    pub message: String,
}

impl FrameRefused {
    pub fn bad(message: impl Into<String>) -> Self {
        Self { code: Code::BadRequest, message: message.into() }
    }

    pub fn too_many(message: impl Into<String>) -> Self {
        Self { code: Code::LimitReached, message: message.into() }
    }
}

impl From<FrameFault> for FrameRefused {
    fn from(fault: FrameFault) -> Self {
        Self { code: fault.code(), message: fault.to_string() }
    }
}

impl From<TransactionFault> for FrameRefused {
    fn from(fault: TransactionFault) -> Self {
        match fault {
            TransactionFault::Unknown | TransactionFault::Open => Self::bad(fault.to_string()),
            TransactionFault::TooMany | TransactionFault::Full => Self::too_many(fault.to_string()),
        }
    }
}

pub fn required<'a>(frame: &'a ClientFrame<'_>, name: &str) -> Result<&'a str, FrameRefused> {
    let missing = || FrameRefused::bad(format!("{} needs the header {name}", frame.command));
    frame.filled(name).ok_or_else(missing)
}

pub fn destination<'a>(frame: &'a ClientFrame<'_>) -> Result<(&'a str, Channel), FrameRefused> {
    let destination = required(frame, "destination")?;
    let channel = channel_of(destination).map_err(|error| FrameRefused::bad(error.to_string()))?;
    Ok((destination, channel))
}

/// Version 1.0 may name a subscription by its destination.
pub fn subscription_id<'a>(
    frame: &'a ClientFrame<'_>,
    version: StompVersion,
) -> Result<Option<&'a str>, FrameRefused> {
    match version {
        StompVersion::V10 => Ok(frame.filled("id")),
        _ => required(frame, "id").map(Some),
    }
}

/// From where a SUBSCRIBE asks for the channel's past.
pub fn start(frame: &ClientFrame<'_>) -> Result<Option<ReplayStart>, FrameRefused> {
    let bad =
        |name: &str, error: &dyn std::fmt::Display| FrameRefused::bad(format!("{name} {error}"));
    match (frame.filled("since"), frame.filled("last")) {
        (None, None) => Ok(None),
        (Some(since), None) => {
            since.parse().map(Some).map_err(|error: InvalidStart| bad("since", &error))
        }
        (None, Some(last)) => {
            let newest = ReplayStart::newest(last.parse().unwrap_or_default());
            newest.map(Some).map_err(|error| bad("last", &error))
        }
        (Some(_), Some(_)) => Err(FrameRefused::bad("give either since or last")),
    }
}

pub fn idempotency_key(frame: &ClientFrame<'_>) -> Result<Option<Arc<str>>, FrameRefused> {
    match frame.filled("idempotency-key") {
        Some(key) if key.len() > IDEMPOTENCY_KEY_BYTES_MAX => Err(FrameRefused::bad(format!(
            "idempotency-key has at most {IDEMPOTENCY_KEY_BYTES_MAX} bytes"
        ))),
        key => Ok(key.map(Into::into)),
    }
}

/// Whether a content type is that of a text.
pub fn kind_of_type(content_type: &str) -> PayloadKind {
    let lower = content_type.to_ascii_lowercase();
    let media = lower.split(';').next().unwrap_or_default().trim();
    let is_text = media.starts_with("text/")
        || lower.contains("charset=")
        || media.ends_with("+json")
        || media.ends_with("+xml")
        || matches!(media, "application/json" | "application/xml" | "application/javascript");
    if is_text { PayloadKind::Text } else { PayloadKind::Binary }
}
