//! Two models on disk, compared on records.

use alpaca_data::{PromptTemplate, Record};
use checkpoint::{Base, CheckpointError};
use infer::GenerateConfig;
use llama_tokenizer::TokenizerError;
use nn_core::Dtype;
use serde::Serialize;

use crate::comparison::ModelOutputs;
use crate::{Distance, FinetuneError, ModelChoice, TrainedWith, compare_tokenizers};

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
/// tokenizer. Prompts are put in `template`, or else in the one that the compared model's adapter was trained with, or the
/// reference's. `samples` differences of single logits are kept. Tokenizers that make other tokens of the same text are an
/// error, or with `ignore_tokenizer` a warning.
///
/// # Errors
/// [`FinetuneError`] when a model cannot be loaded or fails.
pub fn compare_models(
    reference: &ModelChoice<'_>,
    compared: &ModelChoice<'_>,
    records: &[&Record],
    template: Option<&str>,
    max_new_tokens: usize,
    samples: usize,
    ignore_tokenizer: bool,
) -> Result<Comparison, FinetuneError> {
    let (reference, compared) = (reference.open()?, compared.open()?);
    check_tokenizers(&reference.base, &compared.base, ignore_tokenizer)?;
    let template = common_template(&reference.trained_with, &compared.trained_with, template)?;
    let base = &reference.base;
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
    let rows = (base.config.vocab_size, compared.base.config.vocab_size);
    let vocab_size = rows.0.min(rows.1);
    if rows.0 != rows.1 {
        tracing::warn!(
            "the models have {} and {} logits; the first {vocab_size} are compared",
            rows.0,
            rows.1
        );
    }
    let model = reference.load()?;
    let computed_in = Dtype::name_of(model.kind()).to_owned();
    let expected = ModelOutputs::collect(&model, &texts, &prompts, &generate, vocab_size)?;
    drop(model);
    let model = compared.load()?;
    let actual = ModelOutputs::collect(&model, &texts, &prompts, &generate, vocab_size)?;
    let distances = actual.distances(&expected)?;
    let logit_diff = actual.sample_logit_diffs(&expected, samples)?;
    Ok(Comparison::new(computed_in, records, distances, logit_diff))
}

/// Returns the template that both models are asked in.
fn common_template(
    reference: &TrainedWith,
    compared: &TrainedWith,
    asked: Option<&str>,
) -> Result<PromptTemplate, FinetuneError> {
    let asked = asked.or(compared.prompt_template.as_deref()).or(reference.prompt_template.as_deref());
    // Each of them tells where it differs.
    compared.template(asked)?;
    reference.template(asked)
}

/// Checks that both models read a text as the same tokens; with `ignore`, only says where they do not.
fn check_tokenizers(reference: &Base, compared: &Base, ignore: bool) -> Result<(), FinetuneError> {
    match compare_tokenizers(reference, compared) {
        Ok(agreement) => agreement.notes.iter().for_each(|note| tracing::warn!("{note}")),
        Err(FinetuneError::Checkpoint(CheckpointError::Tokenizer(TokenizerError::Missing { dir }))) => {
            tracing::warn!("`{}` has no tokenizer; both models read the reference's tokens", dir.display());
        }
        Err(error @ FinetuneError::OtherTokens { .. }) if ignore => tracing::warn!("{error}"),
        Err(error) => return Err(error),
    }
    Ok(())
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
