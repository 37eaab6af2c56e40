//! Measuring a model by `evaluate`, `compare` and `bench-decode`.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use results::{Cell, Text};
use serde::Deserialize;
use serde_json::Value;
use xtask::measure::median;

use super::programs::{Programs, file_name};
use super::setting::Setting;

/// A model on disk, ready to be asked.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) base_model: String,
    pub(crate) adapter: Option<PathBuf>,
    /// `--quantize` and what belongs to it.
    pub(crate) quantize: Vec<String>,
}

impl Source {
    fn flags(&self) -> Vec<String> {
        let mut flags = vec!["--base_model".to_owned(), self.base_model.clone()];
        if let Some(dir) = &self.adapter {
            flags.extend(["--lora_weights".to_owned(), dir.display().to_string()]);
        }
        flags.extend(self.quantize.iter().cloned());
        flags
    }
}

/// Copies numbers of a program's JSON by their names there and in the cell; with `?` behind them they may be absent.
pub(crate) fn copy(cell: &mut Cell, found: &Value, names: &[(&str, &str)]) -> Result<()> {
    for (from, to) in names {
        let value = found[from.trim_end_matches('?')].as_f64();
        if value.is_none() && !from.ends_with('?') {
            bail!("`{from}` is missing");
        }
        cell.put(to, value);
    }
    Ok(())
}

/// Copies a sample of a distribution.
fn sample(found: &Value, name: &str) -> Result<Vec<f64>> {
    let values = found.get(name).with_context(|| format!("`{name}` is missing"))?;
    serde_json::from_value(values.clone()).with_context(|| format!("`{name}` is no list of numbers"))
}

/// A record of `evaluate --json`.
#[derive(Debug, Clone, Deserialize)]
struct Sample {
    instruction: String,
    input: String,
    expected: String,
    answer: String,
}

/// Answers the evaluation records: exact match, ROUGE-L, perplexity, and some of the texts.
pub(crate) fn answer(source: &Source, setting: &Setting, programs: &Programs, cell: &mut Cell) -> Result<()> {
    let mut command = programs.command("evaluate", source.flags());
    command.args(setting.machine_flags());
    command.arg("--data_path").arg(setting.data_file("evaluation", &setting.records.evaluation)?);
    command.args(["--show", "0", "--perplexity", "--max_new_tokens"]);
    command.arg(setting.profile.max_new_tokens.to_string());
    let found = programs.run_for(&cell.cell, &mut command, &json(setting, cell, "evaluation"))?;
    let names = [("exact_match", "exact_match"), ("rouge_l", "rouge_l"), ("perplexity?", "perplexity")];
    copy(cell, &found, &names).context("cannot read what `evaluate` wrote")?;
    let samples: Vec<Sample> =
        serde_json::from_value(found["samples"].clone()).context("cannot read what `evaluate` wrote")?;
    let (total, count) = (samples.len(), setting.profile.texts.min(samples.len()));
    let text = |place: usize| {
        let Sample { instruction, input, expected, answer } = samples[place].clone();
        let (input, reference) = (Some(input), Some(expected));
        Text { id: place.to_string().into(), instruction, input, reference, answer }
    };
    cell.texts = (0..count).map(|place| text(place * total / count)).collect();
    Ok(())
}

/// Compares logits and greedy tokens with the reference's.
pub(crate) fn compare(
    source: &Source,
    reference: &Source,
    setting: &Setting,
    programs: &Programs,
    cell: &mut Cell,
) -> Result<()> {
    let mut command = programs.command("compare", source.flags());
    command.args(setting.machine_flags());
    command.arg("--data_path").arg(setting.data_file("evaluation", &setting.records.evaluation)?);
    command.arg("--reference_model").arg(&reference.base_model);
    if let Some(dir) = &reference.adapter {
        command.arg("--reference_lora").arg(dir);
    }
    command.arg("--records").arg(setting.profile.compare_records.to_string());
    command.arg("--max_new_tokens").arg(setting.profile.max_new_tokens.to_string());
    let found = programs.run_for(&cell.cell, &mut command, &json(setting, cell, "comparison"))?;
    let names = [
        ("token_agreement", "token_agreement"),
        ("first_diverging_token?", "first_diverging_token"),
        ("max_logit_diff", "max_logit_diff"),
        ("mean_kl", "mean_kl"),
    ];
    copy(cell, &found, &names).context("cannot read what `compare` wrote")?;
    put_sample(cell, "logit_diff", sample(&found, "logit_diff")?);
    Ok(())
}

/// Times loading and decoding.
pub(crate) fn decode(source: &Source, setting: &Setting, programs: &Programs, cell: &mut Cell) -> Result<()> {
    let mut command = programs.command("bench-decode", source.flags());
    command.args(setting.machine_flags());
    command.arg("--prompt_tokens").arg(setting.profile.prompt_tokens.to_string());
    command.arg("--new_tokens").arg(setting.profile.new_tokens.to_string());
    // The first of three pays for pages that are not in memory yet; the medians leave it out.
    let text = programs.run(&cell.cell, command.args(["--repeats", "3"]))?;
    let found: Value = serde_json::from_str(&text).context("cannot read what `bench-decode` printed")?;
    let names =
        [("load_s", "load_s"), ("peak_host_mib", "peak_host_mib"), ("peak_device_mib?", "peak_device_mib")];
    copy(cell, &found, &names).context("cannot read what `bench-decode` printed")?;
    let tokens = sample(&found, "token_s")?;
    cell.put("first_token_s", median(&sample(&found, "first_token_s")?));
    cell.put("decode_tokens_per_s", 1.0 / median(&tokens));
    put_sample(cell, "decode_s", tokens);
    Ok(())
}

fn put_sample(cell: &mut Cell, name: &str, values: Vec<f64>) {
    cell.samples.insert(name.to_owned(), values.into_iter().map(Some).collect());
}

/// Returns the file in which a program leaves what it found of a cell.
fn json(setting: &Setting, cell: &Cell, name: &str) -> PathBuf {
    setting.out.join("work").join(file_name(&cell.cell)).join(format!("{name}.json"))
}
