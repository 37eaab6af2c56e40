//! `experiment.json`: what was run, on what.

use std::path::Path;

use anyhow::Result;
use results::{Environment, Experiment};

use super::programs::read_json;
use super::run_file::Variant;
use super::setting::Setting;
use super::store::write_atomically;

/// Writes the description. A resumed experiment keeps its date.
pub(crate) fn write(setting: &Setting, mut environment: Environment, command: &str) -> Result<()> {
    let path = setting.out.join("experiment.json");
    environment.date = earlier_date(&path).or(environment.date);
    // A checkout with changes cannot be had again by its commit.
    let commit = environment.commit.as_ref().filter(|commit| !commit.contains(' '));
    let checkout = commit.map(|commit| format!("git checkout {commit}"));
    let variant = |variant: &Variant| {
        let Variant { name, label_en, label_zh, what_en, what_zh, .. } = variant.clone();
        results::Variant { name, label_en, label_zh, what_en, what_zh }
    };
    let description = Experiment {
        experiment: setting.file.experiment,
        title: setting.file.title.clone(),
        profile: setting.profile_name.clone(),
        run_file: setting.run_file_text.clone(),
        variants: setting.file.variants.iter().map(variant).collect(),
        reference: setting.file.reference.clone(),
        sizes: setting.sizes.clone(),
        seeds: setting.seeds.clone(),
        repeats: setting.repeats,
        commands: checkout.into_iter().chain([command.to_owned()]).collect(),
        environment,
    };
    write_atomically(&path, &(serde_json::to_string_pretty(&description)? + "\n"))
}

fn earlier_date(path: &Path) -> Option<String> {
    read_json::<Experiment>(path).ok()?.environment.date
}
