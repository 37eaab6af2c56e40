//! The records of a run, split and tokenised.

use std::path::Path;

use alpaca_data::{BadRecords, Example, PromptTemplate, Record, load_records, split, tokenize_records};
use anyhow::Result;
use llama_tokenizer::LlamaTokenizer;

use super::settings::FinetuneConfig;
use crate::data::Examples;
use crate::exit::usage;

/// Tokenised records.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) train: Examples,
    pub(crate) validation: Option<Examples>,
}

impl Data {
    /// Reads, splits and tokenises what the configuration names.
    ///
    /// # Errors
    /// When a file is missing or wrong, or nothing is left to learn from.
    pub(crate) fn load(config: &FinetuneConfig, tokenizer: &LlamaTokenizer) -> Result<Self> {
        let template =
            PromptTemplate::load(&config.prompt_template_name).map_err(|error| usage(error.to_string()))?;
        let records = read_records(config, &config.data_path, "data_path")?;
        let tokenize = |records: &[Record], what: &str| -> Result<Vec<Example>> {
            let (examples, report) = tokenize_records(records, &template, tokenizer, &config.tokenize())?;
            tracing::info!("{what}: {report}");
            Ok(examples)
        };
        let (group_by_length, batch_size) = (config.group_by_length, config.batch_size as usize);
        let examples = |examples: Vec<Example>| Examples { examples, group_by_length, batch_size };
        let (train, validation) = if let Some(path) = &config.val_data_path {
            let validation = read_records(config, path, "val_data_path")?;
            (tokenize(&records, "training records")?, Some(tokenize(&validation, "validation records")?))
        } else {
            let parts = split(records.len(), config.val_set_size, config.seed)
                .map_err(|error| usage(format!("{error}; lower --val_set_size (0 for no validation)")))?;
            let pick = |indices: &[usize]| indices.iter().map(|&i| records[i].clone()).collect::<Vec<_>>();
            let train = tokenize(&pick(&parts.train), "training records")?;
            let validation = (!parts.validation.is_empty())
                .then(|| tokenize(&pick(&parts.validation), "validation records"))
                .transpose()?;
            (train, validation)
        };
        Ok(Self { train: examples(train), validation: validation.map(examples) })
    }
}

fn read_records(config: &FinetuneConfig, path: &str, flag: &str) -> Result<Vec<Record>> {
    if !Path::new(path).is_file() {
        return Err(usage(format!(
            "{flag} `{path}` is not a file; it has to be a local JSON or JSONL file of records with instruction, input \
             and output (datasets/README.md says where the well-known ones are)"
        )));
    }
    let bad = if config.skip_bad_records { BadRecords::Skip } else { BadRecords::Refuse };
    let loaded = load_records(Path::new(path), bad)?;
    if !loaded.skipped.is_empty() {
        tracing::warn!(
            "{} bad records of `{path}` were left out, first: {}",
            loaded.skipped.len(),
            loaded.skipped[0]
        );
    }
    Ok(loaded.records)
}
