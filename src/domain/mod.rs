//! The pure core: no async, no clock, no client, no I/O; time is an argument.
//!
//! [`decision::decide`] answers every question about an upgrade; nothing else decides.

pub mod ahead;
pub mod change;
pub mod decision;
pub mod freeze;
pub mod gates;
pub mod image;
pub mod intent;
pub mod line;
pub mod matching;
pub mod overrides;
pub mod planner;
pub mod policy;
mod policy_check;
pub mod preparation;
pub mod resolver;
pub mod route;
pub mod rules;
pub mod schema;
pub mod state;
pub mod text;
pub mod version;
pub mod view;
