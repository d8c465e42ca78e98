//! The database of a platform: which revision its schema has, what migrations do to it, and how they are run.
//!
//! Nothing here knows Kubernetes; `hook` puts it between the other steps of a sync.

pub mod address;
pub mod catalog;
pub mod check;
pub mod connection;
pub mod direct;
pub mod finding;
pub mod gate;
pub mod graph;
pub mod judge;
pub mod lint;
pub mod lock;
pub mod migrator;
pub mod plan;
pub mod revision;
pub mod run;
pub mod shadow;
mod tls;
pub mod url;
pub mod watch;
