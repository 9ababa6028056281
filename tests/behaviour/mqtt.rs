//! MQTT 3.1.1 and 5 over WebSockets. Tests name the statement of the specification that they show: `MQTT-…` without a
//! version is in both, or in MQTT 5.

mod basics;
mod client;
mod connecting;
mod hostile;
mod publishing;
mod tcp;

pub use self::client::{Mqtt, V3, V5};
