//! What several test files share.

pub(crate) mod cluster;
pub(crate) mod guard;
pub(crate) mod readme;
pub(crate) mod wait;
