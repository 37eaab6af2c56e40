//! `evaluate`: exact-match accuracy of a model's answers to Alpaca records.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use alpaca_data::{BadRecords, PromptTemplate, Record, load_records};
use anyhow::{Context, Result};
use clap::Parser;
use infer::{GenerateConfig, greedy};
use llama_finetune::{answer_perplexity, exact_match, rouge_l};
use llama_tokenizer::LlamaTokenizer;
use lora::LoraAdapters;
use serde::{Deserialize, Serialize};

use crate::device::{self, peak_device_mib, peak_host_mib};
use crate::exit::usage;
use crate::flags::{parse_bool, parse_quantization};
use crate::report::print;
use checkpoint::Base;

/// Answer the records of a file greedily and count the answers that equal the reference, for each kind of task.
#[derive(Debug, Parser)]
#[command(name = "evaluate", version, max_term_width = 100)]
pub struct EvaluateArgs {
    /// Directory of the base model
    #[arg(long = "base_model", value_name = "DIR")]
    base_model: String,
    /// Directory of a PEFT adapter
    #[arg(long = "lora_weights", value_name = "DIR")]
    lora_weights: Option<PathBuf>,
    /// JSON or JSONL file of records; a field `kind` groups the result
    #[arg(long = "data_path", value_name = "FILE")]
    data_path: PathBuf,
    /// Prompt template by name or file
    #[arg(long = "prompt_template_name", value_name = "NAME", default_value = "alpaca")]
    prompt_template_name: String,
    /// The most tokens of an answer
    #[arg(long = "max_new_tokens", value_name = "N", default_value_t = 64)]
    max_new_tokens: usize,
    /// Prompts that are answered together
    #[arg(long = "batch_size", value_name = "N", default_value_t = 64)]
    batch_size: usize,
    /// Answers to print
    #[arg(long, value_name = "N", default_value_t = 5)]
    show: usize,
    /// Measure too how well the reference answers are predicted
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool)]
    perplexity: bool,
    /// Write the whole result to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// auto, float32, bfloat16 or float16
    #[arg(long, default_value = "auto")]
    dtype: String,
    /// Quantise the linear layers while loading: nf4, fp4, int8 or none
    #[arg(long, value_name = "NAME", default_value = "none")]
    quantize: String,
    /// Quantise the scales of nf4 and fp4 too
    #[arg(long = "double_quant", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true", default_value = "false", value_parser = parse_bool)]
    double_quant: bool,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// Answers of one kind that are right.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
struct Score {
    correct: usize,
    total: usize,
}

/// One answer.
#[derive(Debug, Serialize)]
struct Sample<'a> {
    instruction: &'a str,
    input: &'a str,
    expected: &'a str,
    answer: &'a str,
    kind: &'a str,
    rouge_l: f64,
}

/// What is written to `--json`.
#[derive(Debug, Serialize)]
struct Evaluation<'a> {
    exact_match: f64,
    correct: usize,
    total: usize,
    /// Mean F1 of the longest common subsequence of words with the reference, 0 to 1.
    rouge_l: f64,
    /// Of the reference answers, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    perplexity: Option<f64>,
    /// From the opened base to a model that can answer, adapter included.
    load_s: f64,
    peak_host_mib: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    peak_device_mib: Option<u64>,
    kinds: BTreeMap<&'a str, Score>,
    samples: Vec<Sample<'a>>,
}

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
#[expect(clippy::needless_pass_by_value, reason = "the arguments end with the program")]
pub fn run(args: EvaluateArgs) -> Result<()> {
    if args.batch_size == 0 {
        return Err(usage("batch_size is 0; it has to be at least 1"));
    }
    device::set_threads(args.threads)?;
    let device = device::start(&args.device)?;
    let base = Base::open(&args.base_model)?;
    let tokenizer = base.tokenizer()?;
    let template =
        PromptTemplate::load(&args.prompt_template_name).map_err(|error| usage(error.to_string()))?;
    let records = load_records(&args.data_path, BadRecords::Refuse)?.records;
    let kinds = read_kinds(&args.data_path)?;
    let quantization = parse_quantization(&args.quantize, args.double_quant)?;
    let loading = Instant::now();
    let mut model = base.load_quantized(device, args.dtype.parse()?, quantization)?;
    if let Some(dir) = &args.lora_weights {
        LoraAdapters::load(&mut model, dir)
            .with_context(|| format!("cannot load adapter `{}`", dir.display()))?;
    }
    let load_s = loading.elapsed().as_secs_f64();
    let config = GenerateConfig {
        max_new_tokens: args.max_new_tokens,
        eos_ids: base.eos_ids(&tokenizer),
        ..GenerateConfig::default()
    };
    let answers = answer(&model, &tokenizer, &template, &records, &config, args.batch_size)?;

    let kind = |index: usize| kinds.get(index).and_then(Option::as_deref).unwrap_or("all");
    let mut evaluation = Evaluation {
        exact_match: 0.0,
        correct: 0,
        total: records.len(),
        rouge_l: 0.0,
        perplexity: None,
        load_s,
        peak_host_mib: 0,
        peak_device_mib: None,
        kinds: BTreeMap::new(),
        samples: Vec::new(),
    };
    for (index, (record, answer)) in records.iter().zip(&answers).enumerate() {
        let right = usize::from(exact_match(&record.output, answer));
        let score = evaluation.kinds.entry(kind(index)).or_default();
        score.correct += right;
        score.total += 1;
        evaluation.correct += right;
        let (instruction, input, expected) = (&*record.instruction, &*record.input, &*record.output);
        evaluation.samples.push(Sample {
            instruction,
            input,
            expected,
            answer: answer.trim(),
            kind: kind(index),
            rouge_l: rouge_l(expected, answer),
        });
    }
    evaluation.exact_match = evaluation.correct as f64 / evaluation.total.max(1) as f64;
    let rouge_sum: f64 = evaluation.samples.iter().map(|sample| sample.rouge_l).sum();
    evaluation.rouge_l = rouge_sum / evaluation.total.max(1) as f64;
    if args.perplexity {
        let result = answer_perplexity(&model, &tokenizer, &template, &records)?;
        evaluation.perplexity = Some(result.perplexity);
    }
    evaluation.peak_host_mib = peak_host_mib();
    evaluation.peak_device_mib = peak_device_mib(device)?;
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&evaluation)?;
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    print(&table(&evaluation, args.show));
    Ok(())
}

/// Answers every record, those of similar length together.
fn answer(
    model: &dyn nn_core::CausalLm,
    tokenizer: &LlamaTokenizer,
    template: &PromptTemplate,
    records: &[Record],
    config: &GenerateConfig,
    batch_size: usize,
) -> Result<Vec<String>> {
    let prompts = records
        .iter()
        .map(|record| tokenizer.encode(&template.prompt(&record.instruction, Some(&record.input)), true))
        .collect::<Result<Vec<_>, _>>()?;
    let mut order: Vec<usize> = (0..prompts.len()).collect();
    order.sort_by_key(|&index| prompts[index].len());
    let mut answers = vec![String::new(); records.len()];
    for indices in order.chunks(batch_size) {
        let batch: Vec<Vec<i64>> = indices.iter().map(|&index| prompts[index].clone()).collect();
        for (&index, ids) in indices.iter().zip(greedy(model, &batch, config)?) {
            answers[index] = tokenizer.decode(&ids, true)?;
        }
    }
    Ok(answers)
}

/// The `kind` of each record, where the file has one.
fn read_kinds(path: &Path) -> Result<Vec<Option<String>>> {
    #[derive(Deserialize)]
    struct Kind {
        kind: Option<String>,
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let kinds: Vec<Kind> = serde_json::from_str(&text).unwrap_or_default();
    Ok(kinds.into_iter().map(|record| record.kind).collect())
}

fn table(evaluation: &Evaluation<'_>, show: usize) -> String {
    let mut text = String::new();
    let mut line = |name: &str, score: Score| {
        let percent = 100.0 * score.correct as f64 / score.total.max(1) as f64;
        let _ = writeln!(text, "{name:<24}{:>5} of {:<5}{percent:>6.1} %", score.correct, score.total);
    };
    for (kind, &score) in &evaluation.kinds {
        line(kind, score);
    }
    line("exact match", Score { correct: evaluation.correct, total: evaluation.total });
    let _ = writeln!(text, "{:<24}{:>20.1} %", "ROUGE-L", 100.0 * evaluation.rouge_l);
    if let Some(perplexity) = evaluation.perplexity {
        let _ = writeln!(text, "{:<24}{perplexity:>21.4}", "perplexity");
    }
    for sample in evaluation.samples.iter().take(show) {
        let input = if sample.input.is_empty() { String::new() } else { format!(" [{}]", sample.input) };
        let Sample { instruction, expected, answer, .. } = sample;
        let _ = writeln!(text, "\n{instruction}{input}\n  expected: {expected}\n  answer:   {answer}");
    }
    text
}
