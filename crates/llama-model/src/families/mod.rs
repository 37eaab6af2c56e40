//! The model families, one file each.

mod llama;
mod qwen2;
mod qwen3;

use crate::Family;

/// Every family there is. The first that fits a file is taken, and files that name none are the first one's.
pub const FAMILIES: &[&Family] = &[&llama::FAMILY, &qwen2::FAMILY, &qwen3::FAMILY];
