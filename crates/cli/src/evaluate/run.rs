//! The program `evaluate`.

use std::time::Instant;

use alpaca_data::{BadRecords, PromptTemplate, Record, load_kinds, load_records};
use anyhow::Result;
use checkpoint::Base;
use infer::GenerateConfig;
use llama_finetune::{answer_perplexity, evaluate, peak_device_mib, peak_host_mib, write_logits};
use nn_core::Dtype;

use super::args::EvaluateArgs;
use super::report::{Report, Resources};
use crate::exit::usage;
use crate::output::{print, write_json};

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: EvaluateArgs) -> Result<()> {
    let load = args.compute.resolve(Dtype::Auto)?.start()?;
    let base = Base::open_with(&args.base_model, load.unknown_settings)?;
    let tokenizer = base.tokenizer()?;
    let template =
        PromptTemplate::load(&args.prompt_template_name).map_err(|error| usage(error.to_string()))?;
    let records = load_records(&args.data_path, BadRecords::Refuse)?.records;
    let kinds = load_kinds(&args.data_path)?;
    let loading = Instant::now();
    let model = load.load(&base, args.lora_weights.as_deref())?;
    let load_s = loading.elapsed().as_secs_f64();
    let config = GenerateConfig {
        max_new_tokens: args.max_new_tokens,
        eos_ids: base.eos_ids(&tokenizer),
        ..GenerateConfig::default()
    };
    let evaluation = evaluate(&model, &tokenizer, &template, &records, &kinds, &config, args.batch_size)?;
    let perplexity = if args.perplexity {
        Some(answer_perplexity(&model, &tokenizer, &template, &records)?.perplexity)
    } else {
        None
    };
    if let Some(path) = &args.dump_logits {
        let longest = base.config.max_position_embeddings as usize;
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
    let resources =
        Resources { load_s, peak_host_mib: peak_host_mib(), peak_device_mib: peak_device_mib(load.device)? };
    let report = Report::new(evaluation, perplexity, &resources);
    write_json(args.json.as_deref(), &report)?;
    print(&report.table(args.show));
    Ok(())
}
