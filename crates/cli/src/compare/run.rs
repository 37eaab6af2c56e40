//! The program `compare`.

use alpaca_data::ReadConfig;
use anyhow::Result;
use llama_finetune::{
    AskedQuantization, FinetuneError, LoadConfig, ModelChoice, compare_models, read_records,
};
use nn_core::Dtype;
use terminal::print_result;

use super::args::CompareArgs;
use super::report::table;
use crate::files::write_json;

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: CompareArgs) -> Result<()> {
    let load = args.compute.resolve(Dtype::Float32)?.start()?;
    let read = ReadConfig { ignored: args.ignore_columns.unwrap_or_default(), ..ReadConfig::default() };
    let (all, _) = read_records("data_path", &args.data_path, &read)?;
    let count = args.records.min(all.len());
    let records: Vec<_> = (0..count).map(|index| &all[index * all.len() / count]).collect();
    let reference = ModelChoice {
        base_model: args.reference_model.as_deref(),
        adapter: args.reference_lora.as_deref(),
        load: LoadConfig { quantization: AskedQuantization::default(), ..load },
    };
    let compared =
        ModelChoice { base_model: args.base_model.as_deref(), adapter: args.lora_weights.as_deref(), load };
    let template = args.prompt_template_name.as_deref();
    let comparison = compare_models(
        &reference,
        &compared,
        &records,
        template,
        args.max_new_tokens,
        args.samples,
        args.ignore_tokenizer,
    )
    .map_err(with_advice)?;
    write_json(args.json.as_deref(), &comparison)?;
    Ok(print_result(&table(&comparison))?)
}

fn with_advice(error: FinetuneError) -> anyhow::Error {
    let is_advised = matches!(error, FinetuneError::OtherTokens { .. });
    let error = anyhow::Error::new(error);
    if !is_advised {
        return error;
    }
    error.context(
        "the tokenizers differ, so that logits at one place mean different texts; --ignore_tokenizer compares the models on the \
         reference's tokens",
    )
}
