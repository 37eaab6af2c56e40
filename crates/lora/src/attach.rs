//! Building the parts of an adapter into a model.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nn_core::{LinearOp, Mode, ModulePath, NnError, TorchContext, VisitLinears, name_seed};
use tch::{Kind, Tensor, no_grad};

use crate::LoraConfig;
use crate::embedding::AdaptedEmbedding;
use crate::error::LoraError;
use crate::initial::Initial;
use crate::linear::AdaptedLinear;
use crate::parts::{AdapterParts, Replacement};
use crate::replaced::{OwnLinear, ReplacedEmbedding, ReplacedLinear};
use crate::variant::WeightCache;

/// Wraps the modules of `model` that `parts` are for. What fails, fails before anything is changed.
///
/// # Errors
/// [`LoraError::UnknownTarget`] when the model lacks one of them, and [`LoraError::Nn`] when libtorch fails.
pub(crate) fn attach(
    model: &mut dyn VisitLinears,
    config: &LoraConfig,
    parts: &AdapterParts,
    enabled: &Arc<AtomicBool>,
) -> Result<(), LoraError> {
    let own = OwnTensors::prepare(model, parts)?;
    model.visit_linears_mut(&mut |path, slot| {
        if let Some((_, own)) = own.linears.iter().find(|(of, _)| of == path) {
            let enabled = Arc::clone(enabled);
            let own = own.shallow_clone();
            slot.wrap(|base| Box::new(ReplacedLinear { base, own, enabled, frozen: OnceCell::new() }));
        }
        if let Some(layer) = parts.layers.iter().find(|layer| layer.path == *path) {
            slot.wrap(|base| {
                Box::new(AdaptedLinear {
                    base,
                    layer: layer.shallow_clone(),
                    dropout: config.lora_dropout,
                    stream: name_seed(0, path.as_str()),
                    enabled: Arc::clone(enabled),
                    cache: WeightCache::default(),
                })
            });
        }
    });
    model.visit_embeddings_mut(&mut |path, slot| {
        if let Some((_, table)) = own.tables.iter().find(|(of, _)| of == path) {
            let (table, enabled) = (table.shallow_clone(), Arc::clone(enabled));
            slot.wrap(|base| Box::new(ReplacedEmbedding { base, table, enabled }));
        }
        if let Some(layer) = parts.layers.iter().find(|layer| layer.path == *path) {
            let (layer, enabled) = (layer.shallow_clone(), Arc::clone(enabled));
            slot.wrap(|base| Box::new(AdaptedEmbedding { base, layer, enabled }));
        }
    });
    model.visit_norms_mut(&mut |path, weight| {
        if let Some((_, own)) = own.norms.iter().find(|(of, _)| of == path) {
            *weight = own.shallow_clone();
        }
    });
    Ok(())
}

/// Gives the layers of `parts` what an initialisation took out of the base, which `model` holds.
pub(crate) fn on_base(model: &mut dyn VisitLinears, parts: &mut AdapterParts) -> Result<(), LoraError> {
    let mut outcome = Ok(());
    model.visit_linears_mut(&mut |path, slot| {
        let layers = parts.layers.iter_mut();
        let mut layers = layers.filter(|layer| layer.initial() != Initial::Nothing && layer.path == *path);
        if outcome.is_ok()
            && let Some(layer) = layers.next()
        {
            let weight = slot.get().dense_weight(Kind::Float).map_err(LoraError::from);
            outcome = weight.and_then(|weight| layer.on_base(&weight)).map(|changed| *layer = changed);
        }
    });
    outcome
}

/// The tensors that stand in place of the base's, on its device.
#[derive(Debug, Default)]
struct OwnTensors {
    linears: Vec<(ModulePath, OwnLinear)>,
    tables: Vec<(ModulePath, Tensor)>,
    norms: Vec<(ModulePath, Tensor)>,
}

impl OwnTensors {
    fn prepare(model: &mut dyn VisitLinears, parts: &AdapterParts) -> Result<Self, LoraError> {
        let mut own = Self::default();
        let mut known = Vec::new();
        let mut failure = None;
        let replacement = |path: &ModulePath, part: &str| {
            parts.replaced.iter().find(|it| it.module() == (path.as_str(), part))
        };
        model.visit_linears_mut(&mut |path, slot| {
            known.push(path.clone());
            let (weight, bias) = (replacement(path, "weight"), replacement(path, "bias"));
            if weight.is_none() && bias.is_none() {
                return;
            }
            match own_linear(slot.get(), weight, bias) {
                Ok(layer) => own.linears.push((path.clone(), layer)),
                Err(error) => failure = Some(error),
            }
        });
        model.visit_embeddings_mut(&mut |path, slot| {
            known.push(path.clone());
            if let Some(weight) = replacement(path, "weight") {
                let op = slot.get();
                match own_weight(weight, op.device(), &|| op.dense_weight(Kind::Float)) {
                    Ok(table) => own.tables.push((path.clone(), table)),
                    Err(error) => failure = Some(error),
                }
            }
        });
        model.visit_norms_mut(&mut |path, weight| {
            known.push(path.clone());
            if let Some(own_norm) = replacement(path, "weight") {
                // One that trains stays the leaf it is; others take the base's precision.
                let values = &own_norm.values;
                let values = if values.requires_grad() {
                    Ok(values.shallow_clone())
                } else {
                    values.f_to_device(weight.device()).and_then(|it| it.f_to_kind(weight.kind())).op("to")
                };
                match values {
                    Ok(values) => own.norms.push((path.clone(), values)),
                    Err(error) => failure = Some(error.into()),
                }
            }
        });
        if let Some(error) = failure {
            return Err(error.into());
        }
        let layers = parts.layers.iter().map(|layer| layer.path.as_str());
        let mut wanted = layers.chain(parts.replaced.iter().map(|it| it.module().0));
        match wanted.find(|path| !known.iter().any(|known| known.as_str() == *path)) {
            None => Ok(own),
            Some(stray) => {
                let known = known.iter().map(ModulePath::as_str).collect::<Vec<_>>().join(", ");
                Err(LoraError::UnknownTarget { target: stray.to_owned(), known })
            }
        }
    }
}

fn own_linear(
    op: &dyn LinearOp,
    weight: Option<&Replacement>,
    bias: Option<&Replacement>,
) -> Result<OwnLinear, NnError> {
    let weight =
        weight.map(|it| own_weight(it, op.device(), &|| op.dense_weight(Kind::Float))).transpose()?;
    // A layer that keeps its bias beside a new weight keeps it as a tensor of its own.
    let old = no_grad(|| base_bias(op))?;
    let has_bias = old.f_count_nonzero(None).op("count_nonzero")?.int64_value(&[]) != 0;
    let bias = match bias {
        Some(bias) => Some((bias.values.f_to_device(op.device()).op("to_device")?, old)),
        None if has_bias && weight.is_some() => Some((old.shallow_clone(), old)),
        None => None,
    };
    Ok(OwnLinear { weight, bias })
}

/// Returns the bias of a layer, `[out]`, float32: its output for an input of zeros.
pub(crate) fn base_bias(op: &dyn LinearOp) -> Result<Tensor, NnError> {
    let of_kind = |kind| -> Result<Tensor, NnError> {
        let zeros = Tensor::f_zeros([1, op.in_features()], (kind, op.device())).op("zeros")?;
        let out = op.forward(&zeros, Mode::Eval)?;
        Ok(out.f_view(-1).op("view")?.f_to_kind(Kind::Float).op("to_kind")?)
    };
    // A layer takes inputs of its own kind alone, and does not say which that is.
    of_kind(Kind::Float).or_else(|_| of_kind(Kind::BFloat16)).or_else(|_| of_kind(Kind::Half))
}

/// Returns the whole weight with its replacement, on the device of the module.
fn own_weight(
    replacement: &Replacement,
    device: tch::Device,
    base: &dyn Fn() -> Result<Tensor, NnError>,
) -> Result<Tensor, NnError> {
    let values = &replacement.values;
    let Some(rows) = &replacement.rows else {
        return Ok(values.f_to_device(device).op("to_device")?);
    };
    no_grad(|| {
        let rows = Tensor::f_from_slice(rows).op("from_slice")?.f_to_device(device).op("to_device")?;
        let values = values.f_to_device(device).and_then(|it| it.f_to_kind(Kind::Float)).op("to")?;
        Ok(base()?.f_index_copy(0, &rows, &values).op("index_copy")?)
    })
}
