//! `experiment.json`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The two experiments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One adapter, merged in several ways.
    MergeCompare,
    /// One base, in full precision and quantised, on growing data.
    LoraVsQlora,
}

impl Kind {
    /// Returns its name in run files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::MergeCompare => "merge-compare",
            Self::LoraVsQlora => "lora-vs-qlora",
        }
    }
}

/// An experiment: what is compared, where, and how to repeat it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Experiment {
    /// Kind.
    pub experiment: Kind,
    /// Title from the run file.
    #[serde(default)]
    pub title: String,
    /// Profile: the sizes of model and data.
    #[serde(default)]
    pub profile: String,
    /// Text of the run file.
    #[serde(default)]
    pub run_file: String,
    /// Variants, in the order of the tables.
    #[serde(default)]
    pub variants: Vec<Variant>,
    /// Name of the variant that the others are compared with.
    #[serde(default)]
    pub reference: String,
    /// Records of each slice of the data.
    #[serde(default)]
    pub sizes: Vec<usize>,
    /// Seeds of each size.
    #[serde(default)]
    pub seeds: Vec<u64>,
    /// Repetitions of each cell.
    #[serde(default)]
    pub repeats: usize,
    /// Shell commands that repeat it.
    #[serde(default)]
    pub commands: Vec<String>,
    /// Machine and versions.
    #[serde(default)]
    pub environment: Environment,
}

impl Experiment {
    /// Returns the value of a setting as it is written: a flag of the command, or else from the run file, where the profile
    /// that ran beats what stands above all profiles.
    pub fn setting(&self, key: &str) -> Option<String> {
        self.flag(key).or_else(|| self.in_run_file(key)).filter(|value| !value.is_empty())
    }

    fn flag(&self, key: &str) -> Option<String> {
        let flag = format!("--{key}");
        let words: Vec<&str> = self.commands.last()?.split_whitespace().collect();
        let at = words.iter().position(|word| *word == flag)?;
        words.get(at + 1).filter(|value| !value.starts_with("--")).map(|value| (*value).to_owned())
    }

    /// Reads the text, not the parsed value: `3e-4` is shown as it is written.
    fn in_run_file(&self, key: &str) -> Option<String> {
        let own = format!("profiles.{}", self.profile);
        let (mut section, mut found) = (String::new(), None);
        for line in self.run_file.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                name.trim_start_matches('[').trim_end_matches(']').clone_into(&mut section);
            } else if let Some((_, value)) = line.split_once('=').filter(|(name, _)| name.trim() == key) {
                let is_own =
                    section.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
                if is_own || (section.is_empty() && found.is_none()) {
                    found = Some(value.trim().trim_matches('"').to_owned());
                }
            }
        }
        found
    }

    /// Returns the part of the run file that ran: without other profiles, and without variants of no cell.
    pub fn run_file_used(&self, ran: impl Fn(&str) -> bool) -> String {
        let mut kept: Vec<&str> = Vec::new();
        // Comments stand above what they belong to.
        let (mut waiting, mut keeps) = (Vec::new(), true);
        let lines: Vec<&str> = self.run_file.lines().collect();
        for (index, &line) in lines.iter().enumerate() {
            if line.trim().is_empty() || line.starts_with('#') {
                waiting.push(line);
                continue;
            }
            if line.starts_with('[') {
                let section = line.trim_matches(|letter| "[] ".contains(letter));
                let name = lines[index..].iter().find_map(|line| line.strip_prefix("name = "));
                keeps = match section.strip_prefix("profiles.") {
                    Some(profile) => profile.split('.').next() == Some(self.profile.as_str()),
                    None => name.is_none_or(|name| ran(name.trim_matches('"'))),
                };
            }
            if keeps {
                kept.append(&mut waiting);
                kept.push(line);
            }
            waiting.clear();
        }
        kept.join("\n").trim().to_owned()
    }

    /// Returns true if the checkout had changes that are in no commit.
    pub fn has_changes(&self) -> bool {
        self.environment.commit.as_ref().is_some_and(|commit| commit.ends_with(" with changes"))
    }
}

/// One of the things compared.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Variant {
    /// Its name in the results.
    pub name: String,
    /// Its name in an English report.
    pub label_en: String,
    /// Its name in a Chinese report.
    pub label_zh: String,
    /// One sentence about it, in English.
    pub what_en: String,
    /// The same in Chinese.
    pub what_zh: String,
}

impl Variant {
    /// Returns true for a mistake made on purpose.
    pub fn is_planted(&self) -> bool {
        self.name.starts_with("planted")
    }
}

/// The machine and the versions of an experiment.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Environment {
    /// Processor.
    pub cpu: Option<String>,
    /// Cores.
    pub cores: Option<usize>,
    /// Memory in GiB.
    pub memory_gib: Option<f64>,
    /// GPU, its memory and its driver.
    pub gpu: Option<String>,
    /// Operating system.
    pub os: Option<String>,
    /// Compiler.
    pub rustc: Option<String>,
    /// PyTorch's version of libtorch.
    pub libtorch: Option<String>,
    /// Commit of the checkout, and ` with changes` where it had some.
    pub commit: Option<String>,
    /// Time at which the experiment began.
    pub date: Option<String>,
    /// SHA-256 of each program.
    pub binary_sha256: BTreeMap<String, String>,
    /// SHA-256 of each file of data.
    pub data_sha256: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_the_profile_that_ran_which_beats_the_rest() {
        let experiment: Experiment = serde_json::from_value(serde_json::json!({
            "experiment": "lora-vs-qlora", "profile": "a", "commands": ["git checkout 1", "xtask --base_model m --threads 1"],
            "run_file": "dtype = \"float32\"\n[[variants]]\nlora_r = 1\n[profiles.a]\nbase_model = \"n\"\n[profiles.a.finetune]\nlora_r = 16\n[profiles.ab]\nlora_r = 8",
        }))
        .expect("an experiment");
        let setting = |key: &str| experiment.setting(key);
        assert_eq!(setting("base_model").as_deref(), Some("m"));
        assert_eq!(
            (setting("lora_r").as_deref(), setting("dtype").as_deref()),
            (Some("16"), Some("float32"))
        );
        assert_eq!(setting("lora_alpha"), None);
    }

    #[test]
    fn the_run_file_is_cut_to_what_ran() {
        let experiment: Experiment = serde_json::from_value(serde_json::json!({
            "experiment": "merge-compare", "profile": "a",
            "run_file": "# all\nseeds = [1]\n\n[[variants]]\nname = \"x\"\nlabel_en = \"X\"\n\n[[variants]]\nname = \"y\"\n\n# wrong\n[[planted]]\nname = \"p\"\n\n[profiles.a]\nk = 1\n\n[profiles.a.finetune]\nr = 2\n\n[profiles.b]\nk = 3\n",
        }))
        .expect("an experiment");
        assert_eq!(
            experiment.run_file_used(|name| name == "x"),
            "# all\nseeds = [1]\n\n[[variants]]\nname = \"x\"\nlabel_en = \"X\"\n\n[profiles.a]\nk = 1\n\n[profiles.a.finetune]\nr = 2"
        );
    }
}
