//! The identity by content of the files that a run reads.

use std::path::{Path, PathBuf};

use checkpoint::{Base, find_records};
use weights::{Digest, DigestCache};

use crate::FinetuneError;
use crate::training_data::{DataConfig, Validation};

/// The file in the output directory that keeps digests, so that a base of many gigabytes is not read for each resumption.
pub(crate) const INPUTS: &str = "inputs.json";

/// Names and digests of every file that a run reads: base, tokenizer, records, prompt template.
#[derive(Debug)]
pub struct RunInputs {
    digests: Vec<(String, Digest)>,
    cache: DigestCache,
}

impl RunInputs {
    /// Computes the digests. Files that have not changed since [`RunInputs::keep`] wrote to `output_dir` are not read again.
    ///
    /// # Errors
    /// [`FinetuneError::Checkpoint`] or [`FinetuneError::Weights`] when a file cannot be read.
    pub fn read(
        base: &Base,
        data: &DataConfig<'_>,
        template: &str,
        output_dir: &Path,
    ) -> Result<Self, FinetuneError> {
        let mut files = named("base", "the base", base.files().files()?);
        let mut records = |setting, title: &str, name: &str| -> Result<(), FinetuneError> {
            files.extend(named(title, title, find_records(setting, name)?));
            Ok(())
        };
        records("data_path", "training data (data_path)", data.data_path)?;
        if let Validation::File(name) = data.validation {
            records("val_data_path", "validation data (val_data_path)", name)?;
        }
        let template = PathBuf::from(template);
        if template.is_file() {
            files.push(("prompt template".to_owned(), template));
        }
        let mut cache = DigestCache::read(&output_dir.join(INPUTS));
        let digest = |(name, path): (String, PathBuf)| Ok((name, cache.digest(&path)?));
        let digests = files.into_iter().map(digest).collect::<Result<_, FinetuneError>>()?;
        Ok(Self { digests, cache })
    }

    /// Returns the name of each file, as errors have it, and the digest of its content.
    pub fn digests(&self) -> &[(String, Digest)] {
        &self.digests
    }

    /// Writes the digests into `output_dir` for the next run there.
    ///
    /// # Errors
    /// [`FinetuneError::Weights`] when the disk refuses.
    pub fn keep(&self, output_dir: &Path) -> Result<(), FinetuneError> {
        Ok(self.cache.write(&output_dir.join(INPUTS))?)
    }
}

/// Names the files of one input: the `single` one may be called anything, of several each has its own name.
fn named(single: &str, whole: &str, files: Vec<PathBuf>) -> Vec<(String, PathBuf)> {
    let is_single = files.len() == 1;
    let name = |path: &Path| match path.file_name() {
        Some(name) if !is_single => format!("file `{}` of {whole}", name.to_string_lossy()),
        _ => single.to_owned(),
    };
    files.into_iter().map(|path| (name(&path), path)).collect()
}
