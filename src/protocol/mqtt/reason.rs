//! Reason codes (MQTT 5 section 2.4) and the return codes of MQTT 3.1.1 (section 3.2.2.3).

/// A reason code that the node sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    Success = 0x00,
    GrantedQos1 = 0x01,
    NoSubscription = 0x11,
    Unspecified = 0x80,
    Malformed = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecific = 0x83,
    UnsupportedVersion = 0x84,
    ClientIdNotValid = 0x85,
    BadUserOrPassword = 0x86,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    ShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    TakenOver = 0x8E,
    FilterInvalid = 0x8F,
    TopicInvalid = 0x90,
    PacketIdInUse = 0x91,
    PacketIdNotFound = 0x92,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    RateTooHigh = 0x96,
    QuotaExceeded = 0x97,
    AdministrativeAction = 0x98,
    PayloadFormatInvalid = 0x99,
    RetainNotSupported = 0x9A,
    QosNotSupported = 0x9B,
    UseAnotherServer = 0x9C,
    SharedNotSupported = 0x9E,
    SubscriptionIdsNotSupported = 0xA1,
}

impl Reason {
    pub fn code(self) -> u8 {
        self as u8
    }

    pub fn is_failure(self) -> bool {
        self.code() >= 0x80
    }

    /// The return code of a CONNACK of MQTT 3.1.1 for a refused connection.
    pub fn return_code(self) -> u8 {
        match self {
            Self::UnsupportedVersion => 1,
            Self::ClientIdNotValid => 2,
            Self::BadUserOrPassword => 4,
            Self::NotAuthorized | Self::BadAuthenticationMethod | Self::TopicInvalid => 5,
            // The server is unavailable.
            _ => 3,
        }
    }
}

/// What is wrong with a packet: the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketFault {
    pub reason: Reason,
    pub what: &'static str,
}

impl PacketFault {
    /// The bytes are no packet.
    pub const fn malformed(what: &'static str) -> Self {
        Self { reason: Reason::Malformed, what }
    }

    /// The packet is not allowed here.
    pub const fn protocol(what: &'static str) -> Self {
        Self { reason: Reason::ProtocolError, what }
    }
}
