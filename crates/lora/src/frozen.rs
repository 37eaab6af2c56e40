//! Adapters as they lie in their files, without a model around them.

use std::path::Path;

use nn_core::{ModulePath, TorchContext, VisitLinears};

use crate::files::Saved;
use crate::target::resolve;
use crate::{AdapterLayer, LoraAdapters, LoraConfig, LoraError};

/// A linear layer that an adapter may be for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearShape {
    /// As the checkpoint names it.
    pub path: ModulePath,
    /// Width of what goes in.
    pub in_features: i64,
    /// Width of what comes out.
    pub out_features: i64,
}

/// Reads the adapter in `dir` for a model whose linear layers are `linears`, in their order. The factors look at the
/// mapped file, in the precision they are stored in.
///
/// # Errors
/// [`LoraError`] when the directory is no adapter, or not one for this model: a target that matches nothing, a tensor
/// that is missing or taken by no layer, another shape, a factor that is not finite, a `lora_B` that is all zero.
pub fn read_adapter(
    dir: &Path,
    linears: &[LinearShape],
) -> Result<(LoraConfig, Vec<AdapterLayer>), LoraError> {
    let config = LoraConfig::from_dir(dir)?;
    let paths: Vec<ModulePath> = linears.iter().map(|linear| linear.path.clone()).collect();
    let targets = resolve(&config, &paths)?;
    let saved = Saved::open(dir)?;
    let mut layers = Vec::with_capacity(targets.len());
    let mut zero = Vec::new();
    let expected = 2 * targets.len();
    saved.expect(
        targets.iter().flat_map(|target| ["A", "B"].map(|factor| AdapterLayer::key_of(&target.path, factor))),
        expected,
    )?;
    for (target, linear) in
        targets.iter().filter_map(|target| Some((target, linears.iter().find(|l| l.path == target.path)?)))
    {
        let factor = |name: &str, shape: [i64; 2]| {
            let key = AdapterLayer::key_of(&target.path, name);
            let tensor = saved.take(&key)?;
            if tensor.size() != shape {
                return Err(LoraError::Shape { name: key, actual: tensor.size(), expected: shape.to_vec() });
            }
            if tensor.f_isfinite().op("isfinite")?.f_all().op("all")?.int64_value(&[]) == 0 {
                return Err(LoraError::NotFinite { path: saved.path.clone(), name: key });
            }
            Ok(tensor)
        };
        let a = factor("A", [target.r, linear.in_features])?;
        let b = factor("B", [linear.out_features, target.r])?;
        if b.f_count_nonzero(None).op("count_nonzero")?.int64_value(&[]) == 0 {
            zero.push(AdapterLayer::key_of(&target.path, "B"));
        }
        layers.push(AdapterLayer { path: target.path.clone(), a, b, scale: target.scale });
    }
    if let Some(first) = zero.first().cloned() {
        let (path, expected) = (saved.path, layers.len());
        return Err(LoraError::ZeroB { path, count: zero.len(), expected, first });
    }
    Ok((config, layers))
}

impl LoraAdapters {
    /// Wraps the layers of `model` that `layers` names, with these factors as they are.
    ///
    /// # Errors
    /// [`LoraError::UnknownTarget`] when the model lacks one of them.
    pub fn attach_layers(
        model: &mut dyn VisitLinears,
        config: &LoraConfig,
        layers: &[AdapterLayer],
    ) -> Result<Self, LoraError> {
        let mut paths = Vec::new();
        model.visit_linears_mut(&mut |path, _| paths.push(path.clone()));
        let mut ordered = Vec::with_capacity(layers.len());
        for path in &paths {
            ordered.extend(layers.iter().find(|layer| layer.path == *path).map(AdapterLayer::shallow_clone));
        }
        if let Some(stray) = layers.iter().find(|layer| !paths.contains(&layer.path)) {
            let known = paths.iter().map(ModulePath::as_str).collect::<Vec<_>>().join(", ");
            return Err(LoraError::UnknownTarget { target: stray.path.to_string(), known });
        }
        Ok(Self::wrap(model, config, ordered))
    }
}
