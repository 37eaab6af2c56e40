//! The records of a run, split and tokenised.

use std::path::Path;

use alpaca_data::{
    DataError, Example, GroupedByLength, ReadConfig, Record, Records, Templates, TokenizeConfig,
    TrainingText, load_kinds, load_records, load_training_texts, split, tokenize,
};
use checkpoint::find_records;
use llama_tokenizer::LlamaTokenizer;
use nn_core::Dataset;

use crate::{FinetuneError, ShownRecord};

/// Files of records, and the way they become datasets.
#[derive(Debug, Clone)]
pub struct DataConfig<'a> {
    /// Records to train on: a file, a directory, or a data set of the hub.
    pub data_path: &'a str,
    /// Records for validation.
    pub validation: Validation<'a>,
    /// Seed of the split.
    pub seed: u64,
    /// Treatment of records that cannot be used, or not as a whole.
    pub read: ReadConfig,
    /// Length and masking.
    pub tokenize: TokenizeConfig,
    /// Records of one optimiser step where those of similar length go together; `None` for any order.
    pub group_by_length: Option<usize>,
}

/// Records for validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation<'a> {
    /// Those of another file, directory or data set.
    File(&'a str),
    /// So many of the training file, drawn at random; 0 for none.
    HeldOut(usize),
}

/// Tokenised records.
pub struct TrainingData {
    /// Records to train on.
    pub train: Box<dyn Dataset>,
    /// Records for validation.
    pub validation: Option<Box<dyn Dataset>>,
    /// The first few records of the validation, or else of the training, to be asked while a model learns.
    pub shown: Vec<ShownRecord>,
}

impl TrainingData {
    /// Reads, splits and tokenises records of any format.
    ///
    /// # Errors
    /// [`FinetuneError::Checkpoint`] for a missing file, [`FinetuneError::HeldOut`] when nothing is left to train on, and
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
        let records = read("data_path", config.data_path, &config.read, templates)?;
        let (train, validation) = match config.validation {
            Validation::File(path) => (records, read("val_data_path", path, &config.read, templates)?),
            Validation::HeldOut(count) => {
                let parts = split(records.len(), count, config.seed).map_err(FinetuneError::HeldOut)?;
                let pick = |indices: &[usize]| indices.iter().map(|&i| records[i].clone()).collect();
                (pick(&parts.train), pick(&parts.validation))
            }
        };
        let shown = ShownRecord::choose(if validation.is_empty() { &train } else { &validation });
        let train = tokenized(&train, "training records")?;
        let validation = (!validation.is_empty()).then(|| tokenized(&validation, "validation records"));
        Ok(Self { train, validation: validation.transpose()?, shown })
    }
}

fn dataset(examples: Vec<Example>, group_by_length: Option<usize>) -> Box<dyn Dataset> {
    match group_by_length {
        Some(batch_size) => Box::new(GroupedByLength { examples, batch_size }),
        None => Box::new(examples),
    }
}

/// Reads the records that the setting `setting` names, of any format.
fn read(
    setting: &'static str,
    name: &str,
    config: &ReadConfig,
    templates: &Templates,
) -> Result<Vec<TrainingText>, FinetuneError> {
    let load = |path: &Path| load_training_texts(path, config.clone(), templates);
    read_with(setting, name, &load)
}

/// Reads the Alpaca records that the setting `setting` names: a file, a directory, or a data set of the hub. Returns the
/// kind of task of each beside them.
///
/// # Errors
/// [`FinetuneError::Checkpoint`] when there are no such files, [`FinetuneError::Data`] for a wrong record.
pub fn read_records(
    setting: &'static str,
    name: &str,
    config: &ReadConfig,
) -> Result<(Vec<Record>, Vec<Option<String>>), FinetuneError> {
    let records = read_with(setting, name, &|path| load_records(path, config.clone()))?;
    let mut kinds = Vec::with_capacity(records.len());
    for path in find_records(setting, name)? {
        kinds.extend(load_kinds(&path)?);
    }
    Ok((records, kinds))
}

/// Reads every file that `name` stands for by `load`, and reports what is left out.
fn read_with<T>(
    setting: &'static str,
    name: &str,
    load: &dyn Fn(&Path) -> Result<Records<T>, DataError>,
) -> Result<Vec<T>, FinetuneError> {
    let mut all = Vec::new();
    for path in find_records(setting, name)? {
        let Records { records, skipped, ignored } = load(&path)?;
        let shown = path.display();
        if let Some(first) = skipped.first() {
            tracing::warn!("{} bad records of `{shown}` were left out, first: {first}", skipped.len());
        }
        for (column, count) in ignored {
            tracing::warn!("the column `{column}`, which {count} records of `{shown}` fill, is ignored");
        }
        all.extend(records);
    }
    Ok(all)
}
