//! The program `evaluate`.

use std::time::Instant;

use alpaca_data::{ReadConfig, Record};
use anyhow::Result;
use infer::GenerateConfig;
use llama_finetune::{
    ModelChoice, answer_perplexity, evaluate, peak_device_mib, peak_host_mib, read_records, write_logits,
};
use nn_core::Dtype;
use terminal::print_result;

use super::args::EvaluateArgs;
use super::report::{Report, Resources};
use crate::files::write_json;

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: EvaluateArgs) -> Result<()> {
    let load = args.compute.resolve(Dtype::Auto)?.start()?;
    let choice =
        ModelChoice { base_model: args.base_model.as_deref(), adapter: args.lora_weights.as_deref(), load };
    let opened = choice.open()?;
    let tokenizer = opened.base.tokenizer()?;
    let template = opened.trained_with.template(args.prompt_template_name.as_deref())?;
    let read = ReadConfig { ignored: args.ignore_columns.unwrap_or_default(), ..ReadConfig::default() };
    let (records, kinds) = read_records("data_path", &args.data_path, &read)?;
    let loading = Instant::now();
    let model = opened.load()?;
    let load_s = loading.elapsed().as_secs_f64();
    let config = GenerateConfig {
        max_new_tokens: args.max_new_tokens,
        eos_ids: opened.base.eos_ids(&tokenizer),
        ..GenerateConfig::default()
    };
    let evaluation = evaluate(&model, &tokenizer, &template, &records, &kinds, &config, args.batch_size)?;
    let perplexity = if args.perplexity {
        Some(answer_perplexity(&model, &tokenizer, &template, &records)?.perplexity)
    } else {
        None
    };
    if let Some(path) = &args.dump_logits {
        let longest = opened.base.config.context_len() as usize;
        let ids = |record: &Record| {
            let prompt = template.prompt(&record.instruction, Some(&record.input));
            let mut ids = tokenizer.encode(&format!("{prompt}{}", record.output), true)?;
            ids.truncate(longest);
            Ok(ids)
        };
        let texts = records.iter().map(ids).collect::<Result<Vec<_>>>()?;
        write_logits(&model, &texts, path)?;
        tracing::info!("logits of {} records are in `{}`", texts.len(), path.display());
    }
    let peak_device_mib = peak_device_mib(&model.devices())?;
    let resources = Resources { load_s, peak_host_mib: peak_host_mib(), peak_device_mib };
    let report = Report::new(evaluation, perplexity, &resources);
    write_json(args.json.as_deref(), &report)?;
    Ok(print_result(&report.table(args.show))?)
}
