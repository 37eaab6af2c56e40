//! `report --results DIR`: an experiment's results as Markdown, HTML, PDF and Word, with plots.
//!
//! [`select`] reads what `cargo xtask experiment` left; [`text`] turns the numbers into a [`document`], in one of two
//! languages; [`write`] turns the document into files. Nothing but the results, the workspace's sources (for excerpts) and a
//! font goes in, so the same results make the same bytes.

mod document;
mod excerpt;
mod format;
mod generate;
mod lang;
mod page;
mod plots;
mod select;
mod stats;
mod text;
mod write;

use std::process::ExitCode;

use clap::Parser;

use self::generate::{Settings, generate};

fn main() -> ExitCode {
    match generate(&Settings::parse()) {
        Ok(written) => {
            for path in written {
                eprintln!("wrote {}", path.display());
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
