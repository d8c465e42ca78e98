//! What a decision is made on: the policies of a namespace and everything known of it, at one moment.

use std::sync::Arc;

use super::inventory::Inventory;
use crate::domain::policy::Policy;

/// One namespace at one moment. Cheap to take and to keep: nothing is copied.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The policies that govern the namespace, with their release lines; never empty.
    pub policies: Arc<[Arc<Policy>]>,
    /// What is known of the namespace.
    pub inventory: Arc<Inventory>,
}
