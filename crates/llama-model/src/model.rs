//! The whole model.

use std::sync::{Arc, Mutex, MutexGuard};

use nn_core::{
    DenseEmbedding, DenseLinear, EmbeddingSlot, LinearSlot, LinearSource, Mode, ModulePath, NnError,
    SharedLeaves, SharedLoss, TokenBatch, TorchContext, VisitLinears,
};
use tch::{Device, Kind, Tensor};
use torch_ext::checkpoint;

use crate::head::Head;
use crate::layer::DecoderLayer;
use crate::lock::lock;
use crate::modules::{EMBEDDING, FINAL_NORM, HEAD};
use crate::norm::RmsNorm;
use crate::on_each::{OnEach, indices, moved};
use crate::rope::{RotaryEmbedding, Rotation};
use crate::sequences::Sequences;
use crate::{LlamaConfig, ModelError, Module};

/// A model of any of the [`FAMILIES`](crate::FAMILIES).
#[derive(Debug)]
pub struct Llama {
    config: LlamaConfig,
    embed_tokens: EmbeddingSlot,
    /// Precision of the activations.
    kind: Kind,
    /// Device of the embedding.
    device: Device,
    /// Device of each layer.
    layer_devices: Vec<Device>,
    // Shared with the closures that activation checkpointing runs in the backward pass, on whichever thread that is.
    layers: Vec<Arc<Mutex<DecoderLayer>>>,
    norm: RmsNorm,
    lm_head: Head,
    rotary: RotaryEmbedding,
    gradient_checkpointing: bool,
    is_quantized: bool,
}

impl Llama {
    /// Builds the model, asking `source` for each layer and tensor. Each part computes on the device that its tensors are on.
    ///
    /// # Errors
    /// [`ModelError`] when the configuration does not fit itself or the source cannot give a tensor of that shape.
    pub fn load(config: &LlamaConfig, source: &dyn LinearSource) -> Result<Self, ModelError> {
        config.validate()?;
        let table = |module: &Module| {
            let shape = [config.width(module.rows), config.inputs(module)];
            source.tensor(&format!("{}.weight", module.path), &shape)
        };
        let embed_tokens = table(&EMBEDDING)?;
        let root = ModulePath::new("model.layers");
        let layers = (0..config.num_hidden_layers)
            .map(|index| DecoderLayer::load(root.join(&index.to_string()), config, source))
            .collect::<Result<Vec<_>, NnError>>()?;
        let lm_head = if config.tie_word_embeddings { embed_tokens.shallow_clone() } else { table(&HEAD)? };
        Ok(Self {
            norm: RmsNorm::load(&ModulePath::new(FINAL_NORM.path), FINAL_NORM.rows, config, source)?,
            rotary: RotaryEmbedding::new(config, embed_tokens.device()),
            config: config.clone(),
            kind: embed_tokens.kind(),
            device: embed_tokens.device(),
            embed_tokens: EmbeddingSlot::new(Box::new(DenseEmbedding(embed_tokens))),
            layer_devices: layers.iter().map(DecoderLayer::device).collect(),
            layers: layers.into_iter().map(|layer| Arc::new(Mutex::new(layer))).collect(),
            lm_head: Head::new(LinearSlot::new(Box::new(DenseLinear::new(lm_head, None)))),
            gradient_checkpointing: false,
            is_quantized: source.is_quantized(),
        })
    }

    /// Makes another handle on the same weights, for another thread; of those that train, on their leaf in `leaves`.
    #[must_use]
    pub fn share(&self, leaves: &SharedLeaves) -> Self {
        let layer = |layer: &Arc<Mutex<DecoderLayer>>| Arc::new(Mutex::new(lock(layer).share(leaves)));
        Self {
            config: self.config.clone(),
            embed_tokens: self.embed_tokens.share(leaves),
            layer_devices: self.layer_devices.clone(),
            layers: self.layers.iter().map(layer).collect(),
            norm: self.norm.share(leaves),
            lm_head: Head::new(lock(&self.lm_head.0).share(leaves)),
            rotary: self.rotary.clone(),
            ..*self
        }
    }

    /// Returns the loss of this model for another thread, see [`Trainable::share`](nn_core::Trainable::share).
    #[must_use]
    pub fn shared_loss(&self, leaves: &SharedLeaves) -> SharedLoss {
        let model = self.share(leaves);
        Box::new(move |batch, mode| Ok(model.loss_sum(batch, mode)?))
    }

    /// Returns the shape of the model.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Returns the device of the embedding, which is that of all weights where the model is on one.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Returns the device of each layer.
    pub fn layer_devices(&self) -> &[Device] {
        &self.layer_devices
    }

    /// Lists the devices that some part of the model is on.
    pub fn devices(&self) -> Vec<Device> {
        let mut devices = vec![self.device];
        let head = lock(&self.lm_head.0).get().device();
        for &device in self.layer_devices.iter().chain([&self.norm.weight().device(), &head]) {
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices
    }

    /// Makes a value on each device that tokens go through before the head.
    pub(crate) fn on_each<T>(
        &self,
        make: impl FnMut(Device) -> Result<T, NnError>,
    ) -> Result<OnEach<T>, NnError> {
        OnEach::new(self.device, &self.layer_devices, make)
    }

    /// Returns the precision of the activations.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Switches activation checkpointing: training keeps only each layer's input and recomputes the rest in the backward
    /// pass.
    pub fn set_gradient_checkpointing(&mut self, on: bool) {
        self.gradient_checkpointing = on;
    }

    /// Returns the table of the embedding, with what an adapter makes of it, `[V, C]`.
    pub(crate) fn embedding_weight(&self) -> Result<Tensor, NnError> {
        self.embed_tokens.get().dense_weight(self.kind)
    }

    pub(crate) fn norm_weight(&self) -> &Tensor {
        self.norm.weight()
    }

    /// Returns the weight of the head, with what an adapter makes of it, `[V, C]`.
    pub(crate) fn head_weight(&self) -> Result<Tensor, NnError> {
        lock(&self.lm_head.0).get().dense_weight(self.kind)
    }

    pub(crate) fn layer(&self, index: usize) -> MutexGuard<'_, DecoderLayer> {
        lock(&self.layers[index])
    }

    /// Maps `[N]` int64 to `[N, C]`.
    pub(crate) fn embed(&self, ids: &[i64]) -> Result<Tensor, NnError> {
        self.check_ids(ids)?;
        self.embed_at(&indices(ids, self.device)?)
    }

    /// Does the same as [`Self::embed`] for ids that are on the device and known to be in the vocabulary.
    pub(crate) fn embed_at(&self, ids: &Tensor) -> Result<Tensor, NnError> {
        Ok(self.embed_tokens.get().forward(ids)?.f_to_kind(self.kind).op("to_kind")?)
    }

    pub(crate) fn check_ids(&self, ids: &[i64]) -> Result<(), NnError> {
        let vocab_size = self.config.vocab_size;
        match ids.iter().find(|&&id| id < 0 || id >= vocab_size) {
            Some(&id) => Err(NnError::TokenId { id, vocab_size }),
            None => Ok(()),
        }
    }

    /// Makes the sequences of `seq_lens` tokens that attention stays inside of.
    pub(crate) fn sequences(&self, seq_lens: &[usize]) -> Result<OnEach<Sequences>, NnError> {
        self.on_each(|device| Sequences::new(seq_lens, device, self.kind, self.config.head_dim))
    }

    /// Makes the rotation of every token of whole texts, one after another.
    pub(crate) fn rotation_of_texts(&self, lens: &[usize]) -> Result<OnEach<Rotation>, NnError> {
        let rotation = self.rotary.of_texts(lens, self.kind())?;
        self.on_each(|device| rotation.on(device))
    }

    /// Makes the rotation of positions `0..capacity` of texts that are continued.
    pub(crate) fn rotation_of_continued(&self, capacity: usize) -> Result<OnEach<Rotation>, NnError> {
        let rotation = self.rotary.of_continued(capacity, self.kind())?;
        self.on_each(|device| rotation.on(device))
    }

    /// Maps the output of the last layer, `[N, C]`, to what the head reads.
    pub(crate) fn final_norm(&self, hidden: Tensor) -> Result<Tensor, NnError> {
        self.norm.forward(&moved(hidden, self.norm.weight().device())?)
    }

    /// Computes the logits of the next token: `[.., C]`, from [`Llama::hidden_states`], to `[.., V]`, float32.
    ///
    /// # Errors
    /// [`NnError::Torch`] when the shapes do not fit.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor, NnError> {
        self.lm_head.logits(hidden)
    }

    /// Computes the hidden states that the head reads: `[N, C]` for the `N` tokens of the batch.
    ///
    /// # Errors
    /// [`NnError`] when the batch does not add up, a token id is not in the vocabulary, or a layer fails.
    pub fn hidden_states(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, NnError> {
        batch.validate()?;
        let sequences = self.sequences(&batch.seq_lens)?;
        let rotation = self.rotation_of_texts(&batch.seq_lens)?;
        let mut hidden = self.embed(&batch.input_ids)?; // [N, C]
        for (layer, &device) in self.layers.iter().zip(&self.layer_devices) {
            hidden = moved(hidden, device)?;
            let (rotation, sequences) = (rotation.on(device), sequences.on(device));
            hidden = if self.gradient_checkpointing && mode != Mode::Eval {
                let (layer, rotation, sequences) =
                    (Arc::clone(layer), rotation.shallow_clone(), sequences.shallow_clone());
                checkpoint(&hidden, move |hidden: &Tensor| {
                    lock(&layer).forward(hidden, &rotation, mode, |q, k, v| sequences.attend(q, k, v))
                })
                .map_err(|error| NnError::Extension(error.into()))?
            } else {
                lock(layer).forward(&hidden, rotation, mode, |q, k, v| sequences.attend(q, k, v))?
            };
        }
        self.final_norm(hidden)
    }

    /// Computes the sum of the cross-entropy over the batch's targets, a scalar in float32.
    ///
    /// Logits are computed only where a label needs them, and are not kept.
    ///
    /// # Errors
    /// The same as of [`Llama::hidden_states`].
    pub fn loss_sum(&self, batch: &TokenBatch, mode: Mode) -> Result<Tensor, NnError> {
        let (positions, labels) = batch.targets();
        let hidden = self.hidden_states(batch, mode)?; // [N, C]
        let hidden = if positions.len() == batch.num_tokens() {
            hidden
        } else {
            let positions = indices(&positions, hidden.device())?;
            hidden.f_index_select(0, &positions).op("index_select")? // [targets, C]
        };
        self.lm_head.loss_sum(hidden, &labels, mode)
    }
}

impl VisitLinears for Llama {
    fn visit_linears_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut LinearSlot)) {
        for layer in &self.layers {
            lock(layer).visit_linears_mut(visit);
        }
        visit(&ModulePath::new(HEAD.path), &mut lock(&self.lm_head.0));
    }

    fn visit_embeddings_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut EmbeddingSlot)) {
        visit(&ModulePath::new(EMBEDDING.path), &mut self.embed_tokens);
        // The table may have been replaced by a larger one.
        self.config.vocab_size = self.embed_tokens.get().num_embeddings();
    }

    fn visit_norms_mut(&mut self, visit: &mut dyn FnMut(&ModulePath, &mut Tensor)) {
        for layer in &self.layers {
            lock(layer).visit_norms_mut(visit);
        }
        visit(&ModulePath::new(FINAL_NORM.path), &mut self.norm.weight);
    }

    fn is_quantized(&self) -> bool {
        self.is_quantized
    }

    fn tied(&self) -> Option<(ModulePath, ModulePath)> {
        let pair = (ModulePath::new(EMBEDDING.path), ModulePath::new(HEAD.path));
        self.config.tie_word_embeddings.then_some(pair)
    }
}
