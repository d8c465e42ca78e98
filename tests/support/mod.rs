//! What several test files share.

pub(crate) mod cluster;
pub(crate) mod wait;
