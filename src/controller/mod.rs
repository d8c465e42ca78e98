//! Keeps the `Platform` of each install.

pub mod status;
