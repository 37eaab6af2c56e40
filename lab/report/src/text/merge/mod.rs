//! Task 1: one adapter, merged in several ways.

mod discussion;
mod implementation;
mod intro;
mod results;
mod speed;
mod summary;
mod verdict;

pub(super) use discussion::{discussion, limits};
pub(super) use implementation::implementation;
pub(super) use intro::{method, question};
pub(super) use results::results;
pub(super) use summary::summary;
