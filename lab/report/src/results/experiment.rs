//! `experiment.json`.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::lang::Lang;

/// Which of the two experiments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One adapter, merged in several ways.
    MergeCompare,
    /// One base, in full precision and quantised, on growing data.
    LoraVsQlora,
}

/// What was to be compared, where, and how to do it again.
#[derive(Debug, Clone, Deserialize)]
pub struct Experiment {
    /// Which experiment.
    pub experiment: Kind,
    /// A title of the user's; empty for that of the template.
    #[serde(default)]
    pub title: String,
    /// The sizes of model and data, by name.
    #[serde(default)]
    pub profile: String,
    /// The run file, as it was.
    #[serde(default)]
    pub run_file: String,
    /// In the order of the tables.
    #[serde(default)]
    pub variants: Vec<Variant>,
    /// The variant that others are compared with.
    #[serde(default)]
    pub reference: String,
    /// Records of each slice of the data.
    #[serde(default)]
    pub sizes: Vec<u64>,
    /// Seeds of each size.
    #[serde(default)]
    pub seeds: Vec<u64>,
    /// Repetitions of each cell.
    #[serde(default)]
    pub repeats: u64,
    /// Shell commands that do it again.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Where it ran.
    #[serde(default)]
    pub environment: Environment,
}

impl Experiment {
    /// The commit by its first letters, and whether the checkout had changes beyond it.
    pub fn commit(&self, lang: Lang, letters: usize) -> Option<String> {
        let commit = shown(&self.environment.commit)?;
        let name: String = commit.split(' ').next().unwrap_or_default().chars().take(letters).collect();
        let changes =
            if self.has_changes() { lang.pick(" with changes", "（含未提交的改动）") } else { "" };
        Some(format!("{name}{changes}"))
    }

    /// Whether the checkout had changes that are in no commit.
    pub fn has_changes(&self) -> bool {
        shown(&self.environment.commit).is_some_and(|commit| commit.ends_with(" with changes"))
    }
}

/// One column of the comparison.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Variant {
    /// Its name in the results.
    pub name: String,
    /// What readers call it.
    #[serde(default)]
    pub label_en: String,
    /// The same, in Chinese.
    #[serde(default)]
    pub label_zh: String,
    /// What it is, in a sentence.
    #[serde(default)]
    pub what_en: String,
    /// The same, in Chinese.
    #[serde(default)]
    pub what_zh: String,
}

impl Variant {
    /// What readers call it; its name where nobody said.
    pub fn label(&self, lang: Lang) -> String {
        let label = lang_of(lang, &self.label_en, &self.label_zh);
        plain(if label.is_empty() { &self.name } else { label })
    }

    /// What it is.
    pub fn what(&self, lang: Lang) -> String {
        plain(lang_of(lang, &self.what_en, &self.what_zh))
    }

    /// Whether it is wrong on purpose.
    pub fn is_planted(&self) -> bool {
        self.name.starts_with("planted")
    }
}

fn lang_of<'a>(lang: Lang, en: &'a str, zh: &'a str) -> &'a str {
    if lang == Lang::Zh && !zh.is_empty() { zh } else { en }
}

/// Text of others, without the two marks that templates have a meaning for.
pub(crate) fn plain(text: &str) -> String {
    text.replace('`', "'").replace("**", "*")
}

/// The machine and the versions.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Model of the processor.
    pub cpu: Value,
    /// Cores that were used.
    pub cores: Value,
    /// Memory.
    pub memory_gib: Value,
    /// Model of the GPU, if there was one.
    pub gpu: Value,
    /// Operating system.
    pub os: Value,
    /// Compiler.
    pub rustc: Value,
    /// Version of libtorch.
    pub libtorch: Value,
    /// Commit of the workspace.
    pub commit: Value,
    /// Day or time of the run.
    pub date: Value,
    /// SHA-256 of each program.
    pub binary_sha256: Map<String, Value>,
    /// SHA-256 of each file of data.
    pub data_sha256: Map<String, Value>,
}

/// A value as a reader wants it; nothing for null.
pub(crate) fn shown(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => {
            let value = number.as_f64().unwrap_or_default();
            Some(if value.fract() == 0.0 { number.to_string() } else { format!("{value:.1}") })
        }
        other => Some(other.to_string()),
    }
}
