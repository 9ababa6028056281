//! RFC 6455 to the letter, one broken rule at a time.

mod closing;
mod control;
mod fragments;
mod too_large;
mod utf8;
mod violations;
