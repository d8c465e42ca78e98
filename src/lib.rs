//! `upgrade-guard` keeps a platform of several workloads from being upgraded in the wrong order or too far apart.
//!
//! [`domain`] decides and does nothing else; everything around it turns the outside world into its values and its
//! decisions into answers. `docs/architecture.md` has the map.

pub mod admission;
pub mod api;
pub mod cli;
pub mod cluster;
pub mod controller;
pub mod crds;
pub mod database;
pub mod domain;
pub mod hook;
pub mod report;
pub mod server;
