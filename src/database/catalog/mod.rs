//! The catalog of a database: what its schema holds, and what changes between two looks.
//!
//! A catalog knows no rows: that a revision removes some (`dataRemoved`), or where a sequence stands that nobody has used,
//! cannot be seen here.

mod compare;
mod model;
mod queries;
mod read;

pub use compare::compare;
pub use model::{Catalog, Kind, Object};
pub use read::{Size, Sizes, invalid_indexes, read, sizes};
