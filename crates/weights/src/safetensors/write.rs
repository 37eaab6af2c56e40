//! Writing safetensors, one tensor at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nn_core::TorchContext;
use safetensors::tensor::TensorInfo;
use tch::Tensor;

use super::dtype;
use super::header::{LENGTH_BYTES, MAX_HEADER_BYTES, METADATA};
use crate::atomic_file::TempFile;
use crate::stream::{Framing, TensorStream};
use crate::{TensorSpec, WeightsError};

/// Returns the metadata transformers asks of every file it loads: `{"format": "pt"}`.
pub fn pt_metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("format".to_owned(), "pt".to_owned())])
}

/// Writes `tensors` to `path`, which appears complete or not at all. The same tensors give the same bytes.
///
/// Tensors elsewhere than on the CPU are brought there one at a time.
///
/// # Errors
/// Those of [`SafetensorsWriter::new`] and [`SafetensorsWriter::write`].
pub fn write_safetensors(
    path: &Path,
    tensors: &[(String, &Tensor)],
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let spec = |(name, tensor): &(String, &Tensor)| {
        Ok(TensorSpec { name: name.clone(), kind: tensor.f_kind().op("kind")?, shape: tensor.size() })
    };
    let specs = tensors.iter().map(spec).collect::<Result<Vec<_>, WeightsError>>()?;
    let by_name: BTreeMap<&str, &Tensor> =
        tensors.iter().map(|(name, tensor)| (name.as_str(), *tensor)).collect();
    let writer = SafetensorsWriter::new(path, specs, metadata)?;
    writer.write(|spec| Ok(by_name[spec.name.as_str()].shallow_clone()))
}

/// A safetensors file whose layout is decided before its tensors exist, so that a checkpoint of any size is written
/// with one tensor in memory.
///
/// Layout and header are those of the reference implementation: larger element types first, then by name, the header
/// padded to 8 bytes; so every tensor is aligned to its elements.
#[derive(Debug)]
pub struct SafetensorsWriter {
    path: PathBuf,
    specs: Vec<TensorSpec>,
    header: Vec<u8>,
    num_bytes: u64,
}

impl SafetensorsWriter {
    /// Lays out the file `path`; nothing is written yet.
    ///
    /// # Errors
    /// [`WeightsError::NameTaken`] when a name comes twice or is reserved, [`WeightsError::Dtype`] when a kind has no
    /// place in the format, [`WeightsError::HeaderSize`] when there are too many tensors for one file.
    pub fn new(
        path: &Path,
        specs: Vec<TensorSpec>,
        metadata: &BTreeMap<String, String>,
    ) -> Result<Self, WeightsError> {
        let mut names = BTreeSet::from([METADATA.to_owned()]);
        let mut typed = Vec::with_capacity(specs.len());
        for spec in specs {
            if !names.insert(spec.name.clone()) {
                return Err(WeightsError::NameTaken { path: path.to_owned(), name: spec.name });
            }
            let Some(dtype) = dtype::dtype(spec.kind) else {
                let dtype = format!("{:?}", spec.kind);
                return Err(WeightsError::Dtype { path: path.to_owned(), name: spec.name, dtype });
            };
            typed.push((dtype, spec));
        }
        typed.sort_by(|(dtype_a, a), (dtype_b, b)| dtype_b.cmp(dtype_a).then_with(|| a.name.cmp(&b.name)));

        let malformed = |source| WeightsError::Header { path: path.to_owned(), source };
        let mut json = serde_json::Map::new();
        if !metadata.is_empty() {
            json.insert(METADATA.to_owned(), serde_json::to_value(metadata).map_err(malformed)?);
        }
        let mut end = 0usize;
        for (dtype, spec) in &typed {
            let start = end;
            end = start.saturating_add(spec.num_bytes() as usize);
            let shape = spec.shape.iter().map(|&len| len.max(0) as usize).collect();
            let info = TensorInfo { dtype: *dtype, shape, data_offsets: (start, end) };
            json.insert(spec.name.clone(), serde_json::to_value(info).map_err(malformed)?);
        }
        let mut text = serde_json::to_vec(&json).map_err(malformed)?;
        text.resize(text.len().next_multiple_of(LENGTH_BYTES as usize), b' ');
        let length = text.len() as u64;
        if length > MAX_HEADER_BYTES {
            let limit = MAX_HEADER_BYTES;
            return Err(WeightsError::HeaderSize { path: path.to_owned(), num_bytes: length, limit });
        }
        let header = [length.to_le_bytes().as_slice(), &text].concat();
        let num_bytes = (end as u64).saturating_add(header.len() as u64);
        let specs = typed.into_iter().map(|(_, spec)| spec).collect();
        Ok(Self { path: path.to_owned(), specs, header, num_bytes })
    }

    /// Returns the size of the finished file in bytes.
    pub fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    /// Returns the tensors in the order in which [`SafetensorsWriter::write`] asks for them.
    pub fn specs(&self) -> &[TensorSpec] {
        &self.specs
    }

    /// Begins the file, whose tensors then come in the order of [`SafetensorsWriter::specs`].
    ///
    /// # Errors
    /// [`WeightsError::DiskFull`] or [`WeightsError::Write`] when the file cannot be begun.
    pub fn stream(&self) -> Result<TensorStream, WeightsError> {
        let framing = Box::new(Header(Some(self.header.clone())));
        TensorStream::new(self.path.clone(), self.num_bytes, self.specs.clone(), framing)
    }

    /// Writes the file, asking `produce` for one tensor after another. The file appears complete or not at all.
    ///
    /// # Errors
    /// Whatever `produce` returns; [`WeightsError::NotAsAnnounced`] when it gives a tensor of another kind or shape,
    /// [`WeightsError::DiskFull`] or [`WeightsError::Write`] when the file cannot be written.
    pub fn write<E: From<WeightsError>>(
        &self,
        mut produce: impl FnMut(&TensorSpec) -> Result<Tensor, E>,
    ) -> Result<(), E> {
        let mut stream = self.stream()?;
        for spec in &self.specs {
            stream.write(&spec.name, &produce(spec)?)?;
        }
        Ok(stream.finish()?)
    }
}

/// The header, until it is written.
#[derive(Debug)]
struct Header(Option<Vec<u8>>);

impl Header {
    fn put(&mut self, file: &mut TempFile) -> Result<(), WeightsError> {
        self.0.take().map_or(Ok(()), |header| file.write(&header))
    }
}

impl Framing for Header {
    fn before(&mut self, file: &mut TempFile, _index: usize) -> Result<(), WeightsError> {
        self.put(file)
    }

    fn write(&mut self, file: &mut TempFile, _index: usize, bytes: &[u8]) -> Result<(), WeightsError> {
        file.write(bytes)
    }

    fn end(&mut self, file: &mut TempFile) -> Result<(), WeightsError> {
        self.put(file)
    }
}
