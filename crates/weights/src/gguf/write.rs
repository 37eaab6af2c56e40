//! Writing GGUF files, one tensor at a time.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use tch::Kind;

use super::blocks::{MOST_Q8_0, quantize_q8_0};
use super::header::{DEFAULT_ALIGNMENT, MAGIC};
use super::metadata::{write_text, write_value};
use super::{GgmlType, GgufError, GgufValue};
use crate::atomic_file::TempFile;
use crate::stream::{Framing, TensorStream};
use crate::{TensorSpec, WeightsError};

/// The version that is written.
const VERSION: u32 = 3;
/// Elements one thread turns into blocks at a time.
const TASK_ELEMENTS: usize = 64 << 10;

/// Header entry of one tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufTensorSpec {
    /// Its name in the file.
    pub name: String,
    /// Type of its elements; plain numbers and [`GgmlType::Q8_0`] can be written.
    pub ggml_type: GgmlType,
    /// Shape, outermost dimension first.
    pub shape: Vec<i64>,
}

/// A GGUF file whose layout is decided before its tensors exist (ggml `docs/gguf.md`, version 3, little-endian, tensors
/// at multiples of 32 bytes).
#[derive(Debug)]
pub struct GgufWriter {
    path: PathBuf,
    specs: Vec<GgufTensorSpec>,
    header: Vec<u8>,
}

impl GgufWriter {
    /// Lays out the file `path`; nothing is written yet. Tensors and metadata keep their order.
    ///
    /// # Errors
    /// [`WeightsError::NameTaken`] when a name comes twice, [`WeightsError::Dtype`] for a form that is not written,
    /// [`WeightsError::Gguf`] when rows do not fill whole blocks.
    pub fn new(
        path: &Path,
        specs: Vec<GgufTensorSpec>,
        metadata: &[(String, GgufValue)],
    ) -> Result<Self, WeightsError> {
        let mut header = MAGIC.to_vec();
        header.extend(VERSION.to_le_bytes());
        header.extend((specs.len() as u64).to_le_bytes());
        header.extend((metadata.len() as u64).to_le_bytes());
        for (key, value) in metadata {
            write_text(&mut header, key);
            write_value(&mut header, value);
        }
        let mut names = BTreeSet::new();
        let mut offset = 0;
        for spec in &specs {
            if !names.insert(&spec.name) {
                return Err(WeightsError::NameTaken { path: path.to_owned(), name: spec.name.clone() });
            }
            spec.check(path)?;
            write_text(&mut header, &spec.name);
            header.extend((spec.shape.len() as u32).to_le_bytes());
            header.extend(spec.shape.iter().rev().flat_map(|&len| (len as u64).to_le_bytes()));
            header.extend(spec.ggml_type.number().to_le_bytes());
            header.extend((offset as u64).to_le_bytes());
            offset += spec.num_bytes().next_multiple_of(DEFAULT_ALIGNMENT);
        }
        header.resize(header.len().next_multiple_of(DEFAULT_ALIGNMENT), 0);
        Ok(Self { path: path.to_owned(), specs, header })
    }

    /// Returns the size of the finished file in bytes.
    pub fn num_bytes(&self) -> u64 {
        let padded = |spec: &GgufTensorSpec| spec.num_bytes().next_multiple_of(DEFAULT_ALIGNMENT);
        (self.header.len() + self.specs.iter().map(padded).sum::<usize>()) as u64
    }

    /// Begins the file, whose tensors then come in the order they were announced in: plain numbers in their own kind,
    /// those that become blocks in single precision.
    ///
    /// # Errors
    /// [`WeightsError::DiskFull`] or [`WeightsError::Write`] when the file cannot be begun.
    pub fn stream(&self) -> Result<TensorStream, WeightsError> {
        let pieces = self.specs.iter().map(|spec| TensorSpec {
            name: spec.name.clone(),
            kind: spec.piece_kind(),
            shape: spec.shape.clone(),
        });
        let framing = Blocks {
            header: Some(self.header.clone()),
            path: self.path.clone(),
            specs: self.specs.clone(),
            written: 0,
        };
        TensorStream::new(self.path.clone(), self.num_bytes(), pieces.collect(), Box::new(framing))
    }
}

impl GgufTensorSpec {
    /// Returns the kind in which its elements are handed over.
    pub fn piece_kind(&self) -> Kind {
        self.ggml_type.kind().unwrap_or(Kind::Float)
    }

    fn num_bytes(&self) -> usize {
        let (block, block_bytes) = self.ggml_type.block();
        let elements = self.shape.iter().fold(1usize, |n, &len| n.saturating_mul(len.max(0) as usize));
        (elements / block).saturating_mul(block_bytes)
    }

    fn check(&self, path: &Path) -> Result<(), WeightsError> {
        let Self { name, ggml_type, shape } = self;
        if ggml_type.kind().is_none() && *ggml_type != GgmlType::Q8_0 {
            let dtype = ggml_type.name().to_owned();
            return Err(WeightsError::Dtype { path: path.to_owned(), name: name.clone(), dtype });
        }
        let (block, row) = (ggml_type.block().0, shape.last().copied().unwrap_or(1));
        if row % block as i64 != 0 {
            let (name, ggml_type) = (name.clone(), ggml_type.name());
            let source = GgufError::Row { name, actual: row, ggml_type, expected: block };
            return Err(WeightsError::Gguf { path: path.to_owned(), source });
        }
        Ok(())
    }
}

/// The file while it is written.
#[derive(Debug)]
struct Blocks {
    /// Until it is written.
    header: Option<Vec<u8>>,
    path: PathBuf,
    specs: Vec<GgufTensorSpec>,
    /// Bytes behind the header so far.
    written: usize,
}

impl Blocks {
    fn put(&mut self, file: &mut TempFile, bytes: &[u8]) -> Result<(), WeightsError> {
        self.written += bytes.len();
        file.write(bytes)
    }

    /// Fills up to the place of the next tensor, or writes the header before the first one.
    fn align(&mut self, file: &mut TempFile) -> Result<(), WeightsError> {
        if let Some(header) = self.header.take() {
            return file.write(&header);
        }
        let missing = self.written.next_multiple_of(DEFAULT_ALIGNMENT) - self.written;
        self.put(file, &[0; DEFAULT_ALIGNMENT][..missing])
    }
}

impl Framing for Blocks {
    fn before(&mut self, file: &mut TempFile, _index: usize) -> Result<(), WeightsError> {
        self.align(file)
    }

    fn write(&mut self, file: &mut TempFile, index: usize, bytes: &[u8]) -> Result<(), WeightsError> {
        let spec = &self.specs[index];
        if spec.ggml_type != GgmlType::Q8_0 {
            return self.put(file, bytes);
        }
        let (block, block_bytes) = GgmlType::Q8_0.block();
        let mut blocks = vec![0; bytes.len() / (4 * block) * block_bytes];
        let fits = bytes
            .par_chunks(4 * TASK_ELEMENTS)
            .zip(blocks.par_chunks_mut(TASK_ELEMENTS / block * block_bytes))
            .map(|(elements, blocks)| quantize_q8_0(elements, blocks))
            .reduce(|| true, |one, other| one && other);
        if !fits {
            let (path, name) = (self.path.clone(), spec.name.clone());
            let dtype = GgmlType::Q8_0.name();
            return Err(WeightsError::Overflow { path, name, dtype, limit: MOST_Q8_0 });
        }
        self.put(file, &blocks)
    }

    fn end(&mut self, file: &mut TempFile) -> Result<(), WeightsError> {
        self.align(file)
    }
}
