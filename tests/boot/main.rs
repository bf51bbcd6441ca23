//! What boot loads: files and services of distributions and managers.

#[path = "../common/mod.rs"]
mod common;

mod docker;
mod files;
mod managers;
