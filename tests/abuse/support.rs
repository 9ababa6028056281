//! The cast of `tests/behaviour`, as far as it plays here too.

#[path = "../behaviour/support/authority.rs"]
pub mod authority;
#[path = "../behaviour/support/client.rs"]
pub mod client;
#[path = "../behaviour/support/http.rs"]
pub mod http;
#[path = "../behaviour/support/network.rs"]
pub mod network;
#[path = "../behaviour/support/node.rs"]
pub mod node;
#[path = "../behaviour/support/patience.rs"]
mod patience;
#[path = "../behaviour/support/process.rs"]
pub mod process;
#[path = "../behaviour/support/raw.rs"]
pub mod raw;
#[path = "../behaviour/support/redis.rs"]
pub mod redis;

pub use patience::{eventually, soon};
