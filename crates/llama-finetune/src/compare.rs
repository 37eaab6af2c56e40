//! Two models on disk, compared on records.

use std::path::Path;

use alpaca_data::{PromptTemplate, Record};
use checkpoint::Base;
use infer::GenerateConfig;
use nn_core::Dtype;
use serde::Serialize;

use crate::comparison::ModelOutputs;
use crate::{Distance, FinetuneError, LoadConfig};

/// A model on disk, and the way to load it.
#[derive(Debug, Clone, Copy)]
pub struct ModelChoice<'a> {
    /// Path or name of the base.
    pub base_model: &'a str,
    /// Directory of its adapter.
    pub adapter: Option<&'a Path>,
    /// Device, precision and quantisation.
    pub load: LoadConfig,
}

/// The distance of a model from a reference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Precision that the reference was computed in.
    pub computed_in: String,
    /// Fraction of the greedy tokens that are equal at the same place.
    pub token_agreement: f64,
    /// First greedy token that differs in any answer, counted from 0.
    pub first_diverging_token: Option<usize>,
    /// Largest difference of any logit at any position of any record.
    pub max_logit_diff: f64,
    /// Mean over records of the mean KL divergence over positions, in nats.
    pub mean_kl: f64,
    /// Absolute differences of single logits, spread over all of them.
    pub logit_diff: Vec<f64>,
    /// Every record.
    pub records: Vec<RecordComparison>,
}

/// The comparison of one record.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RecordComparison {
    /// Its instruction.
    pub instruction: String,
    /// The distance of the outputs.
    #[serde(flatten)]
    pub distance: Distance,
}

/// Compares a model with a reference: the logits of prompt and answer of each record, and up to `max_new_tokens` greedy
/// tokens behind the prompt. The models are loaded one after the other; the texts are tokenised by the reference's
/// tokenizer. `samples` differences of single logits are kept.
///
/// # Errors
/// [`FinetuneError`] when a model cannot be loaded or fails.
pub fn compare_models(
    reference: &ModelChoice<'_>,
    compared: &ModelChoice<'_>,
    records: &[&Record],
    template: &PromptTemplate,
    max_new_tokens: usize,
    samples: usize,
) -> Result<Comparison, FinetuneError> {
    let base = Base::open_with(reference.base_model, reference.load.unknown_settings)?;
    let tokenizer = base.tokenizer()?;
    let longest = base.config.context_len() as usize;
    let (mut prompts, mut texts) = (Vec::new(), Vec::new());
    for record in records {
        let prompt = template.prompt(&record.instruction, Some(&record.input));
        prompts.push(tokenizer.encode(&prompt, true)?);
        let mut ids = tokenizer.encode(&format!("{prompt}{}", record.output), true)?;
        ids.truncate(longest);
        texts.push(ids);
    }
    let eos_ids = base.eos_ids(&tokenizer);
    let generate = GenerateConfig { max_new_tokens, eos_ids, ..GenerateConfig::default() };
    let other = Base::open_with(compared.base_model, compared.load.unknown_settings)?;
    let rows = (base.config.vocab_size, other.config.vocab_size);
    let vocab_size = rows.0.min(rows.1);
    if rows.0 != rows.1 {
        tracing::warn!(
            "the models have {} and {} logits; the first {vocab_size} are compared",
            rows.0,
            rows.1
        );
    }
    let model = reference.load.load(&base, reference.adapter)?;
    let computed_in = Dtype::name_of(model.kind()).to_owned();
    let expected = ModelOutputs::collect(&model, &texts, &prompts, &generate, vocab_size)?;
    drop(model);
    let model = compared.load.load(&other, compared.adapter)?;
    let actual = ModelOutputs::collect(&model, &texts, &prompts, &generate, vocab_size)?;
    let distances = actual.distances(&expected)?;
    let logit_diff = actual.sample_logit_diffs(&expected, samples)?;
    Ok(Comparison::new(computed_in, records, distances, logit_diff))
}

impl Comparison {
    /// Summarises the distances of all records.
    fn new(computed_in: String, records: &[&Record], found: Vec<Distance>, logit_diff: Vec<f64>) -> Self {
        let tokens: usize = found.iter().map(|distance| distance.tokens).sum();
        let same: usize = found.iter().map(|distance| distance.same_tokens).sum();
        Self {
            computed_in,
            token_agreement: if tokens > 0 { same as f64 / tokens as f64 } else { 1.0 },
            first_diverging_token: found.iter().filter_map(|distance| distance.first_diverging_token).min(),
            max_logit_diff: found.iter().map(|distance| distance.max_logit_diff).fold(0.0, f64::max),
            mean_kl: found.iter().map(|distance| distance.kl).sum::<f64>() / found.len().max(1) as f64,
            logit_diff,
            records: records
                .iter()
                .map(|record| record.instruction.clone())
                .zip(found)
                .map(|(instruction, distance)| RecordComparison { instruction, distance })
                .collect(),
        }
    }
}
