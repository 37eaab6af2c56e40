//! The command line of `runs`.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use std::path::PathBuf;

use clap::Parser;

/// Compare training runs: their losses and figures, and the settings in which they differ.
#[derive(Debug, Parser)]
#[command(
    name = "runs",
    version,
    next_help_heading = "Runs",
    max_term_width = 100,
    rename_all = "snake_case"
)]
pub struct RunsArgs {
    /// Directories of runs: the output_dir of finetune
    #[arg(value_name = "DIR", required = true)]
    pub(crate) dirs: Vec<PathBuf>,
    /// Write a page of the runs with their curves over each other to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print the figures as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
