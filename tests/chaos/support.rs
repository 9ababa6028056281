//! The cast of `tests/behaviour`, as far as it plays here too.

#[path = "../behaviour/support/authority.rs"]
pub mod authority;
#[path = "../behaviour/support/cluster.rs"]
pub mod cluster;
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
#[path = "../behaviour/support/redis.rs"]
pub mod redis;
#[path = "../behaviour/support/sentinel.rs"]
pub mod sentinel;
#[path = "../behaviour/support/token.rs"]
pub mod token;

pub use patience::{eventually, soon};
