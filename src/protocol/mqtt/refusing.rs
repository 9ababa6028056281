//! Which reason code says why.

use super::reason::Reason;
use crate::close::Close;
use crate::protocol::Code;

/// The reason code of a SUBACK.
pub fn of_subscription(code: Code) -> Reason {
    match code {
        Code::Unauthorized | Code::Forbidden => Reason::NotAuthorized,
        Code::LimitReached | Code::RateLimited => Reason::QuotaExceeded,
        Code::BadRequest => Reason::FilterInvalid,
        Code::NotFound | Code::Ended | Code::TooLarge => Reason::ImplementationSpecific,
        Code::Unavailable => Reason::Unspecified,
    }
}

/// The reason code of a PUBACK or PUBREC.
pub fn of_publication(code: Code) -> Reason {
    match code {
        Code::Unauthorized | Code::Forbidden => Reason::NotAuthorized,
        Code::LimitReached | Code::RateLimited => Reason::QuotaExceeded,
        Code::BadRequest => Reason::TopicInvalid,
        Code::TooLarge | Code::NotFound | Code::Ended => Reason::ImplementationSpecific,
        Code::Unavailable => Reason::Unspecified,
    }
}

/// The reason code of a CONNACK for a connection that is closed instead. `has_password`: whether the client has sent one.
pub fn of_connection(close: Close, has_password: bool) -> Reason {
    match close {
        Close::Unauthorized(_) if !has_password => Reason::NotAuthorized,
        Close::Unauthorized(_) | Close::Expired | Close::Revoked => Reason::BadUserOrPassword,
        Close::Forbidden => Reason::NotAuthorized,
        Close::RateLimited => Reason::QuotaExceeded,
        Close::Overloaded => Reason::ServerBusy,
        Close::TooLarge => Reason::PacketTooLarge,
        Close::Protocol(_) | Close::Unsupported(_) => Reason::ProtocolError,
        Close::Rebalance { .. } => Reason::UseAnotherServer,
        Close::Drain { .. } | Close::Unavailable | Close::KeysUnavailable => {
            Reason::ServerUnavailable
        }
        _ => Reason::Unspecified,
    }
}

/// The reason code of a DISCONNECT. None: the connection ends without one.
pub fn of_close(close: Close) -> Option<Reason> {
    Some(match close {
        Close::Client(_) | Close::Lost | Close::Answered => return None,
        Close::Protocol(_) | Close::Unsupported(_) | Close::Utf8 => Reason::ProtocolError,
        Close::UnknownApp | Close::UnknownVersion => Reason::ProtocolError,
        Close::TooLarge => Reason::PacketTooLarge,
        Close::Policy(_) => Reason::AdministrativeAction,
        Close::Drain { .. } => Reason::ShuttingDown,
        Close::Rebalance { .. } => Reason::UseAnotherServer,
        Close::Unauthorized(_) | Close::Expired | Close::Revoked | Close::Forbidden => {
            Reason::NotAuthorized
        }
        Close::PongTimeout => Reason::KeepAliveTimeout,
        Close::RateLimited => Reason::RateTooHigh,
        Close::Slow => Reason::QuotaExceeded,
        Close::Overloaded | Close::Unavailable | Close::KeysUnavailable => Reason::ServerBusy,
        Close::Internal | Close::Gap | Close::Ended { .. } | Close::NoRun | Close::RunCut => {
            Reason::Unspecified
        }
    })
}
