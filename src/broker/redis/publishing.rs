//! Publications on their way to one master, and what its answers mean for them.

pub mod limits;
pub mod line;
pub mod publisher;
pub mod replicas;
pub mod verdict;
