//! Base with adapter against the written files: logits and greedy tokens.

use std::fmt::Write;
use std::path::Path;

use alpaca_data::PromptTemplate;
use anyhow::{Context, Result, bail};
use infer::GenerateConfig;
use llama_finetune::ModelOutputs;
use lora::{LoraAdapters, LoraConfig};
use nn_core::Dtype;
use qlora_nf4::Quantization;
use serde::Serialize;
use tch::{Device, Kind};

use checkpoint::{Base, MergePlan, Precision, auto_kind};

/// What is asked; each goes through the Alpaca template, and alone.
const PROMPTS: [&str; 4] = [
    "Give three tips for staying healthy.",
    "Name the capital of France.",
    "Tell me a story about a small dog.",
    "What is the contrary of closed?",
];
/// Greedy tokens that are compared for each prompt.
const TOKENS: usize = 32;

/// What comparing showed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verification {
    /// Precision both were computed in.
    pub(crate) computed_in: String,
    /// The largest that may be, for the mean KL of any prompt.
    pub(crate) kl_limit: f64,
    /// Prompt by prompt.
    pub(crate) prompts: Vec<Compared>,
}

/// One prompt.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Compared {
    pub(crate) prompt: String,
    /// Largest difference of any logit at any position.
    pub(crate) max_difference: f64,
    /// Kullback-Leibler divergence of the written model's distribution from that of base and adapter, mean over
    /// positions, in nats.
    pub(crate) kl: f64,
    /// Greedy tokens that were compared.
    pub(crate) tokens: usize,
    /// The first of them that differs, counted from 0.
    pub(crate) first_diverging_token: Option<usize>,
}

/// Compares base and adapters, as they compute unmerged, with the model at `written`.
///
/// # Errors
/// When either cannot be loaded, or they are not the same model.
pub(crate) fn verify(plan: &MergePlan<'_>, written: &Path) -> Result<Verification> {
    let base = plan.base();
    let tokenizer = base.tokenizer().context("verify needs the tokenizer, for its prompts")?;
    let template = PromptTemplate::load("")?;
    let texts = PROMPTS.iter().flat_map(|text| [(*text).to_owned(), template.prompt(text, None)]);
    let texts: Vec<String> = texts.collect();
    let prompts = texts.iter().map(|text| Ok(tokenizer.encode(text, true)?)).collect::<Result<Vec<_>>>()?;
    let generate = GenerateConfig {
        max_new_tokens: TOKENS,
        eos_ids: base.eos_ids(&tokenizer),
        ..GenerateConfig::default()
    };
    // In float32 where both find room one after the other, so that what differs is the rounding of the files.
    let compute = auto_kind(Device::Cpu, base.config.num_parameters());
    let dtype = Dtype::from_kind(compute).unwrap_or_default();
    let vocab_size = base.config.vocab_size;
    let mut model = base.load_quantized(Device::Cpu, dtype, plan.settings().base_quantization)?;
    LoraAdapters::attach_layers(&mut model, &LoraConfig::default(), &plan.deltas().layers()?)?;
    let expected = ModelOutputs::collect(&model, &prompts, &prompts, &generate, vocab_size)?;
    drop(model);
    let written = Base::open(&written.to_string_lossy())?;
    let model = written.load(Device::Cpu, dtype)?;
    let actual = ModelOutputs::collect(&model, &prompts, &prompts, &generate, vocab_size)?;
    let distances = actual.distances(&expected)?;
    let compared = texts.into_iter().zip(distances).map(|(prompt, distance)| Compared {
        prompt,
        max_difference: distance.max_logit_diff,
        kl: distance.kl,
        tokens: distance.tokens,
        first_diverging_token: distance.first_diverging_token,
    });
    let verification = Verification {
        computed_in: Dtype::name_of(compute).to_owned(),
        kl_limit: kl_limit(plan, compute),
        prompts: compared.collect(),
    };
    verification.check()?;
    Ok(verification)
}

/// Nats by which rounding alone may move a distribution. Measured ones are a tenth of these and less; an adapter that is
/// missing moves it by far more.
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

impl Verification {
    fn check(&self) -> Result<()> {
        let differs = |kl: f64| kl.is_nan() || kl > self.kl_limit;
        let Some(worst) = self.prompts.iter().find(|prompt| differs(prompt.kl)) else {
            return Ok(());
        };
        bail!(
            "the written files are not base and adapter: their distributions differ by {:.3e} nats on `{}`, where \
             rounding may explain {:.0e}",
            worst.kl,
            worst.prompt.lines().next().unwrap_or_default(),
            self.kl_limit
        )
    }

    /// A line for each prompt.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{:<40} {:>14}  {:>10}  greedy tokens",
            format!("prompt (computed in {})", self.computed_in),
            "largest logit",
            "KL, nats"
        );
        for prompt in &self.prompts {
            let shown: String = prompt.prompt.lines().last().unwrap_or_default().chars().take(38).collect();
            let shown =
                if prompt.prompt.contains('\n') { "  the same, in the template".to_owned() } else { shown };
            let tokens = match prompt.first_diverging_token {
                None => format!("all {} equal", prompt.tokens),
                Some(first) => format!("{first} equal, then they part"),
            };
            let _ = writeln!(
                text,
                "{shown:<40} {:>14.3e}  {:>10.2e}  {tokens}",
                prompt.max_difference, prompt.kl
            );
        }
        text
    }
}
