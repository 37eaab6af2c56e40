//! The program `compare`.

use alpaca_data::{BadRecords, PromptTemplate, load_records};
use anyhow::Result;
use checkpoint::{Base, CheckpointError};
use llama_finetune::{FinetuneError, LoadConfig, ModelChoice, compare_models, compare_tokenizers};
use llama_tokenizer::TokenizerError;
use nn_core::{Dtype, UnknownSettings};

use super::args::CompareArgs;
use super::report::table;
use crate::exit::usage;
use crate::output::{print, write_json};

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: CompareArgs) -> Result<()> {
    let load = args.compute.resolve(Dtype::Float32)?.start()?;
    let template =
        PromptTemplate::load(&args.prompt_template_name).map_err(|error| usage(error.to_string()))?;
    let all = load_records(&args.data_path, BadRecords::Refuse)?.records;
    let count = args.records.min(all.len());
    let records: Vec<_> = (0..count).map(|index| &all[index * all.len() / count]).collect();
    check_tokenizers(&args, load.unknown_settings)?;
    let reference = ModelChoice {
        base_model: &args.reference_model,
        adapter: args.reference_lora.as_deref(),
        load: LoadConfig { quantization: None, ..load },
    };
    let compared = ModelChoice { base_model: &args.base_model, adapter: args.lora_weights.as_deref(), load };
    let comparison =
        compare_models(&reference, &compared, &records, &template, args.max_new_tokens, args.samples)?;
    write_json(args.json.as_deref(), &comparison)?;
    print(&table(&comparison));
    Ok(())
}

/// Checks that both models read a text as the same tokens; with `--ignore_tokenizer`, only says where they do not.
fn check_tokenizers(args: &CompareArgs, unknown: UnknownSettings) -> Result<()> {
    let reference = Base::open_with(&args.reference_model, unknown)?;
    let compared = Base::open_with(&args.base_model, unknown)?;
    match compare_tokenizers(&reference, &compared) {
        Ok(agreement) => agreement.notes.iter().for_each(|note| tracing::warn!("{note}")),
        Err(FinetuneError::Checkpoint(CheckpointError::Tokenizer(TokenizerError::Missing { dir }))) => {
            tracing::warn!("`{}` has no tokenizer; both models read the reference's tokens", dir.display());
        }
        Err(error @ FinetuneError::OtherTokens { .. }) if args.ignore_tokenizer => tracing::warn!("{error}"),
        Err(error @ FinetuneError::OtherTokens { .. }) => {
            let advice = "the tokenizers differ, so that logits at one place mean different texts; --ignore_tokenizer compares \
                          the models on the reference's tokens";
            return Err(anyhow::Error::new(error).context(advice));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
