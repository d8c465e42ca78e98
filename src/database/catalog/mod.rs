//! The catalog of a database: what its schema holds, and what changes between two looks.
