//! What `evaluate`, `compare` and `bench-decode` find out about a model.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::programs::{Programs, file_name};
use super::results::{Measured, Text};
use super::setting::Setting;
use crate::stats::median;

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

/// What `evaluate --json` writes.
#[derive(Debug, Deserialize)]
struct Evaluation {
    exact_match: f64,
    rouge_l: f64,
    perplexity: Option<f64>,
    samples: Vec<Sample>,
}

#[derive(Debug, Deserialize)]
struct Sample {
    instruction: String,
    input: String,
    expected: String,
    answer: String,
}

/// What `compare --json` writes.
#[derive(Debug, Deserialize)]
struct Comparison {
    token_agreement: f64,
    first_diverging_token: Option<f64>,
    max_logit_diff: f64,
    mean_kl: f64,
    logit_diff: Vec<f64>,
}

/// What `bench-decode` prints.
#[derive(Debug, Deserialize)]
struct Decoded {
    load_s: f64,
    first_token_s: Vec<f64>,
    token_s: Vec<f64>,
    peak_host_mib: f64,
    peak_device_mib: Option<f64>,
}

/// Answers the evaluation records: exact match, ROUGE-L, perplexity, and some of the texts.
///
/// # Errors
/// With what `evaluate` said.
pub(crate) fn answer(
    name: &str,
    source: &Source,
    setting: &Setting,
    programs: &Programs,
    measured: &mut Measured,
) -> Result<()> {
    let data = setting.data_file("evaluation", &setting.records.evaluation)?;
    let mut command = programs.command("evaluate", source.flags());
    command.args(setting.machine_flags()).arg("--data_path").arg(data);
    command.args(["--show", "0", "--perplexity", "--max_new_tokens"]);
    command.arg(setting.profile.max_new_tokens.to_string());
    let json = setting.out.join("work").join(file_name(name)).join("evaluation.json");
    let found: Evaluation = programs.run_for(name, &mut command, &json)?;
    measured.put("exact_match", found.exact_match);
    measured.put("rouge_l", found.rouge_l);
    measured.put_some("perplexity", found.perplexity);
    let (total, count) = (found.samples.len(), setting.profile.texts.min(found.samples.len()));
    measured.texts = (0..count)
        .map(|place| place * total / count)
        .map(|place| {
            let Sample { instruction, input, expected, answer } = &found.samples[place];
            Text {
                id: place.to_string(),
                instruction: instruction.clone(),
                input: input.clone(),
                reference: expected.clone(),
                answer: answer.clone(),
            }
        })
        .collect();
    Ok(())
}

/// Compares logits and greedy tokens with the reference's.
///
/// # Errors
/// With what `compare` said.
pub(crate) fn compare(
    name: &str,
    source: &Source,
    reference: &Source,
    setting: &Setting,
    programs: &Programs,
    measured: &mut Measured,
) -> Result<()> {
    let data = setting.data_file("evaluation", &setting.records.evaluation)?;
    let mut command = programs.command("compare", source.flags());
    command.args(setting.machine_flags()).arg("--data_path").arg(data);
    command.arg("--reference_model").arg(&reference.base_model);
    if let Some(dir) = &reference.adapter {
        command.arg("--reference_lora").arg(dir);
    }
    command.arg("--records").arg(setting.profile.compare_records.to_string());
    command.arg("--max_new_tokens").arg(setting.profile.max_new_tokens.to_string());
    let json = setting.out.join("work").join(file_name(name)).join("comparison.json");
    let found: Comparison = programs.run_for(name, &mut command, &json)?;
    measured.put("token_agreement", found.token_agreement);
    measured.put_some("first_diverging_token", found.first_diverging_token);
    measured.put("max_logit_diff", found.max_logit_diff);
    measured.put("mean_kl", found.mean_kl);
    measured.samples.insert("logit_diff".to_owned(), found.logit_diff);
    Ok(())
}

/// Times loading and decoding.
///
/// # Errors
/// With what `bench-decode` said.
pub(crate) fn decode(
    name: &str,
    source: &Source,
    setting: &Setting,
    programs: &Programs,
    measured: &mut Measured,
) -> Result<()> {
    let mut command = programs.command("bench-decode", source.flags());
    command.args(setting.machine_flags());
    command.arg("--prompt_tokens").arg(setting.profile.prompt_tokens.to_string());
    command.arg("--new_tokens").arg(setting.profile.new_tokens.to_string());
    // The first of three pays for pages that are not in memory yet; the medians leave it out.
    let text = programs.run(name, command.args(["--repeats", "3"]))?;
    let found: Decoded = serde_json::from_str(&text).context("cannot read what `bench-decode` printed")?;
    measured.put("load_s", found.load_s);
    measured.put("first_token_s", median(&found.first_token_s));
    measured.put("decode_tokens_per_s", 1.0 / median(&found.token_s));
    measured.put("peak_host_mib", found.peak_host_mib);
    measured.put_some("peak_device_mib", found.peak_device_mib);
    measured.samples.insert("decode_s".to_owned(), found.token_s);
    Ok(())
}
