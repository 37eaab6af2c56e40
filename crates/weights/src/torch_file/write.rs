//! Writing what `torch.save` writes of a state dictionary, one tensor at a time.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crc32fast::Hasher;

use super::pickle::{Pickle, storage_class};
use super::zip_records::{CRC_OFFSET, Records};
use crate::atomic_file::TempFile;
use crate::stream::{Framing, TensorStream};
use crate::{TensorSpec, WeightsError};

/// The folder of the archive that everything lies in; `torch.save` takes the name of the file, and any does.
const FOLDER: &str = "archive";

/// A torch file (`consolidated.00.pth`) whose layout is decided before its tensors exist: a ZIP64 archive of stored
/// records, each at a multiple of 64 bytes, so that `torch.load(weights_only=True, mmap=True)` maps it
/// (`torch/serialization.py`, `_save`; `caffe2/serialize/inline_container.cc`).
#[derive(Debug)]
pub struct TorchWriter {
    path: PathBuf,
    specs: Vec<TensorSpec>,
    pickle: Vec<u8>,
}

impl TorchWriter {
    /// Lays out the file `path`; nothing is written yet. The tensors keep the order of `specs`. `shared` are further
    /// names of tensors in `specs`, which then lie in the file once, as `torch.save` has it for a head that is the
    /// embedding.
    ///
    /// # Errors
    /// [`WeightsError::NameTaken`] when a name comes twice, [`WeightsError::UnknownTensor`] when `shared` shares what
    /// is not there, [`WeightsError::Dtype`] when a kind has no storage class.
    pub fn new(
        path: &Path,
        specs: Vec<TensorSpec>,
        shared: &[(String, String)],
    ) -> Result<Self, WeightsError> {
        let mut keys: BTreeMap<&str, usize> = BTreeMap::new();
        let taken = |name: &str| WeightsError::NameTaken { path: path.to_owned(), name: name.to_owned() };
        let mut entries = Vec::new();
        for (key, spec) in specs.iter().enumerate() {
            let class = storage_class(spec.kind).ok_or_else(|| WeightsError::Dtype {
                path: path.to_owned(),
                name: spec.name.clone(),
                dtype: format!("{:?}", spec.kind),
            })?;
            if keys.insert(&spec.name, key).is_some() {
                return Err(taken(&spec.name));
            }
            entries.push((spec.name.as_str(), spec, class, key));
        }
        for (name, of) in shared {
            let key = *keys.get(of.as_str()).ok_or_else(|| WeightsError::UnknownTensor {
                path: path.to_owned(),
                name: of.clone(),
                nearest: Vec::new(),
            })?;
            if entries.iter().any(|(known, ..)| known == name) {
                return Err(taken(name));
            }
            let (_, spec, class, _) = entries[key];
            entries.push((name, spec, class, key));
        }
        let pickle = Pickle::dictionary(entries.into_iter());
        Ok(Self { path: path.to_owned(), specs, pickle })
    }

    /// Returns the size of the finished file in bytes.
    pub fn num_bytes(&self) -> u64 {
        Archive::new(self).records.num_bytes()
    }

    /// Begins the file, whose tensors then come in the order they were announced in.
    ///
    /// # Errors
    /// [`WeightsError::DiskFull`] or [`WeightsError::Write`] when the file cannot be begun.
    pub fn stream(&self) -> Result<TensorStream, WeightsError> {
        TensorStream::new(
            self.path.clone(),
            self.num_bytes(),
            self.specs.clone(),
            Box::new(Archive::new(self)),
        )
    }
}

/// The archive while it is written.
#[derive(Debug)]
struct Archive {
    records: Records,
    /// Content of the records that are not tensors, by their place.
    small: BTreeMap<usize, Vec<u8>>,
    /// The next record.
    next: usize,
    hasher: Hasher,
}

impl Archive {
    fn new(writer: &TorchWriter) -> Self {
        let mut archive =
            Self { records: Records::default(), small: BTreeMap::new(), next: 0, hasher: Hasher::new() };
        archive.push_small("data.pkl", writer.pickle.clone());
        archive.push_small("byteorder", b"little".to_vec());
        for (key, spec) in writer.specs.iter().enumerate() {
            archive.records.push(format!("{FOLDER}/data/{key}"), spec.num_bytes());
        }
        archive.push_small("version", b"3\n".to_vec());
        archive
    }

    fn push_small(&mut self, name: &str, content: Vec<u8>) {
        self.records.push(format!("{FOLDER}/{name}"), content.len() as u64);
        self.small.insert(self.records.list.len() - 1, content);
    }

    /// Notes the checksum of the tensor that is complete.
    fn close(&mut self) {
        if let Some(record) = self.next.checked_sub(1).and_then(|last| self.records.list.get_mut(last)) {
            let hasher = std::mem::take(&mut self.hasher);
            record.crc = hasher.finalize();
        }
    }

    /// Writes the records that are not tensors and come next.
    fn put_small(&mut self, file: &mut TempFile) -> Result<(), WeightsError> {
        while let Some(content) = self.small.remove(&self.next) {
            file.write(&Records::local_header(&self.records.list[self.next]))?;
            file.write(&content)?;
            self.hasher.update(&content);
            self.next += 1;
            self.close();
        }
        Ok(())
    }
}

impl Framing for Archive {
    fn before(&mut self, file: &mut TempFile, index: usize) -> Result<(), WeightsError> {
        if index > 0 {
            self.close();
        }
        self.put_small(file)?;
        file.write(&Records::local_header(&self.records.list[self.next]))?;
        self.next += 1;
        Ok(())
    }

    fn write(&mut self, file: &mut TempFile, _index: usize, bytes: &[u8]) -> Result<(), WeightsError> {
        self.hasher.update(bytes);
        file.write(bytes)
    }

    fn end(&mut self, file: &mut TempFile) -> Result<(), WeightsError> {
        if self.next > 0 {
            self.close();
        }
        self.put_small(file)?;
        file.write(&self.records.directory())?;
        let crc = |record: &super::zip_records::Record| (record.start + CRC_OFFSET, record.crc.to_le_bytes());
        file.patch(&self.records.list.iter().map(crc).collect::<Vec<_>>())
    }
}
