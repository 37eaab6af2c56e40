//! One model in several files (llama.cpp `src/llama.cpp`, `llama_split_path`; `tools/gguf-split`).

use std::path::{Path, PathBuf};

use super::GgufError;
use super::part::Part;
use crate::WeightsError;
use crate::atomic_file::folder;

/// The names of the files that a model was split into: `NAME-00001-of-00002.gguf` and so on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufSplit {
    dir: PathBuf,
    name: String,
    count: u32,
}

impl GgufSplit {
    /// Reads the name of one of the files; `None` where it is not of this pattern.
    pub fn of(path: &Path) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".gguf")?;
        let (rest, count) = stem.rsplit_once("-of-")?;
        let (name, number) = rest.rsplit_once('-')?;
        let digits = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        let (number, count): (u32, u32) = if digits(number) && digits(count) {
            (number.parse().ok()?, count.parse().ok()?)
        } else {
            return None;
        };
        let split = Self { dir: folder(path).to_owned(), name: name.to_owned(), count };
        (1..=count).contains(&number).then_some(split)
    }

    /// Returns the name without number and ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the path of a file, counted from 0.
    pub fn part(&self, index: u32) -> PathBuf {
        self.dir.join(format!("{}-{:05}-of-{:05}.gguf", self.name, index + 1, self.count))
    }

    /// Opens all files of which `one` is one; only itself where it says nothing of others.
    pub(super) fn open_all(one: Part) -> Result<Vec<Part>, WeightsError> {
        let Some(count) = one.number("split.count").filter(|&count| count > 1) else { return Ok(vec![one]) };
        let failed = |path: &Path, source| WeightsError::Gguf { path: path.to_owned(), source };
        let split = Self::of(&one.path).filter(|split| i64::from(split.count) == count);
        let split = split.ok_or_else(|| failed(&one.path, GgufError::SplitName { count }))?;
        let mut parts = Vec::new();
        for index in 0..split.count {
            let path = split.part(index);
            if !path.exists() {
                return Err(failed(&one.path, GgufError::SplitMissing { count, missing: path }));
            }
            let part = Part::open(&path)?;
            for (key, expected) in [("split.count", count), ("split.no", i64::from(index))] {
                let actual = part.number(key);
                if actual != Some(expected) {
                    return Err(failed(&path, GgufError::SplitNumber { key, actual, expected }));
                }
            }
            parts.push(part);
        }
        let (key, actual) =
            ("split.tensors.count", parts.iter().map(Part::num_tensors).sum::<usize>() as i64);
        match parts[0].number(key) {
            Some(expected) if expected != actual => Err(failed(
                &parts[0].path,
                GgufError::SplitNumber { key, actual: Some(expected), expected: actual },
            )),
            _ => Ok(parts),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_those_of_gguf_split() {
        let split = GgufSplit::of(Path::new("dir/a-of-b-00002-of-00010.gguf")).unwrap();
        assert_eq!(split.name(), "a-of-b");
        assert_eq!(split.part(0), Path::new("dir/a-of-b-00001-of-00010.gguf"));
        assert_eq!(split.part(9), Path::new("dir/a-of-b-00010-of-00010.gguf"));
        for other in [
            "a.gguf",
            "a-1-of-2.gguf",
            "a-00003-of-00002.gguf",
            "a-00000-of-00002.gguf",
            "a-00001-of-00002.bin",
        ] {
            assert_eq!(GgufSplit::of(Path::new(other)), None, "{other}");
        }
    }
}
