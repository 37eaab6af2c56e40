//! Rotary position embedding.

use std::f64::consts::PI;

use nn_core::{NnError, TorchContext};
use tch::{Device, Kind, Tensor};

use crate::{LlamaConfig, RopeScaling};

/// Cosines and sines of every token of a batch, `[N, 1, D/2]` each, ready to be multiplied with heads `[N, H, D/2]`; of
/// one token for all, when their positions are equal.
#[derive(Debug)]
pub(crate) struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rotation {
    pub(crate) fn shallow_clone(&self) -> Self {
        Self { cos: self.cos.shallow_clone(), sin: self.sin.shallow_clone() }
    }

    /// Returns the rotation of tokens `start..start + len`.
    pub(crate) fn span(&self, start: i64, len: i64) -> Result<Self, NnError> {
        let part = |xs: &Tensor| xs.f_narrow(0, start, len).op("narrow");
        Ok(Self { cos: part(&self.cos)?, sin: part(&self.sin)? })
    }

    /// Returns the rotation of the tokens at `indices`, `[n]` int64.
    pub(crate) fn select(&self, indices: &Tensor) -> Result<Self, NnError> {
        let part = |xs: &Tensor| xs.f_index_select(0, indices).op("index_select");
        Ok(Self { cos: part(&self.cos)?, sin: part(&self.sin)? })
    }

    /// Rotates query or key heads, `[N, H, D]`, by their positions, see [`kernels::rotate_half`].
    pub(crate) fn apply(&self, heads: &Tensor) -> Result<Tensor, NnError> {
        Ok(kernels::rotate_half(heads, &self.cos, &self.sin).op("rotate_half")?)
    }
}

/// The frequencies of a model.
#[derive(Debug)]
pub(crate) struct RotaryEmbedding {
    /// `[D/2]`, float32.
    inv_freq: Tensor,
}

impl RotaryEmbedding {
    pub(crate) fn new(config: &LlamaConfig, device: Device) -> Result<Self, NnError> {
        let frequencies: Vec<f32> = config.inverse_frequencies().into_iter().map(|f| f as f32).collect();
        Ok(Self { inv_freq: Tensor::f_from_slice(&frequencies).op("from_slice")?.f_to(device).op("to")? })
    }

    /// The rotation of tokens at `positions`, `[N]` int64; computed in float32, handed out in `kind`.
    pub(crate) fn rotation(&self, positions: &Tensor, kind: Kind) -> Result<Rotation, NnError> {
        let positions = positions.f_to_kind(Kind::Float).op("to_kind")?.f_unsqueeze(1).op("unsqueeze")?;
        let angles = positions.f_mul(&self.inv_freq).op("mul")?.f_unsqueeze(1).op("unsqueeze")?; // [N, 1, D/2]
        Ok(Rotation {
            cos: angles.f_cos().op("cos")?.f_to_kind(kind).op("to_kind")?,
            sin: angles.f_sin().op("sin")?.f_to_kind(kind).op("to_kind")?,
        })
    }
}

impl LlamaConfig {
    /// Returns `theta^(-2i/D)` for each pair of rotated features, in radians per token, after scaling: `D/2` numbers.
    pub fn inverse_frequencies(&self) -> Vec<f64> {
        let width = self.head_dim as f64;
        let plain = (0..self.head_dim / 2).map(|i| self.rope_theta.powf(-2.0 * i as f64 / width));
        plain.map(|frequency| scale(frequency, self.rope_scaling.as_ref())).collect()
    }
}

fn scale(frequency: f64, scaling: Option<&RopeScaling>) -> f64 {
    match scaling {
        None => frequency,
        Some(RopeScaling::Linear { factor }) => frequency / factor,
        Some(RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings,
        }) => {
            let original = *original_max_position_embeddings as f64;
            let wavelength = 2.0 * PI / frequency;
            if wavelength < original / high_freq_factor {
                frequency
            } else if wavelength > original / low_freq_factor {
                frequency / factor
            } else {
                let smooth = (original / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_depend_on_the_distance_of_positions_alone() {
        let config = LlamaConfig::new(8, 16, 32, 1, 1);
        let rope = RotaryEmbedding::new(&config, Device::Cpu).unwrap();
        tch::manual_seed(0);
        let heads = Tensor::randn([1, 1, 16], (Kind::Float, Device::Cpu));
        let other = Tensor::randn([1, 1, 16], (Kind::Float, Device::Cpu));
        let score = |p: i64, q: i64| {
            let at = |x: &Tensor, p: i64| {
                rope.rotation(&Tensor::from_slice(&[p]), Kind::Float).unwrap().apply(x).unwrap()
            };
            (at(&heads, p) * at(&other, q)).sum(Kind::Float).double_value(&[])
        };
        assert!((score(3, 7) - score(103, 107)).abs() < 1e-4);
        assert!((score(3, 7) - score(3, 9)).abs() > 1e-4);
    }
}
