//! MQTT 3.1.1 and 5 over WebSockets. Tests name the statement of the specification that they show: `MQTT-…` without a
//! version is in both, or in MQTT 5.

mod basics;
mod client;
mod connecting;
mod hostile;
mod properties;
mod publishing;
mod retained;
mod subscribing;
mod tcp;
mod wildcards;
mod wills;

/// All channels keep history, except those below `live`.
const HISTORY: &str = r#"rules=[{pattern="live/**",subscribe="anyone",publish="anyone"},{pattern="**",subscribe="anyone",publish="anyone",history={size=100,age="10m"}}]"#;

pub use self::client::{Mqtt, V3, V5};
