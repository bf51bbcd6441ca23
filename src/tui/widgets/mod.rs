//! Small parts that screens are made of.

mod canvas;
mod cursor;
mod field;

pub use canvas::{Canvas, clean, fit, fit_middle, width, wrap};
pub use cursor::{Cursor, beyond};
pub use field::Field;
