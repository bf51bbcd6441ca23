//! Captured texts: what is read, written and answered.

#[path = "../common/mod.rs"]
mod common;

mod captured;
mod comments;
mod corpus;
mod properties;
