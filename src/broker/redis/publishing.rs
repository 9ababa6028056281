//! Publications on their way to one master, and what its answers mean for them.

mod batch;
mod command;
mod detour;
mod limits;
pub mod line;
mod outcomes;
pub mod publisher;
mod replicas;
mod upkeep;
mod verdict;
