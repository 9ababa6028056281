//! Publishing to one master, and what its replies mean for the publications.

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
