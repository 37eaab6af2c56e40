//! The command line of `cargo xtask experiment`; xtask compiles this file too, for its help and its page of flags.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use xtask::cover::Cover;

/// Run an experiment (merge-compare, lora-vs-qlora, or lab for both): measure every variant, write the results and a report. Run
/// again, it continues where it stopped.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct ExperimentArgs {
    /// merge-compare, lora-vs-qlora, lab (both, in one report to hand in), or a run file of your own
    pub(crate) name: String,
    /// Where results go [default: target/experiments/NAME, with the profile behind it]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Size: default (the embedded model, two cores), smollm2 or 7b
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub(crate) profile: String,
    /// The base model, instead of the profile's: a directory, a GGUF file, or a name on the hub
    #[arg(long = "base_model", alias = "base-model", value_name = "MODEL")]
    pub(crate) base_model: Option<String>,
    /// Records, instead of the profile's; some are set aside for validation and evaluation
    #[arg(long = "data_path", alias = "data-path", value_name = "FILE")]
    pub(crate) data_path: Option<PathBuf>,
    /// An adapter to merge, instead of one that is made first
    #[arg(long = "lora_weights", alias = "lora-weights", value_name = "DIR")]
    pub(crate) lora_weights: Option<PathBuf>,
    /// Records of the nested slices, such as 64,256,1000
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub(crate) sizes: Vec<usize>,
    /// Seeds, such as 42,43,44
    #[arg(long, value_name = "N,N", value_delimiter = ',')]
    pub(crate) seeds: Vec<u64>,
    /// Rounds of repeated measurements
    #[arg(long, value_name = "N")]
    pub(crate) repeats: Option<usize>,
    /// These variants only; the reference is always there
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Add the run file's mistakes made on purpose, to see that the report shows them
    #[arg(long)]
    pub(crate) planted: bool,
    /// CPU threads of every program [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Language of the report
    #[arg(long, value_name = "LANG", value_parser = ["en", "zh"], default_value = "en")]
    pub(crate) lang: String,
    /// Formats of the report: md, html, pdf, docx
    #[arg(long, value_name = "NAME,NAME", default_value = "md,html,pdf,docx")]
    pub(crate) formats: String,
    /// Font file for the report's PDF, for Chinese
    #[arg(long, value_name = "FILE")]
    pub(crate) font: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) cover: Cover,
    /// Say what would run, for how long and with how much disk; touch nothing
    #[arg(long = "dry_run", visible_alias = "dry-run", conflicts_with = "report_only")]
    pub(crate) dry_run: bool,
    /// Make the report of the results that are there; measure nothing
    #[arg(long = "report_only", visible_alias = "report-only")]
    pub(crate) report_only: bool,
    /// Measure; make no report
    #[arg(long = "no_report", visible_alias = "no-report", conflicts_with = "report_only")]
    pub(crate) no_report: bool,
}

/// Where the committed run files are.
const RUN_FILES: &str = "lab/experiments";

/// The experiments that `lab` names, in the order of its tasks.
const LAB: [&str; 2] = ["merge-compare", "lora-vs-qlora"];

impl ExperimentArgs {
    /// Returns true for both experiments in one report.
    pub(crate) fn is_lab(&self) -> bool {
        self.name == "lab"
    }

    /// Returns the experiments to run, with the directory of each: of the lab both, in the lab's.
    pub(crate) fn tasks(&self, out: &Path) -> Vec<Self> {
        let task = |name: &str, out: PathBuf| Self { name: name.to_owned(), out: Some(out), ..self.clone() };
        if self.is_lab() {
            return LAB.map(|name| task(name, out.join(name))).into();
        }
        vec![task(&self.name, out.to_owned())]
    }

    /// Returns a committed run file by name, or one by path. `root`: the checkout.
    ///
    /// # Errors
    /// When no experiment has this name.
    pub(crate) fn run_file(&self, root: &Path) -> Result<PathBuf> {
        let name = &self.name;
        let own = Path::new(name);
        if own.extension().is_some_and(|extension| extension == "toml") {
            return std::path::absolute(own).context("cannot resolve the run file");
        }
        let file = root.join(RUN_FILES).join(format!("{name}.toml"));
        if file.exists() {
            return Ok(file);
        }
        bail!(
            "no experiment `{name}`; expected merge-compare, lora-vs-qlora, lab or the path of a .toml file"
        )
    }
}
