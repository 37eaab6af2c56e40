//! `pretrain`: a new LLaMA, from random weights and a plain-text corpus.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use std::path::{Path, PathBuf};

use alpaca_data::pack_documents;
use anyhow::{Context, Result};
use checkpoint::copy_tokenizer_files;
use clap::Parser;
use llama_finetune::FullModel;
use llama_model::{LlamaConfig, RandomSource, TokenIds, preset};
use llama_tokenizer::LlamaTokenizer;
use nn_core::{Dtype, LinearSource};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind};
use trainer::{Outcome, ProgressReporter, TrainConfig, Trainer, find_last_checkpoint};
use weights::{AtomicDir, SafetensorsWriter, TensorSpec, pt_metadata};

use crate::data::Examples;
use crate::device::{self, kind_name};
use crate::exit::usage;
use crate::report::{print, stop_on_signals};

/// Make a new LLaMA: random weights of a known shape, trained on a plain-text corpus.
#[derive(Debug, Parser)]
#[command(name = "pretrain", version, max_term_width = 100)]
pub struct PretrainArgs {
    /// Run file: preset, seq_len, dtype, and a table [train] with the trainer's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Shape of the model, instead of the run file's: 7b, 13b, 30b, 65b, llama2-7b, llama3-8b, llama3.2-1b,
    /// tinyllama-1.1b, smollm2-135m, tiny
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,
    /// Text file with one document a line (`\n` stands for a line break)
    #[arg(long, value_name = "FILE")]
    corpus: Option<PathBuf>,
    /// Directory or file of the tokenizer
    #[arg(long, value_name = "PATH")]
    tokenizer: Option<PathBuf>,
    /// Where the model goes
    #[arg(long = "output_dir", value_name = "DIR")]
    output_dir: PathBuf,
    /// Write random weights and train nothing
    #[arg(long = "init_only")]
    init_only: bool,
    /// Precision of the written model, instead of the run file's
    #[arg(long)]
    dtype: Option<String>,
    /// Go on from the last checkpoint in output_dir
    #[arg(long)]
    resume: bool,
    /// Seed of the random weights, instead of the run file's
    #[arg(long)]
    seed: Option<u64>,
    /// auto, cpu, cuda or cuda:N
    #[arg(long, default_value = "auto")]
    device: String,
    /// CPU threads [default: all cores]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

/// The run file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct PretrainConfig {
    /// Shape of the model.
    preset: String,
    /// Tokens of one training sequence.
    seq_len: usize,
    /// Precision of the written model.
    dtype: String,
    /// How it trains.
    train: TrainConfig,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self {
            preset: "tiny".to_owned(),
            seq_len: 128,
            dtype: "float16".to_owned(),
            train: TrainConfig::default(),
        }
    }
}

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
#[expect(clippy::needless_pass_by_value, reason = "the arguments end with the program")]
pub fn run(args: PretrainArgs) -> Result<()> {
    let mut config = match &args.config {
        None => PretrainConfig::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| usage(format!("cannot read config `{}`: {error}", path.display())))?;
            toml::from_str(&text).map_err(|error| usage(format!("config `{}`: {error}", path.display())))?
        }
    };
    config.preset = args.preset.clone().unwrap_or(config.preset);
    config.dtype = args.dtype.clone().unwrap_or(config.dtype);
    config.train.seed = args.seed.unwrap_or(config.train.seed);
    device::set_threads(args.threads)?;
    let device = device::start(&args.device)?;
    let kind = config.dtype.parse::<Dtype>()?.kind().unwrap_or(Kind::Float);
    let tokenizer = args.tokenizer.as_deref().map(open_tokenizer).transpose()?;
    let shape = shape(&config.preset, tokenizer.as_ref())?;
    if args.init_only {
        write_random(&shape, config.train.seed, kind, &args.output_dir)?;
        if let Some(path) = &args.tokenizer {
            copy_tokenizer_files(folder(path), &args.output_dir)?;
        }
        print(&format!("{}\n", args.output_dir.display()));
        return Ok(());
    }
    let (Some(tokenizer), Some(corpus)) = (&tokenizer, &args.corpus) else {
        return Err(usage("pre-training needs --corpus and --tokenizer (or --init_only for random weights)"));
    };
    train(&args, &config, &shape, tokenizer, corpus, device)?;
    let copied = args.tokenizer.as_deref().map(|path| copy_tokenizer_files(folder(path), &args.output_dir));
    copied.transpose()?;
    print(&format!("{}\n", args.output_dir.display()));
    Ok(())
}

fn open_tokenizer(path: &Path) -> Result<LlamaTokenizer> {
    Ok(if path.is_dir() { LlamaTokenizer::from_dir(path)? } else { LlamaTokenizer::from_file(path)? })
}

/// The directory a tokenizer's files lie in.
fn folder(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(Path::new(".")) }
}

fn shape(name: &str, tokenizer: Option<&LlamaTokenizer>) -> Result<LlamaConfig> {
    let mut shape = preset(name).map_err(|error| usage(error.to_string()))?;
    if let Some(tokenizer) = tokenizer {
        // Matrix products like a round number of rows.
        shape.vocab_size = (tokenizer.vocab_size() as i64 + 63) / 64 * 64;
        shape.bos_token_id = Some(tokenizer.bos_id());
        shape.eos_token_id = Some(TokenIds::One(tokenizer.eos_id()));
        shape.pad_token_id = Some(tokenizer.pad_id());
    }
    Ok(shape)
}

/// Writes random weights tensor by tensor, so that a 7B needs the memory of its largest matrix.
fn write_random(shape: &LlamaConfig, seed: u64, kind: Kind, output_dir: &Path) -> Result<()> {
    let source = RandomSource { seed, std: shape.initializer_range, device: Device::Cpu, kind };
    let dir = AtomicDir::create(output_dir)?;
    let specs =
        shape.tensor_shapes().into_iter().map(|(name, shape)| TensorSpec { name, kind, shape }).collect();
    SafetensorsWriter::new(&dir.path().join("model.safetensors"), specs, &pt_metadata())?
        .write(|spec| Ok::<_, anyhow::Error>(source.tensor(&spec.name, &spec.shape)?))?;
    let mut config = shape.clone();
    config.torch_dtype = Some(kind_name(kind).to_owned());
    std::fs::write(dir.path().join("config.json"), config.to_json()).context("cannot write config.json")?;
    dir.commit()?;
    Ok(())
}

fn train(
    args: &PretrainArgs,
    config: &PretrainConfig,
    shape: &LlamaConfig,
    tokenizer: &LlamaTokenizer,
    corpus: &Path,
    device: Device,
) -> Result<()> {
    let text = std::fs::read_to_string(corpus)
        .map_err(|error| usage(format!("cannot read corpus `{}`: {error}", corpus.display())))?;
    let documents: Vec<String> = text.lines().map(|line| line.replace("\\n", "\n")).collect();
    let examples = pack_documents(&documents, tokenizer, config.seq_len)?;
    tracing::info!(
        "corpus: {} documents, {} sequences of {} tokens",
        documents.len(),
        examples.len(),
        config.seq_len
    );
    let random =
        RandomSource { seed: config.train.seed, std: shape.initializer_range, device, kind: Kind::Float };
    let task = FullModel::load(shape, random)?;
    let data = Examples { examples, group_by_length: false, batch_size: 1 };
    let resume = if args.resume { find_last_checkpoint(&args.output_dir)? } else { None };
    let mut reporter = ProgressReporter::new();
    let mut trainer = Trainer::new(&task, &data, config.train.clone())
        .reporter(&mut reporter)
        .stop_flag(stop_on_signals()?);
    if let Some(checkpoint) = resume {
        trainer = trainer.resume_from(checkpoint);
    }
    match trainer.run(&args.output_dir)? {
        Outcome::Finished(_) => {
            let kind = config.dtype.parse::<Dtype>()?.kind().unwrap_or(Kind::Float);
            Ok(task.export(&args.output_dir, kind)?)
        }
        Outcome::Stopped { step, .. } => {
            anyhow::bail!("stopped after step {step}; go on with --resume")
        }
    }
}
