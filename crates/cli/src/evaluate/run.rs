//! The program `evaluate`.

use std::path::Path;
use std::time::Instant;

use alpaca_data::{BadRecords, PromptTemplate, Record, load_records};
use anyhow::{Context, Result};
use checkpoint::Base;
use infer::GenerateConfig;
use llama_finetune::{
    answer_perplexity, evaluate, peak_device_mib, peak_host_mib, with_adapter, write_logits,
};
use nn_core::Dtype;
use serde::Deserialize;

use super::args::EvaluateArgs;
use super::report::{Report, Resources};
use crate::exit::usage;
use crate::output::{print_result, write_json};

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: EvaluateArgs) -> Result<()> {
    if args.batch_size == 0 {
        return Err(usage("batch_size is 0; it has to be at least 1"));
    }
    let compute = args.compute.resolve(Dtype::Auto)?;
    let device = compute.start()?;
    let base = Base::open_with(&args.base_model, compute.unknown_settings)?;
    let tokenizer = base.tokenizer()?;
    let template =
        PromptTemplate::load(&args.prompt_template_name).map_err(|error| usage(error.to_string()))?;
    let records = load_records(&args.data_path, BadRecords::Refuse)?.records;
    let kinds = read_kinds(&args.data_path)?;
    let loading = Instant::now();
    let model = base.load_quantized(device, compute.dtype, compute.quantization)?;
    let model = with_adapter(model, args.lora_weights.as_deref(), compute.unknown_settings)?;
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
        Resources { load_s, peak_host_mib: peak_host_mib(), peak_device_mib: peak_device_mib(device)? };
    let report = Report::new(evaluation, perplexity, &resources);
    write_json(args.json.as_deref(), &report)?;
    print_result(&report.table(args.show))
}

/// Reads the `kind` of each record, where the file has one.
fn read_kinds(path: &Path) -> Result<Vec<Option<String>>> {
    #[derive(Deserialize)]
    struct Kind {
        kind: Option<String>,
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let kinds: Vec<Kind> = serde_json::from_str(&text).unwrap_or_default();
    Ok(kinds.into_iter().map(|record| record.kind).collect())
}
