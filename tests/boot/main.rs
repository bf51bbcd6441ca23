//! What boot loads: files and services of distributions and managers.

#[path = "../common/mod.rs"]
mod common;

mod files;
mod managers;
