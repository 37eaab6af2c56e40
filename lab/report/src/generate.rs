//! Making the files of a report.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use xtask::cover::Cover;

use crate::excerpt::find_source;
use crate::lang::Lang;
use crate::plots::{Rendered, render};
use crate::select::load_all;
use crate::text::compose;
use crate::write::{docx, find_cjk, html, label_font, markdown, pdf};

/// A format of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// `report.md`.
    Md,
    /// `report.html`.
    Html,
    /// `report.pdf`.
    Pdf,
    /// `report.docx`.
    Docx,
}

/// Write an experiment's results as a report with plots
#[derive(Debug, Parser)]
#[command(name = "report", version)]
pub(crate) struct Settings {
    /// Directory with experiment.json and results.jsonl; given twice, both tasks become one report
    #[arg(long, value_name = "DIR", required = true)]
    results: Vec<PathBuf>,
    /// Directory that the report is written to [default: the results']
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    #[command(flatten)]
    cover: Cover,
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

/// The message when Chinese letters are missing.
const NO_FONT: &str = "no font with Chinese letters was found; install one (Debian: apt install fonts-noto-cjk) or name one by --font FILE";

/// Writes the report and its plots, and returns the paths of what was written.
pub(crate) fn generate(settings: &Settings) -> Result<Vec<PathBuf>> {
    let results = load_all(&settings.results)?;
    let out = settings.out.as_ref().unwrap_or(&settings.results[0]);
    let source = find_source(settings.source.as_deref())?;
    let chinese = settings.lang == Lang::Zh || settings.font.is_some() || {
        // An English report may quote Chinese, such as labels in the run file: squares are no reason to fail.
        settings.formats.contains(&Format::Pdf)
            && results.iter().any(|results| has_chinese(&results.experiment.run_file))
    };
    let cjk = if chinese { find_cjk(settings.font.as_deref())? } else { None };
    let mut chart_lang = settings.lang;
    if settings.lang == Lang::Zh && cjk.is_none() {
        if settings.formats.contains(&Format::Pdf) {
            bail!("{NO_FONT}");
        }
        eprintln!("warning: {NO_FONT}; plots are labelled in English");
        chart_lang = Lang::En;
    }
    let page = compose(&results, settings.lang, chart_lang, source.as_deref(), &settings.cover)?;
    let font = label_font(chart_lang, cjk.as_ref())?;
    let plots = page.charts.iter().map(|chart| render(chart, &font)).collect::<Result<Vec<_>>>()?;
    let mut written = write_plots(out, &plots)?;
    for format in &settings.formats {
        let (name, bytes) = match format {
            Format::Md => ("report.md", markdown(&page.doc, settings.lang).into_bytes()),
            Format::Html => ("report.html", html(&page.doc, settings.lang, &plots).into_bytes()),
            Format::Pdf => ("report.pdf", pdf(&page.doc, settings.lang, &plots, cjk.as_ref())?),
            Format::Docx => ("report.docx", docx(&page.doc, settings.lang, &plots)?),
        };
        let path = out.join(name);
        put(&path, &bytes)?;
        written.push(path);
    }
    Ok(written)
}

fn has_chinese(text: &str) -> bool {
    text.chars().any(|letter| ('\u{4e00}'..='\u{9fff}').contains(&letter))
}

fn write_plots(dir: &Path, plots: &[Rendered]) -> Result<Vec<PathBuf>> {
    let dir = dir.join("plots");
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make `{}`", dir.display()))?;
    let mut written = Vec::new();
    for plot in plots {
        for (ending, bytes) in [("svg", plot.svg.as_bytes()), ("png", plot.png.as_slice())] {
            let path = dir.join(format!("{}.{ending}", plot.stem));
            put(&path, bytes)?;
            written.push(path);
        }
    }
    Ok(written)
}

/// Writes a file under another name and renames it, so that it is whole or not there.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    std::fs::write(&part, bytes).with_context(|| format!("cannot write `{}`", part.display()))?;
    std::fs::rename(&part, path).with_context(|| format!("cannot write `{}`", path.display()))
}
