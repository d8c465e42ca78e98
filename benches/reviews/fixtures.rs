//! Objects and reviews as the tests make them.

#[path = "../../tests/admission/objects.rs"]
pub mod objects;
#[path = "../../tests/admission/review.rs"]
pub mod review;
#[path = "../../tests/admission/world.rs"]
pub mod world;
