//! Conformance to RFC 6455, rule by rule.

mod closing;
mod control;
mod fragments;
mod too_large;
mod utf8;
mod violations;
