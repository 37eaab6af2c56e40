//! Digests of the files that a run reads.

use std::path::{Path, PathBuf};

use anyhow::Result;
use checkpoint::Base;
use weights::{Digest, DigestCache};

use super::settings::FinetuneConfig;

/// The file in the output directory that keeps digests, so that a base of many gigabytes is not read for each resumption.
pub(crate) const INPUTS: &str = "inputs.json";

/// Returns the name and digest of every file that a run reads.
///
/// # Errors
/// When one cannot be read.
pub(crate) fn input_digests(
    base: &Base,
    config: &FinetuneConfig,
    cache: &mut DigestCache,
) -> Result<Vec<(String, Digest)>> {
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    let of_base = base.files().files()?;
    let single = of_base.len() == 1;
    for path in of_base {
        // A single file may be called anything.
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        files.push((if single { "base".to_owned() } else { format!("file `{name}` of the base") }, path));
    }
    files.push(("training data (data_path)".to_owned(), PathBuf::from(&config.data_path)));
    if let Some(path) = &config.val_data_path {
        files.push(("validation data (val_data_path)".to_owned(), PathBuf::from(path)));
    }
    let template = Path::new(&config.prompt_template_name);
    if template.is_file() {
        files.push(("prompt template".to_owned(), template.to_owned()));
    }
    files.into_iter().map(|(name, path)| Ok((name, cache.digest(&path)?))).collect()
}
