//! The kinds of task, fixed before the test split was first scored.

pub(crate) mod facts;
pub(crate) mod lists;
pub(crate) mod words;
