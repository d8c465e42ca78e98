//! The image that `make image` leaves in `target/image`: what is in it, and that the program works inside of it as webhook,
//! hook and wait container. `make image-test` runs this, as root: the program runs as a container runtime runs it, in an
//! empty root that it cannot write, in a network of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod archive;
mod contents;
mod inside;
mod names;
mod roles;
mod servers;
