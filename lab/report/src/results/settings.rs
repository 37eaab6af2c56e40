//! What the run was set to, out of the run file and the command line.

use super::Experiment;

impl Experiment {
    /// The value of a setting, as it is written: a flag of the command, or else the run file's, in the profile that ran
    /// or above all profiles.
    pub fn setting(&self, key: &str) -> Option<String> {
        self.flag(key).or_else(|| self.in_run_file(key)).filter(|value| !value.is_empty())
    }

    fn flag(&self, key: &str) -> Option<String> {
        let flag = format!("--{key}");
        let words: Vec<&str> = self.commands.last()?.split_whitespace().collect();
        let at = words.iter().position(|word| *word == flag)?;
        words.get(at + 1).filter(|value| !value.starts_with("--")).map(|value| (*value).to_owned())
    }

    fn in_run_file(&self, key: &str) -> Option<String> {
        let own = format!("profiles.{}", self.profile);
        let (mut section, mut found) = (String::new(), None);
        for line in self.run_file.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix('[') {
                name.trim_start_matches('[').trim_end_matches(']').clone_into(&mut section);
            } else if let Some((name, value)) = line.split_once('=')
                && name.trim() == key
            {
                let is_own =
                    section == own || section.strip_prefix(&own).is_some_and(|rest| rest.starts_with('.'));
                if is_own || (section.is_empty() && found.is_none()) {
                    found = Some(value.trim().trim_matches('"').to_owned());
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_beats_the_profile_that_ran_and_that_beats_the_rest() {
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
}
