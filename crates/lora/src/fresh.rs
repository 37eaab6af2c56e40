//! The tensors of a new adapter.

use nn_core::{ModulePath, NnError, TorchContext, VisitLinears, name_seed};
use tch::{Device, Kind, Tensor, no_grad};

use crate::LoraConfig;
use crate::attach::base_bias;
use crate::error::LoraError;
use crate::initial::Initial;
use crate::layer::AdapterLayer;
use crate::module::{ModelShape, ModuleKind, ModuleShape};
use crate::parts::Replacement;
use crate::target::{HEAD, Target, is_saved, names};
use crate::variant::{LayerTensors, NewLayer};

/// Draws new layers that train, in the model's order.
pub(crate) fn fresh_layers(
    model: &mut dyn VisitLinears,
    targets: &[Target],
    seed: u64,
) -> Result<Vec<AdapterLayer>, LoraError> {
    let mut layers = Vec::with_capacity(targets.len());
    let mut failure = None;
    let target = |path: &ModulePath| targets.iter().find(|target| target.path == *path);
    let mut keep = |layer: Result<AdapterLayer, NnError>| match layer {
        Ok(layer) => layers.push(layer),
        Err(error) => failure = Some(error),
    };
    model.visit_linears_mut(&mut |path, slot| {
        if let Some(target) = target(path) {
            let op = slot.get();
            keep(fresh(target, op.device(), &|| op.dense_weight(Kind::Float), seed));
        }
    });
    model.visit_embeddings_mut(&mut |path, slot| {
        if let Some(target) = target(path) {
            let op = slot.get();
            keep(fresh(target, op.device(), &|| op.dense_weight(Kind::Float), seed));
        }
    });
    match failure {
        Some(error) => Err(error.into()),
        None => Ok(layers),
    }
}

fn fresh(
    target: &Target,
    device: Device,
    weight: &dyn Fn() -> Result<Tensor, NnError>,
    seed: u64,
) -> Result<AdapterLayer, NnError> {
    let Target { path, variant, shape, scale, .. } = target;
    let seed = name_seed(seed, path.as_str());
    let mut tensors = variant.fresh(&NewLayer { shape: *shape, seed, device, weight })?;
    for tensor in &mut tensors {
        *tensor = tensor.f_set_requires_grad(true).op("set_requires_grad")?;
    }
    let tensors = LayerTensors { tensors, scale: *scale };
    let (path, variant) = (path.clone(), *variant);
    Ok(AdapterLayer { path, variant, tensors, initial: Initial::Nothing, is_twin: false })
}

/// Copies the modules to save, to train: float32 leaves. `vocab_size` is the number of rows that embedding and head get.
pub(crate) fn fresh_replacements(
    model: &mut dyn VisitLinears,
    config: &LoraConfig,
    shape: &ModelShape,
    vocab_size: Option<i64>,
) -> Result<Vec<Replacement>, LoraError> {
    let mut copies: Vec<(String, Result<Tensor, NnError>)> = Vec::new();
    let is_saved = |path: &ModulePath| is_saved(config, path.as_str());
    model.visit_linears_mut(&mut |path, slot| {
        if is_saved(path) {
            copies.push((format!("{path}.weight"), slot.get().dense_weight(Kind::Float)));
            let bias = no_grad(|| base_bias(slot.get()));
            let has_bias = bias
                .as_ref()
                .is_ok_and(|bias| bias.f_count_nonzero(None).is_ok_and(|it| it.int64_value(&[]) != 0));
            if has_bias {
                copies.push((format!("{path}.bias"), bias));
            }
        }
    });
    model.visit_embeddings_mut(&mut |path, slot| {
        if is_saved(path) {
            copies.push((format!("{path}.weight"), slot.get().dense_weight(Kind::Float)));
        }
    });
    model.visit_norms_mut(&mut |path, weight| {
        if is_saved(path) {
            copies.push((format!("{path}.weight"), Ok(weight.shallow_clone())));
        }
    });
    let mut replaced = Vec::with_capacity(copies.len());
    for (name, tensor) in copies {
        let tensor = tensor?.f_detach().op("detach")?.f_to_dtype(Kind::Float, false, true).op("to")?;
        let path = name.strip_suffix(".weight").unwrap_or_default();
        let module = shape.get(path);
        let of_vocabulary = module.is_some_and(|it| it.kind == ModuleKind::Embedding) || names(path, HEAD);
        let tensor = match vocab_size.filter(|_| of_vocabulary) {
            Some(vocab_size) => with_rows(&tensor, vocab_size)?,
            None => tensor,
        };
        let leaf = tensor.f_contiguous().op("contiguous")?.f_set_requires_grad(true).op("requires_grad")?;
        replaced.push(Replacement::whole(name, leaf));
    }
    if let (true, Some((embedding, head))) = (config.ensure_weight_tying, &shape.tied) {
        let (of_embedding, of_head) = (format!("{embedding}.weight"), format!("{head}.weight"));
        replaced.retain(|it| it.name != of_head);
        let twin = replaced.iter().find(|it| it.name == of_embedding).map(|it| it.twin(of_head));
        replaced.extend(twin);
    }
    if let Some(vocab_size) = vocab_size {
        let of_vocabulary =
            |module: &&ModuleShape| module.kind == ModuleKind::Embedding || names(module.path.as_str(), HEAD);
        for module in shape.modules.iter().filter(of_vocabulary) {
            let is_resized = replaced.iter().any(|it| it.name == format!("{}.weight", module.path));
            if !is_resized && module.rows != vocab_size {
                return Err(LoraError::Config {
                    field: "modules_to_save",
                    actual: config.modules_to_save.clone().unwrap_or_default().join(", "),
                    expected: "a vocabulary that grows needs embed_tokens and lm_head in it",
                });
            }
        }
    }
    Ok(replaced)
}

/// Adds rows up to `count`, each the mean of those there are.
fn with_rows(table: &Tensor, count: i64) -> Result<Tensor, LoraError> {
    let rows = table.size()[0];
    if count < rows {
        return Err(LoraError::Vocabulary { embedding: rows, head: count });
    }
    if count == rows {
        return Ok(table.shallow_clone());
    }
    let mean = table.f_mean_dim(0i64, true, Kind::Float).op("mean")?; // [1, C]
    let added = mean.f_expand([count - rows, table.size()[1]], false).op("expand")?;
    Ok(Tensor::f_cat(&[table.shallow_clone(), added], 0).op("cat")?)
}
