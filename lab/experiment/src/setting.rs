//! Flags, run file and files on disk: an experiment, fully decided.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use results::Kind;
use serde::Serialize;
use serde_json::Value;

use super::args::ExperimentArgs;
use super::digest;
use super::matrix::{Job, Measure, rounds};
use super::run_file::{Profile, RunFile, Variant};
use super::slices::{self, Records};

/// Changes when what a cell measures changes, so that old cells are not taken for new ones.
const ENGINE: u32 = 2;

/// The programs an experiment runs.
pub(crate) const PROGRAMS: [&str; 6] =
    ["bench-decode", "compare", "evaluate", "finetune", "generate", "merge"];

/// An experiment, fully decided.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) file: RunFile,
    pub(crate) run_file_text: String,
    pub(crate) profile_name: String,
    pub(crate) profile: Profile,
    /// Absolute where it is a path; else a name on the hub.
    pub(crate) base_model: String,
    /// An adapter that is there already.
    pub(crate) lora_weights: Option<PathBuf>,
    pub(crate) sizes: Vec<usize>,
    pub(crate) seeds: Vec<u64>,
    pub(crate) repeats: usize,
    pub(crate) threads: Option<usize>,
    pub(crate) out: PathBuf,
    pub(crate) records: Records,
    pub(crate) digests: Digests,
}

/// SHA-256 of what goes in.
#[derive(Debug)]
pub(crate) struct Digests {
    pub(crate) programs: BTreeMap<String, String>,
    base: String,
    lora_weights: Option<String>,
    validation: String,
    evaluation: String,
}

impl Setting {
    /// Decides everything; reads, and writes nothing.
    pub(crate) fn resolve(
        args: &ExperimentArgs,
        (mut file, run_file_text): (RunFile, String),
        root: &Path,
        out: PathBuf,
        programs: BTreeMap<String, String>,
    ) -> Result<Self> {
        let profile = file.profile(&args.profile)?.clone();
        let planted = std::mem::take(&mut file.planted);
        if args.planted {
            file.variants.extend(planted);
        }
        keep_only(&mut file, &args.only)?;
        let base_model = base_model(args, &profile, root)?;
        let given = args.data_path.as_deref().map(std::path::absolute).transpose()?;
        let data_path = given.or_else(|| profile.data_path.as_ref().map(|path| root.join(path)));
        let data_path = data_path.with_context(|| {
            format!("profile `{}` has no data of its own: give --data_path FILE", args.profile)
        })?;
        let records = Records::of(&profile, &data_path, root, args.data_path.is_some())?;
        let sizes = if args.sizes.is_empty() { file.sizes.clone() } else { args.sizes.clone() };
        if let Some(size) = sizes.iter().find(|&&size| size == 0 || size > records.train.len()) {
            bail!(
                "a slice of {size} records is asked for; `{}` has {} to train on",
                data_path.display(),
                records.train.len()
            );
        }
        let lora_weights = args.lora_weights.as_deref().map(std::path::absolute).transpose()?;
        let digests = Digests {
            programs,
            base: digest_of_base(&base_model)?,
            lora_weights: lora_weights.as_deref().map(digest::of_path).transpose()?,
            validation: digest::of_value(&records.validation)?,
            evaluation: digest::of_value(&records.evaluation)?,
        };
        Ok(Self {
            sizes,
            seeds: if args.seeds.is_empty() { file.seeds.clone() } else { args.seeds.clone() },
            repeats: args.repeats.unwrap_or(file.repeats),
            threads: args.threads,
            profile_name: args.profile.clone(),
            file,
            run_file_text,
            profile,
            base_model,
            lora_weights,
            out,
            records,
            digests,
        })
    }

    /// Returns every cell, in rounds.
    pub(crate) fn rounds(&self) -> Vec<Vec<Job>> {
        let RunFile { experiment, variants, .. } = &self.file;
        rounds(*experiment, variants, &self.sizes, &self.seeds, self.repeats)
    }

    /// Returns the variant of a cell.
    pub(crate) fn variant(&self, cell: &Job) -> &Variant {
        &self.file.variants[cell.variant]
    }

    /// Returns the variant that others are compared with.
    pub(crate) fn reference(&self) -> &Variant {
        &self.file.variants[self.reference_place()]
    }

    fn reference_place(&self) -> usize {
        self.file.variants.iter().position(|variant| variant.name == self.file.reference).unwrap_or(0)
    }

    /// Returns the digest of what decides a cell's result: programs, inputs and settings.
    pub(crate) fn key(&self, cell: &Job) -> Result<String> {
        #[derive(Serialize)]
        struct Recipe<'a> {
            adapter: bool,
            merge: Option<&'a Vec<String>>,
            finetune: &'a toml::Table,
        }
        #[derive(Serialize)]
        struct Key<'a> {
            engine: u32,
            cell: &'a str,
            variant: Recipe<'a>,
            reference: Option<Recipe<'a>>,
            profile: &'a Profile,
            threads: Option<usize>,
            seed: Option<u64>,
            programs: BTreeMap<&'a str, Option<&'a String>>,
            base: &'a str,
            lora_weights: Option<&'a String>,
            train: String,
            validation: &'a str,
            evaluation: &'a str,
        }
        let recipe = |place: usize| {
            let Variant { adapter, merge, finetune, .. } = &self.file.variants[place];
            Recipe { adapter: *adapter, merge: merge.as_ref(), finetune }
        };
        let needed: &[&str] = match cell.measure {
            Measure::Quality => &["compare", "evaluate", "finetune", "merge"],
            Measure::Speed => &["bench-decode", "finetune", "merge"],
            Measure::Training => &["evaluate", "finetune"],
        };
        let train = &self.records.train[..cell.size.unwrap_or(self.records.train.len())];
        digest::of_value(&Key {
            engine: ENGINE,
            cell: &cell.id,
            variant: recipe(cell.variant),
            reference: (cell.measure == Measure::Quality).then(|| recipe(self.reference_place())),
            profile: &self.profile,
            threads: self.threads,
            seed: cell.seed,
            programs: needed.iter().map(|&name| (name, self.digests.programs.get(name))).collect(),
            base: &self.digests.base,
            lora_weights: self.digests.lora_weights.as_ref(),
            train: digest::of_value(&train)?,
            validation: &self.digests.validation,
            evaluation: &self.digests.evaluation,
        })
    }

    /// Returns the digest of what decides the adapter that merges start from.
    pub(crate) fn adapter_key(&self) -> Result<String> {
        if let Some(digest) = &self.digests.lora_weights {
            return Ok(digest.clone());
        }
        digest::of_value(&(
            ENGINE,
            &self.profile,
            self.threads,
            self.seeds.first(),
            self.digests.programs.get("finetune"),
            &self.digests.base,
            digest::of_value(&self.records.train)?,
            &self.digests.validation,
        ))
    }

    /// Returns what decides a merge besides flags and adapter.
    pub(crate) fn merge_key(&self) -> (Option<&String>, &str, Option<&String>) {
        (self.digests.programs.get("merge"), &self.digests.base, self.profile.merge_dtype.as_ref())
    }

    /// Computes the digests of the inputs by name.
    pub(crate) fn data_digests(&self) -> Result<BTreeMap<String, String>> {
        let mut digests = BTreeMap::from([
            ("base_model".to_owned(), self.digests.base.clone()),
            ("train".to_owned(), digest::of_value(&self.records.train)?),
            ("validation".to_owned(), self.digests.validation.clone()),
            ("evaluation".to_owned(), self.digests.evaluation.clone()),
        ]);
        digests.extend(self.digests.lora_weights.clone().map(|digest| ("lora_weights".to_owned(), digest)));
        Ok(digests)
    }

    /// Returns the path of a file of records of this experiment, which is written where it is missing.
    pub(crate) fn data_file(&self, name: &str, records: &[Value]) -> Result<PathBuf> {
        let path = self.out.join("data").join(format!("{name}.json"));
        slices::write(&path, records)?;
        Ok(path)
    }

    /// Returns the records of a cell's training.
    pub(crate) fn train_file(&self, size: Option<usize>) -> Result<PathBuf> {
        let count = size.unwrap_or(self.records.train.len());
        self.data_file(&format!("train-{count}"), &self.records.train[..count])
    }

    /// Returns true if merges are compared.
    pub(crate) fn merges(&self) -> bool {
        self.file.experiment == Kind::MergeCompare
    }

    /// Returns `--device`, `--dtype` and `--threads`.
    pub(crate) fn machine_flags(&self) -> Vec<String> {
        let mut flags = vec![
            "--device".to_owned(),
            self.profile.device.clone(),
            "--dtype".to_owned(),
            self.profile.dtype.clone(),
        ];
        if let Some(threads) = self.threads {
            flags.extend(["--threads".to_owned(), threads.to_string()]);
        }
        flags
    }
}

/// Leaves the named variants and the reference.
fn keep_only(file: &mut RunFile, only: &[String]) -> Result<()> {
    if only.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = file.variants.iter().map(|variant| &*variant.name).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&&***name)) {
        bail!("no variant `{unknown}`; expected {}", names.join(", "));
    }
    let reference = file.reference.clone();
    file.variants.retain(|variant| variant.name == reference || only.contains(&variant.name));
    Ok(())
}

fn base_model(args: &ExperimentArgs, profile: &Profile, root: &Path) -> Result<String> {
    if let Some(given) = &args.base_model {
        let path = Path::new(given);
        // What is no path may be a name on the hub.
        return Ok(if path.exists() {
            std::path::absolute(path)?.display().to_string()
        } else {
            given.clone()
        });
    }
    let own = profile.base_model.as_ref().with_context(|| {
        format!("profile `{}` has no model of its own: give --base_model MODEL", args.profile)
    })?;
    Ok(root.join(own).display().to_string())
}

/// Returns the digest of a base's files; of the name where it is one on the hub.
fn digest_of_base(base_model: &str) -> Result<String> {
    let path = Path::new(base_model);
    if path.exists() { digest::of_path(path) } else { Ok(digest::of_bytes(base_model.as_bytes())) }
}
