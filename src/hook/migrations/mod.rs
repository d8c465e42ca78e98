//! The database's part of a sync: where its schema has to be, what stands against that, and how it gets there.

pub mod look;
pub mod pods;
pub mod record;
pub mod run;
pub mod settings;
pub mod undo;
