//! What the guard does by itself: it keeps the `Platform` of each install, and lets go what it holds.

pub mod holds;
pub mod status;
