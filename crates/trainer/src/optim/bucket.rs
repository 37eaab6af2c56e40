//! Buckets: neighbouring parameters whose gradients and state lie in flat tensors.

use std::ops::Range;

use nn_core::TorchContext;
use tch::{Device, Tensor};

use super::rule::StateTensor;
use super::state::{MIN_8BIT_SIZE, Stored};
use crate::TrainError;

/// Elements of a bucket (16 MiB in float32): a LoRA's hundreds of small tensors cost a few operations and not thousands,
/// while no large tensor is copied.
pub(super) const BUCKET_ELEMENTS: i64 = 1 << 22;

/// Neighbouring parameters, and the optimiser's state of all of them.
#[derive(Debug)]
pub(super) struct Bucket {
    /// Indices of the parameters.
    pub(super) members: Range<usize>,
    /// Number of elements of each member.
    pub(super) sizes: Vec<i64>,
    /// Device of the members.
    pub(super) device: Device,
    /// One tensor for each entry of [`super::UpdateRule::state`], `[sum of sizes]`.
    pub(super) state: Vec<Stored>,
}

impl Bucket {
    /// Returns the state of `members` as named tensors that share storage with it: `PREFIX.NAME` in the parameter's shape, or
    /// for 8-bit storage the codes, `[n]`, and `PREFIX_absmax.NAME`.
    pub(super) fn named_state(
        &self,
        members: &[(String, Tensor)],
        kept: &[StateTensor],
    ) -> Result<Vec<(String, Tensor)>, TrainError> {
        let mut named = Vec::new();
        for (StateTensor { name: prefix, .. }, stored) in kept.iter().zip(&self.state) {
            match stored {
                Stored::Float(flat) => {
                    let parts = flat.f_split_with_sizes(&self.sizes, 0).op("split_with_sizes")?;
                    for ((name, tensor), part) in members.iter().zip(parts) {
                        named.push((format!("{prefix}.{name}"), part.f_view_as(tensor).op("view_as")?));
                    }
                }
                Stored::EightBit { blocks, .. } => {
                    for (name, _) in members {
                        named.push((format!("{prefix}.{name}"), blocks.codes.shallow_clone()));
                        named.push((format!("{prefix}_absmax.{name}"), blocks.absmax.shallow_clone()));
                    }
                }
            }
        }
        Ok(named)
    }
}

/// Cuts the parameters, in order, into buckets of one device and at most [`BUCKET_ELEMENTS`], with a state of zeros. A
/// larger tensor is alone, and so is one with 8-bit state, since its blocks begin with it.
pub(super) fn fill_buckets(
    parameters: &[(String, Tensor)],
    kept: &[StateTensor],
    eight_bit: bool,
    paged: bool,
) -> Result<Vec<Bucket>, TrainError> {
    let mut groups: Vec<(Range<usize>, Vec<i64>, Device, bool)> = Vec::new();
    for (index, (_, tensor)) in parameters.iter().enumerate() {
        let (size, device) = (tensor.numel() as i64, tensor.device());
        let eight_bit = eight_bit && size >= MIN_8BIT_SIZE;
        match groups.last_mut() {
            Some((members, sizes, of, eight))
                if *of == device
                    && !*eight
                    && !eight_bit
                    && sizes.iter().sum::<i64>() + size <= BUCKET_ELEMENTS =>
            {
                members.end += 1;
                sizes.push(size);
            }
            _ => groups.push((index..index + 1, vec![size], device, eight_bit)),
        }
    }
    groups
        .into_iter()
        .map(|(members, sizes, device, eight_bit)| {
            let len = sizes.iter().sum();
            let zeros = |&StateTensor { signed, .. }: &StateTensor| {
                if paged && device.is_cuda() {
                    Stored::zeros(len, Device::Cpu, eight_bit, signed)?.pinned()
                } else {
                    Stored::zeros(len, device, eight_bit, signed)
                }
            };
            let state = kept.iter().map(zeros).collect::<Result<_, _>>()?;
            Ok(Bucket { members, sizes, device, state })
        })
        .collect()
}
