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

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use self::generate::{Format, Settings, generate};
use self::lang::Lang;

/// Write an experiment's results as a report with plots
#[derive(Debug, Parser)]
#[command(name = "report", version)]
struct Cli {
    /// Directory with experiment.json and results.jsonl; the report is written there
    #[arg(long, value_name = "DIR")]
    results: PathBuf,
    /// Language of the fixed text
    #[arg(long, value_enum, default_value = "en")]
    lang: Lang,
    /// Formats, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', default_value = "md,html,pdf,docx")]
    formats: Vec<Format>,
    /// Font file with Chinese letters, for --lang zh; looked for on the system where it is not given
    #[arg(long, value_name = "FILE")]
    font: Option<PathBuf>,
    /// Checkout of the workspace, for excerpts of its code; looked for around the current folder where it is not given
    #[arg(long, value_name = "DIR")]
    source: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Cli { results, lang, formats, font, source } = Cli::parse();
    match generate(&Settings { results, lang, formats, font, source }) {
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
