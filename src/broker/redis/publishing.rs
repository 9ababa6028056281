//! Publications on their way to one master, and what its answers mean for them.

mod batch;
mod command;
mod function_installer;
mod limits;
pub mod master_queue;
mod outcomes;
mod publish_outcome;
pub mod publisher;
mod redirects;
mod replicas;
