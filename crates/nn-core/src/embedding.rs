//! Embeddings.

use std::fmt;

use tch::{Device, Kind, Tensor};

use crate::{NnError, SharedLeaves, TorchContext};

/// Anything that maps token ids to rows of a table, `[V, C]`.
pub trait EmbeddingOp: fmt::Debug + Send {
    /// Returns the number of rows, `V`.
    fn num_embeddings(&self) -> i64;

    /// Returns the width of a row, `C`.
    fn embedding_dim(&self) -> i64;

    /// Returns the device of the table.
    fn device(&self) -> Device;

    /// Looks up `ids`, `[N]` int64, each in `0..V`: `[N, C]`, in the kind of the table.
    ///
    /// # Errors
    /// [`NnError::Torch`] when libtorch refuses.
    fn forward(&self, ids: &Tensor) -> Result<Tensor, NnError>;

    /// Returns the table this embedding is equivalent to, `[V, C]`, in `kind`.
    ///
    /// # Errors
    /// [`NnError::Torch`] when libtorch cannot allocate it.
    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError>;

    /// Makes another handle on the same table, for another thread; of what trains, on its leaf in `leaves`.
    fn share(&self, leaves: &SharedLeaves) -> Box<dyn EmbeddingOp>;
}

/// The ordinary embedding: a table, `[V, C]`.
#[derive(Debug)]
pub struct DenseEmbedding(pub Tensor);

impl EmbeddingOp for DenseEmbedding {
    fn num_embeddings(&self) -> i64 {
        self.0.size()[0]
    }

    fn embedding_dim(&self) -> i64 {
        self.0.size()[1]
    }

    fn device(&self) -> Device {
        self.0.device()
    }

    fn forward(&self, ids: &Tensor) -> Result<Tensor, NnError> {
        Ok(Tensor::f_embedding(&self.0, ids, -1, false, false).op("embedding")?)
    }

    fn dense_weight(&self, kind: Kind) -> Result<Tensor, NnError> {
        Ok(self.0.f_to_kind(kind).op("to_kind")?)
    }

    fn share(&self, leaves: &SharedLeaves) -> Box<dyn EmbeddingOp> {
        Box::new(Self(leaves.share(&self.0)))
    }
}
