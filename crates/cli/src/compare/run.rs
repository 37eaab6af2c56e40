//! The program `compare`.

use alpaca_data::{BadRecords, PromptTemplate, load_records};
use anyhow::Result;
use checkpoint::Base;
use infer::GenerateConfig;
use llama_finetune::{ModelOutputs, with_adapter};
use nn_core::Dtype;

use super::args::CompareArgs;
use super::report::{Comparison, RecordComparison};
use crate::exit::usage;
use crate::output::{print_result, write_json};

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
    let vocab_size = reference.config.vocab_size;
    let model =
        with_adapter(reference.load(device, compute.dtype)?, args.reference_lora.as_deref(), unknown)?;
    let computed_in = Dtype::name_of(model.kind()).to_owned();
    let expected = ModelOutputs::collect(&model, &texts, &prompts, &generate, vocab_size)?;
    drop(model);
    let base = Base::open_with(&args.base_model, unknown)?;
    let model = base.load_quantized(device, compute.dtype, compute.quantization)?;
    let model = with_adapter(model, args.lora_weights.as_deref(), unknown)?;
    let actual = ModelOutputs::collect(&model, &texts, &prompts, &generate, vocab_size)?;
    let instructions = records.iter().map(|record| record.instruction.clone());
    let records = instructions
        .zip(actual.distances(&expected)?)
        .map(|(instruction, distance)| RecordComparison { instruction, distance });
    let logit_diff = actual.sample_logit_diffs(&expected, args.samples)?;
    let comparison = Comparison::new(computed_in, records.collect(), logit_diff);
    write_json(args.json.as_deref(), &comparison)?;
    print_result(&comparison.table())
}
