//! The server seen from outside: real TLS over loopback, real files, no fixed ports.

mod drain;
mod rotation;
mod slow_clients;
mod start;
mod support;
mod tls;
