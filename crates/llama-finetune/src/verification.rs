//! A merged model on disk against its base with the adapters: tokenizers, logits and greedy tokens.

use std::path::Path;

use alpaca_data::PromptTemplate;
use checkpoint::{Base, MergePlan, Precision, exact_kind};
use infer::GenerateConfig;
use lora::{LoraAdapters, LoraConfig};
use nn_core::Dtype;
use qlora_nf4::Quantization;
use serde::Serialize;
use tch::{Device, Kind};

use crate::comparison::ModelOutputs;
use crate::{FinetuneError, TokenAgreement, compare_tokenizers};

/// The prompts; each is read in the Alpaca template, and alone.
const PROMPTS: [&str; 4] = [
    "Give three tips for staying healthy.",
    "Name the capital of France.",
    "Tell me a story about a small dog.",
    "What is the contrary of closed?",
];
/// Greedy tokens that are compared for each prompt.
const TOKENS: usize = 32;

/// A comparison that found no more than rounding.
#[derive(Debug, Clone, Serialize)]
pub struct Verification {
    /// Precision that both were computed in.
    pub computed_in: String,
    /// Largest mean KL divergence of a prompt that rounding explains, in nats.
    pub kl_limit: f64,
    /// Texts of which base and written files make the same tokens.
    pub texts: usize,
    /// What a reader of the files has to know of their tokens.
    pub notes: Vec<String>,
    /// The comparison, prompt by prompt.
    pub prompts: Vec<VerifiedPrompt>,
}

/// The comparison of one prompt.
#[derive(Debug, Clone, Serialize)]
pub struct VerifiedPrompt {
    /// The prompt.
    pub prompt: String,
    /// Largest difference of any logit at any position.
    pub max_difference: f64,
    /// Kullback-Leibler divergence of the written model's distribution from that of base and adapters, mean over
    /// positions, in nats.
    pub kl: f64,
    /// Greedy tokens that were compared.
    pub tokens: usize,
    /// First of them that differs, counted from 0.
    pub first_diverging_token: Option<usize>,
}

/// Compares base and adapters, as they compute unmerged, with the model at `written`: first the tokens that each makes of
/// the same texts, and those that end an answer, then what they compute.
///
/// # Errors
/// [`FinetuneError::OtherTokens`] and [`FinetuneError::OtherEnds`] when their tokenizers differ,
/// [`FinetuneError::NotTheMerge`] when they compute what rounding does not explain, and when either cannot be loaded.
pub fn verify_merge(plan: &MergePlan<'_>, written: &Path) -> Result<Verification, FinetuneError> {
    let base = plan.base();
    let tokenizer = base.tokenizer().map_err(FinetuneError::VerifyNeedsTokenizer)?;
    // Settings that are ignored stand in the written configuration too.
    let merged = Base::open_with(&written.to_string_lossy(), plan.settings().unknown_settings)?;
    let agreement = compare_tokenizers(base, &merged)?;
    let ends = (base.eos_ids(&tokenizer), merged.eos_ids(&merged.files().tokenizer()?));
    if ends.0 != ends.1 {
        return Err(FinetuneError::OtherEnds { expected: ends.0, actual: ends.1 });
    }
    let template = PromptTemplate::load("")?;
    let texts = PROMPTS.iter().flat_map(|text| [(*text).to_owned(), template.prompt(text, None)]);
    let texts: Vec<String> = texts.collect();
    let prompts = texts.iter().map(|text| tokenizer.encode(text, true)).collect::<Result<Vec<_>, _>>()?;
    let generate = GenerateConfig { max_new_tokens: TOKENS, eos_ids: ends.0, ..GenerateConfig::default() };
    // In float32 where both find room one after the other, so that what differs is the rounding of the files.
    let compute = exact_kind(base.config.num_parameters());
    let dtype = Dtype::from_kind(compute).unwrap_or_default();
    let vocab_size = base.config.vocab_size;
    let mut model = base.load_quantized(Device::Cpu, dtype, plan.settings().base_quantization)?;
    LoraAdapters::attach_parts(&mut model, &LoraConfig::default(), &plan.deltas().parts()?)?;
    let expected = ModelOutputs::collect(&model, &prompts, &prompts, &generate, vocab_size)?;
    drop(model);
    let model = merged.load(Device::Cpu, dtype)?;
    let actual = ModelOutputs::collect(&model, &prompts, &prompts, &generate, vocab_size)?;
    let distances = actual.distances(&expected)?;
    let compared = texts.into_iter().zip(distances).map(|(prompt, distance)| VerifiedPrompt {
        prompt,
        max_difference: distance.max_logit_diff,
        kl: distance.kl,
        tokens: distance.tokens,
        first_diverging_token: distance.first_diverging_token,
    });
    let limit = kl_limit(plan, compute);
    let prompts: Vec<VerifiedPrompt> = compared.collect();
    if let Some(worst) = prompts.iter().find(|prompt| prompt.kl.is_nan() || prompt.kl > limit) {
        let prompt = worst.prompt.lines().next().unwrap_or_default().to_owned();
        return Err(FinetuneError::NotTheMerge { kl: worst.kl, prompt, limit });
    }
    let TokenAgreement { texts, notes } = agreement;
    Ok(Verification { computed_in: dtype.name().to_owned(), kl_limit: limit, texts, notes, prompts })
}

/// Returns the nats by which rounding alone may move a distribution. Measured ones are a tenth of these and less; an adapter
/// that is missing moves it by far more.
fn kl_limit(plan: &MergePlan<'_>, compute: Kind) -> f64 {
    let bits = plan.settings().quantization.map(Quantization::bits);
    match (bits, plan.settings().precision, plan.kind(), compute) {
        (Some(bits), ..) if bits < 8 => 1.0,
        (Some(_), ..) | (_, Precision::Q8_0, ..) => 5e-2,
        (_, _, Kind::BFloat16, _) | (_, _, _, Kind::BFloat16) => 2e-2,
        (_, _, Kind::Half, _) => 1e-3,
        _ => 1e-6,
    }
}
