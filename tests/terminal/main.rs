//! The real program in a real terminal, driven by keys.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/pty.rs"]
mod pty;

mod demo;
mod live;
mod sudo;
