//! Task 1: the files of every way of merging, and what is measured of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use results::Cell;
use serde::Deserialize;

use super::answers::{self, Source};
use super::digest;
use super::finetuning::{Training, read_curves};
use super::matrix::{Job, Measure};
use super::programs::{Programs, read_json};
use super::run_file::Variant;
use super::setting::Setting;
use super::store::write_atomically;

/// The adapter and the merged files, made when they are first asked for. What failed once is not tried again in this run.
#[derive(Debug)]
pub(crate) struct Merging<'a> {
    setting: &'a Setting,
    programs: &'a Programs,
    made: BTreeMap<String, Result<PathBuf, String>>,
}

/// The report that `merge` writes beside the weights.
#[derive(Debug, Deserialize)]
struct MergeReport {
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    changed: f64,
    elements: f64,
}

/// The adapter that is made, in an experiment's directory.
pub(crate) const ADAPTER: &str = "work/adapter/adapter";

/// The report of `merge`.
const MERGE_REPORT: &str = "merge_report.json";

impl<'a> Merging<'a> {
    pub(crate) fn new(setting: &'a Setting, programs: &'a Programs) -> Self {
        Self { setting, programs, made: BTreeMap::new() }
    }

    /// Makes what a cell needs, so that the time for it is not the cell's. A failure shows when the cell is measured.
    pub(crate) fn prepare(&mut self, job: &Job) {
        let setting = self.setting;
        for variant in [setting.reference(), setting.variant(job)] {
            let _ = self.source(variant);
        }
    }

    /// Measures a cell.
    pub(crate) fn measure(&mut self, job: &Job, cell: &mut Cell) -> Result<()> {
        let (setting, programs) = (self.setting, self.programs);
        let variant = setting.variant(job);
        let source = self.source(variant)?;
        if job.measure == Measure::Speed {
            return answers::decode(&source, setting, programs, cell);
        }
        let reference = self.source(setting.reference())?;
        cell.put("disk_bytes", disk_bytes(&source)?);
        if variant.merge.is_some() {
            let report: MergeReport = read_json(&Path::new(&source.base_model).join(MERGE_REPORT))?;
            // Not `sum`, which is -0 of nothing.
            let sum = |of: &dyn Fn(&Target) -> f64| report.targets.iter().map(of).fold(0.0, |sum, x| sum + x);
            cell.put(
                "changed_fraction",
                sum(&|target| target.changed) / sum(&|target| target.elements).max(1.0),
            );
        }
        // An adapter that was given may have come without its curves.
        if let Some(adapter) =
            source.adapter.as_ref().filter(|adapter| adapter.join("metrics.jsonl").exists())
        {
            read_curves(adapter, cell)?;
        }
        answers::answer(&source, setting, programs, cell)?;
        answers::compare(&source, &reference, setting, programs, cell)
    }

    /// Returns the model of a variant on disk.
    fn source(&mut self, variant: &Variant) -> Result<Source> {
        let adapter = if variant.adapter { Some(self.adapter()?) } else { None };
        let base_model = self.setting.base_model.clone();
        let Some(flags) = &variant.merge else {
            return Ok(Source { base_model, adapter, quantize: Vec::new() });
        };
        let merged = self.once(&variant.name, |merging| merging.merge(variant, flags, adapter.as_deref()))?;
        Ok(Source { base_model: merged.display().to_string(), adapter: None, quantize: Vec::new() })
    }

    /// Makes something once; a failure is remembered too.
    fn once(&mut self, name: &str, make: impl FnOnce(&Self) -> Result<PathBuf>) -> Result<PathBuf> {
        if !self.made.contains_key(name) {
            let made = make(self).map_err(|error| format!("{error:#}"));
            self.made.insert(name.to_owned(), made);
        }
        self.made[name].clone().map_err(|error| anyhow!(error))
    }

    fn adapter(&mut self) -> Result<PathBuf> {
        if let Some(dir) = &self.setting.lora_weights {
            return Ok(dir.clone());
        }
        self.once("adapter", |merging| {
            let setting = merging.setting;
            let key = setting.adapter_key()?;
            let adapter = setting.out.join(ADAPTER);
            if is_kept(&adapter, &key) {
                return Ok(adapter);
            }
            let seed = setting.seeds.first().copied().unwrap_or_default();
            let training = Training { name: "adapter", size: None, seed, over: &toml::Table::new() };
            let adapter = training.run(setting, merging.programs)?;
            keep(&adapter, &key)?;
            Ok(adapter)
        })
    }

    fn merge(&self, variant: &Variant, flags: &[String], adapter: Option<&Path>) -> Result<PathBuf> {
        let setting = self.setting;
        let merged = setting.out.join("work").join(&variant.name).join("merged");
        let key = digest::of_value(&(flags, variant.adapter, setting.adapter_key()?, setting.merge_key()))?;
        if is_kept(&merged, &key) {
            return Ok(merged);
        }
        let mut command = self.programs.command("merge", flags);
        command.arg("--base_model").arg(&setting.base_model);
        if let Some(adapter) = adapter {
            command.arg("--lora_weights").arg(adapter);
        }
        if let Some(dtype) = &setting.profile.merge_dtype {
            command.args(["--dtype", dtype]);
        }
        if let Some(threads) = setting.threads {
            command.args(["--threads", &threads.to_string()]);
        }
        command.arg("--overwrite_output_dir").arg("--output_dir").arg(&merged);
        self.programs.run(&variant.name, &mut command)?;
        keep(&merged, &key)?;
        Ok(merged)
    }
}

/// Returns the bytes that have to be on the disk for a model to answer; `None` for one on the hub.
fn disk_bytes(source: &Source) -> Result<Option<f64>> {
    let base = Path::new(&source.base_model);
    if !base.exists() {
        return Ok(None);
    }
    let mut bytes = digest::size_of(base)?;
    let report = base.join(MERGE_REPORT);
    if report.exists() {
        bytes -= digest::size_of(&report)?;
    }
    if let Some(adapter) = &source.adapter {
        for name in ["adapter_model.safetensors", "adapter_model.bin", "adapter_config.json"] {
            let file = adapter.join(name);
            if file.exists() {
                bytes += digest::size_of(&file)?;
            }
        }
    }
    Ok(Some(bytes as f64))
}

/// Returns the path of the key of a directory, beside it.
fn key_file(dir: &Path) -> PathBuf {
    dir.with_extension("key")
}

/// Returns true if a directory was made of the same things and is whole: its key is written last.
fn is_kept(dir: &Path, key: &str) -> bool {
    dir.is_dir() && fs::read_to_string(key_file(dir)).is_ok_and(|kept| kept == key)
}

fn keep(dir: &Path, key: &str) -> Result<()> {
    write_atomically(&key_file(dir), key)
}
