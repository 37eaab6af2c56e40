//! An embedding with an adapter.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nn_core::{EmbeddingOp, NnError, SharedLeaves, TorchContext};
use tch::{Device, Kind, Tensor};

use crate::layer::AdapterLayer;

/// An embedding and what LoRA makes of it: `table[ids] + scale · B[ids] A`. There is no dropout (`peft/tuners/lora/layer.py`,
/// `Embedding.forward`).
#[derive(Debug)]
pub(crate) struct AdaptedEmbedding {
    pub(crate) base: Box<dyn EmbeddingOp>,
    pub(crate) layer: AdapterLayer,
    pub(crate) enabled: Arc<AtomicBool>,
}

impl EmbeddingOp for AdaptedEmbedding {
    fn num_embeddings(&self) -> i64 {
        self.base.num_embeddings()
    }

    fn embedding_dim(&self) -> i64 {
        self.base.embedding_dim()
    }

    fn device(&self) -> Device {
        self.base.device()
    }

    fn forward(&self, ids: &Tensor) -> Result<Tensor, NnError> {
        let base_out = self.base.forward(ids)?; // [N, C]
        if !self.enabled.load(Ordering::Relaxed) {
            return Ok(base_out);
        }
        let low = Tensor::f_embedding(self.layer.b(), ids, -1, false, false).op("embedding")?; // [N, r]
        let delta = low.f_matmul(self.layer.a()).op("lora_embedding")?; // [N, C]
        let delta = delta.f_mul_scalar(self.layer.scale()).op("mul_scalar")?;
        Ok(base_out.f_add(&delta.f_to_kind(base_out.kind()).op("to_kind")?).op("add")?)
    }

    fn share(&self, leaves: &SharedLeaves) -> Box<dyn EmbeddingOp> {
        let (base, layer) = (self.base.share(leaves), self.layer.share(leaves));
        Box::new(Self { base, layer, enabled: Arc::clone(&self.enabled) })
    }

    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError> {
        let base = self.base.dense_weight(kind)?;
        if self.enabled.load(Ordering::Relaxed) { self.layer.adapted(&base) } else { Ok(base) }
    }
}
