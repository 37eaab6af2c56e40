//! A GGUF file as a set of named tensors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nn_core::TorchContext;
use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::blocks::dequantize;
use super::header::{MAGIC, Place};
use super::part::Part;
use super::{GgufError, GgufMetadata, GgufSplit, GgufTensorSpec};
use crate::placed::Placed;
use crate::{WeightsError, nearest, open_regular};

/// Elements written out before they go into the tensor: more than enough for every thread, and 16 MB.
const CHUNK_ELEMENTS: usize = 4 << 20;
/// Elements one thread writes out at a time.
const TASK_ELEMENTS: usize = 64 << 10;

/// An opened GGUF file, or all files that a model was split into.
///
/// Opening reads the header only. Tensors of plain numbers look straight at the mapped file; those in blocks are
/// written out each time they are asked for, so only what was asked for takes memory.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    /// Every file, in the order of their numbers; the first has the metadata.
    parts: Vec<Part>,
    /// The file that each tensor is in.
    part_of: BTreeMap<String, usize>,
}

impl GgufFile {
    /// Tells whether `path` is a file that begins as GGUF files do.
    pub fn is_one(path: &Path) -> bool {
        let mut magic = [0; MAGIC.len()];
        let read = open_regular(path).and_then(|mut file| std::io::Read::read_exact(&mut file, &mut magic));
        read.is_ok() && magic == MAGIC
    }

    /// Opens a file; where it is one of several that a model was split into, all of them.
    ///
    /// # Errors
    /// [`WeightsError::Read`] when a file cannot be mapped, [`WeightsError::Gguf`] when its header is damaged or lists a
    /// tensor in a form that is not read, and when another part is missing or of another model.
    pub fn open(path: &Path) -> Result<Self, WeightsError> {
        let parts = GgufSplit::open_all(Part::open(path)?)?;
        let mut part_of = BTreeMap::new();
        for (index, part) in parts.iter().enumerate() {
            for name in part.header.tensors.keys() {
                if part_of.insert(name.clone(), index).is_some() {
                    let source = GgufError::Repeated { what: format!("tensor `{name}`") };
                    return Err(WeightsError::Gguf { path: part.path.clone(), source });
                }
            }
        }
        Ok(Self { path: path.to_owned(), parts, part_of })
    }

    /// Returns the path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lists the files of the model: several where it is split.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    /// Returns the version of the format.
    pub fn version(&self) -> u32 {
        self.parts[0].header.version
    }

    /// Returns the metadata.
    pub fn metadata(&self) -> &GgufMetadata {
        &self.parts[0].header.metadata
    }

    /// Returns every tensor's name, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.part_of.keys().map(String::as_str)
    }

    /// Tells whether there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.part_of.contains_key(name)
    }

    /// Returns the header entry of a tensor.
    ///
    /// # Errors
    /// [`WeightsError::UnknownTensor`], with the nearest names, when there is none of this name.
    pub fn info(&self, name: &str) -> Result<GgufTensorSpec, WeightsError> {
        let Place { ggml_type, shape, .. } = self.place(name)?.1;
        Ok(GgufTensorSpec { name: name.to_owned(), ggml_type: *ggml_type, shape: shape.clone() })
    }

    /// Returns the tensor on the CPU, in `kind`; where that is `None`, in its stored kind or, if it is in blocks, in
    /// single precision. Plain numbers in their stored kind are not copied: the tensor looks at the mapped file and
    /// keeps it mapped. Elements in blocks are computed in single precision and rounded to `kind`.
    ///
    /// # Errors
    /// Those of [`GgufFile::info`]; [`WeightsError::Torch`] or [`WeightsError::View`] when libtorch refuses.
    pub fn tensor(&self, name: &str, kind: Option<Kind>) -> Result<Tensor, WeightsError> {
        let (part, place) = self.place(name)?;
        let Some(stored) = place.ggml_type.kind() else {
            return written_out(part, place, kind.unwrap_or(Kind::Float));
        };
        let placed = Placed::contiguous(place.start, place.num_bytes, place.shape.clone(), stored);
        let outside = || GgufError::Shape { name: name.to_owned(), shape: format!("{:?}", place.shape) };
        let placed = placed
            .ok_or_else(outside)
            .map_err(|source| WeightsError::Gguf { path: part.path.clone(), source })?;
        let tensor = placed.tensor(&part.map)?;
        Ok(tensor.f_to_dtype(kind.unwrap_or(stored), false, false).op("to")?)
    }

    fn place(&self, name: &str) -> Result<(&Part, &Place), WeightsError> {
        let part = self.part_of.get(name).map(|&index| &self.parts[index]);
        let place = part.and_then(|part| Some((part, part.header.tensors.get(name)?)));
        place.ok_or_else(|| WeightsError::UnknownTensor {
            path: self.path.clone(),
            name: name.to_owned(),
            nearest: nearest::nearest(name, self.names()),
        })
    }
}

/// Computes the elements of blocks, a chunk at a time.
fn written_out(part: &Part, place: &Place, kind: Kind) -> Result<Tensor, WeightsError> {
    if place.num_bytes == 0 {
        return Ok(Tensor::f_empty(place.shape.as_slice(), (kind, Device::Cpu)).op("empty")?);
    }
    let map = part.map.part(place.start..place.start + place.num_bytes)?;
    let bytes = (*map).as_ref();
    let (block, block_bytes) = place.ggml_type.block();
    let num_elements = bytes.len() / block_bytes * block;
    let tensor = Tensor::f_empty([num_elements as i64], (kind, Device::Cpu)).op("empty")?;
    let mut chunk = vec![0.0; num_elements.min(CHUNK_ELEMENTS)];
    for (index, bytes) in bytes.chunks(CHUNK_ELEMENTS / block * block_bytes).enumerate() {
        let chunk = &mut chunk[..bytes.len() / block_bytes * block];
        bytes
            .par_chunks(TASK_ELEMENTS / block * block_bytes)
            .zip(chunk.par_chunks_mut(TASK_ELEMENTS))
            .for_each(|(bytes, elements)| dequantize(place.ggml_type, bytes, elements));
        let start = (index * CHUNK_ELEMENTS) as i64;
        let mut target = tensor.f_narrow(0, start, chunk.len() as i64).op("narrow")?;
        target.f_copy_(&Tensor::f_from_slice(chunk).op("from_slice")?).op("copy_")?;
    }
    Ok(tensor.f_view(place.shape.as_slice()).op("view")?)
}
