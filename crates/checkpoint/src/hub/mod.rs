//! Models, adapters and data sets of the hub, fetched into its usual cache.

mod adapter;
mod client;
mod dataset;
mod kind;
mod model;
mod repo;

pub use adapter::find_adapter;
pub use dataset::find_records;
pub use kind::RepoKind;

pub(crate) use model::fetch_model;
pub(crate) use repo::{commit_of, is_id, snapshot_in};
