//! Rotary position embedding.

use nn_core::{NnError, TorchContext};
use tch::{Device, Kind, Tensor};
use torch_ext::cuda::upload;

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

    /// Returns the same on `device`.
    pub(crate) fn on(&self, device: Device) -> Result<Self, NnError> {
        let copy = |xs: &Tensor| xs.f_to_device(device).op("to_device");
        Ok(Self { cos: copy(&self.cos)?, sin: copy(&self.sin)? })
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

    /// Rotates query and key heads, `[N, H, D]` and `[N, K, D]`, by their positions, see [`kernels::rotate_half`].
    pub(crate) fn apply(&self, queries: &Tensor, keys: &Tensor) -> Result<[Tensor; 2], NnError> {
        Ok(kernels::rotate_both(queries, keys, &self.cos, &self.sin).op("rotate_half")?)
    }
}

/// The frequencies of a model.
#[derive(Debug, Clone)]
pub(crate) struct RotaryEmbedding {
    config: LlamaConfig,
    device: Device,
}

impl RotaryEmbedding {
    pub(crate) fn new(config: &LlamaConfig, device: Device) -> Self {
        Self { config: config.clone(), device }
    }

    /// Makes the rotation of every token of whole texts, one after another; computed in float32, handed out in `kind`. Dynamic NTK
    /// stretches each text by its own length, as transformers does when it reads the text alone.
    pub(crate) fn of_texts(&self, lens: &[usize], kind: Kind) -> Result<Rotation, NnError> {
        if lens.iter().all(|&len| !self.config.is_stretched_at(len)) {
            let positions: Vec<i64> = lens.iter().flat_map(|&len| 0..len as i64).collect();
            return self.rotation(&self.angles(&positions, 0)?, kind);
        }
        let angles = lens.iter().map(|&len| self.angles(&(0..len as i64).collect::<Vec<_>>(), len));
        let angles = angles.collect::<Result<Vec<_>, NnError>>()?;
        self.rotation(&Tensor::f_cat(&angles, 0).op("cat")?, kind)
    }

    /// Makes the rotation of positions `0..capacity`, each as the last of a text that is continued: keys before it keep the
    /// rotation that they were given.
    pub(crate) fn of_continued(&self, capacity: usize, kind: Kind) -> Result<Rotation, NnError> {
        let plain = (0..capacity).take_while(|&position| !self.config.is_stretched_at(position + 1)).count();
        let angles = self.angles(&(0..plain as i64).collect::<Vec<_>>(), 0)?;
        let stretched = (plain..capacity).flat_map(|position| {
            let frequencies = self.config.inverse_frequencies_at(position + 1).into_iter();
            frequencies.map(move |frequency| position as f32 * frequency as f32)
        });
        let stretched = upload(&stretched.collect::<Vec<f32>>(), self.device).op("upload")?;
        let stretched = stretched.f_view([-1, self.config.head_dim / 2]).op("view")?;
        self.rotation(&Tensor::f_cat(&[angles, stretched], 0).op("cat")?, kind)
    }

    /// Multiplies positions by the frequencies in a text of `len` tokens: `[N, D/2]`.
    fn angles(&self, positions: &[i64], len: usize) -> Result<Tensor, NnError> {
        let frequencies: Vec<f32> =
            self.config.inverse_frequencies_at(len).into_iter().map(|f| f as f32).collect();
        let frequencies = upload(&frequencies, self.device).op("upload")?;
        let positions = upload(positions, self.device).op("upload")?;
        let positions = positions.f_to_kind(Kind::Float).op("to_kind")?.f_unsqueeze(1).op("unsqueeze")?;
        Ok(positions.f_mul(&frequencies).op("mul")?)
    }

    /// Computes cosines and sines of `angles`, `[N, D/2]`.
    fn rotation(&self, angles: &Tensor, kind: Kind) -> Result<Rotation, NnError> {
        let angles = angles.f_unsqueeze(1).op("unsqueeze")?; // [N, 1, D/2]
        let scaling = self.config.rope_scaling.as_ref().map_or(1.0, RopeScaling::attention_scaling);
        let scaled = |xs: Tensor| xs.f_mul_scalar(scaling).op("mul")?.f_to_kind(kind).op("to_kind");
        Ok(Rotation { cos: scaled(angles.f_cos().op("cos")?)?, sin: scaled(angles.f_sin().op("sin")?)? })
    }
}

impl LlamaConfig {
    /// Returns `theta^(-2i/D)` for each pair of rotated features, in radians per token, after stretching: `D/2` numbers. Those of
    /// texts within `max_position_embeddings`.
    pub fn inverse_frequencies(&self) -> Vec<f64> {
        self.inverse_frequencies_at(0)
    }

    /// Returns [`Self::inverse_frequencies`] in a text of `len` tokens, which count for dynamic NTK alone.
    pub(crate) fn inverse_frequencies_at(&self, len: usize) -> Vec<f64> {
        let width = self.head_dim as f64;
        let theta = match self.rope_scaling {
            Some(RopeScaling::Dynamic { factor }) if self.is_stretched_at(len) => {
                let ratio = len as f64 / self.max_position_embeddings as f64;
                self.rope_theta * (factor * ratio - (factor - 1.0)).powf(width / (width - 2.0))
            }
            _ => self.rope_theta,
        };
        let mut frequencies: Vec<f64> =
            (0..self.head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / width)).collect();
        if let Some(scaling) = &self.rope_scaling {
            scaling.stretch(&mut frequencies, theta, width);
        }
        frequencies
    }

    /// Tells whether dynamic NTK stretches a text of `len` tokens.
    pub(crate) fn is_stretched_at(&self, len: usize) -> bool {
        let is_dynamic = matches!(self.rope_scaling, Some(RopeScaling::Dynamic { .. }));
        is_dynamic && len as i64 > self.max_position_embeddings
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_depend_on_the_distance_of_positions_alone() {
        let config = LlamaConfig::new(8, 16, 32, 1, 1);
        let rope = RotaryEmbedding::new(&config, Device::Cpu).of_continued(110, Kind::Float).unwrap();
        tch::manual_seed(0);
        let heads = Tensor::randn([1, 1, 16], (Kind::Float, Device::Cpu));
        let other = Tensor::randn([1, 1, 16], (Kind::Float, Device::Cpu));
        let score = |p: i64, q: i64| {
            let at = |p: i64| rope.span(p, 1).unwrap().apply(&heads, &other).unwrap();
            let ([query, _], [_, key]) = (at(p), at(q));
            (query * key).sum(Kind::Float).double_value(&[])
        };
        assert!((score(3, 7) - score(103, 107)).abs() < 1e-4);
        assert!((score(3, 7) - score(3, 9)).abs() > 1e-4);
    }
}
