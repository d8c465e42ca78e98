//! Custom resource definitions: what would change, whether that is safe, and how it is brought about.
//!
//! Nothing here ever deletes a CRD, a version of one, or an object.

pub mod apply;
pub mod check;
pub mod compare;
pub mod content;
pub mod error;
pub mod objects;
pub mod source;
pub mod state;
pub mod validation;
