//! Formats: how publications and pushes are encoded, once for all subscribers that share a format.

/// A codec and a framing: the key under which encoded bytes are shared, and the metric label under which
/// sessions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Payloads, unchanged, in WebSocket frames.
    Plain,
    /// JSON objects in text frames of a WebSocket.
    Json,
    /// Payloads, unchanged, in Server-Sent Events.
    Sse,
    /// JSON objects in Server-Sent Events of several channels.
    SseChannels,
    /// JSON objects in the bodies of HTTP responses.
    Http,
    /// Chunks of a UI message in Server-Sent Events.
    AiStream,
    /// Chunks of UI messages in text frames of a WebSocket.
    AiChat,
    /// Events of Pusher's protocol in text frames of a WebSocket.
    Pusher,
    /// Messages and offsets of a durable stream in Server-Sent Events.
    Streams,
    /// Packets of MQTT 3.1.1 in binary frames of a WebSocket.
    Mqtt,
    /// Packets of MQTT 5 in binary frames of a WebSocket.
    Mqtt5,
    /// Packets of MQTT 3.1.1, one behind the other.
    MqttStream,
    /// Packets of MQTT 5, one behind the other.
    Mqtt5Stream,
    /// Messages of STOMP, which a session completes, in frames of a WebSocket.
    Stomp,
    /// Updates of Mercure's protocol in Server-Sent Events.
    Mercure,
    /// Publications that sessions of MQTT complete to packets of their own.
    MqttMarked,
}

impl Format {
    pub const EACH: [Self; 16] = [
        Self::Plain,
        Self::Json,
        Self::Sse,
        Self::SseChannels,
        Self::Http,
        Self::AiStream,
        Self::AiChat,
        Self::Pusher,
        Self::Streams,
        Self::Mqtt,
        Self::Mqtt5,
        Self::MqttStream,
        Self::Mqtt5Stream,
        Self::Stomp,
        Self::Mercure,
        Self::MqttMarked,
    ];
    pub const COUNT: usize = Self::EACH.len();

    /// The value of the `protocol` label of metrics and traces.
    pub fn label(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Json => "json",
            Self::Sse | Self::SseChannels => "sse",
            Self::Http => "http",
            Self::AiStream | Self::AiChat => "ai",
            Self::Pusher => "pusher",
            Self::Streams => "streams",
            Self::Mqtt | Self::Mqtt5 | Self::MqttStream | Self::Mqtt5Stream | Self::MqttMarked => {
                "mqtt"
            }
            Self::Stomp => "stomp",
            Self::Mercure => "mercure",
        }
    }

    /// The format of what a subscriber gets of a channel's past, which may look different from what follows.
    pub fn of_past(self) -> Self {
        match self {
            Self::Mqtt | Self::Mqtt5 | Self::MqttStream | Self::Mqtt5Stream => Self::MqttMarked,
            other => other,
        }
    }

    /// Whether a session of this format lasts beyond one response.
    pub fn is_lasting(self) -> bool {
        !matches!(self, Self::Http)
    }

    /// Whether its sessions check themselves which private publications their client gets: by all channels of an update,
    /// where the hub knows one.
    pub fn checks_private(self) -> bool {
        matches!(self, Self::Mercure)
    }

    /// The value of the `transport` label.
    pub fn framing(self) -> &'static str {
        match self {
            Self::Plain
            | Self::Json
            | Self::AiChat
            | Self::Pusher
            | Self::Mqtt
            | Self::Mqtt5
            | Self::Stomp
            | Self::MqttMarked => "websocket",
            Self::MqttStream | Self::Mqtt5Stream => "tcp",
            Self::Sse | Self::SseChannels | Self::AiStream | Self::Streams | Self::Mercure => "sse",
            Self::Http => "poll",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_has_its_own_index_in_the_caches() {
        for (place, format) in Format::EACH.into_iter().enumerate() {
            assert_eq!(format as usize, place);
        }
    }
}
