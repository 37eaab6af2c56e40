//! Where runs differ: their settings.

use crate::RunRecord;

/// A setting that not all runs share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Its name.
    pub setting: String,
    /// Its value in each run, none where the run does not have it.
    pub values: Vec<Option<String>>,
}

/// Lists the settings in which `runs` differ, in the order of the run files. The directory of results always does, and is left out.
pub fn comparison(runs: &[RunRecord]) -> Vec<Difference> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in runs.iter().flat_map(|run| &run.settings) {
        if name != "output_dir" && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let value = |run: &RunRecord, name: &str| {
        run.settings.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    let difference = |name: &str| {
        let values: Vec<Option<String>> = runs.iter().map(|run| value(run, name)).collect();
        let differs = values.iter().any(|value| *value != values[0]);
        differs.then(|| Difference { setting: name.to_owned(), values })
    };
    names.into_iter().filter_map(difference).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(settings: &[(&str, &str)]) -> RunRecord {
        let settings = settings.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        RunRecord { settings, ..RunRecord::default() }
    }

    #[test]
    fn settings_that_differ_are_listed_and_no_others() {
        let runs = [
            run(&[("seed", "1"), ("lora_r", "8"), ("output_dir", "a")]),
            run(&[("seed", "1"), ("lora_r", "4"), ("output_dir", "b"), ("max_steps", "3")]),
        ];
        let found = comparison(&runs);
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(found.len(), 2);
        assert_eq!((&*found[0].setting, &found[0].values), ("lora_r", &vec![some("8"), some("4")]));
        assert_eq!((&*found[1].setting, &found[1].values), ("max_steps", &vec![None, some("3")]));
        assert_eq!(comparison(&runs[..1]), []);
    }
}
