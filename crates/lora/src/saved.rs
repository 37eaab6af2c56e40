//! Adapter directories as PEFT writes and reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nn_core::{ModulePath, NnError, TorchContext, UnknownSettings, VisitLinears};
use tch::{Kind, Tensor};
use weights::{TensorStore, check_digests};

use crate::config::{ADAPTER_CONFIG, LoraConfig, TokenIndices};
use crate::error::LoraError;
use crate::folder::{ADAPTER_WEIGHTS, find_adapter};
use crate::initial::Initial;
use crate::key::{TOKEN_ROWS, canonical, is_of_base, tensor_name};
use crate::layer::AdapterLayer;
use crate::module::{ModelShape, ModuleKind, ModuleShape};
use crate::parts::{AdapterParts, Replacement};
use crate::target::{HEAD, Target, Unmatched, is_saved, names, resolve};
use crate::variant::LayerTensors;

/// Name of that file before PEFT wrote safetensors.
const ADAPTER_WEIGHTS_BIN: &str = "adapter_model.bin";

/// A saved adapter: configuration and tensors, not attached to a model.
#[derive(Debug)]
pub struct Adapter {
    config: LoraConfig,
    path: PathBuf,
    /// By the names PEFT gives them today; they look at the mapped file.
    tensors: BTreeMap<String, Tensor>,
    /// Those that PEFT wrote beside their factors though they are the base's: embeddings and heads.
    of_base: BTreeSet<String>,
}

impl Adapter {
    /// Reads the adapter in `dir`, or in the only folder of it that holds one. The tensors look at the mapped file, in the
    /// precision they are stored in.
    ///
    /// # Errors
    /// [`LoraError`] when the directory is no adapter, asks for something that is not supported or unknown, or holds a tensor
    /// that is not finite.
    pub fn read(dir: &Path) -> Result<Self, LoraError> {
        Self::read_with(dir, UnknownSettings::Refuse)
    }

    /// Reads an adapter as [`Adapter::read`] does, and takes a stance on unknown keys of its configuration.
    ///
    /// # Errors
    /// Those of [`Adapter::read`].
    pub fn read_with(dir: &Path, unknown: UnknownSettings) -> Result<Self, LoraError> {
        let dir = find_adapter(dir)?;
        // A checkpoint of a run has the digests of its files beside them.
        check_digests(&dir, &[ADAPTER_CONFIG])?;
        let config = LoraConfig::from_dir_with(&dir, unknown)?;
        let safetensors = dir.join(ADAPTER_WEIGHTS);
        let bin = dir.join(ADAPTER_WEIGHTS_BIN);
        let path = if !safetensors.exists() && bin.exists() { bin } else { safetensors };
        let store = TensorStore::open_file(&path)?;
        let (mut tensors, mut of_base) = (BTreeMap::new(), BTreeSet::new());
        for stored in store.names() {
            let Some(name) = canonical(stored) else { continue };
            let tensor = store.tensor(stored)?;
            if tensor.f_isfinite().op("isfinite")?.f_all().op("all")?.int64_value(&[]) == 0 {
                return Err(LoraError::NotFinite { path, name });
            }
            if is_of_base(stored) {
                of_base.insert(name.clone());
            }
            tensors.insert(name, tensor);
        }
        Ok(Self { config, path, tensors, of_base })
    }

    /// Writes an adapter of these layers into `dir`: `adapter_config.json` and `adapter_model.safetensors`, each atomically.
    ///
    /// # Errors
    /// [`LoraError`] when the disk refuses.
    pub fn write(dir: &Path, config: &LoraConfig, layers: &[AdapterLayer]) -> Result<(), LoraError> {
        let layers: Vec<AdapterLayer> = layers.iter().map(AdapterLayer::shallow_clone).collect();
        AdapterParts::from(layers).write(dir, config)
    }

    /// Returns the hyper-parameters.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Returns what the adapter makes of a model of this shape.
    ///
    /// # Errors
    /// [`LoraError`] when the adapter is not one for this model: no target matches, a tensor is missing, taken by no module, or
    /// of another shape; [`LoraError::InitialOverQuantised`] for an adapter of a part of the base where that is quantised.
    pub fn parts(&self, model: &ModelShape) -> Result<AdapterParts, LoraError> {
        let mut replaced = self.replaced(model)?;
        // Factors are as long as what replaces the base.
        let mut model = model.clone();
        for module in &mut model.modules {
            let weight = format!("{}.weight", module.path);
            let whole = replaced.iter().find(|it| it.name == weight && it.rows.is_none());
            if let Some(rows) = whole.and_then(|it| it.values.size().first().copied()) {
                module.rows = rows;
            }
        }
        let targets = resolve(&self.config, &model, Unmatched::Note)?;
        let mut expected: Vec<(String, Vec<i64>)> = targets.iter().flat_map(Target::file_tensors).collect();
        let in_layers = expected.len();
        expected
            .extend(replaced.iter().filter(|it| !it.is_twin).map(|it| (it.file_name(), it.values.size())));
        expected.extend(self.twin_factors(&model));
        let mut tensors = self.take(expected)?;
        tensors.truncate(in_layers);
        let mut tensors = tensors.into_iter();
        let initial = Initial::of(&self.config.init_lora_weights)?;
        if let (true, false, Some(target)) =
            (model.is_quantized, initial == Initial::Nothing, targets.first())
        {
            return Err(LoraError::InitialOverQuantised { path: target.path.to_string() });
        }
        let mut layers = Vec::with_capacity(targets.len());
        for target in targets {
            let own = tensors.by_ref().take(target.variant.tensors().len());
            let own = target.variant.tensors().iter().zip(own).map(|(spec, tensor)| spec.turned(&tensor));
            let tensors = LayerTensors { tensors: own.collect::<Result<_, _>>()?, scale: target.scale };
            let initial = if target.kind == ModuleKind::Linear { initial } else { Initial::Nothing };
            layers.push(AdapterLayer {
                path: target.path,
                variant: target.variant,
                tensors,
                initial,
                is_twin: false,
            });
        }
        self.tie(&model, &mut replaced, &mut layers);
        let parts = AdapterParts { layers, replaced };
        check_vocabulary(&model, &parts)?;
        Ok(parts)
    }

    /// Returns the parts as [`Adapter::parts`] does, and checks that each layer does something.
    ///
    /// # Errors
    /// The errors of [`Adapter::parts`]; [`LoraError::ZeroB`] when a `lora_B` is all zero.
    pub fn trained_parts(&self, model: &ModelShape) -> Result<AdapterParts, LoraError> {
        let parts = self.parts(model)?;
        self.check_trained()?;
        Ok(parts)
    }

    /// Returns the tensors that stand in place of the base's: `modules_to_save`, biases, embeddings that were saved beside their
    /// adapter, rows of embeddings.
    fn replaced(&self, model: &ModelShape) -> Result<Vec<Replacement>, LoraError> {
        let mut replaced = Vec::new();
        for module in &model.modules {
            let weight = format!("{}.weight", module.path);
            let in_file = self.tensors.get(&tensor_name(&weight));
            if in_file.is_none() && is_saved(&self.config, module.path.as_str()) {
                let (path, first) = (self.path.clone(), tensor_name(&weight));
                return Err(LoraError::MissingKeys { path, count: 1, expected: self.tensors.len(), first });
            }
            if let Some(values) = in_file {
                let (actual, expected) = (values.size(), module.weight_shape());
                // A vocabulary may have changed; anything else may not.
                let of_vocabulary = module.kind == ModuleKind::Embedding || is_head(&module.path);
                if actual.len() != expected.len()
                    || actual[1..] != expected[1..]
                    || (!of_vocabulary && actual != expected)
                {
                    return Err(LoraError::Shape { name: tensor_name(&weight), actual, expected });
                }
                replaced.push(Replacement::whole(weight.clone(), values.shallow_clone()));
            }
            let bias = format!("{}.bias", module.path);
            if let Some(values) = self.tensors.get(&tensor_name(&bias)) {
                let (actual, expected) = (values.size(), vec![module.rows]);
                if actual != expected || module.kind != ModuleKind::Linear {
                    return Err(LoraError::Shape { name: tensor_name(&bias), actual, expected });
                }
                replaced.push(Replacement::whole(bias, values.shallow_clone()));
            }
            if let Some(rows) = self.token_rows(module.path.as_str(), module.kind) {
                let name = tensor_name(&format!("{}.{TOKEN_ROWS}", module.path));
                if let Some(values) = self.tensors.get(&name) {
                    let (actual, expected) = (values.size(), vec![rows.len() as i64, module.columns]);
                    if actual != expected {
                        return Err(LoraError::Shape { name, actual, expected });
                    }
                    let whole = replaced.iter().any(|it| it.name == weight);
                    if whole || rows.iter().any(|row| !(0..module.rows).contains(row)) {
                        return Err(LoraError::TokenRows { path: self.path.clone(), rows: module.rows });
                    }
                    let (rows, values) = (Some(rows), values.shallow_clone());
                    replaced.push(Replacement { name: weight, rows, values, is_twin: false });
                }
            }
        }
        Ok(replaced)
    }

    /// Returns the factors of a head that is tied to an adapted embedding, which PEFT writes once more.
    fn twin_factors(&self, model: &ModelShape) -> Vec<(String, Vec<i64>)> {
        let Some((_, head)) = model.tied.as_ref().filter(|_| self.config.ensure_weight_tying) else {
            return Vec::new();
        };
        let names = ["lora_A.weight", "lora_B.weight"].map(|suffix| tensor_name(&format!("{head}.{suffix}")));
        let in_file =
            names.into_iter().filter_map(|name| Some((name.clone(), self.tensors.get(&name)?.size())));
        in_file.collect()
    }

    /// Returns the rows of `trainable_token_indices` that are for the module at `path`.
    fn token_rows(&self, path: &str, kind: ModuleKind) -> Option<Vec<i64>> {
        match self.config.trainable_token_indices.as_ref()? {
            TokenIndices::OfEmbedding(rows) => (kind == ModuleKind::Embedding).then(|| rows.clone()),
            TokenIndices::ByModule(modules) => {
                modules.iter().find(|(name, _)| path.ends_with(name.as_str())).map(|(_, rows)| rows.clone())
            }
        }
    }

    /// Does to the other half of a tied pair what PEFT does: what belongs to the base, and rows of tokens, change both; a copy in
    /// `modules_to_save` and low-rank factors change both with `ensure_weight_tying` alone.
    fn tie(&self, model: &ModelShape, replaced: &mut Vec<Replacement>, layers: &mut Vec<AdapterLayer>) {
        let Some((embedding, head)) = &model.tied else { return };
        let weight = |path: &ModulePath| format!("{path}.weight");
        let at = |path| replaced.iter().position(|it| it.name == weight(path));
        if let (Some(one), Some(other)) = (at(embedding), at(head)) {
            let (a, b) = (&replaced[one], &replaced[other]);
            replaced[other].is_twin = a.rows == b.rows && a.values == b.values;
        }
        for (one, other) in [(embedding, head), (head, embedding)] {
            if replaced.iter().any(|it| it.name == weight(other)) {
                continue;
            }
            let Some(found) = replaced.iter().find(|it| it.name == weight(one)) else { continue };
            let is_copy = found.rows.is_none() && is_saved(&self.config, one.as_str());
            if !is_copy || self.config.ensure_weight_tying {
                let twin = found.twin(weight(other));
                replaced.push(twin);
            }
        }
        let layer_of = |path: &ModulePath| layers.iter().position(|layer| layer.path == *path);
        if let (true, Some(at), None) = (self.config.ensure_weight_tying, layer_of(embedding), layer_of(head))
        {
            let twin = layers[at].twin(head.clone());
            layers.push(twin);
        }
    }

    /// Leaves out the weights that PEFT's factors were built around.
    pub(crate) fn without_base(mut self) -> Self {
        self.tensors.retain(|name, _| !self.of_base.contains(name));
        self
    }

    /// Leaves out what peft wrote of the base (`save_embedding_layers`): an adapter that trains has `model` for that. `own` names
    /// the tensors of the adapter itself.
    ///
    /// # Errors
    /// [`LoraError::OtherBase`] for a copy that is not what `model` has.
    pub(crate) fn leave_out_copies(
        &mut self,
        own: &BTreeSet<String>,
        model: &mut dyn VisitLinears,
    ) -> Result<(), LoraError> {
        let Self { path, tensors, of_base, .. } = self;
        let mut other = None;
        let mut compare = |module: &ModulePath, weight: &dyn Fn() -> Result<Tensor, NnError>| {
            let name = tensor_name(&format!("{module}.weight"));
            if own.contains(&name) && !of_base.contains(&name) {
                return;
            }
            let Some(copy) = tensors.remove(&name) else { return };
            match weight().and_then(|weight| same_but_for_rounding(&weight, &copy)) {
                Ok(true) => {}
                Ok(false) => other = Some(LoraError::OtherBase { path: path.clone(), name }),
                Err(error) => other = Some(error.into()),
            }
        };
        model.visit_linears_mut(&mut |path, slot| {
            compare(path, &|| slot.get().dense_weight(Kind::Float));
        });
        model.visit_embeddings_mut(&mut |path, slot| {
            compare(path, &|| slot.get().dense_weight(Kind::Float));
        });
        other.map_or(Ok(()), Err)
    }

    /// Returns the tensors of these names and shapes, in this order, and checks that there are no others.
    pub(crate) fn take(&self, expected: Vec<(String, Vec<i64>)>) -> Result<Vec<Tensor>, LoraError> {
        let missing: Vec<&String> =
            expected.iter().map(|(name, _)| name).filter(|name| !self.tensors.contains_key(*name)).collect();
        let path = self.path.clone();
        if let Some(&first) = missing.first() {
            let (count, first) = (missing.len(), first.clone());
            return Err(LoraError::MissingKeys { path, count, expected: expected.len(), first });
        }
        let wanted: BTreeSet<&String> = expected.iter().map(|(name, _)| name).collect();
        let unused: Vec<&String> = self.tensors.keys().filter(|name| !wanted.contains(name)).collect();
        if let Some(&first) = unused.first() {
            return Err(LoraError::UnusedKeys { path, count: unused.len(), first: first.clone() });
        }
        let mut taken = Vec::with_capacity(expected.len());
        for (name, expected) in expected {
            let Some(tensor) = self.tensors.get(&name) else { continue };
            if tensor.size() != expected {
                return Err(LoraError::Shape { name, actual: tensor.size(), expected });
            }
            taken.push(tensor.shallow_clone());
        }
        Ok(taken)
    }

    /// Checks that no tensor which starts at zero still is.
    pub(crate) fn check_trained(&self) -> Result<(), LoraError> {
        let zero_at_first =
            |name: &str| ["lora_B.weight", "lora_embedding_A"].iter().any(|suffix| name.ends_with(suffix));
        let (mut zero, mut count) = (Vec::new(), 0);
        for (name, tensor) in self.tensors.iter().filter(|(name, _)| zero_at_first(name)) {
            count += 1;
            if tensor.f_count_nonzero(None).op("count_nonzero")?.int64_value(&[]) == 0 {
                zero.push(name);
            }
        }
        let Some(&first) = zero.first() else { return Ok(()) };
        let (path, first) = (self.path.clone(), first.clone());
        Err(LoraError::ZeroB { path, count: zero.len(), expected: count, first })
    }
}

/// Returns true for the head, whose rows are the vocabulary.
fn is_head(path: &ModulePath) -> bool {
    names(path.as_str(), HEAD)
}

/// Compares a weight of a loaded base, float32, with a copy of it in a file, which may have been kept in another precision.
fn same_but_for_rounding(weight: &Tensor, copy: &Tensor) -> Result<bool, NnError> {
    if weight.size() != copy.size() {
        return Ok(false);
    }
    let copy = copy.f_to_device(weight.device()).op("to_device")?;
    for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
        let rounded = |tensor: &Tensor| tensor.f_to_kind(kind).op("to_kind");
        if rounded(weight)?.f_equal(&rounded(&copy)?).op("equal")? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Checks that embedding and head have one vocabulary.
fn check_vocabulary(model: &ModelShape, parts: &AdapterParts) -> Result<(), LoraError> {
    let rows = |module: &ModuleShape| {
        let name = format!("{}.weight", module.path);
        let whole = parts.replaced.iter().find(|it| it.name == name && it.rows.is_none());
        whole.and_then(|it| it.values.size().first().copied()).unwrap_or(module.rows)
    };
    let embedding = model.modules.iter().find(|module| module.kind == ModuleKind::Embedding);
    let head = model.modules.iter().find(|module| is_head(&module.path));
    match (embedding.map(rows), head.map(rows)) {
        (Some(embedding), Some(head)) if embedding != head => Err(LoraError::Vocabulary { embedding, head }),
        _ => Ok(()),
    }
}
