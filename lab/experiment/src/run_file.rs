//! Run files: what an experiment is, apart from the machine it runs on.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use results::Kind;
use serde::{Deserialize, Serialize};
use toml::Table;

/// One file of `lab/experiments/`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFile {
    pub(crate) experiment: Kind,
    pub(crate) title: String,
    /// The variant that others are compared with.
    pub(crate) reference: String,
    /// Records to train on, smallest first; empty where the whole file is used.
    #[serde(default)]
    pub(crate) sizes: Vec<usize>,
    pub(crate) seeds: Vec<u64>,
    pub(crate) repeats: usize,
    pub(crate) variants: Vec<Variant>,
    /// Mistakes made on purpose.
    #[serde(default)]
    pub(crate) planted: Vec<Variant>,
    pub(crate) profiles: BTreeMap<String, Profile>,
}

/// A variant.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) label_en: String,
    pub(crate) label_zh: String,
    pub(crate) what_en: String,
    pub(crate) what_zh: String,
    /// True with the adapter, beside the base or merged into it.
    #[serde(default)]
    pub(crate) adapter: bool,
    /// Flags of `merge`; absent where the base itself is loaded.
    #[serde(default)]
    pub(crate) merge: Option<Vec<String>>,
    /// Settings of `finetune` over those of the profile; `quantize` and `double_quant` hold for answering too.
    #[serde(default)]
    pub(crate) finetune: Table,
}

impl Variant {
    /// Returns `--quantize` and `--double_quant` of the programs that answer.
    pub(crate) fn quantize_flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        if let Some(name) = self.finetune.get("quantize").and_then(|value| value.as_str()) {
            flags.extend(["--quantize".to_owned(), name.to_owned()]);
        }
        if self.finetune.get("double_quant").and_then(toml::Value::as_bool) == Some(true) {
            flags.push("--double_quant".to_owned());
        }
        flags
    }
}

/// Model, data and settings of one size of machine.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// For whom it is.
    #[serde(skip_serializing)]
    pub(crate) about: String,
    /// Directory or file; `--base_model` beats it.
    #[serde(skip_serializing)]
    pub(crate) base_model: Option<String>,
    /// Records to train on; `--data_path` beats it.
    #[serde(skip_serializing)]
    pub(crate) data_path: Option<String>,
    /// Records to validate on; where absent, some are set aside from `data_path`, never trained on.
    #[serde(skip_serializing)]
    pub(crate) validation_path: Option<String>,
    /// Records to answer; where absent, some are set aside from `data_path`.
    #[serde(skip_serializing)]
    pub(crate) evaluation_path: Option<String>,
    /// Records of validation that count, spread over the file.
    #[serde(default)]
    pub(crate) validation_records: Option<usize>,
    /// Records that are answered, spread over the file.
    pub(crate) evaluation_records: usize,
    /// Answered records whose logits are compared.
    #[serde(default)]
    pub(crate) compare_records: usize,
    /// Answers kept for the report.
    pub(crate) texts: usize,
    pub(crate) max_new_tokens: usize,
    /// Precision of all computation.
    pub(crate) dtype: String,
    /// Precision of merged files.
    #[serde(default)]
    pub(crate) merge_dtype: Option<String>,
    pub(crate) device: String,
    /// Prompt and answer of the speed measurement, in tokens.
    #[serde(default)]
    pub(crate) prompt_tokens: usize,
    #[serde(default)]
    pub(crate) new_tokens: usize,
    /// Settings of `finetune`.
    pub(crate) finetune: Table,
    /// Speeds of a quiet machine of this profile; for estimates only.
    #[serde(skip_serializing)]
    pub(crate) estimate: Pace,
}

/// Speeds that estimates start from.
#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pace {
    pub(crate) train_records_per_s: f64,
    pub(crate) answers_per_s: f64,
    /// Start of a program and loading.
    pub(crate) start_s: f64,
    pub(crate) decode_tokens_per_s: f64,
    pub(crate) adapter_mib: f64,
}

impl RunFile {
    /// Reads a run file and checks what holds of every one.
    pub(crate) fn read(path: &Path) -> Result<(Self, String)> {
        let text =
            fs::read_to_string(path).with_context(|| format!("cannot read run file `{}`", path.display()))?;
        let file = Self::parse(&text).with_context(|| format!("run file `{}`", path.display()))?;
        Ok((file, text))
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        let file: Self = toml::from_str(text)?;
        let names: Vec<&str> = file.variants.iter().map(|variant| &*variant.name).collect();
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                bail!("variant `{name}` is there twice");
            }
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
                bail!("variant `{name}`: a name has letters, digits and `-` only");
            }
        }
        if !names.contains(&&*file.reference) {
            bail!("reference `{}` is no variant; they are {}", file.reference, names.join(", "));
        }
        if file.seeds.is_empty() || file.repeats == 0 {
            bail!("there has to be one seed and one repeat at least");
        }
        Ok(file)
    }

    /// Returns a profile by name.
    pub(crate) fn profile(&self, name: &str) -> Result<&Profile> {
        self.profiles.get(name).with_context(|| {
            let names: Vec<&str> = self.profiles.keys().map(String::as_str).collect();
            format!("no profile `{name}`; expected {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_run_files_are_sound() {
        for (text, kind) in [
            (include_str!("../../experiments/merge-compare.toml"), Kind::MergeCompare),
            (include_str!("../../experiments/lora-vs-qlora.toml"), Kind::LoraVsQlora),
        ] {
            let file = RunFile::parse(text).unwrap();
            assert_eq!(file.experiment, kind);
            for name in ["default", "smollm2", "7b"] {
                file.profile(name).unwrap();
            }
            assert!(file.profile("13b").unwrap_err().to_string().contains("default"));
        }
    }

    #[test]
    fn a_reference_that_is_no_variant_is_refused() {
        let text = include_str!("../../experiments/merge-compare.toml");
        let text = text.replace("reference = \"adapter\"", "reference = \"nobody\"");
        let error = RunFile::parse(&text).unwrap_err().to_string();
        assert!(error.contains("reference `nobody`"), "{error}");
    }
}
