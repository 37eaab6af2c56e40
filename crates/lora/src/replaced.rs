//! Modules that an adapter has weights of its own for.

use std::cell::OnceCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nn_core::{DenseLinear, EmbeddingOp, LinearOp, Mode, NnError, SharedLeaves, TorchContext};
use tch::{Device, Kind, Tensor};

/// A linear layer with another weight, another bias, or both. A tensor that trains is float32, whatever the base is in.
#[derive(Debug)]
pub(crate) struct ReplacedLinear {
    pub(crate) base: Box<dyn LinearOp>,
    pub(crate) own: OwnLinear,
    pub(crate) enabled: Arc<AtomicBool>,
    /// The layer in the kind of the computation, made once where nothing trains.
    pub(crate) frozen: OnceCell<(Kind, DenseLinear)>,
}

/// Tensors in place of those of a linear layer.
#[derive(Debug, Default)]
pub(crate) struct OwnLinear {
    /// `[out, in]`.
    pub(crate) weight: Option<Tensor>,
    /// The new bias, and the base's: `[out]`.
    pub(crate) bias: Option<(Tensor, Tensor)>,
}

impl OwnLinear {
    /// Returns the whole layer, in `kind`; `None` where the weight is the base's.
    fn dense(&self, kind: Kind) -> Result<Option<DenseLinear>, NnError> {
        let Some(weight) = &self.weight else { return Ok(None) };
        let weight = weight.f_to_kind(kind).op("to_kind")?;
        let bias = self.bias.as_ref().map(|(bias, _)| bias.f_to_kind(kind).op("to_kind")).transpose()?;
        Ok(Some(DenseLinear::new(weight, bias)))
    }

    fn trains(&self) -> bool {
        let bias = self.bias.as_ref().map(|(bias, _)| bias);
        [self.weight.as_ref(), bias].into_iter().flatten().any(Tensor::requires_grad)
    }

    pub(crate) fn shallow_clone(&self) -> Self {
        self.with(Tensor::shallow_clone)
    }

    /// Makes other handles on the tensors.
    fn with(&self, handle: impl Fn(&Tensor) -> Tensor) -> Self {
        let bias = self.bias.as_ref().map(|(new, old)| (handle(new), handle(old)));
        Self { weight: self.weight.as_ref().map(&handle), bias }
    }
}

impl LinearOp for ReplacedLinear {
    fn in_features(&self) -> i64 {
        self.base.in_features()
    }

    fn out_features(&self) -> i64 {
        self.own.weight.as_ref().map_or(self.base.out_features(), |weight| weight.size()[0])
    }

    fn device(&self) -> Device {
        self.base.device()
    }

    fn forward(&self, xs: &Tensor, mode: Mode) -> Result<Tensor, NnError> {
        if !self.enabled.load(Ordering::Relaxed) {
            return self.base.forward(xs, mode);
        }
        let kind = xs.kind();
        if let Some((_, layer)) = self.frozen.get().filter(|(kept, _)| *kept == kind) {
            return layer.forward(xs, mode);
        }
        if let Some(layer) = self.own.dense(kind)? {
            let out = layer.forward(xs, mode)?;
            if !self.own.trains() {
                let _ = self.frozen.set((kind, layer));
            }
            return Ok(out);
        }
        let out = self.base.forward(xs, mode)?;
        let Some((new, old)) = &self.own.bias else { return Ok(out) };
        let shift = new.f_sub(old).op("sub")?.f_to_kind(kind).op("to_kind")?;
        Ok(out.f_add(&shift).op("add")?)
    }

    fn share(&self, leaves: &SharedLeaves) -> Box<dyn LinearOp> {
        Box::new(Self {
            base: self.base.share(leaves),
            own: self.own.with(|tensor| leaves.share(tensor)),
            enabled: Arc::clone(&self.enabled),
            frozen: OnceCell::new(),
        })
    }

    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError> {
        match &self.own.weight {
            Some(weight) if self.enabled.load(Ordering::Relaxed) => {
                Ok(weight.f_to_kind(kind).op("to_kind")?)
            }
            _ => self.base.dense_weight(kind),
        }
    }
}

/// An embedding with another table.
#[derive(Debug)]
pub(crate) struct ReplacedEmbedding {
    pub(crate) base: Box<dyn EmbeddingOp>,
    pub(crate) table: Tensor,
    pub(crate) enabled: Arc<AtomicBool>,
}

impl ReplacedEmbedding {
    fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }
}

impl EmbeddingOp for ReplacedEmbedding {
    fn num_embeddings(&self) -> i64 {
        self.table.size()[0]
    }

    fn embedding_dim(&self) -> i64 {
        self.base.embedding_dim()
    }

    fn device(&self) -> Device {
        self.base.device()
    }

    fn forward(&self, ids: &Tensor) -> Result<Tensor, NnError> {
        if !self.is_enabled() {
            return self.base.forward(ids);
        }
        Ok(Tensor::f_embedding(&self.table, ids, -1, false, false).op("embedding")?)
    }

    fn share(&self, leaves: &SharedLeaves) -> Box<dyn EmbeddingOp> {
        let (base, table) = (self.base.share(leaves), leaves.share(&self.table));
        Box::new(Self { base, table, enabled: Arc::clone(&self.enabled) })
    }

    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError> {
        if !self.is_enabled() {
            return self.base.dense_weight(kind);
        }
        Ok(self.table.f_to_kind(kind).op("to_kind")?)
    }
}
