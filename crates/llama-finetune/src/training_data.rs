//! The records of a run, split and tokenised.

use std::path::Path;

use alpaca_data::{
    BadRecords, Example, GroupedByLength, Templates, TokenizeConfig, TrainingText, load_training_texts,
    split, tokenize,
};
use llama_tokenizer::LlamaTokenizer;
use nn_core::Dataset;

use crate::FinetuneError;

/// Files of records, and the way they become datasets.
#[derive(Debug, Clone)]
pub struct DataConfig<'a> {
    /// Records to train on.
    pub data_path: &'a Path,
    /// Records for validation.
    pub validation: Validation<'a>,
    /// Seed of the split.
    pub seed: u64,
    /// Treatment of records that cannot be used.
    pub bad: BadRecords,
    /// Length and masking.
    pub tokenize: TokenizeConfig,
    /// Records of one optimiser step where those of similar length go together; `None` for any order.
    pub group_by_length: Option<usize>,
}

/// Records for validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation<'a> {
    /// Those of another file.
    File(&'a Path),
    /// So many of the training file, drawn at random; 0 for none.
    HeldOut(usize),
}

/// Tokenised records.
pub struct TrainingData {
    /// Records to train on.
    pub train: Box<dyn Dataset>,
    /// Records for validation.
    pub validation: Option<Box<dyn Dataset>>,
}

impl TrainingData {
    /// Reads, splits and tokenises records of any format.
    ///
    /// # Errors
    /// [`FinetuneError::DataFile`] for a missing file, [`FinetuneError::HeldOut`] when nothing is left to train on, and
    /// [`FinetuneError::Data`] for a wrong record.
    pub fn load(
        config: &DataConfig<'_>,
        templates: &Templates,
        tokenizer: &LlamaTokenizer,
    ) -> Result<Self, FinetuneError> {
        let tokenized = |records: &[TrainingText], what: &str| -> Result<Box<dyn Dataset>, FinetuneError> {
            let (examples, report) = tokenize(records, tokenizer, &config.tokenize)?;
            tracing::info!("{what}: {report}");
            Ok(dataset(examples, config.group_by_length))
        };
        let records = read("data_path", config.data_path, config.bad, templates)?;
        let (train, validation) = match config.validation {
            Validation::File(path) => (records, read("val_data_path", path, config.bad, templates)?),
            Validation::HeldOut(count) => {
                let parts = split(records.len(), count, config.seed).map_err(FinetuneError::HeldOut)?;
                let pick = |indices: &[usize]| indices.iter().map(|&i| records[i].clone()).collect();
                (pick(&parts.train), pick(&parts.validation))
            }
        };
        let train = tokenized(&train, "training records")?;
        let validation = (!validation.is_empty()).then(|| tokenized(&validation, "validation records"));
        Ok(Self { train, validation: validation.transpose()? })
    }
}

fn dataset(examples: Vec<Example>, group_by_length: Option<usize>) -> Box<dyn Dataset> {
    match group_by_length {
        Some(batch_size) => Box::new(GroupedByLength { examples, batch_size }),
        None => Box::new(examples),
    }
}

/// Reads the records of the file that the setting `name` names.
fn read(
    name: &'static str,
    path: &Path,
    bad: BadRecords,
    templates: &Templates,
) -> Result<Vec<TrainingText>, FinetuneError> {
    if !path.is_file() {
        return Err(FinetuneError::DataFile { name, path: path.to_owned() });
    }
    let loaded = load_training_texts(path, bad, templates)?;
    if let Some(first) = loaded.skipped.first() {
        let (count, path) = (loaded.skipped.len(), path.display());
        tracing::warn!("{count} bad records of `{path}` were left out, first: {first}");
    }
    Ok(loaded.records)
}
