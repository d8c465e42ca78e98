//! From the cluster to the domain's view: objects to records, records to an inventory, an inventory to a view.

pub mod authorise;
pub mod change;
pub mod crd;
pub mod documents;
pub mod error;
pub mod feed;
pub mod files;
pub mod fresh;
pub mod hold;
pub mod index;
pub mod inventory;
pub mod ledger;
pub mod object;
pub mod pod;
pub mod prepared;
pub mod raw;
pub mod record;
pub mod schema;
pub mod snapshot;
#[cfg(test)]
pub(crate) mod testing;
pub mod watch;
