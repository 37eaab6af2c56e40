//! Writing safetensors, one tensor at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nn_core::TorchContext;
use safetensors::tensor::TensorInfo;
use tch::{Device, Kind, Tensor};

use super::{LENGTH_BYTES, MAX_HEADER_BYTES, dtype};
use crate::WeightsError;
use crate::atomic_file::TempFile;

/// Bytes copied out of a tensor at once.
const CHUNK_BYTES: usize = 16 << 20;

/// What a file's header says of one tensor, before its elements are there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the file.
    pub name: String,
    /// Its element type.
    pub kind: Kind,
    /// Its shape.
    pub shape: Vec<i64>,
}

impl TensorSpec {
    fn describe(kind: Kind, shape: &[i64]) -> String {
        format!("{kind:?} {shape:?}")
    }

    fn num_bytes(&self) -> usize {
        self.shape.iter().fold(self.kind.elt_size_in_bytes(), |n, &len| n.saturating_mul(len.max(0) as usize))
    }
}

/// The metadata transformers asks of every file it loads: `{"format": "pt"}`.
pub fn pt_metadata() -> BTreeMap<String, String> {
    BTreeMap::from([("format".to_owned(), "pt".to_owned())])
}

/// Writes `tensors` to `path`, which appears complete or not at all. The same tensors give the same bytes.
///
/// Tensors elsewhere than on the CPU are brought there one at a time.
///
/// # Errors
/// As [`SafetensorsWriter::new`] and [`SafetensorsWriter::write`].
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
        let mut names = BTreeSet::from(["__metadata__".to_owned()]);
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
            json.insert("__metadata__".to_owned(), serde_json::to_value(metadata).map_err(malformed)?);
        }
        let mut end = 0usize;
        for (dtype, spec) in &typed {
            let start = end;
            end = start.saturating_add(spec.num_bytes());
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

    /// Size of the finished file in bytes.
    pub fn num_bytes(&self) -> u64 {
        self.num_bytes
    }

    /// The tensors in the order in which [`SafetensorsWriter::write`] asks for them.
    pub fn specs(&self) -> &[TensorSpec] {
        &self.specs
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
        let mut file = TempFile::create(&self.path, self.num_bytes)?;
        file.write(&self.header)?;
        for spec in &self.specs {
            let tensor = produce(spec)?;
            self.write_tensor(&mut file, spec, &tensor)?;
        }
        Ok(file.commit()?)
    }

    fn write_tensor(
        &self,
        file: &mut TempFile,
        spec: &TensorSpec,
        tensor: &Tensor,
    ) -> Result<(), WeightsError> {
        let (kind, shape) = (tensor.f_kind().op("kind")?, tensor.size());
        if kind != spec.kind || shape != spec.shape {
            return Err(WeightsError::NotAsAnnounced {
                path: self.path.clone(),
                name: spec.name.clone(),
                actual: TensorSpec::describe(kind, &shape),
                expected: TensorSpec::describe(spec.kind, &spec.shape),
            });
        }
        let tensor = tensor.f_detach().op("detach")?.f_to_device(Device::Cpu).op("to_device")?;
        let elements = tensor.f_contiguous().op("contiguous")?.f_view([-1i64]).op("view")?;
        let size = kind.elt_size_in_bytes();
        let (total, step) = (elements.numel(), CHUNK_BYTES / size);
        let mut buffer = vec![0; total.min(step) * size];
        for start in (0..total).step_by(step) {
            let len = step.min(total - start);
            let chunk = elements.f_narrow(0, start as i64, len as i64).op("narrow")?;
            let bytes = &mut buffer[..len * size];
            chunk.f_copy_data_u8(bytes, len).op("copy_data")?;
            file.write(bytes)?;
        }
        Ok(())
    }
}
