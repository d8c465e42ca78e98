//! The pure core: no async, no clock, no client, no I/O; time is an argument.
