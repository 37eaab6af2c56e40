//! `compare`: how far one model is from another, in logits, distributions and greedy tokens.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use alpaca_data::{BadRecords, PromptTemplate, load_records};
use anyhow::{Context, Result};
use clap::Parser;
use infer::GenerateConfig;
use llama_finetune::{Distance, ModelOutputs};
use llama_model::Llama;
use lora::LoraAdapters;
use serde::Serialize;

use crate::device::{self, kind_name};
use crate::exit::usage;
use crate::flags::{parse_bool, parse_quantization};
use crate::report::print;
use checkpoint::Base;

/// Compare a model with a reference on the records of a file: the logits of prompt and answer, and greedy tokens behind
/// the prompt. Both are loaded one after the other and computed in the same precision.
#[derive(Debug, Parser)]
#[command(name = "compare", version, max_term_width = 100)]
pub struct CompareArgs {
    /// The reference's base model
    #[arg(long = "reference_model", value_name = "MODEL")]
    reference_model: String,
    /// The reference's adapter
    #[arg(long = "reference_lora", value_name = "DIR")]
    reference_lora: Option<PathBuf>,
    /// The base model of what is compared with it
    #[arg(long = "base_model", value_name = "MODEL")]
    base_model: String,
    /// Its adapter
    #[arg(long = "lora_weights", value_name = "DIR")]
    lora_weights: Option<PathBuf>,
    /// JSON or JSONL file of records
    #[arg(long = "data_path", value_name = "FILE")]
    data_path: PathBuf,
    /// How many of its records, spread over the file
    #[arg(long, value_name = "N", default_value_t = 16)]
    records: usize,
    /// The most greedy tokens behind a prompt
    #[arg(long = "max_new_tokens", value_name = "N", default_value_t = 32)]
    max_new_tokens: usize,
    /// Prompt template by name or file
    #[arg(long = "prompt_template_name", value_name = "NAME", default_value = "alpaca")]
    prompt_template_name: String,
    /// Differences of single logits to keep, spread over all
    #[arg(long, value_name = "N", default_value_t = 4000)]
    samples: usize,
    /// Write the result to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// Precision of the computation: auto, float32, bfloat16 or float16
    #[arg(long, default_value = "float32")]
    dtype: String,
    /// Quantise the compared model's linear layers while loading: nf4, fp4, int8 or none
    #[arg(long, value_name = "NAME", default_value = "none")]
    quantize: String,
    /// Quantise the scales of nf4 and fp4 too
    #[arg(long = "double_quant", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool)]
    double_quant: bool,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// What is written to `--json`.
#[derive(Debug, Serialize)]
struct Comparison {
    /// Precision both were computed in.
    computed_in: String,
    /// Part of the greedy tokens that are the same at the same place.
    token_agreement: f64,
    /// The earliest place at which an answer parts from the reference's.
    first_diverging_token: Option<usize>,
    /// Largest difference of any logit at any position of any record.
    max_logit_diff: f64,
    /// Mean over records of the mean KL divergence over positions, in nats.
    mean_kl: f64,
    /// Absolute differences of single logits, spread over all of them.
    logit_diff: Vec<f64>,
    records: Vec<RecordComparison>,
}

/// One record.
#[derive(Debug, Serialize)]
struct RecordComparison {
    instruction: String,
    max_logit_diff: f64,
    kl: f64,
    tokens: usize,
    same_tokens: usize,
    first_diverging_token: Option<usize>,
}

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
#[expect(clippy::needless_pass_by_value, reason = "the arguments end with the program")]
pub fn run(args: CompareArgs) -> Result<()> {
    if args.records == 0 {
        return Err(usage("records is 0; it has to be at least 1"));
    }
    device::set_threads(args.threads)?;
    let device = device::start(&args.device)?;
    let dtype = args.dtype.parse()?;
    let quantization = parse_quantization(&args.quantize, args.double_quant)?;
    let template =
        PromptTemplate::load(&args.prompt_template_name).map_err(|error| usage(error.to_string()))?;
    let all = load_records(&args.data_path, BadRecords::Refuse)?.records;
    let count = args.records.min(all.len());
    let records: Vec<_> = (0..count).map(|index| &all[index * all.len() / count]).collect();

    let reference = Base::open(&args.reference_model)?;
    let tokenizer = reference.tokenizer()?;
    let longest = reference.config.max_position_embeddings as usize;
    let (mut prompts, mut read) = (Vec::new(), Vec::new());
    for record in &records {
        let prompt = template.prompt(&record.instruction, Some(&record.input));
        prompts.push(tokenizer.encode(&prompt, true)?);
        let mut ids = tokenizer.encode(&format!("{prompt}{}", record.output), true)?;
        ids.truncate(longest);
        read.push(ids);
    }
    let generate = GenerateConfig {
        max_new_tokens: args.max_new_tokens,
        eos_ids: reference.eos_ids(&tokenizer),
        ..GenerateConfig::default()
    };
    let vocab_size = reference.config.vocab_size;
    let model = with_adapter(reference.load(device, dtype)?, args.reference_lora.as_deref())?;
    let computed_in = kind_name(model.kind()).to_owned();
    let expected = ModelOutputs::collect(&model, &read, &prompts, &generate, vocab_size)?;
    drop(model);
    let model = Base::open(&args.base_model)?.load_quantized(device, dtype, quantization)?;
    let model = with_adapter(model, args.lora_weights.as_deref())?;
    let actual = ModelOutputs::collect(&model, &read, &prompts, &generate, vocab_size)?;
    let names = records.iter().map(|record| record.instruction.clone());
    let logit_diff = actual.sample_logit_diffs(&expected, args.samples)?;
    let comparison = summarise(computed_in, names, actual.distances(&expected)?, logit_diff);
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&comparison)?;
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    print(&comparison.table());
    Ok(())
}

fn with_adapter(mut model: Llama, adapter: Option<&Path>) -> Result<Llama> {
    if let Some(dir) = adapter {
        LoraAdapters::load(&mut model, dir)
            .with_context(|| format!("cannot load adapter `{}`", dir.display()))?;
    }
    Ok(model)
}

fn summarise(
    computed_in: String,
    names: impl Iterator<Item = String>,
    distances: Vec<Distance>,
    logit_diff: Vec<f64>,
) -> Comparison {
    let records: Vec<RecordComparison> = names
        .zip(distances)
        .map(|(instruction, distance)| RecordComparison {
            instruction,
            max_logit_diff: distance.max_logit_diff,
            kl: distance.kl,
            tokens: distance.tokens,
            same_tokens: distance.same_tokens,
            first_diverging_token: distance.first_diverging_token,
        })
        .collect();
    let sum = |of: &dyn Fn(&RecordComparison) -> usize| records.iter().map(of).sum::<usize>() as f64;
    let (same, tokens) = (sum(&|record| record.same_tokens), sum(&|record| record.tokens));
    Comparison {
        computed_in,
        token_agreement: if tokens > 0.0 { same / tokens } else { 1.0 },
        first_diverging_token: records.iter().filter_map(|record| record.first_diverging_token).min(),
        max_logit_diff: records.iter().map(|record| record.max_logit_diff).fold(0.0, f64::max),
        mean_kl: records.iter().map(|record| record.kl).sum::<f64>() / records.len().max(1) as f64,
        logit_diff,
        records,
    }
}

impl Comparison {
    fn table(&self) -> String {
        let mut text = String::new();
        let parted = self.records.iter().filter(|record| record.first_diverging_token.is_some()).count();
        let _ = writeln!(
            text,
            "{} records, computed in {}: {:.2} % of the greedy tokens are the same, {parted} answers part{}",
            self.records.len(),
            self.computed_in,
            100.0 * self.token_agreement,
            self.first_diverging_token.map_or_else(String::new, |at| format!(", the first at token {at}"))
        );
        let _ = writeln!(
            text,
            "largest difference of a logit {:.3e}, mean KL {:.3e} nats",
            self.max_logit_diff, self.mean_kl
        );
        text
    }
}
