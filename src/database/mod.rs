//! The database of a platform, as far as upgrades ask for it: which revision its schema has.

pub mod revision;
mod tls;
pub mod url;
