//! The reasons for refusals, and their labels.

/// Why a connection, a request or a command was refused.
#[derive(Clone, Copy, Debug)]
pub enum Rejected {
    /// `Origin` is neither this host nor listed; or a web page called the internal listener.
    Origin,
    /// The path is unknown, or the request is not valid for it.
    BadRequest,
    /// `limits.connections_max` is reached.
    ConnectionsMax,
    /// The request did not arrive within `server.handshake_timeout`, or was not HTTP.
    Handshake,
    /// An HTTP/2 connection violated the protocol, or reset more requests than it may.
    Http2,
    /// The system had no descriptor or memory for another socket.
    Accept,
    /// An internal request without the right key.
    ApiKey,
    /// `limits.connections_per_ip` is reached.
    ConnectionsPerIp,
    /// `limits.connections_per_user` is reached.
    ConnectionsPerUser,
    /// `limits.handshakes_per_second` is exceeded.
    HandshakeRate,
    /// `limits.handshakes_per_second_per_ip` is exceeded.
    HandshakeRatePerIp,
    /// `limits.publications_per_second` is exceeded.
    PublicationRate,
    /// `limits.new_channels_per_second` is exceeded.
    NewChannelRate,
    /// `limits.commands_per_second` is exceeded.
    CommandRate,
    /// `limits.bytes_per_second` is exceeded.
    ByteRate,
    /// The node is near `limits.memory_max`.
    Memory,
    /// The TLS handshake failed.
    Tls,
    /// The PROXY header is missing or broken.
    ProxyProtocol,
    /// A command is nested deeper than `session.json_depth_max`.
    JsonDepth,
    /// A token was not accepted.
    Token,
    /// No rule allows it to this session.
    Forbidden,
    /// The internal listener has its maximum number of connections.
    InternalConnections,
    /// The node drains, and the request came on an existing connection.
    Draining,
}

impl Rejected {
    /// One of each, for metrics that start at zero.
    pub const EACH: [Self; 23] = [
        Self::Origin,
        Self::BadRequest,
        Self::ConnectionsMax,
        Self::Handshake,
        Self::Http2,
        Self::Accept,
        Self::ApiKey,
        Self::ConnectionsPerIp,
        Self::ConnectionsPerUser,
        Self::HandshakeRate,
        Self::HandshakeRatePerIp,
        Self::PublicationRate,
        Self::NewChannelRate,
        Self::CommandRate,
        Self::ByteRate,
        Self::Memory,
        Self::Tls,
        Self::ProxyProtocol,
        Self::JsonDepth,
        Self::Token,
        Self::Forbidden,
        Self::InternalConnections,
        Self::Draining,
    ];

    /// The value of the `reason` label of `tidegate_rejected_total`.
    pub fn label(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::BadRequest => "bad_request",
            Self::ConnectionsMax => "connections_max",
            Self::Handshake => "handshake",
            Self::Http2 => "http2",
            Self::Accept => "accept",
            Self::ApiKey => "api_key",
            Self::ConnectionsPerIp => "connections_per_ip",
            Self::ConnectionsPerUser => "connections_per_user",
            Self::HandshakeRate => "handshake_rate",
            Self::HandshakeRatePerIp => "handshake_rate_per_ip",
            Self::PublicationRate => "publication_rate",
            Self::NewChannelRate => "new_channel_rate",
            Self::CommandRate => "command_rate",
            Self::ByteRate => "byte_rate",
            Self::Memory => "memory",
            Self::Tls => "tls",
            Self::ProxyProtocol => "proxy_protocol",
            Self::JsonDepth => "json_depth",
            Self::Token => "token",
            Self::Forbidden => "forbidden",
            Self::InternalConnections => "internal_connections",
            Self::Draining => "draining",
        }
    }
}
