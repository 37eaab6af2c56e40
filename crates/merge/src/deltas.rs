//! Sums of adapters.

use std::collections::BTreeMap;

use lora::{AdapterLayer, AdapterParts, Replacement};
use nn_core::TorchContext;
use tch::{Kind, Tensor};

use crate::error::MergeError;

/// An adapter and how much of it is wanted.
#[derive(Debug)]
pub struct WeightedAdapter {
    /// Its layers, and the tensors that it puts in place of the base's.
    pub parts: AdapterParts,
    /// 1 for all of it.
    pub weight: f64,
}

/// Ways of combining several adapters into one (`peft/tuners/lora/model.py`, `add_weighted_adapter`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Combination {
    /// Factors beside each other: `ΔW` is the weighted sum of their deltas, to the last bit of rounding. Ranks add up.
    Cat,
    /// Factors added: `B = Σ √|wᵢsᵢ| Bᵢ`, `A = Σ sign(wᵢsᵢ) √|wᵢsᵢ| Aᵢ`, for adapters of one rank. Cheaper than
    /// [`Combination::Cat`], and not the sum: every `B` meets every `A`.
    Linear,
}

impl Combination {
    /// Returns PEFT's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cat => "cat",
            Self::Linear => "linear",
        }
    }
}

/// Low-rank deltas by the path of their layer, and tensors in place of the base's by name.
#[derive(Debug)]
pub struct Deltas {
    parts: BTreeMap<String, Vec<(f64, AdapterLayer)>>,
    replaced: BTreeMap<String, Replacement>,
    combination: Combination,
    scale: f64,
}

impl Deltas {
    /// Combines `adapters`, and multiplies the result by `scale`.
    ///
    /// # Errors
    /// [`MergeError::Value`] for a weight or scale that is 0 or no number; [`MergeError::Combination`] when
    /// [`Combination::Linear`] meets different ranks, or a variant of LoRA that is no sum, or a whole tensor, is weighted or
    /// combined.
    pub fn new(
        adapters: Vec<WeightedAdapter>,
        combination: Combination,
        scale: f64,
    ) -> Result<Self, MergeError> {
        let mut parts: BTreeMap<String, Vec<(f64, AdapterLayer)>> = BTreeMap::new();
        let check = |field, value: f64| {
            if value.is_finite() && value != 0.0 {
                return Ok(());
            }
            let expected = "it has to be a number other than 0".to_owned();
            Err(MergeError::Value { field, actual: value.to_string(), expected })
        };
        check("scale", scale)?;
        let mut replaced = BTreeMap::new();
        for WeightedAdapter { parts: adapter, weight } in adapters {
            check("weight", weight)?;
            for layer in adapter.layers {
                parts.entry(layer.path.to_string()).or_default().push((weight, layer));
            }
            for replacement in adapter.replaced {
                let name = replacement.name.clone();
                if replaced.insert(name.clone(), replacement).is_some() || (weight, scale) != (1.0, 1.0) {
                    return Err(MergeError::Combination {
                        combination: combination.name(),
                        path: name,
                        actual: "an adapter has a whole tensor of its own (modules_to_save, bias or rows of tokens), \
                                 which merges alone, with weight and scale 1"
                            .to_owned(),
                        expected: "low-rank changes",
                    });
                }
            }
        }
        let deltas = Self { parts, replaced, combination, scale };
        deltas.check_variants()?;
        deltas.check_ranks()?;
        Ok(deltas)
    }

    /// Checks that an adapter whose delta depends on the base is alone and in full.
    fn check_variants(&self) -> Result<(), MergeError> {
        for (path, parts) in &self.parts {
            let Some((_, layer)) = parts.iter().find(|(_, layer)| !layer.is_additive()) else { continue };
            if parts.len() == 1 && (parts[0].0, self.scale) == (1.0, 1.0) {
                continue;
            }
            return Err(MergeError::Combination {
                combination: self.combination.name(),
                path: path.clone(),
                actual: format!(
                    "an adapter is a `{}`, which merges alone, with weight and scale 1",
                    layer.variant()
                ),
                expected: "plain LoRA adapters",
            });
        }
        Ok(())
    }

    fn check_ranks(&self) -> Result<(), MergeError> {
        let rank = |(_, layer): &(f64, AdapterLayer)| layer.a().size().first().copied();
        for (path, parts) in self.parts.iter().filter(|_| self.combination == Combination::Linear) {
            if parts.iter().any(|part| rank(part) != rank(&parts[0])) {
                let ranks: Vec<String> = parts.iter().filter_map(rank).map(|rank| rank.to_string()).collect();
                return Err(MergeError::Combination {
                    combination: self.combination.name(),
                    path: path.clone(),
                    actual: format!("they are {}", ranks.join(" and ")),
                    expected: "adapters of one rank",
                });
            }
        }
        Ok(())
    }

    /// Lists the names of the tensors that change or are replaced.
    pub fn names(&self) -> impl Iterator<Item = String> {
        // The other half of a tied pair has no tensor of its own, as long as the two are one.
        let is_twin = |parts: &[(f64, AdapterLayer)]| parts.iter().all(|(_, layer)| layer.is_twin());
        let layers = self.parts.iter().filter(move |(_, parts)| !is_twin(parts));
        let weights = layers.map(|(path, _)| format!("{path}.weight"));
        let biased = self.parts.iter().filter(|(_, parts)| parts.iter().any(|(_, layer)| layer.has_bias()));
        let biases = biased.map(|(path, _)| format!("{path}.bias"));
        let replaced = self.replaced.iter().filter(|(_, replacement)| !replacement.is_twin());
        weights.chain(biases).chain(replaced.map(|(name, _)| name.clone()))
    }

    /// Lists the paths of the layers that change.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.parts.keys().map(String::as_str)
    }

    /// Returns what stands in place of the base's tensor `name`.
    pub fn replaced(&self, name: &str) -> Option<&Replacement> {
        self.replaced.get(name)
    }

    /// Returns the combined adapter of the layer at `path`.
    ///
    /// # Errors
    /// [`MergeError::Nn`] when libtorch refuses.
    pub fn layer(&self, path: &str) -> Result<Option<AdapterLayer>, MergeError> {
        let Some(parts) = self.parts.get(path) else { return Ok(None) };
        if let [(weight, layer)] = parts.as_slice() {
            return Ok(Some(layer.with_scale(layer.scale() * weight * self.scale)));
        }
        let (mut factors_a, mut factors_b) = (Vec::new(), Vec::new());
        for (weight, layer) in parts {
            let amount = weight * layer.scale();
            let (of_a, of_b) = match self.combination {
                Combination::Cat => (amount, 1.0),
                Combination::Linear => (amount.abs().sqrt().copysign(amount), amount.abs().sqrt()),
            };
            let times = |factor: &Tensor, by: f64| -> Result<Tensor, MergeError> {
                let factor = factor.f_to_kind(Kind::Float).op("to_kind")?;
                Ok(factor.f_mul_scalar(by).op("mul_scalar")?)
            };
            factors_a.push(times(layer.a(), of_a)?);
            factors_b.push(times(layer.b(), of_b)?);
        }
        let join = |factors: Vec<Tensor>, dim| -> Result<Tensor, MergeError> {
            if self.combination == Combination::Cat {
                return Ok(Tensor::f_cat(&factors, dim).op("cat")?);
            }
            let mut factors = factors.into_iter();
            let first = factors.next().unwrap_or_default();
            factors.try_fold(first, |sum, factor| Ok(sum.f_add(&factor).op("add")?))
        };
        let (a, b) = (join(factors_a, 0)?, join(factors_b, 1)?);
        Ok(Some(AdapterLayer::low_rank(parts[0].1.path.clone(), a, b, self.scale)))
    }

    /// Returns the combined adapter as one, to attach to a model.
    ///
    /// # Errors
    /// The errors of [`Deltas::layer`].
    pub fn parts(&self) -> Result<AdapterParts, MergeError> {
        let mut layers = Vec::with_capacity(self.parts.len());
        for path in self.parts.keys() {
            layers.extend(self.layer(path)?);
        }
        Ok(AdapterParts {
            layers,
            replaced: self.replaced.values().map(Replacement::shallow_clone).collect(),
        })
    }
}
