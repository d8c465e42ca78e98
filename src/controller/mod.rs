//! What the guard does by itself.

pub mod holds;
