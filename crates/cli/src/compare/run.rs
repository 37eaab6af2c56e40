//! The program `compare`.

use alpaca_data::{BadRecords, PromptTemplate, load_records};
use anyhow::Result;
use checkpoint::{Base, CheckpointError};
use infer::GenerateConfig;
use llama_finetune::{FinetuneError, ModelOutputs, compare_tokenizers, with_adapter};
use llama_tokenizer::TokenizerError;
use nn_core::Dtype;

use super::args::CompareArgs;
use super::report::{Comparison, RecordComparison};
use crate::exit::usage;
use crate::output::{print, write_json};

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: CompareArgs) -> Result<()> {
    if args.records == 0 {
        return Err(usage("records is 0; it has to be at least 1"));
    }
    let compute = args.compute.resolve(Dtype::Float32)?;
    let device = compute.start()?;
    let template =
        PromptTemplate::load(&args.prompt_template_name).map_err(|error| usage(error.to_string()))?;
    let all = load_records(&args.data_path, BadRecords::Refuse)?.records;
    let count = args.records.min(all.len());
    let records: Vec<_> = (0..count).map(|index| &all[index * all.len() / count]).collect();

    let unknown = compute.unknown_settings;
    let reference = Base::open_with(&args.reference_model, unknown)?;
    let tokenizer = reference.tokenizer()?;
    let compared = Base::open_with(&args.base_model, unknown)?;
    check_tokenizers(&reference, &compared, args.ignore_tokenizer)?;
    let longest = reference.config.context_len() as usize;
    let (mut prompts, mut texts) = (Vec::new(), Vec::new());
    for record in &records {
        let prompt = template.prompt(&record.instruction, Some(&record.input));
        prompts.push(tokenizer.encode(&prompt, true)?);
        let mut ids = tokenizer.encode(&format!("{prompt}{}", record.output), true)?;
        ids.truncate(longest);
        texts.push(ids);
    }
    let generate = GenerateConfig {
        max_new_tokens: args.max_new_tokens,
        eos_ids: reference.eos_ids(&tokenizer),
        ..GenerateConfig::default()
    };
    let rows = (reference.config.vocab_size, compared.config.vocab_size);
    let vocab_size = rows.0.min(rows.1);
    if rows.0 != rows.1 {
        tracing::warn!(
            "the models have {} and {} logits; the first {vocab_size} are compared",
            rows.0,
            rows.1
        );
    }
    let model =
        with_adapter(reference.load(device, compute.dtype)?, args.reference_lora.as_deref(), unknown)?;
    let computed_in = Dtype::name_of(model.kind()).to_owned();
    let expected = ModelOutputs::collect(&model, &texts, &prompts, &generate, vocab_size)?;
    drop(model);
    let model = compared.load_quantized(device, compute.dtype, compute.quantization)?;
    let model = with_adapter(model, args.lora_weights.as_deref(), unknown)?;
    let actual = ModelOutputs::collect(&model, &texts, &prompts, &generate, vocab_size)?;
    let instructions = records.iter().map(|record| record.instruction.clone());
    let records = instructions
        .zip(actual.distances(&expected)?)
        .map(|(instruction, distance)| RecordComparison { instruction, distance });
    let logit_diff = actual.sample_logit_diffs(&expected, args.samples)?;
    let comparison = Comparison::new(computed_in, records.collect(), logit_diff);
    write_json(args.json.as_deref(), &comparison)?;
    print(&comparison.table());
    Ok(())
}

/// Checks that both models read a text as the same tokens; with `ignore`, only says where they do not.
fn check_tokenizers(reference: &Base, compared: &Base, ignore: bool) -> Result<()> {
    match compare_tokenizers(reference, compared) {
        Ok(agreement) => agreement.notes.iter().for_each(|note| tracing::warn!("{note}")),
        Err(FinetuneError::Checkpoint(CheckpointError::Tokenizer(TokenizerError::Missing { dir }))) => {
            tracing::warn!("`{}` has no tokenizer; both models read the reference's tokens", dir.display());
        }
        Err(error @ FinetuneError::OtherTokens { .. }) if ignore => tracing::warn!("{error}"),
        Err(error @ FinetuneError::OtherTokens { .. }) => {
            let advice = "the tokenizers differ, so that logits at one place mean different texts; --ignore_tokenizer compares \
                          the models on the reference's tokens";
            return Err(anyhow::Error::new(error).context(advice));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
