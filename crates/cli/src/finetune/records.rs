//! The records of a run, split and tokenised.

use std::path::Path;

use alpaca_data::{
    BadRecords, ChatTemplate, Example, GroupedByLength, PromptTemplate, Templates, TrainingText,
    load_training_texts, split, tokenize,
};
use anyhow::Result;
use llama_tokenizer::LlamaTokenizer;
use nn_core::Dataset;

use super::settings::FinetuneConfig;
use crate::exit::usage;

/// Tokenised records.
pub(crate) struct Data {
    pub(crate) train: Box<dyn Dataset>,
    pub(crate) validation: Option<Box<dyn Dataset>>,
}

impl Data {
    /// Reads, splits and tokenises what the configuration names.
    ///
    /// # Errors
    /// When a file is missing or wrong, or nothing is left to learn from.
    pub(crate) fn load(
        config: &FinetuneConfig,
        chat: Option<ChatTemplate>,
        tokenizer: &LlamaTokenizer,
    ) -> Result<Self> {
        let prompt =
            PromptTemplate::load(&config.prompt_template_name).map_err(|error| usage(error.to_string()))?;
        let templates = Templates { prompt, chat };
        let records = read_records(config, &config.data_path, "data_path", &templates)?;
        let tokenize = |records: &[TrainingText], what: &str| -> Result<Vec<Example>> {
            let (examples, report) = tokenize(records, tokenizer, &config.tokenize())?;
            tracing::info!("{what}: {report}");
            Ok(examples)
        };
        let dataset = |examples: Vec<Example>| -> Box<dyn Dataset> {
            if !config.group_by_length {
                return Box::new(examples);
            }
            Box::new(GroupedByLength { examples, batch_size: config.batch_size as usize })
        };
        let (train, validation) = if let Some(path) = &config.val_data_path {
            let validation = read_records(config, path, "val_data_path", &templates)?;
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
        Ok(Self { train: dataset(train), validation: validation.map(dataset) })
    }
}

fn read_records(
    config: &FinetuneConfig,
    path: &str,
    flag: &str,
    templates: &Templates,
) -> Result<Vec<TrainingText>> {
    if !Path::new(path).is_file() {
        return Err(usage(format!(
            "{flag} `{path}` is not a file; it has to be a local JSON or JSONL file of records with instruction, input \
             and output (datasets/README.md says where the well-known ones are)"
        )));
    }
    let bad = if config.skip_bad_records { BadRecords::Skip } else { BadRecords::Refuse };
    let loaded = load_training_texts(Path::new(path), bad, templates)?;
    if !loaded.skipped.is_empty() {
        tracing::warn!(
            "{} bad records of `{path}` were left out, first: {}",
            loaded.skipped.len(),
            loaded.skipped[0]
        );
    }
    Ok(loaded.records)
}
