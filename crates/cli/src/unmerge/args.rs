//! The command line of `unmerge`.

use std::path::PathBuf;

use clap::Parser;

use crate::compute::UnknownSettingsArgs;

/// Extract the adapter of rank r between two checkpoints, by singular value decomposition of the difference of each linear
/// layer, and report what rank r cannot hold.
///
/// Every flag may be spelled with `_` or `-`.
#[derive(Debug, Parser)]
#[command(
    name = "unmerge",
    version,
    next_help_heading = "Model",
    max_term_width = 100,
    rename_all = "snake_case"
)]
pub struct UnmergeArgs {
    /// Base model [required]
    #[arg(long, value_name = "MODEL", env = "BASE_MODEL")]
    pub(crate) base_model: Option<String>,
    /// Model that was fine-tuned or merged from it [required]
    #[arg(long, value_name = "MODEL")]
    pub(crate) merged_model: Option<String>,
    /// Directory of the adapter to write; it must not exist yet [required]
    #[arg(long, value_name = "DIR")]
    pub(crate) output_dir: Option<PathBuf>,
    /// Rank r of the adapter
    #[arg(long, alias = "r", value_name = "N", default_value_t = 8)]
    pub(crate) lora_r: i64,
    /// Alpha to write; alpha / r times the product of the factors is the difference
    #[arg(long, value_name = "X", default_value_t = 16.0)]
    pub(crate) lora_alpha: f64,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    #[command(flatten)]
    pub(crate) unknown_settings: UnknownSettingsArgs,
}
