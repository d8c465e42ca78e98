//! Reviews as the API server sends them, answered over HTTP by the real router: what is refused, in which words, and
//! what passes untouched.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod bad_input;
mod custom_resources;
mod fast_path;
mod hold;
mod hook;
mod judged;
mod kinds;
mod mutated;
mod objects;
mod overridden;
mod review;
mod schema;
mod sure;
mod texts;
mod unavailable;
mod world;
